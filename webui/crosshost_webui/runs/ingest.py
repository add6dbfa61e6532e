# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes in a run's record. An event counts once, whoever sends it how often; nothing is taken after a gap."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from ..db.base import now
from ..db.engine import WriteSession
from ..inventory import store as inventory
from ..web.problem import Conflict, NotFound
from . import ending, events, eventstore, store
from .models import Run

RECORDED_LEASE = timedelta(seconds=90)  # the recorder says every 15 s that it lives
_KEPT = ("play", "warning", "stats")


def ingest(s: WriteSession, run_id: int, batch: Sequence[Mapping[str, Any]]) -> int:
    """Store events and keep the counters; the number of the last one that is stored. What is stored already is passed over, and
    what comes after a missing number is left to be sent again. Invalid for an event that has not the form, Conflict for a run
    that has ended."""
    run = store.run_to_change(s, run_id)
    if run is None:
        raise NotFound(f"run {run_id}: there is none")
    found = sorted((events.read(event) for event in batch), key=lambda one: one.seq)
    fresh = _following(found, run.last_seq)
    if fresh:
        _demand_open(run)
        _store(s, run, fresh)
        run.last_seq = fresh[-1].seq
    if run.origin == "cli" and run.status in store.HELD:
        run.lease_until = now() + RECORDED_LEASE
        if fresh and fresh[-1].kind == "end":
            s.flush()
            ending.of_recorded(s, run)
    return run.last_seq


def _following(found: Sequence[events.Read], last: int) -> list[events.Read]:
    """Those that continue the record without a gap."""
    fresh: list[events.Read] = []
    for one in found:
        if one.seq == last + 1:
            fresh.append(one)
            last = one.seq
        elif one.seq > last:
            break
    return fresh


def _demand_open(run: Run) -> None:
    if run.status in store.HELD:
        return
    if run.origin == "cli" and run.status == "lost":
        run.status, run.explanation, run.ended_at = "running", "", None
        return
    raise Conflict(f"run {run.id}: it has ended as {run.status} and takes no more events")


def _store(s: WriteSession, run: Run, fresh: Sequence[events.Read]) -> None:
    rows: list[dict[str, Any]] = []
    tasks: list[dict[str, Any]] = []
    per_host: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one in fresh:
        if one.kind == "task":
            tasks.append(_task(run.id, one))
            rows.append(_row(run.id, one))
        elif one.kind == "result":
            rows.append(_row(run.id, one))
            if not one.is_item and one.host and one.status:
                per_host[one.host][events.counter(one.status)] += 1
        elif one.kind in _KEPT:
            rows.append(_row(run.id, one))
        elif one.kind == "report" and one.host and isinstance(one.raw.get("body"), dict):
            inventory.report(s, one.host, run.id, events.clean_value(one.raw["body"]))
        elif one.kind == "seen" and one.host:
            module = events.clipped(one.raw.get("module"), 40)
            inventory.saw(s, one.host, module, run.id, events.items_of(one.raw))
    eventstore.add_tasks(s, tasks)
    eventstore.add_events(s, rows)
    eventstore.count_hosts(s, run.id, per_host)
    totals = Counter(run.counts)
    for counts in per_host.values():
        totals.update(counts)
    if per_host:
        run.counts = dict(totals)


def _task(run_id: int, one: events.Read) -> dict[str, Any]:
    return {
        "run_id": run_id, "number": one.task, "started_at": one.at, "name": events.clipped(one.raw.get("name"), 300),
        "action": events.clipped(one.raw.get("action"), 200), "play": events.clipped(one.raw.get("play"), 300),
    }  # fmt: skip


def _row(run_id: int, one: events.Read) -> dict[str, Any]:
    return {
        "run_id": run_id, "seq": one.seq, "at": one.at, "kind": "item" if one.is_item else one.kind, "task": one.task,
        "host": one.host, "status": one.status, "duration_ms": events.duration(one.raw), "body": _body(one),
    }  # fmt: skip


def _body(one: events.Read) -> bytes | None:
    raw = one.raw
    if one.kind == "result":
        body = raw.get("body") if isinstance(raw.get("body"), dict) else {}
        if one.is_item:
            body = {"item": events.clipped(raw.get("item"), 200), **(body or {})}
        return events.pack(body) if body else None
    if one.kind == "stats":
        hosts = raw.get("hosts")
        return events.pack({"hosts": hosts if isinstance(hosts, dict) else {}}, events.STATS_MOST)
    if one.kind == "warning":
        return events.pack({"text": events.clipped(raw.get("text"), 4000)})
    if one.kind == "play":
        return events.pack({"name": events.clipped(raw.get("name"), 300)})
    return None
