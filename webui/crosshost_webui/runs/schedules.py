# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs at times. Times are UTC. What was due while no server ran is run once, not as often as it was missed."""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cronsim import CronSim, CronSimError
from pydantic import ValidationError

from ..audit import store as audit
from ..audit.store import Actor
from ..db.base import now
from ..db.engine import ReadSession, WriteSession
from ..web.problem import Conflict, Invalid, NotFound, Problem
from . import service, store
from .models import ACTIVE, Schedule
from .options import RunOptions

if TYPE_CHECKING:
    from ..state import State

CRON_MOST = 100
log = logging.getLogger("crosshost_webui.schedules")


def next_time(cron: str, after: datetime) -> datetime:
    """The first time after a moment. Invalid if the expression is none, or if its time never comes."""
    fields = cron.split()
    if len(fields) != 5 or len(cron) > CRON_MOST:
        raise _bad(cron, "write five fields: minute, hour, day, month and weekday, such as `0 6 * * *`")
    try:
        return next(CronSim(" ".join(fields), after.astimezone(UTC)))
    except CronSimError as error:
        raise _bad(cron, f"{error}; five fields are minute, hour, day, month and weekday") from None
    except StopIteration:
        raise _bad(cron, "there is no such day in the next 50 years") from None


def next_times(cron: str, count: int) -> list[datetime]:
    """For people to see what an expression means."""
    found: list[datetime] = []
    moment = now()
    for _ in range(count):
        moment = next_time(cron, moment)
        found.append(moment)
    return found


def _bad(cron: str, told: str) -> Invalid:
    return Invalid(f"schedule: cron {cron[:80]!r}: {told}", {"cron": told})


def get(s: ReadSession, schedule_id: int) -> Schedule:
    found = store.schedule(s, schedule_id)
    if found is None:
        raise NotFound(f"schedule {schedule_id}: there is none")
    return found


def to_change(s: WriteSession, schedule_id: int) -> Schedule:
    get(s, schedule_id)
    found = store.schedule_to_change(s, schedule_id)
    assert found is not None
    return found


def version(schedule: Schedule) -> str:
    """Another one each time that somebody changes it; that it has run does not count."""
    return hashlib.sha256(json.dumps(shown(schedule), sort_keys=True).encode()).hexdigest()[:16]


def shown(schedule: Schedule) -> dict[str, Any]:
    return {
        "name": schedule.name, "cron": schedule.cron, "options": schedule.options, "enabled": schedule.enabled,
    }  # fmt: skip


def save(
    s: WriteSession,
    actor: Actor,
    schedule: Schedule | None,
    name: str,
    cron: str,
    options: RunOptions,
    enabled: bool,
) -> Schedule:
    """Make one, or change the one given. Conflict if another has the name."""
    label = name.strip()
    if not label or len(label) > 150 or not label.isprintable():
        told = "use 1 to 150 printable characters"
        raise Invalid(f"schedule: name {name[:80]!r}: {told}", {"name": told})
    same = store.schedule_by_name(s, label)
    if same is not None and (schedule is None or same.id != schedule.id):
        raise Conflict(f"schedule {label}: there is one of this name; change that one, or take another name")
    moment = now()
    next_at = next_time(cron, moment)
    before = shown(schedule) if schedule is not None else None
    if schedule is None:
        schedule = Schedule(created_at=moment, who=actor.who[:150], explanation="")
        s.add(schedule)
    schedule.name, schedule.cron, schedule.enabled = label, " ".join(cron.split()), enabled
    schedule.options, schedule.next_at = options.stored(), next_at if enabled else None
    s.flush()
    verb = "create" if before is None else "change"
    audit.record(s, actor, verb, "schedule", schedule.id, label, before, shown(schedule))
    return schedule


def delete(s: WriteSession, actor: Actor, schedule: Schedule) -> None:
    audit.record(s, actor, "delete", "schedule", schedule.id, schedule.name, shown(schedule), None)
    s.delete(schedule)


def run_due(state: State, moment: datetime | None = None) -> int:
    """Start what is due; how many runs. One server of several does it."""
    at = moment or now()
    with state.db.read() as s:
        found = [one.id for one in store.due(s, at)]
    started = 0
    for schedule_id in found:
        with state.db.write() as s:
            run_id = _run_one(s, schedule_id, at)
            if run_id is not None:
                service.announce(state, s, run_id)
                started += 1
    return started


def _run_one(s: WriteSession, schedule_id: int, at: datetime) -> int | None:
    one = store.schedule_to_change(s, schedule_id)
    if one is None or not one.enabled or one.next_at is None or one.next_at > at:
        return None
    one.next_at = next_time(one.cron, at)
    earlier = store.run(s, one.last_run_id) if one.last_run_id else None
    if earlier is not None and earlier.status in ACTIVE:
        one.explanation = f"passed over at {at:%Y-%m-%d %H:%M} UTC: run {earlier.id} was still under way"
        return None
    actor = Actor(one.who, through=f"schedule {one.name}"[:150])
    try:
        with s.begin_nested():
            run = service.start(s, actor, RunOptions(**one.options), "schedule", schedule_id=one.id)
    except ValidationError as error:
        one.explanation = f"not started: {error.errors()[0]['msg']}"[:500]
    except Problem as error:
        one.explanation = f"not started: {error.detail}"[:500]
    else:
        one.last_run_id, one.explanation = run.id, ""
        return run.id
    log.warning("schedule %s: %s", one.name, one.explanation)
    return None
