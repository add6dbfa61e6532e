# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries one claimed run out: its files, its processes, its record, its end."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from ..accounts import secrets as secret_rules
from ..db.base import now
from ..db.engine import WriteSession
from ..inventory import service as inventory
from ..runs import ending, plans, service, store
from ..runs.models import Run
from ..web.problem import Problem
from . import command, inventory_file, orphans
from .folder import Folder, Phase
from .identity import Identity
from .launch import Ended, Launched, Pipes, Secrets, launch
from .tail import Tail

if TYPE_CHECKING:
    from ..state import State

ROUND = 0.1  # seconds between looks at the record
LOOK = 1.0  # at whether somebody wants it to end
RENEW = 5.0
LEASE = timedelta(seconds=30)
RETRY = 1.0  # while the database does not take anything
STAYS = "what it had changed until then stays changed, and the same run again completes it"
log = logging.getLogger("crosshost_webui.executor")


class Refused(Exception):  # noqa: N818 - no fault: the run ends so
    """The run ends before it changes anything. ``status``: refused, cancelled or failed."""

    def __init__(self, status: str, explanation: str) -> None:
        super().__init__(explanation)
        self.status = status
        self.explanation = explanation


class Worker:
    """One run, in a thread. ``wake``: look at once whether it is to end. ``stop``: the server stops."""

    def __init__(self, state: State, run_id: int, identity: Identity) -> None:
        self.state = state
        self.run_id = run_id
        self.identity = identity
        self.folder = Folder(state.settings.runs_dir, run_id)
        self.wake = threading.Event()
        self.stopping = False
        self.launched: Launched | None = None
        self.disowned = False  # somebody else has ended the run's row
        self._output = 0
        self._said = ""
        self._looked = self._renewed = time.monotonic()
        self.thread = threading.Thread(target=self._run, name=f"run {run_id}", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.stopping = True
        self.wake.set()

    def _run(self) -> None:
        try:
            status, explanation, rc = self._work()
        except Refused as refusal:
            status, explanation, rc = refusal.status, refusal.explanation, None
        except Problem as error:
            status, explanation, rc = "failed", f"it could not begin: {error.detail}", None
        except OSError as error:
            status, explanation, rc = (
                "failed",
                f"it could not begin: {error.filename or 'the disk'}: {error.strerror}",
                None,
            )
        except Exception:
            log.exception("run %d: a fault of the executor", self.run_id)
            self._end_processes()
            status, rc = "lost", None
            explanation = f"a fault of the server ended it, and the server's log has the details; {STAYS}"
        if not self.disowned:
            self._persist(lambda s: self._conclude(s, status, explanation, rc))
            self.folder.tidy()

    def _work(self) -> tuple[str, str, int | None]:
        """The run's status, explanation, and what ansible-playbook exited with."""
        run, secrets = self._prepared()
        if run.plan_id is not None:
            self._check_again(run, secrets)
        self._note_on_output(run, "applying the plan")
        phase = self.folder.phase("run")
        ended = self._phase(run, phase, run.check_mode, secrets, Tail(phase.record, run.last_seq))
        return self._outcome(ended)

    def _prepared(self) -> tuple[Run, Secrets]:
        """The run's files are there, its secrets open."""
        with self.state.db.write() as s:
            run = service.get(s, self.run_id)
            digest, listing = inventory.snapshot(s, run.revision_id or 0)
            secrets = self._opened(s, run)
        if digest != run.inventory_digest:
            raise Refused(
                "refused", f"the inventory of revision {run.revision_id} is not what the run was started on"
            )
        self.folder.make()
        self.folder.write(self.folder.inventory, inventory_file.render(listing))
        self.folder.write(self.folder.variables, json.dumps(run.variables))
        self.folder.write(self.folder.settings, "[defaults]\n")
        return run, secrets

    def _opened(self, s: WriteSession, run: Run) -> Secrets:
        found: dict[str, list[str]] = {"ssh_key": [], "vault_password": [], "become_password": []}
        for secret_id in run.secrets:
            kind = secret_rules.get(s, secret_id).kind
            found[kind].append(secret_rules.open_secret(self.state, s, secret_id).decode())
        become = found["become_password"]
        return Secrets(found["ssh_key"], found["vault_password"], become[0] if become else None)

    def _check_again(self, run: Run, secrets: Secrets) -> None:
        """Refused unless a check run of now finds exactly what the plan says."""
        with self.state.db.read() as s:
            plan = plans.get(s, run.plan_id or 0)
            planned = service.get(s, plan.run_id)
        if planned.inventory_digest != run.inventory_digest:
            raise Refused(
                "refused", "the inventory has changed since the plan was made; make a new check run"
            )
        self._note_on_output(run, "checking again whether the plan still holds")
        phase = self.folder.phase("check")
        record: list[dict[str, Any]] = []
        ended = self._phase(run, phase, True, secrets, Tail(phase.record), keep=record)
        status, explanation, rc = self._outcome(ended)
        if status != "ok":
            if ended.reason == "ended":
                told = f"the check before it ended with status {rc}, and nothing was changed: {explanation}"
                raise Refused("refused", told)
            raise Refused(status, explanation)
        told = plans.differences(plan.hosts, plans.of_records(record))
        if told:
            raise Refused(
                "refused",
                f"nothing was changed, for the hosts are not as planned: {told}; make a new check run",
            )

    def _note_on_output(self, run: Run, text: str) -> None:
        if run.plan_id is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            with os.fdopen(os.open(self.folder.output, flags, 0o600), "wb") as file:
                file.write(f"\n== {text} ==\n".encode())

    def _phase(
        self, run: Run, phase: Phase, check: bool, secrets: Secrets, tail: Tail, keep: list[dict[str, Any]] | None = None
    ) -> Ended:  # fmt: skip
        """Run ansible-playbook to its end. Its record goes into the database, or into ``keep``."""
        if not self._is_wanted():
            raise Refused("cancelled", "cancelled before it began")
        pipes = Pipes(secrets)
        forks = run.forks or self.state.settings.forks
        argv = command.argv(run, self.folder, check, forks, pipes.vaults, pipes.become is not None)
        environment = command.environment(self.folder, phase, pipes.mask, os.environ, bool(secrets.ssh_keys))
        self.launched = launch(self.folder, phase, argv, environment, secrets, pipes)
        self._persist(lambda s: self._began(s, argv))
        while (ended := self.launched.ended()) is None:
            self._look_after(tail, keep)
            self.wake.wait(ROUND)
            self.wake.clear()
        if ended.reason == "killed":
            orphans.end(phase, self.launched.pid, self.launched.start)
        self._take(tail, keep, to_the_end=True)
        return ended

    def _look_after(self, tail: Tail, keep: list[dict[str, Any]] | None) -> None:
        assert self.launched is not None
        self._take(tail, keep)
        moment = time.monotonic()
        if self.stopping:
            self._say("stop")
        if moment - self._renewed > RENEW:
            self._renewed = moment
            self._try(self._renew)
        elif moment - self._looked > LOOK or self.wake.is_set():
            self._looked = moment
            if not self._is_wanted():
                self._say("cancel")
        if self.disowned:
            self._say("stop")

    def _say(self, word: str) -> None:
        if not self._said and self.launched is not None:
            self._said = word
            self.launched.say(word)

    def _is_wanted(self) -> bool:
        """False once somebody has cancelled it."""
        try:
            with self.state.db.read() as s:
                found = store.pulse(s, self.run_id)
        except DBAPIError:
            return True
        if found is None or found.status not in store.HELD:
            self.disowned = True
        return found is not None and found.status in ("claimed", "running")

    def _renew(self, s: WriteSession) -> None:
        lease = {"lease_until": now() + LEASE}
        if not store.swap(s, self.run_id, store.HELD, lease, self.identity.id):
            self.disowned = True
            log.error("run %d: another server has ended it; its processes are ended too", self.run_id)

    def _began(self, s: WriteSession, argv: list[str]) -> None:
        assert self.launched is not None
        run = store.run_to_change(s, self.run_id)
        if run is None:
            self.disowned = True
            return
        run.command, run.pid, run.pid_start = argv, self.launched.pid, self.launched.start
        run.started_at = run.started_at or now()
        run.lease_until = now() + LEASE
        if run.status == "claimed":
            run.status = "running"
        service.announce(self.state, s, run.id)

    def _take(self, tail: Tail, keep: list[dict[str, Any]] | None, to_the_end: bool = False) -> None:
        """Move what the record has into the database. What it does not take now stays in the file, and is tried again."""
        while not self.disowned:
            found = tail.read()
            if keep is not None:
                keep += found
                tail.acknowledge(found[-1]["seq"] if found else 0)
            size = self.folder.output.stat().st_size if self.folder.output.exists() else 0
            if (found and keep is None) or size != self._output:
                fresh = found if keep is None else []
                save = self._persist if to_the_end else self._try
                if save(lambda s, fresh=fresh, size=size: self._store(s, tail, fresh, size)):  # type: ignore[misc]
                    self._output = size
            if not found or not to_the_end:
                return

    def _store(self, s: WriteSession, tail: Tail, found: list[dict[str, Any]], size: int) -> None:
        last = service.ingest(s, self.run_id, found) if found else 0
        run = store.run(s, self.run_id)
        if run is not None:
            run.output_bytes = size
        service.announce(self.state, s, self.run_id)
        s.afterwards(lambda: tail.acknowledge(last))

    def _conclude(self, s: WriteSession, status: str, explanation: str, rc: int | None) -> None:
        run = store.run_to_change(s, self.run_id)
        if run is None or run.status not in store.HELD or run.executor_id != self.identity.id:
            return
        ending.conclude(s, run, status, explanation, rc)
        if run.plan_id is not None:
            plan = store.plan_to_change(s, run.plan_id)
            if plan is not None and status in ("ok", "failed", "unreachable", "lost", "refused"):
                plan.status = "refused" if status == "refused" else "applied"
        service.announce(self.state, s, self.run_id)

    def _outcome(self, ended: Ended) -> tuple[str, str, int | None]:
        """What became of it. A run that was told to end and had ended by then is what it is."""
        with self.state.db.read() as s:
            run = service.get(s, self.run_id)
        if ended.reason == "cancelled":
            return "cancelled", f"cancelled by {run.cancel_by or 'somebody'}; {STAYS}", ended.rc
        if ended.reason == "stopped":
            return "lost", f"the server was stopped while it was under way; {STAYS}", ended.rc
        if ended.reason == "not started":
            return "failed", f"it could not begin: {ended.detail}", None
        if ended.reason != "ended" or ended.rc is None:
            return (
                "lost",
                f"the process that watches over it was killed, and all of it ended; {STAYS}",
                ended.rc,
            )
        status, explanation = ending.status_of(ended.rc, bool(run.counts.get("unreachable")))
        if ended.lost:
            explanation += f"{'; ' if explanation else ''}{ended.lost} bytes of output are not kept: the disk was full, or it was too much"
        return status, explanation, ended.rc

    def _end_processes(self) -> None:
        if self.launched is not None:
            self.launched.abandon()
            orphans.end(self.launched.phase, self.launched.pid, self.launched.start)

    def _try(self, action: Callable[[WriteSession], None]) -> bool:
        """In a transaction; False if the database does not take it now."""
        try:
            with self.state.db.write() as s:
                action(s)
        except DBAPIError as error:
            log.warning(
                "run %d: the database does not take it now (%s); it is tried again", self.run_id, error.orig
            )
            self.wake.wait(RETRY)
            return False
        return True

    def _persist(self, action: Callable[[WriteSession], None]) -> bool:
        """The same until it works, or the server stops: who starts next finds the files."""
        while not self._try(action):
            if self.stopping:
                return False
        return True
