# SPDX-License-Identifier: GPL-3.0-or-later
"""nft's JSON of a rule as words."""

from __future__ import annotations

from typing import Any


def rule_words(expression: list[dict[str, Any]]) -> str:
    """The rule in one line, such as ``oifname == br0 ct state in established,related accept``."""
    return " ".join(_statement(one) for one in expression)


def _statement(statement: dict[str, Any]) -> str:
    if "match" in statement:
        match = statement["match"]
        return f"{_value(match['left'])} {match['op']} {_value(match['right'])}"
    return " ".join(statement)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(sorted(_value(one) for one in value))
    if not isinstance(value, dict):
        return str(value)
    ((kind, inner),) = value.items()
    if kind == "meta":
        return str(inner["key"])
    if kind == "payload":
        return f"{inner['protocol']} {inner['field']}"
    if kind == "ct":
        return f"ct {inner['key']}"
    if kind == "prefix":
        return f"{inner['addr']}/{inner['len']}"
    if kind == "set":
        return _value(inner)
    return str(value)
