# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of runs: the list, starting one, and the run itself with its matrix, hosts, problems and output."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import ValidationError

from ..accounts import secret_store
from ..accounts import store as account_store
from ..audit import store as audit
from ..db.engine import ReadSession
from ..inventory import store_pages
from ..web.access import Context, RunStarter, Viewer
from ..web.pages import go, is_fragment, page
from ..web.paging import Paged, number_after
from ..web.problem import Invalid, Problem
from ..web.sent import Sent
from . import eventstore, options_form, output, plan_routes, result_routes, schedule_routes, service, store
from .models import ACTIVE, Run
from .options import PLAYBOOKS
from .schemas import TEXT, Id, text_after

router = APIRouter()
router.include_router(plan_routes.router)
router.include_router(schedule_routes.router)
router.include_router(result_routes.router)
Text = Annotated[str, Query(max_length=253, pattern=TEXT)]
HOSTS = 24  # columns of the matrix
HOST_ROWS = 100
PROBLEMS = 200
STATUSES = (
    ("", "any"), ("active", "under way"), "ok", "failed", "unreachable", "cancelled", "lost", "refused", "queued",
)  # fmt: skip
ORIGINS = (
    ("", "any"),
    ("page", "a page"),
    ("api", "the API"),
    ("schedule", "a schedule"),
    ("cli", "a command line"),
)
VIEWS = ("matrix", "hosts", "problems", "output")


@router.get("/runs")
def list_runs(
    context: Viewer, paging: Paged, status: Text = "", playbook: Text = "", who: Text = "", origin: Text = "",
    host: Text = "", since: Text = "",
) -> Response:  # fmt: skip
    filters = store.Filters(
        status or None, playbook.strip() or None, who.strip() or None, origin or None, None, host.strip() or None,
        _day(since),
    )  # fmt: skip
    with context.db.read() as s:
        found = store.runs(s, filters, paging.limit + 1, number_after(paging))
    more = str(found[paging.limit - 1].id) if len(found) > paging.limit else None
    shown = found[: paging.limit]
    template = "runs/table.html" if is_fragment(context.request) else "runs/list.html"
    values = {
        "status": status,
        "playbook": playbook,
        "who": who,
        "origin": origin,
        "host": host,
        "since": since,
    }
    return page(
        context, template, runs=shown, next=more, filters=values, statuses=STATUSES, origins=ORIGINS,
        moving=any(one.status in ACTIVE for one in shown), counts=service.counts,
        playbooks=(("", "any"), *PLAYBOOKS),
    )  # fmt: skip


@router.get("/runs/new")
def new_run(context: RunStarter, playbook: Text = "site", limit: Text = "") -> Response:
    known = playbook if playbook in PLAYBOOKS else "site"
    values = {
        "playbook": known,
        "limit": limit,
        "check": "1" if PLAYBOOKS[known].changes else "",
        "diff": "1",
    }
    return _new_page(context, values)


@router.post("/runs")
def start_run(context: RunStarter, sent: Sent) -> Response:
    try:
        wanted = options_form.read(sent)
        with context.db.write() as s:
            run = service.start(s, audit.actor(context), wanted, "page")
            service.announce(context.state, s, run.id)
    except ValidationError as error:
        return _new_page(context, sent, options_form.problem(error))
    except Problem as error:
        return _new_page(context, sent, error)
    return go(context, f"/runs/{run.id}")


def _new_page(context: Context, values: Mapping[str, Any], error: Problem | None = None) -> Response:
    with context.db.read() as s:
        places = store_pages.names(s, ["host", "group"])
        secrets = secret_store.secrets(s, None, 200)
        has_hosts = bool(store_pages.names(s, ["host"], 1))
    return page(
        context, "runs/new.html", error.status if error else 200, values=values, error=error,
        errors=error.fields if error else {}, playbooks=PLAYBOOKS, places=places, secrets=secrets, has_hosts=has_hosts,
    )  # fmt: skip


@router.get("/runs/{run_id}")
def show_run(
    context: Viewer, run_id: Id, paging: Paged, view: Text = "matrix", trouble: bool = False, before: int | None = None,
    at: Annotated[int | None, Query(ge=0, le=2**62)] = None,
) -> Response:  # fmt: skip
    """``view``: one of VIEWS. ``trouble``: hosts with failures only. ``before``, ``at``: of the output, in bytes."""
    chosen = view if view in VIEWS else "matrix"
    with context.db.read() as s:
        run = service.get(s, run_id)
        values = _head(s, run)
        if chosen == "matrix":
            values |= _matrix(s, run, text_after(paging), trouble)
        elif chosen == "hosts":
            values |= _hosts(s, run, text_after(paging), trouble)
        elif chosen == "problems":
            values |= _problems(s, run)
        warnings = eventstore.messages(s, run_id, ("warning",), 20)
    if chosen == "output":
        path = output.path_of(context.state.settings, run)
        values["part"] = output.part(path, after=at, before=None if at is not None else before)
    return page(
        context, "runs/detail.html", run=run, view=chosen, trouble=trouble, active=run.status in ACTIVE,
        warnings=[result_routes.body_of(one).get("text", "") for one in warnings], **values,
    )  # fmt: skip


@router.get("/runs/{run_id}/head")
def run_head(context: Viewer, run_id: Id) -> Response:
    """The part of the page that tells the state, for a page that is open while the state changes."""
    with context.db.read() as s:
        run = service.get(s, run_id)
        values = _head(s, run)
    return page(context, "runs/head.html", run=run, active=run.status in ACTIVE, **values)


@router.post("/runs/{run_id}/cancel")
def cancel_run(context: RunStarter, run_id: Id) -> Response:
    return _acted(context, run_id, "cancel")


@router.post("/runs/{run_id}/rerun")
def rerun(context: RunStarter, run_id: Id) -> Response:
    return _acted(context, run_id, "rerun")


def _acted(context: Context, run_id: int, action: str) -> Response:
    try:
        with context.db.write() as s:
            act = service.cancel if action == "cancel" else service.rerun
            run = act(s, audit.actor(context), run_id)
            service.announce(context.state, s, run.id)
    except Problem as error:
        return go(context, f"/runs/{run_id}", ("failed", error.detail))
    return go(context, f"/runs/{run.id}")


def _head(s: ReadSession, run: Run) -> dict[str, Any]:
    plan = store.plan_of_run(s, run.id)
    names = [one.name for one in secret_store.secrets(s, None, 500) if one.id in run.secrets]
    return {
        "plan": plan,
        "counts": service.counts(run),
        "secret_names": names,
        "host_count": store.count_hosts(s, run.id),
        "own": account_store.user_by_name(s, run.who) is not None,
    }


def _matrix(s: ReadSession, run: Run, after: str | None, trouble: bool) -> dict[str, Any]:
    hosts = [one.host for one in _some_hosts(s, run, HOSTS + 1, after, trouble)]
    shown = hosts[:HOSTS]
    cells = {(one.host, one.task): one for one in eventstore.cells(s, run.id, shown)} if shown else {}
    return {
        "hosts": shown,
        "tasks": eventstore.tasks(s, run.id),
        "cells": cells,
        "next": shown[-1] if len(hosts) > HOSTS else None,
    }


def _hosts(s: ReadSession, run: Run, after: str | None, trouble: bool) -> dict[str, Any]:
    found = _some_hosts(s, run, HOST_ROWS + 1, after, trouble)
    return {"hosts": found[:HOST_ROWS], "next": found[HOST_ROWS - 1].host if len(found) > HOST_ROWS else None}


def _some_hosts(s: ReadSession, run: Run, limit: int, after: str | None, trouble: bool) -> Any:
    return store.hosts_in_trouble(s, run.id, limit - 1) if trouble else store.hosts(s, run.id, limit, after)


def _problems(s: ReadSession, run: Run) -> dict[str, Any]:
    found = eventstore.results(s, run.id, PROBLEMS, statuses=("failed", "unreachable", "ignored"))
    names = {one.number: one.name for one in eventstore.tasks(s, run.id)}
    return {"problems": [(one, result_routes.body_of(one), names.get(one.task or 0, "")) for one in found]}


def _day(text: str) -> datetime | None:
    if not text:
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"since {text[:20]}: write a day such as 2026-01-31", {"since": "write a day"}
        ) from None
    return datetime(found.year, found.month, found.day, tzinfo=UTC) if 1970 <= found.year < 9000 else None
