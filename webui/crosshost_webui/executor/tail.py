# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows a record file from where it was. A line counts once it is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LINES_MOST = 500  # of one batch
BYTES_MOST = 8 * 2**20


class Tail:
    """``begin``: numbers up to this one are stored already and are passed over."""

    def __init__(self, path: Path, begin: int = 0) -> None:
        self.path = path
        self.last = begin
        self._place = 0
        self._waiting: list[dict[str, Any]] = []

    def read(self) -> list[dict[str, Any]]:
        """The next events, a batch at most. They come again until ``acknowledge`` says that they are stored."""
        if not self._waiting:
            self._waiting = self._fresh()
        return self._waiting

    def acknowledge(self, seq: int) -> None:
        """Everything up to this number is stored."""
        self.last = max(self.last, seq)
        self._waiting = [event for event in self._waiting if event["seq"] > self.last]

    def _fresh(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return found
        with file:
            file.seek(self._place)
            begin = self._place
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._place += len(line)
                event = _event(line)
                if event is not None and event["seq"] > self.last:
                    found.append(event)
                if len(found) == LINES_MOST or self._place - begin > BYTES_MOST:
                    break
        return found


def _event(line: bytes) -> dict[str, Any] | None:
    """None for a line that is none, as a disk that was full may leave behind."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("seq"), int) else None
