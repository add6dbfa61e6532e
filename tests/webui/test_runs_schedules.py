# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules: when they are due, and that each time is run once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from crosshost_webui.db.base import now
from crosshost_webui.runs import schedules, store
from crosshost_webui.runs.models import Schedule
from crosshost_webui.runs.options import RunOptions
from crosshost_webui.state import State
from crosshost_webui.web.problem import Conflict, Invalid

from tests.webui.support_runs import ANN, declare, row

DRIFT = RunOptions(playbook="site", check=True)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("17 * * * *", "2026-11-20T10:17:00", "2026-11-20T11:17:00"),
        ("0 6 * * 1-5", "2026-11-20T06:00:00", "2026-11-23T06:00:00"),
        ("*/15 * * * *", "2026-11-20T10:14:59", "2026-11-20T10:15:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("59 23 31 12 *", "2026-12-31T23:59:30", "2027-12-31T23:59:00"),
    ],
)
def test_times(cron: str, after: str, expected: str) -> None:
    assert schedules.next_time(cron, moment(after)) == moment(expected)


def test_times_are_utc_wherever_the_server_is() -> None:
    from datetime import timezone

    local = datetime(2026, 11, 20, 12, 30, tzinfo=timezone(timedelta(hours=2)))
    assert schedules.next_time("0 11 * * *", local) == moment("2026-11-20T11:00:00")


@pytest.mark.parametrize(
    "cron", ["", "* * * *", "* * * * * *", "61 * * * *", "x * * * *", "0 0 31 2 *", "* * * * *" + " " * 200, "@daily", "\0 * * * *"]
)  # fmt: skip
def test_expressions_that_are_none(cron: str) -> None:
    with pytest.raises(Invalid, match="cron"):
        schedules.next_time(cron, now())


def make(state: State, cron: str = "17 * * * *", name: str = "drift", enabled: bool = True) -> Schedule:
    with state.db.write() as s:
        return schedules.save(s, ANN, None, name, cron, DRIFT, enabled)


def reload(state: State, one: Schedule) -> Schedule:
    with state.db.read() as s:
        return schedules.get(s, one.id)


def test_what_is_due_is_run_once(state: State) -> None:
    declare(state)
    one = make(state)
    assert one.next_at is not None
    assert schedules.run_due(state, one.next_at - timedelta(seconds=1)) == 0
    due = one.next_at + timedelta(seconds=3)
    assert schedules.run_due(state, due) == 1
    assert schedules.run_due(state, due) == 0
    after = reload(state, one)
    assert after.next_at == one.next_at + timedelta(hours=1)
    run = row(state, after.last_run_id or 0)
    assert (run.origin, run.check_mode, run.schedule_id, run.who) == ("schedule", True, one.id, "ann")


def test_what_was_missed_is_run_once_only(state: State) -> None:
    declare(state)
    one = make(state)
    assert one.next_at is not None
    late = one.next_at + timedelta(hours=50, seconds=1)
    assert schedules.run_due(state, late) == 1
    assert schedules.run_due(state, late) == 0
    assert reload(state, one).next_at == one.next_at + timedelta(hours=51)


def test_a_time_is_passed_over_while_the_run_before_goes_on(state: State) -> None:
    declare(state)
    one = make(state)
    assert one.next_at is not None
    assert schedules.run_due(state, one.next_at) == 1
    assert schedules.run_due(state, one.next_at + timedelta(hours=1)) == 0
    assert "still under way" in reload(state, one).explanation
    with state.db.write() as s:
        store.swap(s, reload(state, one).last_run_id or 0, ("queued",), {"status": "ok"})
    assert schedules.run_due(state, one.next_at + timedelta(hours=2)) == 1
    assert reload(state, one).explanation == ""


def test_what_cannot_be_started_is_told(state: State) -> None:
    one = make(state)  # there are no hosts
    assert one.next_at is not None
    assert schedules.run_due(state, one.next_at) == 0
    after = reload(state, one)
    assert "it has no hosts" in after.explanation and after.next_at == one.next_at + timedelta(hours=1)


def test_options_that_are_not_taken_any_more_are_told(state: State) -> None:
    declare(state)
    one = make(state)
    with state.db.write() as s:
        schedules.to_change(s, one.id).options = {"playbook": "site", "tags": "gone"}
    assert one.next_at is not None and schedules.run_due(state, one.next_at) == 0
    assert "no such tag" in reload(state, one).explanation


def test_two_servers_run_it_once(state: State) -> None:
    """Both have read that it is due; the second finds that it is not any more."""
    declare(state)
    one = make(state)
    assert one.next_at is not None
    with state.db.write() as s:
        assert schedules._run_one(s, one.id, one.next_at) is not None
    with state.db.write() as s:
        assert schedules._run_one(s, one.id, one.next_at) is None


def test_disabled_ones_have_no_time(state: State) -> None:
    declare(state)
    one = make(state, enabled=False)
    assert one.next_at is None
    assert schedules.run_due(state, now() + timedelta(days=400)) == 0
    with state.db.write() as s:
        found = schedules.to_change(s, one.id)
        before = schedules.version(found)
        assert schedules.save(s, ANN, found, "drift", "0 1 * * *", DRIFT, True).next_at is not None
        assert schedules.version(found) != before


def test_names_are_unique(state: State) -> None:
    one = make(state)
    with pytest.raises(Conflict, match="of this name"):
        make(state)
    other = make(state, name="other")
    with state.db.write() as s, pytest.raises(Conflict):
        schedules.save(s, ANN, schedules.to_change(s, other.id), "drift", "0 1 * * *", DRIFT, True)
    with state.db.write() as s, pytest.raises(Invalid):
        schedules.save(s, ANN, None, "a\0b", "0 1 * * *", DRIFT, True)
    with state.db.write() as s:
        schedules.delete(s, ANN, schedules.to_change(s, one.id))
    make(state)


def test_times_for_people() -> None:
    found = schedules.next_times("0 6 * * *", 3)
    assert len(found) == 3 and all(b - a == timedelta(days=1) for a, b in zip(found, found[1:], strict=False))
