# SPDX-License-Identifier: GPL-3.0-or-later
"""A snapshot of the inventory as a file of Ansible's, in which every value is what it is: nothing in it is a template. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..web.problem import Invalid

# what YAML has no place for in a text as it stands, or would change: control characters, other line ends, half characters
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def render(listing: Mapping[str, Any]) -> str:
    """YAML for Ansible's plugin `yaml`, out of what `ansible-inventory --list` gives. Values are JSON, behind the tag that tells
    Ansible to take them as they are. Invalid for a name that Ansible would read as a range or a port."""
    hosts: Mapping[str, Any] = listing.get("_meta", {}).get("hostvars", {})
    groups = {name: group for name, group in listing.items() if name not in ("_meta", "all")}
    lines = ["all:", "  hosts:"]
    lines += [
        f"    {_name(host)}: !unsafe {_value(variables or {})}" for host, variables in hosts.items()
    ] or ["    {}"]
    everyone = listing.get("all", {})
    if everyone.get("vars"):
        lines.append(f"  vars: !unsafe {_value(everyone['vars'])}")
    for name, group in groups.items():
        lines.append(f"{_name(name)}:")
        lines.append(f"  hosts: {_names(group.get('hosts', ()))}")
        lines.append(f"  children: {_names(group.get('children', ()))}")
        if group.get("vars"):
            lines.append(f"  vars: !unsafe {_value(group['vars'])}")
    return "\n".join(lines) + "\n"


def _names(found: Any) -> str:
    return "{" + ", ".join(f"{_name(name)}: {{}}" for name in found) + "}"


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"inventory: name {name[:80]!r}: Ansible cannot be given it; use letters, digits, dots, dashes and underscores"
        )
    return json.dumps(name)


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    return _UNPRINTABLE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return "\\uFFFD" if 0xD800 <= code <= 0xDFFF else f"\\u{code:04X}"
