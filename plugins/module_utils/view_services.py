# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a host's view that is about services: their addresses, their names, their ports on every host."""

from __future__ import annotations

from typing import Any

from .spec import fields, gwbridge
from .spec.cluster import Cluster
from .spec.cluster_hosts import Host
from .spec.cluster_ingress import Leg, Mapped, Mesh


def services(cluster: Cluster, own: Host) -> list[dict[str, Any]]:
    """Those of the networks in which the host has an endpoint."""
    return [item for network in cluster.balanced.get(own.name, ()) for item in cluster.services[network]]


def names(cluster: Cluster, own: Host) -> list[dict[str, Any]]:
    """What the name servers of the host know, a network each."""
    found = []
    for network in cluster.named.get(own.name, ()):
        known = cluster.names[network]
        item: dict[str, Any] = {"network": network, "records": known.records, "services": known.services}
        if own.gwbridge and own.gwbridge.get("name"):
            item["gwbridge"] = own.gwbridge["name"]
        if own.dns_servers:
            item["upstream"] = list(own.dns_servers)
        found.append(item)
    return found


def ingress(cluster: Cluster, own: Host) -> list[dict[str, Any]]:
    """The host's part of the ingress network, or nothing."""
    mesh = cluster.mesh
    if mesh is None:
        return []
    bridge = str((own.gwbridge or {}).get("name") or gwbridge.NAME_DEFAULT)
    return [
        {
            **mesh.item,
            **_addresses(mesh.hosts[own.name], ("address", "address6")),
            "gwbridge": bridge,
            "endpoints": _far(cluster, mesh, own.name),
            "legs": [
                {"name": leg.name, **leg.place, **_addresses((leg.ip, leg.ip6))}
                for leg in mesh.legs
                if leg.host == own.name
            ],
            "ports": [_port(mesh.legs, port, own.name) for port in mesh.ports],
        }
    ]


def _far(cluster: Cluster, mesh: Mesh, name: str) -> list[dict[str, str]]:
    """The sandboxes of the other hosts and the tasks that are there."""
    rows = [(host, ip, ip6) for host, (ip, ip6) in mesh.hosts.items()]
    rows += [(leg.host, leg.ip, leg.ip6) for leg in mesh.legs]
    return [
        remote(cluster.hosts[host].vtep, ip, ip6, fields.mac_of(ip or ip6))
        for host, ip, ip6 in rows
        if host != name
    ]


def _port(legs: list[Leg], port: Mapped, name: str) -> dict[str, Any]:
    item: dict[str, Any] = {
        "published": port.published,
        "target": port.target,
        "protocol": port.protocol,
        "service": port.service,
        "tasks": [
            {**_addresses((legs[place].ip, legs[place].ip6)), "weight": weight}
            for place, weight in port.tasks
        ],
    }
    if port.affinity != "none":
        item["affinity"] = port.affinity
    if port.keep_client_address:
        item["keep_client_address"] = True
        item["local"] = [
            {**legs[place].place, "weight": weight}
            for place, weight in port.tasks
            if legs[place].host == name
        ]
    return item


def remote(vtep: str, ip: str, ip6: str, mac: str) -> dict[str, str]:
    """An endpoint on another host, as `overlay_network` takes it."""
    found = {"ip": ip, "ip6": ip6, "mac": mac, "vtep": vtep}
    return {field: value for field, value in found.items() if value}


def _addresses(pair: tuple[str, str], named: tuple[str, str] = ("ip", "ip6")) -> dict[str, str]:
    return {field: text for field, text in zip(named, pair) if text}
