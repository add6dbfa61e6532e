# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster in slices that can be stored one by one, as JSON, and the cluster of those that one host's view needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from .spec.cluster import Cluster
from .spec.cluster_hosts import Host
from .spec.cluster_ingress import Leg, Mapped, Mesh
from .spec.cluster_names import Known
from .spec.cluster_networks import Network

COMMON, HOSTS, INGRESS = "common", "hosts", "ingress"


def slices(cluster: Cluster) -> Iterator[tuple[str, Any]]:
    """(name, value) of every slice; that which all views need comes last."""
    for name in cluster.hosts:
        yield host_slice(name), _own(cluster, name)
    for name, network in cluster.networks.items():
        hosts = None if network.hosts is None else sorted(network.hosts)
        yield f"network {name}", {"hosts": hosts, "rows": network.rows}
    for name, services in cluster.services.items():
        yield f"services {name}", services
    for name, known in cluster.names.items():
        yield f"names {name}", known
    if cluster.mesh is not None:
        yield INGRESS, cluster.mesh
    # the hosts as the others see them
    yield HOSTS, [[host.name, host.vtep, host.mtu, host.management] for host in cluster.hosts.values()]
    items = {name: network.item for name, network in cluster.networks.items()}
    yield COMMON, {"items": items, "port": cluster.port, "ports": cluster.ports}


def host_slice(name: str) -> str:
    """The name of the slice that the host's view alone needs."""
    return f"host {name}"


def _own(cluster: Cluster, name: str) -> dict[str, Any]:
    return {
        "own": cluster.hosts[name]._asdict(),
        "networks": [network for network, one in cluster.networks.items() if one.on(name)],
        "local": cluster.local.get(name, []),
        "bridges": cluster.bridges.get(name, []),
        "macvlans": cluster.macvlans.get(name, []),
        "devices": cluster.devices.get(name, []),
        "balanced": cluster.balanced.get(name, []),
        "named": cluster.named.get(name, []),
        "uses": cluster.uses.get(name, []),
    }


def part(name: str, read: Callable[[str], Any], only: Collection[str]) -> Cluster:
    """The part of a cluster of which the values ``only`` of this host's view can be made; ``read`` gives a slice by its
    name."""
    base, own = read(COMMON), read(host_slice(name))
    host = Host(**own["own"])
    host = host._replace(
        management=tuple(host.management),
        extra_sources=tuple(host.extra_sources),
        dns_servers=tuple(host.dns_servers),
    )
    known: dict[str, Host] = {}
    if not {"networks", "peers", "firewall_sources", "ingress"}.isdisjoint(only):
        known = {row[0]: Host(row[0], row[1], row[2], tuple(row[3])) for row in read(HOSTS)}
    networks = {}
    for network in own["networks"]:
        rest: dict[str, Any] = {"hosts": None, "rows": ()}
        if "networks" in only:
            rest = read(f"network {network}")
        hosts = None if rest["hosts"] is None else frozenset(rest["hosts"])
        networks[network] = Network(base["items"][network], hosts, rest["rows"])
    services = own["balanced"] if "services" in only else []
    named = own["named"] if "names" in only else []
    meshed = "ingress" in only and "ingress" in own["uses"]
    return Cluster(
        hosts={**known, name: host},
        networks=networks,
        local={name: own["local"]},
        port=base["port"],
        ports=tuple(base["ports"]),
        services={network: read(f"services {network}") for network in services},
        names={network: Known(*read(f"names {network}")) for network in named},
        mesh=_mesh(read(INGRESS)) if meshed else None,
        bridges={name: own["bridges"]},
        macvlans={name: own["macvlans"]},
        devices={name: own["devices"]},
        balanced={name: own["balanced"]},
        named={name: own["named"]},
        uses={name: own["uses"]},
    )


def _mesh(stored: Any) -> Mesh:
    item, hosts, legs, ports = stored
    return Mesh(
        item,
        {host: (ip, ip6) for host, (ip, ip6) in hosts.items()},
        [Leg(*leg) for leg in legs],
        [_mapped(*port) for port in ports],
    )


def _mapped(*stored: Any) -> Mapped:
    return Mapped(*stored)._replace(tasks=tuple((place, weight) for place, weight in stored[-1]))
