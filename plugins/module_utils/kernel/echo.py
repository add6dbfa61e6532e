# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ICMP echo to several addresses at once, in packets of a given size that nobody on the way may cut. Needs no library."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
import struct
import time
from collections.abc import Iterable
from typing import NamedTuple, Optional

_ECHO = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}  # type of a request, of a reply
_HEADERS = {socket.AF_INET: 28, socket.AF_INET6: 48}  # bytes of IP and ICMP before the content
# linux/in.h, linux/in6.h: set "don't fragment", and leave out what the kernel remembers of the path
_MTU_DISCOVER = {socket.AF_INET: (socket.IPPROTO_IP, 10), socket.AF_INET6: (socket.IPPROTO_IPV6, 23)}
_PROBE = 3
_LEAST = 8  # bytes of content: the probe's number
_ROUND = 0.3  # seconds between two requests to one address


class Probe(NamedTuple):
    """An address and the size of the packet in bytes, headers of IP included."""

    address: str
    size: int


def ask(probes: Iterable[Probe], seconds: float, tries: int = 3) -> dict[Probe, Optional[float]]:
    """For each probe how long its answer took, in milliseconds; None without one. OSError without root."""
    wanted = list(dict.fromkeys(probes))
    found: dict[Probe, Optional[float]] = dict.fromkeys(wanted)
    for family in _ECHO:
        mine = [one for one in wanted if (":" in one.address) == (family == socket.AF_INET6)]
        if mine:
            found.update(_ask(family, mine, seconds, tries))
    return found


def _ask(
    family: socket.AddressFamily, probes: list[Probe], seconds: float, tries: int
) -> dict[Probe, Optional[float]]:
    protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
    found: dict[Probe, Optional[float]] = dict.fromkeys(probes)
    mark = os.urandom(4)
    with socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as sock:
        sock.setblocking(False)
        level, option = _MTU_DISCOVER[family]
        sock.setsockopt(level, option, _PROBE)
        begun: dict[int, float] = {}
        end = time.monotonic() + seconds
        for turn in range(tries):
            for number, probe in enumerate(probes):
                if found[probe] is None:
                    begun[number] = time.monotonic()
                    _send(sock, family, probe, mark, number)
            until = end if turn == tries - 1 else min(end, time.monotonic() + _ROUND)
            _collect(sock, family, probes, mark, begun, found, until)
            if None not in found.values() or time.monotonic() >= end:
                break
    return found


def _send(sock: socket.socket, family: socket.AddressFamily, probe: Probe, mark: bytes, number: int) -> None:
    content = struct.pack("=4sI", mark, number).ljust(max(_LEAST, probe.size - _HEADERS[family]), b"x")
    head = struct.pack("!BBHHH", _ECHO[family][0], 0, 0, os.getpid() & 0xFFFF, number & 0xFFFF)
    if family == socket.AF_INET:  # of IPv6 the kernel works it out
        head = head[:2] + struct.pack("!H", _checksum(head + content)) + head[4:]
    # too large for the device, no route, a full queue: there is no answer then, which is what is told
    with contextlib.suppress(OSError):
        sock.sendto(head + content, (probe.address, 0))


def _collect(
    sock: socket.socket, family: socket.AddressFamily, probes: list[Probe], mark: bytes, begun: dict[int, float],
    found: dict[Probe, Optional[float]], until: float,
) -> None:  # fmt: skip
    while None in found.values():
        left = until - time.monotonic()
        if left <= 0 or not select.select([sock], [], [], left)[0]:
            return
        try:
            packet, sender = sock.recvfrom(65536)
        except OSError:  # the network says that something that was sent did not arrive
            continue
        if family == socket.AF_INET:
            packet = packet[(packet[0] & 15) * 4 :]
        if len(packet) < 16 or packet[0] != _ECHO[family][1] or packet[8:12] != mark:
            continue
        (number,) = struct.unpack_from("=I", packet, 12)
        if number < len(probes) and _is(sender[0], probes[number].address) and found[probes[number]] is None:
            found[probes[number]] = round((time.monotonic() - begun[number]) * 1000, 2)


def _is(text: str, address: str) -> bool:
    return ipaddress.ip_address(text.partition("%")[0]) == ipaddress.ip_address(address)


def _checksum(content: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(content) // 2}H", content[: len(content) // 2 * 2]))
    total += content[-1] << 8 if len(content) % 2 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
