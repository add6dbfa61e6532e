# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of runs whose executor is gone. They are known by number and start time, as numbers are used again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from .folder import Phase
from .shim import start_of

SECONDS = 15.0  # for a shim to end what it has, and then for the kernel to end what is left


def lives(pid: int | None, start: int | None) -> bool:
    """Whether this very process is there."""
    if not pid or start is None:
        return False
    try:
        return start_of(pid) == start
    except (OSError, IndexError, ValueError):
        return False


def end(phase: Phase, pid: int | None = None, start: int | None = None) -> bool:
    """End what is left of a phase: first the shim may do it, as it does when its executor dies; then its program's group is killed.
    Returns whether anything was there."""
    noted = phase.started() or {}
    shim = (noted.get("pid") or pid, noted.get("start", start))
    child = (noted.get("child"), noted.get("child_start"))
    found = lives(*shim) or lives(*child)
    _await(lambda: not lives(*shim), SECONDS)
    if lives(*child):
        _signal(os.killpg, child[0], signal.SIGTERM)
        _await(lambda: not lives(*child), 5.0)
    for one in (shim, child):
        if lives(*one):
            _signal(os.killpg, one[0], signal.SIGKILL)
            _signal(os.kill, one[0], signal.SIGKILL)
    _await(lambda: not (lives(*shim) or lives(*child)), 5.0)
    _remove_sockets(noted.get("sockets"))
    return found


def _signal(send: Any, pid: Any, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(int(pid), number)


def _await(is_done: Any, seconds: float) -> None:
    limit = time.monotonic() + seconds
    while not is_done() and time.monotonic() < limit:
        time.sleep(0.05)


def _remove_sockets(path: Any) -> None:
    """The folder of the run's agent, made by the shim with this name in the folder of temporary files."""
    if (
        isinstance(path, str)
        and Path(path).parent == Path(tempfile.gettempdir())
        and Path(path).name.startswith("xh-run-")
    ):
        shutil.rmtree(path, ignore_errors=True)
