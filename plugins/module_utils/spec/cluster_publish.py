# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The published ports of a cluster: nobody's twice, and those of services in mode host on their tasks' endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import SpecError
from . import endpoint
from .cluster_drivers import Networks
from .cluster_endpoints import Placed
from .cluster_networks import on_host
from .cluster_ports import Claim, refuse_taken
from .cluster_services import Balanced

Item = dict[str, Any]


def publish(
    items: Mapping[str, Sequence[Item]],
    placed: Sequence[Placed],
    services: Sequence[Balanced],
    networks: Networks,
) -> dict[str, list[Item]]:
    """The endpoints by host, with what services publish on them. SpecError if a port has two owners, or none can reach it."""
    meshed = [
        Claim(one.parsed.obj, "ports", port.publish)
        for one in services
        for port in one.ports
        if port.mode == "ingress"
    ]
    if meshed and networks.ground is None:
        remedy = "a port on every host takes an ingress network; declare crosshost_ingress, or publish it with mode: host"
        raise SpecError(meshed[0].obj, "ports", str(meshed[0].publish), remedy)
    own = _on_hosts(services)
    claims: dict[str, list[Claim]] = {host: [] for host in items}
    for one in placed:
        claims[one.host] += [Claim(one.parsed.obj, "publish", port) for port in one.parsed.publish]
    for (host, _id), found in own.items():
        claims[host] += found
    refuse_taken(meshed, claims)
    result: dict[str, list[Item]] = {host: [] for host in items}
    for one in placed:
        result[one.host].append(_with(one, own.get((one.host, one.parsed.id), ()), networks))
    return result


def _on_hosts(services: Sequence[Balanced]) -> dict[tuple[str, str], list[Claim]]:
    """The ports in mode host by their hosts and endpoints."""
    found: dict[tuple[str, str], list[Claim]] = {}
    for one in services:
        ports = [port.publish for port in one.ports if port.mode == "host"]
        for end, _weight in one.tasks if ports else ():
            obj = f"{one.parsed.obj}: task {end.parsed.name}"
            claims = found.setdefault((end.host, end.parsed.id), [])
            claims += [Claim(obj, "ports", port) for port in ports]
    return found


def _with(one: Placed, claims: Sequence[Claim], networks: Networks) -> Item:
    if not claims:
        return one.item
    item = {**one.item, "publish": [*one.item.get("publish", []), *(str(claim.publish) for claim in claims)]}
    network = networks.on(one.parsed.network, one.host)
    assert network is not None
    with on_host(one.host):
        endpoint.parse(item, {network.name: network}, networks.gateways[one.host])
    return item
