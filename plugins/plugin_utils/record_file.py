# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of a record: lines are appended by one system call each, so that a killed run loses nothing that it has written."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.crosshost.network.plugins.plugin_utils.record_body import encode

PENDING_MOST = 32 * 2**20  # bytes that wait in memory while the disk is full


class RecordFile:
    """Numbers events and writes them. The lock on the file says to others that its writer lives."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lost = 0  # events
        self._seq = 0
        self._pending = bytearray()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def add(self, event: Mapping[str, Any]) -> None:
        """Write an event. While the disk is full it waits in memory; what has no room there is lost, and counted."""
        if len(self._pending) > PENDING_MOST:
            self.lost += 1
            self._flush()
            return
        self._seq += 1
        self._pending += encode({"seq": self._seq, "at": time.time_ns() // 1_000_000, **event})
        self._flush()

    def _flush(self) -> None:
        try:
            while self._pending:
                written = os.write(self._descriptor, self._pending)
                del self._pending[:written]
        except OSError:
            return  # the rest is tried again with the next event

    def close(self) -> int:
        """Returns how many events could not be written."""
        self._flush()
        os.close(self._descriptor)
        return self.lost + self._pending.count(b"\n")
