# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps of a PostgreSQL database, by PostgreSQL's own programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from ..db.engine import Database
from .archive import BackupError


def dump(database: Database, target: Path) -> None:
    """The whole database in pg_dump's custom format, as it is at one moment. BackupError with pg_dump's own words."""
    _run(
        database,
        "pg_dump",
        "--format=custom",
        "--compress=0",
        "--no-owner",
        "--no-privileges",
        f"--file={target}",
    )


def load(database: Database, source: Path) -> None:
    """Fill an empty database, wholly or not at all."""
    _run(
        database, "pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", str(source)
    )  # fmt: skip


def _run(database: Database, program: str, *options: str) -> None:
    path = shutil.which(program)
    if path is None:
        raise BackupError(
            f"{program} is not installed; install PostgreSQL's client programs, as new as the server"
        )
    conninfo, password = _where(database)
    # the arguments of a process are for everyone to read, its environment is not
    environment = {**os.environ, "LC_ALL": "C.UTF-8"} | ({"PGPASSWORD": password} if password else {})
    ended = subprocess.run(
        [path, f"--dbname={conninfo}", "--no-password", *options],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    if ended.returncode:
        told = " ".join(ended.stderr.split()) or f"it ended with {ended.returncode}"
        raise BackupError(told if told.startswith(program) else f"{program}: {told}")


def _where(database: Database) -> tuple[str, str]:
    """How libpq is told of it, and the password."""
    from psycopg.conninfo import make_conninfo  # the extra `postgresql` brings it

    _, words = database.writer.dialect.create_connect_args(database.url)
    password = str(words.pop("password", "") or "")
    words.pop("context", None)
    return make_conninfo("", **words), password
