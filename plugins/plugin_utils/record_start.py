# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the process that sends a record to a dashboard, apart from the run: it outlives it, and cannot hold it up."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys


def spooled(spool: str, url: str, uuid: str, path: str | None) -> str:
    """The place of a record among those for this dashboard: of the record itself or, if the operator wants it at ``path``, of a
    link to it. OSError if the folder cannot be made."""
    folder = os.path.join(spool, hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:12])
    os.makedirs(folder, mode=0o700, exist_ok=True)
    place = os.path.join(folder, f"{uuid}.jsonl")
    if path:
        os.symlink(os.path.abspath(path), place)
    return place


def tailer(path: str, url: str, token_file: str) -> None:
    """Start it for the record ``path``. The token is in a file: arguments and environments are for everybody to see."""
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "record_tail.py")
    subprocess.Popen(
        [sys.executable, "-S", program, f"--record={path}", f"--url={url}", f"--token-file={token_file}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        close_fds=True,
        cwd="/",
    )
