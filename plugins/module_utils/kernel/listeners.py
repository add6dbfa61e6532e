# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which process listens on which port, in the network namespace of the caller."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Collection, Iterator
from typing import NamedTuple, Optional

# /proc/net is that of the process's first thread
_NET = "/proc/thread-self/net"
_TABLES = (("tcp", "tcp"), ("tcp", "tcp6"), ("udp", "udp"), ("udp", "udp6"))
_LISTEN, _UNCONNECTED = "0A", "07"
_EVERY = {4: "0.0.0.0", 6: "::"}  # noqa: S104  # compared with, not bound to


class Owner(NamedTuple):
    """Who listens: process id, command name, and at which address. Process 0: nobody that has a process, such as the kernel
    itself."""

    pid: int
    name: str
    address: str


class Listener(NamedTuple):
    """A socket that takes what comes to a port; ``inode`` tells sockets apart."""

    protocol: str
    address: str
    port: int
    inode: str


Port = tuple[str, str, int]  # protocol, address ("" for all of both families), port


def owner(protocol: str, address: str, port: int) -> Optional[Owner]:
    """Who listens on a port of the host, so that a second one could not."""
    return owners([(protocol, address, port)]).get((protocol, address, port))


def owners(wanted: Collection[Port]) -> dict[Port, Owner]:
    """The owners of those of these ports that have one. Each table is read once, however many ports there are."""
    taken = conflicts(wanted, listening()) if wanted else {}
    processes = _processes({one.inode for one in taken.values()})
    return {
        port: Owner(*processes.get(one.inode, (0, "the kernel")), one.address) for port, one in taken.items()
    }


def conflicts(wanted: Collection[Port], found: Collection[Listener]) -> dict[Port, Listener]:
    """The first listener that is in the way of each of these ports."""
    at: dict[tuple[str, int], list[Listener]] = {}
    for one in found:
        at.setdefault((one.protocol, one.port), []).append(one)
    taken: dict[Port, Listener] = {}
    for protocol, address, port in wanted:
        for one in at.get((protocol, port), ()):
            if _meet(address, one.address):
                taken[(protocol, address, port)] = one
                break
    return taken


def _meet(wanted: str, held: str) -> bool:
    """True if one packet could be meant for both. What listens on :: may take IPv4 too: nothing in /proc tells."""
    if not wanted or held in (wanted, "::"):
        return True
    version = 6 if ":" in wanted else 4
    same = (":" in held) == (version == 6)
    return same and _EVERY[version] in (wanted, held)


def listening() -> list[Listener]:
    """All sockets of this namespace that listen."""
    found: list[Listener] = []
    for protocol, table in _TABLES:
        found.extend(_internet(protocol, table))
    found.extend(_sctp())
    return found


def _lines(table: str) -> list[str]:
    try:
        with open(f"{_NET}/{table}", encoding="ascii", errors="replace") as file:
            return file.read().splitlines()[1:]
    except OSError:
        return []  # a kernel without that protocol


def _internet(protocol: str, table: str) -> Iterator[Listener]:
    state = _LISTEN if protocol == "tcp" else _UNCONNECTED
    for line in _lines(table):
        # sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
        parts = line.split(None, 10)
        if len(parts) > 9 and parts[3] == state:
            address, _, port = parts[1].partition(":")
            yield Listener(protocol, _address(address), int(port, 16), parts[9])


def _address(text: str) -> str:
    """An address as /proc writes it: words of 32 bits, each in the byte order of the machine."""
    words = [int(text[place : place + 8], 16) for place in range(0, len(text), 8)]
    return _normal(b"".join(word.to_bytes(4, sys.byteorder) for word in words))


def _normal(packed: bytes) -> str:
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _sctp() -> Iterator[Listener]:
    for line in _lines("sctp/eps"):
        # ENDPT SOCK STY SST HBKT LPORT UID INODE LADDRS
        parts = line.split()
        for address in parts[8:]:
            yield Listener("sctp", _normal(ipaddress.ip_address(address).packed), int(parts[5]), parts[7])


def _processes(inodes: set[str]) -> dict[str, tuple[int, str]]:
    """The oldest process that holds each of these sockets: the others are its children. Process ids start again at some time,
    and tell nothing of age."""
    held: dict[str, list[tuple[int, int]]] = {}
    links = {f"socket:[{inode}]": inode for inode in inodes}
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()) if links else ():
        for inode in set(_held(pid, links)):
            held.setdefault(inode, []).append((_started(pid), pid))
    return {
        inode: (pid, _command(pid))
        for inode, (_when, pid) in ((one, min(ages)) for one, ages in held.items())
    }


def _started(pid: int) -> int:
    """When a process was started, in clock ticks since boot (proc(5), stat, field 22)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except OSError:
        return sys.maxsize  # it has ended meanwhile


def _held(pid: int, links: dict[str, str]) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return  # the process has ended meanwhile
    for name in names:
        try:
            inode = links.get(os.readlink(f"{folder}/{name}"))
        except OSError:
            continue
        if inode is not None:
            yield inode


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"
