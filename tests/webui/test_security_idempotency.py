# SPDX-License-Identifier: GPL-3.0-or-later
"""Idempotency-Key: once carried out, answered the same again; another request, or the same one at the same time, is told so."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from crosshost_webui.accounts import maintenance, store
from crosshost_webui.accounts.models import Remembered
from crosshost_webui.audit import store as audit
from crosshost_webui.audit.models import AuditEntry
from crosshost_webui.audit.store import Actor
from crosshost_webui.db.base import now
from crosshost_webui.db.engine import WriteSession
from crosshost_webui.state import State
from crosshost_webui.web import idempotency
from crosshost_webui.web.access import Context, Principal, Role
from crosshost_webui.web.idempotency import Answer, IdempotencyKey, once
from crosshost_webui.web.problem import Conflict, Invalid
from fastapi import Response
from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy import func, select, update
from starlette.requests import Request


class Asked(BaseModel):
    name: str = "x"
    count: int = 1


class Told(BaseModel):
    number: int


def context(state: State, who: str = "user:1", path: str = "/api/v1/x", query: bytes = b"") -> Context:
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": query, "headers": [],
        "server": ("testserver", 80), "scheme": "http", "state": {"request_id": "r", "address": ""},
    }  # fmt: skip
    return Context(Principal("ann", Role.ADMIN, who), state, Request(scope))


def done(state: State) -> int:
    """How often something was carried out."""
    with state.db.read() as s:
        return s.scalar(select(func.count()).select_from(AuditEntry)) or 0


def act(s: WriteSession) -> Answer:
    audit.record(s, Actor("ann"), "did", "x", "", "", None, None)
    s.flush()
    number = s.scalar(select(func.count()).select_from(AuditEntry)) or 0
    return Answer.of(Told(number=number), 201, {"Location": f"/x/{number}", "ETag": '"1"'})


def told(response: Response) -> tuple[int, int, str | None, str | None]:
    found = json.loads(bytes(response.body))["number"]
    return (
        response.status_code,
        found,
        response.headers.get("location"),
        response.headers.get("idempotency-replayed"),
    )


def test_the_same_request_again_is_answered_and_not_carried_out(any_state: State) -> None:
    first = once(context(any_state), "k1", Asked(), act)
    again = once(context(any_state), "k1", Asked(), act)
    assert told(first) == (201, 1, "/x/1", None)
    assert told(again) == (201, 1, "/x/1", "true")
    assert done(any_state) == 1


def test_without_a_key_each_request_is_carried_out(any_state: State) -> None:
    for number in (1, 2):
        assert told(once(context(any_state), None, Asked(), act)) == (201, number, f"/x/{number}", None)


@pytest.mark.parametrize(
    ("asked", "path", "query"),
    [(Asked(name="y"), "/api/v1/x", b""), (Asked(), "/api/v1/y", b""), (Asked(), "/api/v1/x", b"dry=true")],
)
def test_another_request_with_the_same_key_is_refused(
    any_state: State, asked: Asked, path: str, query: bytes
) -> None:
    once(context(any_state), "k1", Asked(), act)
    with pytest.raises(Invalid, match="k1"):
        once(context(any_state, path=path, query=query), "k1", asked, act)
    assert done(any_state) == 1


def test_keys_are_each_principals_own(any_state: State) -> None:
    once(context(any_state, "user:1"), "k1", Asked(), act)
    assert told(once(context(any_state, "token:1"), "k1", Asked(name="y"), act))[1] == 2


def test_what_fails_leaves_nothing_and_may_be_sent_again(any_state: State) -> None:
    def fail(s: WriteSession) -> Answer:
        act(s)
        raise Conflict("not now")

    for _ in range(2):
        with pytest.raises(Conflict, match="not now"):
            once(context(any_state), "k1", Asked(), fail)
    assert done(any_state) == 0
    assert told(once(context(any_state), "k1", Asked(), act))[1] == 1


def test_the_same_at_the_same_time_is_a_conflict(any_state: State) -> None:
    inside, go = threading.Event(), threading.Event()
    first: list[Response] = []

    def slow(s: WriteSession) -> Answer:
        inside.set()
        assert go.wait(30)
        return act(s)

    thread = threading.Thread(target=lambda: first.append(once(context(any_state), "k1", Asked(), slow)))
    thread.start()
    assert inside.wait(30)
    with pytest.raises(Conflict, match="still being carried out"):
        once(context(any_state), "k1", Asked(), act)
    go.set()
    thread.join(30)
    assert told(first[0])[:2] == (201, 1)
    assert told(once(context(any_state), "k1", Asked(), act))[3] == "true"
    assert done(any_state) == 1


def test_two_servers_on_one_postgresql_refuse_each_other(
    any_state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above, but without what one process knows of itself."""
    if any_state.db.is_sqlite:
        pytest.skip("one server at a time works on SQLite")
    inside, go = threading.Event(), threading.Event()

    def slow(s: WriteSession) -> Answer:
        inside.set()
        assert go.wait(30)
        return act(s)

    thread = threading.Thread(target=lambda: once(context(any_state), "k1", Asked(), slow))
    thread.start()
    assert inside.wait(30)
    monkeypatch.setattr(idempotency, "_busy", set())
    try:
        with pytest.raises(Conflict, match="still being carried out"):
            once(context(any_state), "k1", Asked(), act)
        assert told(once(context(any_state), "k2", Asked(), act))[0] == 201  # other keys go on
    finally:
        go.set()
        thread.join(30)
    assert done(any_state) == 2


def test_many_at_once_carry_it_out_once(any_state: State) -> None:
    results: list[str] = []
    barrier = threading.Barrier(8)

    def send() -> None:
        barrier.wait()
        for _ in range(200):
            try:
                results.append(str(told(once(context(any_state), "k1", Asked(), act))[1]))
                return
            except Conflict:
                continue

    threads = [threading.Thread(target=send) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert results and set(results) == {"1"}
    assert done(any_state) == 1


def test_it_is_forgotten_after_a_day(any_state: State) -> None:
    once(context(any_state), "k1", Asked(), act)
    maintenance.sweep(any_state)
    assert told(once(context(any_state), "k1", Asked(), act))[3] == "true"
    with any_state.db.write() as s:
        s.execute(update(Remembered).values(at=now() - timedelta(hours=25)))
    maintenance.sweep(any_state)
    assert told(once(context(any_state), "k1", Asked(), act))[3] is None


def test_afterwards_is_called_for_the_first_alone(any_state: State) -> None:
    called: list[int] = []

    def tell(s: WriteSession) -> Answer:
        s.afterwards(lambda: called.append(1))
        return act(s)

    for _ in range(2):
        once(context(any_state), "k1", Asked(), tell)
    assert called == [1]


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "\u00e4", "a\nb"])
def test_what_is_no_key(key: str) -> None:
    check: Callable[[str], object] = TypeAdapter(IdempotencyKey).validate_python
    with pytest.raises(ValidationError):
        check(key)
    check("x" * 255)


def test_the_lock_is_of_this_key_alone(any_state: State) -> None:
    with any_state.db.write() as s:
        assert store.try_lock_remembered(s, "user:1", "a")
        assert store.try_lock_remembered(s, "user:1", "a")  # one's own
