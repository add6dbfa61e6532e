# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with sandboxes in two networks, for the tests of services: tasks that answer, callers, and fixtures."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from . import engine
from .traffic import TCP, UDP, Place, named, server
from .world import Host, command, world

DATA_PATH = {"data_path_address": "10.98.0.1"}
NETWORKS: list[dict[str, Any]] = [
    {"name": "web", "internal": True, "subnets": [{"subnet": "10.50.0.0/24", "vni": 50}, {"subnet": "fd50::/64"}]},
    {"name": "db", "internal": True, "subnets": [{"subnet": "10.51.0.0/24", "vni": 51}, {"subnet": "fd51::/64"}]},
]  # fmt: skip
WEB, DB = ("a", "b", "c", "caller", "other"), ("d", "e", "caller")
NAMES = tuple(dict.fromkeys((*WEB, *DB)))
PORT, TALK = 80, 90


def at(network: str, name: str, version: int = 4) -> str:
    number = 10 + NAMES.index(name)
    block = {"web": 50, "db": 51}[network]
    return f"10.{block}.0.{number}" if version == 4 else f"fd{block}::{number}"


def endpoint(network: str, name: str) -> dict[str, Any]:
    ends = {"ip": at(network, name), "ip6": at(network, name, 6)}
    return {"network": network, "name": f"{name}-1", "sandbox": name, "create": True, **ends}


def task(network: str, name: str, weight: int = 1) -> dict[str, Any]:
    return {"name": name, "ip": at(network, name), "ip6": at(network, name, 6), "weight": weight}


def shop(**weights: int) -> dict[str, Any]:
    """The service web/shop with these tasks."""
    tasks = [task("web", name, weight) for name, weight in weights.items()]
    return {"network": "web", "name": "shop", "vip": VIP, "vip6": VIP6, "tasks": tasks}


VIP, VIP6 = "10.50.0.100", "fd50::100"
STORE = {
    "network": "db", "name": "store", "vip": "10.51.0.100", "vip6": "fd51::100",
    "tasks": [task("db", "d"), task("db", "e")],
}  # fmt: skip


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    engine.warm()
    with world() as made:
        made[1].call(engine.overlays, NETWORKS, "merged", DATA_PATH)
        ends = [endpoint("web", name) for name in WEB] + [endpoint("db", name) for name in DB]
        made[1].call(engine.endpoints, ends)
        yield made[1]


@pytest.fixture
def host(shared: Host) -> Iterator[Host]:
    yield shared
    shared.call(engine.services, [], "deleted")
    assert not any(tables(shared).values()), "tables are left"


@pytest.fixture(scope="module")
def places(shared: Host) -> Iterator[dict[str, Place]]:
    """The sandboxes; each task answers on TCP and UDP, IPv4 and IPv6, and talks on another port."""
    with contextlib.ExitStack() as stack:
        found = {place.name: place for place in stack.enter_context(named(shared, *NAMES))}
        for network, names in (("web", "abc"), ("db", "de")):
            for name in names:
                for version in (4, 6):
                    address = at(network, name, version)
                    for kind in (TCP, UDP):
                        stack.enter_context(server(found[name], address, PORT, kind))
                    stack.enter_context(talker(found[name], address, TALK))
        yield found


@contextlib.contextmanager
def talker(place: Place, address: str, port: int) -> Iterator[None]:
    """Answers each message of a connection with the name of the place, until the other side ends it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with place.socket(family, TCP) as sock:
        sock.bind((address, port))
        sock.listen(64)

        def talk(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                while connection.recv(100):
                    connection.sendall(place.name.encode())

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=talk, args=(sock.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield
        sock.shutdown(socket.SHUT_RDWR)


class Talk:
    """An open conversation with a task."""

    def __init__(self, place: Place, address: str, port: int = TALK, kind: int = TCP) -> None:
        self._socket = place.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        self._socket.settimeout(2)
        self._socket.connect((address, port))

    def say(self) -> str:
        """The name of the task that answers."""
        self._socket.sendall(b"?")
        return self._socket.recv(100).decode().split()[0]

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._socket.close()


def tables(host: Host, *names: str) -> dict[str, str]:
    """The nft rules in these sandboxes, or in all, as nft shows them."""

    def look() -> dict[str, str]:
        enter = {name: ["nsenter", f"--net=/run/netns/{name}"] for name in names or NAMES}
        return {name: command([*argv, "nft", "list", "ruleset"]) for name, argv in enter.items()}

    found: dict[str, str] = host.call(look)
    return found


def table(host: Host, name: str) -> str:
    return tables(host, name)[name]


def draw(place: Place, address: str, count: int, kind: int = TCP) -> Counter[str]:
    """Who answered so many connections."""

    def connect() -> Counter[str]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        found: Counter[str] = Counter()
        for _ in range(count):
            with socket.socket(family, kind) as sock:
                sock.settimeout(2)
                sock.connect((address, PORT))
                if kind == UDP:
                    sock.send(b"?")
                found[sock.recv(100).decode().split()[0]] += 1
        return found

    return place.call(connect)
