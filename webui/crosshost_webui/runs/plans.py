# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans: what a check run would change, kept to be approved by somebody else and then carried out exactly so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..audit import store as audit
from ..audit.store import Actor
from ..db.base import now
from ..db.engine import ReadSession, WriteSession
from ..web.problem import Conflict, Forbidden, NotFound
from . import events, eventstore, store
from .eventstore import Change
from .models import Plan, Run
from .options import PLAYBOOKS

NAMED = 5  # hosts that a refusal names


class Step(NamedTuple):
    """What one task would change on a host."""

    task: int
    module: str
    name: str
    commands: list[str]
    total: int  # of the commands, also of those that were too many to be kept
    digest: str


class HostPlan(NamedTuple):
    digest: str
    commands: int
    steps: int

    def stored(self) -> dict[str, Any]:
        return self._asdict()


def step(change: Change, body: Mapping[str, Any]) -> Step:
    """A changed result as a step. A module that names no commands counts as one line, itself."""
    commands = [str(one) for one in body.get("commands") or ()]
    digest = body.get("commands_digest")
    if not isinstance(digest, str):
        digest = _digest(commands)
    shown = commands or [f"{change.action}: {change.name}"]
    count = body.get("commands_count")
    return Step(
        change.task,
        change.action,
        change.name,
        shown,
        count if isinstance(count, int) else len(shown),
        digest,
    )


def by_host(found: Iterable[Change]) -> dict[str, HostPlan]:
    """The hosts that would be changed."""
    steps: dict[str, list[Step]] = {}
    for change in found:
        if change.status == "changed":
            steps.setdefault(change.host, []).append(step(change, events.unpack(change.body)))
    return {
        host: HostPlan(
            _digest([[one.module, one.name, one.digest] for one in mine]),
            sum(one.total for one in mine),
            len(mine),
        )
        for host, mine in sorted(steps.items())
    }


def differences(planned: Mapping[str, Any], found: Mapping[str, HostPlan]) -> str:
    """Why what was found is not what was planned, naming hosts; "" if it is the same."""
    told = []
    for host in sorted({*planned, *found}):
        then, today = planned.get(host), found.get(host)
        if then is None and today is not None:
            told.append(f"{host}: nothing was to be changed, and now {today.commands} commands are")
        elif then is not None and today is None:
            told.append(f"{host}: {then['commands']} commands were to be run, and now none are")
        elif then is not None and today is not None and then["digest"] != today.digest:
            told.append(
                f"{host}: the commands differ ({then['commands']} were planned, {today.commands} now)"
            )
    if not told:
        return ""
    rest = f"; and {len(told) - NAMED} more hosts" if len(told) > NAMED else ""
    return f"{'; '.join(told[:NAMED])}{rest}"


def of_records(record: Iterable[Mapping[str, Any]]) -> dict[str, HostPlan]:
    """The same out of the events of a record, as the repeated check of an executor has them."""
    tasks: dict[int, tuple[str, str]] = {}
    found = []
    for event in record:
        if event.get("kind") == "task":
            tasks[event["task"]] = (
                events.clipped(event.get("action"), 200),
                events.clipped(event.get("name"), 300),
            )
        elif event.get("kind") == "result" and "item" not in event and event.get("status") == "changed":
            action, name = tasks.get(event["task"], ("", ""))
            body = event.get("body")
            packed = events.pack(body) if isinstance(body, dict) else None
            found.append(Change(str(event["host"]), event["task"], action, name, "changed", packed))
    return by_host(found)


def propose(s: WriteSession, run: Run, found: Sequence[Change]) -> Plan | None:
    """Keep the plan of a check run that went well on all its hosts and would change something."""
    known = PLAYBOOKS.get(run.playbook)
    if known is None or not known.changes or not run.check_mode or run.status != "ok" or run.origin == "cli":
        return None
    hosts = by_host(found)
    if not hosts:
        return None
    stored = {host: one.stored() for host, one in hosts.items()}
    plan = Plan(
        run_id=run.id, digest=_digest([run.inventory_digest, [[host, one.digest] for host, one in hosts.items()]]),
        hosts=stored, status="proposed", created_at=now(), who=run.who,
    )  # fmt: skip
    s.add(plan)
    s.flush()
    return plan


def get(s: ReadSession, plan_id: int) -> Plan:
    found = store.plan(s, plan_id)
    if found is None:
        raise NotFound(f"plan {plan_id}: there is none; a check run that would change something makes one")
    return found


def to_change(s: WriteSession, plan_id: int) -> Plan:
    get(s, plan_id)
    found = store.plan_to_change(s, plan_id)
    assert found is not None
    return found


def version(plan: Plan) -> str:
    """Another one each time that somebody decides on it."""
    return f"{plan.id}-{plan.status}-{plan.digest[:16]}"


def decide(s: WriteSession, actor: Actor, plan: Plan, approve: bool, note: str = "") -> Plan:
    """Approve or reject. Forbidden for who made the plan, Conflict if it is decided already."""
    if plan.status != "proposed":
        raise Conflict(f"plan {plan.id}: it is {plan.status} already; make a new check run for a new plan")
    if approve and actor.who == plan.who:
        raise Forbidden(f"plan {plan.id}: it is yours, {actor.who}; somebody else has to approve it")
    plan.status = "approved" if approve else "rejected"
    plan.decided_by, plan.decided_at, plan.note = actor.who, now(), events.clipped(note, 1000)
    verb = "approve" if approve else "reject"
    audit.record(
        s, actor, verb, "plan", plan.id, f"plan {plan.id}", {"status": "proposed"},
        {"status": plan.status, "note": plan.note, "digest": plan.digest},
    )  # fmt: skip
    return plan


def demand_approved(plan: Plan) -> None:
    if plan.status != "approved":
        remedy = (
            "somebody else has to approve it first" if plan.status == "proposed" else "make a new check run"
        )
        raise Conflict(f"plan {plan.id}: it is {plan.status}; {remedy}")


def demand_same_inventory(plan: Plan, planned: Run, digest: str) -> None:
    if planned.inventory_digest != digest:
        raise Conflict(
            f"plan {plan.id}: the inventory has changed since it was made (then revision {planned.revision_id}); "
            "make a new check run"
        )


def steps(s: ReadSession, plan: Plan, hosts: Sequence[str]) -> Iterator[tuple[str, Step, dict[str, Any]]]:
    """What the plan does on these hosts: host, step, and the result's body with its diff."""
    for host in hosts:
        found = eventstore.results(s, plan.run_id, limit=500, host=host, statuses=("changed",))
        for one in found:
            task = eventstore.task(s, plan.run_id, one.task or 0)
            if one.kind == "result" and task is not None:
                body = events.unpack(one.body)
                change = Change(host, task.number, task.action, task.name, "changed", one.body)
                yield host, step(change, body), body


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()
