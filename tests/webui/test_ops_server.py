# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server tells of itself, and how it answers what nobody has foreseen."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crosshost_webui.accounts.models import User
from crosshost_webui.app import create_app
from crosshost_webui.db.base import now
from crosshost_webui.ipam.models import Scope
from crosshost_webui.settings import Settings
from crosshost_webui.state import State
from crosshost_webui.web import faults
from crosshost_webui.web.access import Anyone
from fastapi import APIRouter, FastAPI, Response
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.testclient import TestClient

from tests.webui.support_accounts import make_user

TOKEN = {"Authorization": "Bearer of-metrics"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", executors=0, metrics_token="of-metrics")


def test_health_is_told_to_anybody_and_says_nothing_more(client: TestClient) -> None:
    found = client.get("/healthz")
    assert (found.status_code, found.text) == (200, "ok\n")


def test_a_database_that_is_gone(client: TestClient, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state.db, "reader", create_engine("sqlite:////nonexistent/crosshost.db"))
    found = client.get("/healthz")
    assert (found.status_code, found.text) == (503, "unavailable\n")
    assert client.get("/metrics", headers=TOKEN).status_code == 503


def test_metrics_are_for_who_has_the_token(client: TestClient, admin: TestClient) -> None:
    wrong: list[dict[str, str]] = [
        {}, {"Authorization": "Bearer of-metric"}, {"Authorization": "Basic of-metrics"}, {"Authorization": "of-metrics"},
    ]  # fmt: skip
    for headers in wrong:
        assert client.get("/metrics", headers=headers).status_code == 401
    assert admin.get("/metrics").status_code == 401
    assert client.get("/metrics", headers=TOKEN).status_code == 200


def test_without_a_token_there_are_no_metrics(tmp_path: Path, state: State) -> None:
    closed = State(Settings(data_dir=tmp_path / "data", executors=0), state.db, state.keys)
    with TestClient(create_app(closed)) as client:
        assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


def metrics(client: TestClient) -> dict[str, float]:
    lines = client.get("/metrics", headers=TOKEN).text.splitlines()
    found = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name.removeprefix("crosshost_webui_"): float(value) for name, _, value in found}


def test_what_is_counted(client: TestClient, state: State) -> None:
    make_user(state, "vic", "viewer")
    for path in ("/api/v1/nothing/1", "/api/v1/nothing/2", "/healthz"):
        client.get(path)
    client.request("BREW", "/healthz")
    with state.db.write() as s:
        s.add(Scope(name="other"))
    found = metrics(client)
    assert found['requests_total{method="GET",route="unmatched",status="404"}'] == 2
    assert found['requests_total{method="GET",route="/healthz",status="200"}'] == 1
    assert found['requests_total{method="other",route="/healthz",status="405"}'] == 1
    assert found['request_seconds_count{method="GET",route="/healthz"}'] == 1
    assert found['users{role="viewer"}'] == 1
    assert found['runs{status="queued"}'] == 0
    assert found["runs_queued_seconds"] == 0
    assert found["streams"] == 0
    assert found["database_bytes"] > 100_000
    assert found["faults_total"] == 0
    assert found["process_resident_memory_bytes"] > 1_000_000


def test_pools_are_measured(client: TestClient) -> None:
    found = metrics(client)
    sizes = {name for name in found if name.startswith("pool_size{")}
    assert len(sizes) >= 5, "the default pools"
    assert {name.replace("pool_size", "pool_used") for name in sizes} <= set(found)


def test_an_api_route_is_named_by_its_template(state: State) -> None:
    """With its prefix, and never by what stands in for its parameters."""
    from crosshost_webui.operations.metrics import Observed

    app = FastAPI()
    inner = APIRouter(prefix="/things")

    @inner.get("/{name}")
    def thing(name: str) -> str:
        return name

    app.include_router(inner, prefix="/api/v1")
    app.add_middleware(Observed, metrics=state.metrics)
    assert TestClient(app).get("/api/v1/things/secret-name").status_code == 200
    assert b'route="/api/v1/things/{name}"' in state.metrics.text()
    assert b"secret-name" not in state.metrics.text()


# What nobody has foreseen


@pytest.fixture
def failing(state: State) -> Iterator[Callable[[str, Any], TestClient]]:
    """The application with a route that does this."""
    clients: list[TestClient] = []

    def made(path: str, act: Any) -> TestClient:
        router = APIRouter()

        @router.get(path)
        def route(context: Anyone) -> Response:
            act(context.state)
            return Response("done")

        app = create_app(state)
        app.include_router(router)
        client = TestClient(app)
        client.__enter__()
        clients.append(client)
        return client

    yield made
    for one in clients:
        one.__exit__()


def raising(error: Exception) -> Callable[[State], None]:
    def act(_state: State) -> None:
        raise error

    return act


def test_a_fault_tells_its_id_and_nothing_else(
    failing: Callable[[str, Any], TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    client = failing("/api/v1/failing", raising(RuntimeError("of the inside")))
    found = client.get("/api/v1/failing", headers={"X-Request-Id": "mine"})
    assert found.status_code == 500
    assert found.json()["request_id"] == "mine"
    assert "of the inside" not in found.text
    assert found.headers["content-security-policy"]
    assert found.headers["x-request-id"] == "mine"
    (line,) = [one for one in caplog.records if one.name == "crosshost_webui" and one.levelname == "ERROR"]
    assert "of the inside" in str(line.exc_info)
    page = failing("/failing", raising(RuntimeError("of the inside"))).get("/failing")
    assert page.status_code == 500
    assert "text/html" in page.headers["content-type"]
    assert "of the inside" not in page.text


def sqlite_error(code: str, message: str) -> OperationalError:
    inner = sqlite3.OperationalError(message)
    inner.sqlite_errorcode = getattr(sqlite3, code)
    return OperationalError("INSERT INTO secret", {"value": "hidden"}, inner)


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (sqlite_error("SQLITE_FULL", "database or disk is full"), 503, "the disk is full"),
        (sqlite_error("SQLITE_BUSY", "database is locked"), 503, "it is busy with another write"),
        (sqlite_error("SQLITE_READONLY", "attempt to write a readonly database"), 503, "cannot be written"),
        (sqlite_error("SQLITE_IOERR_WRITE", "disk I/O error"), 503, "reading or writing its file failed"),
        (sqlite_error("SQLITE_ERROR", "no such table"), 500, "a fault of the dashboard"),
        (PoolTimeout(), 503, "too many requests are waiting"),
        (OverflowError("Python int too large to convert to SQLite INTEGER"), 422, "cannot be stored"),
    ],
)
def test_errors_of_the_database(
    failing: Callable[[str, Any], TestClient], error: Exception, status: int, told: str
) -> None:
    found = failing("/api/v1/failing", raising(error)).get("/api/v1/failing")
    assert found.status_code == status
    assert told in found.json()["detail"]
    assert "hidden" not in found.text
    assert ("retry-after" in found.headers) == (status == 503)


def test_what_the_databases_themselves_refuse(database: Any) -> None:
    """Real errors of both, as a request would meet them."""

    def problem(act: Callable[[Any], object]) -> tuple[int, str]:
        with pytest.raises(Exception) as error, database.write() as s:
            act(s)
        found = faults.problem_of(error.value)
        assert found is not None, error.value
        return found.status, found.detail

    def twice(s: Any) -> None:
        s.add(Scope(name="a"))
        s.flush()
        s.add(Scope(name="a"))
        s.flush()

    assert problem(twice)[0] == 409
    assert problem(lambda s: s.execute(select(Scope).where(Scope.id == 2**70)).all())[0] == 422
    assert problem(lambda s: s.execute(select(Scope).where(Scope.name == "\ud800")).all())[0] == 422
    if not database.is_sqlite:
        assert problem(lambda s: s.execute(select(Scope).where(Scope.name == "a\0b")).all())[0] == 422
        user = User(name="n" * 151, role="admin", created_at=now())
        assert problem(lambda s: (s.add(user), s.flush()))[0] == 422
        found = problem(lambda s: s.execute(text("SELECT pg_terminate_backend(pg_backend_pid())")))
        assert found[0] == 503


def test_an_address_that_does_not_exist(client: TestClient) -> None:
    found = client.get("/api/v1/nothing")
    assert found.status_code == 404
    assert found.headers["content-type"] == "application/problem+json"
    assert (
        found.json()["detail"] == "GET /api/v1/nothing: there is nothing at this address; check its spelling"
    )
    assert client.get("/nothing").status_code == 404
    found = client.post("/healthz")
    assert found.status_code == 405
    assert found.headers["allow"] == "GET"


def test_files_are_kept_by_browsers_when_their_address_has_a_digest(client: TestClient) -> None:
    assert client.get("/static/css/app.css").headers["cache-control"] == "no-cache"
    found = client.get("/static/css/app.css?v=1", headers={"Accept-Encoding": "gzip"})
    assert "immutable" in found.headers["cache-control"]
    assert found.headers["content-encoding"] == "gzip"
