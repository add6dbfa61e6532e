# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forgetting flows whose translation is no longer right.

Where a flow goes is decided at its first packet. A UDP flow ends by silence alone, so that a sender who does not fall silent
would go on to reach what a published port led to before, or nothing at all.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Callable, Optional

from ..plan import Op
from ..resources import HOST, NftChain
from ..spec.publish import ANY4, ANY6, port_of_chain
from .netlink import Message, NetlinkError, Socket, attributes
from .session import Session

_NETFILTER, _UDP = 12, 17
_GET, _DELETE = 0x100 | 1, 0x100 | 2  # IPCTNL_MSG_CT_*
_ORIG, _REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25  # CTA_*
_IP, _PROTO = 1, 2  # CTA_TUPLE_*
_NUM, _DPORT = 1, 3  # CTA_PROTO_*
_NESTED = 0x8000
_BY_PROTOCOL = 1 << 3  # of the flags of a filter
_FAMILIES = ((socket.AF_INET, 2, 4), (socket.AF_INET6, 4, 6))  # family, CTA_IP_*_DST, version
_EVERY = {4: ANY4, 6: ANY6}
_Flow = dict[int, bytes]


def refresh(session: Session, ops: Iterable[Op]) -> None:
    """After these changes of the host's rules: forget the UDP flows to the published ports among them."""
    changed = set()
    for op in ops:
        at = port_of_chain(op.subject.name) if isinstance(op.subject, NftChain) else None
        if at is not None and at[0] == "udp":
            changed.add((at[1], at[2]))
    if changed:
        forget(changed, {info.address for info in session.host.addresses})


def forget(ports: Collection[tuple[str, int]], own: Collection[str]) -> None:
    """Forget the UDP flows to these (address, port) of the host with the addresses ``own``; "" is each of them."""
    _forget(HOST, lambda flow, field, version: _hit(flow, field, version, ports, own))


def forget_tasks(netns: str, gone: Collection[tuple[str, str]]) -> None:
    """Forget a sandbox's UDP flows to a service that lead to a task which it has no more: (virtual address, the task's)."""
    pairs = {(ipaddress.ip_address(vip).packed, ipaddress.ip_address(task).packed) for vip, task in gone}
    _forget(netns, lambda flow, field, _version: _ends(flow, field) in pairs)


def forget_strays(netns: str, kept: Mapping[int, Collection[str]], own: Collection[str]) -> None:
    """Forget a namespace's UDP flows to these ports of its addresses ``own`` that are answered by none of those ``kept``."""
    ports = {("", port) for port in kept}

    def stray(flow: _Flow, field: int, version: int) -> bool:
        if not _hit(flow, field, version, ports, own):
            return False
        answering = _ends(flow, field)[1]
        return answering is None or str(ipaddress.ip_address(answering)) not in kept[_port(flow)]

    _forget(netns, stray)


def _port(flow: _Flow) -> int:
    sent = attributes(attributes(flow.get(_ORIG, b"")).get(_PROTO, b""))
    return int.from_bytes(sent.get(_DPORT, b""), "big")


def _ends(flow: _Flow, field: int) -> tuple[Optional[bytes], Optional[bytes]]:
    """Whom a flow was sent to, and who answers it."""
    sent, answered = (attributes(attributes(flow.get(code, b"")).get(_IP, b"")) for code in (_ORIG, _REPLY))
    return sent.get(field), answered.get(field - 1)  # CTA_IP_*_SRC comes before CTA_IP_*_DST


def _forget(netns: str, hit: Callable[[_Flow, int, int], bool]) -> None:
    try:
        sock = Socket(netns, _NETFILTER)
    except OSError:
        return  # a kernel without it has no flows to forget
    try:
        for family, field, version in _FAMILIES:
            found = [flow for flow in _udp_flows(sock, family) if hit(flow, field, version)]
            if found:
                _delete(sock, family, found)
    finally:
        sock.close()


def _udp_flows(sock: Socket, family: int) -> list[dict[int, bytes]]:
    protocol = _attribute(_PROTO | _NESTED, _attribute(_NUM, bytes([_UDP])))
    request = struct.pack("=BBH", family, 0, 0) + _attribute(_ORIG | _NESTED, protocol)
    request += _attribute(_FILTER | _NESTED, _attribute(1, struct.pack("=I", _BY_PROTOCOL)))
    try:
        return [attributes(answer, 4) for answer in sock.dump(_GET, request, _NEW)]
    except NetlinkError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            return []  # a kernel that cannot list flows; they end by themselves
        raise


_NEW = 0x100 | 0


def _hit(
    flow: dict[int, bytes], field: int, version: int, ports: Collection[tuple[str, int]], own: Collection[str]
) -> bool:
    sent = attributes(flow.get(_ORIG, b""))
    ends, protocol = attributes(sent.get(_IP, b"")), attributes(sent.get(_PROTO, b""))
    if protocol.get(_NUM) != bytes([_UDP]) or field not in ends:
        return False
    address = ipaddress.ip_address(ends[field])
    port = int.from_bytes(protocol.get(_DPORT, b""), "big")
    if (str(address), port) in ports:
        return True
    every = ("", port) in ports or (_EVERY[version], port) in ports
    return every and (address.is_loopback or str(address) in own)


def _delete(sock: Socket, family: int, flows: Iterable[dict[int, bytes]]) -> None:
    try:
        sock.send(
            [Message(_DELETE, 0, struct.pack("=BBH", family, 0, 0) + _identity(flow)) for flow in flows]
        )
    except NetlinkError as error:
        if error.errno != errno.ENOENT:  # it has ended meanwhile
            raise


def _identity(flow: dict[int, bytes]) -> bytes:
    parts: Iterator[tuple[int, Optional[bytes]]] = ((code, flow.get(code)) for code in (_ORIG, _ZONE, _ID))
    return b"".join(
        _attribute(code | _NESTED if code == _ORIG else code, value)
        for code, value in parts
        if value is not None
    )


def _attribute(code: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), code) + payload + b"\0" * (-len(payload) % 4)
