# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A reload of firewalld that keeps what others have at runtime only.

`firewall-cmd --reload` drops every runtime-only change of every zone. What a zone had before and lacks afterwards is
added again; interfaces firewalld keeps itself.
"""

from __future__ import annotations

from .firewalld_read import parse_rich
from .model import Host

ZONE = "crosshost"  # of our own bridges: what is permanent there is what shall be

# Heading of `firewall-cmd --list-all-zones` to the option that adds or removes one such thing.
_LISTS = {
    "sources": "source",
    "services": "service",
    "ports": "port",
    "protocols": "protocol",
    "source-ports": "source-port",
    "icmp-blocks": "icmp-block",
}
_BLOCKS = {"forward-ports": "forward-port", "rich rules": "rich-rule"}
_FLAGS = {"masquerade": "masquerade", "forward": "forward", "icmp-block-inversion": "icmp-block-inversion"}

Content = set[tuple[str, str]]


def parse_zones(text: str) -> dict[str, Content]:
    """Zone to its content: pairs of option stem and value (empty for a flag that is on)."""
    zones: dict[str, Content] = {}
    zone, block = "", ""
    for line in text.splitlines():
        if line and not line[0].isspace():
            zone, block = line.split()[0], ""
            zones[zone] = set()
        elif line.startswith("\t") and block:
            zones[zone].add((_BLOCKS[block], line.strip()))
        elif line.startswith("  ") and ":" in line:
            key, _colon, value = line.strip().partition(":")
            block = key if key in _BLOCKS else ""
            if key in _LISTS:
                zones[zone] |= {(_LISTS[key], item) for item in value.split()}
            elif key in _FLAGS and value.strip() == "yes":
                zones[zone].add((_FLAGS[key], ""))
            elif block and value.strip():
                zones[zone] |= {(_BLOCKS[key], item) for item in value.split()}
    return zones


def commands(before: dict[str, Content], after: dict[str, Content]) -> list[list[str]]:
    """The firewall-cmd calls that give the zones their runtime content back; what is ours is left out."""
    out = []
    for zone, content in sorted(before.items()):
        if zone not in after or zone == ZONE:
            continue
        for verb, part in (("remove", after[zone] - content), ("add", content - after[zone])):
            by_stem: dict[str, list[str]] = {}
            for stem, value in sorted(part):
                if not (stem == "rich-rule" and parse_rich(value)):
                    by_stem.setdefault(stem, []).append(
                        f"--{verb}-{stem}={value}" if value else f"--{verb}-{stem}"
                    )
            # firewall-cmd takes several values of one kind in a call, but not several kinds.
            out += [["firewall-cmd", f"--zone={zone}", *options] for options in by_stem.values()]
    return out


def reload_keeping(host: Host) -> None:
    """Reload; raises CommandError."""
    before = parse_zones(host.run("firewall-cmd", "--list-all-zones"))
    host.run("firewall-cmd", "--reload")
    after = parse_zones(host.run("firewall-cmd", "--list-all-zones"))
    for argv in commands(before, after):
        host.run(*argv)
