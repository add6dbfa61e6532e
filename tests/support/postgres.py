# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL server of the tests' own: a fresh cluster in a temporary folder, reached by a socket there, ended by its process id.

Root starts it as the user `postgres`, as the server refuses to run as root.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

START_SECONDS = 30


def programs() -> Path | None:
    """The newest installation's folder of programs; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    other = shutil.which("initdb")
    return Path(other).parent if other else None


class Postgres:
    """A running server. ``fresh()`` makes an empty database in it."""

    def __init__(self) -> None:
        where = programs()
        assert where is not None
        self.folder = Path(tempfile.mkdtemp(prefix="xh-pg-"))
        self._count = 0
        identity = _unprivileged()
        if identity:
            shutil.chown(self.folder, "postgres", "postgres")
        data = self.folder / "data"
        subprocess.run(
            [where / "initdb", "-D", data, "-U", "crosshost", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, **identity, cwd=self.folder,
        )  # fmt: skip
        self._process = subprocess.Popen(
            [
                where / "postgres", "-D", data, "-k", self.folder, "-c", "listen_addresses=", "-c", "fsync=off",
                "-c", "max_connections=200",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **identity, cwd=self.folder,
        )  # fmt: skip
        self._await()

    def _dsn(self, name: str) -> str:
        return f"host={self.folder} user=crosshost dbname={name}"

    def _await(self) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self._dsn("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError:
                if time.monotonic() > end or self._process.poll() is not None:
                    self.stop()
                    raise
                time.sleep(0.05)
            else:
                return

    def fresh(self, like: str = "template0") -> str:
        """The URL of a new database: an empty one, or a copy of the one with this name, to which nobody is connected."""
        self._count += 1
        name = f"t{self._count}"
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY file_copy")
        return f"postgresql+psycopg://crosshost@/{name}?host={self.folder}"

    def drop(self, url: str) -> None:
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name_of(url)} WITH (FORCE)")

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def name_of(url: str) -> str:
    """The database's name in a URL of ``fresh()``."""
    return url.partition("@/")[2].partition("?")[0]


def _unprivileged() -> dict[str, Any]:
    """As whom subprocess starts the server; {}: as we are."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
