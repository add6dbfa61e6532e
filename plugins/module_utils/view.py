# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster seen from one of its hosts, in the words of the modules' options. Pure; O(what the host holds).

A view needs little of the cluster: `common`, the host's own slice, `host_rows` and the slices of the host's networks.
They can be stored one by one (as JSON), so that whoever wants one view reads what belongs to it and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .errors import SpecError
from .spec import cluster_hosts
from .spec.cluster import Cluster, Network
from .spec.cluster_hosts import Host

# firewall_ports opens VXLAN's 4789/udp by default; here the ports that are in use take its place
SWARM_PORTS = ("2377/tcp", "7946/tcp", "7946/udp")
# what grows with the cluster and not with the host
LONG = ("networks", "peers", "firewall_sources")


def view_of(cluster: Cluster, name: str) -> dict[str, Any]:
    """The view of the named host. SpecError if it is not in the cluster.

    ``networks``: items of `overlay_network`, with the endpoints of other hosts where the control plane is static, and
    with ``peers`` where the network is not on all hosts. ``networks_brief``: the same without both. ``peers``: all
    other hosts. ``endpoints``: items of `endpoint`. ``gwbridges``: items of `gwbridge`. ``firewall_sources`` and
    ``firewall_ports``: for `firewall_ports`. ``data_path_*``: VTEP, declared interface (or None), UDP port, MTU in
    bytes (or None).
    """
    own = cluster.hosts.get(name)
    if own is None:
        raise SpecError(
            cluster_hosts.label(name), "crosshost_group", None,
            "the host is not in the cluster's group; add it there, or leave it out of the play",
        )  # fmt: skip
    here = [network for network in cluster.networks.values() if network.on(name)]
    ports = own.firewall_ports
    if ports is None:
        ports = [*SWARM_PORTS, *(f"{port}/udp" for port in cluster.ports)]
    return {
        "host": name,
        "networks": [_network(cluster, network, name) for network in here],
        "networks_brief": [network.item for network in here],
        "peers": _peers(cluster.hosts.values(), name),
        "gwbridges": [own.gwbridge] if own.gwbridge else [],
        "endpoints": cluster.local.get(name, []),
        "firewall_sources": _sources(cluster.hosts, own),
        "firewall_ports": ports,
        "data_path_address": own.vtep,
        "data_path_interface": own.interface or None,
        "data_path_port": cluster.port,
        "data_path_mtu": own.mtu or None,
    }


def _network(cluster: Cluster, network: Network, name: str) -> dict[str, Any]:
    item = dict(network.item)
    if network.hosts is not None:
        item["peers"] = _peers((host for host in cluster.hosts.values() if host.name in network.hosts), name)
    if network.item.get("control_plane", "static") == "static":
        item["endpoints"] = [
            _remote(cluster.hosts, row[0], row[1], row[2], row[3]) for row in network.rows if row[0] != name
        ]
    return item


def _remote(hosts: Mapping[str, Host], host: str, ip: str, ip6: str, mac: str) -> dict[str, str]:
    found = {"ip": ip, "ip6": ip6, "mac": mac, "vtep": hosts[host].vtep}
    return {field: value for field, value in found.items() if value}


def _peers(hosts: Iterable[Host], name: str) -> list[dict[str, Any]]:
    found = []
    for host in hosts:
        if host.name != name:
            peer: dict[str, Any] = {"host": host.name, "vtep": host.vtep}
            if host.mtu:
                peer["mtu"] = host.mtu
            found.append(peer)
    return found


def _sources(hosts: Mapping[str, Host], own: Host) -> list[str]:
    found: dict[str, None] = {}
    for host in hosts.values():
        if host.name != own.name:
            found[host.vtep] = None
            found.update(dict.fromkeys(host.management))
    found.update(dict.fromkeys(own.extra_sources))
    return list(found)


def common(cluster: Cluster) -> dict[str, Any]:
    """What every view needs."""
    items = {name: network.item for name, network in cluster.networks.items()}
    return {"items": items, "port": cluster.port, "ports": cluster.ports}


def host_rows(cluster: Cluster) -> list[list[Any]]:
    """The hosts as the others see them."""
    return [[host.name, host.vtep, host.mtu, host.management] for host in cluster.hosts.values()]


def host_slices(cluster: Cluster) -> Iterable[tuple[str, dict[str, Any]]]:
    """(host, what its view alone needs)."""
    for name, host in cluster.hosts.items():
        names = [network for network, one in cluster.networks.items() if one.on(name)]
        yield name, {"own": host._asdict(), "local": cluster.local.get(name, []), "networks": names}


def network_slices(cluster: Cluster) -> Iterable[tuple[str, dict[str, Any]]]:
    """(network, what the views of its hosts need besides its declaration)."""
    for name, network in cluster.networks.items():
        hosts = None if network.hosts is None else sorted(network.hosts)
        yield name, {"hosts": hosts, "rows": network.rows}


def part(
    base: Mapping[str, Any], own: Mapping[str, Any], hosts: Sequence[Any], networks: Mapping[str, Any]
) -> Cluster:
    """The part of a cluster that the view of one host needs: from `common`, its slice, `host_rows`, and the slices of its
    networks. Without the latter two, all of the view is right but what LONG names."""
    host = Host(**own["own"])
    host = host._replace(management=tuple(host.management), extra_sources=tuple(host.extra_sources))
    known = {row[0]: Host(row[0], row[1], row[2], tuple(row[3])) for row in hosts}
    found = {}
    for name in own["networks"]:
        rest = networks.get(name, {"hosts": None, "rows": ()})
        chosen = None if rest["hosts"] is None else frozenset(rest["hosts"])
        found[name] = Network(base["items"][name], chosen, rest["rows"])
    return Cluster(
        {**known, host.name: host}, found, {host.name: own["local"]}, base["port"], tuple(base["ports"])
    )
