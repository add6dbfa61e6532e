# SPDX-License-Identifier: GPL-3.0-or-later
"""The executor of a server: takes runs that wait, as many at a time as the settings say, and looks after what others have left."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, IntegrityError

from ..db.base import now
from ..operations.background import Chore
from ..runs import ending, schedules, service, store
from ..runs.models import Run
from . import identity, orphans
from .folder import Folder
from .launch import GRACE, ended_of
from .tail import Tail
from .worker import LEASE, STAYS, Worker

if TYPE_CHECKING:
    from ..state import State

ROUND = 1.0  # seconds between looks at the queue, for runs that another server has queued
STOP_SECONDS = GRACE + 5
RESTARTED = "the server was stopped or killed while it was under way, and its processes were ended; "
log = logging.getLogger("crosshost_webui.executor")


class Supervisor:
    """``start`` and ``stop`` once each. With no executors in the settings it only clears up."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.identity = identity.make(state.settings.data_dir)
        self.workers: dict[int, Worker] = {}
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="executor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There may be something to do: a run was queued, or is to be cancelled."""
        self._wake.set()
        for worker in list(self.workers.values()):
            worker.wake.set()

    def stop(self) -> None:
        """End what is under way: their runs are lost, and say why. Returns when it is done, or after a while."""
        self._stopping = True
        self._wake.set()
        self._thread.join(STOP_SECONDS)
        found = list(self.workers.values())
        for worker in found:
            worker.stop()
        for worker in found:
            worker.thread.join(STOP_SECONDS)
        identity.retire(self.identity)

    def reap(self) -> None:
        """Runs whose executor is silent are lost; those of this server are not, however slow the database is."""
        with self.state.db.read() as s:
            if not store.expired(s, now()):
                return
        with self.state.db.write() as s:
            for run_id in service.reap(s, spare=self.workers):
                service.announce(self.state, s, run_id)
                log.warning("run %d is lost: nothing was heard of its executor", run_id)

    def _loop(self) -> None:
        try:
            self._take_over()
        except Exception:
            log.exception("runs of an earlier server could not be cleared up")
        while not self._stopping:
            try:
                self._claim()
            except DBAPIError as error:
                log.warning("the queue cannot be read now (%s); it is tried again", error.orig)
            except Exception:
                log.exception("a fault in the executor; it goes on")
            self._wake.wait(ROUND)
            self._wake.clear()

    def _claim(self) -> None:
        for run_id, worker in list(self.workers.items()):
            if not worker.thread.is_alive():
                del self.workers[run_id]
        room = self.state.settings.executors - len(self.workers)
        if room <= 0:
            return
        with self.state.db.read() as s:
            waiting = [run.id for run in store.queued(s, room + 10)]
        for run_id in waiting:
            if len(self.workers) >= self.state.settings.executors or self._stopping:
                return
            if self._is_ours(run_id):
                self.workers[run_id] = Worker(self.state, run_id, self.identity)
                self.workers[run_id].start()

    def _is_ours(self, run_id: int) -> bool:
        """Whether the run was claimed. Not if another executor was first, or runs one with the same lock."""
        values = {"status": "claimed", "executor_id": self.identity.id, "lease_until": now() + LEASE}
        try:
            with self.state.db.write() as s:
                claimed = store.swap(s, run_id, ("queued",), values)
                service.announce(self.state, s, run_id)
        except IntegrityError:
            return False
        return claimed

    def _take_over(self) -> None:
        """Runs that an earlier executor of this data directory had: their processes are ended, their records stored."""
        with self.state.db.read() as s:
            found = [
                one
                for one in store.held_by(s, self.identity.prefix)
                if not identity.is_alive(one.executor_id or "")
            ]
        for run in found:
            if self._stopping:
                return
            self._clear_up(run)

    def _clear_up(self, run: Run) -> None:
        folder = Folder(self.state.settings.runs_dir, run.id)
        check, phase = folder.phase("check"), folder.phase("run")
        if run.plan_id is not None and phase.started() is None:
            orphans.end(check, run.pid, run.pid_start)
        else:
            orphans.end(phase, run.pid, run.pid_start)
        tail = Tail(phase.record, run.last_seq)
        while events := tail.read():
            with self.state.db.write() as s:
                tail.acknowledge(service.ingest(s, run.id, events))
                if tail.read() is events:
                    break
        ended = ended_of(phase)
        with self.state.db.write() as s:
            row = store.run_to_change(s, run.id)
            if row is None or row.status not in store.HELD or row.executor_id != run.executor_id:
                return
            row.output_bytes = folder.output.stat().st_size if folder.output.exists() else 0
            if ended is not None and ended.reason == "ended" and ended.rc is not None:
                status, told = ending.status_of(ended.rc, bool(row.counts.get("unreachable")))
                ending.conclude(s, row, status, told, ended.rc)
            else:
                untouched = row.plan_id is not None and not phase.record.exists()
                told = "nothing had been changed by then" if untouched else STAYS
                ending.conclude(s, row, "lost", RESTARTED + told)
            service.announce(self.state, s, run.id)
        log.warning("run %d of an earlier server: %s", run.id, row.status)
        folder.tidy()


@asynccontextmanager
async def running(state: State) -> AsyncIterator[Supervisor]:
    """A supervisor for as long as the block lasts."""
    supervisor = await asyncio.to_thread(Supervisor, state)
    supervisor.start()
    task = asyncio.create_task(_wake_on_queue(state, supervisor), name="queue")
    try:
        yield supervisor
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(supervisor.stop)


async def _wake_on_queue(state: State, supervisor: Supervisor) -> None:
    with state.broker.subscribe(service.QUEUE) as event:
        while True:
            await event.wait()
            event.clear()
            supervisor.wake()
            if state.broker.closed:
                return


def chores(state: State, supervisor: Supervisor) -> Sequence[Chore]:
    """What comes round, also on a server without executors."""
    return (
        Chore("lost runs", 10, supervisor.reap),
        Chore("schedules", 5, lambda: schedules.run_due(state)),
        Chore("old runs", 600, lambda: service.prune(state)),
    )
