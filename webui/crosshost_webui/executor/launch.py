# SPDX-License-Identifier: GPL-3.0-or-later
"""One call of ansible-playbook, behind its shim."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from ..runs.output import OUTPUT_MOST
from . import command
from .folder import Folder, Phase
from .shim import start_of

SHIM = Path(__file__).with_name("shim.py")
GRACE = 10.0


class Secrets(NamedTuple):
    """What a run may use, opened."""

    ssh_keys: list[str] = []  # noqa: RUF012 - never changed
    vault_passwords: list[str] = []  # noqa: RUF012
    become_password: str | None = None

    @property
    def passwords(self) -> list[str]:
        return [*self.vault_passwords, *([self.become_password] if self.become_password else [])]

    @property
    def all(self) -> list[str]:
        return [*self.ssh_keys, *self.passwords]


class Ended(NamedTuple):
    """``reason``: ended, cancelled, stopped, executor gone, not started, or killed: the shim itself was. ``lost``: bytes of output."""

    reason: str
    rc: int | None
    detail: str
    lost: int


class Pipes:
    """Reading ends of pipes with secrets in them, closed here once the shim has them."""

    def __init__(self, secrets: Secrets) -> None:
        self.all: list[int] = []
        try:
            self.mask = self._add(command.masked(secrets.passwords)) if secrets.passwords else None
            self.vaults = [self._add(one.encode()) for one in secrets.vault_passwords]
            self.become = self._add(secrets.become_password.encode()) if secrets.become_password else None
        except BaseException:
            self.close()
            raise

    def _add(self, content: bytes) -> int:
        self.all.append(command.piped(content))
        return self.all[-1]

    def close(self) -> None:
        for descriptor in self.all:
            os.close(descriptor)
        self.all.clear()


class Launched:
    """A shim that runs, or ran. ``control``: what the shim listens to; closing it ends everything."""

    def __init__(self, process: subprocess.Popen[bytes], phase: Phase, start: int) -> None:
        self.process = process
        self.phase = phase
        self.start = start

    @property
    def pid(self) -> int:
        return self.process.pid

    def say(self, word: str) -> None:
        """`cancel` or `stop`: end the program; the shim gives it time, then none."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            self.process.stdin.write(f"{word}\n".encode())
            self.process.stdin.flush()

    def ended(self) -> Ended | None:
        """None while it runs."""
        if self.process.poll() is None:
            return None
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        return ended_of(self.phase) or Ended("killed", None, "", 0)

    def abandon(self) -> None:
        """Let the shim end everything on its own."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()


def ended_of(phase: Phase) -> Ended | None:
    """What the status file says; None without one."""
    found = phase.ended()
    if found is None:
        return None
    rc = found.get("rc")
    return Ended(
        str(found.get("reason")), rc if isinstance(rc, int) else None, str(found.get("detail", "")),
        int(found.get("output_lost") or 0),
    )  # fmt: skip


def launch(
    folder: Folder, phase: Phase, argv: list[str], environment: dict[str, str], secrets: Secrets, pipes: Pipes
) -> Launched:
    """Start it. OSError if that fails; nothing is left then. The pipes are closed here either way."""
    told: dict[str, Any] = {
        "argv": argv, "env": environment, "cwd": str(folder.path), "output": str(folder.output),
        "output_most": OUTPUT_MOST, "status": str(phase.status), "note": str(phase.note), "grace": GRACE,
        "secrets": secrets.all, "ssh_keys": secrets.ssh_keys, "stdin": pipes.become,
        "fds": [one for one in pipes.all if one != pipes.become],
    }  # fmt: skip
    try:
        with open(
            os.open(phase.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb"
        ) as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SHIM)],
                stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, cwd=folder.path, env={"LC_ALL": "C.UTF-8"},
                pass_fds=pipes.all,
            )  # fmt: skip
    finally:
        pipes.close()
    assert process.stdin is not None
    launched = Launched(process, phase, start_of(process.pid))
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(told).encode() + b"\n")
        process.stdin.flush()
    return launched
