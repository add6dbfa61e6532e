# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resolv.conf of the host, of named sandboxes (as ``ip netns exec`` mounts it) and of processes with files of their own."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
from collections.abc import Collection, Iterator
from typing import Optional

from ..errors import HostError
from ..resources import File
from . import containers, files

HOSTS_OWN = "/etc/resolv.conf"
_RESOLVED = (
    "/run/systemd/resolve/resolv.conf"  # what systemd-resolved asks, where it is behind a loopback address
)
_NAMED = "/etc/netns"
_OWN = "root/etc/resolv.conf"


def host_servers(obj: str) -> list[str]:
    """The name servers of the host that others than its own processes can ask. HostError when there are only such that
    they cannot."""
    listed = _servers(HOSTS_OWN)
    found = [one for one in listed if _is_reachable(one)]
    if listed and not found:
        found = [one for one in _servers(_RESOLVED) if _is_reachable(one)]
        if not found:
            remedy = "the network's name server cannot reach these; set upstream, or forward: false"
            raise HostError(f"{obj}: upstream: {HOSTS_OWN} has only {', '.join(listed)}: {remedy}")
    return list(dict.fromkeys(found))


def listed() -> list[str]:
    """The host's own name servers, as its resolv.conf names them."""
    return list(dict.fromkeys(_servers(HOSTS_OWN)))


def _servers(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            words = [line.split() for line in file]
    except OSError:
        return []
    return [line[1] for line in words if line[:1] == ["nameserver"] and len(line) > 1]


def _is_reachable(text: str) -> bool:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return False  # a link-local address with its interface, or a mistake
    return not (parsed.is_loopback or parsed.is_unspecified or parsed.is_link_local)


def own_name() -> str:
    """What tells this host from others: made from its machine id, which is not for everybody to read (machine-id(5))."""
    try:
        with open("/etc/machine-id", "rb") as file:
            known = file.read().strip()
    except OSError:
        known = b""
    return hashlib.sha256(b"crosshost " + known).hexdigest()[:12]


def named_path(sandbox: str) -> str:
    """The file that ``ip netns exec`` shows as /etc/resolv.conf in a named sandbox."""
    return f"{_NAMED}/{sandbox}/resolv.conf"


def named() -> Iterator[File]:
    """These files of all named sandboxes that have one."""
    try:
        names = sorted(os.listdir(_NAMED))
    except OSError:
        return
    yield from files.observe(map(named_path, names))


def process_of(pid: int, container: str) -> int:
    """The process of a sandbox; 0 when it does not run."""
    try:
        return pid or containers.pid_of("names", container)
    except HostError:
        return 0


def named_files() -> set[tuple[int, int]]:
    """What these files are. A program that ``ip netns exec`` started has one of them as its /etc/resolv.conf."""
    try:
        paths = map(named_path, os.listdir(_NAMED))
    except OSError:
        return set()
    return set(filter(None, map(files.identity, paths)))


def own_path(pid: int, shared: Collection[tuple[int, int]] = ()) -> str:
    """A process's own resolv.conf, which need not be there yet; "" when it shares the host's or one of ``shared``, or has a
    link there."""
    path = f"/proc/{pid}/{_OWN}"
    try:
        if os.stat(f"/proc/{pid}/ns/mnt").st_ino == os.stat("/proc/self/ns/mnt").st_ino:
            return ""
    except OSError:
        return ""  # it is gone
    mine = files.identity(path)
    if mine is not None:
        return path if mine != _identity(HOSTS_OWN) and mine not in shared else ""
    folder = files.free_folder(path)
    return path if folder is not None and folder != _identity(os.path.dirname(HOSTS_OWN)) else ""


def own_files() -> Iterator[File]:
    """The resolv.conf of all processes that have one of their own, each file once."""
    spaces: dict[str, int] = {}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):
            spaces.setdefault(os.readlink(f"/proc/{pid}/ns/mnt"), pid)
    seen = set()
    shared = named_files()
    for path in filter(None, (own_path(pid, shared) for pid in spaces.values())):
        which = files.identity(path)
        if which is not None and which not in seen:
            seen.add(which)
            yield from files.observe([path])


def _identity(path: str) -> Optional[tuple[int, int]]:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
