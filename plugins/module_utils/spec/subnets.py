# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subnets with their gateway, range and reserved addresses; and the check that no two overlap."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..errors import SpecError
from . import fields
from .fields import Network

PLAIN_OPTIONS = ("subnet", "gateway", "ip_range", "aux_addresses")
OPTIONS = (*PLAIN_OPTIONS, "vni")
NO_GATEWAY = "none"


class Subnet(NamedTuple):
    """A CIDR block of a network. ``gateway`` is "" when there is none; ``vni`` is the segment that carries it."""

    cidr: str
    version: int
    gateway: str
    ip_range: str
    aux: tuple[tuple[str, str], ...]
    vni: int
    first: int
    last: int

    @property
    def prefixlen(self) -> int:
        return int(self.cidr.rsplit("/", 1)[1])

    def holds(self, packed: bytes) -> bool:
        """True for the bytes of an address in the block."""
        return (
            len(packed) == (4 if self.version == 4 else 16)
            and self.first <= int.from_bytes(packed, "big") <= self.last
        )


def parse_subnets(obj: str, value: Any) -> tuple[Subnet, ...]:
    """The subnets of one network. An IPv6 subnet without VNI joins the first IPv4 subnet that has no IPv6 one yet."""
    items = fields.sequence(obj, "subnets", value if value is not None else [])
    if not items:
        raise SpecError(
            obj, "subnets", value, "declare at least one, such as {subnet: 10.0.1.0/24, vni: 4101}"
        )
    parsed = [_subnet(obj, f"subnets[{place}]", item) for place, item in enumerate(items)]
    segments: dict[int, dict[int, Subnet]] = {}
    for subnet in parsed:
        if subnet.vni:
            taken = segments.setdefault(subnet.vni, {})
            if subnet.version in taken:
                remedy = f"subnet {taken[subnet.version].cidr} has it already; give each IPv{subnet.version} subnet its own"
                raise SpecError(obj, f"subnets[{subnet.cidr}].vni", subnet.vni, remedy)
            taken[subnet.version] = subnet
    result = [subnet if subnet.vni else _share(obj, subnet, parsed, segments) for subnet in parsed]
    refuse_overlaps([(obj, result)])
    return tuple(result)


def parse_plain_subnets(obj: str, value: Any, default_gateway: bool = True) -> tuple[Subnet, ...]:
    """The subnets of a network that is one segment by itself. Without ``default_gateway`` there is none unless declared."""
    items = fields.sequence(obj, "subnets", value if value is not None else [])
    if not items:
        raise SpecError(obj, "subnets", value, "declare at least one, such as {subnet: 192.168.1.0/24}")
    parsed = []
    for place, item in enumerate(items):
        bare = isinstance(item, Mapping) and item.get("gateway") is None and not default_gateway
        given = {**item, "gateway": NO_GATEWAY} if bare else item
        parsed.append(_subnet(obj, f"subnets[{place}]", given, PLAIN_OPTIONS))
    refuse_overlaps([(obj, parsed)])
    return tuple(parsed)


def _share(
    obj: str, subnet: Subnet, parsed: Sequence[Subnet], segments: dict[int, dict[int, Subnet]]
) -> Subnet:
    if subnet.version == 6:
        for other in parsed:
            if other.version == 4 and other.vni and 6 not in segments[other.vni]:
                segments[other.vni][6] = subnet
                return subnet._replace(vni=other.vni)
    raise SpecError(
        obj,
        f"subnets[{subnet.cidr}].vni",
        None,
        f"give the subnet's VNI, a number from 1 to {fields.VNI_MAX}",
    )


def _subnet(obj: str, where: str, item: Any, options: Sequence[str] = OPTIONS) -> Subnet:
    if not isinstance(item, Mapping):
        raise SpecError(
            obj, where, item, f"give a mapping with subnet{' and vni' if 'vni' in options else ''}"
        )
    fields.known_only(obj, item, options)
    block = fields.network(obj, f"{where}.subnet", item.get("subnet"))
    where = f"subnets[{block}]"
    if block.is_multicast or block.is_loopback or block.num_addresses < 4:
        raise SpecError(
            obj, f"{where}.subnet", str(block), "give a unicast network with room for two hosts or more"
        )
    if block.version == 6 and block.is_link_local:
        remedy = (
            "link-local addresses are each device's own; give a unique local network, such as fd00:1::/64"
        )
        raise SpecError(obj, f"{where}.subnet", str(block), remedy)
    chosen = _range(obj, where, item.get("ip_range"), block)
    gateway = _gateway(obj, where, item.get("gateway"), block, chosen)
    vni = item.get("vni")
    if vni is not None:
        vni = fields.integer(obj, f"{where}.vni", vni, 1, fields.VNI_MAX, "a VNI")
    return Subnet(
        cidr=str(block),
        version=block.version,
        gateway=gateway,
        ip_range=str(chosen) if chosen else "",
        aux=_aux(obj, where, item.get("aux_addresses"), block, gateway),
        vni=vni or 0,
        first=int(block.network_address),
        last=int(block.broadcast_address),
    )


def usable(obj: str, field: str, value: Any, block: Network) -> str:
    """An address that a member of the block can have: inside, and neither its network nor its broadcast address."""
    text = fields.address(obj, field, value)
    parsed = ipaddress.ip_address(text)
    if parsed not in block:
        raise SpecError(obj, field, value, f"it is outside {block}; give an address of that subnet")
    if parsed == block.network_address or (block.version == 4 and parsed == block.broadcast_address):
        raise SpecError(obj, field, value, f"it is the network or broadcast address of {block}; give another")
    return text


def _gateway(obj: str, where: str, value: Any, block: Network, chosen: Optional[Network]) -> str:
    if value == NO_GATEWAY:
        return ""
    if value is not None:
        return usable(obj, f"{where}.gateway", value, block)
    base = chosen or block
    # the first address, as Docker takes it: of the range if there is one
    first = (
        base.network_address if base.network_address != block.network_address else base.network_address + 1
    )
    return usable(obj, f"{where}.ip_range", str(first), block)


def _range(obj: str, where: str, value: Any, block: Network) -> Optional[Network]:
    if value is None:
        return None
    chosen = fields.network(obj, f"{where}.ip_range", value)
    if chosen.version != block.version or not (
        chosen.network_address in block and chosen.broadcast_address in block
    ):
        raise SpecError(obj, f"{where}.ip_range", value, f"it is outside {block}; give a part of that subnet")
    return chosen


def _aux(obj: str, where: str, value: Any, block: Network, gateway: str) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for name, address in fields.mapping(
        obj, f"{where}.aux_addresses", value if value is not None else {}
    ).items():
        field = f"{where}.aux_addresses.{name}"
        fields.name(obj, field, name)
        text = usable(obj, field, address, block)
        if text == gateway:
            raise SpecError(obj, field, address, "it is the gateway of the subnet; reserve another address")
        for other, taken in found.items():
            if taken == text:
                raise SpecError(obj, field, address, f"{other} has it already; reserve each address once")
        found[name] = text
    return tuple(sorted(found.items()))


def refuse_overlaps(owners: Sequence[tuple[str, Sequence[Subnet]]]) -> None:
    """SpecError if any two subnets overlap, in one network or in two. O(n log n)."""
    spans: list[tuple[int, int, int, str, str]] = []
    for obj, subnets in owners:
        spans.extend((subnet.version, subnet.first, subnet.last, subnet.cidr, obj) for subnet in subnets)
    spans.sort()
    for before, after in zip(spans, spans[1:]):
        if before[0] == after[0] and after[1] <= before[2]:
            where = "the same network" if before[4] == after[4] else before[4]
            raise SpecError(
                after[4], "subnet", after[3], f"it overlaps {before[3]} of {where}; give each its own block"
            )


def find(subnets: Sequence[Subnet], packed: bytes) -> Optional[Subnet]:
    """The subnet that holds an address."""
    for subnet in subnets:
        if subnet.holds(packed):
            return subnet
    return None
