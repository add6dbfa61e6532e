# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of a cluster's overlays: of their endpoints on all hosts, and of their services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from . import names
from .cluster_endpoints import Placed
from .cluster_hosts import Host
from .cluster_networks import on_host
from .cluster_services import Balanced
from .gwbridge import Gwbridge
from .overlay import Overlay

Item = dict[str, Any]


class Known(NamedTuple):
    """What the name servers of a network know: ``records`` and ``services`` as the module `names` takes them."""

    records: list[Item]
    services: list[Item]


def collect_names(
    networks: Iterable[str],
    overlays: Mapping[str, Overlay],
    placed: Iterable[Placed],
    services: Iterable[Balanced],
) -> dict[str, Known]:
    """The names of each of these networks. SpecError names the one that DNS cannot carry."""
    found = {name: Known([], []) for name in networks}
    ends: dict[str, list[Placed]] = {name: [] for name in found}
    for one in placed:
        if one.parsed.network in ends:
            ends[one.parsed.network].append(one)
    for name, known in found.items():
        known.records.extend(_records(ends[name]))
    for service in services:
        if service.parsed.network in found:
            found[service.parsed.network].services.append(_service(service))
    for name, known in found.items():
        ground = names.Ground(name, overlays[name].subnets, overlays[name].internal)
        names.parse({"network": name, **known._asdict()}, {name: ground}, {})
    return found


def _records(ends: Sequence[Placed]) -> list[Item]:
    """A record for each name: endpoints of one name, on several hosts, share it. An alias that only some of them have is
    a name of its own."""
    groups: dict[str, list[Placed]] = {}
    for one in ends:
        groups.setdefault(one.parsed.name.lower(), []).append(one)
    found: dict[str, Item] = {}
    apart: dict[str, list[Placed]] = {}
    for key, group in groups.items():
        shared = [
            alias for alias in group[0].parsed.aliases if all(alias in one.parsed.aliases for one in group)
        ]
        found[key] = _record(group[0].parsed.name, group)
        if shared:
            found[key]["aliases"] = shared
        for one in group:
            for alias in one.parsed.aliases:
                if alias not in shared:
                    apart.setdefault(alias.lower(), []).append(one)
    for key, group in apart.items():
        if key in found:
            found[key]["addresses"] += _record(key, group)["addresses"]
        else:
            found[key] = _record(key, group)
    return list(found.values())


def _record(name: str, group: Iterable[Placed]) -> Item:
    addresses = [text for one in group for text in (one.parsed.ip, one.parsed.ip6) if text]
    return {"name": name, "addresses": addresses}


def _service(one: Balanced) -> Item:
    vips = [text for text in (one.parsed.vip, one.parsed.vip6) if text]
    # who asks for the name is to find a task that takes new connections
    willing = [text for task in one.parsed.tasks if task.weight for text in (task.ip, task.ip6) if text]
    tasks = [text for task in one.parsed.tasks for text in (task.ip, task.ip6) if text]
    found: Item = {"name": one.parsed.name, "addresses": vips or willing, "tasks": tasks}
    if one.aliases:
        found["aliases"] = list(one.aliases)
    return found


def check_servers(
    hosts: Mapping[str, Host],
    served: Mapping[str, Sequence[str]],
    overlays: Mapping[str, Overlay],
    gateways: Mapping[str, Mapping[str, Gwbridge]],
) -> None:
    """SpecError if the name server of a host cannot ask the servers that are declared for it. ``served``: the networks
    whose names a host serves."""
    seen = set()
    for name, host in hosts.items():
        open_ones = [network for network in served[name] if not overlays[network].internal]
        key = (host.dns_servers, id(gateways[name]))
        if open_ones and host.dns_servers and key not in seen:
            seen.add(key)
            network = overlays[open_ones[0]]
            ground = names.Ground(network.name, network.subnets, False)
            item = {"network": network.name, "upstream": list(host.dns_servers)}
            if gateways[name]:
                item["gwbridge"] = next(iter(gateways[name]))
            with on_host(name):
                names.parse(item, {network.name: ground}, gateways[name])
