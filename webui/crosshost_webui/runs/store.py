# SPDX-License-Identifier: GPL-3.0-or-later
"""All SQL of runs: their rows, their state, and what is kept of them. Events have their own in eventstore.py."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, CursorResult, and_, delete, func, select, update
from sqlalchemy.orm import defer

from ..db.engine import ReadSession, WriteSession
from .models import ACTIVE, ENDED, Plan, Run, RunHost, Schedule

HELD = ("claimed", "running", "cancelling")  # by an executor, or by somebody's command line


class Filters(NamedTuple):
    """Which runs; None: any. These columns and no others."""

    status: str | None = None
    playbook: str | None = None
    who: str | None = None
    origin: str | None = None
    check: bool | None = None
    host: str | None = None
    since: datetime | None = None


class Pulse(NamedTuple):
    """What a stream looks at again and again."""

    status: str
    last_seq: int
    output_bytes: int
    counts: dict[str, Any]
    explanation: str
    started_at: datetime | None
    ended_at: datetime | None


def add(s: WriteSession, run: Run) -> Run:
    s.add(run)
    s.flush()
    return run


def run(s: ReadSession, run_id: int) -> Run | None:
    return s.get(Run, run_id) if 0 < run_id < 2**63 else None


def run_to_change(s: WriteSession, run_id: int) -> Run | None:
    """The row, which nobody else changes until this is committed."""
    if not 0 < run_id < 2**63:
        return None
    query = select(Run).where(Run.id == run_id).with_for_update().execution_options(populate_existing=True)
    return s.scalar(query)


def run_by_uuid(s: ReadSession, uuid: str) -> Run | None:
    return s.scalar(select(Run).where(Run.uuid == uuid))


def pulse(s: ReadSession, run_id: int) -> Pulse | None:
    found = s.execute(
        select(
            Run.status, Run.last_seq, Run.output_bytes, Run.counts, Run.explanation, Run.started_at, Run.ended_at
        ).where(Run.id == run_id)
    ).one_or_none()  # fmt: skip
    return None if found is None else Pulse(*found)


def runs(s: ReadSession, filters: Filters, limit: int, before_id: int | None = None) -> Sequence[Run]:
    """The newest first; ``before_id``: only older ones."""
    query = select(Run).order_by(Run.id.desc()).limit(limit)
    if filters.status == "active":
        query = query.where(Run.status.in_(ACTIVE))
    elif filters.status is not None:
        query = query.where(Run.status == filters.status)
    for column, value in (
        (Run.playbook, filters.playbook), (Run.who, filters.who), (Run.origin, filters.origin), (Run.check_mode, filters.check),
    ):  # fmt: skip
        if value is not None:
            query = query.where(column == value)
    if filters.host is not None:
        query = query.join(RunHost, and_(RunHost.run_id == Run.id, RunHost.host == filters.host))
    if filters.since is not None:
        query = query.where(Run.queued_at >= filters.since)
    if before_id is not None:
        query = query.where(Run.id < before_id)
    return s.scalars(query).all()


def active(s: ReadSession) -> Sequence[Run]:
    """In the order in which they were asked for."""
    return s.scalars(select(Run).where(Run.status.in_(ACTIVE)).order_by(Run.id)).all()


def latest(s: ReadSession, playbook: str, check: bool, statuses: Collection[str] = ENDED) -> Run | None:
    """The last run of this playbook that has ended so."""
    query = select(Run).where(Run.playbook == playbook, Run.check_mode == check, Run.status.in_(statuses))
    return s.scalar(query.order_by(Run.id.desc()).limit(1))


def queued(s: ReadSession, limit: int) -> Sequence[Run]:
    """Those that may be claimed now: none with their lock is under way."""
    held = select(Run.lock_key).where(Run.status.in_(HELD))
    query = select(Run).where(Run.status == "queued", Run.lock_key.not_in(held)).order_by(Run.id).limit(limit)
    return s.scalars(query).all()


def count_queued(s: ReadSession) -> int:
    return s.scalar(select(func.count()).select_from(Run).where(Run.status == "queued")) or 0


def swap(
    s: WriteSession,
    run_id: int,
    expected: Collection[str],
    values: Mapping[str, Any],
    executor_id: str | None = None,
) -> bool:
    """Change the row if its state is one of these (and this executor holds it). False: somebody else was first."""
    where: list[ColumnElement[bool]] = [Run.id == run_id, Run.status.in_(expected)]
    if executor_id is not None:
        where.append(Run.executor_id == executor_id)
    return _count(s, update(Run).where(*where).values(**values)) == 1


def expired(s: ReadSession, moment: datetime) -> Sequence[Run]:
    """Runs under way whose holder has not said for too long that it lives."""
    return s.scalars(
        select(Run).where(Run.lease_until < moment, Run.status.in_(HELD)).order_by(Run.id).limit(100)
    ).all()


def held_by(s: ReadSession, prefix: str) -> Sequence[Run]:
    """Runs under way of executors whose id begins so."""
    query = select(Run).where(Run.status.in_(HELD), Run.executor_id.startswith(prefix, autoescape=True))
    return s.scalars(query.order_by(Run.id)).all()


def old(s: ReadSession, before: datetime, limit: int) -> Sequence[int]:
    """Ids of ended runs that began before this moment; the oldest first."""
    query = select(Run.id).where(Run.status.in_(ENDED), Run.ended_at < before).order_by(Run.id).limit(limit)
    return s.scalars(query).all()


def remove(s: WriteSession, run_id: int) -> bool:
    """With its events, counters and plan."""
    return _count(s, delete(Run).where(Run.id == run_id, Run.status.in_(ENDED))) == 1


# Counters of hosts.


def hosts(s: ReadSession, run_id: int, limit: int, after: str | None = None) -> Sequence[RunHost]:
    query = select(RunHost).where(RunHost.run_id == run_id).order_by(RunHost.host).limit(limit)
    return s.scalars(query if after is None else query.where(RunHost.host > after)).all()


def hosts_in_trouble(s: ReadSession, run_id: int, limit: int) -> Sequence[RunHost]:
    """Hosts of the run with failures, or that were not reached."""
    query = select(RunHost).where(RunHost.run_id == run_id, RunHost.failed + RunHost.unreachable > 0)
    return s.scalars(query.order_by(RunHost.host).limit(limit)).all()


def count_hosts(s: ReadSession, run_id: int) -> int:
    return s.scalar(select(func.count()).select_from(RunHost).where(RunHost.run_id == run_id)) or 0


def runs_of_host(s: ReadSession, host: str, limit: int) -> Sequence[tuple[Run, RunHost]]:
    """The last runs that touched a host, with its counters; the newest first."""
    query = (
        select(Run, RunHost).join(RunHost, RunHost.run_id == Run.id).where(RunHost.host == host)
        .order_by(RunHost.run_id.desc()).limit(limit)
    )  # fmt: skip
    return [(one[0], one[1]) for one in s.execute(query)]


# Plans.


def plan(s: ReadSession, plan_id: int) -> Plan | None:
    return s.get(Plan, plan_id) if 0 < plan_id < 2**63 else None


def plan_to_change(s: WriteSession, plan_id: int) -> Plan | None:
    if not 0 < plan_id < 2**63:
        return None
    query = select(Plan).where(Plan.id == plan_id).with_for_update()
    return s.scalar(query.execution_options(populate_existing=True))


def plan_of_run(s: ReadSession, run_id: int) -> Plan | None:
    return s.scalar(select(Plan).where(Plan.run_id == run_id))


def plans(
    s: ReadSession, status: str | None, limit: int, before_id: int | None = None
) -> Sequence[tuple[Plan, Run]]:
    """With the check run that each came from; the newest first, without what each host would get."""
    query = select(Plan, Run).join(Run, Run.id == Plan.run_id).order_by(Plan.id.desc()).limit(limit)
    if status is not None:
        query = query.where(Plan.status == status)
    if before_id is not None:
        query = query.where(Plan.id < before_id)
    return [(one[0], one[1]) for one in s.execute(query.options(defer(Run.variables)))]


# Schedules.


def schedule(s: ReadSession, schedule_id: int) -> Schedule | None:
    return s.get(Schedule, schedule_id) if 0 < schedule_id < 2**63 else None


def schedule_to_change(s: WriteSession, schedule_id: int) -> Schedule | None:
    if not 0 < schedule_id < 2**63:
        return None
    query = select(Schedule).where(Schedule.id == schedule_id).with_for_update()
    return s.scalar(query.execution_options(populate_existing=True))


def schedule_by_name(s: ReadSession, name: str) -> Schedule | None:
    return s.scalar(select(Schedule).where(Schedule.name == name))


def schedules(s: ReadSession, limit: int, after: str | None = None) -> Sequence[Schedule]:
    query = select(Schedule).order_by(Schedule.name).limit(limit)
    return s.scalars(query if after is None else query.where(Schedule.name > after)).all()


def due(s: ReadSession, moment: datetime) -> Sequence[Schedule]:
    query = select(Schedule).where(Schedule.enabled, Schedule.next_at <= moment)
    return s.scalars(query.order_by(Schedule.next_at).limit(50)).all()


def move_schedule(
    s: WriteSession, schedule_id: int, expected: datetime | None, next_at: datetime | None
) -> bool:
    """Set its next time if it is still at the expected one. False: another server was first."""
    where = (Schedule.id == schedule_id, Schedule.next_at == expected)
    return _count(s, update(Schedule).where(*where).values(next_at=next_at)) == 1


def _count(s: WriteSession, statement: Any) -> int:
    result = s.execute(statement)
    assert isinstance(result, CursorResult)
    return result.rowcount
