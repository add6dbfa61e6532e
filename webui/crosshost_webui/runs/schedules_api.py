# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of schedules."""

from __future__ import annotations

from fastapi import APIRouter, Response

from ..audit import store as audit
from ..web import conditional
from ..web.access import Context, RunStarter, Viewer
from ..web.openapi import Match, errors
from ..web.paging import Paged, Part
from . import schedules, store
from .models import Schedule
from .schemas import Id, ScheduleIn, ScheduleOut, schedule_out, text_after

router = APIRouter(tags=["schedules"])


@router.get("/schedules", summary="Schedules")
def list_schedules(context: Viewer, paging: Paged) -> Part[ScheduleOut]:
    """By name."""
    with context.db.read() as s:
        found = store.schedules(s, paging.limit + 1, text_after(paging))
    more = found[paging.limit - 1].name if len(found) > paging.limit else None
    return Part(items=[schedule_out(one) for one in found[: paging.limit]], next=more)


@router.post("/schedules", summary="Add a schedule", status_code=201, responses=errors(409))
def add_schedule(context: RunStarter, body: ScheduleIn, response: Response) -> ScheduleOut:
    """For drift: a check run of site, or doctor, every hour."""
    with context.db.write() as s:
        made = schedules.save(s, audit.actor(context), None, body.name, body.cron, body.options, body.enabled)
        return _told(response, made)


@router.get("/schedules/{schedule_id}", summary="A schedule", responses=errors(404))
def get_schedule(context: Viewer, schedule_id: Id, response: Response) -> ScheduleOut:
    """With its ETag for a change."""
    with context.db.read() as s:
        return _told(response, schedules.get(s, schedule_id))


@router.put("/schedules/{schedule_id}", summary="Change a schedule", responses=errors(404, 409, 412, 428))
def change_schedule(
    context: RunStarter, schedule_id: Id, body: ScheduleIn, response: Response, _match: Match = None
) -> ScheduleOut:
    """Its next time is worked out anew."""
    with context.db.write() as s:
        found = _matched(context, schedules.to_change(s, schedule_id))
        schedules.save(s, audit.actor(context), found, body.name, body.cron, body.options, body.enabled)
        return _told(response, found)


@router.delete(
    "/schedules/{schedule_id}",
    summary="Delete a schedule",
    status_code=204,
    responses=errors(404, 412, 428),
)
def delete_schedule(context: RunStarter, schedule_id: Id, _match: Match = None) -> None:
    """Its runs stay."""
    with context.db.write() as s:
        schedules.delete(s, audit.actor(context), _matched(context, schedules.to_change(s, schedule_id)))


def _told(response: Response, one: Schedule) -> ScheduleOut:
    response.headers["ETag"] = conditional.etag(schedules.version(one))
    return schedule_out(one)


def _matched(context: Context, one: Schedule) -> Schedule:
    conditional.demand_match(
        context.request, conditional.etag(schedules.version(one)), f"schedule {one.name}"
    )
    return one
