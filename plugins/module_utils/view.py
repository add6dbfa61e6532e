# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster seen from one of its hosts, in the words of the modules' options. Pure; O(what the host holds).

What a view needs of the cluster is in :mod:`.view_slices`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Optional

from . import view_services
from .errors import SpecError
from .spec import cluster_hosts, gwbridge
from .spec.cluster import Cluster
from .spec.cluster_hosts import Host
from .spec.cluster_networks import Network

# firewall_ports opens VXLAN's 4789/udp by default; here the ports that are in use take its place
SWARM_PORTS = ("2377/tcp", "7946/tcp", "7946/udp")


def view_of(cluster: Cluster, name: str, only: Optional[Collection[str]] = None) -> dict[str, Any]:
    """The view of the named host; of what LONG names, the values ``only``. SpecError if the host is not in the cluster.

    ``networks``: items of `overlay_network`, with the endpoints of other hosts where the control plane is static, and
    with ``peers`` where the network is not on all hosts. ``networks_brief``: the same without both. ``peers``: all
    other hosts. ``bridge_networks``, ``macvlan_networks``, ``gwbridges``, ``endpoints``, ``services``, ``names``,
    ``ingress``: items of the modules of these names. ``uses``: which of the last three there are. ``firewall_*``: for
    `firewall_ports`. ``data_path_*``: VTEP, declared interface (or None), UDP port, MTU in bytes (or None).
    """
    own = cluster.hosts.get(name)
    if own is None:
        raise SpecError(
            cluster_hosts.label(name), "crosshost_group", None,
            "the host is not in the cluster's group; add it there, or leave it out of the play",
        )  # fmt: skip
    ports = own.firewall_ports
    if ports is None:
        ports = [*SWARM_PORTS, *(f"{port}/udp" for port in cluster.ports)]
    return {
        "host": name,
        "networks_brief": [network.item for network in _here(cluster, own)],
        "bridge_networks": cluster.bridges.get(name, []),
        "macvlan_networks": cluster.macvlans.get(name, []),
        "gwbridges": [own.gwbridge] if own.gwbridge else [],
        "endpoints": cluster.local.get(name, []),
        "uses": cluster.uses.get(name, []),
        "firewall_ports": ports,
        "firewall_forwards": _forwards(cluster, own),
        "data_path_address": own.vtep,
        "data_path_interface": own.interface or None,
        "data_path_port": cluster.port,
        "data_path_mtu": own.mtu or None,
        **{value: make(cluster, own) for value, make in LONG.items() if only is None or value in only},
    }


def _networks(cluster: Cluster, own: Host) -> list[dict[str, Any]]:
    return [_network(cluster, network, own.name) for network in _here(cluster, own)]


def _here(cluster: Cluster, own: Host) -> list[Network]:
    return [network for network in cluster.networks.values() if network.on(own.name)]


def _network(cluster: Cluster, network: Network, name: str) -> dict[str, Any]:
    item = dict(network.item)
    if network.hosts is not None:
        item["peers"] = _others((host for host in cluster.hosts.values() if host.name in network.hosts), name)
    if network.item.get("control_plane", "static") == "static":
        item["endpoints"] = [
            view_services.remote(cluster.hosts[row[0]].vtep, row[1], row[2], row[3])
            for row in network.rows
            if row[0] != name
        ]
    return item


def _others(hosts: Iterable[Host], name: str) -> list[dict[str, Any]]:
    found = []
    for host in hosts:
        if host.name != name:
            peer: dict[str, Any] = {"host": host.name, "vtep": host.vtep}
            if host.mtu:
                peer["mtu"] = host.mtu
            found.append(peer)
    return found


def _sources(cluster: Cluster, own: Host) -> list[str]:
    found: dict[str, None] = {}
    for host in cluster.hosts.values():
        if host.name != own.name:
            found[host.vtep] = None
            found.update(dict.fromkeys(host.management))
    found.update(dict.fromkeys(own.extra_sources))
    return list(found)


def _forwards(cluster: Cluster, own: Host) -> list[str]:
    gateway = [str(own.gwbridge.get("name") or gwbridge.NAME_DEFAULT)] if own.gwbridge else []
    return [*gateway, *cluster.devices.get(own.name, [])]


# what grows with the cluster and not with the host, and how it is made
LONG: dict[str, Callable[[Cluster, Host], list[Any]]] = {
    "networks": _networks,
    "peers": lambda cluster, own: _others(cluster.hosts.values(), own.name),
    "firewall_sources": _sources,
    "services": view_services.services,
    "names": view_services.names,
    "ingress": view_services.ingress,
}
