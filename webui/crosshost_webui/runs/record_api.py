# SPDX-License-Identifier: GPL-3.0-or-later
"""The API that records come in by, from runs on a command line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Body, Query

from ..audit import store as audit
from ..web.access import Context, Executor, Role
from ..web.openapi import errors
from . import output, service, store
from .schemas import EventsNew, Id, OutputStored, RecordNew, Registered, Stored

router = APIRouter(tags=["records"])


@router.post("/runs/record", summary="Register a run that is recorded", responses=errors(409))
def register_run(context: Executor, body: RecordNew) -> Registered:
    """By its uuid: the same again gives the same run, and says how far it is stored."""
    told = body.model_dump() | {"at": datetime.fromtimestamp(body.at / 1000, UTC) if body.at else None}
    with context.db.write() as s:
        run = service.register(s, audit.actor(context), _is_admin(context), told)
        service.announce(context.state, s, run.id)
        return Registered(id=run.id, last_seq=run.last_seq)


@router.post("/runs/{run_id}/events", summary="Store events of a record", responses=errors(404, 409))
def store_events(context: Executor, run_id: Id, body: EventsNew) -> Stored:
    """Those that are stored already are passed over. What comes after a missing number is not taken: send it again from `last_seq`
    on. No events at all say that the run is alive."""
    with context.db.write() as s:
        service.demand_recorder(service.get(s, run_id), context.who, _is_admin(context))
        last = service.ingest(s, run_id, body.events)
        service.announce(context.state, s, run_id)
    return Stored(last_seq=last)


@router.put("/runs/{run_id}/output", summary="Store a part of the raw output", responses=errors(404, 409))
def store_output(
    context: Executor,
    run_id: Id,
    content: Annotated[bytes, Body(media_type="application/octet-stream")],
    offset: Annotated[int, Query(ge=0, le=2**62, description="where it begins, in bytes")] = 0,
) -> OutputStored:
    """What is stored already is passed over; nothing may be left out."""
    with context.db.write() as s:
        run = store.run_to_change(s, service.get(s, run_id).id)
        assert run is not None
        service.demand_recorder(run, context.who, _is_admin(context))
        run.output_bytes = output.append(output.path_of(context.state.settings, run), offset, content)
        service.announce(context.state, s, run_id)
        return OutputStored(size=run.output_bytes)


def _is_admin(context: Context) -> bool:
    return context.principal.role is Role.ADMIN
