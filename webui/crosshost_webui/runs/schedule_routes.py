# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import ValidationError

from ..accounts import secret_store
from ..audit import store as audit
from ..inventory import store_pages
from ..web.access import Context, RunStarter, Viewer
from ..web.pages import go, page
from ..web.paging import Paged
from ..web.problem import NotFound, Problem
from ..web.sent import Sent
from . import options_form, schedules, store
from .models import Schedule
from .options import PLAYBOOKS
from .schemas import TEXT, Id, text_after

router = APIRouter()
USUAL = {"cron": "0 6 * * *", "enabled": "1", "playbook": "site", "check": "1", "diff": "1", "name": ""}
TIMES = 5


@router.get("/schedules")
def list_schedules(context: Viewer, paging: Paged) -> Response:
    with context.db.read() as s:
        found = store.schedules(s, paging.limit + 1, text_after(paging))
    more = found[paging.limit - 1].name if len(found) > paging.limit else None
    return page(context, "schedules/list.html", schedules=found[: paging.limit], next=more)


@router.get("/schedules/new")
def new_schedule(context: RunStarter) -> Response:
    return _form(context, USUAL)


@router.post("/schedules")
def add_schedule(context: RunStarter, sent: Sent) -> Response:
    return _save(context, None, sent)


@router.get("/schedules/times")
def times(context: RunStarter, cron: Annotated[str, Query(max_length=100, pattern=TEXT)] = "") -> Response:
    """What an expression means, for the form."""
    found: Sequence[datetime] = ()
    told = ""
    try:
        found = schedules.next_times(cron, TIMES)
    except Problem as error:
        told = error.fields.get("cron", error.detail)
    return page(context, "schedules/times.html", times=found, error=told)


@router.get("/schedules/{schedule_id}")
def edit_schedule(context: RunStarter, schedule_id: Id) -> Response:
    with context.db.read() as s:
        found = schedules.get(s, schedule_id)
    own = {"name": found.name, "cron": found.cron, "enabled": "1" if found.enabled else ""}
    return _form(context, {**options_form.show(found.options), **own}, found)


@router.post("/schedules/{schedule_id}")
def change_schedule(context: RunStarter, schedule_id: Id, sent: Sent) -> Response:
    return _save(context, schedule_id, sent)


@router.post("/schedules/{schedule_id}/delete")
def delete_schedule(context: RunStarter, schedule_id: Id) -> Response:
    with context.db.write() as s:
        found = schedules.to_change(s, schedule_id)
        schedules.delete(s, audit.actor(context), found)
    return go(context, "/schedules", ("ok", f"Schedule {found.name} is deleted."))


def _save(context: Context, schedule_id: int | None, sent: Mapping[str, str]) -> Response:
    found: Schedule | None = None
    try:
        wanted = options_form.read(sent)
        with context.db.write() as s:
            found = schedules.to_change(s, schedule_id) if schedule_id is not None else None
            name, cron = sent.get("name", ""), sent.get("cron", "")
            saved = schedules.save(
                s, audit.actor(context), found, name, cron, wanted, sent.get("enabled") == "1"
            )
    except NotFound:
        raise
    except ValidationError as error:
        return _form(context, sent, _of(context, schedule_id), options_form.problem(error))
    except Problem as error:
        return _form(context, sent, _of(context, schedule_id), error)
    return go(context, "/schedules", ("ok", f"Schedule {saved.name} is saved."))


def _of(context: Context, schedule_id: int | None) -> Schedule | None:
    if schedule_id is None:
        return None
    with context.db.read() as s:
        return schedules.get(s, schedule_id)


def _form(
    context: Context,
    values: Mapping[str, Any],
    schedule: Schedule | None = None,
    error: Problem | None = None,
) -> Response:
    with context.db.read() as s:
        places = store_pages.names(s, ["host", "group"])
        secrets = secret_store.secrets(s, None, 200)
    try:
        found = schedules.next_times(str(values.get("cron", "")), TIMES)
    except Problem:
        found = []
    return page(
        context, "schedules/form.html", error.status if error else 200, values=values, schedule=schedule, error=error,
        errors=error.fields if error else {}, playbooks=PLAYBOOKS, places=places, secrets=secrets, times=found,
    )  # fmt: skip
