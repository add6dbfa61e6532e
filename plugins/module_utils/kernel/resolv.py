# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resolv.conf of the host, of named sandboxes (as ``ip netns exec`` mounts it) and of processes with files of their own."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from typing import NamedTuple, Optional

from ..errors import HostError
from ..resources import File
from . import containers, files

HOSTS_OWN = "/etc/resolv.conf"
_RESOLVED = (
    "/run/systemd/resolve/resolv.conf"  # what systemd-resolved asks, where it is behind a loopback address
)
_NAMED = "/etc/netns"
_KNOWN = "/run/crosshost/resolvers"
_OWN = "root/etc/resolv.conf"


class Known(NamedTuple):
    """A process whose resolv.conf was written: ``path`` is that file's, "" when the process is gone, and ``mark`` is the
    file that remembers it."""

    path: str
    mark: File


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


def own_path(pid: int) -> str:
    """A process's own resolv.conf; "" when it has none, or when it is the host's."""
    path = f"/proc/{pid}/{_OWN}"
    mine = files.identity(path)
    try:
        elsewhere = os.stat(f"/proc/{pid}/ns/mnt").st_ino != os.stat("/proc/self/ns/mnt").st_ino
        hosts = os.stat(HOSTS_OWN)
    except FileNotFoundError:
        return path if mine and elsewhere else ""
    except OSError:
        return ""
    return path if mine and elsewhere and mine != (hosts.st_dev, hosts.st_ino) else ""


def mark(pid: int, place: str) -> Optional[File]:
    """What remembers that a process's file was written; None when there is no such process."""
    started = _started(pid)
    return File(f"{_KNOWN}/{pid}-{started}", f"{place}\n") if started else None


def known() -> Iterator[Known]:
    """The processes whose file was written."""
    try:
        names = sorted(os.listdir(_KNOWN))
    except OSError:
        return
    for name in names:
        found = files.read(f"{_KNOWN}/{name}")
        pid, _, started = name.partition("-")
        if found is None or not pid.isdigit():
            continue
        there = started == _started(int(pid))
        yield Known(own_path(int(pid)) if there else "", found)


def _started(pid: int) -> str:
    """When a process began: with its number, a name for ever."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # the command's name, in brackets, may hold blanks and brackets
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
