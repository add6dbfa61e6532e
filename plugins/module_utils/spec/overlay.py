# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration of an overlay network, parsed once into values that need no further check."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..errors import SpecError
from . import fields
from .peers import Peer, PeerLists, RemoteEndpoint, parse_endpoints, reserved
from .subnets import Subnet, parse_subnets, refuse_overlaps

CONTROL_PLANES = ("static", "flood", "multicast")
PORT_DEFAULT = 4789
MTU_MIN_IPV4, MTU_MIN_IPV6, MTU_MAX = 576, 1280, 65535
OPTIONS = (
    "name",
    "subnets",
    "mtu",
    "control_plane",
    "multicast_group",
    "peers",
    "endpoints",
    "data_path_address",
    "data_path_interface",
    "data_path_port",
    "internal",
    "attachable",
    "labels",
)


class Overlay(NamedTuple):
    """An overlay network as one host sees it. ``mtu`` None: derived from the underlay. ``data_path_address`` "" and
    ``data_path_interface`` "": the address that the host uses towards its peers."""

    name: str
    subnets: tuple[Subnet, ...]
    mtu: Optional[int]
    control_plane: str
    multicast_group: str
    peers: tuple[Peer, ...]
    endpoints: tuple[RemoteEndpoint, ...]
    data_path_address: str
    data_path_interface: str
    data_path_port: int
    internal: bool
    attachable: bool
    labels: tuple[tuple[str, str], ...]

    @property
    def obj(self) -> str:
        return label(self.name)

    @property
    def driver(self) -> str:
        return "overlay"

    @property
    def reserved(self) -> dict[str, str]:
        """The addresses that no endpoint may have, with the reason and the remedy."""
        return reserved(self.subnets)

    def segments(self) -> dict[int, list[Subnet]]:
        """The subnets by VNI: one broadcast domain each, with at most one subnet of a family."""
        found: dict[int, list[Subnet]] = {}
        for subnet in self.subnets:
            found.setdefault(subnet.vni, []).append(subnet)
        return found


def label(name: object) -> str:
    """How errors call a network."""
    return f"overlay_network {name}"


def parse(item: Mapping[str, Any], lists: Optional[PeerLists] = None) -> Overlay:
    """One network's declaration. SpecError names the field that cannot be right."""
    name = fields.name(label(repr(item.get("name"))), "name", item.get("name"), most=60)
    obj = label(name)
    fields.known_only(obj, item, OPTIONS)
    given = {field: value for field, value in item.items() if value is not None}
    subnets = parse_subnets(obj, given.get("subnets"))
    plane = fields.choice(obj, "control_plane", given.get("control_plane", "static"), CONTROL_PLANES)
    group = _group(obj, plane, given.get("multicast_group"))
    local = given.get("data_path_address")
    overlay = Overlay(
        name=name,
        subnets=subnets,
        mtu=declared_mtu(obj, given.get("mtu"), subnets),
        control_plane=plane,
        multicast_group=group,
        peers=(lists or PeerLists()).parse(obj, given.get("peers", [])),
        endpoints=parse_endpoints(obj, given.get("endpoints", []), subnets),
        data_path_address=fields.host_address(obj, "data_path_address", local)
        if local not in (None, "")
        else "",
        data_path_interface=_interface(obj, given.get("data_path_interface")),
        data_path_port=fields.integer(
            obj, "data_path_port", given.get("data_path_port", PORT_DEFAULT), 1, 65535, "a UDP port"
        ),
        internal=fields.flag(obj, "internal", given.get("internal", False)),
        attachable=fields.flag(obj, "attachable", given.get("attachable", True)),
        labels=fields.labels(obj, given.get("labels", {})),
    )
    _one_underlay(overlay)
    return overlay


def parse_all(items: Sequence[Mapping[str, Any]]) -> list[Overlay]:
    """All networks of one host: each by itself, then names, VNIs and subnets against each other."""
    lists = PeerLists()
    overlays = [parse(item, lists) for item in items]
    names: dict[str, str] = {}
    vnis: dict[tuple[int, int], str] = {}
    for overlay in overlays:
        if overlay.name in names:
            raise SpecError(overlay.obj, "name", overlay.name, "it is declared twice; names are unique")
        names[overlay.name] = overlay.name
        for vni in overlay.segments():
            other = vnis.setdefault((vni, overlay.data_path_port), overlay.name)
            if other != overlay.name:
                remedy = f"network {other} uses this VNI on port {overlay.data_path_port}; give each subnet its own"
                raise SpecError(overlay.obj, "vni", vni, remedy)
    refuse_overlaps([(overlay.obj, overlay.subnets) for overlay in overlays])
    return overlays


def _group(obj: str, plane: str, value: Any) -> str:
    if plane != "multicast":
        if value not in (None, ""):
            raise SpecError(obj, "multicast_group", value, "it needs control_plane: multicast")
        return ""
    if not value:
        raise SpecError(
            obj, "multicast_group", value, "control_plane multicast needs a group, such as 239.1.1.1"
        )
    group = fields.address(obj, "multicast_group", value)
    if not ipaddress.ip_address(group).is_multicast:
        raise SpecError(obj, "multicast_group", value, "give a multicast address: 224.0.0.0/4 or ff00::/8")
    return group


def _interface(obj: str, value: Any) -> str:
    return fields.ifname(obj, "data_path_interface", value) if value not in (None, "") else ""


def declared_mtu(obj: str, value: Any, subnets: Sequence[Subnet]) -> Optional[int]:
    """An MTU that all the subnets' families can live with; None when none is declared."""
    if value is None:
        return None
    mtu = fields.integer(obj, "mtu", value, MTU_MIN_IPV4, MTU_MAX, "an MTU in bytes")
    if mtu < MTU_MIN_IPV6 and any(subnet.version == 6 for subnet in subnets):
        raise SpecError(
            obj, "mtu", value, f"IPv6 needs at least {MTU_MIN_IPV6} bytes; raise it or drop the IPv6 subnet"
        )
    return mtu


def _one_underlay(overlay: Overlay) -> None:
    """One VXLAN device speaks one family: all VTEPs, our own and the group have to agree."""
    seen: dict[int, tuple[str, str]] = {}
    values = [("data_path_address", overlay.data_path_address), ("multicast_group", overlay.multicast_group)]
    values += [(f"peers[{peer.host}].vtep", peer.vtep) for peer in overlay.peers]
    ends = {end.vtep: end for end in overlay.endpoints}
    values += [(f"endpoints[{end.ip or end.ip6}].vtep", vtep) for vtep, end in ends.items()]
    for field, value in values:
        if value:
            seen.setdefault(6 if ":" in value else 4, (field, value))
    if len(seen) == 2:
        field, value = seen[6]
        other = seen[4]
        raise SpecError(
            overlay.obj, field, value, f"{other[0]} is {other[1]}: use one address family for the underlay"
        )
