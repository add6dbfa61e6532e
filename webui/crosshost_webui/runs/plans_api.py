# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of plans: look, approve, apply."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from ..audit import store as audit
from ..db.engine import WriteSession
from ..web import conditional
from ..web.access import Context, RunStarter, Viewer
from ..web.idempotency import Answer, IdempotencyKey, once
from ..web.openapi import Match, errors
from ..web.paging import Paged, Part, number_after
from . import plans, service, store
from .models import Plan
from .schemas import (
    Decision,
    Id,
    PlanHostSteps,
    PlanOut,
    RunOut,
    plan_out,
    run_out,
    step_out,
    text_after,
)

router = APIRouter(tags=["plans"])
PlanStatus = Literal["proposed", "approved", "rejected", "applied", "refused"]


class _Nothing(BaseModel):
    """A request without a body."""


@router.get("/plans", summary="Plans")
def list_plans(
    context: Viewer, paging: Paged, status: Annotated[PlanStatus | None, Query(description="only these")] = None
) -> Part[PlanOut]:  # fmt: skip
    """The newest first."""
    with context.db.read() as s:
        found = [plan for plan, _run in store.plans(s, status, paging.limit + 1, number_after(paging))]
    more = str(found[paging.limit - 1].id) if len(found) > paging.limit else None
    return Part(items=[plan_out(one) for one in found[: paging.limit]], next=more)


@router.get("/plans/{plan_id}", summary="A plan", responses=errors(404))
def get_plan(context: Viewer, plan_id: Id, response: Response) -> PlanOut:
    """With its ETag for a decision."""
    with context.db.read() as s:
        return _told(response, plans.get(s, plan_id))


@router.get("/plans/{plan_id}/hosts", summary="What a plan does on each host", responses=errors(404))
def list_plan_hosts(context: Viewer, plan_id: Id, paging: Paged) -> Part[PlanHostSteps]:
    """By name, with the commands and the diffs."""
    after = text_after(paging) or ""
    with context.db.read() as s:
        plan = plans.get(s, plan_id)
        names = [name for name in sorted(plan.hosts) if name > after]
        chosen = names[: paging.limit]
        found: dict[str, PlanHostSteps] = {
            name: PlanHostSteps(
                host=name,
                commands=plan.hosts[name]["commands"],
                steps=plan.hosts[name]["steps"],
                actions=[],
            )
            for name in chosen
        }
        for host, step, body in plans.steps(s, plan, chosen):
            found[host].actions.append(step_out(step, body))
    return Part(items=list(found.values()), next=chosen[-1] if len(names) > paging.limit else None)


@router.post("/plans/{plan_id}/approve", summary="Approve a plan", responses=errors(404, 409, 412, 428))
def approve_plan(
    context: RunStarter, plan_id: Id, body: Decision, response: Response, _match: Match = None
) -> PlanOut:
    """Not by who made it."""
    return _decided(context, plan_id, True, body.note, response)


@router.post("/plans/{plan_id}/reject", summary="Reject a plan", responses=errors(404, 409, 412, 428))
def reject_plan(
    context: RunStarter, plan_id: Id, body: Decision, response: Response, _match: Match = None
) -> PlanOut:
    """For good."""
    return _decided(context, plan_id, False, body.note, response)


def _decided(context: Context, plan_id: int, approve: bool, note: str, response: Response) -> PlanOut:
    with context.db.write() as s:
        plan = plans.to_change(s, plan_id)
        conditional.demand_match(context.request, conditional.etag(plans.version(plan)), f"plan {plan.id}")
        plans.decide(s, audit.actor(context), plan, approve, note)
        return _told(response, plan)


@router.post(
    "/plans/{plan_id}/apply",
    summary="Carry an approved plan out",
    status_code=201,
    responses=errors(404, 409),
    response_model=RunOut,
)
def apply_plan(context: RunStarter, plan_id: Id, idempotency_key: IdempotencyKey = None) -> Response:
    """Its run first checks again, and changes nothing if the inventory or what is to be done on any host is otherwise than planned."""

    def act(s: WriteSession) -> Answer:
        run = service.apply(s, audit.actor(context), plan_id, "api")
        service.announce(context.state, s, run.id)
        return Answer.of(run_out(run), 201, {"Location": f"/api/v1/runs/{run.id}"})

    return once(context, idempotency_key, _Nothing(), act)


def _told(response: Response, plan: Plan) -> PlanOut:
    response.headers["ETag"] = conditional.etag(plans.version(plan))
    return plan_out(plan)
