# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of runs: start, watch, cancel, and read what they did."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import AwareDatetime

from ..audit import store as audit
from ..db.engine import WriteSession
from ..web.access import Context, RunStarter, Viewer
from ..web.idempotency import Answer, IdempotencyKey, once
from ..web.openapi import errors
from ..web.paging import Paged, Part, number_after
from ..web.problem import NotFound
from . import (
    events,
    eventstore,
    output_api,
    plans_api,
    record_api,
    schedules_api,
    service,
    store,
)
from .models import Event
from .options import RunOptions
from .schemas import (
    TEXT,
    CellOut,
    HostName,
    HostOut,
    Id,
    MatrixOut,
    ResultOut,
    ResultStatus,
    RunOut,
    Status,
    TaskOut,
    Word,
    host_out,
    run_out,
    task_out,
    text_after,
)
from .store import Pulse
from .stream import stream

router = APIRouter()
runs = APIRouter(tags=["runs"])


@runs.get("/runs", summary="Runs")
def list_runs(
    context: Viewer,
    paging: Paged,
    status: Annotated[Status | None, Query(description="only these")] = None,
    active: Annotated[bool, Query(description="only those that wait or are under way")] = False,
    playbook: Word = None,
    who: Word = None,
    origin: Word = None,
    check: Annotated[bool | None, Query(description="only check runs, or only others")] = None,
    host: HostName = None,
    since: Annotated[AwareDatetime | None, Query(description="asked for at this moment or later")] = None,
) -> Part[RunOut]:
    """The newest first."""
    filters = store.Filters("active" if active else status, playbook, who, origin, check, host, since)
    with context.db.read() as s:
        found = store.runs(s, filters, paging.limit + 1, number_after(paging))
    more = str(found[paging.limit - 1].id) if len(found) > paging.limit else None
    return Part(items=[run_out(one) for one in found[: paging.limit]], next=more)


@runs.post("/runs", summary="Start a run", status_code=201, responses=errors(409), response_model=RunOut)
def start_run(context: RunStarter, body: RunOptions, idempotency_key: IdempotencyKey = None) -> Response:
    """It waits until an executor is free, and no other run of the cluster is under way."""

    def act(s: WriteSession) -> Answer:
        run = service.start(s, audit.actor(context), body, "api")
        service.announce(context.state, s, run.id)
        return _made(run_out(run))

    return once(context, idempotency_key, body, act)


@runs.get("/runs/{run_id}", summary="A run", responses=errors(404))
def get_run(context: Viewer, run_id: Id) -> RunOut:
    """With its counters."""
    with context.db.read() as s:
        return run_out(service.get(s, run_id))


@runs.post("/runs/{run_id}/cancel", summary="Cancel a run", status_code=202, responses=errors(404, 409))
def cancel_run(context: RunStarter, run_id: Id) -> RunOut:
    """All its processes are ended. What it had changed until then stays changed."""
    with context.db.write() as s:
        run = service.cancel(s, audit.actor(context), run_id)
        service.announce(context.state, s, run.id)
        return run_out(run)


@runs.post(
    "/runs/{run_id}/rerun",
    summary="Start the same again",
    status_code=201,
    responses=errors(404, 409),
    response_model=RunOut,
)
def rerun(context: RunStarter, run_id: Id, idempotency_key: IdempotencyKey = None) -> Response:
    """With the same options, on the inventory as it is now."""
    with context.db.read() as s:
        options = service.options_of(service.get(s, run_id))

    def act(s: WriteSession) -> Answer:
        run = service.rerun(s, audit.actor(context), run_id, "api")
        service.announce(context.state, s, run.id)
        return _made(run_out(run))

    return once(context, idempotency_key, options, act)


def _made(found: RunOut) -> Answer:
    return Answer.of(found, 201, {"Location": f"/api/v1/runs/{found.id}"})


@runs.get("/runs/{run_id}/hosts", summary="A run's counters by host", responses=errors(404))
def list_hosts(context: Viewer, run_id: Id, paging: Paged) -> Part[HostOut]:
    """By name."""
    with context.db.read() as s:
        service.get(s, run_id)
        found = store.hosts(s, run_id, paging.limit + 1, text_after(paging))
    more = found[paging.limit - 1].host if len(found) > paging.limit else None
    return Part(items=[host_out(one) for one in found[: paging.limit]], next=more)


@runs.get("/runs/{run_id}/tasks", summary="A run's tasks", responses=errors(404))
def list_tasks(context: Viewer, run_id: Id, paging: Paged) -> Part[TaskOut]:
    """In the order of their starts."""
    with context.db.read() as s:
        service.get(s, run_id)
        found = eventstore.tasks(s, run_id, paging.limit + 1, number_after(paging) or 0)
    more = str(found[paging.limit - 1].number) if len(found) > paging.limit else None
    return Part(items=[task_out(one) for one in found[: paging.limit]], next=more)


@runs.get("/runs/{run_id}/matrix", summary="What each task ended as on each host", responses=errors(404))
def get_matrix(context: Viewer, run_id: Id, paging: Paged) -> MatrixOut:
    """All tasks, and some of the hosts with their cells."""
    with context.db.read() as s:
        service.get(s, run_id)
        found = store.hosts(s, run_id, paging.limit + 1, text_after(paging))
        hosts = found[: paging.limit]
        cells = eventstore.cells(s, run_id, [one.host for one in hosts])
        return MatrixOut(
            tasks=[task_out(one) for one in eventstore.tasks(s, run_id)],
            hosts=[host_out(one) for one in hosts],
            cells=[CellOut(host=one.host, task=one.task, seq=one.seq, status=one.status) for one in cells],
            next=hosts[-1].host if len(found) > paging.limit else None,
        )


@runs.get("/runs/{run_id}/results", summary="A run's results", responses=errors(404))
def list_results(
    context: Viewer,
    run_id: Id,
    paging: Paged,
    host: HostName = None,
    task: Annotated[int | None, Query(ge=1, le=2**31, description="its number")] = None,
    status: Annotated[list[ResultStatus] | None, Query(description="one or more", max_length=6)] = None,
) -> Part[ResultOut]:
    """In the order in which they came."""
    with context.db.read() as s:
        service.get(s, run_id)
        found = eventstore.results(s, run_id, paging.limit + 1, number_after(paging) or 0, host, task, status)
    more = str(found[paging.limit - 1].seq) if len(found) > paging.limit else None
    return Part(items=[_result(one) for one in found[: paging.limit]], next=more)


@runs.get("/runs/{run_id}/results/{seq}", summary="A result", responses=errors(404))
def get_result(context: Viewer, run_id: Id, seq: Id) -> ResultOut:
    """With its diff and the planned commands, if it has some."""
    with context.db.read() as s:
        service.get(s, run_id)
        found = eventstore.event(s, run_id, seq)
    if found is None or found.kind not in ("result", "item"):
        raise NotFound(f"run {run_id}: result {seq}: there is none")
    return _result(found)


def _result(one: Event) -> ResultOut:
    return ResultOut.model_validate(
        {
            "seq": one.seq, "at": one.at, "task": one.task, "host": one.host, "status": one.status, "item": one.kind == "item",
            "duration_ms": one.duration_ms, "body": events.unpack(one.body),
        }
    )  # fmt: skip


class Resume(NamedTuple):
    """From where a stream goes on."""

    context: Context
    run_id: int
    pulse: Pulse
    after: int


def _resumed(
    context: Viewer,
    run_id: Id,
    last_event_id: Annotated[
        str | None, Header(max_length=40, pattern=TEXT, description="the id of the last event that came")
    ] = None,
    after: Annotated[int, Query(ge=0, le=2**62, description="the same, for a first call")] = 0,
) -> Resume:
    if last_event_id and last_event_id.isascii() and last_event_id.isdigit():
        after = min(int(last_event_id), 2**62)
    with context.db.read() as s:
        pulse = store.pulse(s, run_id)
    if pulse is None:
        raise NotFound(f"run {run_id}: there is none; it may be older than what is kept")
    return Resume(context, run_id, pulse, after)


@runs.get(
    "/runs/{run_id}/stream",
    summary="A run as it goes on",
    response_class=EventSourceResponse,
    responses=errors(404),
)
async def watch_run(resume: Annotated[Resume, Depends(_resumed)]) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events. `results` have ids, by which they go on without a gap; `run` tells the state and the counters; after `end`
    nothing comes. A stream lives ten minutes; come back with the last id."""
    async for one in stream(resume.context.state, resume.run_id, resume.pulse, resume.after):
        yield one


router.include_router(runs)
router.include_router(output_api.router)
router.include_router(record_api.router)
router.include_router(plans_api.router)
router.include_router(schedules_api.router)
