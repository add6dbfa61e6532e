# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster as the inventory declares it: all hosts, networks, endpoints and services, checked against each other."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..errors import SpecError
from . import cluster_hosts, cluster_ingress, firewall, overlay
from .cluster_drivers import Networks, parse_networks, refuse_taken_addresses
from .cluster_endpoints import Placed, collect_endpoints, parse_endpoints
from .cluster_hosts import Declared, Host
from .cluster_ingress import Mesh
from .cluster_names import Known, check_servers, collect_names
from .cluster_networks import Groups, Network, Row
from .cluster_publish import publish
from .cluster_services import Balanced, parse_services
from .overlay import Overlay

VARIABLES = (
    "crosshost_bridge_networks", "crosshost_data_path_interface", "crosshost_data_path_port", "crosshost_dns",
    "crosshost_endpoints", "crosshost_firewall_backend", "crosshost_firewall_extra_sources",
    "crosshost_firewall_ports", "crosshost_group", "crosshost_gwbridge", "crosshost_ingress",
    "crosshost_macvlan_networks", "crosshost_networks", "crosshost_services", "crosshost_state",
    "crosshost_underlay_mtu", "crosshost_vtep",
)  # fmt: skip
_LIKE = 0.88  # difflib's ratio from which on another name is taken for a misspelling
Item = dict[str, Any]


class Cluster(NamedTuple):
    """All of a cluster. ``port``: the UDP port of networks without their own, ``ports``: all that are in use. ``warnings``:
    what looks like a misspelt variable.

    By host: ``local`` endpoints, ``bridges`` and ``macvlans`` as the modules take them; ``devices``: what carries its bridge
    networks; ``balanced`` and ``named``: the networks whose services it balances and whose names it serves; ``uses``: which
    of services, names and ingress it has. By network: ``services`` as the module takes them, and ``names``. ``mesh``: the
    ingress network.
    """

    hosts: dict[str, Host]
    networks: dict[str, Network]
    local: dict[str, list[Item]]
    port: int
    ports: tuple[int, ...]
    warnings: tuple[str, ...] = ()
    bridges: Mapping[str, list[Item]] = {}
    macvlans: Mapping[str, list[Item]] = {}
    devices: Mapping[str, list[str]] = {}
    balanced: Mapping[str, list[str]] = {}
    named: Mapping[str, list[str]] = {}
    uses: Mapping[str, list[str]] = {}
    services: Mapping[str, list[Item]] = {}
    names: Mapping[str, Known] = {}
    mesh: Optional[Mesh] = None


def parse_cluster(declared: Sequence[Declared], groups: Groups) -> Cluster:
    """The cluster of these hosts; ``groups`` are the inventory's, by name. SpecError names host, network, endpoint or
    service, the field, the value and the remedy. Costs O(declaration)."""
    hosts = {one.name: cluster_hosts.parse_host(one) for one in declared}
    cluster_hosts.refuse_shared_vteps(list(hosts.values()))
    port = _port(declared)
    _check_firewall(hosts)
    found = parse_networks(declared, hosts, groups, port)
    names = found.names()
    items = collect_endpoints(declared, hosts, names)
    placed = parse_endpoints(items, found.on, found.gateways)
    refuse_taken_addresses(found.lans, placed, hosts)
    others = {name: obj for name, obj in names.items() if name not in found.placed}
    services = parse_services(declared, placed, found.overlays, others)
    mesh = None
    if found.ground is not None:
        mesh = cluster_ingress.derive(found.ground, hosts, services)
        cluster_ingress.check_gateways(found.ground, mesh, found.gateways)
    rows = _rows(placed, found.overlays)
    used = [*found.overlays.values(), *([found.ground.parsed] if found.ground else [])]
    cluster = Cluster(
        hosts=hosts,
        networks={name: one._replace(rows=rows.get(name, ())) for name, one in found.placed.items()},
        local=publish(items, placed, services, found),
        port=port,
        ports=tuple(sorted({one.data_path_port for one in used} | {port})),
        warnings=tuple(_misspelt(declared)),
        bridges={host: [own.item for own in mine.values()] for host, mine in found.bridges.items()},
        macvlans={
            host: [lan.items[host] for lan in found.lans.values() if host in lan.items] for host in hosts
        },
        devices={host: [own.parsed.bridge for own in mine.values()] for host, mine in found.bridges.items()},
        services=_by_network(services),
        mesh=mesh,
    )
    return _with_names(cluster, placed, services, found)


def _with_names(
    cluster: Cluster, placed: Sequence[Placed], services: Sequence[Balanced], found: Networks
) -> Cluster:
    """The cluster with what its hosts have of services and names."""
    joined: dict[str, dict[str, None]] = {host: {} for host in cluster.hosts}
    for one in placed:
        if one.driver == "overlay":
            joined[one.host][one.parsed.network] = None
    balanced = {host: [name for name in mine if name in cluster.services] for host, mine in joined.items()}
    named = {host.name: _served(host, joined[host.name], found) for host in cluster.hosts.values()}
    asked = dict.fromkeys(name for mine in named.values() for name in mine)
    names = collect_names(asked, found.overlays, placed, services)
    check_servers(cluster.hosts, named, found.overlays, found.gateways)
    has = {"services": balanced, "names": named, "ingress": dict.fromkeys(cluster.hosts, cluster.mesh)}
    uses = {host: [value for value, mine in has.items() if mine[host]] for host in cluster.hosts}
    return cluster._replace(balanced=balanced, named=named, names=names, uses=uses)


def _served(host: Host, joined: Iterable[str], found: Networks) -> list[str]:
    """The overlays whose names the host serves: where it has a sandbox that asks, or may get one without a run."""
    if not host.dns:
        return []
    roaming = (
        name
        for name, one in found.overlays.items()
        if one.control_plane != "static" and found.placed[name].on(host.name)
    )
    # a name server listens on a gateway's address
    return [
        name
        for name in dict.fromkeys([*joined, *roaming])
        if any(subnet.gateway for subnet in found.overlays[name].subnets)
    ]


def _by_network(services: Sequence[Balanced]) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {}
    for one in services:
        found.setdefault(one.parsed.network, []).append(one.item)
    return found


def _port(declared: Sequence[Declared]) -> int:
    """The one UDP port; hosts that differ would not hear each other."""
    chosen: dict[int, str] = {}
    for one in declared:
        chosen.setdefault(cluster_hosts.port_of(one), one.name)
    if len(chosen) > 1:
        (first, holder), (other, host) = list(chosen.items())[:2]
        remedy = f"host {holder} has {first}; VXLAN needs one port for all: set it for the whole group"
        raise SpecError(cluster_hosts.label(host), "crosshost_data_path_port", other, remedy)
    return next(iter(chosen), overlay.PORT_DEFAULT)


def _check_firewall(hosts: Mapping[str, Host]) -> None:
    seen = set()
    for host in hosts.values():
        key = (tuple(host.firewall_ports or ()), host.extra_sources)
        if key in seen:
            continue
        seen.add(key)
        obj = cluster_hosts.label(host.name)
        for port in host.firewall_ports or ():
            _renamed(obj, "crosshost_firewall_ports", firewall.parse_port, port)
        for source in host.extra_sources:
            _renamed(obj, "crosshost_firewall_extra_sources", firewall.parse_source, source)
            if source.endswith("/0"):
                remedy = "that is everyone, and VXLAN has no authentication; name the sources"
                raise SpecError(obj, "crosshost_firewall_extra_sources", source, remedy)


def _renamed(obj: str, variable: str, parser: Any, value: str) -> None:
    try:
        parser(obj, value)
    except SpecError as error:
        raise SpecError(obj, variable, value, error.remedy) from None


def _rows(placed: Sequence[Placed], networks: Mapping[str, Overlay]) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {}
    for host, _item, one, driver in placed:
        if driver == "overlay" and networks[one.network].control_plane == "static":
            rows.setdefault(one.network, []).append((host, one.ip, one.ip6, one.mac))
    return rows


def _misspelt(declared: Sequence[Declared]) -> Iterator[str]:
    """A sentence for each variable that exists nowhere but is nearly one that does."""
    seen = set()
    for one in declared:
        for name in one.variables:
            if name in seen or name in VARIABLES or not name.startswith("crosshost_"):
                continue
            seen.add(name)
            near = difflib.get_close_matches(name, VARIABLES, 1, _LIKE)
            if near:
                yield f"host {one.name} has the variable {name}, which nothing reads; is {near[0]} meant?"
