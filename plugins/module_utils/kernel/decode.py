# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading rtnetlink dumps into plain values. The numbers are those of linux/if_link.h, rtnetlink.h and neighbour.h."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

from ..resources import GROUP, OWNER, Attrs
from .netlink import (
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    Attributes,
    Rows,
    Socket,
    attributes,
    number,
    text,
)

_IFINFO = struct.Struct("=BxHiII")
_NDMSG = struct.Struct("=BxxxiHBB")
NUD_PERMANENT, NUD_NOARP = 0x80, 0x40
NTF_SELF = 0x02
_BRIDGE_FLAGS = (
    (4, "hairpin", 0),
    (8, "learning", 1),
    (9, "flood", 1),
    (32, "neigh_suppress", 0),
    (33, "isolated", 0),
)
CHILD_KINDS = ("macvlan", "macvtap", "ipvlan", "ipvtap")
MACVLAN_MODES = {1: "private", 2: "vepa", 4: "bridge", 8: "passthru"}
IPVLAN_MODES = {0: "l2", 1: "l3", 2: "l3s"}
_PROTO_KERNEL, _MAIN, _UNICAST = 2, 254, 1
_ETHERNET = 1  # ARPHRD_ETHER
IFF_PROMISC = 0x100
_CLONED = 0x200


class LinkInfo(NamedTuple):
    """A link as the kernel reports it."""

    ifindex: int
    name: str
    kind: str
    alias: str
    group: int
    mac: str
    mtu: int
    up: bool
    master: int
    lower: int  # IFLA_LINK: the other end of a veth, the device of a VXLAN, the parent of a macvlan
    lower_nsid: int  # -1: in the same namespace
    attrs: Attrs
    port: Attrs
    carrier_kind: str  # the kind of the link's master, "" without one
    ethernet: bool
    promiscuous: bool  # because it was told to, not because the kernel needs it for something

    @property
    def owned(self) -> bool:
        """True for links that crosshost made: by their alias, or, before they have one, by their group."""
        return self.alias.startswith(OWNER + ":") or (not self.alias and self.group == GROUP)


class AddressInfo(NamedTuple):
    ifindex: int
    address: str
    prefixlen: int
    permanent: bool


class RouteInfo(NamedTuple):
    dst: str
    dev: int
    gateway: str
    protocol: int


def ip_text(value: Optional[bytes]) -> str:
    if value is None:
        return ""
    return socket.inet_ntop(socket.AF_INET if len(value) == 4 else socket.AF_INET6, value)


def mac_text(value: Optional[bytes]) -> str:
    return value.hex(":") if value is not None else ""


def links(sock: Socket) -> list[LinkInfo]:
    """All links of the socket's namespace."""
    return [_link(data) for data in sock.dump(RTM_GETLINK, _IFINFO.pack(0, 0, 0, 0, 0), RTM_NEWLINK)]


def _link(data: bytes) -> LinkInfo:
    _family, hardware, index, flags, _change = _IFINFO.unpack_from(data, 0)
    found = attributes(data, 16)
    info = attributes(found[18]) if 18 in found else {}
    kind = text(info.get(1))
    details = attributes(info[2]) if 2 in info else {}
    port = attributes(info[5]) if 5 in info and text(info.get(4)) == "bridge" else None
    nsid = found.get(37)
    return LinkInfo(
        ifindex=index,
        name=text(found.get(3)),
        kind=kind,
        alias=text(found.get(20)),
        group=number(found.get(27)),
        mac=mac_text(found.get(1)),
        mtu=number(found.get(4)),
        up=bool(flags & 1),
        master=number(found.get(10)),
        lower=number(found.get(5)),
        lower_nsid=struct.unpack("=i", nsid)[0] if nsid is not None else -1,
        attrs=_details(kind, details),
        port=_port(port) if port is not None else (),
        carrier_kind=text(info.get(4)),
        ethernet=hardware == _ETHERNET,
        promiscuous=bool(flags & IFF_PROMISC),
    )


def _details(kind: str, found: Attributes) -> Attrs:
    if kind == "vxlan":
        return _vxlan(found)
    if kind == "bridge":
        return (("default_pvid", number(found.get(39))), ("mcast_snooping", number(found.get(23))))
    if kind in CHILD_KINDS:
        code = number(found.get(1))
        return (("mode", (MACVLAN_MODES if kind[0] == "m" else IPVLAN_MODES).get(code, str(code))),)
    if kind == "vlan":
        return (("id", number(found.get(1))),)
    return ()


def _vxlan(found: Attributes) -> Attrs:
    values: dict[str, object] = {
        "id": number(found.get(1)),
        "learning": number(found.get(7)),
        "port": int.from_bytes(found[15], "big") if 15 in found else 0,
        "proxy": number(found.get(11)),
        "local": ip_text(found.get(4, found.get(17))),
        "group": ip_text(found.get(2, found.get(16))),
        "link": number(found.get(3)),
    }
    return tuple((k, v) for k, v in sorted(values.items()) if v or k in ("learning", "proxy"))  # type: ignore[misc]


def _port(found: Attributes) -> Attrs:
    flags = ((name, number(found.get(code), default), default) for code, name, default in _BRIDGE_FLAGS)
    return tuple(sorted((name, value) for name, value, default in flags if value != default))


def addresses(sock: Socket) -> list[AddressInfo]:
    """IPv4 and IPv6 addresses, without IPv6 link-local ones that the kernel makes itself."""
    found = []
    for data in sock.dump(RTM_GETADDR, struct.pack("=BBBBi", 0, 0, 0, 0, 0), RTM_NEWADDR):
        _family, prefixlen, flags, _scope, index = struct.unpack_from("=BBBBi", data, 0)
        attrs = attributes(data, 8)
        address = ip_text(attrs.get(2, attrs.get(1)))
        if not address.startswith("fe80:"):
            found.append(AddressInfo(index, address, prefixlen, bool(flags & 0x80)))
    return found


def routes(sock: Socket) -> list[RouteInfo]:
    """The unicast routes of the main table that have one device, IPv4 and IPv6."""
    found = []
    for data in sock.dump(RTM_GETROUTE, b"\0" * 12, RTM_NEWROUTE):
        family, length, _src, _tos, table, protocol, _scope, kind, flags = struct.unpack_from(
            "=BBBBBBBBI", data, 0
        )
        if table != _MAIN or kind != _UNICAST or flags & _CLONED:
            continue
        attrs = attributes(data, 12)
        default = "0.0.0.0" if family == socket.AF_INET else "::"  # noqa: S104 - a destination, nothing is bound
        target = ip_text(attrs[1]) if 1 in attrs else default
        if not target.startswith("fe80:") and not target.startswith("ff"):
            found.append(
                RouteInfo(f"{target}/{length}", number(attrs.get(4)), ip_text(attrs.get(5)), protocol)
            )
    return found


def made_by_kernel(route: RouteInfo) -> bool:
    """True for routes that come and go with an address."""
    return route.protocol == _PROTO_KERNEL


# Whole messages, as the rows come back that crosshost writes: ndmsg, then NDA_DST and NDA_LLADDR of a neighbour,
# NDA_LINK_NETNSID, NDA_LLADDR and NDA_DST of an FDB row, then counters. Any other is read by walking its attributes.
_LEAD = "=12sxxxx"  # length, type, flags and sequence number, which are the same in a run; the port
_NEIGH4 = struct.Struct(_LEAD + "BxxxiHBB4s4s4s6sxx28x")
_NEIGH6 = struct.Struct(_LEAD + "BxxxiHBB4s16s4s6sxx28x")
_FDB4 = struct.Struct(_LEAD + "BxxxiHBB4s4x4s6sxx4s4s20x")
_FDB6 = struct.Struct(_LEAD + "BxxxiHBB4s4x4s6sxx4s16s20x")
_DST4, _DST6, _LLADDR, _NETNSID = (struct.pack("=HH", *head) for head in ((8, 1), (20, 1), (10, 2), (8, 10)))


def _read_neighbours(lead: bytes, run: Iterator[tuple[Any, ...]], found: list[tuple[int, str, str]]) -> int:
    taken = 0
    for head, family, index, state, _flags, _type, head1, address, head2, mac in run:
        if head != lead or head2 != _LLADDR:
            break
        if family == 2 and head1 == _DST4:  # AF_INET; comparing with the enumeration is slow
            text = socket.inet_ntoa(address)
        elif family == socket.AF_INET6 and head1 == _DST6:
            text = socket.inet_ntop(socket.AF_INET6, address)
        else:
            break
        taken += 1
        if state & NUD_PERMANENT:
            found.append((index, text, mac.hex(":")))
    return taken


def _read_fdb(lead: bytes, run: Iterator[tuple[Any, ...]], found: list[tuple[int, str, str]]) -> int:
    taken = 0
    vteps: dict[bytes, str] = {}
    for head, _family, index, state, flags, _type, head0, head1, mac, head2, dst in run:
        if head != lead or head0 != _NETNSID or head1 != _LLADDR or not flags & NTF_SELF:
            break
        if dst not in vteps:
            if head2 != (_DST4 if len(dst) == 4 else _DST6):
                break
            vteps[dst] = ip_text(dst)
        taken += 1
        if state & NUD_PERMANENT:
            found.append((index, mac.hex(":"), vteps[dst]))
    return taken


def neighbours(sock: Socket) -> list[tuple[int, str, str]]:
    """Permanent neighbours of every family as (ifindex, address, MAC)."""
    rows = Rows((_NEIGH4, _NEIGH6), _read_neighbours)
    rest = sock.dump(RTM_GETNEIGH, b"\0" * 12, RTM_NEWNEIGH, rows)
    for data in rest:
        family, index, state, _flags, _type = _NDMSG.unpack_from(data, 0)
        if state & NUD_PERMANENT and family in (socket.AF_INET, socket.AF_INET6):
            attrs = attributes(data, 12)
            rows.found.append((index, ip_text(attrs.get(1)), mac_text(attrs.get(2))))
    return rows.found


def fdb(sock: Socket) -> list[tuple[int, str, str]]:
    """Forwarding entries that were put there on purpose, as (ifindex, MAC, destination): permanent rows of VXLAN devices,
    and static rows of bridge ports (destination ""). Learned and local rows are left out."""
    rows = Rows((_FDB4, _FDB6), _read_fdb)
    rest = sock.dump(RTM_GETNEIGH, _IFINFO.pack(socket.AF_BRIDGE, 0, 0, 0, 0)[:12], RTM_NEWNEIGH, rows)
    for data in rest:
        _family, index, state, flags, _type = _NDMSG.unpack_from(data, 0)
        attrs = attributes(data, 12)
        if flags & NTF_SELF:
            if state & NUD_PERMANENT and 1 in attrs:
                rows.found.append((index, mac_text(attrs.get(2)), ip_text(attrs.get(1))))
        elif state == NUD_NOARP:
            rows.found.append((index, mac_text(attrs.get(2)), ""))
    return rows.found
