# SPDX-License-Identifier: GPL-3.0-or-later
"""The first page: what there is, what goes on, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from fastapi import APIRouter, Response

from ..db.engine import ReadSession
from ..drift import store as drift_store
from ..drift import store_pages as drift_pages
from ..inventory import service as inventory
from ..inventory import store as inventory_store
from ..inventory import store_pages
from ..inventory.kinds import NETWORKS
from ..inventory.models import KINDS
from ..ipam import views as ipam
from ..runs import service as run_service
from ..runs import store as run_store
from ..web.access import Principal, Role, Viewer
from ..web.pages import page
from ..web.problem import Invalid
from . import settings_routes

router = APIRouter()
router.include_router(settings_routes.router)
RUNS = 7
PLANS = 5


class Step(NamedTuple):
    """Something to do. ``tone``: as of a message."""

    tone: str
    title: str
    text: str
    href: str
    label: str


@router.get("/")
def overview(context: Viewer) -> Response:
    with context.db.read() as s:
        counts = inventory_store.count(s, KINDS)
        runs = run_store.runs(s, run_store.Filters(), RUNS)
        facts: dict[str, Any] = {
            "hosts": counts["host"], "networks": sum(counts[kind] for kind in NETWORKS), "endpoints": counts["endpoint"],
            "services": counts["service"], "looked": store_pages.count_looked_at(s),
            "drift": drift_store.count_hosts(s), "since": drift_pages.oldest(s), "active": run_store.active(s),
            "revision": inventory.current(s),
            "pools": [one for one in ipam.tree(s, "cluster") if one.pool.purpose not in ("", "declared", "leaving")],
        }  # fmt: skip
        steps = list(_steps(s, facts, context.principal))
    return page(context, "overview/overview.html", runs=runs, steps=steps, counts=run_service.counts, **facts)


def _steps(s: ReadSession, facts: dict[str, Any], who: Principal) -> Iterator[Step]:
    """What to do next, the most pressing first."""
    may = who.role >= Role.OPERATOR
    try:
        parsed = inventory.parsed(s)
    except Invalid as error:
        yield Step("failed", "The declaration does not fit the hosts", error.detail, "/hosts", "Hosts")
        parsed = None
    if not facts["hosts"]:
        yield Step(
            "active", "Bring your hosts", "Import an Ansible inventory, or add the first host by hand.",
            "/inventory/import" if may else "/hosts", "Import an inventory" if may else "Hosts",
        )  # fmt: skip
        return
    if not facts["networks"]:
        yield Step(
            "active", "Add a network", "Give it a name; its subnet and VNI come from the pools.",
            "/items/overlay/new" if may else "/networks", "Add a network" if may else "Networks",
        )  # fmt: skip
    yield from _of_plans(s, who)
    yield from _of_runs(s, facts)
    if facts["drift"]:
        word = "host differs" if facts["drift"] == 1 else "hosts differ"
        yield Step(
            "changed",
            f"{facts['drift']} {word} from the declaration",
            "Somebody or something has changed them, or a run is due.",
            "/drift",
            "See what differs",
        )
    for text in parsed.warnings[:3] if parsed else ():
        yield Step(
            "changed", "A remark on the declaration", f"{text[0].upper()}{text[1:]}.", "/hosts", "Hosts"
        )
    if facts["networks"] and not run_store.schedules(s, 1):
        yield Step(
            "active", "Look each morning", "A schedule of check runs tells what drifts, and since when.",
            "/schedules/new" if may else "/schedules", "Add a schedule" if may else "Schedules",
        )  # fmt: skip


def _of_plans(s: ReadSession, who: Principal) -> Iterator[Step]:
    for plan, run in run_store.plans(s, "proposed", PLANS):
        if plan.who != who.name and who.role >= Role.OPERATOR:
            yield Step(
                "active",
                f"Plan {plan.id} waits for approval",
                f"{plan.who} made it by run {run.id}.",
                f"/plans/{plan.id}",
                "Open the plan",
            )
    for plan, _run in run_store.plans(s, "approved", PLANS):
        if plan.applied_run_id is None:
            yield Step(
                "active",
                f"Plan {plan.id} is approved",
                f"By {plan.decided_by}. It is not applied yet.",
                f"/plans/{plan.id}",
                "Open the plan",
            )


def _of_runs(s: ReadSession, facts: dict[str, Any]) -> Iterator[Step]:
    """Whether the declaration has got to the hosts."""
    revision = facts["revision"].id
    if not facts["networks"]:
        return
    applied = run_store.latest(s, "site", False, ("ok",))
    checked = run_store.latest(s, "site", True, ("ok",))
    if applied is None and checked is None:
        yield Step(
            "active",
            "See what a run would do",
            "A check run looks at every host and tells its plan; it changes nothing.",
            "/runs/new",
            "Start a check run",
        )
    elif applied is None or (applied.revision_id is not None and applied.revision_id < revision):
        told = (
            f"The last run of site was on revision {applied.revision_id}."
            if applied
            else "No run of site has ended well yet."
        )
        yield Step("changed", f"Revision {revision} is not on the hosts", told, "/runs/new", "Start a run")
