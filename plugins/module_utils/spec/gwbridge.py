# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration of a gateway bridge: how the sandboxes of overlay networks reach the outside."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import SpecError
from . import fields
from .overlay import MTU_MIN_IPV4, MTU_MIN_IPV6
from .subnets import Subnet, refuse_overlaps, usable

NAME_DEFAULT = "xh_gwbridge"
_TAKEN = ("bridge", "publish", "service", "ingress")  # a gateway bridge's chains bear its name
OPTIONS = ("name", "subnet", "gateway", "subnet6", "gateway6", "icc", "ip_masquerade", "mtu")


class Gwbridge(NamedTuple):
    """A gateway bridge. ``subnets`` holds the IPv4 one, the IPv6 one, or both."""

    name: str
    subnets: tuple[Subnet, ...]
    icc: bool
    ip_masquerade: bool
    mtu: int

    @property
    def obj(self) -> str:
        return label(self.name)


def label(name: object) -> str:
    """How errors call a gateway bridge."""
    return f"gwbridge {name}"


def is_taken(name: str) -> bool:
    """True for names under which the chains of other objects are."""
    return name.partition("-")[0] in _TAKEN


def parse(item: Mapping[str, Any]) -> Gwbridge:
    """One bridge's declaration. SpecError names the field that cannot be right."""
    given = {field: value for field, value in item.items() if value is not None}
    name = fields.ifname(label(repr(item.get("name"))), "name", given.get("name", NAME_DEFAULT))
    obj = label(name)
    if is_taken(name):
        remedy = f"nft chains of other objects begin with {name.partition('-')[0]}-; take another name"
        raise SpecError(obj, "name", name, remedy)
    fields.known_only(obj, item, OPTIONS)
    subnets = []
    for version, suffix in ((4, ""), (6, "6")):
        if f"subnet{suffix}" in given:
            subnets.append(_subnet(obj, version, suffix, given))
        elif f"gateway{suffix}" in given:
            raise SpecError(obj, f"gateway{suffix}", given[f"gateway{suffix}"], f"it needs subnet{suffix}")
    if not subnets:
        raise SpecError(obj, "subnet", None, "declare the bridge's subnet, such as 172.30.0.0/16")
    mtu = fields.integer(obj, "mtu", given.get("mtu", 1500), MTU_MIN_IPV4, 65535, "an MTU in bytes")
    if mtu < MTU_MIN_IPV6 and "subnet6" in given:
        raise SpecError(
            obj, "mtu", mtu, f"IPv6 needs at least {MTU_MIN_IPV6} bytes; raise it or drop subnet6"
        )
    return Gwbridge(
        name=name,
        subnets=tuple(subnets),
        icc=fields.flag(obj, "icc", given.get("icc", False)),
        ip_masquerade=fields.flag(obj, "ip_masquerade", given.get("ip_masquerade", True)),
        mtu=mtu,
    )


def parse_all(items: Sequence[Mapping[str, Any]]) -> list[Gwbridge]:
    """All gateway bridges of one host; their subnets must not overlap."""
    bridges = [parse(item) for item in items]
    refuse_overlaps([(bridge.obj, bridge.subnets) for bridge in bridges])
    return bridges


def _subnet(obj: str, version: int, suffix: str, given: Mapping[str, Any]) -> Subnet:
    field = f"subnet{suffix}"
    block = fields.network(obj, field, given[field])
    if block.version != version:
        raise SpecError(obj, field, given[field], f"give an IPv{version} network here")
    if block.is_multicast or block.is_loopback or block.num_addresses < 4:
        raise SpecError(obj, field, given[field], "give a unicast network with room for two hosts or more")
    gateway = given.get(f"gateway{suffix}")
    text = (
        str(block.network_address + 1) if gateway is None else usable(obj, f"gateway{suffix}", gateway, block)
    )
    return Subnet(
        str(block), version, text, "", (), 0, int(block.network_address), int(block.broadcast_address)
    )


def member(subnet: Subnet, place: int) -> str:
    """The address at an offset from the network address."""
    base = ipaddress.IPv4Address if subnet.version == 4 else ipaddress.IPv6Address
    return str(base(subnet.first + place))


def first_free(bridge: Gwbridge, taken: set[int]) -> int:
    """The lowest offset that no sandbox has and that is no gateway, in all subnets of the bridge at once."""
    return _free(bridge, taken, range(1, _limit(bridge)))


def last_free(bridge: Gwbridge, taken: set[int]) -> int:
    """The highest one."""
    return _free(bridge, taken, range(_limit(bridge) - 1, 0, -1))


def _limit(bridge: Gwbridge) -> int:
    return min(subnet.last - subnet.first for subnet in bridge.subnets)


def _free(bridge: Gwbridge, taken: set[int], places: range) -> int:
    gateways = {int(ipaddress.ip_address(subnet.gateway)) - subnet.first for subnet in bridge.subnets}
    for place in places:
        if place not in taken and place not in gateways:
            return place
    raise SpecError(
        bridge.obj, "subnet", bridge.subnets[0].cidr, "it has no address left; declare a larger one"
    )
