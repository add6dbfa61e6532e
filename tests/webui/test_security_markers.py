# SPDX-License-Identifier: GPL-3.0-or-later
"""What is secret is nowhere but where it belongs: not in the database in clear, not in the audit log, not in a log line, not in an
answer. Markers go in by every door, also the wrong ones, and are then looked for everywhere."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
from collections.abc import Iterator
from http.cookies import SimpleCookie
from urllib.parse import urlsplit

import pytest
from crosshost_webui.accounts import maintenance
from crosshost_webui.accounts.keys import Keys
from crosshost_webui.app import create_app
from crosshost_webui.db.engine import Database
from crosshost_webui.operations import logs
from crosshost_webui.settings import Settings
from crosshost_webui.state import State
from sqlalchemy import MetaData, select
from starlette.testclient import TestClient

from tests.webui.support_rules import of_app

PASSWORD, OTHER, NEW, TYPED, VAULT, BECOME, BROKEN, METRICS, CLIENT = (
    f"marker-{name}-7d1c4b"
    for name in ("own", "other", "new", "typed", "vault", "become", "broken", "metrics", "client")
)
MARKERS = (PASSWORD, OTHER, NEW, TYPED, VAULT, BECOME, BROKEN, METRICS, CLIENT)


@pytest.fixture(params=["text", "json"])
def written(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """All that is logged, by all loggers, at the lowest level."""
    stream = io.StringIO()
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    logs.set_up("debug", request.param, stream)
    root.setLevel(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the test's own client tells each address
    yield stream
    logging.getLogger("httpx").setLevel(logging.NOTSET)
    root.handlers[:], level = before
    root.setLevel(level)
    logging.getLogger("crosshost_webui").setLevel(logging.NOTSET)


@pytest.fixture
def full_state(database: Database, settings: Settings) -> State:
    given = {
        "metrics_token": METRICS,
        "oidc_issuer": "http://127.0.0.1:9",
        "oidc_client_id": "x",
        "oidc_client_secret": CLIENT,
    }
    return State(Settings(data_dir=settings.data_dir, executors=0, **given), database, Keys(settings))


class Visitor:
    """A browser that keeps all that it was answered."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.answers: list[str] = []
        self.cookies: set[str] = set()

    def __call__(self, method: str, path: str, *, keep: bool = True, **given: object) -> int:
        answer = self.client.request(method, path, **given)  # type: ignore[arg-type]
        if keep:
            self.answers.append(f"{method} {urlsplit(path).path}\n{answer.headers}\n{answer.text}")
        cookie = SimpleCookie(answer.headers.get("set-cookie", "")).get("xh")
        if cookie is not None and cookie.value:
            self.cookies.add(cookie.value)
        self.last = answer
        return int(answer.status_code)


def test_markers_are_nowhere(full_state: State, written: io.StringIO) -> None:
    made = maintenance.first_admin(full_state)
    assert made is not None
    first = made[1]
    with TestClient(create_app(full_state), base_url="http://testserver", follow_redirects=False) as client:
        visit = Visitor(client)
        tokens = come_in(visit, first)
        keep_secrets(visit)
        go_astray(visit)
        maintenance.rotate_keys(full_state)
        for rule in of_app(client.app):  # type: ignore[arg-type]
            if rule.method == "GET" and not rule.path.endswith(("stream", "events")):
                visit("GET", re.sub(r"\{\w+(:path)?\}", "1", rule.path))
        for path in ("/api/v1/audit?limit=1000", "/api/v1/openapi.json", "/api/v1/tokens?all=true"):
            assert visit("GET", path) == 200
    secret_parts = [one.rpartition(".")[2] for one in tokens]
    keys = [
        key for ring in json.loads(full_state.keys.path.read_text()).values() for key in ring["keys"].values()
    ]
    wanted = [*MARKERS, first, *secret_parts, *visit.cookies, *keys]
    assert len(visit.cookies) >= 3 and len(secret_parts) == 2 and len(keys) == 4
    places = {
        "log": written.getvalue(),
        "answers": "\n".join(visit.answers),
        "database": dumped(full_state.db),
        "files": files(full_state),
    }
    assert (
        "POST /sign-in" in places["log"]
        and "sign in" in places["answers"]
        and "argon2id" in places["database"]
    )
    for place, content in places.items():
        for text in wanted:
            if place == "answers" and text in visit.cookies:
                continue  # where it is set
            for form in (text, base64.b64encode(text.encode()).decode().rstrip("="), text.encode().hex()):
                assert form not in content, (place, text, content[max(0, content.index(form) - 200) :][:400])


def come_in(visit: Visitor, first: str) -> list[str]:
    """Passwords and tokens; the tokens."""
    sign_in = "/sign-in"
    assert visit("POST", sign_in, data={"name": "admin", "password": TYPED}) == 401
    # the page shows again what stood in the field for the name
    assert visit("POST", sign_in, keep=False, data={"name": TYPED, "password": TYPED}) == 401
    assert visit("POST", sign_in, data={"name": "admin", "password": first}) == 303
    body = {"current": first, "new": PASSWORD}
    assert visit("PUT", "/api/v1/me/password", json={**body, "current": TYPED}) == 422
    assert visit("PUT", "/api/v1/me/password", json=body) == 204
    assert visit("POST", "/api/v1/users", json={"name": "bob", "role": "viewer", "password": OTHER}) == 201
    assert visit("POST", "/api/v1/users", json={"name": "bob", "role": "viewer", "password": OTHER}) == 409
    assert visit("POST", "/api/v1/users", json={"name": "<x>", "role": "viewer", "password": OTHER}) == 422
    assert visit("POST", "/users", data={"name": "<x>", "role": "viewer", "password": OTHER}) == 422
    assert visit("PUT", "/api/v1/users/2/password", json={"password": NEW}) == 204
    assert visit("POST", "/api/v1/sign-in", json={"password": TYPED}) == 404
    found = []
    for _ in range(2):
        assert visit("POST", "/api/v1/tokens", keep=False, json={"name": "ci", "scopes": ["admin"]}) == 201
        found.append(visit.last.json()["token"])
    assert visit("GET", "/api/v1/me", headers={"Authorization": f"Bearer {found[0]}"}) == 200
    assert visit("DELETE", "/api/v1/tokens/1") == 204
    assert visit("GET", "/api/v1/me", headers={"Authorization": f"Bearer {found[0]}"}) == 401
    assert visit("POST", sign_in, data={"name": "admin", "password": PASSWORD}) == 303
    return found


def keep_secrets(visit: Visitor) -> None:
    for name, kind, value in (("v", "vault_password", VAULT), ("b", "become_password", BECOME)):
        assert visit("POST", "/api/v1/secrets", json={"name": name, "kind": kind, "value": value}) == 201
        assert visit("POST", "/api/v1/secrets", json={"name": name, "kind": kind, "value": value}) == 409
        assert visit("POST", "/secrets", data={"name": name, "kind": kind, "value": value}) == 409
    assert visit("PUT", "/api/v1/secrets/1", json={"value": VAULT}, headers={"If-Match": "*"}) == 200
    pem = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{BROKEN}\n-----END OPENSSH PRIVATE KEY-----"
    assert visit("POST", "/api/v1/secrets", json={"name": "k", "kind": "ssh_key", "value": pem}) == 422
    assert visit("POST", "/secrets", data={"name": "k", "kind": "ssh_key", "value": pem}) == 422


def go_astray(visit: Visitor) -> None:
    """What is meant for one field, or one address, arrives at another."""
    assert visit("POST", "/api/v1/secrets", json={"name": "k", "kind": VAULT[:3], "value": BROKEN}) == 422
    assert (
        visit("POST", "/api/v1/secrets", json={"name": "k", "kind": "ssh_key", "value": {"a": BROKEN}}) == 422
    )
    assert (
        visit(
            "POST",
            "/api/v1/secrets",
            content=f'{{"value": "{BROKEN}"',
            headers={"Content-Type": "application/json"},
        )
        == 422
    )
    assert visit("POST", "/api/v1/users", json={"name": "x", "role": "viewer", "password": [OTHER]}) == 422
    assert visit("PUT", "/api/v1/me/password", json={"current": BROKEN}) == 422
    assert visit("GET", "/metrics", headers={"Authorization": f"Bearer {BROKEN}"}) == 401
    assert visit("GET", "/metrics", keep=False, headers={"Authorization": f"Bearer {METRICS}"}) == 200
    assert visit("GET", "/sign-in/oidc") == 503
    assert visit("GET", f"/sign-in/oidc/callback?code={BROKEN}&state=x") == 403


def dumped(database: Database) -> str:
    """Every value of every table, and on SQLite the bytes of its files as well."""
    tables = MetaData()
    lines = []
    with database.writer.connect() as connection:
        tables.reflect(connection)
        for table in tables.tables.values():
            rows = connection.execute(select(table))
            lines += [" ".join(_text(value) for value in row) for row in rows]
    if database.file is not None:
        lines += [path.read_bytes().decode("latin-1") for path in database.file.parent.glob("crosshost.db*")]
    return "\n".join(lines)


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else json.dumps(value, default=str)


def files(state: State) -> str:
    """All other files of the server, but the key file."""
    found = [
        path for path in state.settings.data_dir.rglob("*") if path.is_file() and path != state.keys.path
    ]
    return "\n".join(path.read_bytes().decode("latin-1") for path in found)
