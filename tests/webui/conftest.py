# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases of both kinds, and the application in process, with clients of each role."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from crosshost_webui.db.engine import Database
from crosshost_webui.settings import Settings

from tests.support.postgres import Postgres, programs


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if programs() is None:
        pytest.skip("needs PostgreSQL: its programs are not installed (make setup)")
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database with all tables, of each kind."""
    url = f"sqlite:///{tmp_path / 'db' / 'crosshost.db'}"
    server: Postgres | None = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.fresh()
    found = Database(url)
    found.create()
    yield found
    found.close()
    if server is not None:
        server.drop(url)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", executors=0)
