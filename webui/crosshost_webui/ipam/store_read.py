# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of pools, blocks and free extents, and of what hosts have reported of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, func, select, tuple_

from ..db.base import Base
from ..db.engine import ReadSession
from ..inventory.models import HostReport, Item, Revision, Seen
from ..runs.models import Run
from .extents import Extent
from .models import CLUSTER, Block, Free, Pool, Scope
from .values import Value, packed

# A session keeps objects that it has read, but the writer changes rows beside it.
_FRESH = {"populate_existing": True}
_pool, _block, _scope = (Base.metadata.tables[name] for name in ("pool", "block", "scope"))


# built once, as building costs more than asking
_POOL = select(_pool).where(_pool.c.id == bindparam("p_id"))
_POOL_NAMED = select(_pool).where(
    _pool.c.scope_id == bindparam("p_scope"), _pool.c.name == bindparam("p_name")
)
_OF_OWNER = (
    select(_block.c.id)
    .where(
        _block.c.owner_type == bindparam("p_type"), _block.c.owner_id == bindparam("p_id"),
        _block.c.name == bindparam("p_name"),
    )
    .order_by(_block.c.id)
    .limit(1)
)  # fmt: skip


def _blocks() -> Select[Block, Pool, str]:
    query = select(Block, Pool, Scope.name).join(Pool, Pool.id == Block.pool_id)
    return query.join(Scope, Scope.id == Pool.scope_id).execution_options(**_FRESH)


_SCOPE_NAME = select(_scope.c.name).where(_scope.c.id == bindparam("p_id"))
_BLOCK = _blocks().where(Block.id == bindparam("p_id"))
_ALL_OF_OWNER = (
    _blocks().where(Block.owner_type == bindparam("p_type"), Block.owner_id == bindparam("p_id")).order_by(Block.id)
)  # fmt: skip


class Filters(NamedTuple):
    """Which pools; None: whichever."""

    scope: str | None = None
    kind: str | None = None
    purpose: str | None = None
    top_level: bool | None = None


def scope(s: ReadSession, name: str) -> Scope | None:
    return s.scalar(select(Scope).where(Scope.name == name))


def scope_name(s: ReadSession, scope_id: int) -> str:
    return s.connection().scalar(_SCOPE_NAME, {"p_id": scope_id}) or ""


def scopes(s: ReadSession) -> Sequence[Scope]:
    return s.scalars(select(Scope).order_by(Scope.id)).all()


def pool(s: ReadSession, pool_id: int) -> Pool | None:
    row = s.connection().execute(_POOL, {"p_id": pool_id}).first()
    return None if row is None else Pool(**row._mapping)


def pool_by_name(s: ReadSession, scope_id: int, name: str) -> Pool | None:
    row = s.connection().execute(_POOL_NAMED, {"p_scope": scope_id, "p_name": name}).first()
    return None if row is None else Pool(**row._mapping)


def pool_of_block(s: ReadSession, block_id: int) -> Pool | None:
    """The pool of the addresses of this subnet."""
    return s.scalar(select(Pool).where(Pool.block_id == block_id).execution_options(**_FRESH))


def pools_of_blocks(s: ReadSession, block_ids: Sequence[int]) -> dict[int, Pool]:
    query = select(Pool).where(Pool.block_id.in_(block_ids)).execution_options(**_FRESH)
    return {one.block_id: one for one in s.scalars(query) if one.block_id is not None}


def pools(
    s: ReadSession, filters: Filters, limit: int, after: int | None = None
) -> Sequence[tuple[Pool, str]]:
    """With the names of their scopes, in the order of their ids."""
    query = select(Pool, Scope.name).join(Scope, Scope.id == Pool.scope_id).order_by(Pool.id).limit(limit)
    if filters.scope is not None:
        query = query.where(Scope.name == filters.scope)
    if filters.kind is not None:
        query = query.where(Pool.kind == filters.kind)
    if filters.purpose is not None:
        query = query.where(Pool.purpose == filters.purpose)
    if filters.top_level is not None:
        query = query.where(Pool.block_id.is_(None) if filters.top_level else Pool.block_id.is_not(None))
    if after is not None:
        query = query.where(Pool.id > after)
    return [(row[0], row[1]) for row in s.execute(query.execution_options(**_FRESH))]


def pools_for(s: ReadSession, scope_id: int, purpose: str) -> Sequence[Pool]:
    """Those that automatic allocations of this purpose come from, the oldest first."""
    query = select(Pool).where(Pool.scope_id == scope_id, Pool.purpose == purpose).order_by(Pool.id)
    return s.scalars(query.execution_options(**_FRESH)).all()


def has_ports(s: ReadSession, scope_id: int, protocol: str) -> bool:
    query = select(Pool.id).where(
        Pool.scope_id == scope_id, Pool.kind == "port", Pool.version == 0, Pool.protocol == protocol
    )
    return s.scalar(query.limit(1)) is not None


def overlapping_pools(s: ReadSession, scope_id: int | None, value: Value) -> Sequence[tuple[Pool, str]]:
    """Pools of the value's kind that overlap it, with the names of their scopes, without those of a subnet's addresses.
    ``scope_id`` None: of all scopes."""
    query = select(Pool, Scope.name).join(Scope, Scope.id == Pool.scope_id)
    query = query.where(
        Pool.kind == value.kind, Pool.version == value.version, Pool.block_id.is_(None),
        Pool.purpose != "leaving", *_overlaps(value),
    )  # fmt: skip
    if scope_id is not None:
        query = query.where(Pool.scope_id == scope_id)
    return [(row[0], row[1]) for row in s.execute(query.order_by(Pool.id).execution_options(**_FRESH))]


def pools_elsewhere(s: ReadSession, scope_id: int, value: Value) -> Sequence[tuple[Pool, str]]:
    """As overlapping_pools(), of the scopes whose values must differ from this one's: of the cluster's scope all others, of
    another one the cluster's."""
    cluster = s.scalar(select(Scope.id).where(Scope.name == CLUSTER))
    query = select(Pool, Scope.name).join(Scope, Scope.id == Pool.scope_id)
    query = query.where(
        Pool.scope_id != scope_id if scope_id == cluster else Pool.scope_id == cluster,
        Pool.kind == value.kind, Pool.version == value.version, Pool.block_id.is_(None), *_overlaps(value),
    )  # fmt: skip
    return [(row[0], row[1]) for row in s.execute(query.execution_options(**_FRESH))]


def address_pool_at(s: ReadSession, scope_id: int, version: int, number: int) -> Pool | None:
    """The pool of addresses that begins at or before the address, the nearest; it may end before it."""
    query = (
        select(Pool)
        .where(
            Pool.scope_id == scope_id, Pool.kind == "address", Pool.version == version,
            Pool.base <= packed(version, number), Pool.purpose != "leaving",
        )
        .order_by(Pool.base.desc())
        .limit(1)
    )  # fmt: skip
    return s.scalar(query.execution_options(**_FRESH))


def block(s: ReadSession, block_id: int) -> tuple[Block, Pool, str] | None:
    """With its pool, and the name of the pool's scope."""
    row = s.execute(_BLOCK, {"p_id": block_id}).first()
    return None if row is None else (row[0], row[1], row[2])


def block_at(s: ReadSession, pool_id: int, slot: int) -> Block | None:
    """The block that holds the slot."""
    query = select(Block).where(Block.pool_id == pool_id, Block.first <= slot).order_by(Block.first.desc())
    found = s.scalar(query.limit(1).execution_options(**_FRESH))
    return found if found is not None and found.last >= slot else None


def blocks_of_owner(s: ReadSession, owner_type: str, owner_id: str) -> Sequence[tuple[Block, Pool, str]]:
    values = {"p_type": owner_type, "p_id": owner_id}
    return [(row[0], row[1], row[2]) for row in s.execute(_ALL_OF_OWNER, values)]


def block_of_owner(s: ReadSession, owner_type: str, owner_id: str, name: str) -> int | None:
    """The id of what the owner has under that name; in quarantine it has another one."""
    values = {"p_type": owner_type, "p_id": owner_id, "p_name": name}
    found: int | None = s.connection().scalar(_OF_OWNER, values)
    return found


def blocks(
    s: ReadSession, pool_id: int, limit: int, after: int | None = None, window: Extent | None = None
) -> Sequence[Block]:
    """Of a pool, in the order of their slots; ``after``: that begin behind this slot; ``window``: that overlap it."""
    query = select(Block).where(Block.pool_id == pool_id).order_by(Block.first).limit(limit)
    if after is not None:
        query = query.where(Block.first > after)
    if window is not None:
        # blocks do not overlap, so at most the last one that begins before the window reaches into it
        before = select(func.max(Block.first)).where(Block.pool_id == pool_id, Block.first <= window.first)
        least = func.coalesce(before.scalar_subquery(), window.first)
        query = query.where(Block.first >= least, Block.first <= window.last, Block.last >= window.first)
    return s.scalars(query.execution_options(**_FRESH)).all()


def all_blocks(
    s: ReadSession, limit: int, after: int | None = None, owner_type: str | None = None,
    owner_id: str | None = None, name: str | None = None, state: str | None = None,
) -> Sequence[tuple[Block, Pool, str]]:  # fmt: skip
    """Of all pools, in the order of their ids."""
    query = _blocks().order_by(Block.id).limit(limit)
    if owner_type is not None:
        query = query.where(Block.owner_type == owner_type)
    if owner_id is not None:
        query = query.where(Block.owner_id == owner_id)
    if name is not None:
        query = query.where(Block.name == name)
    if state is not None:
        query = query.where(Block.state == state)
    if state == "quarantined":
        query = query.where(Block.released_at.is_not(None))  # the index is of these
    if after is not None:
        query = query.where(Block.id > after)
    return [(row[0], row[1], row[2]) for row in s.execute(query)]


def blocks_of_value(s: ReadSession, value: str, limit: int) -> Sequence[tuple[Block, Pool, str]]:
    """Those that are called so, whichever pool they are of."""
    query = _blocks().where(Block.value == value).order_by(Block.id).limit(limit)
    return [(row[0], row[1], row[2]) for row in s.execute(query)]


def pools_with(s: ReadSession, value: Value, limit: int) -> Sequence[tuple[Pool, str]]:
    """The pools that have all of the value, with the names of their scopes, the smallest first."""
    query = select(Pool, Scope.name).join(Scope, Scope.id == Pool.scope_id)
    kinds = ("subnet", "address") if value.version else (value.kind,)
    query = query.where(Pool.kind.in_(kinds), Pool.version == value.version, *_holds(value))
    rows = s.execute(query.order_by(Pool.base.desc(), Pool.size).limit(limit).execution_options(**_FRESH))
    return [(row[0], row[1]) for row in rows]


def has_foreign_block(s: ReadSession, pool_id: int) -> Block | None:
    """A block that an owner uses, so that the pool cannot go."""
    query = select(Block).where(
        Block.pool_id == pool_id, Block.state != "quarantined", Block.owner_type != "system"
    )
    return s.scalar(query.order_by(Block.first).limit(1).execution_options(**_FRESH))


def used_of(s: ReadSession, pool_ids: Sequence[int]) -> Sequence[tuple[Block, Pool, str]]:
    """All blocks of these pools that are not in quarantine."""
    query = _blocks().where(Block.pool_id.in_(pool_ids), Block.state != "quarantined")
    return [(row[0], row[1], row[2]) for row in s.execute(query)]


def free(s: ReadSession, pool_id: int, limit: int, after: int | None = None) -> Sequence[Free]:
    """Free extents in the order of their slots; ``after``: that begin behind this slot."""
    query = select(Free).where(Free.pool_id == pool_id).order_by(Free.first).limit(limit)
    if after is not None:
        query = query.where(Free.first > after)
    return s.scalars(query.execution_options(**_FRESH)).all()


def free_within(s: ReadSession, pool_id: int, window: Extent, limit: int) -> Sequence[Extent]:
    """The free extents that overlap the window, in the order of their slots."""
    before = select(func.max(Free.first)).where(Free.pool_id == pool_id, Free.first <= window.first)
    least = func.coalesce(before.scalar_subquery(), window.first)
    query = select(Free.first, Free.last).where(
        Free.pool_id == pool_id, Free.first >= least, Free.first <= window.last, Free.last >= window.first
    )
    return [Extent(*row) for row in s.execute(query.order_by(Free.first).limit(limit))]


def largest_free(s: ReadSession, pool_id: int) -> int | None:
    """log2 of the largest aligned block that is free; None: nothing is."""
    return s.scalar(select(Free.ord).where(Free.pool_id == pool_id).order_by(Free.ord.desc()).limit(1))


def reports(s: ReadSession) -> Sequence[tuple[str, dict[str, Any]]]:
    return [(row[0], row[1]) for row in s.execute(select(HostReport.host, HostReport.body))]


def item(s: ReadSession, item_id: int) -> Item | None:
    return s.get(Item, item_id)


def revision(s: ReadSession, revision_id: int) -> Revision | None:
    return s.get(Revision, revision_id)


def runs(s: ReadSession, run_ids: Sequence[int]) -> dict[int, Run]:
    return {one.id: one for one in s.scalars(select(Run).where(Run.id.in_(run_ids)))}


def seen_values(s: ReadSession, values: Sequence[tuple[str, str]], limit: int = 2000) -> Sequence[Seen]:
    """What hosts have of these (family, value) pairs."""
    if not values:
        return []
    query = select(Seen).where(tuple_(Seen.family, Seen.value).in_(values))
    return s.scalars(query.order_by(Seen.host, Seen.id).limit(limit)).all()


def seen_after(s: ReadSession, limit: int, after: int | None = None) -> Sequence[Seen]:
    query = select(Seen).order_by(Seen.id).limit(limit)
    return s.scalars(query if after is None else query.where(Seen.id > after)).all()


def expected_after(s: ReadSession, limit: int, after: int | None = None) -> Sequence[tuple[Block, Pool, str]]:
    """Blocks of declared objects, in the order of their ids."""
    query = _blocks().where(Block.owner_type == "item", Block.state == "active").order_by(Block.id)
    if after is not None:
        query = query.where(Block.id > after)
    return [(row[0], row[1], row[2]) for row in s.execute(query.limit(limit))]


def _overlaps(value: Value) -> list[Any]:
    if value.version:
        return [
            Pool.base <= packed(value.version, value.last), Pool.top >= packed(value.version, value.first)
        ]  # fmt: skip
    return [
        Pool.protocol == value.protocol, Pool.first_value <= value.last,
        Pool.first_value + Pool.size - 1 >= value.first,
    ]  # fmt: skip


def _holds(value: Value) -> list[Any]:
    if value.version:
        return [
            Pool.base <= packed(value.version, value.first), Pool.top >= packed(value.version, value.last)
        ]  # fmt: skip
    return [
        Pool.protocol == value.protocol, Pool.first_value <= value.first,
        Pool.first_value + Pool.size - 1 >= value.last,
    ]  # fmt: skip
