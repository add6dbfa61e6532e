# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small rtnetlink socket: batches with one acknowledgement, whole dumps, and the kernel's own words on an error.

The library for the messages themselves is pyroute2 (:mod:`.encode`). The socket is ours because of three needs:
opening one in another namespace without a child process, hundreds of messages a send, and reading dumps without
an object a row.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Callable, NamedTuple, Optional

from . import netns as _netns

NLM_REQUEST, NLM_ACK, NLM_REPLACE, NLM_EXCL, NLM_CREATE, NLM_APPEND = 0x1, 0x4, 0x100, 0x200, 0x400, 0x800
NLM_DUMP = 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_GETNSID = 90
_SOL_NETLINK, _EXT_ACK, _CAP_ACK, _STRICT = 270, 11, 10, 12
_HEADER = struct.Struct("=IHHII")
_ATTR = struct.Struct("=HH")
_CHUNK = 400  # messages a send: a chunk stays under the default socket buffer of 208 KiB
_ACK_TLVS, _CAPPED, _MSG = 0x200, 0x100, 1
_MULTI, _DUMP_INTERRUPTED, _DUMP_ATTEMPTS = 0x2, 0x10, 5

Attributes = dict[int, bytes]


class NetlinkError(OSError):
    """The kernel refused a message. ``index`` is its place in the batch, ``reason`` the kernel's text (or errno's)."""

    def __init__(self, code: int, reason: str, index: int) -> None:
        super().__init__(code, reason)
        self.reason = reason
        self.index = index


class Message(NamedTuple):
    """A request without its header: type, flags besides REQUEST, and the payload from the family header on."""

    type: int
    flags: int
    payload: bytes


def attributes(data: bytes, offset: int = 0) -> Attributes:
    """The attributes of a message by number; nested ones are left as bytes. A repeated attribute: the last one."""
    result: Attributes = {}
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTR.unpack_from(data, offset)
        if length < 4:
            break
        result[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return result


def text(value: Optional[bytes]) -> str:
    """A NUL-terminated string attribute; "" when absent."""
    return value.rstrip(b"\0").decode("utf-8", "replace") if value is not None else ""


def number(value: Optional[bytes], default: int = 0) -> int:
    """An unsigned integer attribute in the host's byte order, of any width."""
    return int.from_bytes(value, "little" if _LITTLE else "big") if value is not None else default


_LITTLE = struct.pack("=H", 1) == b"\x01\x00"


class Rows:
    """Messages of a dump that come by the ten thousand, all of one shape, unpacked a run at a time.

    ``shapes``: what the whole message looks like, by its length. The first field is the header's first 12 bytes, which
    are the same in a run; ``read`` gets that field's bytes and an iterator of the unpacked messages, appends rows to
    ``found``, and returns how many messages it took before the first that is different."""

    def __init__(self, shapes: Sequence[struct.Struct], read: RowReader) -> None:
        self.found: list[tuple[int, str, str]] = []
        self._shapes = {shape.size: shape for shape in shapes}
        self._read = read

    def take(self, data: bytes, offset: int) -> int:
        """Read the run that begins at ``offset``. Its length in bytes; 0 if that message is none of the known shapes."""
        length = number(data[offset : offset + 4])
        shape = self._shapes.get(length)
        if shape is None:
            return 0
        end = offset + (len(data) - offset) // length * length
        run = shape.iter_unpack(data[offset:end])
        return length * self._read(data[offset : offset + 12], run, self.found)


RowReader = Callable[[bytes, Iterator[tuple[Any, ...]], list[tuple[int, str, str]]], int]


class Socket:
    """A netlink socket in one namespace: rtnetlink's, unless another ``protocol`` is asked for."""

    def __init__(self, netns: str = "", protocol: int = 0) -> None:
        with _netns.inside(netns):
            self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        for option in (_EXT_ACK, _CAP_ACK, _STRICT):
            self._sock.setsockopt(_SOL_NETLINK, option, 1)
        self._sock.bind((0, 0))
        self._seq = 0

    def close(self) -> None:
        self._sock.close()

    def dump(self, kind: int, header: bytes, reply: int, rows: Optional[Rows] = None) -> list[bytes]:
        """All answers to a dump request, each from its family header on, without those that ``rows`` takes. A dump that the
        kernel calls inconsistent, because something changed meanwhile, is made again."""
        for _attempt in range(_DUMP_ATTEMPTS):
            if rows is not None:
                rows.found.clear()
            found, whole = self._dump_once(kind, header, reply, rows)
            if whole:
                break
        return found

    def _dump_once(
        self, kind: int, header: bytes, reply: int, rows: Optional[Rows]
    ) -> tuple[list[bytes], bool]:
        self._seq += 1
        wanted = self._seq
        size = 16 + len(header)
        self._sock.send(_HEADER.pack(size, kind, NLM_REQUEST | NLM_DUMP, wanted, 0) + header)
        found: list[bytes] = []
        whole = True
        unpack = _HEADER.unpack_from
        while True:
            data = self._sock.recv(1 << 16)
            offset, end = 0, len(data)
            while offset + 16 <= end:
                length, answer, flags, seq, _pid = unpack(data, offset)
                if rows is not None and answer == reply and seq == wanted and flags == _MULTI:
                    taken = rows.take(data, offset)
                    if taken:
                        offset += taken
                        continue
                if seq == wanted:
                    whole = whole and not flags & _DUMP_INTERRUPTED
                    if answer == reply:
                        found.append(data[offset + 16 : offset + length])
                    elif answer == NLMSG_DONE:
                        return found, whole
                    elif answer == NLMSG_ERROR:
                        raise self._error(data[offset : offset + length], 0)
                offset += (length + 3) & ~3

    def ask(self, kind: int, payload: bytes, reply: int) -> bytes:
        """The one answer to a request that is no dump. NetlinkError when the kernel refuses it."""
        self._seq += 1
        self._sock.send(_HEADER.pack(16 + len(payload), kind, NLM_REQUEST, self._seq, 0) + payload)
        while True:
            data = self._sock.recv(1 << 16)
            length, answer, _flags, seq, _pid = _HEADER.unpack_from(data, 0)
            if seq != self._seq:
                continue
            if answer == NLMSG_ERROR:
                raise self._error(data[:length], 0)
            if answer == reply:
                return data[16:length]

    def send(self, messages: Sequence[Message]) -> None:
        """Send a batch and wait until the kernel has worked through it. The first refusal is raised as NetlinkError, after
        the kernel has seen the rest of that chunk: the caller observes again rather than count on what was done."""
        for start in range(0, len(messages), _CHUNK):
            self._send_chunk(messages[start : start + _CHUNK], start)

    def _send_chunk(self, chunk: Sequence[Message], start: int) -> None:
        first = self._seq + 1
        parts: list[bytes] = []
        last = len(chunk) - 1
        pack = _HEADER.pack
        for place, (kind, flags, payload) in enumerate(chunk):
            # errors are reported whether an acknowledgement was asked for or not: one is enough to know the end
            wanted = flags | NLM_REQUEST | (NLM_ACK if place == last else 0)
            pad = -len(payload) & 3
            parts.append(pack(16 + len(payload), kind, wanted, first + place, 0))
            parts.append(payload + b"\0" * pad if pad else payload)
        self._seq = first + last
        self._sock.send(b"".join(parts))
        refused: Optional[NetlinkError] = None
        while True:
            data = self._sock.recv(1 << 18)
            offset = 0
            while offset + 16 <= len(data):
                length, answer, _flags, seq, _pid = _HEADER.unpack_from(data, offset)
                if answer == NLMSG_ERROR and first <= seq <= self._seq:
                    code = struct.unpack_from("=i", data, offset + 16)[0]
                    if code and refused is None:
                        refused = self._error(data[offset : offset + length], start + seq - first)
                    if seq == self._seq:
                        if refused is not None:
                            raise refused
                        return
                offset += (length + 3) & ~3

    @staticmethod
    def _error(data: bytes, index: int) -> NetlinkError:
        _length, _type, flags, _seq, _pid = _HEADER.unpack_from(data, 0)
        code = -struct.unpack_from("=i", data, 16)[0]
        reason = os.strerror(code)
        if flags & _ACK_TLVS:
            inner = struct.unpack_from("=I", data, 20)[0]
            skip = 36 if flags & _CAPPED else 20 + ((inner + 3) & ~3)
            said = text(attributes(data, skip).get(_MSG))
            if said:
                reason = f"{said} ({reason})"
        return NetlinkError(code, reason, index)


class Sockets:
    """One socket a namespace, opened when first asked for; closed all at once."""

    def __init__(self, limit: int = 400) -> None:
        self._open: dict[str, Socket] = {}
        self._limit = limit  # well under the usual 1,024 open files

    def of(self, netns: str) -> Socket:
        sock = self._open.get(netns)
        if sock is None:
            if len(self._open) >= self._limit:
                oldest = next(name for name in self._open if name)
                self._open.pop(oldest).close()
            sock = self._open[netns] = Socket(netns)
        return sock

    def drop(self, netns: str) -> None:
        """Forget a namespace's socket, so that it does not keep a deleted namespace alive."""
        sock = self._open.pop(netns, None)
        if sock is not None:
            sock.close()

    def close(self) -> None:
        for netns in list(self._open):
            self.drop(netns)

    def __enter__(self) -> Sockets:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def nsid(sock: Socket, netns: str) -> tuple[bool, int]:
    """(known, id) of a namespace as the socket's namespace numbers it; unknown ones have id -1."""
    fd = os.open(_netns.path_of(netns), os.O_RDONLY | os.O_CLOEXEC)
    try:
        payload = b"\0\0\0\0" + struct.pack("=HHI", 8, 3, fd)  # struct rtgenmsg padded, NETNSA_FD
        answer = sock.ask(RTM_GETNSID, payload, 88)
    finally:
        os.close(fd)
    value = attributes(answer, 4).get(1)
    found = struct.unpack("=i", value)[0] if value is not None else -1
    return found >= 0, found
