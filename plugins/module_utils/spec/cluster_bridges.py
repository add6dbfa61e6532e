# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bridge networks of a cluster: each host has its own, which may be called alike and have the same subnets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import SpecError
from . import bridge
from .bridge import Bridge
from .cluster_hosts import Declared, Host
from .cluster_networks import Groups, checked, chosen, lists, on_host

VARIABLE = "crosshost_bridge_networks"
OPTIONS = (*bridge.OPTIONS, "hosts")


class Own(NamedTuple):
    """A bridge network of a host, as it is declared for `bridge_network`, and what that means."""

    item: dict[str, Any]
    parsed: Bridge


def parse_bridges(
    declared: Sequence[Declared], hosts: Mapping[str, Host], groups: Groups
) -> dict[str, dict[str, Own]]:
    """The bridge networks of each host by name. A host has those of the lists that it has: its own, its groups'."""
    found: dict[str, dict[str, dict[str, Any]]] = {host: {} for host in hosts}
    having = {one.name for one in declared if one.variables.get(VARIABLE) is not None}
    for holders, values in lists(declared, VARIABLE):
        for place, raw in enumerate(values):
            item = checked(f"{VARIABLE}[{place}]", raw, OPTIONS, bridge.label)
            obj = bridge.label(item["name"])
            plain = {field: value for field, value in item.items() if field != "hosts"}
            on = chosen(obj, item["hosts"], hosts, groups) if "hosts" in item else frozenset(holders)
            for host in on - having:
                remedy = "that host does not have this list; declare the network in its variables, or in its group's"
                raise SpecError(obj, "hosts", host, remedy)
            for host in holders:
                if host in on:
                    if item["name"] in found[host]:
                        remedy = "it is declared twice; give each network of a host a name of its own"
                        raise SpecError(f"{obj} on host {host}", "name", item["name"], remedy)
                    found[host][str(item["name"])] = plain
    return _parsed(found)


def _parsed(found: Mapping[str, Mapping[str, dict[str, Any]]]) -> dict[str, dict[str, Own]]:
    """Equal sets of networks, those of a group's hosts, are parsed once."""
    known: dict[tuple[int, ...], dict[str, Own]] = {}
    result = {}
    for host, items in found.items():
        key = tuple(map(id, items.values()))
        if key not in known:
            with on_host(host):
                parsed = bridge.parse_all(list(items.values()))
            known[key] = {one.name: Own(items[one.name], one) for one in parsed}
        result[host] = known[key]
    return result
