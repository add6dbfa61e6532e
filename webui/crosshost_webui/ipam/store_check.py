# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a whole pool, in parts, so that a large one does not fill the memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import literal, null, select, union_all

from ..db.engine import ReadSession
from .models import Block, Free, Pool

_PART = 10_000


class Row(NamedTuple):
    """A block, or a free extent of this order."""

    first: int
    last: int
    is_free: bool
    order: int
    block_id: int | None
    value: str


def every_pool(s: ReadSession, pool_id: int | None = None) -> list[Pool]:
    query = select(Pool).order_by(Pool.id).execution_options(populate_existing=True)
    return list(s.scalars(query if pool_id is None else query.where(Pool.id == pool_id)))


def rows(s: ReadSession, pool_id: int) -> Iterator[Row]:
    """The blocks and free extents of a pool in the order of their first slots, a block before a free extent."""
    blocks = select(
        Block.first,
        Block.last,
        literal(False).label("is_free"),
        literal(0).label("ord"),
        Block.id,
        Block.value,
    ).where(Block.pool_id == pool_id)
    extents = select(Free.first, Free.last, literal(True), Free.ord, null(), literal("")).where(
        Free.pool_id == pool_id
    )
    both = union_all(blocks, extents).subquery()
    query = select(both).order_by(both.c.first, both.c.is_free)
    for row in s.execute(query.execution_options(yield_per=_PART)):
        yield Row(row[0], row[1], bool(row[2]), row[3], row[4], row[5])
