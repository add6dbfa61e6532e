# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster as the inventory declares it: all hosts, networks and endpoints, checked against each other."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..errors import SpecError
from . import cluster_hosts, fields, firewall, gwbridge, overlay
from .cluster_endpoints import Placed, collect_endpoints, parse_endpoints
from .cluster_hosts import Declared, Host
from .gwbridge import Gwbridge
from .overlay import Overlay
from .subnets import refuse_overlaps

# of overlay_network's options, what is the same on all hosts; `hosts` says on which the network is
NETWORK_OPTIONS = (
    "name", "subnets", "mtu", "control_plane", "multicast_group", "data_path_port",
    "internal", "attachable", "labels", "hosts",
)  # fmt: skip
VARIABLES = (
    "crosshost_data_path_interface", "crosshost_data_path_port", "crosshost_endpoints", "crosshost_firewall_backend",
    "crosshost_firewall_extra_sources", "crosshost_firewall_ports", "crosshost_group", "crosshost_gwbridge",
    "crosshost_networks", "crosshost_state", "crosshost_underlay_mtu", "crosshost_vtep",
)  # fmt: skip
_LIKE = 0.88  # difflib's ratio from which on another name is taken for a misspelling

Row = tuple[str, str, str, str]


class Network(NamedTuple):
    """An overlay network. ``item`` is its declaration for `overlay_network`; ``hosts`` None: on all hosts. ``rows`` are
    (host, ip, ip6, mac) of its endpoints, "" for no address; empty unless the control plane is static."""

    item: dict[str, Any]
    hosts: Optional[frozenset[str]]
    rows: Sequence[Row]

    def on(self, host: str) -> bool:
        return self.hosts is None or host in self.hosts


class Cluster(NamedTuple):
    """All of a cluster. ``local``: the endpoints of each host, as `endpoint` takes them. ``port``: the UDP port of
    networks without their own, ``ports``: all that are in use. ``warnings``: what looks like a misspelt variable."""

    hosts: dict[str, Host]
    networks: dict[str, Network]
    local: dict[str, list[dict[str, Any]]]
    port: int
    ports: tuple[int, ...]
    warnings: tuple[str, ...] = ()


def parse_cluster(declared: Sequence[Declared], groups: Mapping[str, Sequence[str]]) -> Cluster:
    """The cluster of these hosts; ``groups`` are the inventory's, by name. SpecError names host, network or endpoint,
    the field, the value and the remedy. Costs O(declaration)."""
    hosts = {one.name: cluster_hosts.parse_host(one) for one in declared}
    cluster_hosts.refuse_shared_vteps(list(hosts.values()))
    port = _port(declared)
    declarations = _collect_networks(declared)
    networks = {name: _place(name, item, hosts, groups) for name, item in declarations.items()}
    for name, network in networks.items():
        _one_family(name, [host for host in hosts.values() if network.on(host.name)])
    parsed = {one.name: one for one in _parse_networks(networks, hosts, port)}
    bridges = _parse_gwbridges(hosts, list(parsed.values()))
    _check_firewall(hosts)
    _refuse_underlay_inside(hosts, list(parsed.values()), bridges)
    items = collect_endpoints(declared, hosts, networks)
    placed = parse_endpoints(items, parsed, lambda network, host: networks[network].on(host), bridges)
    rows = _rows(placed, parsed)
    return Cluster(
        hosts=hosts,
        networks={name: network._replace(rows=rows.get(name, ())) for name, network in networks.items()},
        local=items,
        port=port,
        ports=tuple(sorted({one.data_path_port for one in parsed.values()} | {port})),
        warnings=tuple(_misspelt(declared)),
    )


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


def _collect_networks(declared: Sequence[Declared]) -> dict[str, dict[str, Any]]:
    """The declarations by name. A list that several hosts have counts once."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    lists = set()
    for one in declared:
        value = one.variables.get("crosshost_networks")
        if value is None or id(value) in lists:
            continue
        lists.add(id(value))
        mine = set()
        for place, raw in enumerate(
            fields.sequence(cluster_hosts.label(one.name), "crosshost_networks", value)
        ):
            item = _checked_network(f"crosshost_networks[{place}]", raw)
            name = str(item["name"])
            if name in mine:
                raise SpecError(
                    overlay.label(name), "name", name, "it is declared twice; names are unique in a cluster"
                )
            mine.add(name)
            holder, other = found.setdefault(name, (one.name, item))
            if other != item:
                field = next(key for key in (*item, *other) if item.get(key) != other.get(key))
                remedy = f"on host {one.name}, but {other.get(field)!r} on host {holder}; declare the network once, for the group"
                raise SpecError(overlay.label(name), field, item.get(field), remedy)
    return {name: item for name, (_holder, item) in found.items()}


def _checked_network(obj: str, raw: Any) -> dict[str, Any]:
    item = {field: given for field, given in fields.mapping(obj, "item", raw).items() if given is not None}
    fields.known_only(
        overlay.label(item["name"]) if isinstance(item.get("name"), str) else obj, item, NETWORK_OPTIONS
    )
    fields.name(obj, "name", item.get("name"), most=60)
    for field in ("mtu", "data_path_port"):
        if field in item:
            item[field] = cluster_hosts.number(item[field])
    return item


def _place(
    name: str, item: dict[str, Any], hosts: Mapping[str, Host], groups: Mapping[str, Sequence[str]]
) -> Network:
    """The network with the hosts on which it is: those named, and those of the cluster in the groups named."""
    plain = {field: value for field, value in item.items() if field != "hosts"}
    if "hosts" not in item:
        return Network(plain, None, ())
    chosen: set[str] = set()
    for entry in fields.sequence(overlay.label(name), "hosts", item["hosts"]):
        if isinstance(entry, str) and entry in hosts:
            chosen.add(entry)
        elif isinstance(entry, str) and entry in groups:
            members = [host for host in groups[entry] if host in hosts]
            if not members:
                remedy = "no host of this group is in the cluster; name others, or add its hosts to the cluster's group"
                raise SpecError(overlay.label(name), "hosts", entry, remedy)
            chosen.update(members)
        else:
            remedy = "there is no such host in the cluster and no such group; name hosts or groups of the inventory"
            raise SpecError(overlay.label(name), "hosts", entry, remedy)
    return Network(plain, frozenset(chosen), ())


def _one_family(name: str, hosts: Sequence[Host]) -> None:
    """One VXLAN device speaks one family, so all hosts of a network have VTEPs of it."""
    first: dict[bool, Host] = {}
    for host in hosts:
        first.setdefault(":" in host.vtep, host)
    if len(first) == 2:
        remedy = f"host {first[False].name} has {first[False].vtep}; use one address family for all hosts of a network"
        raise SpecError(overlay.label(name), f"VTEP of host {first[True].name}", first[True].vtep, remedy)


def _parse_networks(networks: Mapping[str, Network], hosts: Mapping[str, Host], port: int) -> list[Overlay]:
    """Each network by itself and all against each other, with one peer for the check of the underlay's family."""
    items = []
    for network in networks.values():
        peers = [{"host": host.name, "vtep": host.vtep} for host in hosts.values() if network.on(host.name)]
        items.append({"data_path_port": port, **network.item, "peers": peers[:1]})
    return overlay.parse_all(items)


def _parse_gwbridges(
    hosts: Mapping[str, Host], overlays: Sequence[Overlay]
) -> dict[str, dict[str, Gwbridge]]:
    """The gateway bridges of each host, by name. Equal declarations are parsed once."""
    taken = [(one.obj, one.subnets) for one in overlays]
    seen: dict[str, dict[str, Gwbridge]] = {"null": {}}
    found = {}
    for host in hosts.values():
        key = json.dumps(host.gwbridge, sort_keys=True, default=str)
        if key not in seen:
            assert host.gwbridge is not None
            try:
                bridge = gwbridge.parse(host.gwbridge)
                refuse_overlaps([*taken, (bridge.obj, bridge.subnets)])
            except SpecError as error:
                obj = f"{error.obj} (crosshost_gwbridge of host {host.name})"
                raise SpecError(obj, error.field, error.value, error.remedy) from None
            seen[key] = {bridge.name: bridge}
        found[host.name] = seen[key]
    return found


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


def _refuse_underlay_inside(
    hosts: Mapping[str, Host], overlays: Sequence[Overlay], bridges: Mapping[str, Mapping[str, Gwbridge]]
) -> None:
    """A VTEP inside an overlay would send the tunnel through itself; one inside a gateway bridge would go astray."""
    blocks = [(one.obj, subnet) for one in overlays for subnet in one.subnets]
    gateways = {one for found in bridges.values() for one in found.values()}
    blocks += [(one.obj, subnet) for one in sorted(gateways) for subnet in one.subnets]
    for host in hosts.values():
        packed = fields.pack(host.vtep) or b""
        for obj, subnet in blocks:
            if subnet.holds(packed):
                remedy = f"the VTEP of host {host.name}, {host.vtep}, is inside; the underlay needs addresses of its own"
                raise SpecError(obj, "subnet", subnet.cidr, remedy)


def _rows(placed: Sequence[Placed], networks: Mapping[str, Overlay]) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {}
    for host, _item, one in placed:
        if networks[one.network].control_plane == "static":
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
