# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords: the policy, the cost of a hash, and that a name which does not exist costs the same; token buckets."""

from __future__ import annotations

import hmac
import inspect
import threading
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import extract_parameters
from argon2.low_level import Type
from crosshost_webui.accounts import limits, passwords, service
from crosshost_webui.accounts.limits import Limit
from crosshost_webui.db.engine import Database
from crosshost_webui.web.problem import Invalid, TooMany
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def test_a_hash_is_argon2id_at_owasps_cost_or_more() -> None:
    stored = passwords.hashed("plum-orbit-lantern", "ann")
    found = extract_parameters(stored)
    assert found.type is Type.ID
    assert (found.memory_cost, found.time_cost, found.parallelism) >= (19 * 1024, 2, 1)
    assert passwords.is_right(stored, "plum-orbit-lantern")
    assert not passwords.is_right(stored, "plum-orbit-lanterm")
    assert not passwords.is_outdated(stored)
    assert stored != passwords.hashed("plum-orbit-lantern", "ann")


@pytest.mark.parametrize(
    "password", ["", "short", "x" * 11, "x" * 257, "aaaaaaaaaaaaaaaa", "ababababababab", "ANN-ann-ann-x"]
)
def test_the_policy_is_about_length_and_not_about_kinds_of_characters(password: str) -> None:
    with pytest.raises(Invalid) as told:
        passwords.hashed(password, "ann-ann-ann-x")
    assert "password" in told.value.fields
    assert not password or password not in told.value.detail


def test_the_same_characters_are_the_same_password() -> None:
    assert passwords.is_right(passwords.hashed("cafe\u0301 au lait 12", "ann"), "caf\u00e9 au lait 12")


@pytest.mark.parametrize("stored", [None, "", "not a hash", "$argon2id$v=19$m=8,t=1,p=1$broken"])
def test_what_is_no_hash_opens_to_nothing(stored: str | None) -> None:
    assert not passwords.is_right(stored, "plum-orbit-lantern")


def test_a_name_that_does_not_exist_costs_a_hash_of_the_same_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the clock, which a busy machine would decide: the same function gets a hash of the same cost to work on."""
    worked_on = []

    class Watched:
        hash = passwords._hasher.hash

        def verify(self, stored: str, _plain: str) -> bool:
            worked_on.append(extract_parameters(stored))
            return False

    monkeypatch.setattr(passwords, "_hasher", Watched())
    passwords.is_right("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b2dWRWJTmaQrFEXjL7J", "x")
    passwords.is_right(None, "x")
    assert len(worked_on) == 2
    assert [(one.memory_cost, one.time_cost) for one in worked_on] == [(19456, 2)] * 2


def test_only_a_few_hashes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock = 0, 0, threading.Lock()
    go = threading.Event()

    class Slow:
        def verify(self, _stored: str, _plain: str) -> bool:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            go.wait(10)
            with lock:
                running -= 1
            return True

    monkeypatch.setattr(passwords, "_hasher", Slow())
    threads = [threading.Thread(target=passwords.is_right, args=("x", "y")) for _ in range(6)]
    for one in threads:
        one.start()
    go.set()
    for one in threads:
        one.join(30)
    assert 1 <= most <= passwords.AT_ONCE


def test_passwords_that_are_made_up_differ_and_are_long() -> None:
    made = {passwords.made_up() for _ in range(50)}
    assert len(made) == 50 and all(len(one) >= 30 for one in made)


def test_digests_are_compared_in_constant_time() -> None:
    """Every comparison of something secret goes through hmac.compare_digest, or is a look-up by a digest."""
    assert hmac.compare_digest.__name__ in inspect.getsource(service._by_token)
    assert "token.digest ==" not in inspect.getsource(service._by_token)
    assert "sha256" in inspect.getsource(service._by_cookie)


START = datetime(2026, 1, 1, tzinfo=UTC)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    burst=st.integers(1, 5), seconds=st.floats(0.5, 60),
    waits=st.lists(st.floats(0, 90), min_size=1, max_size=30), number=st.integers(0, 10**9),
)  # fmt: skip
def test_never_more_than_the_burst_and_the_rate(
    sqlite: Database, burst: int, seconds: float, waits: list[float], number: int
) -> None:
    limit, at, passed = Limit(burst, seconds), START, []
    for wait in waits:
        at += timedelta(seconds=wait)
        try:
            with sqlite.write() as s:
                limits.take(s, f"k{number}{waits}"[:200], limit, at)
            passed.append(at)
        except TooMany:
            pass
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            span = (passed[last] - passed[first]).total_seconds()
            # moments are kept to the millisecond
            assert last - first + 1 <= burst + (span + 0.001 * (last - first + 1)) / seconds + 1e-6


def test_an_attempt_that_waits_as_told_passes(database: Database) -> None:
    limit, at = Limit(2, 7.5), START
    for _ in range(2):
        with database.write() as s:
            limits.take(s, "k", limit, at)
    for _ in range(3):
        with pytest.raises(TooMany) as told, database.write() as s:
            limits.take(s, "k", limit, at)
        at += timedelta(seconds=int(told.value.headers["Retry-After"]))
        with database.write() as s:
            limits.take(s, "k", limit, at)


def test_attempts_at_the_same_time_are_all_counted(database: Database) -> None:
    limit, passed = Limit(4, 3600), []
    barrier = threading.Barrier(8)

    def attempt() -> None:
        barrier.wait()
        try:
            with database.write() as s:
                limits.take(s, "k", limit)
            passed.append(1)
        except TooMany:
            pass

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert len(passed) == 4


@pytest.fixture
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Database:
    found = Database(f"sqlite:///{tmp_path_factory.mktemp('limits') / 'x.db'}")
    found.create()
    return found
