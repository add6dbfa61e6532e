# SPDX-License-Identifier: GPL-3.0-or-later
"""What any body has to be before anybody looks into it: JSON of a bounded size that both databases can keep, without templates."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from ..web.problem import Invalid

DEPTH_MOST = 12
VALUES_MOST = 200_000  # in one body; the mapping of a group's variables has some thousands
TEXT_MOST = 64 * 1024  # characters
KEY_MOST = 253
NAME_MOST = 253
TEMPLATE = re.compile(r"\{\{|\{%|\{#")
VAULT = "__ansible_vault"
_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def check(obj: str, value: Any) -> None:
    """Invalid names the object and the place of what cannot be kept. What is encrypted by ansible-vault is not looked into."""
    if not isinstance(value, dict):
        raise refusal(f"{obj}: give a mapping of options to values, not {shown(value)}")
    left = [VALUES_MOST]
    _check(obj, "", value, 0, left)


def _check(obj: str, field: str, value: Any, depth: int, left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        raise refusal(f"{obj}: it has more than {VALUES_MOST} values; split it")
    if depth > DEPTH_MOST:
        raise refusal(
            f"{obj}: {field}: it is nested more than {DEPTH_MOST} deep; nothing that crosshost reads is"
        )
    if isinstance(value, str):
        _check_text(obj, field, value)
    elif isinstance(value, Mapping):
        if is_vault(value):
            _check_text(obj, field, value[VAULT])
            return
        for key, inner in value.items():
            if not isinstance(key, str) or len(key) > KEY_MOST:
                raise refusal(
                    f"{obj}: {field or 'option'} {shown(key)}: names are texts of at most {KEY_MOST} characters"
                )
            _check_text(obj, f"{field} {shown(key)}".strip(), key)
            _check(obj, f"{field}.{key}" if field else key, inner, depth + 1, left)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            _check(obj, f"{field}[{place}]", inner, depth + 1, left)
    else:
        _check_plain(obj, field, value)


def _check_text(obj: str, field: str, value: str) -> None:
    if len(value) > TEXT_MOST:
        raise refusal(f"{obj}: {field[:80]}: it has {len(value)} characters; a text has {TEXT_MOST} at most")
    if "\0" in value:
        raise refusal(f"{obj}: {field[:80]} {shown(value)}: take the NUL character out")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise refusal(f"{obj}: {field[:80]}: it is no valid Unicode; write it again") from None
    if TEMPLATE.search(value):
        remedy = "templates are not evaluated here, nor in the runs; write the value itself"
        raise refusal(f"{obj}: {field} {shown(value)}: {remedy}", {field: remedy})


def _check_plain(obj: str, field: str, value: Any) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise refusal(f"{obj}: {field}: the number has more than 64 bits; write it as a text, in quotes")
        return
    if isinstance(value, float) and value - value == 0:
        return
    raise refusal(f"{obj}: {field} {shown(value)}: give a text, a number, true, false, a list or a mapping")


def refusal(detail: str, fields: dict[str, str] | None = None) -> Invalid:
    """An error in one line, whatever it quotes."""
    named = {printable(name)[:200]: printable(text) for name, text in (fields or {}).items()}
    return Invalid(printable(detail), named)


def is_vault(value: Any) -> bool:
    return (
        isinstance(value, Mapping) and value.keys() == {VAULT} and isinstance(value[VAULT], str)
        and value[VAULT].startswith("$ANSIBLE_VAULT;")
    )  # fmt: skip


def host_name(value: Any) -> str:
    """A host's name: one that no pattern of Ansible takes for more than a name."""
    obj = f"host {shown(value)}"
    text = isinstance(value, str) and len(value) <= NAME_MOST
    if text and (_HOST.match(value) or _is_ipv6(value)):
        return str(value)
    raise refusal(
        f"{obj}: name: use letters, digits, '-', '_' and '.', beginning with a letter, a digit or '_', or an address",
        {"name": "letters, digits, '-', '_' and '.'"},
    )


def group_name(value: Any) -> str:
    reserved = value in ("ungrouped", "_meta")
    if isinstance(value, str) and len(value) <= NAME_MOST and _GROUP.match(value) and not reserved:
        return value
    why = "it means something else in Ansible's inventories; take another"
    if not reserved:
        why = "use letters, digits, '_', '-' and '.', beginning with a letter, a digit or '_'"
    raise refusal(f"group {shown(value)}: name: {why}", {"name": why})


def variable_names(obj: str, variables: Mapping[str, Any]) -> None:
    for name in variables:
        if not _VARIABLE.match(name):
            remedy = "a variable's name has letters, digits and '_', and begins with no digit"
            raise refusal(f"{obj}: variables: {shown(name)}: {remedy}", {"variables": remedy})


def _is_ipv6(value: str) -> bool:
    try:
        return "%" not in value and ipaddress.ip_address(value).version == 6
    except ValueError:
        return False


def shown(value: Any, most: int = 80) -> str:
    """A value for an error: short, in one line."""
    found = printable(repr(value)) if not isinstance(value, (dict, list)) else f"a {type(value).__name__}"
    return found if len(found) <= most else found[: most - 1] + "…"


def printable(text: str) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode("ascii")
        for char in text
    )


def without_nulls(value: Any) -> Any:
    """The value without options that are null, which mean the same as none given; the engine reads it so as well."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_nulls(inner) for inner in value]
    return value
