# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens on a port: asked of real sockets in a namespace of their own."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.kernel import listeners
from ansible_collections.crosshost.network.plugins.module_utils.kernel.listeners import Owner, owner, owners

from tests.support.child import CLONE_NEWNET, system_call
from tests.support.world import Host, world

pytestmark = pytest.mark.root

V4, V6 = socket.AF_INET, socket.AF_INET6
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with world() as made:
        yield made[1]


@contextlib.contextmanager
def bound(family: int, kind: int, address: str, port: int, v6only: bool = False) -> Iterator[socket.socket]:
    with socket.socket(family, kind) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == V6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6only))
        sock.bind((address, port))
        if kind == TCP:
            sock.listen()
        yield sock


def _mine(address: str) -> Owner:
    return Owner(os.getpid(), Path("/proc/self/comm").read_text(encoding="utf-8").strip(), address)


# who listens, (what is asked for, whether that is in the way)
CASES: list[tuple[tuple[Any, ...], str, dict[tuple[str, str], bool]]] = [
    (
        (V4, TCP, "127.0.0.1"),
        "127.0.0.1",
        {
            ("tcp", ""): True,
            ("tcp", "0.0.0.0"): True,
            ("tcp", "127.0.0.1"): True,
            ("tcp", "10.98.0.1"): False,
            ("tcp", "::"): False,
            ("tcp", "fd98::1"): False,
            ("udp", "127.0.0.1"): False,
            ("sctp", ""): False,
        },
    ),
    (
        (V4, TCP, "0.0.0.0"),
        "0.0.0.0",
        {("tcp", "10.98.0.1"): True, ("tcp", "fd98::1"): False, ("tcp", "::"): False, ("tcp", ""): True},
    ),
    (
        (V6, TCP, "::"),
        "::",
        {("tcp", "10.98.0.1"): True, ("tcp", "fd98::1"): True, ("tcp", "0.0.0.0"): True, ("udp", ""): False},
    ),
    (
        (V6, TCP, "fd98::1"),
        "fd98::1",
        {("tcp", "fd98::1"): True, ("tcp", "::"): True, ("tcp", "fd98::2"): False, ("tcp", "0.0.0.0"): False},
    ),
    (
        (V6, UDP, "::ffff:10.98.0.1"),
        "10.98.0.1",
        {("udp", "10.98.0.1"): True, ("udp", "0.0.0.0"): True, ("udp", "fd98::1"): False, ("tcp", ""): False},
    ),
    ((V4, UDP, "10.98.0.1"), "10.98.0.1", {("udp", ""): True, ("udp", "127.0.0.1"): False}),
]


@pytest.mark.parametrize(("who", "shown", "asked"), CASES, ids=[str(case[1]) for case in CASES])
def test_whom_a_port_belongs_to(
    host: Host, who: tuple[Any, ...], shown: str, asked: dict[tuple[str, str], bool]
) -> None:
    def ask() -> tuple[dict[tuple[str, str], Any], Owner]:
        with bound(*who, 8080):
            found = owners([(protocol, address, 8080) for protocol, address in asked])
            assert owners([("tcp", "", 8081), ("udp", "", 8081)]) == {}
            return {key: found.get((*key, 8080)) for key in asked}, _mine(shown)

    found, mine = host.call(ask)
    assert found == {key: mine if taken else None for key, taken in asked.items()}


def test_what_only_talks_owns_nothing(host: Host) -> None:
    """A connected socket, and one that is bound but does not listen, are no listeners."""

    def ask() -> list[object]:
        with (
            bound(V4, TCP, "127.0.0.1", 9000),
            socket.socket(V4, TCP) as client,
            socket.socket(V4, UDP) as talk,
        ):
            client.bind(("127.0.0.1", 9001))
            client.connect(("127.0.0.1", 9000))
            talk.bind(("127.0.0.1", 9002))
            talk.connect(("127.0.0.1", 53))
            return [owner("tcp", "", 9001), owner("udp", "", 9002)]

    assert host.call(ask) == [None, None]


def test_the_kernels_own_sockets_have_no_process(host: Host) -> None:
    host.batch("link add vx9 type vxlan id 9 dstport 4789 local 10.98.0.1\nlink set vx9 up\n")
    try:
        found = host.call(owner, "udp", "", 4789)
        assert found is not None
        assert found[:2] == (0, "the kernel")
    finally:
        host.batch("link del vx9\n")


def test_the_namespace_is_that_of_the_calling_thread(host: Host) -> None:
    """A thread that went to another namespace sees that one's sockets."""

    def ask() -> list[object]:
        found: list[object] = []

        def elsewhere() -> None:
            system_call("unshare", CLONE_NEWNET)
            found.append(owner("tcp", "", 8080))

        with bound(V4, TCP, "0.0.0.0", 8080):
            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
            found.append(owner("tcp", "", 8080) is not None)
        return found

    assert host.call(ask) == [None, True]


def test_processes_are_looked_for_only_when_a_port_is_taken(host: Host) -> None:
    def ask() -> list[str]:
        asked: list[str] = []
        real: Callable[..., list[str]] = os.listdir

        def spy(path: str) -> list[str]:
            asked.append(path)
            return real(path)

        listeners.os.listdir = spy  # type: ignore[assignment]
        owners([])
        owners([("tcp", "", 8080)])
        return asked

    assert host.call(ask) == []


def test_sctp_endpoints_as_the_kernel_lists_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Few kernels of test machines have SCTP: its table as another one writes it."""
    (tmp_path / "sctp").mkdir()
    (tmp_path / "sctp" / "eps").write_text(
        " ENDPT     SOCK   STY SST HBKT LPORT   UID INODE LADDRS\n"
        "ffff8881 ffff8882 2   10  29   38412     0 12345 192.0.2.1 2001:db8::1\n",
        encoding="ascii",
    )
    monkeypatch.setattr(listeners, "_NET", str(tmp_path))
    assert owner("sctp", "192.0.2.1", 38412) == Owner(0, "the kernel", "192.0.2.1")
    assert owner("sctp", "::", 38412) == Owner(0, "the kernel", "2001:db8::1")
    assert owner("sctp", "192.0.2.2", 38412) is None
    assert owner("tcp", "", 38412) is None
