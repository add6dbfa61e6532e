# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of plans: what a check run would change, and the decision about it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from ..audit import store as audit
from ..web import diffs
from ..web.access import Context, RunStarter, Viewer
from ..web.pages import go, page
from ..web.paging import Paged, number_after
from ..web.problem import Problem
from ..web.sent import Sent
from . import plans, service, store
from .schemas import TEXT, Id, text_after

router = APIRouter()
HOSTS = 10  # on one page, with their commands
Text = Annotated[str, Query(max_length=20, pattern=TEXT)]
STATUSES = (("", "any"), "proposed", "approved", "rejected", "applied", "refused")


@router.get("/plans")
def list_plans(context: Viewer, paging: Paged, status: Text = "") -> Response:
    with context.db.read() as s:
        found = store.plans(s, status or None, paging.limit + 1, number_after(paging))
    more = str(found[paging.limit - 1][0].id) if len(found) > paging.limit else None
    return page(
        context, "plans/list.html", plans=found[: paging.limit], next=more, chosen=status, statuses=STATUSES
    )


@router.get("/plans/{plan_id}")
def show_plan(context: Viewer, plan_id: Id, paging: Paged) -> Response:
    after = text_after(paging) or ""
    with context.db.read() as s:
        plan = plans.get(s, plan_id)
        run = service.get(s, plan.run_id)
        names = [name for name in sorted(plan.hosts) if name > after]
        shown: dict[str, list[dict[str, Any]]] = {name: [] for name in names[:HOSTS]}
        for host, step, body in plans.steps(s, plan, list(shown)):
            shown[host].append({**step._asdict(), "lines": diffs.of_result(body.get("diff"))})
    more = list(shown)[-1] if len(names) > HOSTS else None
    return page(
        context, "plans/detail.html", plan=plan, run=run, hosts=shown, next=more,
        commands=sum(one["commands"] for one in plan.hosts.values()), is_mine=plan.who == context.who,
    )  # fmt: skip


@router.post("/plans/{plan_id}/approve")
def approve(context: RunStarter, plan_id: Id, sent: Sent) -> Response:
    return _decided(context, plan_id, True, sent.get("note", ""))


@router.post("/plans/{plan_id}/reject")
def reject(context: RunStarter, plan_id: Id, sent: Sent) -> Response:
    return _decided(context, plan_id, False, sent.get("note", ""))


@router.post("/plans/{plan_id}/apply")
def apply(context: RunStarter, plan_id: Id) -> Response:
    try:
        with context.db.write() as s:
            run = service.apply(s, audit.actor(context), plan_id)
            service.announce(context.state, s, run.id)
    except Problem as error:
        return go(context, f"/plans/{plan_id}", ("failed", error.detail))
    return go(context, f"/runs/{run.id}")


def _decided(context: Context, plan_id: int, is_approved: bool, note: str) -> Response:
    try:
        with context.db.write() as s:
            plan = plans.to_change(s, plan_id)
            plans.decide(s, audit.actor(context), plan, is_approved, note)
    except Problem as error:
        return go(context, f"/plans/{plan_id}", ("failed", error.detail))
    told = "The plan is approved. Apply it when it suits." if is_approved else "The plan is rejected."
    return go(context, f"/plans/{plan_id}", ("ok" if is_approved else "active", told))
