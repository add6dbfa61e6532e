# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints and the sandboxes' gateway legs as resources of one host's kernel. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..resources import (
    HOST,
    Address,
    Attrs,
    FdbEntry,
    Link,
    Neighbour,
    Peer,
    Resource,
    Route,
    Sysctl,
    mark_of,
    netns_name,
)
from ..spec import fields
from ..spec.endpoint import GATEWAY_INTERFACE, Endpoint
from ..spec.gwbridge import Gwbridge, member
from ..spec.overlay import Overlay
from ..spec.subnets import Subnet, find
from .gwbridge import port_flags
from .overlay import bridge_name

DEFAULTS = {4: "0.0.0.0/0", 6: "::/0"}
# a static network floods nothing: what goes to an unknown MAC does not reach other sandboxes
_STATIC_PORT: Attrs = (("flood", 0), ("learning", 0))


class Leg(NamedTuple):
    """A sandbox's way to a gateway bridge: ``offset`` is its address's distance from the network address."""

    place: str
    netns: str
    offset: int


def endpoint_alias(endpoint_id: str) -> str:
    return mark_of(endpoint_id)


def leg_alias(bridge: Gwbridge, leg: Leg) -> str:
    """It holds the address too: the kernel itself remembers what has been handed out on this host."""
    return mark_of(f"{bridge.name}/{leg.place}@{member(bridge.subnets[0], leg.offset)}")


def port_name(prefix: str, owner: str) -> str:
    """A name within 15 bytes for the outer end of a pair; the alias says in full whose it is."""
    return prefix + hashlib.sha256(owner.encode()).hexdigest()[:10]


class Place(NamedTuple):
    """Where an endpoint goes, and what it takes from its network there: the MTU and the MAC of the segment's bridge."""

    netns: str
    interface: str
    mtu: int
    bridge_mac: str


def compile_endpoint(endpoint: Endpoint, overlay: Overlay, place: Place) -> Iterator[Resource]:
    """The pair, the static row of its port, and what the sandbox needs to reach the network's other subnets."""
    netns, interface, mtu, bridge_mac = place
    outer = netns_name(overlay.name)
    port = port_name("ve", endpoint.id)
    yield Link(
        outer,
        port,
        "veth",
        endpoint_alias(endpoint.id),
        mtu,
        master=bridge_name(endpoint.vni),
        port=_STATIC_PORT if overlay.control_plane == "static" else (),
        peer=Peer(netns, interface, endpoint.mac, mtu),
    )
    yield FdbEntry(outer, port, endpoint.mac)
    if endpoint.ip6:
        yield _speaks_ipv6(netns, interface)
    for text in filter(None, (endpoint.ip, endpoint.ip6)):
        packed = fields.pack(text)
        assert packed is not None
        own = find(overlay.subnets, packed)
        assert own is not None
        yield Address(netns, interface, text, own.prefixlen)
        if own.gateway and own.version == 4 and overlay.control_plane != "static":
            # the gateways of other hosts ask in the same name and reach everybody: the nearest one stays the one to use
            yield Neighbour(netns, interface, own.gateway, bridge_mac)
        for other in overlay.subnets:
            if own.gateway and other.version == own.version and other.cidr != own.cidr:
                yield Route(netns, other.cidr, interface, own.gateway)


class Segment(NamedTuple):
    """A bridge network's device as its endpoints see it."""

    bridge: str
    mtu: int
    flags: Attrs


def compile_bridged(
    endpoint: Endpoint, subnets: Sequence[Subnet], segment: Segment, netns: str, interface: str
) -> Iterator[Resource]:
    """The pair of an endpoint of a bridge network: its port is in the host's namespace."""
    yield Link(
        HOST,
        port_name("ve", endpoint.id),
        "veth",
        endpoint_alias(endpoint.id),
        segment.mtu,
        master=segment.bridge,
        port=segment.flags,
        peer=Peer(netns, interface, endpoint.mac, segment.mtu),
    )
    yield from addresses(endpoint, subnets, netns, interface)


def addresses(
    endpoint: Endpoint, subnets: Sequence[Subnet], netns: str, interface: str
) -> Iterator[Resource]:
    """The endpoint's addresses, and its routes to the other subnets of a network that is one segment."""
    if endpoint.ip6:
        yield _speaks_ipv6(netns, interface)
    for text in filter(None, (endpoint.ip, endpoint.ip6)):
        own = subnet_of(subnets, text)
        yield Address(netns, interface, text, own.prefixlen)
        for other in subnets:
            if other.version == own.version and other.cidr != own.cidr:
                yield Route(netns, other.cidr, interface)  # the same wire


def subnet_of(subnets: Sequence[Subnet], address: str) -> Subnet:
    """The subnet that holds an address which was found to be in one."""
    own = find(subnets, fields.pack(address) or b"")
    assert own is not None
    return own


def compile_leg(bridge: Gwbridge, leg: Leg, routed: tuple[int, ...] = (4, 6)) -> Iterator[Resource]:
    """The pair to the gateway bridge, and the default routes over it of the families ``routed``."""
    first = member(bridge.subnets[0], leg.offset)
    peer = Peer(leg.netns, GATEWAY_INTERFACE, fields.mac_of(first), bridge.mtu)
    yield Link(
        HOST,
        port_name("vg", leg.place),
        "veth",
        leg_alias(bridge, leg),
        bridge.mtu,
        master=bridge.name,
        port=port_flags(bridge, leg.place),
        peer=peer,
    )
    if any(subnet.version == 6 for subnet in bridge.subnets):
        yield _speaks_ipv6(leg.netns, GATEWAY_INTERFACE)
    for subnet in bridge.subnets:
        yield Address(leg.netns, GATEWAY_INTERFACE, member(subnet, leg.offset), subnet.prefixlen)
        if subnet.version in routed:
            yield Route(leg.netns, DEFAULTS[subnet.version], GATEWAY_INTERFACE, subnet.gateway)


def _speaks_ipv6(netns: str, interface: str) -> Sysctl:
    """Docker turns IPv6 off in a container that has no IPv6 network of Docker's."""
    return Sysctl(netns, f"net.ipv6.conf.{interface.replace('.', '/')}.disable_ipv6", "0")
