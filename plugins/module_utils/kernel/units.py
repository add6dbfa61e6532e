# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running systemd units as resources, by systemctl.

What a unit was started with, and what it was last told to read, systemd does not know: a file for each unit remembers it. It
is written after the unit was told, so that a run that is killed in between is mended by the next one.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterable, Iterator

from ..errors import HostError
from ..plan import Op
from ..resources import File, Unit
from . import files

LOADED = "/run/crosshost/units"
_PROPERTIES = "Id,ActiveState,MainPID,NetworkNamespacePath"
_TIMEOUT = 60  # seconds
_GUESSED = 3.0  # seconds
_LINES, _SAID = 20, 3  # of a unit's journal: looked at, and shown in an error


def available() -> bool:
    """True on a host that systemd runs."""
    return os.path.isdir(files.UNITS)  # as sd_booted(3) does


def observe(patterns: Iterable[str]) -> Iterator[Unit]:
    """The units of these patterns that are loaded. One that does not run as it should has neither config nor data."""
    if not available():
        return
    for found in _shown(patterns):
        if found.get("ActiveState", "inactive") == "inactive":
            continue
        config, _, data = _remembered(found["Id"]).partition(" ")
        yield Unit(found["Id"], config, data) if _runs(found) else Unit(found["Id"], "", "")


def _shown(patterns: Iterable[str]) -> Iterator[dict[str, str]]:
    done = _systemctl("show", f"--property={_PROPERTIES}", "--", *patterns)
    for block in done.stdout.split("\n\n"):
        yield dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _runs(found: dict[str, str]) -> bool:
    """Active, and in the namespace that bears the name now: it may have been made anew."""
    if found.get("ActiveState") not in ("active", "reloading"):
        return False
    path = found.get("NetworkNamespacePath", "")
    try:
        return not path or os.stat(path).st_ino == os.stat(f"/proc/{found.get('MainPID', 0)}/ns/net").st_ino
    except OSError:
        return False


def apply(op: Op) -> None:
    """Start, restart, reload or stop a unit. HostError with what the unit said when it does not start."""
    item = op.subject
    assert isinstance(item, Unit)
    if op.after is None:
        files.apply(Op(File(_path(item.name), ""), None))  # first: while the unit runs it is seen
        _systemctl("stop", item.name)
        _systemctl("reset-failed", item.name)
        return
    if isinstance(op.before, Unit) and op.before.config == item.config:
        _demand("reload-or-restart", item.name)
    else:
        _demand("restart" if op.before else "start", item.name)
    _await_process(item.name)
    files.apply(Op(None, File(_path(item.name), f"{item.config} {item.data}")))


def _await_process(name: str) -> None:
    """Give systemd the time to find out which of the processes is the unit's: while those that started it are still ending,
    it cannot tell. What is wrong for longer shows afterwards."""
    deadline = time.monotonic() + _GUESSED
    while not any(map(_runs, _shown([name]))) and time.monotonic() < deadline:
        time.sleep(0.05)


def _path(name: str) -> str:
    return f"{LOADED}/{name}"


def _remembered(name: str) -> str:
    found = files.read(_path(name))
    return found.content if found else ""


def _demand(verb: str, name: str) -> None:
    done = _systemctl(verb, name)
    if done.returncode != 0:
        reason = "; ".join(_said(name)) or " ".join(done.stderr.split())
        raise HostError(f"unit {name}: it does not {verb}: {reason}")


def _said(name: str) -> list[str]:
    """What a unit's own processes said last; systemd itself says no more than that they failed."""
    argv = ["journalctl", f"--unit={name}", f"--lines={_LINES}", "--output=json", "--no-pager"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    said = [" ".join(str(row.get("MESSAGE", "")).split()) for row in rows if row.get("_PID") != "1"]
    return list(dict.fromkeys(said))[-_SAID:]


def _systemctl(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["systemctl", *words], capture_output=True, text=True, check=False, timeout=_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"systemctl {words[0]}: {error}; this host's systemd does not answer") from None
