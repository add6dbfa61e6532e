# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that comes round: each kind in its own rhythm, in threads, one after the other of a kind. A failure is logged, and tried
again at the next round."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from .metrics import Metrics

log = logging.getLogger("crosshost_webui.background")


class Chore(NamedTuple):
    """``work`` is called every ``seconds``, for the first time that long after the start."""

    name: str
    seconds: float
    work: Callable[[], object]


@asynccontextmanager
async def chores(found: Sequence[Chore], metrics: Metrics) -> AsyncIterator[None]:
    """Do them as long as the block lasts. At its end what is under way is finished, and nothing more begun."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(_repeat(one, stop, metrics), name=one.name) for one in found]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def _repeat(chore: Chore, stop: asyncio.Event, metrics: Metrics) -> None:
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), chore.seconds)
            return
        try:
            await asyncio.to_thread(chore.work)
        except Exception:
            log.exception("%s failed; it is tried again in %g s", chore.name, chore.seconds)
            metrics.background.labels(chore.name, "failed").inc()
        else:
            metrics.background.labels(chore.name, "ok").inc()
