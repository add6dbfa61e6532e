# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services as resources of a sandbox's nft table. Pure.

One base chain looks a new connection's destination up in one verdict map a family, however many services there are; the
service's own small chain then draws a task. Only the first packet of a connection comes here, so whatever changes, the
connections that there are go on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ..resources import NftChain, NftElement, NftMap, Resource, canonical
from ..spec.service import Service, Task

PREFIX = "service-"
OUTPUT = f"{PREFIX}output"
_DSTNAT = -100
# Any number but 0, which would make nft roll one: all sandboxes and hosts choose alike.
_SEED = 0x5E47
_FAMILIES = ((4, "ip", "ipv4_addr"), (6, "ip6", "ipv6_addr"))
# To ask for the state turns connection tracking on, without which no chain of type nat is asked. A reset, because an ICMP
# error comes while connect() still holds the socket, and is dropped.
_NEW = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}}
_REFUSAL = [
    [
        _NEW,
        {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "tcp"}},
        {"reject": {"type": "tcp reset"}},
    ],
    [_NEW, {"reject": {"type": "icmpx", "expr": "port-unreachable"}}],
]


class Balancing(NamedTuple):
    """What a service needs of one family in every sandbox: its chain with the one rule, and its element of the map."""

    chain: str
    rules: tuple[str, ...]
    map: str
    key: str


def map_name(version: int) -> str:
    return f"{PREFIX}vip{version}"


def chain_name(service_id: str, version: int) -> str:
    return f"{PREFIX}{service_id}-{version}"


def service_of(chain: str) -> str:
    """The service (network/name) to which a chain belongs; "" for a chain that is no service's."""
    inside = chain[len(PREFIX) : -2]
    return inside if chain.startswith(PREFIX) and chain[-2:] in ("-4", "-6") and "/" in inside else ""


def base(netns: str) -> Iterator[Resource]:
    """What all services of a sandbox share."""
    for version, _protocol, keys in _FAMILIES:
        yield NftMap(netns, "inet", map_name(version), (keys,))
    look_ups = (
        [{"vmap": {"key": _field(protocol, "daddr"), "data": f"@{map_name(version)}"}}]
        for version, protocol, _keys in _FAMILIES
    )
    yield NftChain(netns, "inet", OUTPUT, "nat", "output", _DSTNAT, tuple(map(canonical, look_ups)))


def balancing(service: Service) -> list[Balancing]:
    """The families in which a service has a virtual address."""
    found = []
    for version, protocol, _keys in _FAMILIES:
        vip = service.vip if version == 4 else service.vip6
        if vip:
            rules = tuple(map(canonical, _rules(service, protocol)))
            chain = chain_name(service.id, version)
            found.append(Balancing(chain, rules, map_name(version), canonical(vip)))
    return found


def resources(netns: str, parts: Iterable[Balancing]) -> Iterator[Resource]:
    """These parts in one sandbox."""
    for chain, rules, name, key in parts:
        yield NftChain(netns, "inet", chain, "", "", 0, rules)
        yield NftElement(netns, "inet", name, key, chain)


def shares(tasks: Sequence[Task]) -> list[tuple[int, int, Task]]:
    """The numbers, first to last, by which each task is drawn: as many as its weight, the weights in their lowest terms."""
    common = math.gcd(*(task.weight for task in tasks)) or 1
    found = []
    first = 0
    for task in tasks:
        if task.weight:
            last = first + task.weight // common - 1
            found.append((first, last, task))
            first = last + 1
    return found


def _rules(service: Service, protocol: str) -> Sequence[Sequence[Any]]:
    """The draw among the tasks of the family; where there is none, a connection is refused at once."""
    address = target(service.tasks, service.affinity, protocol)
    return [[{"dnat": {"family": protocol, "addr": address}}]] if address is not None else _REFUSAL


def target(tasks: Iterable[Task], affinity: str, protocol: str) -> Any:
    """What draws one of the tasks' addresses of a family (protocol ip or ip6) for a new connection, for a dnat statement;
    None when no task takes one."""
    six = protocol == "ip6"
    drawn = shares([task for task in tasks if (task.ip6 if six else task.ip)])
    addresses = [task.ip6 if six else task.ip for _first, _last, task in drawn]
    if len(drawn) < 2:
        return addresses[0] if drawn else None
    # nft's own form, so that what is written is what it lists
    numbers = (first if first == last else {"range": [first, last]} for first, last, _task in drawn)
    members = [[number, address] for number, address in zip(numbers, addresses)]
    return {"map": {"key": _draw(affinity, protocol, drawn[-1][1] + 1), "data": {"set": members}}}


def _draw(affinity: str, protocol: str, total: int) -> dict[str, Any]:
    if affinity == "source":
        return {"jhash": {"mod": total, "seed": _SEED, "expr": _field(protocol, "saddr")}}
    return {"numgen": {"mode": "random", "mod": total, "offset": 0}}


def _field(protocol: str, field: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": field}}
