# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a sandbox's endpoints gives it its way out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..resources import Resource, Route
from ..spec.endpoint import Endpoint
from ..spec.gwbridge import Gwbridge
from ..spec.networks import Network
from .endpoint import DEFAULTS, subnet_of


def choose(
    endpoints: Iterable[Endpoint], networks: Mapping[str, Network], bridges: Mapping[str, Gwbridge]
) -> dict[int, Endpoint]:
    """For IPv4 and IPv6 apart, the endpoint of a sandbox over whose network the default route goes: the highest gw_priority,
    then one with a gateway of its own before a gateway bridge, one with both families before one with a single, and the
    first by name. Addresses have to be settled."""
    mine = list(endpoints)
    found: dict[int, Endpoint] = {}
    for version in DEFAULTS:
        able = [one for one in mine if version in families(one, networks[one.network], bridges)]
        if able:
            found[version] = min(able, key=lambda one: _rank(one, networks[one.network], bridges))
    return found


def families(one: Endpoint, network: Network, bridges: Mapping[str, Gwbridge]) -> set[int]:
    """The families for which the endpoint could be the sandbox's way out."""
    if not one.default_route:
        return set()
    if network.driver == "overlay":
        bridge = bridges.get(one.gwbridge)
        return {subnet.version for subnet in bridge.subnets} if bridge else set()
    reached = [subnet_of(network.subnets, text) for text in (one.ip, one.ip6) if text]
    routed = bool(getattr(network, "routed", False))
    return {subnet.version for subnet in reached if subnet.gateway or routed}


def _rank(
    one: Endpoint, network: Network, bridges: Mapping[str, Gwbridge]
) -> tuple[int, bool, bool, str, str]:
    single = len(families(one, network, bridges)) < 2
    return (-one.gw_priority, network.driver == "overlay", single, one.network, one.name)


def default_routes(
    one: Endpoint, network: Network, netns: str, interface: str, version: int
) -> Iterator[Resource]:
    """The default route over an endpoint whose network has a gateway of its own."""
    subnet = subnet_of(network.subnets, one.ip if version == 4 else one.ip6)
    yield Route(
        netns, DEFAULTS[version], interface, "" if getattr(network, "routed", False) else subnet.gateway
    )
