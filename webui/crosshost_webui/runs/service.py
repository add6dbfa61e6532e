# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of runs: who may be started, cancelled, ended. An executor does the work; this row says what is so."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..accounts import secrets
from ..audit import store as audit
from ..audit.store import Actor
from ..db.base import now
from ..db.engine import ReadSession, WriteSession
from ..inventory import service as inventory
from ..web.problem import Conflict, Forbidden, Invalid, NotFound
from . import ending, plans, store
from .ingest import RECORDED_LEASE, ingest
from .models import ACTIVE, Plan, Run
from .options import RunOptions, unknown_in

if TYPE_CHECKING:
    from ..state import State

__all__ = [
    "announce", "apply", "cancel", "counts", "get", "ingest", "label", "options_of", "prune", "reap", "register", "rerun",
    "start",
]  # fmt: skip
QUEUE_MOST = 100
QUEUE = "queue"  # the topic that wakes executors
log = logging.getLogger("crosshost_webui.runs")
LOST = (
    "nothing has been heard of the executor that had it since {since}: the server was stopped or killed, or cannot reach the "
    "database. Hosts may be changed in part; the same run again completes it"
)
LOST_RECORDED = (
    "nothing has come from the command line since {since}: it was killed, or cannot reach this server. What it has recorded "
    "there comes with its next run"
)


def topic(run_id: int) -> str:
    """What streams of a run wait for."""
    return f"run {run_id}"


def announce(state: State, s: WriteSession, run_id: int) -> None:
    """Once this is committed, wake streams of the run, and executors."""
    s.afterwards(lambda: state.broker.publish(topic(run_id)))
    s.afterwards(lambda: state.broker.publish(QUEUE))


def label(run: Run) -> str:
    """A run in a few words, for the audit log."""
    return f"{run.playbook} {run.id}{' (check)' if run.check_mode else ''}"


def get(s: ReadSession, run_id: int) -> Run:
    found = store.run(s, run_id)
    if found is None:
        raise NotFound(f"run {run_id}: there is none; it may be older than what is kept")
    return found


def counts(run: Run) -> dict[str, int]:
    """All five counters."""
    return {
        name: int(run.counts.get(name, 0)) for name in ("ok", "changed", "failed", "unreachable", "skipped")
    }


def options_of(run: Run) -> RunOptions:
    """What it was started with. Conflict for a run that was recorded."""
    if run.origin == "cli":
        raise Conflict(f"run {run.id}: it was started on a command line; start it again there")
    return RunOptions.model_validate(
        {
            "playbook": run.playbook, "check": run.check_mode, "diff": run.diff_mode, "limit": run.limit, "tags": run.tags,
            "forks": run.forks, "variables": run.variables, "secrets": run.secrets,
        }
    )  # fmt: skip


def start(
    s: WriteSession,
    actor: Actor,
    options: RunOptions,
    origin: str,
    rerun_of: int | None = None,
    plan: Plan | None = None,
    schedule_id: int | None = None,
) -> Run:
    """Queue a run on the inventory as it is now. ``origin``: page, api, schedule. Invalid if it names what there is not."""
    revision = inventory.current(s)
    digest, listing = inventory.snapshot(s, revision.id)
    _demand_hosts(options, listing)
    _demand_secrets(s, options)
    if store.count_queued(s) >= QUEUE_MOST:
        raise Conflict(f"runs: {QUEUE_MOST} are waiting already; cancel some of them")
    if plan is not None:
        plans.demand_same_inventory(plan, get(s, plan.run_id), digest)
    run = store.add(
        s,
        Run(
            playbook=options.playbook, origin=origin, revision_id=revision.id, inventory_digest=digest,
            limit=options.limit, tags=options.tags, check_mode=options.check, diff_mode=options.diff,
            variables=dict(options.variables), secrets=list(options.secrets), forks=options.forks, command=[],
            who=actor.who[:150], status="queued", lock_key=options.known.lock, queued_at=now(), counts={},
            rerun_of=rerun_of, plan_id=plan.id if plan else None, schedule_id=schedule_id,
        ),
    )  # fmt: skip
    after = options.stored() | ({"plan": plan.id} if plan else {})
    audit.record(s, actor, "start", "run", run.id, label(run), None, after)
    return run


def _demand_hosts(options: RunOptions, listing: dict[str, Any]) -> None:
    hosts = listing.get("_meta", {}).get("hostvars", {})
    if not hosts:
        raise Invalid(
            "inventory: it has no hosts; add one before a run", {"limit": "the inventory has no hosts"}
        )
    unknown = unknown_in(options.limit, listing, hosts)
    if unknown:
        told = f"{unknown!r} is no host or group of the inventory"
        raise Invalid(f"limit: {told}; take one of those under Hosts", {"limit": told})


def _demand_secrets(s: WriteSession, options: RunOptions) -> None:
    """All of them are there; passwords for becoming root are one at most, for only one can be given."""
    kinds = []
    for secret_id in options.secrets:
        try:
            kinds.append(secrets.get(s, secret_id).kind)
        except NotFound as error:
            raise Invalid(f"secrets: {error.detail}", {"secrets": error.detail}) from None
    if kinds.count("become_password") > 1:
        told = "more than one password for becoming root; choose one"
        raise Invalid(f"secrets: {told}", {"secrets": told})


def rerun(s: WriteSession, actor: Actor, run_id: int, origin: str = "page") -> Run:
    """The same again, on the inventory as it is now. The plan that a run has applied is not applied again."""
    before = get(s, run_id)
    return start(s, actor, options_of(before), origin, rerun_of=before.id)


def apply(s: WriteSession, actor: Actor, plan_id: int, origin: str = "page") -> Run:
    """Queue the run that carries an approved plan out. It first checks again, and refuses if anything is otherwise than planned."""
    plan = plans.to_change(s, plan_id)
    plans.demand_approved(plan)
    if plan.applied_run_id is not None:
        earlier = store.run(s, plan.applied_run_id)
        if earlier is not None and earlier.status in ACTIVE:
            raise Conflict(f"plan {plan.id}: run {earlier.id} is applying it already")
    planned = get(s, plan.run_id)
    options = options_of(planned).model_copy(update={"check": False})
    run = start(s, actor, options, origin, plan=plan)
    plan.applied_run_id = run.id
    audit.record(s, actor, "apply", "plan", plan.id, f"plan {plan.id}", None, {"run": run.id})
    return run


def cancel(s: WriteSession, actor: Actor, run_id: int) -> Run:
    """End a run. One that waits ends at once; one that is under way when its executor has ended all its processes."""
    run = get(s, run_id)
    if run.origin == "cli":
        raise Conflict(f"run {run_id}: it runs on a command line, of {run.who}; end it there")
    moment = now()
    told = f"cancelled by {actor.who} before it began"
    done = {"status": "cancelled", "cancel_by": actor.who[:150], "ended_at": moment, "explanation": told}
    is_waiting = store.swap(s, run_id, ("queued",), done)
    if not is_waiting:
        values = {"status": "cancelling", "cancel_by": actor.who[:150]}
        if not store.swap(s, run_id, ("claimed", "running"), values):
            s.refresh(run)
            if run.status != "cancelling":
                raise Conflict(f"run {run_id}: it has ended already, as {run.status}")
            return run
    audit.record(s, actor, "cancel", "run", run_id, label(run), None, {"was waiting": is_waiting})
    s.refresh(run)
    return run


def register(s: WriteSession, actor: Actor, is_admin: bool, told: dict[str, Any]) -> Run:
    """A run that a command line records, by its uuid; the same again gives the same run. Forbidden if it is somebody else's."""
    found = store.run_by_uuid(s, told["uuid"])
    if found is not None:
        demand_recorder(found, actor.who, is_admin)
        return found
    moment = now()
    name = str(told["playbook"])
    run = store.add(
        s,
        Run(
            playbook=name[:60], origin="cli", uuid=told["uuid"], limit=told["limit"][:500], tags=told["tags"][:300],
            check_mode=told["check"], diff_mode=told["diff"], forks=told["forks"] or None, variables={}, secrets=[],
            command=["ansible-playbook", name], who=actor.who[:150], status="running", counts={},
            lock_key=f"recorded {told['uuid']}", queued_at=moment, started_at=told["at"] or moment,
            lease_until=moment + RECORDED_LEASE,
        ),
    )  # fmt: skip
    audit.record(
        s,
        actor,
        "record",
        "run",
        run.id,
        label(run),
        None,
        {"user": told["user"], "ansible": told["ansible"]},
    )
    return run


def demand_recorder(run: Run, who: str, is_admin: bool) -> None:
    """Only who has registered a run sends its events."""
    if run.origin != "cli":
        raise Conflict(f"run {run.id}: it has an executor on the server, which alone records it")
    if run.who != who and not is_admin:
        raise Forbidden(f"run {run.id}: {run.who} records it; use a token of that account")


def reap(s: WriteSession, moment: datetime | None = None, spare: Collection[int] = ()) -> list[int]:
    """Turn runs whose holder is silent into lost ones, but for those to be spared; their ids."""
    found = []
    for run in store.expired(s, moment or now()):
        if run.id in spare:
            continue
        told = LOST_RECORDED if run.origin == "cli" else LOST
        since = (run.lease_until or now()).strftime("%H:%M:%S UTC")
        ending.conclude(s, run, "lost", told.format(since=since))
        found.append(run.id)
    return found


def prune(state: State, moment: datetime | None = None, most: int = 50) -> int:
    """Remove the oldest runs with what is kept of them, each in a transaction of its own; how many."""
    before = (moment or now()) - timedelta(seconds=state.settings.keep_runs)
    with state.db.read() as s:
        found: Sequence[int] = store.old(s, before, most)
    for run_id in found:
        with state.db.write() as s:
            removed = store.remove(s, run_id)
        if removed:
            shutil.rmtree(state.settings.runs_dir / str(run_id), ignore_errors=True)
    return len(found)
