# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's processes, found in /proc by what they are. No recorded process id is ever trusted."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Optional

from .layout import Host, Lab

NetnsId = tuple[int, int]


@dataclass(frozen=True)
class Process:
    """A process as /proc shows it. `started`: clock ticks after boot; with `pid` it names a process for ever."""

    pid: int
    started: int
    argv: tuple[str, ...] = field(compare=False)  # changes when the process becomes another program


def supervisor_argv(host: Host) -> list[str]:
    """The arguments, after the interpreter, of the process that keeps `host` running."""
    return [str(host.lab.script), "--name", host.lab.name, "_host", host.name]


def is_supervisor(argv: tuple[str, ...], host: Host) -> bool:
    """Whether `argv` is the supervisor of `host` (or of its first instants before it becomes nspawn)."""
    return list(argv[1:]) == supervisor_argv(host) or list(argv[1:]) == [*supervisor_argv(host), "boot"]


def is_nspawn(argv: tuple[str, ...], host: Host) -> bool:
    """Whether `argv` is the systemd-nspawn that runs `host`."""
    return (
        bool(argv)
        and Path(argv[0]).name == "systemd-nspawn"
        and (f"--directory={host.merged}" in argv and f"--machine={host.netns}" in argv)
    )


def read(pid: int) -> Optional[Process]:
    """The process `pid`, or None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    # Field 22 of proc(5); the command's name, in brackets, may hold blanks and brackets.
    started = int(stat.rpartition(")")[2].split()[19])
    argv = tuple(os.fsdecode(word) for word in raw.rstrip(b"\0").split(b"\0")) if raw else ()
    return Process(pid, started, argv)


def all_processes() -> Iterator[Process]:
    """Every process that this one can see, except itself."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            process = read(int(entry))
            if process is not None:
                yield process


def netns_id(name: str) -> Optional[NetnsId]:
    """Device and inode of the named network namespace, None when it does not exist."""
    try:
        found = os.stat(f"/run/netns/{name}")
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _netns_of(pid: int) -> Optional[NetnsId]:
    try:
        found = os.stat(f"/proc/{pid}/ns/net")
    except OSError:
        return None
    return found.st_dev, found.st_ino


def inside(names: Iterable[str]) -> list[Process]:
    """All processes whose network namespace is one of `names`; never those of the caller's own."""
    wanted: set[NetnsId] = {found for found in map(netns_id, names) if found is not None}
    own = _netns_of(os.getpid())
    wanted.discard(own if own is not None else (0, 0))
    return [process for process in all_processes() if _netns_of(process.pid) in wanted] if wanted else []


def leaders(hosts: Iterable[Host]) -> dict[int, Process]:
    """The first process (the host's systemd) of each running host, by host number."""
    by_netns = {netns_id(host.netns): host.number for host in hosts}
    by_netns.pop(None, None)
    depth = _pid_depth(os.getpid())[0]
    found: dict[int, Process] = {}
    for process in all_processes() if by_netns else ():
        # One process id namespace deeper, and number 1 there.
        if _pid_depth(process.pid) == (depth + 1, 1):
            number = by_netns.get(_netns_of(process.pid))
            if number is not None:
                found[number] = process
    return found


def _pid_depth(pid: int) -> tuple[int, int]:
    """How many process id namespaces `pid` is in, and its number in the innermost."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return 0, 0
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            numbers = line.split()[1:]
            return len(numbers), int(numbers[-1])
    return 0, 0


def supervisors(hosts: Iterable[Host]) -> list[Process]:
    """The processes that keep `hosts` running."""
    listed = list(hosts)
    return [p for p in all_processes() if any(is_supervisor(p.argv, host) for host in listed)]


def nspawns(hosts: Iterable[Host]) -> list[Process]:
    """The systemd-nspawn processes of `hosts`."""
    listed = list(hosts)
    return [p for p in all_processes() if any(is_nspawn(p.argv, host) for host in listed)]


def kill(victims: Iterable[Process], number: int = signal.SIGKILL) -> None:
    """Sends signal `number`. A process that ended since it was listed, and whose number is another's, is let be."""
    for victim in victims:
        try:
            handle = os.pidfd_open(victim.pid)
        except OSError:
            continue
        try:
            now = read(victim.pid)
            if now is not None and now.started == victim.started:
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)


def lab_processes(lab: Lab) -> list[Process]:
    """Everything that runs for `lab`, in the order in which it should be killed."""
    hosts = lab.hosts(20)
    listed = supervisors(hosts) + nspawns(hosts) + inside(lab.namespaces())
    return list({process.pid: process for process in listed}.values())


def kill_until_none(find: Callable[[], list[Process]], seconds: float = 15) -> list[Process]:
    """Kills what `find` returns until it returns nothing; returns what is still there after `seconds`."""
    deadline = time.monotonic() + seconds
    rest = find()
    while rest and time.monotonic() < deadline:
        kill(rest)
        time.sleep(0.05)
        rest = find()
    return rest


def power_off(hosts: Iterable[Host], seconds: float = 5) -> None:
    """Kills the first process of each of `hosts`: nspawn and the supervisor then end by themselves, one after the other.

    Killing those first would leave it to the machine's init to collect the host's processes.
    """
    listed = list(hosts)
    kill(leaders(listed).values())
    deadline = time.monotonic() + seconds
    while nspawns(listed) and time.monotonic() < deadline:
        time.sleep(0.02)


def uptime(process: Process) -> float:
    """Seconds since `process` started."""
    now = float(Path("/proc/uptime").read_text().split()[0])
    return max(0.0, now - process.started / os.sysconf("SC_CLK_TCK"))
