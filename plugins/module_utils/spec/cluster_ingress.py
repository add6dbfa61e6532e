# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ingress network of a cluster: a sandbox on every host and a leg for each task that has published ports, with their
addresses, and which port leads to which of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..errors import SpecError
from . import cluster_hosts, fields, ingress
from .cluster_addresses import ExhaustedError, allocate
from .cluster_endpoints import Placed
from .cluster_hosts import Declared, Host
from .cluster_networks import on_host, one_family
from .cluster_services import Balanced
from .gwbridge import Gwbridge
from .overlay import Overlay
from .peers import reserved
from .subnets import Subnet

VARIABLE = "crosshost_ingress"
_ADDRESSES = {4: "addresses", 6: "addresses6"}
OPTIONS = ("name", "subnets", "mtu", "data_path_port", "labels", *_ADDRESSES.values())
_MOST = 1 << 32  # of an IPv6 subnet: MACs are made from the last four bytes


class Leg(NamedTuple):
    """A task's sandbox in the ingress network. ``place`` is sandbox, pid or container with its value."""

    host: str
    name: str
    place: dict[str, Any]
    ip: str
    ip6: str


class Mapped(NamedTuple):
    """A published port, as all hosts have it. ``tasks``: (which of the legs, weight)."""

    published: int
    target: int
    protocol: str
    service: str
    affinity: str
    keep_client_address: bool
    tasks: tuple[tuple[int, int], ...]


class Mesh(NamedTuple):
    """The ingress network. ``item``: what all hosts declare of it. ``hosts``: the IPv4 and IPv6 addresses of their sandboxes."""

    item: dict[str, Any]
    hosts: dict[str, tuple[str, str]]
    legs: list[Leg]
    ports: list[Mapped]


class Ground(NamedTuple):
    """The declaration. ``by_hand``: addresses of hosts' sandboxes, {IP version: {host: address}}."""

    item: dict[str, Any]
    parsed: Overlay
    by_hand: dict[int, dict[str, str]]

    @property
    def obj(self) -> str:
        return ingress.label(self.parsed.name)


def parse_ground(declared: Sequence[Declared], hosts: Mapping[str, Host], port: int) -> Optional[Ground]:
    """The cluster's ingress network, if there is one. SpecError if hosts declare different ones, or if it cannot be right."""
    given = _the_one(declared)
    if not given:
        return None
    name = ingress.name_of(given)
    obj = ingress.label(name)
    fields.known_only(obj, given, OPTIONS)
    item = {key: one for key, one in given.items() if key not in _ADDRESSES.values()}
    item = {**item, "name": name}
    for field in ("mtu", "data_path_port"):
        if field in item:
            item[field] = cluster_hosts.number(item[field])
    parsed = ingress.parse_network(obj, name, {"data_path_port": port, **item})
    one_family(obj, hosts.values())
    by_hand = {
        version: _by_hand(obj, option, given.get(option, {}), version, parsed.subnets, hosts)
        for version, option in _ADDRESSES.items()
    }
    return Ground(item, parsed, by_hand)


def _the_one(declared: Sequence[Declared]) -> dict[str, Any]:
    found: Optional[tuple[str, dict[str, Any]]] = None
    seen = set()
    for one in declared:
        value = one.variables.get(VARIABLE)
        if value is None or id(value) in seen:
            continue
        seen.add(id(value))
        mine = fields.mapping(cluster_hosts.label(one.name), VARIABLE, value)
        mine = {key: text for key, text in mine.items() if text is not None}
        holder, other = found = found or (one.name, mine)
        if other != mine:
            remedy = f"host {holder} has another; a cluster has one ingress network: declare it once, for the group"
            raise SpecError(cluster_hosts.label(one.name), VARIABLE, mine, remedy)
    return found[1] if found else {}


def _by_hand(
    obj: str, option: str, value: Any, version: int, subnets: Sequence[Subnet], hosts: Mapping[str, Host]
) -> dict[str, str]:
    """The addresses that are declared for hosts' sandboxes: of the subnet, free, and no two the same."""
    taken = reserved(subnets)
    found: dict[str, str] = {}
    holders: dict[str, str] = {}
    for host, raw in fields.mapping(obj, option, value).items():
        field = f"{option}.{host}"
        if host not in hosts:
            raise SpecError(
                obj, option, host, "there is no such host in the cluster; name a host of the group"
            )
        text = fields.address(obj, field, raw)
        packed = fields.pack(text) or b""
        if not any(one.version == version and one.holds(packed) for one in subnets):
            known = ", ".join(one.cidr for one in subnets if one.version == version) or "none"
            raise SpecError(obj, field, raw, f"it is in no IPv{version} subnet of the network ({known})")
        if text in taken:
            raise SpecError(obj, field, raw, taken[text])
        if holders.setdefault(text, host) != host:
            raise SpecError(obj, field, raw, f"host {holders[text]} has it already; give each its own")
        found[host] = text
    return found


def check_gateways(ground: Ground, mesh: Mesh, gateways: Mapping[str, Mapping[str, Gwbridge]]) -> None:
    """SpecError if the ports of a host would not lead into the network by its gateway bridge."""
    seen = set()
    for host, (address, address6) in mesh.hosts.items():
        if id(gateways[host]) not in seen:
            seen.add(id(gateways[host]))
            item = {**ground.item, "address": address, "address6": address6}
            if gateways[host]:
                item["gwbridge"] = next(iter(gateways[host]))
            with on_host(host):
                ingress.parse(item, gateways[host])


def derive(ground: Ground, hosts: Iterable[str], services: Sequence[Balanced]) -> Mesh:
    """The network with its sandboxes, legs and ports, each with an address of its own."""
    published = [one for one in services if any(port.mode == "ingress" for port in one.ports)]
    ends: dict[tuple[str, str], Placed] = {}
    for one in published:
        for task in one.tasks:
            # one leg a sandbox, whichever of its endpoints are tasks; it is called after the first by name
            where = (task.end.host, task.end.parsed.place)
            ends[where] = min(ends.get(where, task.end), task.end, key=_task_key)
    places = sorted(ends, key=lambda where: _task_key(ends[where]))
    keys = {host: f"host/{host}" for host in hosts}
    found = _addresses(ground, keys, [_task_key(ends[where]) for where in places])
    legs = [_leg(ends[where], *found[_task_key(ends[where])]) for where in places]
    numbers = {where: place for place, where in enumerate(places)}
    ports = [mapped for one in published for mapped in _mapped(one, numbers)]
    return Mesh(ground.item, {host: found[key] for host, key in keys.items()}, legs, ports)


def _task_key(end: Placed) -> str:
    return f"task/{end.parsed.id}@{end.host}"


def _leg(end: Placed, ip: str, ip6: str) -> Leg:
    place: dict[str, Any] = {
        field: end.item[field] for field in ("sandbox", "pid", "container") if field in end.item
    }
    return Leg(end.host, end.parsed.id.replace("/", "."), place, ip, ip6)


def _mapped(one: Balanced, numbers: Mapping[tuple[str, str], int]) -> Iterable[Mapped]:
    weights: dict[int, int] = {}
    for task in one.tasks:
        leg = numbers[task.end.host, task.end.parsed.place]
        weights[leg] = weights.get(leg, 0) + task.weight
    for port in one.ports:
        if port.mode == "ingress":
            yield Mapped(
                published=port.publish.first,
                target=port.publish.port,
                protocol=port.publish.protocol,
                service=one.parsed.id,
                affinity=one.parsed.affinity,
                keep_client_address=port.keep_client_address,
                tasks=tuple(weights.items()),
            )


def _addresses(ground: Ground, hosts: Mapping[str, str], tasks: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The IPv4 and IPv6 address of each key, "" where the network has no subnet of the family: by construction, as nobody
    keeps a book of them."""
    found: dict[str, list[str]] = {key: ["", ""] for key in (*hosts.values(), *tasks)}
    taken = {int(ipaddress.ip_address(text)) for text in reserved(ground.parsed.subnets)}
    for subnet in ground.parsed.subnets:
        block = ipaddress.ip_network(subnet.ip_range or subnet.cidr)
        first = int(block.network_address)
        last = min(int(block.broadcast_address), first + _MOST - 1)
        fixed = {
            hosts[host]: int(ipaddress.ip_address(text))
            for host, text in ground.by_hand[subnet.version].items()
        }
        try:
            numbers = allocate(found.keys(), first, last, taken | {subnet.first}, fixed)
        except ExhaustedError:
            remedy = f"{len(hosts)} hosts and {len(tasks)} tasks need an address each; declare a larger one"
            raise SpecError(ground.obj, "subnet", str(block), remedy) from None
        for key, number in numbers.items():
            found[key][subnet.version == 6] = str(type(block.network_address)(number))
    return {key: (ip, ip6) for key, (ip, ip6) in found.items()}
