# SPDX-License-Identifier: GPL-3.0-or-later
"""Signing in and out: the cookie, how long a session lives, what ends it, and how often one may try."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import timedelta
from http.cookies import SimpleCookie

import pytest
from crosshost_webui.accounts import limits, maintenance, passwords, service, sessions, store, users
from crosshost_webui.accounts.models import Bucket, SignIn, User
from crosshost_webui.audit.models import AuditEntry
from crosshost_webui.audit.store import Actor
from crosshost_webui.db.base import now
from crosshost_webui.settings import Settings
from crosshost_webui.state import State
from crosshost_webui.web.problem import SignInNeeded, TooMany, Unavailable
from fastapi import Response
from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from tests.webui.support_accounts import make_user, sign_in

PASSWORD = "plum-orbit-lantern"
HERE = Actor("", "", "r1", "192.0.2.1")


pytestmark = pytest.mark.usefixtures("cheap_passwords")


def make(state: State, name: str = "ann", role: str = "admin", password: str | None = PASSWORD) -> int:
    stored = None if password is None else passwords.hashed(password, name)
    with state.db.write() as s:
        return users.create(s, Actor("test"), name, role, stored).id


def me(client: TestClient, cookie: str) -> int:
    return int(client.get("/api/v1/me", headers={"Cookie": f"xh={cookie}"}).status_code)


def count_sessions(state: State) -> int:
    with state.db.read() as s:
        return s.scalar(select(func.count()).select_from(SignIn)) or 0


def test_a_right_password_opens_and_a_wrong_one_does_not(state: State, client: TestClient) -> None:
    make(state)
    cookie = service.sign_in(state, " Ann ", PASSWORD, HERE)
    assert me(client, cookie) == 200
    assert me(client, cookie[:-1] + ("A" if cookie[-1] != "A" else "B")) == 401
    for name, password in (("ann", PASSWORD + "x"), ("bob", PASSWORD), ("", ""), ("ann", "")):
        with pytest.raises(SignInNeeded, match="the name or the password is not right"):
            service.sign_in(state, name, password, HERE)


def test_the_database_holds_no_cookie(any_state: State) -> None:
    make(any_state)
    cookie = service.sign_in(any_state, "ann", PASSWORD, HERE)
    with any_state.db.read() as s:
        found = s.scalars(select(SignIn)).one()
    assert found.id == hashlib.sha256(cookie.encode()).digest()
    assert found.address == HERE.address


@pytest.mark.parametrize(
    "base_url", ["", "http://127.0.0.1:8420", "https://net.example", "HTTPS://net.example"]
)
def test_the_cookie_says_what_browsers_need_to_guard_it(settings: Settings, base_url: str) -> None:
    settings = settings.model_copy(update={"base_url": base_url})
    response = Response()
    sessions.set_cookie(response, settings, "value")
    cookie = SimpleCookie(response.headers["set-cookie"])
    name, morsel = next(iter(cookie.items()))
    is_https = base_url.lower().startswith("https")
    assert name == ("__Host-xh" if is_https else "xh") == sessions.cookie_name(settings)
    assert morsel["httponly"] and morsel["samesite"] == "lax" and morsel["path"] == "/"
    assert bool(morsel["secure"]) == is_https and not morsel["domain"]
    assert int(morsel["max-age"]) == settings.session_life


def test_signing_in_takes_a_new_session_and_ends_the_browsers_old_one(
    state: State, client: TestClient
) -> None:
    make(state)
    first = service.sign_in(state, "ann", PASSWORD, HERE)
    second = service.sign_in(state, "ann", PASSWORD, HERE, replacing=hashlib.sha256(first.encode()).digest())
    assert first != second
    assert (me(client, first), me(client, second)) == (401, 200)


@pytest.mark.parametrize("kind", ["idle", "life"])
def test_a_session_ends_by_itself(state: State, client: TestClient, kind: str) -> None:
    make(state)
    cookie = service.sign_in(state, "ann", PASSWORD, HERE)
    if kind == "idle":
        ended = {"seen_at": now() - timedelta(seconds=state.settings.session_idle)}
        alive = {"seen_at": now() - timedelta(seconds=state.settings.session_idle - 60)}
    else:
        ended, alive = {"expires_at": now()}, {"expires_at": now() + timedelta(seconds=60)}
    with state.db.write() as s:
        s.execute(update(SignIn).values(**ended))
    assert me(client, cookie) == 401
    with state.db.write() as s:
        s.execute(update(SignIn).values(**alive))
    assert me(client, cookie) == 200


def test_use_is_noted_once_a_minute(state: State, client: TestClient) -> None:
    make(state)
    cookie = service.sign_in(state, "ann", PASSWORD, HERE)

    def seen() -> timedelta:
        with state.db.read() as s:
            return now() - s.scalars(select(SignIn.seen_at)).one()

    for age, noted in ((50, False), (61, True)):
        with state.db.write() as s:
            s.execute(update(SignIn).values(seen_at=now() - timedelta(seconds=age)))
        assert me(client, cookie) == 200
        assert (seen() < timedelta(seconds=30)) is noted


def test_who_reads_does_not_wait_for_who_writes(state: State, client: TestClient) -> None:
    make(state)
    cookie = service.sign_in(state, "ann", PASSWORD, HERE)
    with state.db.write() as s:
        s.execute(update(SignIn).values(seen_at=now() - timedelta(minutes=5)))
    with state.db.write():
        assert me(client, cookie) == 200


def test_activity_does_not_lengthen_the_whole_life(state: State, client: TestClient) -> None:
    make(state)
    cookie = service.sign_in(state, "ann", PASSWORD, HERE)
    with state.db.write() as s:
        s.execute(update(SignIn).values(seen_at=now() - timedelta(minutes=5)))
        until = s.scalars(select(SignIn.expires_at)).one()
    assert me(client, cookie) == 200
    with state.db.read() as s:
        assert s.scalars(select(SignIn.expires_at)).one() == until


def change_role(state: State, user_id: int) -> None:
    with state.db.write() as s:
        users.change(s, Actor("test"), users.to_change(s, user_id), role="viewer")


def disable(state: State, user_id: int) -> None:
    with state.db.write() as s:
        users.change(s, Actor("test"), users.to_change(s, user_id), disabled=True)


def reset(state: State, user_id: int) -> None:
    with state.db.write() as s:
        users.set_password(s, Actor("test"), users.to_change(s, user_id), passwords.hashed(PASSWORD, "x"))


def remove(state: State, user_id: int) -> None:
    with state.db.write() as s:
        users.delete(s, Actor("test"), users.to_change(s, user_id))


@pytest.mark.parametrize("act", [change_role, disable, reset, remove])
def test_what_ends_all_sessions_of_a_user(any_state: State, act: Callable[[State, int], None]) -> None:
    make(any_state, "root")
    user_id = make(any_state, "ann", "operator")
    for _ in range(2):
        service.sign_in(any_state, "ann", PASSWORD, HERE)
    service.sign_in(any_state, "root", PASSWORD, HERE)
    act(any_state, user_id)
    assert count_sessions(any_state) == 1


def test_a_name_and_display_name_alone_end_nothing(any_state: State) -> None:
    user_id = make(any_state)
    service.sign_in(any_state, "ann", PASSWORD, HERE)
    with any_state.db.write() as s:
        users.change(s, Actor("test"), users.to_change(s, user_id), role="admin", display_name="Ann S.")
    assert count_sessions(any_state) == 1


def test_a_disabled_or_provided_account_cannot_sign_in_by_password(any_state: State) -> None:
    make(any_state, "root")
    disable(any_state, make(any_state, "ann", "viewer"))
    make(any_state, "bot", password=None)
    with any_state.db.write() as s:
        given = passwords.hashed(PASSWORD, "x")
        store.add_user(
            s, User(name="oda", role="viewer", source="oidc", subject="i o", password=given, created_at=now())
        )
    for name in ("ann", "bot", "oda"):
        with pytest.raises(SignInNeeded):
            service.sign_in(any_state, name, PASSWORD, HERE)


def test_attempts_are_limited_by_account_and_address(any_state: State) -> None:
    make(any_state)
    for _ in range(limits.SIGN_IN.burst):
        with pytest.raises(SignInNeeded):
            service.sign_in(any_state, "ann", "wrong", HERE)
    with pytest.raises(TooMany) as told:
        service.sign_in(any_state, "ann", PASSWORD, HERE)  # also the right one
    assert 1 <= int(told.value.headers["Retry-After"]) <= limits.SIGN_IN.seconds
    # nobody else is locked out: the owner at another address, another account at this one
    assert service.sign_in(any_state, "ann", PASSWORD, HERE._replace(address="192.0.2.2"))
    make(any_state, "bob")
    assert service.sign_in(any_state, "bob", PASSWORD, HERE)


def test_a_right_password_gives_the_attempts_back(any_state: State) -> None:
    make(any_state)
    for _ in range(3):
        for _ in range(limits.SIGN_IN.burst - 1):
            with pytest.raises(SignInNeeded):
                service.sign_in(any_state, "ann", "wrong", HERE)
        service.sign_in(any_state, "ann", PASSWORD, HERE)


def test_the_same_ipv6_network_is_the_same_address() -> None:
    def key(address: str) -> str:
        return limits.key_of("sign-in", "ann", address)

    assert key("2001:db8::1") == key("2001:db8::ffff:1") != key("2001:db8:0:1::1")
    assert key("192.0.2.1") != key("192.0.2.2")
    assert limits.key_of("a", "ann1", "92.0.2.1") != limits.key_of("a", "ann", "192.0.2.1")
    assert len(limits.key_of("sign-in", "a" * 150, "2001:db8::1")) <= 200


def test_refusals_are_recorded_without_what_was_typed(
    any_state: State, caplog: pytest.LogCaptureFixture
) -> None:
    make(any_state)
    caplog.set_level(logging.DEBUG)
    for name, password in (("ann", "typed-in-vain"), ("my-secret-password", "x")):
        with pytest.raises(SignInNeeded):
            service.sign_in(any_state, name, password, HERE)
    service.sign_in(any_state, "ann", PASSWORD, HERE)
    with any_state.db.read() as s:
        found = s.scalars(
            select(AuditEntry).where(AuditEntry.action.like("sign in%")).order_by(AuditEntry.id)
        ).all()
    assert [(one.action, one.who, one.object_name, one.address) for one in found] == [
        ("sign in refused", "", "ann", HERE.address), ("sign in", "ann", "ann", HERE.address),
    ]  # fmt: skip
    for text in ("typed-in-vain", "my-secret-password", PASSWORD):
        assert text not in caplog.text


def test_a_flood_of_passwords_is_turned_away_and_not_queued(any_state: State) -> None:
    make(any_state)
    taken = [
        passwords._places.acquire(blocking=False) for _ in range(passwords.AT_ONCE + passwords.WAITING_MOST)
    ]
    try:
        assert all(taken)
        with pytest.raises(Unavailable) as told:
            service.sign_in(any_state, "ann", PASSWORD, HERE)
        assert told.value.headers["Retry-After"]
    finally:
        for _ in taken:
            passwords._places.release()
    assert service.sign_in(any_state, "ann", PASSWORD, HERE)


def test_ones_own_password(state: State, client: TestClient) -> None:
    make(state)
    first, other = (service.sign_in(state, "ann", PASSWORD, HERE) for _ in range(2))
    cookie = {"Cookie": f"xh={first}"}
    body = {"current": "not this one", "new": "quince-harbour-violin"}
    assert client.put("/api/v1/me/password", json=body, headers=cookie).status_code == 422
    answer = client.put("/api/v1/me/password", json={**body, "current": PASSWORD}, headers=cookie)
    assert answer.status_code == 204
    fresh = SimpleCookie(answer.headers["set-cookie"])["xh"].value
    assert [me(client, one) for one in (first, other, fresh)] == [401, 401, 200]
    with pytest.raises(SignInNeeded):
        service.sign_in(state, "ann", PASSWORD, HERE)
    assert service.sign_in(state, "ann", "quince-harbour-violin", HERE)


def test_the_list_of_sessions_and_ending_one(state: State, client: TestClient) -> None:
    make(state)
    make(state, "bob")
    first, second = (service.sign_in(state, "ann", PASSWORD, HERE, agent="Browser\n1") for _ in range(2))
    theirs = service.sign_in(state, "bob", PASSWORD, HERE)
    cookie = {"Cookie": f"xh={first}"}
    items = client.get("/api/v1/me/sessions", headers=cookie).json()["items"]
    assert sorted(one["current"] for one in items) == [False, True]
    assert {one["agent"] for one in items} == {"Browser1"}
    other = next(one["id"] for one in items if not one["current"])
    assert client.delete(f"/api/v1/me/sessions/{other}", headers=cookie).status_code == 204
    assert client.delete(f"/api/v1/me/sessions/{other}", headers=cookie).status_code == 404
    somebodys = hashlib.sha256(theirs.encode()).hexdigest()[:16]
    assert client.delete(f"/api/v1/me/sessions/{somebodys}", headers=cookie).status_code == 404
    assert [me(client, one) for one in (first, second, theirs)] == [200, 401, 200]


def test_signing_out_ends_the_session_in_the_database(state: State, client: TestClient) -> None:
    make(state)
    cookie = service.sign_in(state, "ann", PASSWORD, HERE)
    answer = client.post("/sign-out", headers={"Cookie": f"xh={cookie}"})
    assert answer.status_code == 303 and 'xh=""' in answer.headers["set-cookie"]
    assert me(client, cookie) == 401
    assert count_sessions(state) == 0


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ("/hosts", "/hosts"), ("/hosts?limit=5#x", "/hosts?limit=5#x"), (None, "/"), ("", "/"), ("hosts", "/"),
        ("//evil.example", "/"), ("/\\evil.example", "/"), ("https://evil.example/", "/"), ("/a\\b", "/"),
        ("/\t/evil.example", "/"), ("javascript:alert(1)", "/"), ("/x\r\nSet-Cookie: a=b", "/"), ("/sign-out", "/"),
        (" //evil.example", "/"), ("/" + "x" * 5000, "/" + "x" * 1999),
    ],
)  # fmt: skip
def test_where_to_go_after_signing_in_is_here(given: str | None, where: str) -> None:
    assert service.safe_next(given) == where


def test_what_has_had_its_time_is_swept(any_state: State) -> None:
    make(any_state)
    for _ in range(3):
        service.sign_in(any_state, "ann", PASSWORD, HERE)
    with pytest.raises(SignInNeeded):
        service.sign_in(any_state, "ann", "wrong", HERE)
    maintenance.sweep(any_state)
    assert count_sessions(any_state) == 3
    with any_state.db.write() as s:
        ids = s.scalars(select(SignIn.id)).all()
        s.execute(update(SignIn).where(SignIn.id == ids[0]).values(expires_at=now()))
        s.execute(update(SignIn).where(SignIn.id == ids[1]).values(seen_at=now() - timedelta(days=2)))
        s.execute(update(Bucket).values(at=now() - timedelta(hours=1)))
    maintenance.sweep(any_state)
    assert count_sessions(any_state) == 1
    with any_state.db.read() as s:
        assert s.scalar(select(func.count()).select_from(Bucket)) == 0


def test_the_first_start_makes_an_admin_once(any_state: State) -> None:
    made = maintenance.first_admin(any_state)
    assert made is not None and made[0] == "admin" and len(made[1]) >= 30
    assert service.sign_in(any_state, *made, HERE)
    assert maintenance.first_admin(any_state) is None
    password = maintenance.reset_password(any_state, "admin")
    with pytest.raises(SignInNeeded):
        service.sign_in(any_state, *made, HERE)
    assert service.sign_in(any_state, "admin", password, HERE)


def test_a_session_made_for_tests_is_a_session(state: State, client: TestClient) -> None:
    make_user(state, "vic", "viewer")
    answer = client.get("/api/v1/me", headers=sign_in(state, "vic"))
    assert answer.json() == {"name": "vic", "role": "viewer", "through": "", "scopes": None}
