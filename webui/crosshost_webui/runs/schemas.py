# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API of runs takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from ..web.paging import Paging
from ..web.problem import Invalid
from . import plans, service
from .models import Plan, Run, RunHost, RunTask, Schedule
from .options import RunOptions

Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
TEXT = r"^[^\x00]*$"  # PostgreSQL takes no NUL
Word = Annotated[str | None, Query(max_length=150, pattern=TEXT)]
HostName = Annotated[str | None, Query(max_length=253, pattern=TEXT)]
Status = Literal[
    "queued", "claimed", "running", "cancelling", "ok", "failed", "unreachable", "cancelled", "lost", "refused"
]  # fmt: skip
ResultStatus = Literal["ok", "changed", "failed", "ignored", "unreachable", "skipped"]


def text_after(paging: Paging) -> str | None:
    """`after` of a list whose parts are known by a name. Invalid for what no name has."""
    if paging.after is not None and "\0" in paging.after:
        told = "it is not the `next` of a part of this list"
        raise Invalid(f"after: {told}; begin again without it", {"after": told})
    return paging.after


class Counts(BaseModel):
    """Results by what they ended as. An ignored failure counts as ok."""

    ok: int = Field(default=0, examples=[38])
    changed: int = Field(default=0, examples=[4])
    failed: int = 0
    unreachable: int = 0
    skipped: int = Field(default=0, examples=[7])


class RunOut(BaseModel):
    """A run."""

    id: int = Field(examples=[12])
    playbook: str = Field(
        description="site, doctor, teardown; the file name of one that was recorded", examples=["site"]
    )
    status: Status
    explanation: str = Field(description="why it ended so, if its status does not say all")
    origin: Literal["page", "api", "schedule", "cli"] = Field(
        description="cli: recorded by the callback plugin"
    )
    who: str = Field(examples=["ann"])
    check: bool
    diff: bool
    limit: str = Field(examples=["web1,web2"])
    tags: str = Field(examples=["overlay"])
    forks: int | None
    variables: dict[str, Any]
    secrets: list[int] = Field(description="ids")
    revision: int | None = Field(description="of the inventory; null for a recorded run", examples=[7])
    inventory_digest: str
    command: list[str] = Field(description="as it was started")
    counts: Counts
    rc: int | None = Field(description="what ansible-playbook exited with")
    last_seq: int = Field(description="number of the last event that is stored")
    output_bytes: int
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    cancelled_by: str | None
    rerun_of: int | None
    plan: int | None = Field(description="the plan that it applies")
    schedule: int | None = Field(description="the schedule that started it")


def run_out(run: Run) -> RunOut:
    return RunOut.model_validate(
        {
            "id": run.id, "playbook": run.playbook, "status": run.status, "explanation": run.explanation, "origin": run.origin, "who": run.who,
            "check": run.check_mode, "diff": run.diff_mode, "limit": run.limit, "tags": run.tags, "forks": run.forks, "variables": run.variables,
            "secrets": run.secrets, "revision": run.revision_id, "inventory_digest": run.inventory_digest, "command": run.command,
            "counts": Counts(**service.counts(run)), "rc": run.rc, "last_seq": run.last_seq, "output_bytes": run.output_bytes,
            "queued_at": run.queued_at, "started_at": run.started_at, "ended_at": run.ended_at, "cancelled_by": run.cancel_by,
            "rerun_of": run.rerun_of, "plan": run.plan_id, "schedule": run.schedule_id,
        }
    )  # fmt: skip


class HostOut(Counts):
    """The counters of a host in a run."""

    host: str = Field(examples=["web1"])
    ended_at: datetime | None


def host_out(one: RunHost) -> HostOut:
    return HostOut(
        host=one.host, ok=one.ok, changed=one.changed, failed=one.failed, unreachable=one.unreachable, skipped=one.skipped,
        ended_at=one.ended_at,
    )  # fmt: skip


class TaskOut(BaseModel):
    """A task, in the order of their starts."""

    number: int = Field(examples=[3])
    name: str = Field(examples=["Make the networks"])
    action: str = Field(examples=["crosshost.network.overlay_network"])
    play: str
    started_at: datetime


def task_out(one: RunTask) -> TaskOut:
    return TaskOut(
        number=one.number, name=one.name, action=one.action, play=one.play, started_at=one.started_at
    )


class ResultOut(BaseModel):
    """What a task did on a host. ``item``: one turn of a loop, before the result of the whole task."""

    seq: int = Field(examples=[118])
    at: datetime
    task: int
    host: str
    status: ResultStatus
    item: bool = False
    duration_ms: int | None = None
    body: dict[str, Any] = Field(
        description="msg, commands, diff, rc, stdout and such; `censored`: hidden by no_log; `truncated`: cut at 64 KB"
    )


class CellOut(BaseModel):
    """One cell of the matrix of hosts and tasks."""

    host: str
    task: int
    seq: int = Field(description="of the result")
    status: str


class MatrixOut(BaseModel):
    """Hosts by tasks."""

    tasks: list[TaskOut]
    hosts: list[HostOut]
    cells: list[CellOut]
    next: str | None = Field(description="what to send as `after` for the following hosts")


class SpanOut(BaseModel):
    classes: str
    text: str


class LineOut(BaseModel):
    """A line of the output. ``more``: bytes of it that are not shown."""

    offset: int
    number: int
    spans: list[SpanOut]
    more: int = 0


class LinesOut(BaseModel):
    """A part of the output, by byte offsets."""

    lines: list[LineOut]
    begin: int
    end: int
    size: int


class FoundOut(BaseModel):
    """Lines with what was looked for. ``next``: what to send as `after` to go on; null: the end was reached."""

    lines: list[LineOut]
    next: int | None


class RecordNew(BaseModel):
    """A run that somebody's command line records."""

    model_config = ConfigDict(extra="ignore")

    uuid: str = Field(pattern=r"^[0-9a-fA-F-]{8,64}$", examples=["0b9f2a8e-3c55-4a6f-9a39-2f4c5d3f0a11"])
    playbook: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_. -]{0,59}$", examples=["site.yml"])
    check: bool = False
    diff: bool = False
    limit: str = Field(default="", max_length=4000, pattern=TEXT)
    tags: str = Field(default="", max_length=4000, pattern=TEXT)
    forks: int = Field(default=0, ge=0, le=100_000)
    ansible: str = Field(default="", max_length=40, pattern=TEXT)
    user: str = Field(default="", max_length=150, pattern=TEXT)
    at: int | None = Field(default=None, ge=0, le=253_402_300_799_000, description="ms since 1970")


class Registered(BaseModel):
    id: int = Field(examples=[12])
    last_seq: int = Field(description="number of the last event that is stored; send what comes after it")


class EventsNew(BaseModel):
    """Events of a record, as the callback plugin writes them, each with its `seq`."""

    events: list[dict[str, Any]] = Field(
        max_length=1000,
        examples=[[{"seq": 4, "at": 1795200307391, "kind": "result", "task": 1, "host": "web1", "status": "ok", "ms": 58}]],
    )  # fmt: skip


class Stored(BaseModel):
    last_seq: int


class OutputStored(BaseModel):
    size: int


class PlanHostOut(BaseModel):
    host: str
    commands: int
    steps: int


class PlanOut(BaseModel):
    """A plan. ``hosts``: how many would be changed."""

    id: int
    run: int = Field(description="the check run that it came from")
    status: Literal["proposed", "approved", "rejected", "applied", "refused"]
    digest: str = Field(description="of the inventory and of every host's commands")
    hosts: int
    commands: int
    created_at: datetime
    who: str
    decided_by: str | None
    decided_at: datetime | None
    applied_run: int | None
    note: str


def plan_out(plan: Plan) -> PlanOut:
    return PlanOut.model_validate(
        {
            "id": plan.id, "run": plan.run_id, "status": plan.status, "digest": plan.digest, "hosts": len(plan.hosts),
            "commands": sum(one["commands"] for one in plan.hosts.values()), "created_at": plan.created_at, "who": plan.who,
            "decided_by": plan.decided_by, "decided_at": plan.decided_at, "applied_run": plan.applied_run_id, "note": plan.note,
        }
    )  # fmt: skip


class StepOut(BaseModel):
    """What one task would do on a host."""

    task: int
    module: str
    name: str
    commands: list[str]
    total: int = Field(description="of the commands, also of those that were too many to be kept")
    diff: Any = None


def step_out(one: plans.Step, body: dict[str, Any]) -> StepOut:
    return StepOut(
        task=one.task,
        module=one.module,
        name=one.name,
        commands=one.commands,
        total=one.total,
        diff=body.get("diff"),
    )


class PlanHostSteps(PlanHostOut):
    actions: list[StepOut]


class Decision(BaseModel):
    model_config = ConfigDict(extra="forbid")

    note: str = Field(default="", max_length=1000, pattern=TEXT, description="for others to read")


class ScheduleIn(BaseModel):
    """A run at times."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=150, examples=["Drift, each hour"])
    cron: str = Field(
        max_length=100, description="minute, hour, day, month, weekday; in UTC", examples=["17 * * * *"]
    )
    options: RunOptions
    enabled: bool = True


class ScheduleOut(BaseModel):
    """A schedule, with its next time."""

    id: int
    name: str
    cron: str
    enabled: bool
    options: dict[str, Any] = Field(description="as a run is started with; what is not here has its default")
    next_at: datetime | None
    last_run: int | None
    explanation: str = Field(description="why the last time was passed over, if it was")
    who: str
    created_at: datetime


def schedule_out(one: Schedule) -> ScheduleOut:
    return ScheduleOut(
        id=one.id, name=one.name, cron=one.cron, options=one.options, enabled=one.enabled, next_at=one.next_at,
        last_run=one.last_run_id, explanation=one.explanation, who=one.who, created_at=one.created_at,
    )  # fmt: skip
