# SPDX-License-Identifier: GPL-3.0-or-later
"""Private worlds for tests that touch the kernel: "hosts" that are network and mount namespaces, joined by a switch.

Each host has its own /run (so its own /run/netns and lock) and /var/lib (so its own records), and the device eth1 with
10.98.0.N/24 and fd98::N/64. Namespaces are held by open descriptors alone: when the world closes, or the test process
dies, the kernel takes everything down; no process, mount or file can be left over.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .child import CLONE_NEWNET, CLONE_NEWNS, Ended, call, enter, fork, system_call

_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
UNDERLAY_DEV = "eth1"


class Host:
    """One host of a world. Functions and commands run in children of the test process, inside the host."""

    def __init__(self, number: int, net: int, mnt: int) -> None:
        self.number = number
        self.name = f"h{number}"
        self.vtep = f"10.98.0.{number}"
        self.vtep6 = f"fd98::{number}"
        self.net = net
        self.mount = mnt

    def _inside(self, function: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            enter([(self.mount, CLONE_NEWNS), (self.net, CLONE_NEWNET)])
            return function()

        return run

    def call(self, function: Callable[..., Any], *args: Any, timeout: float = 120.0) -> Any:
        """The result of ``function(*args)``, run inside; its exceptions are raised here."""
        return call(self._inside(lambda: function(*args)), timeout)

    def fork(self, function: Callable[[], Any], timeout: float = 120.0) -> Ended:
        """Like :meth:`call`, for functions that may end their process."""
        return fork(self._inside(function), timeout)

    def net_inode(self) -> int:
        """What tells the host's network namespace from others."""
        return os.fstat(self.net).st_ino

    def run(self, *argv: str) -> str:
        """The output of a command, run inside. AssertionError when it fails."""
        return str(self.call(command, argv))

    def batch(self, text: str) -> None:
        """Lines for ``ip -batch``, run inside."""
        self.call(ip_batch, text)


class World:
    def __init__(self, hosts: list[Host], switch: int) -> None:
        self.hosts = hosts
        self.switch = switch

    def __getitem__(self, number: int) -> Host:
        """Host by its number, from 1."""
        return self.hosts[number - 1]


def command(argv: Sequence[str]) -> str:
    """The output of a command in the namespaces of the caller. AssertionError with its words when it fails."""
    done = subprocess.run(list(argv), capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def ip_batch(text: str) -> None:
    done = subprocess.run(["ip", "-batch", "-"], input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"ip -batch: {done.stderr.strip()}\n{text}")


@contextlib.contextmanager
def world(hosts: int = 1, mtu: int = 1500) -> Iterator[World]:
    """A world of some hosts; ``mtu`` is the underlay's."""
    descriptors: list[int] = []
    try:
        made = []
        for number in range(1, hosts + 1):
            net, mnt = _namespaces(_own_folders)
            descriptors += [net, mnt]
            made.append(Host(number, net, mnt))
        switch, spare = _namespaces(None)
        os.close(spare)
        descriptors.append(switch)
        _cable(made, switch, mtu)
        yield World(made, switch)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _namespaces(prepare: Callable[[], None] | None) -> tuple[int, int]:
    """Descriptors of a new network and mount namespace, made by a child that is gone when this returns."""
    go_reader, go_writer = os.pipe()
    ready_reader, ready_writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(go_writer)
            system_call("unshare", CLONE_NEWNS | CLONE_NEWNET)
            if prepare:
                prepare()
            os.write(ready_writer, b"1")
            os.read(go_reader, 1)
        finally:
            os._exit(0)
    os.close(ready_writer)
    os.close(go_reader)
    try:
        if os.read(ready_reader, 1) != b"1":
            raise AssertionError("a private namespace cannot be made; unshare -m -n fails here")
        flags = os.O_RDONLY | os.O_CLOEXEC
        return os.open(f"/proc/{pid}/ns/net", flags), os.open(f"/proc/{pid}/ns/mnt", flags)
    finally:
        os.close(ready_reader)
        os.close(go_writer)
        os.waitpid(pid, 0)


def _own_folders() -> None:
    system_call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    for folder in (b"/run", b"/var/lib"):
        system_call("mount", b"tmpfs", folder, b"tmpfs", 0, b"mode=755")
    os.mkdir("/run/netns")


def _cable(hosts: list[Host], switch: int, mtu: int) -> None:
    lines = ["link add sw0 type bridge", f"link set sw0 mtu {mtu} up"]
    for host in hosts:
        far = f"/proc/self/fd/{host.net}"
        lines += [
            f"link add p{host.number} mtu {mtu} type veth peer name {UNDERLAY_DEV} mtu {mtu} netns {far}",
            f"link set p{host.number} master sw0 up",
        ]

    def wire() -> None:
        enter([(switch, CLONE_NEWNET)])
        fds = [host.net for host in hosts]
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True, pass_fds=fds)

    call(wire)
    for host in hosts:
        host.batch(
            "link set lo up\n"
            f"link set {UNDERLAY_DEV} up\n"
            f"addr add {host.vtep}/24 dev {UNDERLAY_DEV}\n"
            f"addr add {host.vtep6}/64 dev {UNDERLAY_DEV} nodad\n"
        )


@contextlib.contextmanager
def container(host: Host) -> Iterator[int]:
    """The pid of a process in a network namespace of its own on the host, as a container engine leaves it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            enter([(host.net, CLONE_NEWNET)])
            system_call("unshare", CLONE_NEWNET)
            os.write(writer, b"1")
            time.sleep(3600)
        finally:
            os._exit(0)
    os.close(writer)
    try:
        if os.read(reader, 1) != b"1":
            raise AssertionError("a container's namespace cannot be made")
        yield pid
    finally:
        os.close(reader)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
