# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections between namespaces of a private world, from the test process itself: a socket belongs to the namespace in
which a thread opened it, and nothing is left when the process ends."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .child import CLONE_NEWNET, CLONE_NEWNS, system_call
from .world import Host

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
_CLONE_FS = 0x200
_Found = TypeVar("_Found")


class Place:
    """A network namespace, held by a descriptor."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor

    def call(self, function: Callable[..., _Found], *args: Any) -> _Found:
        """The result of ``function(*args)``, called by a thread inside; what it raises is raised here."""
        return _in_thread([(self.descriptor, CLONE_NEWNET)], lambda: function(*args))

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        return self.call(socket.socket, family, kind, protocol)


def _in_thread(spaces: list[tuple[int, int]], function: Callable[[], _Found]) -> _Found:
    found: list[Any] = [None, None]

    def run() -> None:
        try:
            if any(kind == CLONE_NEWNS for _descriptor, kind in spaces):
                system_call("unshare", _CLONE_FS)
            for descriptor, kind in spaces:
                system_call("setns", descriptor, kind)
            found[0] = function()
        except BaseException as error:
            found[1] = error

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if found[1] is not None:
        raise found[1]
    result: _Found = found[0]
    return result


def outside(host: Host) -> Place:
    """The host's own namespace."""
    return Place(host.name, host.net)


@contextlib.contextmanager
def named(host: Host, *names: str) -> Iterator[list[Place]]:
    """The namespaces of these names on the host."""
    descriptors: list[int] = []

    def look() -> None:
        descriptors.extend(os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in names)

    try:
        _in_thread([(host.mount, CLONE_NEWNS)], look)
        yield [Place(name, descriptor) for name, descriptor in zip(names, descriptors)]
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@contextlib.contextmanager
def server(place: Place, address: str, port: int, kind: int = TCP, says: str = "") -> Iterator[None]:
    """Answers whoever comes with ``says`` (the place's name) and the address from which they come."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    ended = threading.Event()
    with place.socket(family, kind) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.settimeout(0.1)
        if kind == TCP:
            sock.listen(64)
        serve = _stream if kind == TCP else _datagrams
        thread = threading.Thread(target=serve, args=(sock, says or place.name, ended))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _stream(sock: socket.socket, says: str, ended: threading.Event) -> None:
    while not ended.is_set():
        with contextlib.suppress(OSError):
            connection, peer = sock.accept()
            with connection:
                connection.sendall(f"{says} {peer[0]}\n".encode())


def _datagrams(sock: socket.socket, says: str, ended: threading.Event) -> None:
    while not ended.is_set():
        with contextlib.suppress(OSError):
            _data, peer = sock.recvfrom(100)
            sock.sendto(f"{says} {peer[0]}\n".encode(), peer)


REFUSED, SILENCE = "refused", "silence"


def ask(
    place: Place, address: str, port: int, kind: int = TCP, timeout: float = 0.7, source: str = ""
) -> str:
    """What the server there says, such as ``shop 10.0.0.1``; else that the port is refused, or that nothing comes back."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with place.socket(family, kind) as sock:
        sock.settimeout(timeout)
        try:
            if source:
                sock.bind((source, 0))
            sock.connect((address, port))
            if kind == UDP:
                sock.send(b"?")
            return sock.recv(100).decode().strip()
        except ConnectionRefusedError:
            return REFUSED
        except OSError:
            return SILENCE


def until(expected: str, function: Callable[..., str], *args: Any, seconds: float = 5.0) -> str:
    """What the function says, asked again until it says what is expected or the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        said = function(*args)
        if said == expected or time.monotonic() >= deadline:
            return said
