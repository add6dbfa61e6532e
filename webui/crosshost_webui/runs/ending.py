# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run ends: its last state, and what is learnt from it (a plan, drift)."""

from __future__ import annotations

from ..db.base import now
from ..db.engine import WriteSession
from ..drift import service as drift
from . import events, eventstore, plans, store
from .models import Run

INTERRUPTED = (
    "the playbook ended without statistics: it was interrupted, or could not begin; what it had changed until then stays "
    "changed, and the same run again completes it"
)
_RC_UNREACHABLE = 4
_RC_INTERRUPTED = 99


def conclude(s: WriteSession, run: Run, status: str, explanation: str = "", rc: int | None = None) -> None:
    """Set the run's last state. Everything that was recorded must be stored by now. The caller publishes."""
    run.status, run.explanation, run.rc = status, explanation[:1000], rc
    run.ended_at, run.lease_until, run.pid, run.pid_start = now(), None, None, None
    eventstore.end_hosts(s, run.id, [one.host for one in store.hosts(s, run.id, limit=100_000)])
    if status in ("ok", "failed", "unreachable"):
        found = list(eventstore.outcomes(s, run.id))
        drift.learn(s, run, found)
        plans.propose(s, run, found)


def of_recorded(s: WriteSession, run: Run) -> None:
    """End a run that somebody's command line has recorded, as its statistics say."""
    stats = eventstore.messages(s, run.id, ("stats",), limit=1)
    if not stats:
        conclude(s, run, "lost", INTERRUPTED)
        return
    hosts = events.unpack(stats[0].body).get("hosts")
    counts = [one for one in hosts.values() if isinstance(one, dict)] if isinstance(hosts, dict) else []
    failed = any(one.get("failed") for one in counts)
    unreachable = any(one.get("unreachable") for one in counts)
    conclude(s, run, "failed" if failed else "unreachable" if unreachable else "ok")


def status_of(rc: int, unreachable: bool) -> tuple[str, str]:
    """The state and its explanation for what ansible-playbook exited with. ``unreachable``: whether a host was so; the same status
    is that of a playbook that cannot be read."""
    if rc == 0:
        return "ok", ""
    if rc == _RC_UNREACHABLE and unreachable:
        return "unreachable", "some hosts could not be reached; the others are done"
    if rc == _RC_INTERRUPTED:
        return "failed", "the playbook was interrupted on the server"
    if rc == 2:
        return "failed", "tasks failed on some hosts; the results say why"
    if rc < 0:
        return "failed", f"ansible-playbook was ended by signal {-rc} from outside; the output may say why"
    return "failed", f"ansible-playbook ended with status {rc}; the end of the output says why"
