# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other hosts of an overlay, and the endpoints on them. Written for lists of ten thousand and more."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import SpecError
from . import fields
from .subnets import Subnet

PEER_OPTIONS = ("host", "vtep", "mtu")
ENDPOINT_OPTIONS = ("ip", "ip6", "mac", "vtep", "name", "host")


class Peer(NamedTuple):
    """Another host of the network. ``mtu`` is what its underlay passes, 0 when that is not known."""

    host: str
    vtep: str
    mtu: int


class RemoteEndpoint(NamedTuple):
    """An endpoint on another host: its addresses ("" for none), MAC, the VTEP behind which it is, and the VNIs of its
    addresses' segments (0 for none)."""

    ip: str
    ip6: str
    mac: str
    vtep: str
    vni: int
    vni6: int


class PeerLists:
    """Parses each list of peers once, however many networks share it."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, tuple[Peer, ...]]] = {}

    def parse(self, obj: str, value: Any) -> tuple[Peer, ...]:
        if id(value) not in self._known:
            self._known[id(value)] = (value, parse_peers(obj, value))
        return self._known[id(value)][1]


def parse_peers(obj: str, value: Any) -> tuple[Peer, ...]:
    """Peers in the order of their VTEPs; each VTEP once."""
    found: dict[str, Peer] = {}
    for place, item in enumerate(fields.sequence(obj, "peers", value)):
        if not isinstance(item, Mapping):
            raise SpecError(obj, f"peers[{place}]", item, "give a mapping with host and vtep")
        fields.known_only(obj, item, PEER_OPTIONS)
        host = item.get("host")
        if host is not None and not isinstance(host, str):
            raise SpecError(obj, f"peers[{place}].host", host, "give the host's name")
        where = f"peers[{host if host else place}]"
        if not item.get("vtep"):
            raise SpecError(
                obj,
                f"{where}.vtep",
                item.get("vtep"),
                "a peer needs a VTEP: set crosshost_vtep for that host",
            )
        vtep = fields.host_address(obj, f"{where}.vtep", item["vtep"])
        mtu = item.get("mtu")
        if mtu is not None:
            mtu = fields.integer(obj, f"{where}.mtu", mtu, 576, 65535, "an MTU in bytes")
        if vtep in found and found[vtep].host != (host or ""):
            raise SpecError(
                obj,
                f"{where}.vtep",
                vtep,
                f"peer {found[vtep].host or vtep} has it already; VTEPs are unique",
            )
        found[vtep] = Peer(host or "", vtep, mtu or 0)
    return tuple(sorted(found.values(), key=lambda peer: peer.vtep))


def parse_endpoints(obj: str, value: Any, subnets: Sequence[Subnet]) -> tuple[RemoteEndpoint, ...]:
    """Endpoints on other hosts; duplicate addresses and MACs are refused, and those that the subnets reserve."""
    reader = _Reader(obj, subnets)
    return tuple(
        reader.read(place, item) for place, item in enumerate(fields.sequence(obj, "endpoints", value))
    )


class _Reader:
    def __init__(self, obj: str, subnets: Sequence[Subnet]) -> None:
        self._obj = obj
        self._subnets = subnets
        self._spans = {
            version: [_span(subnet) for subnet in subnets if subnet.version == version] for version in (4, 6)
        }
        self._vteps: dict[str, str] = {}
        self._seen_ips: set[str] = set()
        self._macs: dict[int, set[str]] = {subnet.vni: set() for subnet in subnets}
        self._reserved = reserved(subnets)

    def read(self, place: int, item: Any) -> RemoteEndpoint:
        if not isinstance(item, (dict, Mapping)):  # asking for a dict first is fast
            raise SpecError(self._obj, f"endpoints[{place}]", item, "give a mapping with ip and vtep")
        if not _ENDPOINT_KEYS.issuperset(item):
            fields.known_only(self._obj, item, ENDPOINT_OPTIONS)
        ip, vni, packed = self._ip(place, "ip", item.get("ip"), 4)
        ip6, vni6, packed6 = self._ip(place, "ip6", item["ip6"], 6) if "ip6" in item else _NO_IP
        if not ip and not ip6:
            raise SpecError(
                self._obj,
                f"endpoints[{place}].ip",
                None,
                "give the endpoint an address of one of the subnets",
            )
        if vni and vni6 and vni != vni6:
            remedy = f"it is in segment {vni6} and {ip} in segment {vni}; give both subnets one VNI to join them by one interface"
            raise SpecError(self._obj, f"endpoints[{place}].ip6", ip6, remedy)
        mac = item.get("mac")
        if mac not in (None, ""):
            mac = fields.mac(self._obj, f"endpoints[{place}].mac", mac)
        else:
            mac = fields.default_mac(packed or packed6)
        taken = self._macs[vni or vni6]
        if mac in taken:
            raise SpecError(
                self._obj, f"endpoints[{place}].mac", mac, "another endpoint has it already; MACs are unique"
            )
        taken.add(mac)
        return RemoteEndpoint(ip, ip6, mac, self._vtep(place, item.get("vtep")), vni, vni6)

    def _vtep(self, place: int, value: Any) -> str:
        known = self._vteps.get(value) if isinstance(value, str) else None
        if known is None:
            if not value:
                raise SpecError(
                    self._obj, f"endpoints[{place}].vtep", value, "give the VTEP of the host that holds it"
                )
            known = self._vteps[value] = fields.host_address(self._obj, f"endpoints[{place}].vtep", value)
        return known

    def _ip(self, place: int, field: str, value: Any, version: int) -> tuple[str, int, bytes]:
        """An address in its normal form, its segment, and its bytes."""
        if value is None or value == "":
            return _NO_IP
        packed = fields.pack(value)
        if packed is None or len(packed) != (4 if version == 4 else 16):
            raise SpecError(self._obj, f"endpoints[{place}].{field}", value, f"give an IPv{version} address")
        vni = self._segment(packed, version)
        if not vni:
            known = ", ".join(one.cidr for one in self._subnets)
            raise SpecError(
                self._obj,
                f"endpoints[{place}].{field}",
                value,
                f"it is in no subnet of the network ({known})",
            )
        text = value if version == 4 else socket.inet_ntop(socket.AF_INET6, packed)
        if text in self._seen_ips:
            raise SpecError(
                self._obj,
                f"endpoints[{place}].{field}",
                value,
                "another endpoint has it already; give each its own",
            )
        if text in self._reserved:
            raise SpecError(self._obj, f"endpoints[{place}].{field}", value, self._reserved[text])
        self._seen_ips.add(text)
        return text, vni, packed

    def _segment(self, packed: bytes, version: int) -> int:
        """The VNI of the subnet that holds an address, or 0."""
        for first, last, vni in self._spans[version]:
            if first <= packed <= last:
                return vni
        return 0


def _span(subnet: Subnet) -> tuple[bytes, bytes, int]:
    """First and last address as bytes, which compare in the addresses' order, and the VNI."""
    size = 4 if subnet.version == 4 else 16
    return subnet.first.to_bytes(size, "big"), subnet.last.to_bytes(size, "big"), subnet.vni


_NO_IP = ("", 0, b"")
_ENDPOINT_KEYS = frozenset(ENDPOINT_OPTIONS)


def reserved(subnets: Sequence[Subnet]) -> dict[str, str]:
    """The addresses that no endpoint may have, with the reason and the remedy."""
    taken: dict[str, str] = {}
    for subnet in subnets:
        if subnet.gateway:
            taken[subnet.gateway] = (
                f"it is the gateway of {subnet.cidr}; take another address, or declare another gateway"
            )
        for name, address in subnet.aux:
            taken[address] = f"it is reserved as aux address {name} of {subnet.cidr}; take another address"
        if subnet.version == 4:
            for number in (subnet.first, subnet.last):
                packed = number.to_bytes(4, "big")
                taken[socket.inet_ntoa(packed)] = (
                    f"it is the network or broadcast address of {subnet.cidr}; take another"
                )
    return taken
