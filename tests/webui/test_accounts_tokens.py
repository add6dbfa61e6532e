# SPDX-License-Identifier: GPL-3.0-or-later
"""API tokens: what the database keeps of them, what they may, and when they end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from crosshost_webui.accounts import maintenance, store, tokens, users
from crosshost_webui.accounts.keys import Keys
from crosshost_webui.accounts.models import Token
from crosshost_webui.audit.store import Actor
from crosshost_webui.db.base import now
from crosshost_webui.state import State
from crosshost_webui.web.access import SCOPES
from crosshost_webui.web.problem import Invalid, NotFound
from sqlalchemy import select, update
from starlette.testclient import TestClient

from tests.webui.support_accounts import make_token, make_user, sign_in

TEST = Actor("test")


def status(client: TestClient, text: str) -> int:
    return int(client.get("/api/v1/me", headers={"Authorization": f"Bearer {text}"}).status_code)


def test_a_token_is_shown_once_and_kept_as_a_digest(any_state: State) -> None:
    user_id = make_user(any_state, "ann", "operator")
    with any_state.db.write() as s:
        user = users.get(s, user_id)
        made, text = tokens.create(s, any_state.keys, TEST, user, " ci ", ["run:start", "read", "read"], 30)
    assert tokens.FORM.fullmatch(text)
    secret = text.partition(".")[2]
    with any_state.db.read() as s:
        found = s.scalars(select(Token)).one()
    assert found.name == "ci" and found.scopes == ["read", "run:start"]
    assert found.digest == any_state.keys.digest(secret, found.pepper_id)[1]
    assert secret not in repr(vars(found))
    assert made.expires_at is not None and timedelta(days=29) < made.expires_at - now() <= timedelta(days=30)


def test_what_is_not_exactly_the_token_opens_nothing(state: State, client: TestClient) -> None:
    make_user(state, "ann", "viewer")
    text = make_token(state, "ann", ["read"])["Authorization"].removeprefix("Bearer ")
    assert status(client, text) == 200
    key, secret = text.removeprefix("xh_").split(".")
    other = make_token(state, "ann", ["read"])["Authorization"].rpartition(".")[2]
    for wrong in (
        f"xh_{key}.{other}", f"xh_{key}.", f"xh_{key}", "xh_", "xh_.", f"xh_{key}.{secret}x", f"xh_{key}.{secret[:-1]}",
        f"xh_{key.upper()}.{secret}" if key.upper() != key else "xh_", f"XH_{key}.{secret}", f"xh_{key}.{secret.swapcase()}",
        f"xh_{'0' * 16}.{secret}", f"{key}.{secret}", f"xh_%.{secret}", f"xh_{key}.{secret} x",
    ):  # fmt: skip
        assert status(client, wrong) == 401, wrong


def test_a_token_that_is_refused_says_so(state: State, client: TestClient) -> None:
    make_user(state, "ann", "viewer")
    header = make_token(state, "ann", ["read"])
    with state.db.write() as s:
        s.execute(update(Token).values(expires_at=now()))
    answer = client.get("/api/v1/me", headers=header)
    assert answer.status_code == 401 and "expired" in answer.json()["detail"]
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    wrong = {"Authorization": header["Authorization"][:-3] + "abc"}
    assert "expired" not in client.get("/api/v1/me", headers=wrong).json()["detail"]  # only its owner is told


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_schemes_word_is_of_any_size(state: State, client: TestClient, scheme: str) -> None:
    make_user(state, "ann", "viewer")
    text = make_token(state, "ann", ["read"])["Authorization"].removeprefix("Bearer ")
    assert (
        client.get("/api/v1/me", headers={"Authorization": f"{scheme} {text}"}).json()["through"]
        == "token of ann"
    )


def test_a_token_wins_over_a_cookie_also_when_it_is_wrong(state: State, client: TestClient) -> None:
    make_user(state, "ann", "admin")
    both = {**sign_in(state, "ann"), "Authorization": "Bearer xh_0123456789abcdef." + "x" * 43}
    assert client.get("/api/v1/me", headers=both).status_code == 401


def test_a_wrong_token_does_not_close_what_is_open_to_anyone(client: TestClient) -> None:
    assert client.get("/healthz", headers={"Authorization": "Bearer xh_old"}).status_code == 200


def test_it_ends_by_revoking_expiry_and_disabling(state: State, client: TestClient) -> None:
    make_user(state, "root", "admin")
    user_id = make_user(state, "ann", "operator")
    cookie = sign_in(state, "ann")
    texts = []
    for _ in range(2):
        answer = client.post("/api/v1/tokens", json={"name": "ci", "scopes": ["admin"]}, headers=cookie)
        assert answer.status_code == 201
        texts.append(answer.json())
    assert [status(client, one["token"]) for one in texts] == [200, 200]
    for _ in range(2):  # again is no error
        assert client.delete(f"/api/v1/tokens/{texts[0]['id']}", headers=cookie).status_code == 204
    assert [status(client, one["token"]) for one in texts] == [401, 200]
    with state.db.write() as s:
        users.change(s, TEST, users.to_change(s, user_id), disabled=True)
    assert status(client, texts[1]["token"]) == 401
    with state.db.write() as s:  # for good: who is let in again makes new ones
        users.change(s, TEST, users.to_change(s, user_id), disabled=False)
    assert status(client, texts[1]["token"]) == 401


def test_it_can_do_what_its_user_can_today(state: State, client: TestClient) -> None:
    make_user(state, "root", "admin")
    user_id = make_user(state, "ann", "admin")
    header = make_token(state, "ann", ["admin"])
    assert client.get("/api/v1/users", headers=header).status_code == 200
    with state.db.write() as s:
        users.change(s, TEST, users.to_change(s, user_id), role="viewer")
    assert client.get("/api/v1/users", headers=header).status_code == 403
    assert client.get("/api/v1/me", headers=header).status_code == 200


def test_a_token_makes_no_token_that_may_more(state: State, client: TestClient) -> None:
    make_user(state, "ann", "admin")
    body = {"name": "more", "scopes": ["admin"]}
    for scopes in (["read"], [one for one in SCOPES if one != "admin"]):
        header = make_token(state, "ann", scopes)
        assert client.post("/api/v1/tokens", json=body, headers=header).status_code == 403
        assert client.get("/api/v1/tokens", headers=header).status_code == 403
    assert (
        client.post("/api/v1/tokens", json=body, headers=make_token(state, "ann", ["admin"])).status_code
        == 201
    )


def test_a_token_changes_no_password_and_has_no_session(state: State, client: TestClient) -> None:
    make_user(state, "ann", "admin")
    body = {"current": "plum-orbit-lantern", "new": "quince-harbour-violin"}
    answer = client.put("/api/v1/me/password", json=body, headers=make_token(state, "ann", ["admin"]))
    assert answer.status_code == 403


def test_somebody_elses_token_is_not_there(state: State, client: TestClient) -> None:
    for name, role in (("ann", "admin"), ("oli", "operator"), ("vic", "viewer")):
        make_user(state, name, role)
    made = client.post(
        "/api/v1/tokens", json={"name": "x", "scopes": ["read"]}, headers=sign_in(state, "oli")
    ).json()
    path = f"/api/v1/tokens/{made['id']}"
    assert client.get(path, headers=sign_in(state, "vic")).status_code == 404
    assert client.delete(path, headers=sign_in(state, "vic")).status_code == 404
    assert client.get("/api/v1/tokens?all=true", headers=sign_in(state, "vic")).status_code == 403
    assert client.get("/api/v1/tokens", headers=sign_in(state, "ann")).json()["items"] == []
    items = client.get("/api/v1/tokens?all=true", headers=sign_in(state, "ann")).json()["items"]
    assert [(one["user"], one["name"]) for one in items] == [("oli", "x")]
    assert client.delete(path, headers=sign_in(state, "ann")).status_code == 204
    assert status(client, made["token"]) == 401


@pytest.mark.parametrize(
    ("role", "scopes"),
    [
        ("viewer", ["run:start"]),
        ("viewer", ["read", "ipam:write"]),
        ("admin", ["root"]),
        ("admin", []),
        ("viewer", ["executor"]),
    ],
)
def test_scopes_that_would_be_of_no_use_are_refused(any_state: State, role: str, scopes: list[str]) -> None:
    user_id = make_user(any_state, "ann", role)
    with pytest.raises(Invalid, match="scopes"), any_state.db.write() as s:
        tokens.create(s, any_state.keys, TEST, users.get(s, user_id), "x", scopes, 1)


@pytest.mark.parametrize(
    ("name", "days"), [("", 1), (" ", 1), ("a\nb", 1), ("x" * 151, 1), ("x", 0), ("x", 3651), ("x", -1)]
)
def test_names_and_days(any_state: State, name: str, days: int) -> None:
    user_id = make_user(any_state, "ann", "viewer")
    with pytest.raises(Invalid), any_state.db.write() as s:
        tokens.create(s, any_state.keys, TEST, users.get(s, user_id), name, ["read"], days)


def test_its_use_is_noted_once_a_minute(state: State, client: TestClient) -> None:
    make_user(state, "ann", "viewer")
    text = make_token(state, "ann", ["read"])["Authorization"].removeprefix("Bearer ")

    def used() -> object:
        with state.db.read() as s:
            return s.scalars(select(Token.used_at)).one()

    assert used() is None
    status(client, text)
    first = used()
    assert first is not None
    status(client, text)
    assert used() == first
    with state.db.write() as s:
        s.execute(update(Token).values(used_at=now() - timedelta(seconds=61)))
    status(client, text)
    assert used() is not None and used() != first


def test_it_outlives_a_rotation_of_the_keys(state: State, client: TestClient) -> None:
    make_user(state, "ann", "viewer")
    old = make_token(state, "ann", ["read"])["Authorization"].removeprefix("Bearer ")
    maintenance.rotate_keys(state)
    new = make_token(state, "ann", ["read"])["Authorization"].removeprefix("Bearer ")
    assert [status(client, one) for one in (old, new)] == [200, 200]
    with state.db.read() as s:
        assert len(store.pepper_ids(s)) == 2


def test_the_command_line_makes_one(any_state: State) -> None:
    make_user(any_state, "bot", "operator")
    text = maintenance.make_token(any_state, "bot", "executor 1", ["executor"], None)
    assert tokens.FORM.fullmatch(text)
    with pytest.raises(NotFound, match="nobody"):
        maintenance.make_token(any_state, "nobody", "x", ["read"])


def test_a_key_file_of_another_server_is_named(any_state: State) -> None:
    make_user(any_state, "ann", "viewer")
    make_token(any_state, "ann", ["read"])
    assert maintenance.unknown_keys(any_state) == []
    any_state.keys.path.unlink()
    other = State(any_state.settings, any_state.db, Keys(any_state.settings))
    (told,) = maintenance.unknown_keys(other)
    assert str(other.keys.path) in told
