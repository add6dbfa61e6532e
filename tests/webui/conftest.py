# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases of both kinds, and the application in process, with clients of each role.

`client` has no account; `viewer`, `operator` and `admin` (Vic, Oli and Ann) have a browser's session. All speak to the one `app`.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crosshost_webui import server
from crosshost_webui.app import create_app
from crosshost_webui.db.engine import Database
from crosshost_webui.settings import Settings
from crosshost_webui.state import State
from fastapi import FastAPI

from tests.support.postgres import Postgres, name_of, programs
from tests.webui.support_accounts import any_state, cheap_passwords, make_user, sign_in

__all__ = ["any_state", "cheap_passwords"]  # fixtures

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it would rather have another HTTP library
    from starlette.testclient import TestClient


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if programs() is None:
        pytest.skip("needs PostgreSQL: its programs are not installed (make setup)")
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables, of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'db' / 'crosshost.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.fresh()
    yield url
    server.drop(url)


@pytest.fixture(scope="session")
def sqlite_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all tables, to be copied: making them takes longer than most tests."""
    path = tmp_path_factory.mktemp("tables") / "crosshost.db"
    made = Database(f"sqlite:///{path}")
    made.create()
    made.close()
    return path


@pytest.fixture(scope="session")
def postgres_tables(postgres: Postgres) -> str:
    """The name of a database with all tables, to be copied."""
    url = postgres.fresh()
    made = Database(url)
    made.create()
    made.close()
    return name_of(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database with all tables, of each kind."""
    if request.param == "sqlite":
        path = tmp_path / "db" / "crosshost.db"
        path.parent.mkdir()
        shutil.copy(request.getfixturevalue("sqlite_tables"), path)
        found = Database(f"sqlite:///{path}")
        yield found
        found.close()
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.fresh(request.getfixturevalue("postgres_tables"))
    found = Database(url)
    yield found
    found.close()
    server.drop(url)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", executors=0)


@pytest.fixture
def state(settings: Settings) -> Iterator[State]:
    """What a server has right after its first start, on SQLite; no user."""
    found = server.make_state(settings)
    yield found
    found.close()


@pytest.fixture
def app(state: State) -> FastAPI:
    return create_app(state)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://testserver", follow_redirects=False) as found:
        yield found


@pytest.fixture
def as_user(client: TestClient, state: State) -> Callable[[str, str], TestClient]:
    """A client with the session of a new user: of this name and role."""

    def made(name: str, role: str) -> TestClient:
        make_user(state, name, role)
        found = TestClient(client.app, base_url="http://testserver", follow_redirects=False)
        found.headers.update(sign_in(state, name))
        found.portal = client.portal  # the same event loop
        return found

    return made


@pytest.fixture
def viewer(as_user: Callable[[str, str], TestClient]) -> TestClient:
    return as_user("vic", "viewer")


@pytest.fixture
def operator(as_user: Callable[[str, str], TestClient]) -> TestClient:
    return as_user("oli", "operator")


@pytest.fixture
def admin(as_user: Callable[[str, str], TestClient]) -> TestClient:
    return as_user("ann", "admin")
