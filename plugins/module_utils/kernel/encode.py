# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations as rtnetlink messages.

Links, addresses and routes go through pyroute2's message classes, which know the nesting and the types. Rows that come
by the ten thousand (FDB, neighbours) are packed by struct: the same bytes, without an object for each.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Any, Optional, cast

from ..errors import HostError
from ..resources import GROUP, ZERO_MAC, Address, FdbEntry, Link, Neighbour, Route
from .decode import IFF_PROMISC, IPVLAN_MODES, MACVLAN_MODES, NTF_SELF, NUD_NOARP, NUD_PERMANENT
from .netlink import (
    NLM_APPEND,
    NLM_CREATE,
    NLM_EXCL,
    NLM_REPLACE,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    Message,
)

_IFF_UP = 1
_NTF_MASTER = 0x04
_NODAD = 0x02
_STATIC, _UNIVERSE, _LINK_SCOPE, _MAIN, _UNICAST = 4, 0, 253, 254, 1
_ANY_PROTOCOL, _ANY_SCOPE = 0, 255
_PORT_DEFAULTS = (("learning", 1), ("flood", 1), ("neigh_suppress", 0), ("isolated", 0), ("hairpin", 0))
_PORT_ATTRIBUTES = {
    "learning": "IFLA_BRPORT_LEARNING",
    "flood": "IFLA_BRPORT_UNICAST_FLOOD",
    "neigh_suppress": "IFLA_BRPORT_NEIGH_SUPPRESS",
    "isolated": "IFLA_BRPORT_ISOLATED",
    "hairpin": "IFLA_BRPORT_MODE",
}
_BRIDGE_ATTRIBUTES = {"default_pvid": "IFLA_BR_VLAN_DEFAULT_PVID", "mcast_snooping": "IFLA_BR_MCAST_SNOOPING"}

_classes: dict[str, Any] = {}


def _pyroute2(name: str) -> Any:
    """A message class of pyroute2, imported at first use: the import costs more than a whole run that changes nothing."""
    if not _classes:
        try:
            from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
            from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
            from pyroute2.netlink.rtnl.rtmsg import rtmsg
        except ImportError as error:
            raise HostError(
                f"pyroute2 cannot be imported ({error}): install the package python3-pyroute2 on the host"
            ) from error
        _classes.update(ifaddrmsg=ifaddrmsg, ifinfmsg=ifinfmsg, rtmsg=rtmsg)
    return _classes[name]


def _payload(name: str, fields: dict[str, Any], attrs: list[tuple[str, Any]]) -> bytes:
    message = _pyroute2(name)()
    for field, value in fields.items():
        message[field] = value
    message["attrs"] = attrs
    message.encode()
    return bytes(message.data)[16:]


def link_create(link: Link, netns_fd: int = -1, lower: int = 0) -> Message:
    """Create a link. VXLAN, macvlan and their like: sent in the host's namespace, the device appears in ``netns_fd``'s.
    veth: sent in the link's own namespace, the other end appears in ``netns_fd``'s. ``lower`` is the ifindex of the device
    below: of a multicast VXLAN, or the parent."""
    if link.kind in UPPER_KINDS or link.kind == "dummy":
        return upper_create(link, netns_fd, lower)
    attrs: list[tuple[str, Any]] = [("IFLA_IFNAME", link.name), ("IFLA_GROUP", GROUP)]
    data: list[tuple[str, Any]] = []
    if link.kind == "bridge":
        data = [(_BRIDGE_ATTRIBUTES[name], value) for name, value in link.attrs]
        if link.mac:
            # from the first moment: udev gives a MAC of its own choice to a device that came with a random one
            attrs.append(("IFLA_ADDRESS", link.mac))
    elif link.kind == "vxlan":
        data = _vxlan(dict(link.attrs), lower)
        if netns_fd >= 0:
            attrs.append(("IFLA_NET_NS_FD", netns_fd))
    elif link.kind == "veth":
        assert link.peer is not None
        attrs.append(("IFLA_MTU", link.mtu))
        peer: list[tuple[str, Any]] = [
            ("IFLA_IFNAME", link.peer.name),
            ("IFLA_GROUP", GROUP),
            ("IFLA_MTU", link.peer.mtu),
        ]
        if link.peer.mac:
            peer.append(("IFLA_ADDRESS", link.peer.mac))
        peer.append(("IFLA_NET_NS_FD", netns_fd))
        data = [("VETH_INFO_PEER", {"attrs": peer})]
    attrs.append(
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", link.kind), ("IFLA_INFO_DATA", {"attrs": data})]})
    )
    return Message(RTM_NEWLINK, NLM_CREATE | NLM_EXCL, _payload("ifinfmsg", {}, attrs))


UPPER_KINDS = ("macvlan", "ipvlan", "vlan")
_NESTED = 0x8000
_8021Q = 0x8100


def _attribute(code: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), code) + payload + b"\0" * (-len(payload) % 4)


def upper_create(link: Link, netns_fd: int, lower: int) -> Message:
    """A macvlan, ipvlan or VLAN device on another one, or a dummy. Packed by hand: pyroute2's versions differ in how they
    take these modes."""
    values = dict(link.attrs)
    data = b""
    if link.kind == "macvlan":
        data = _attribute(1, struct.pack("=I", _code(MACVLAN_MODES, values["mode"])))
    elif link.kind == "ipvlan":
        data = _attribute(1, struct.pack("=H", _code(IPVLAN_MODES, values["mode"])))
    elif link.kind == "vlan":
        data = _attribute(1, struct.pack("=H", int(values["id"]))) + _attribute(5, struct.pack("!H", _8021Q))
    info = _attribute(1, link.kind.encode() + b"\0") + (_attribute(2 | _NESTED, data) if data else b"")
    body = _attribute(3, link.name.encode() + b"\0") + _attribute(27, struct.pack("=I", GROUP))
    if link.mac:
        body += _attribute(1, bytes.fromhex(link.mac.replace(":", "")))
    if lower:
        body += _attribute(5, struct.pack("=I", lower))
    if netns_fd >= 0:
        body += _attribute(28, struct.pack("=I", netns_fd))
    return Message(RTM_NEWLINK, NLM_CREATE | NLM_EXCL, b"\0" * 16 + body + _attribute(18 | _NESTED, info))


def link_rename(index: int, name: str) -> Message:
    """Another name for a link that is down."""
    head = struct.pack("=BxHiII", 0, 0, index, 0, 0)
    return Message(RTM_NEWLINK, 0, head + _attribute(3, name.encode() + b"\0"))


def _code(modes: dict[int, str], mode: object) -> int:
    return next(code for code, name in modes.items() if name == mode)


def _vxlan(values: dict[str, Any], lower: int) -> list[tuple[str, Any]]:
    six = ":" in str(values.get("local", ""))
    attrs: list[tuple[str, Any]] = [
        ("IFLA_VXLAN_ID", values["id"]),
        ("IFLA_VXLAN_PORT", values["port"]),
        ("IFLA_VXLAN_LEARNING", values["learning"]),
        ("IFLA_VXLAN_PROXY", values["proxy"]),
    ]
    if values.get("local"):
        attrs.append(("IFLA_VXLAN_LOCAL6" if six else "IFLA_VXLAN_LOCAL", values["local"]))
    if values.get("group"):
        attrs.append(("IFLA_VXLAN_GROUP6" if six else "IFLA_VXLAN_GROUP", values["group"]))
    if lower:
        attrs.append(("IFLA_VXLAN_LINK", lower))
    return attrs


def link_settle(link: Link, index: int, master: int, before: Optional[Link] = None) -> list[Message]:
    """Bring an existing link to its declared attributes: alias, MTU, MAC and master first, port flags next (they belong
    to the membership), and up last, so that no packet passes a half-configured port."""
    attrs: list[tuple[str, Any]] = []
    if before is None or before.alias != link.alias:
        attrs.append(("IFLA_IFALIAS", link.alias))
    if (before is None and link.kind != "veth") or (before is not None and before.mtu != link.mtu):
        attrs.append(("IFLA_MTU", link.mtu))
    if link.mac and (before is None or before.mac != link.mac):
        attrs.append(("IFLA_ADDRESS", link.mac))
    if (before.master if before else "") != link.master:
        attrs.append(("IFLA_MASTER", master))
    if before is not None and link.kind == "bridge" and before.attrs != link.attrs:
        data = [(_BRIDGE_ATTRIBUTES[name], value) for name, value in link.attrs]
        attrs.append(
            ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", {"attrs": data})]})
        )
    messages = []
    if attrs:
        messages.append(Message(RTM_NEWLINK, 0, _payload("ifinfmsg", {"index": index}, attrs)))
    rejoined = before is not None and before.master != link.master
    if link.master and (rejoined or (before.port if before else ()) != link.port):
        messages.append(_port_flags(link, index))
    if before is None or before.up != link.up:
        fields = {"index": index, "flags": _IFF_UP if link.up else 0, "change": _IFF_UP}
        messages.append(Message(RTM_NEWLINK, 0, _payload("ifinfmsg", fields, [])))
    return messages


def _port_flags(link: Link, index: int) -> Message:
    wanted = dict(link.port)
    data = [(_PORT_ATTRIBUTES[name], wanted.get(name, default)) for name, default in _PORT_DEFAULTS]
    slave = {"attrs": [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", {"attrs": data})]}
    return Message(RTM_NEWLINK, 0, _payload("ifinfmsg", {"index": index}, [("IFLA_LINKINFO", slave)]))


def link_delete(index: int) -> Message:
    return Message(RTM_DELLINK, 0, struct.pack("=BxHiII", 0, 0, index, 0, 0))


def promiscuous(index: int, on: bool) -> Message:
    return Message(RTM_NEWLINK, 0, struct.pack("=BxHiII", 0, 0, index, IFF_PROMISC if on else 0, IFF_PROMISC))


def address(item: Address, index: int, delete: bool = False) -> Message:
    """An address; IPv6 ones without duplicate detection: a gateway address is the same on every host on purpose."""
    six = ":" in item.address
    fields = {
        "family": socket.AF_INET6 if six else socket.AF_INET,
        "prefixlen": item.prefixlen,
        "index": index,
        "flags": _NODAD if six else 0,
    }
    attrs = [("IFA_LOCAL", item.address), ("IFA_ADDRESS", item.address)]
    payload = _payload("ifaddrmsg", fields, attrs)
    return (
        Message(RTM_DELADDR, 0, payload) if delete else Message(RTM_NEWADDR, NLM_CREATE | NLM_EXCL, payload)
    )


def route(item: Route, index: int, delete: bool = False, replace: bool = False) -> Message:
    network, length = item.dst.split("/")
    scope = _UNIVERSE if item.gateway or ":" in network else _LINK_SCOPE
    fields = {
        "family": socket.AF_INET6 if ":" in network else socket.AF_INET,
        "dst_len": int(length),
        "table": _MAIN,
        # whoever made a route that is to go
        "proto": _ANY_PROTOCOL if delete else _STATIC,
        "scope": _ANY_SCOPE if delete else scope,
        "type": _UNICAST,
    }
    attrs: list[tuple[str, Any]] = [("RTA_OIF", index)]
    if int(length):
        attrs.append(("RTA_DST", network))
    if item.gateway:
        attrs.append(("RTA_GATEWAY", item.gateway))
    payload = _payload("rtmsg", fields, attrs)
    if delete:
        return Message(RTM_DELROUTE, 0, payload)
    return Message(RTM_NEWROUTE, NLM_CREATE | (NLM_REPLACE if replace else NLM_EXCL), payload)


_ROW4 = struct.Struct("=BxxxiHBBHH4sHH6sxx")  # struct ndmsg, NDA_DST of 4 bytes, NDA_LLADDR
_ROW6 = struct.Struct("=BxxxiHBBHH16sHH6sxx")
_PORT_ROW = struct.Struct("=BxxxiHBBHH6sxx")  # struct ndmsg, NDA_LLADDR


def rows(items: Sequence[Neighbour] | Sequence[FdbEntry], index: int, delete: bool = False) -> list[Message]:
    """One message a row of one device. REPLACE, so that a stale or learned row never stands in the way; an all-zero row is
    appended to the flood list."""
    if not items:
        return []
    if isinstance(items[0], Neighbour):
        kind, flags = (RTM_DELNEIGH, 0) if delete else (RTM_NEWNEIGH, NLM_CREATE | NLM_REPLACE)
        return [
            Message(kind, flags, _neighbour(address, mac, index))
            for _netns, _dev, address, mac in cast("Sequence[Neighbour]", items)
        ]
    return [_fdb(mac, dst, index, delete) for _netns, _dev, mac, dst in cast("Sequence[FdbEntry]", items)]


def _neighbour(address: str, mac: str, index: int) -> bytes:
    lladdr = bytes.fromhex(mac.replace(":", ""))
    if ":" in address:
        target = socket.inet_pton(socket.AF_INET6, address)
        return _ROW6.pack(socket.AF_INET6, index, NUD_PERMANENT, 0, 0, 20, 1, target, 10, 2, lladdr)
    target = socket.inet_aton(address)
    return _ROW4.pack(socket.AF_INET, index, NUD_PERMANENT, 0, 0, 8, 1, target, 10, 2, lladdr)


def _fdb(mac: str, dst: str, index: int, delete: bool) -> Message:
    lladdr = bytes.fromhex(mac.replace(":", ""))
    if not dst:
        payload = _PORT_ROW.pack(socket.AF_BRIDGE, index, NUD_NOARP, _NTF_MASTER, 0, 10, 2, lladdr)
    elif ":" in dst:
        target = socket.inet_pton(socket.AF_INET6, dst)
        payload = _ROW6.pack(
            socket.AF_BRIDGE, index, NUD_PERMANENT, NTF_SELF, 0, 20, 1, target, 10, 2, lladdr
        )
    else:
        target = socket.inet_aton(dst)
        payload = _ROW4.pack(socket.AF_BRIDGE, index, NUD_PERMANENT, NTF_SELF, 0, 8, 1, target, 10, 2, lladdr)
    if delete:
        return Message(RTM_DELNEIGH, 0, payload)
    return Message(RTM_NEWNEIGH, NLM_CREATE | (NLM_APPEND if mac == ZERO_MAC else NLM_REPLACE), payload)
