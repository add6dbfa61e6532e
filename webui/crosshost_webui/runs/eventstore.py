# SPDX-License-Identifier: GPL-3.0-or-later
"""All SQL of a run's events: written in batches, read by number, by host, or by host and task."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ..db.base import now
from ..db.engine import ReadSession, WriteSession
from .models import Event, RunHost, RunTask

COUNTERS = ("ok", "changed", "failed", "unreachable", "skipped")


class Cell(NamedTuple):
    """What a task ended as on a host."""

    host: str
    task: int
    seq: int
    status: str


class Row(NamedTuple):
    """An event without its body."""

    seq: int
    at: Any
    kind: str
    task: int | None
    host: str | None
    status: str | None
    duration_ms: int | None
    has_body: bool


class Change(NamedTuple):
    """A result that changes something, with its body as it is stored."""

    host: str
    task: int
    action: str
    name: str
    status: str
    body: bytes | None


_LIGHT = (
    Event.seq, Event.at, Event.kind, Event.task, Event.host, Event.status, Event.duration_ms, Event.body.is_not(None),
)  # fmt: skip


def add_events(s: WriteSession, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        s.execute(insert(Event), list(rows))


def add_tasks(s: WriteSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """A task that is there already stays as it is."""
    if rows:
        dialect = postgresql if s.get_bind().dialect.name == "postgresql" else sqlite
        s.execute(dialect.insert(RunTask).on_conflict_do_nothing(), list(rows))


def count_hosts(s: WriteSession, run_id: int, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Add to the counters of these hosts."""
    if not counts:
        return
    dialect = postgresql if s.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(RunHost)
    more = {name: getattr(RunHost, name) + getattr(statement.excluded, name) for name in COUNTERS}
    rows = [
        {"run_id": run_id, "host": host, **{name: found.get(name, 0) for name in COUNTERS}}
        for host, found in sorted(counts.items())
    ]
    s.execute(statement.on_conflict_do_update(index_elements=["run_id", "host"], set_=more), rows)


def end_hosts(s: WriteSession, run_id: int, hosts: Collection[str]) -> None:
    """Note that the run has ended for these hosts."""
    moment, chosen = now(), sorted(hosts)
    for begin in range(0, len(chosen), 500):
        where = (RunHost.run_id == run_id, RunHost.host.in_(chosen[begin : begin + 500]))
        s.execute(update(RunHost).where(*where).values(ended_at=moment))


def tail(s: ReadSession, run_id: int, after: int, limit: int) -> Sequence[Row]:
    """Events after a number, without bodies."""
    query = select(*_LIGHT).where(Event.run_id == run_id, Event.seq > after).order_by(Event.seq).limit(limit)
    return [Row(*one) for one in s.execute(query)]


def event(s: ReadSession, run_id: int, seq: int) -> Event | None:
    return s.get(Event, (run_id, seq)) if 0 < seq < 2**63 and 0 < run_id < 2**63 else None


def bodies(s: ReadSession, run_id: int, seqs: Collection[int]) -> dict[int, bytes]:
    query = select(Event.seq, Event.body).where(Event.run_id == run_id, Event.seq.in_(seqs))
    return {seq: body for seq, body in s.execute(query) if body is not None}


def results(
    s: ReadSession,
    run_id: int,
    limit: int,
    after: int = 0,
    host: str | None = None,
    task: int | None = None,
    statuses: Collection[str] | None = None,
) -> Sequence[Event]:
    """Results in the order in which they came, turns of loops among them."""
    query = select(Event).where(Event.run_id == run_id, Event.seq > after)
    query = query.where(Event.kind.in_(("result", "item")))
    wanted: list[ColumnElement[bool]] = []
    if host is not None:
        wanted.append(Event.host == host)
    if task is not None:
        wanted.append(Event.task == task)
    if statuses is not None:
        wanted.append(Event.status.in_(statuses))
    return s.scalars(query.where(*wanted).order_by(Event.seq).limit(limit)).all()


def tasks(s: ReadSession, run_id: int, limit: int = 2000, after: int = 0) -> Sequence[RunTask]:
    query = select(RunTask).where(RunTask.run_id == run_id, RunTask.number > after)
    return s.scalars(query.order_by(RunTask.number).limit(limit)).all()


def task(s: ReadSession, run_id: int, number: int) -> RunTask | None:
    return s.get(RunTask, (run_id, number))


def cells(s: ReadSession, run_id: int, hosts: Collection[str]) -> Iterator[Cell]:
    """What the tasks ended as on these hosts. The later of two results of one task counts."""
    query = select(Event.host, Event.task, Event.seq, Event.status).where(
        Event.run_id == run_id, Event.host.in_(hosts), Event.kind == "result"
    )
    last: dict[tuple[str, int], Cell] = {}
    for host, number, seq, status in s.execute(query.order_by(Event.seq)):
        if host is not None and number is not None:
            last[(host, number)] = Cell(host, number, seq, status or "")
    yield from last.values()


def messages(s: ReadSession, run_id: int, kinds: Collection[str], limit: int) -> Sequence[Event]:
    """Events of other kinds: warning, stats, play."""
    query = select(Event).where(Event.run_id == run_id, Event.kind.in_(kinds))
    return s.scalars(query.order_by(Event.seq).limit(limit)).all()


def outcomes(s: ReadSession, run_id: int, actions: Sequence[str] = ()) -> Iterator[Change]:
    """Results with the task's module, in order. ``actions``: only of these modules, by their full names. Bodies of ok and skipped
    ones are left in the database, but for the module network_info's."""
    query = (
        select(Event.host, Event.task, RunTask.action, RunTask.name, Event.status, Event.seq)
        .join(RunTask, (RunTask.run_id == Event.run_id) & (RunTask.number == Event.task))
        .where(Event.run_id == run_id, Event.kind == "result")
        .order_by(Event.seq)
    )
    if actions:
        query = query.where(RunTask.action.in_(actions))
    rows = s.execute(query).all()
    for begin in range(0, len(rows), 500):
        part = rows[begin : begin + 500]
        wanted = [row.seq for row in part if row.status == "changed" or row.action.endswith(".network_info")]
        found = bodies(s, run_id, wanted) if wanted else {}
        for row in part:
            yield Change(row.host, row.task, row.action, row.name, row.status, found.get(row.seq))


def history(
    s: ReadSession, host: str, run_ids: Collection[int], limit: int
) -> Sequence[tuple[Event, RunTask]]:
    """What these runs changed on a host, or failed at; the newest first."""
    query = (
        select(Event, RunTask)
        .join(RunTask, (RunTask.run_id == Event.run_id) & (RunTask.number == Event.task))
        .where(Event.run_id.in_(run_ids), Event.host == host, Event.kind == "result")
        .where(Event.status.in_(("changed", "failed", "unreachable")))
        .order_by(Event.run_id.desc(), Event.seq.desc())
        .limit(limit)
    )
    return [(one[0], one[1]) for one in s.execute(query)]
