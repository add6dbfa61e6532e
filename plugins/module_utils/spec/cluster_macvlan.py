# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The macvlan networks of a cluster: one LAN on several hosts, of whose ranges each host has a part of its own."""

from __future__ import annotations

import ipaddress
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..errors import SpecError
from . import fields, macvlan
from .cluster_hosts import Declared, Host
from .cluster_networks import Groups, Shared, chosen, collect, on_host
from .host_ranges import host_ranges
from .macvlan import Macvlan
from .subnets import Subnet, find

VARIABLE = "crosshost_macvlan_networks"
_CLUSTERS = ("hosts", "host_prefix", "host_prefix6", "host_ranges", "shims", "shims6")
OPTIONS = (
    *(option for option in macvlan.OPTIONS if option not in ("host_range", "shim6")),
    *_CLUSTERS,
)
PREFIX_DEFAULT = {4: 28, 6: 80}  # of a host's part, unless the whole range is smaller


class Lan(NamedTuple):
    """A macvlan network on its hosts. ``parsed`` is what they share. ``items``: its declaration for the module macvlan, by
    host. ``parts``: who hands out which addresses, as (IP version, first, last, host) in order."""

    parsed: Macvlan
    items: dict[str, dict[str, Any]]
    parts: tuple[tuple[int, int, int, str], ...]

    def keeper(self, text: str) -> str:
        """The host in whose part of the range an address is, or ""."""
        address = ipaddress.ip_address(text)
        below = bisect_left(self.parts, (address.version, int(address) + 1, 0, ""))
        version, _first, last, host = self.parts[below - 1] if below else (0, 0, 0, "")
        return host if version == address.version and int(address) <= last else ""

    def refuse_foreign(self, obj: str, field: str, text: str, host: str) -> None:
        """SpecError if the address is in the part of another host, which may give it to anyone."""
        other = self.keeper(text)
        if other not in ("", host):
            remedy = f"it is in the part of {self.parsed.obj}'s range that host {other} hands out; take one of host {host}'s part, or one outside of ip_range"
            raise SpecError(obj, field, text, remedy)

    def shim_on(self, host: str) -> list[str]:
        """The addresses of the host's own child."""
        return [self.items[host][field] for field in ("shim", "shim6") if field in self.items[host]]


def parse_macvlans(declared: Sequence[Declared], hosts: Mapping[str, Host], groups: Groups) -> dict[str, Lan]:
    """All macvlan networks by name, each by itself and all of a host together."""
    shared = collect(declared, VARIABLE, OPTIONS, macvlan.label, own=("parent",))
    lans = {name: _lan(name, one, hosts, groups) for name, one in shared.items()}
    seen = set()
    for host in hosts:
        mine = [lan.items[host] for lan in lans.values() if host in lan.items]
        # hosts differ in addresses, which cannot clash here, and in parents
        key = tuple((item["name"], item.get("parent")) for item in mine)
        if key not in seen:
            seen.add(key)
            with on_host(host):
                macvlan.parse_all(mine)
    return lans


def _lan(name: str, shared: Shared, hosts: Mapping[str, Host], groups: Groups) -> Lan:
    obj, item = macvlan.label(name), shared.item
    on = chosen(obj, item["hosts"], hosts, groups) if "hosts" in item else hosts.keys()
    plain = {field: value for field, value in item.items() if field not in (*_CLUSTERS, "shim")}
    usual = next(iter(shared.own.values()))
    mine = {host: {**plain, **shared.own.get(host, usual)} for host in hosts if host in on}
    parsed = macvlan.parse(next(iter(mine.values()), {**plain, **usual}))
    ranges = _ranges(parsed, item, mine)
    parts = [(*_bounds(text), host) for host, found in ranges.items() for text in found.values()]
    shims = {
        field: _by_host(obj, item, option, mine) for field, option in (("shim", "shims"), ("shim6", "shims6"))
    }
    wanted = fields.flag(obj, "shim", item.get("shim", False))
    for host, one in mine.items():
        if host in ranges:
            one["host_range"] = list(ranges[host].values())
        by_hand = {field: found[host] for field, found in shims.items() if host in found}
        if by_hand:
            with on_host(host):
                macvlan.parse({**one, **by_hand})
        derived = _shims(parsed, host, ranges.get(host, {}), by_hand) if wanted else {}
        one.update({**derived, **by_hand})
    lan = Lan(parsed, mine, tuple(sorted(parts)))
    _refuse_shared_shims(lan)
    return lan


def _ranges(parsed: Macvlan, item: Mapping[str, Any], here: Collection[str]) -> dict[str, dict[str, str]]:
    """Each host's parts of the ranges, {host: {subnet: part}}: as declared by hand, the rest by construction."""
    obj = parsed.obj
    by_hand: dict[str, dict[str, str]] = {}
    for host, value in _by_host(obj, item, "host_ranges", here).items():
        for text in [value] if isinstance(value, str) else fields.sequence(obj, "host_ranges", value):
            block = fields.network(obj, f"host_ranges.{host}", text)
            subnet = find(parsed.subnets, block.network_address.packed)
            if subnet is None or not subnet.ip_range:
                remedy = "it is in no ip_range of the network; give a part of one"
                raise SpecError(obj, f"host_ranges.{host}", text, remedy)
            by_hand.setdefault(subnet.cidr, {})[host] = str(block)
    found: dict[str, dict[str, str]] = {}
    for subnet in parsed.subnets:
        if subnet.ip_range:
            prefix = _prefix(obj, item, subnet)
            given = host_ranges(subnet.ip_range, prefix, here, by_hand.get(subnet.cidr), obj)
            for host, part in given.items():
                found.setdefault(host, {})[subnet.cidr] = part
    return found


def _prefix(obj: str, item: Mapping[str, Any], subnet: Subnet) -> int:
    field = "host_prefix" if subnet.version == 4 else "host_prefix6"
    whole = int(subnet.ip_range.rpartition("/")[2])
    given = item.get(field, max(PREFIX_DEFAULT[subnet.version], whole))
    most = 32 if subnet.version == 4 else 128
    return fields.integer(obj, field, given, whole, most, f"the length of a host's part of {subnet.ip_range}")


def _by_host(obj: str, item: Mapping[str, Any], option: str, here: Collection[str]) -> dict[str, Any]:
    """An option that says something for hosts by their names."""
    found = fields.mapping(obj, option, item.get(option, {}))
    for host in found:
        if host not in here:
            raise SpecError(obj, option, host, "the network is on no such host; name hosts on which it is")
    return found


def _shims(
    parsed: Macvlan, host: str, parts: Mapping[str, str], by_hand: Mapping[str, Any]
) -> dict[str, str]:
    """The addresses of the host's own child where none are declared for it: the first free ones of its parts."""
    found: dict[str, str] = {}
    for subnet in parsed.subnets:
        field = "shim" if subnet.version == 4 else "shim6"
        first = _first(parts[subnet.cidr], parsed) if subnet.cidr in parts else None
        if first and field not in by_hand:
            found.setdefault(field, first)
    if not found and not by_hand:
        remedy = f"host {host} has no part of a range to take an address from; declare shims: {{{host}: ADDRESS}}, or an ip_range"
        raise SpecError(parsed.obj, "shim", True, remedy)
    return found


def _first(block: str, parsed: Macvlan) -> Optional[str]:
    network = ipaddress.ip_network(block)
    for number in range(min(network.num_addresses, len(parsed.reserved) + 2)):
        address = network[number]
        # the first address of an IPv6 subnet is all routers'
        if str(address) not in parsed.reserved and all(one.first != int(address) for one in parsed.subnets):
            return str(address)
    return None


def _refuse_shared_shims(lan: Lan) -> None:
    holders: dict[str, str] = {}
    for host in lan.items:
        for text in lan.shim_on(host):
            other = holders.setdefault(text, host)
            if other != host:
                remedy = f"host {other} has it already; give each host its own"
                raise SpecError(lan.parsed.obj, f"shims.{host}", text, remedy)
            lan.refuse_foreign(lan.parsed.obj, f"shims.{host}", text, host)


def _bounds(block: str) -> tuple[int, int, int]:
    network = ipaddress.ip_network(block)
    return network.version, int(network.network_address), int(network.broadcast_address)
