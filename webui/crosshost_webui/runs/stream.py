# SPDX-License-Identifier: GPL-3.0-or-later
"""A run as it goes on, for browsers: server-sent events whose ids are the numbers of the run's record.

Who comes back with the id of the last event that it has (browsers do so by themselves) gets all that came after it. Of each run
that somebody watches the database is read once for all who watch; who is behind reads for itself until it has caught up. No
database session is open while nothing happens.

``results``: ``{"tasks": [...], "results": [...], "warnings": [...]}``, with an id. ``run``: state, counters and the size of the
output, whenever one of them changes. ``end``: nothing comes after it.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from fastapi.sse import ServerSentEvent

from ..db.engine import ReadSession
from ..web.broker import Broker
from . import events, eventstore, service, store
from .eventstore import Row
from .models import ENDED
from .store import Pulse

if TYPE_CHECKING:
    from ..state import State

LIFE = 600.0  # seconds of one stream; the browser comes back for more
POLL = 1.0  # for what other processes have written
GAP = 0.1  # between two reads of one run
RETRY_MS = 1000
CHUNK = 500  # events of one message
KEPT = 64  # messages kept for those who are a little behind


class Chunk(NamedTuple):
    """The events after ``before`` up to ``last``."""

    before: int
    last: int
    data: str


class Feed:
    """What all who watch one run share. Lives in the event loop."""

    def __init__(self, state: State, run_id: int, pulse: Pulse) -> None:
        self.state = state
        self.run_id = run_id
        self.pulse = pulse
        self.last = pulse.last_seq
        self.chunks: deque[Chunk] = deque(maxlen=KEPT)
        self.listeners: set[asyncio.Event] = set()
        self.task = asyncio.create_task(self._follow(), name=f"feed of run {run_id}")

    def chunk_after(self, seq: int) -> Chunk | None:
        """The kept message that continues there; None if there is none."""
        return next((one for one in self.chunks if one.before == seq), None)

    def boundary(self, seq: int) -> int:
        """Up to where somebody who is there reads for itself, to go on with the kept messages."""
        return next((one.before for one in self.chunks if one.before > seq), self.last)

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        with self.state.broker.subscribe(service.topic(self.run_id)) as woken:
            while not self.state.broker.closed:
                woken.clear()
                began = loop.time()
                if await asyncio.to_thread(self._read):
                    for one in self.listeners:
                        one.set()
                if self.pulse.status in ENDED and self.last >= self.pulse.last_seq:
                    return
                try:
                    await asyncio.wait_for(woken.wait(), POLL)
                except TimeoutError:
                    continue
                await asyncio.sleep(max(0.0, GAP - (loop.time() - began)))
        for one in self.listeners:
            one.set()

    def _read(self) -> bool:
        """In a thread. Whether there is anything new."""
        with self.state.db.read() as s:
            pulse = store.pulse(s, self.run_id)
            if pulse is None:  # removed while somebody watched it
                self.pulse = self.pulse._replace(status="lost", explanation="the run is not kept any more")
                self.last = self.pulse.last_seq
                return True
            is_new = pulse != self.pulse
            while self.last < pulse.last_seq:
                chunk = chunk_of(s, self.run_id, self.last, pulse.last_seq)
                self.chunks.append(chunk)
                self.last = chunk.last
                is_new = True
            self.pulse = pulse
        return is_new


_feeds: WeakKeyDictionary[Broker, dict[int, Feed]] = WeakKeyDictionary()


def chunk_of(s: ReadSession, run_id: int, after: int, until: int) -> Chunk:
    """The message of the events after a number, as many as it holds, and not beyond ``until``."""
    rows = [row for row in eventstore.tail(s, run_id, after, CHUNK) if row.seq <= until]
    last = rows[-1].seq if len(rows) == CHUNK else until
    body: dict[str, Any] = {
        "tasks": _tasks(s, run_id, rows),
        "results": list(map(_result, filter(_is_result, rows))),
    }
    told = [row.seq for row in rows if row.kind == "warning"]
    bodies = eventstore.bodies(s, run_id, told) if told else {}
    body["warnings"] = [{"seq": seq, "text": events.unpack(bodies.get(seq)).get("text", "")} for seq in told]
    return Chunk(after, last, json.dumps(body, separators=(",", ":")))


def _is_result(row: Row) -> bool:
    return row.kind in ("result", "item")


def _result(row: Row) -> dict[str, Any]:
    found = {
        "seq": row.seq, "task": row.task, "host": row.host, "status": row.status, "ms": row.duration_ms, "body": row.has_body,
    }  # fmt: skip
    return found if row.kind == "result" else {**found, "item": True}


def _tasks(s: ReadSession, run_id: int, rows: list[Row]) -> list[dict[str, Any]]:
    numbers = {row.task for row in rows if row.kind == "task" and row.task is not None}
    if not numbers:
        return []
    found = eventstore.tasks(s, run_id, limit=max(numbers) - min(numbers) + 1, after=min(numbers) - 1)
    return [
        {"number": one.number, "name": one.name, "action": one.action, "play": one.play}
        for one in found
        if one.number in numbers
    ]


def pulse_data(pulse: Pulse) -> str:
    return json.dumps(
        {
            "status": pulse.status, "last_seq": pulse.last_seq, "output_bytes": pulse.output_bytes,
            "counts": {name: pulse.counts.get(name, 0) for name in eventstore.COUNTERS}, "explanation": pulse.explanation,
            "started_at": pulse.started_at.isoformat() if pulse.started_at else None,
            "ended_at": pulse.ended_at.isoformat() if pulse.ended_at else None,
        },
        separators=(",", ":"),
    )  # fmt: skip


async def stream(state: State, run_id: int, pulse: Pulse, after: int) -> AsyncIterator[ServerSentEvent]:
    """The events after a number, then as they come. ``pulse``: of the run, which is there."""
    feeds = _feeds.setdefault(state.broker, {})
    feed = feeds.get(run_id)
    if feed is None or feed.task.done():
        feed = feeds[run_id] = Feed(state, run_id, pulse)
    mine = asyncio.Event()
    feed.listeners.add(mine)
    try:
        async for one in _events(state, feed, mine, after):
            yield one
    finally:
        feed.listeners.discard(mine)
        if not feed.listeners:
            feed.task.cancel()
            if feeds.get(run_id) is feed:
                del feeds[run_id]


async def _events(
    state: State, feed: Feed, mine: asyncio.Event, cursor: int
) -> AsyncIterator[ServerSentEvent]:
    loop = asyncio.get_running_loop()
    end = loop.time() + LIFE
    shown: Pulse | None = None
    yield ServerSentEvent(comment=f"run {feed.run_id}", retry=RETRY_MS)
    while not state.broker.closed and loop.time() < end:
        mine.clear()
        while cursor < feed.last:
            chunk = feed.chunk_after(cursor)
            if chunk is None:
                chunk = await asyncio.to_thread(_behind, state, feed.run_id, cursor, feed.boundary(cursor))
            cursor = chunk.last
            yield ServerSentEvent(event="results", id=str(cursor), raw_data=chunk.data)
        if feed.pulse != shown:
            shown = feed.pulse
            yield ServerSentEvent(event="run", raw_data=pulse_data(shown))
        if shown.status in ENDED and cursor >= shown.last_seq:
            yield ServerSentEvent(event="end", raw_data="{}")
            return
        if feed.task.done() and not mine.is_set():
            return
        try:
            await asyncio.wait_for(mine.wait(), max(0.1, end - loop.time()))
        except TimeoutError:
            return


def _behind(state: State, run_id: int, after: int, until: int) -> Chunk:
    with state.db.read() as s:
        return chunk_of(s, run_id, after, until)
