# SPDX-License-Identifier: GPL-3.0-or-later
"""A control group a host, in the hierarchies that systemd uses: two hosts that share one would share their units' groups."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from .layout import Host, Lab, LabError

_MOUNTS = Path("/proc/self/mountinfo")


def hierarchies(mountinfo: str) -> list[Path]:
    """Mount points of cgroup v2 and of v1's name=systemd, from the text of /proc/self/mountinfo."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split()[:3]
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(Path(left.split()[4]))
    return found


def enter(host: Host) -> None:
    """Moves the calling process into new control groups of the host's own."""
    for top in hierarchies(_MOUNTS.read_text()):
        group = top / host.lab.switch / host.name
        _remove(group)
        try:
            group.mkdir(parents=True)
            (group / "cgroup.procs").write_text(str(os.getpid()))
        except OSError as error:
            raise LabError(f"control group {group}: {error.strerror}") from None


def remove(lab: Lab) -> None:
    """Removes the lab's control groups."""
    for top in hierarchies(_MOUNTS.read_text()):
        _remove(top / lab.switch)


def _remove(group: Path, seconds: float = 10) -> None:
    """Removes `group` and those below it. A killed process leaves its group only when the kernel is done with it."""
    deadline = time.monotonic() + seconds
    while group.exists():
        for path, _, _ in os.walk(str(group), topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)
        if group.exists():
            if time.monotonic() > deadline:
                raise LabError(f"control group {group}: a process in it does not end")
            time.sleep(0.02)
