# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints of a cluster: on which host each one is, and that no two share an address."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..errors import SpecError
from . import endpoint, fields
from .cluster_hosts import Declared
from .cluster_networks import on_host
from .endpoint import Endpoint
from .gwbridge import Gwbridge
from .networks import Network

OPTIONS = (*endpoint.OPTIONS, "host")
VARIABLE = "crosshost_endpoints"


class Placed(NamedTuple):
    """An endpoint on its host. ``item`` is its declaration for `endpoint`, ``parsed`` what that means. ``driver`` is its
    network's, "" if it is in none."""

    host: str
    item: dict[str, Any]
    parsed: Endpoint
    driver: str = "overlay"


def label(host: str, network: object, name: object) -> str:
    """How errors call an endpoint of the cluster."""
    return f"{endpoint.label(network, name)} on host {host}"


def collect_endpoints(
    declared: Sequence[Declared], hosts: Collection[str], networks: Collection[str]
) -> dict[str, list[dict[str, Any]]]:
    """The declarations by host, in the order in which they are written. A list that several hosts have (a group's
    variable) counts once; an item of it without ``host`` counts for each of them."""
    found: dict[str, dict[tuple[str, str], dict[str, Any]]] = {host: {} for host in hosts}
    # of a list that was read, the items that each further host has as well
    known: dict[int, list[Any]] = {}
    for one in declared:
        value = one.variables.get(VARIABLE)
        if value is None:
            continue
        items = known.get(id(value))
        if items is None:
            items = list(_checked(one.name, value, hosts, networks))
            known[id(value)] = [(item, where) for item, where in items if "host" not in item]
        seen = set()
        for item, where in items:
            host = item.get("host", one.name)
            if (host, where) in seen:
                raise SpecError(label(host, *where), "name", where[1], _TWICE)
            seen.add((host, where))
            plain = {field: given for field, given in item.items() if field != "host"}
            if found[host].setdefault(where, plain) != plain:
                raise SpecError(label(host, *where), "name", where[1], _TWICE)
    return {host: list(items.values()) for host, items in found.items()}


_TWICE = "it is declared twice; give each endpoint of a network on one host a name of its own"


def _checked(
    holder: str, value: Any, hosts: Collection[str], networks: Collection[str]
) -> Iterator[tuple[dict[str, Any], tuple[str, str]]]:
    """The items of one list with (network, name)."""
    for place, raw in enumerate(fields.sequence(f"host {holder}", VARIABLE, value)):
        obj = f"{VARIABLE}[{place}]"
        item = {
            field: given for field, given in fields.mapping(obj, "item", raw).items() if given is not None
        }
        fields.known_only(obj, item, OPTIONS)
        where = endpoint.where(item)
        obj = endpoint.label(where.network, where.name)
        if where.network not in networks and not endpoint.is_mode(where.network):
            known = ", ".join(sorted(networks)) or "none"
            remedy = f"there is no such network (there are: {known}); declare it in crosshost_networks"
            raise SpecError(obj, "network", where.network, remedy)
        host = item.get("host", holder)
        if not isinstance(host, str) or host not in hosts:
            remedy = "there is no such host in the cluster; name a host of the group, or add it there"
            raise SpecError(obj, "host", host, remedy)
        yield item, (where.network, where.name)


def parse_endpoints(
    items: Mapping[str, Sequence[dict[str, Any]]],
    on: Callable[[str, str], Optional[Network]],
    gateways: Mapping[str, Mapping[str, Gwbridge]],
) -> list[Placed]:
    """All endpoints, checked on their hosts and against each other. ``on(network, host)`` is the network where it is on the
    host."""
    placed: list[Placed] = []
    for host, mine in items.items():
        here: dict[str, Network] = {}
        for item in mine:
            name = str(item["network"])
            network = None if name in here or endpoint.is_mode(name) else on(name, host)
            if network is not None:
                here[name] = network
            elif name not in here and not endpoint.is_mode(name):
                where = endpoint.where(item)
                remedy = f"network {where.network} is not on host {host}; add the host to the network's hosts"
                raise SpecError(endpoint.label(where.network, where.name), "host", host, remedy)
        with on_host(host):
            parsed = endpoint.parse_all(mine, here, gateways[host])
        placed.extend(
            Placed(host, item, one, getattr(here.get(one.network), "driver", ""))
            for item, one in zip(mine, parsed)
        )
    _refuse_shared(placed)
    return placed


def _refuse_shared(placed: Sequence[Placed]) -> None:
    """SpecError if two endpoints have one IP address or one MAC. MACs that are made from IPv6 addresses may meet in two
    networks, where they do no harm. A bridge network's are seen on its own host alone."""
    addresses: dict[tuple[str, str], Placed] = {}
    macs: dict[tuple[str, str], Placed] = {}
    for one in placed:
        scope = one.host if one.driver == "bridge" else ""
        for field, text in (("ip", one.parsed.ip), ("ip6", one.parsed.ip6)):
            if text:
                other = addresses.setdefault((scope, text), one)
                if other is not one:
                    raise _shared(one, other, field, text)
        if one.parsed.mac:
            other = macs.setdefault((scope, one.parsed.mac), one)
            if other is not one and (
                "mac" in one.item or "mac" in other.item or one.parsed.network == other.parsed.network
            ):
                raise _shared(one, other, "mac", one.parsed.mac)


def _shared(one: Placed, other: Placed, field: str, text: str) -> SpecError:
    obj = label(one.host, one.parsed.network, one.parsed.name)
    known = label(other.host, other.parsed.network, other.parsed.name)
    remedy = f"{known} has it already; give each its own"
    if field == "mac" and "mac" not in one.item:
        remedy = f"{known} has it already; declare another mac for one of them"
    return SpecError(obj, field, text, remedy)
