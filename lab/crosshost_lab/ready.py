# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs on a host, and whether a host is ready: systemd says so, and sshd answers."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Callable

from . import processes
from .layout import Host, LabError, address
from .processes import Process
from .system import attempt, last_line, tool_path

# A boot takes 2 s of one core; a slow machine that boots 20 at once is still well within this.
_BOOT_SECONDS = 120.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def entering(leader: Process, argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` in all namespaces of the host whose first process is `leader`."""
    flags = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]
    return ["nsenter", f"--target={leader.pid}", *flags, "--", *argv]


def environment() -> dict[str, str]:
    """What a program on a host gets as its environment: nothing of the machine's but the terminal."""
    return {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", "TERM": os.environ.get("TERM", "dumb")}


def inside(leader: Process, argv: Sequence[str], timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Runs `argv` on the host whose first process is `leader`."""
    return attempt(entering(leader, argv), timeout=timeout, env=environment())


def wait(hosts: list[Host], say: Callable[[str], None]) -> None:
    """Waits until all `hosts` are ready, at the same time. Raises LabError for the first that will not be."""
    deadline = time.monotonic() + _BOOT_SECONDS
    found = _wait_leaders(hosts, deadline)
    with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
        answers = [pool.submit(_wait_host, host, found[host.number], deadline) for host in hosts]
        for answer in answers:
            warning = answer.result()
            if warning:
                say(warning)


def _wait_leaders(hosts: list[Host], deadline: float) -> dict[int, Process]:
    while True:
        found = processes.leaders(hosts)
        if len(found) == len(hosts):
            return found
        missing = [host for host in hosts if host.number not in found]
        running = processes.supervisors(missing)
        for host in missing:
            if not any(processes.is_supervisor(process.argv, host) for process in running):
                raise LabError(f"{host.name} does not boot: {last_line(host.log)}; see {host.log}")
        if time.monotonic() > deadline:
            raise LabError(f"{missing[0].name} does not start: see {missing[0].log}")
        time.sleep(0.1)


def _wait_host(host: Host, leader: Process, deadline: float) -> str:
    """Waits for one host; returns a warning, or nothing."""
    while not ssh_banner(host):
        if processes.read(leader.pid) != leader:
            raise LabError(f"{host.name} ended while it booted: see {host.log}")
        if time.monotonic() > deadline:
            raise LabError(f"{host.name}: sshd does not answer; see {host.log}")
        time.sleep(0.1)
    left = max(1.0, deadline - time.monotonic())
    reply = inside(leader, ["systemctl", "is-system-running", "--wait"], timeout=left)
    if reply.stdout.strip() == "running":
        return ""
    failed = inside(leader, ["systemctl", "list-units", "--failed", "--plain", "--no-legend"]).stdout
    units = ", ".join(line.split()[0] for line in failed.splitlines() if line.strip())
    return "{} is {}; failed units: {}".format(host.name, reply.stdout.strip() or "unknown", units or "none")


def system_state(leader: Process) -> str:
    """systemd's own word for the host's state: running, degraded, starting, ..."""
    return inside(leader, ["systemctl", "is-system-running"]).stdout.strip() or "starting"


def ssh_banner(host: Host) -> bool:
    """Whether sshd of `host` answers through the switch."""
    argv = [
        "nsenter",
        f"--net=/run/netns/{host.lab.switch}",
        "nc",
        "-w",
        "2",
        address("mgmt", host.number),
        "22",
    ]
    child = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PATH": tool_path()},
    )
    try:
        return child.stdout is not None and child.stdout.readline().startswith(b"SSH-")
    finally:
        child.kill()
        child.communicate()
