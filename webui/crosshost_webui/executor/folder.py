# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of a run on the disk of its executor. Only the server's own user reads what is in it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any


class Folder:
    """``runs_dir``/ID. A run that applies a plan has a second phase, whose record and status are files of their own; the output is
    one."""

    def __init__(self, runs_dir: Path, run_id: int) -> None:
        self.path = runs_dir / str(int(run_id))
        self.output = self.path / "output.log"
        self.inventory = self.path / "inventory.yml"
        self.variables = self.path / "variables.json"
        self.settings = self.path / "ansible.cfg"
        self.temporary = self.path / "tmp"

    def make(self) -> None:
        """OSError if the disk does not take it."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.chmod(0o700)
        self.temporary.mkdir(exist_ok=True, mode=0o700)

    def phase(self, name: str) -> Phase:
        return Phase(self.path, name)

    def write(self, path: Path, content: str) -> None:
        """A file that nobody else can read, not even between its making and a chmod."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)

    def tidy(self) -> None:
        """Keep the output alone: the rest is in the database by now, or was of use while it ran."""
        for path in (
            self.inventory,
            self.variables,
            self.settings,
            *self.path.glob("*.json*"),
            *self.path.glob("*.note*"),
        ):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.temporary, ignore_errors=True)


class Phase:
    """The files of one call of ansible-playbook. ``name``: run or check."""

    def __init__(self, folder: Path, name: str) -> None:
        self.record = folder / f"{name}.jsonl"
        self.status = folder / f"{name}.status.json"
        self.note = folder / f"{name}.note"
        self.log = folder / f"{name}.note.log"

    def ended(self) -> dict[str, Any] | None:
        """What the shim has said at its end; None as long as it has not, or if it never could."""
        return _read(self.status)

    def started(self) -> dict[str, Any] | None:
        """The processes of this phase, as the shim has noted them."""
        return _read(self.note)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
