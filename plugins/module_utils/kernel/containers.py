# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the namespace of a running container, by the command line of the engine that the host has."""

from __future__ import annotations

import os
import shutil
import subprocess

from ..errors import HostError

_ENGINES = ("docker", "podman")
_TIMEOUT = 20  # seconds


def pid_of(obj: str, container: str) -> int:
    """The process id of a container's first process. HostError when no engine has it running."""
    engines = [engine for engine in _ENGINES if shutil.which(engine)]
    if not engines:
        raise HostError(
            f"{obj}: container {container!r}: this host has neither docker nor podman; install one, or give a pid"
        )
    said = []
    for engine in engines:
        argv = [engine, "container", "inspect", "--format", "{{.State.Pid}}", "--", container]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            said.append(f"{engine} did not answer in {_TIMEOUT} s")
            continue
        text = done.stdout.strip()
        if done.returncode == 0 and text.isdigit():
            if int(text):
                return int(text)
            said.append(f"{engine} has it, but it is not running")
        else:
            said.append(f"{engine}: {' '.join(done.stderr.split())[:200] or 'no answer'}")
    raise HostError(f"{obj}: container {container!r}: {'; '.join(said)}; start it first")


def namespace_of(obj: str, pid: int) -> str:
    """The namespace file of a process; HostError when there is none, or when it is the host's own."""
    path = f"/proc/{pid}/ns/net"
    try:
        inode = os.stat(path).st_ino
    except OSError:
        raise HostError(f"{obj}: pid {pid}: there is no such process; give that of a running one") from None
    if inode == os.stat("/proc/self/ns/net").st_ino:
        raise HostError(
            f"{obj}: pid {pid}: it shares the host's own network; an endpoint needs a sandbox of its own"
        )
    return path
