# SPDX-License-Identifier: GPL-3.0-or-later
"""Who an executor is: the data directory whose files it writes, and the process."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import NamedTuple

from . import orphans
from .shim import start_of

_FORM = re.compile(r"([0-9a-f]{16})/(\d+)\.(\d+)\.[0-9a-f]+")
_here: set[str] = set()  # executors of this very process


class Identity(NamedTuple):
    """``prefix``: what all executors of the data directory have in common."""

    id: str
    prefix: str


def make(data_dir: Path) -> Identity:
    """A new executor's. OSError if the data directory does not take a file."""
    path = data_dir / "executor.id"
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(secrets.token_hex(8))
    except FileExistsError:
        pass
    prefix = f"{path.read_text().strip()}/"
    pid = os.getpid()
    found = Identity(f"{prefix}{pid}.{start_of(pid)}.{secrets.token_hex(3)}", prefix)
    _here.add(found.id)
    return found


def retire(identity: Identity) -> None:
    """The executor has stopped."""
    _here.discard(identity.id)


def is_alive(executor_id: str) -> bool:
    """Whether an executor of this machine still works."""
    found = _FORM.fullmatch(executor_id)
    if found is None:
        return False
    pid = int(found[2])
    return executor_id in _here if pid == os.getpid() else orphans.lives(pid, int(found[3]))
