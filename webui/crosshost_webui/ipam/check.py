# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what is stored adds up: for each pool, blocks and free extents cover every slot once. `crosshost-webui ipam check`
prints what does not, `ipam rebuild` makes the free extents anew from the blocks, which are the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy.exc import IntegrityError

from ..audit.store import Actor, record
from ..db.engine import ReadSession, WriteSession
from ..web.problem import Conflict
from . import store
from .extents import Extent, order
from .models import Pool
from .store_check import Row, every_pool, rows
from .values import Space

FAULTS_MOST = 100


class Fault(NamedTuple):
    """Something of a pool that does not add up. ``is_mended``: rebuild() puts it right."""

    pool_id: int
    pool: str
    text: str
    is_mended: bool = True


class Report(NamedTuple):
    """``faults``: up to FAULTS_MOST of them."""

    pools: int
    blocks: int
    free: int
    faults: Sequence[Fault]


def check(s: ReadSession, pool_id: int | None = None) -> Report:
    """Look at one pool, or at all. It reads everything there is, in the order of the slots."""
    pools = blocks = free = 0
    faults: list[Fault] = []
    for pool in every_pool(s, pool_id):
        sweep = _Sweep(pool)
        for row in rows(s, pool.id):
            sweep.see(row)
            if row.is_free:
                free += 1
            else:
                blocks += 1
        pools += 1
        faults += sweep.end()
    return Report(pools, blocks, free, faults[:FAULTS_MOST])


def rebuild(s: WriteSession, actor: Actor, pool_id: int | None = None) -> int:
    """Make the free extents and counters anew, of one pool or of all; the number of free extents. Conflict if blocks reach beyond
    their pool, which only deleting them mends."""
    count = 0
    names = []
    for pool in every_pool(s, pool_id):
        try:
            count += store.rebuild(s, pool.id)
        except IntegrityError:
            raise Conflict(
                f"pool {pool.name}: it has blocks beyond its end; `ipam check` names them, delete those"
            ) from None
        names.append(pool.name)
    name = names[0] if pool_id is not None and names else f"{len(names)} pools"
    record(s, actor, "rebuild", "pool", pool_id or "", name, None, {"free extents": count})
    return count


class _Sweep:
    """Goes over a pool's blocks and free extents in the order of their slots."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.space = Space.of(pool)
        self.next = 0
        self.used = 0
        self.last: Row | None = None
        self.faults: list[Fault] = []

    def see(self, row: Row) -> None:
        extent = Extent(row.first, row.last)
        if row.first < self.next:
            both_blocks = not row.is_free and self.last is not None and not self.last.is_free
            self.fault(f"{self.text(extent)} is there twice", is_mended=not both_blocks)
        elif row.first > self.next:
            self.fault(f"{self.text(Extent(self.next, row.first - 1))} is neither used nor free")
        if row.is_free and self.last is not None and self.last.is_free and row.first == self.next:
            self.fault(f"{self.text(extent)} is free beside another free extent")
        if row.is_free and row.order != order(extent):
            self.fault(f"{self.text(extent)} is indexed as of order {row.order}, not {order(extent)}")
        if not row.is_free:
            self.used += extent.size
            if row.value != self.text(extent):
                self.fault(
                    f"block {row.block_id} is called {row.value}, but is {self.text(extent)}", is_mended=False
                )
        self.next = max(self.next, row.last + 1)
        self.last = row

    def end(self) -> Iterator[Fault]:
        if self.next < self.pool.size:
            self.fault(f"{self.text(Extent(self.next, self.pool.size - 1))} is neither used nor free")
        elif self.next > self.pool.size:
            is_block = self.last is not None and not self.last.is_free
            self.fault(
                f"{self.text(Extent(self.pool.size, self.next - 1))} is beyond its end",
                is_mended=not is_block,
            )
        if self.used != self.pool.used:
            self.fault(f"its counter says {self.pool.used} used slots, the blocks have {self.used}")
        yield from self.faults

    def fault(self, text: str, is_mended: bool = True) -> None:
        if len(self.faults) < FAULTS_MOST:
            self.faults.append(
                Fault(self.pool.id, self.pool.name, f"pool {self.pool.name}: {text}", is_mended)
            )

    def text(self, extent: Extent) -> str:
        return self.space.text(extent)
