# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of playbooks, what they did on each host, plans, and what differs since when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ..db.base import Base, Json, Key

ACTIVE = ("queued", "claimed", "running", "cancelling")
ENDED = ("ok", "failed", "unreachable", "cancelled", "lost", "refused")
_ACTIVE = text("status IN ('claimed', 'running', 'cancelling')")


class Run(Base):
    """One execution of a playbook. ``origin``: page, api, schedule, or cli (recorded by the callback plugin). ``lock_key``: of
    runs with the same one, one at a time is active. ``explanation``: why it ended so, for people."""

    __tablename__ = "run"
    __table_args__ = (
        CheckConstraint(f"status IN {ACTIVE + ENDED}", "status"),
        Index(
            "ux_run_lock_key_active", "lock_key", unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE
        ),
        Index(None, "status", "id"),
        Index(None, "playbook", "id"),
    )

    id: Mapped[Key]
    playbook: Mapped[str] = mapped_column(
        String(60)
    )  # site, doctor, teardown; of a recorded run its file name
    origin: Mapped[str] = mapped_column(String(12))
    uuid: Mapped[str | None] = mapped_column(String(64), unique=True)  # of a recorded run
    revision_id: Mapped[int | None]
    inventory_digest: Mapped[str] = mapped_column(String(64), default="")
    limit: Mapped[str] = mapped_column(String(500), default="")
    tags: Mapped[str] = mapped_column(String(300), default="")
    check_mode: Mapped[bool] = mapped_column(default=False)
    diff_mode: Mapped[bool] = mapped_column(default=False)
    variables: Mapped[Json]
    secrets: Mapped[list[Any]]  # ids
    forks: Mapped[int | None]
    command: Mapped[list[Any]]  # argv as it was started
    who: Mapped[str] = mapped_column(String(150))
    status: Mapped[str] = mapped_column(String(12))
    explanation: Mapped[str] = mapped_column(String(1000), default="")
    lock_key: Mapped[str] = mapped_column(String(200))
    executor_id: Mapped[str | None] = mapped_column(String(120))
    lease_until: Mapped[datetime | None] = mapped_column(index=True)
    cancel_by: Mapped[str | None] = mapped_column(String(150))
    pid: Mapped[int | None]
    pid_start: Mapped[int | None]  # clock ticks since boot, of /proc/PID/stat
    rc: Mapped[int | None]
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    last_seq: Mapped[int] = mapped_column(default=0)
    output_bytes: Mapped[int] = mapped_column(default=0)
    counts: Mapped[Json]  # ok, changed, failed, unreachable, skipped
    rerun_of: Mapped[int | None]
    plan_id: Mapped[int | None]  # the plan that it applies
    schedule_id: Mapped[int | None]


class RunHost(Base):
    """The counters of one host in a run."""

    __tablename__ = "run_host"
    __table_args__ = (Index(None, "host", "run_id"),)

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    host: Mapped[str] = mapped_column(String(253), primary_key=True)
    ok: Mapped[int] = mapped_column(default=0)
    changed: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    unreachable: Mapped[int] = mapped_column(default=0)
    skipped: Mapped[int] = mapped_column(default=0)
    ended_at: Mapped[datetime | None]


class RunTask(Base):
    """A task of a run, in the order of its start."""

    __tablename__ = "run_task"

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(300))
    action: Mapped[str] = mapped_column(String(200))
    play: Mapped[str] = mapped_column(String(300), default="")
    started_at: Mapped[datetime]


class Event(Base):
    """One line of a run's record, by its sequence number. ``kind``: play, task, result, item (one turn of a loop, before the result
    of the whole task), warning, stats. Of a result: ``host``, ``task`` (its number), ``status``. ``body``: JSON compressed by
    zlib; None: there is nothing to tell but the status."""

    __tablename__ = "event"
    __table_args__ = (
        Index(None, "run_id", "task", "host"),
        Index(None, "run_id", "host", "seq"),
        Index(None, "run_id", "status", "seq"),
        Index(None, "host", "at"),
    )

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(8))
    task: Mapped[int | None]
    host: Mapped[str | None] = mapped_column(String(253))
    # ok, changed, failed, ignored, unreachable, skipped
    status: Mapped[str | None] = mapped_column(String(12))
    duration_ms: Mapped[int | None]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)


class Plan(Base):
    """What a check run would change. ``digest``: of the inventory's digest and every host's commands."""

    __tablename__ = "plan"

    id: Mapped[Key]
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), unique=True)
    digest: Mapped[str] = mapped_column(String(64))
    hosts: Mapped[Json]  # by host: digest, number of commands
    status: Mapped[str] = mapped_column(String(12))  # proposed, approved, rejected, applied, refused
    created_at: Mapped[datetime]
    who: Mapped[str] = mapped_column(String(150))
    decided_by: Mapped[str | None] = mapped_column(String(150))
    decided_at: Mapped[datetime | None]
    applied_run_id: Mapped[int | None]
    note: Mapped[str] = mapped_column(String(1000), default="")


class Schedule(Base):
    """A run at times that a cron expression gives, in UTC."""

    __tablename__ = "schedule"

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(String(150), unique=True)
    cron: Mapped[str] = mapped_column(String(100))
    options: Mapped[Json]  # as a run is started with
    enabled: Mapped[bool] = mapped_column(default=True)
    next_at: Mapped[datetime | None] = mapped_column(index=True)
    last_run_id: Mapped[int | None]
    explanation: Mapped[str] = mapped_column(String(500), default="")
    created_at: Mapped[datetime]
    who: Mapped[str] = mapped_column(String(150))


class Drift(Base):
    """What a module of a check run would change on a host: it differs from the declaration since ``since``."""

    __tablename__ = "drift"
    __table_args__ = (UniqueConstraint("host", "module", "subject"), Index(None, "since"))

    id: Mapped[Key]
    host: Mapped[str] = mapped_column(String(253))
    module: Mapped[str] = mapped_column(String(60))
    subject: Mapped[str] = mapped_column(String(200))  # the network or object, "" if the module does not say
    commands: Mapped[list[Any]]
    since: Mapped[datetime]
    seen_at: Mapped[datetime]
    first_run_id: Mapped[int]
    last_run_id: Mapped[int]
