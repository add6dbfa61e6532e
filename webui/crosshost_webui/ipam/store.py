# SPDX-License-Identifier: GPL-3.0-or-later
"""What writes pools, blocks and free extents; nothing else does. Reading is in store_read.py.

Next free: the pool's counter is raised, which locks its row; one index seek finds a free extent; the block is inserted and the
extent shortened. At most four rows are written, whatever the pool holds. If the database refuses the block, somebody has written
beside this module: the free extents are made anew from the blocks, under the same lock, and it is tried once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    Connection,
    String,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from ..db.base import Base, now
from ..db.engine import WriteSession
from .extents import Extent, cut, fit, gaps, merge, order
from .models import Pool
from .values import Space

_SEEK_PART = 64  # free extents that one query brings where some of them may not do
_WRITE_PART = 5000

pool, block, free = (Base.metadata.tables[name] for name in ("pool", "block", "free"))


class Entry(NamedTuple):
    """Whose a block is; the columns of these names."""

    owner_type: str
    owner_id: str
    name: str
    label: str = ""
    state: str = "active"
    automatic: bool = True
    note: str = ""
    who: str = ""
    revision_id: int | None = None


class Taken(NamedTuple):
    """A block's slots. ``is_new`` False: the owner has had a block of that name; then ``at`` is not told."""

    block_id: int
    extent: Extent
    is_new: bool = True
    at: datetime | None = None


class OccupiedError(Exception):
    """Somebody has slots of an exact extent."""

    def __init__(self, block_id: int) -> None:
        super().__init__(f"block {block_id} is in the way")
        self.block_id = block_id


class InconsistentError(Exception):
    """The free extents do not fit the blocks, though they have just been made from them."""


_P: BindParameter[int] = bindparam("p_pool")
_N: BindParameter[int] = bindparam("p_n")
# the comparisons are written so that none leaves 64 bits
_UP = update(pool).where(pool.c.id == _P, pool.c.used <= pool.c.size - _N).values(used=pool.c.used + _N)
_DOWN = update(pool).where(pool.c.id == _P, pool.c.used >= _N).values(used=pool.c.used - _N)
_LOCK = select(pool.c.size).where(pool.c.id == _P).with_for_update()
_EXTENT = select(free.c.first, free.c.last)
_LOWEST = _EXTENT.where(free.c.pool_id == _P).order_by(free.c.first).limit(1)
_SMALLEST = (
    _EXTENT.where(free.c.pool_id == _P, free.c.ord >= bindparam("p_ord")).order_by(free.c.ord, free.c.first).limit(1)
)  # fmt: skip
_BEFORE = (
    _EXTENT.where(free.c.pool_id == _P, free.c.first <= bindparam("p_first"))
    .order_by(free.c.first.desc())
    .limit(bindparam("p_limit"))
)
_SHRINK = (
    update(free)
    .where(free.c.pool_id == _P, free.c.first == bindparam("p_first"))
    .values(first=bindparam("n_first"), last=bindparam("n_last"), ord=bindparam("n_ord"))
)
_DROP = delete(free).where(free.c.pool_id == _P, free.c.first == bindparam("p_first"))
_GROW = insert(free)
_OF_OWNER = select(block.c.id, block.c.first, block.c.last).where(
    block.c.pool_id == _P, block.c.owner_type == bindparam("p_type"), block.c.owner_id == bindparam("p_id"),
    block.c.name == bindparam("p_name"),
)  # fmt: skip
_BLOCK = {
    "sqlite": sqlite.insert(block).on_conflict_do_nothing().returning(block.c.id),
    "postgresql": postgresql.insert(block).on_conflict_do_nothing().returning(block.c.id),
}


def take(
    s: WriteSession,
    pool_id: int,
    space: Space,
    k: int,
    entry: Entry,
    window: Extent | None = None,
    avoid: Sequence[Extent] = (),
) -> Taken | None:
    """An aligned block of 2**``k`` free slots: the lowest that suffices where it splits the least. Within the slots of
    ``window``, and without those of ``avoid`` (as extents.join() gives them). None: there is no such room."""
    c = s.connection()
    for _attempt in range(2):
        if not _count(c, pool_id, 1 << k):
            return None
        found = _seek(c, pool_id, k, window, avoid)
        if found is None:
            _count(c, pool_id, -(1 << k))
            return None
        extent, wanted = found
        at = now()
        block_id = _insert(c, pool_id, space, wanted, entry, at)
        if block_id is not None:
            _shorten(c, pool_id, extent, wanted)
            return Taken(block_id, wanted, at=at)
        _count(c, pool_id, -(1 << k))
        own = _of_owner(c, pool_id, entry)
        if own is not None:
            return own
        rebuild(s, pool_id)
    raise InconsistentError(f"pool {pool_id}: its free extents do not fit its blocks")


def take_exactly(s: WriteSession, pool_id: int, space: Space, wanted: Extent, entry: Entry) -> Taken:
    """These slots, which lie in the pool. Those in quarantine count as free. OccupiedError names who has them."""
    c = s.connection()
    lock(s, pool_id)
    own = _of_owner(c, pool_id, entry)
    if own is not None:
        return own
    for other in _overlapping(c, pool_id, wanted):
        if other.state != "quarantined":
            raise OccupiedError(other.id)
        give_back(s, other.id)
    for _attempt in range(2):
        row = c.execute(_BEFORE, {"p_pool": pool_id, "p_first": wanted.first, "p_limit": 1}).first()
        extent = Extent(*row) if row else None
        if extent and extent.holds(wanted) and _count(c, pool_id, wanted.size):
            at = now()
            block_id = _insert(c, pool_id, space, wanted, entry, at)
            if block_id is not None:
                _shorten(c, pool_id, extent, wanted)
                return Taken(block_id, wanted, at=at)
        rebuild(s, pool_id)
    raise InconsistentError(f"pool {pool_id}: its free extents do not fit its blocks")


def give_back(s: WriteSession, block_id: int) -> Extent | None:
    """Make a block's slots free. None: it is gone already."""
    c = s.connection()
    pool_id = c.scalar(select(block.c.pool_id).where(block.c.id == block_id))
    if pool_id is None:
        return None
    lock(s, pool_id)
    row = c.execute(
        delete(block).where(block.c.id == block_id).returning(block.c.first, block.c.last)
    ).first()
    if row is None:
        return None
    freed = Extent(*row)
    near = c.execute(_BEFORE, {"p_pool": pool_id, "p_first": freed.last + 1, "p_limit": 2}).all()
    right = next((Extent(*one) for one in near if one.first == freed.last + 1), None)
    left = next((Extent(*one) for one in near if one.first <= freed.last), None)
    if (left and left.last >= freed.first) or not _count(c, pool_id, -freed.size):
        rebuild(s, pool_id)
        return freed
    if left and left.last + 1 < freed.first:
        left = None
    whole = merge(freed, left, right)
    if right:
        c.execute(_DROP, {"p_pool": pool_id, "p_first": right.first})
    if left:
        _reshape(c, pool_id, left.first, whole)
    else:
        _grow(c, pool_id, [whole])
    return freed


def quarantine(s: WriteSession, block_id: int) -> None:
    """Release a block, but keep its slots from being handed out. Its name is the owner's to use again."""
    name = func.substr(block.c.name, 1, 98).concat("#").concat(cast(block.c.id, String))
    s.execute(
        update(block)
        .where(block.c.id == block_id, block.c.state != "quarantined")
        .values(state="quarantined", released_at=now(), name=name)
    )


def change(s: WriteSession, block_id: int, entry: Entry) -> None:
    """Give a block another entry: out of quarantine as well. The moment of its allocation stays."""
    s.execute(update(block).where(block.c.id == block_id).values(**entry._asdict(), released_at=None))


def rebuild(s: WriteSession, pool_id: int) -> int:
    """Make the free extents and the counter of a pool anew from its blocks; the number of free extents. IntegrityError if
    blocks reach beyond the pool."""
    c = s.connection()
    size = lock(s, pool_id)
    assert size is not None
    rows = c.execute(
        select(block.c.first, block.c.last).where(block.c.pool_id == pool_id).order_by(block.c.first)
    )
    blocks = [Extent(*row) for row in rows]
    c.execute(delete(free).where(free.c.pool_id == pool_id))
    found = list(gaps(size, blocks))
    for begin in range(0, len(found), _WRITE_PART):
        _grow(c, pool_id, found[begin : begin + _WRITE_PART])
    c.execute(update(pool).where(pool.c.id == pool_id).values(used=sum(one.size for one in blocks)))
    return len(found)


def lock(s: WriteSession, pool_id: int) -> int | None:
    """Nobody else allocates from the pool until the session ends. Its size in slots; None: there is no such pool."""
    return s.connection().scalar(_LOCK, {"p_pool": pool_id})


def add_pool(s: WriteSession, found: Pool, reserved: Mapping[str, Extent] | None = None) -> Pool:
    """Add a pool, all of it free but what is ``reserved`` by name. IntegrityError if it overlaps another one, or the name is
    taken."""
    kept = sorted((extent, name) for name, extent in (reserved or {}).items())
    found.used = sum(extent.size for extent, _name in kept)
    found.created_at = now()
    s.add(found)
    s.flush()
    c = s.connection()
    if kept:
        system, space = Entry("system", "", "", state="reserved")._asdict(), Space.of(found)
        place = {"pool_id": found.id, "created_at": found.created_at, "released_at": None}
        c.execute(
            insert(block),
            [
                {
                    **system,
                    **place,
                    "name": name,
                    "first": one.first,
                    "last": one.last,
                    "value": space.text(one),
                }
                for one, name in kept
            ],
        )
    _grow(c, found.id, list(gaps(found.size, [extent for extent, _name in kept])))
    return found


def drop_pool(s: WriteSession, pool_id: int) -> None:
    """Remove a pool with its blocks and free extents. No pool of addresses hangs on these blocks any more."""
    s.execute(delete(block).where(block.c.pool_id == pool_id))
    s.execute(delete(pool).where(pool.c.id == pool_id))


def change_pool(s: WriteSession, pool_id: int, **values: Any) -> None:
    s.execute(update(pool).where(pool.c.id == pool_id).values(**values))


def released_before(
    s: WriteSession, moment: datetime, limit: int, pool_id: int | None = None
) -> Sequence[int]:
    """Blocks in quarantine since before the moment, the longest first."""
    query = select(block.c.id).where(block.c.state == "quarantined", block.c.released_at <= moment)
    if pool_id is not None:
        query = query.where(block.c.pool_id == pool_id)
    return s.scalars(query.order_by(block.c.released_at).limit(limit)).all()


def _count(c: Connection, pool_id: int, n: int) -> bool:
    """Whether the counter stays within the pool; nothing is changed otherwise."""
    return bool(c.execute(_UP if n > 0 else _DOWN, {"p_pool": pool_id, "p_n": abs(n)}).rowcount)


def _seek(
    c: Connection, pool_id: int, k: int, window: Extent | None, avoid: Sequence[Extent]
) -> tuple[Extent, Extent] | None:
    """A free extent and the aligned block in it."""
    if window is None and not avoid:
        query = _SMALLEST if k else _LOWEST
        row = c.execute(query, {"p_pool": pool_id, "p_ord": k} if k else {"p_pool": pool_id}).first()
        if row is None:
            return None
        wanted = fit(Extent(*row), k)
        return None if wanted is None else (Extent(*row), wanted)
    query = (
        _EXTENT.add_columns(free.c.ord).where(free.c.pool_id == pool_id, free.c.ord >= k).limit(_SEEK_PART)
    )
    if window is not None:
        query = query.where(free.c.first <= window.last, free.c.last >= window.first)
    key = (free.c.first,) if window is not None or not k else (free.c.ord, free.c.first)
    after: tuple[int, ...] | None = None
    while True:
        part = query.order_by(*key)
        if after is not None:
            part = part.where(tuple_(*key) > after)
        rows = c.execute(part).all()
        for row in rows:
            extent = Extent(row.first, row.last)
            room = (
                extent
                if window is None
                else Extent(max(extent.first, window.first), min(extent.last, window.last))
            )
            wanted = fit(room, k, avoid)
            if wanted is not None:
                return extent, wanted
        if len(rows) < _SEEK_PART:
            return None
        after = tuple(getattr(rows[-1], column.name) for column in key)


def _insert(
    c: Connection, pool_id: int, space: Space, wanted: Extent, entry: Entry, at: datetime
) -> int | None:
    """The new block's id. None: the owner has one of that name, or another block is in the way. Both leave the transaction as it
    was: PostgreSQL does nothing on a conflict, and what SQLite's trigger refuses is this statement alone."""
    values = {
        **entry._asdict(), "pool_id": pool_id, "first": wanted.first, "last": wanted.last, "value": space.text(wanted),
        "created_at": at,
    }  # fmt: skip
    try:
        found: int | None = c.scalar(_BLOCK[c.dialect.name], values)
    except IntegrityError as error:
        if "ex_block_overlap" in str(error.orig):
            return None
        raise
    return found


def _of_owner(c: Connection, pool_id: int, entry: Entry) -> Taken | None:
    values = {"p_pool": pool_id, "p_type": entry.owner_type, "p_id": entry.owner_id, "p_name": entry.name}
    row = c.execute(_OF_OWNER, values).first()
    return None if row is None else Taken(row.id, Extent(row.first, row.last), is_new=False)


def _overlapping(c: Connection, pool_id: int, wanted: Extent) -> Sequence[Any]:
    """The blocks that overlap these slots: the one that begins before them, and those that begin among them."""
    columns = select(block.c.id, block.c.state, block.c.last).where(block.c.pool_id == pool_id)
    before = c.execute(
        columns.where(block.c.first < wanted.first).order_by(block.c.first.desc()).limit(1)
    ).all()
    among = c.execute(
        columns.where(block.c.first.between(wanted.first, wanted.last)).order_by(block.c.first)
    ).all()
    return [*(one for one in before if one.last >= wanted.first), *among]


def _shorten(c: Connection, pool_id: int, extent: Extent, taken: Extent) -> None:
    """Take slots out of a free extent."""
    rest = cut(extent, taken)
    if rest:
        _reshape(c, pool_id, extent.first, rest[0])
        _grow(c, pool_id, rest[1:])
    else:
        c.execute(_DROP, {"p_pool": pool_id, "p_first": extent.first})


def _reshape(c: Connection, pool_id: int, first: int, to: Extent) -> None:
    """Change the free extent that begins at ``first``."""
    values = {"n_first": to.first, "n_last": to.last, "n_ord": order(to)}
    c.execute(_SHRINK, {"p_pool": pool_id, "p_first": first, **values})


def _grow(c: Connection, pool_id: int, extents: Sequence[Extent]) -> None:
    rows = [{"pool_id": pool_id, "first": one.first, "last": one.last, "ord": order(one)} for one in extents]
    if rows:
        c.execute(_GROW, rows)
