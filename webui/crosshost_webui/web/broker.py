# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells the streams of this server that something new is stored. It carries no data: who is woken reads the database from
where it was, so nothing is lost or doubled, whether a wake-up came or not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Broker:
    """Topics are strings such as `run 5`. Publishing is for any thread, subscribing for the event loop's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.closed = False
        self._waiting: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}

    def publish(self, topic: str) -> None:
        with self._lock:
            listeners = list(self._waiting.get(topic, ()))
        for loop, event in listeners:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    def close(self) -> None:
        """The server stops: wake everyone, for the last time. A stream ends when it sees ``closed``."""
        self.closed = True
        with self._lock:
            topics = list(self._waiting)
        for topic in topics:
            self.publish(topic)

    @contextmanager
    def subscribe(self, topic: str) -> Iterator[asyncio.Event]:
        """An event that is set when something is published; the subscriber clears it before it reads."""
        mine = (asyncio.get_running_loop(), asyncio.Event())
        if self.closed:
            mine[1].set()
        with self._lock:
            self._waiting.setdefault(topic, set()).add(mine)
        try:
            yield mine[1]
        finally:
            with self._lock:
                self._waiting[topic].discard(mine)
                if not self._waiting[topic]:
                    del self._waiting[topic]

    def listeners(self) -> int:
        with self._lock:
            return sum(map(len, self._waiting.values()))
