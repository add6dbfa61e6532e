# SPDX-License-Identifier: GPL-3.0-or-later
"""nft's JSON of a rule as words that say what it does, whatever the form in which it was written."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

Goto = Callable[[str], str]  # what a chain does, by its name


def rule_words(expression: list[dict[str, Any]], goto: Goto = str) -> str:
    """The rule in one line, such as ``oifname == br0 ct state in established,related accept``."""
    return " ".join(_statement(one, goto) for one in expression)


def key_words(key: Any) -> str:
    """A map's key, such as ``tcp . 8080``."""
    if isinstance(key, Mapping) and "concat" in key:
        return " . ".join(key_words(one) for one in key["concat"])
    return _value(key)


def drawn(addresses: Mapping[str, int]) -> str:
    """Addresses by their shares of what is new."""
    return ", ".join(
        f"{address} {Fraction(share, sum(addresses.values()))}"
        for address, share in sorted(addresses.items())
    )


def by_source(family: str, addresses: Mapping[str, int]) -> str:
    """Likewise, but computed from the sender: which numbers mean which address is the same on all hosts."""
    return f"by {family} saddr: " + ", ".join(f"{share} {address}" for address, share in addresses.items())


def _statement(statement: dict[str, Any], goto: Goto) -> str:
    ((name, inner),) = statement.items()
    if name == "match":
        return f"{_value(inner['left'])} {inner['op']} {_value(inner['right'])}"
    if name == "vmap":
        return f"{key_words(inner['key'])} vmap {inner['data']}"
    if name == "goto":
        return f"goto ({goto(inner['target'])})"
    if name in ("dnat", "snat"):
        port = f" port {inner['port']}" if "port" in inner else ""
        flags = f" flags {inner['flags']}" if "flags" in inner else ""
        return f"{name} {inner.get('family', '')} to {_target(inner.get('addr'))}{port}{flags}"
    if name == "reject" and inner:
        return f"reject {inner.get('type', '')} {inner.get('expr', '')}".strip()
    if name == "mangle" and "tcp option" in inner["key"]:
        option = inner["key"]["tcp option"]
        return f"tcp {option['name']} {option['field']} = {_value(inner['value'])}"
    return name


def _target(value: Any) -> str:
    """An address, or a draw among some."""
    if not isinstance(value, dict) or "map" not in value:
        return _value(value)
    choice, members = value["map"]["key"], value["map"]["data"]["set"]
    ((kind, how),) = choice.items()
    shares: dict[str, int] = {}
    following = 0
    for numbers, address in members:
        first, last = numbers["range"] if isinstance(numbers, dict) else (numbers, numbers)
        if first != following:
            return f"numbers that are not in a row: {value}"
        following = last + 1
        shares[_value(address)] = shares.get(_value(address), 0) + following - first
    if following != how["mod"] or how.get("offset"):
        return f"numbers that nobody draws: {value}"
    if kind == "numgen" and how["mode"] == "random":
        return drawn(shares)
    if kind == "jhash" and how.get("seed"):
        family, _, field = _value(how["expr"]).partition(" ")
        return by_source(family, shares) if field == "saddr" else str(value)
    return str(value)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(sorted(_value(one) for one in value))
    if not isinstance(value, dict):
        return _plain(value)
    ((kind, inner),) = value.items()
    if kind == "meta":
        return str(inner["key"])
    if kind == "payload":
        return f"{inner['protocol']} {inner['field']}"
    if kind in ("ct", "rt"):
        return f"{kind} {inner['key']}"
    if kind == "fib":
        return f"fib {','.join(inner['flags'])} {inner['result']}"
    if kind == "prefix":
        return f"{_plain(inner['addr'])}/{inner['len']}"
    if kind == "set":
        return _value(inner)
    return str(value)


def _plain(value: Any) -> str:
    """Addresses in one form."""
    try:
        return str(ipaddress.ip_address(value)) if isinstance(value, str) else str(value)
    except ValueError:
        return str(value)
