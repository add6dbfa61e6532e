# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks against what modules have read back on hosts, by the text of their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, literal, not_, or_, select

from ..db.engine import ReadSession
from ..inventory.models import Item, Seen
from .models import Block, Pool, Scope

# of what an owner has, what is read back on hosts: gateways and reserved addresses are not
_SHOWN = or_(
    Block.name.in_(("ip", "ip6", "vip", "vip6")), Block.name.like("subnet%"), Block.name.like("vni%"),
    Block.name.like("port%"),
)  # fmt: skip
# what hosts choose by themselves
_OWN_CHOICE = or_(
    and_(Seen.module == "ingress", Seen.family == "address"),
    and_(Seen.module == "endpoint", Seen.family == "port"),
    and_(
        Seen.family == "address",
        exists().where(Item.kind == "macvlan", Item.name == Seen.network),
    ),
)  # fmt: skip


def _same_place() -> ColumnElement[bool]:
    """What is only one host's own is the same value on that host alone."""
    return or_(not_(Scope.name.like("host %")), Scope.name == literal("host ").concat(Seen.host))


def not_seen(
    s: ReadSession, limit: int, scan: int, after: int | None
) -> tuple[Sequence[tuple[Block, Pool, str]], int | None]:
    """Active blocks of declared objects that no host has shown, among the next ``scan`` ones; and the id to go on after."""
    part = select(Block.id).where(Block.owner_type == "item", Block.state == "active", _SHOWN)
    if after is not None:
        part = part.where(Block.id > after)
    ids = part.order_by(Block.id).limit(scan).subquery()
    query = (
        select(Block, Pool, Scope.name)
        .join(ids, ids.c.id == Block.id)
        .join(Pool, Pool.id == Block.pool_id)
        .join(Scope, Scope.id == Pool.scope_id)
        .where(~exists().where(Seen.family == Pool.kind, Seen.value == Block.value, _same_place()))
        .order_by(Block.id)
        .limit(limit)
    )
    found = [(row[0], row[1], row[2]) for row in s.execute(query)]
    if len(found) == limit:
        return found, found[-1][0].id
    return found, _end(s, ids.c.id, scan)


def not_allocated(
    s: ReadSession, limit: int, scan: int, after: int | None
) -> tuple[Sequence[Seen], int | None]:
    """What hosts have shown and nobody has, among the next ``scan`` rows; and the id to go on after."""
    part = select(Seen.id).order_by(Seen.id).limit(scan)
    if after is not None:
        part = part.where(Seen.id > after)
    ids = part.subquery()
    held = (
        exists()
        .where(
            Block.value == Seen.value, Block.state != "quarantined", Pool.kind == Seen.family, _same_place()
        )
        .where(Pool.id == Block.pool_id, Scope.id == Pool.scope_id)
    )
    query = select(Seen).join(ids, ids.c.id == Seen.id).where(~held, ~_OWN_CHOICE)
    found = s.scalars(query.order_by(Seen.id).limit(limit)).all()
    if len(found) == limit:
        return found, found[-1].id
    return found, _end(s, ids.c.id, scan)


def released(s: ReadSession, values: Sequence[str]) -> Sequence[tuple[Block, Pool, str]]:
    """Blocks in quarantine of these values, the last released at the end."""
    query = select(Block, Pool, Scope.name).join(Pool, Pool.id == Block.pool_id)
    query = query.join(Scope, Scope.id == Pool.scope_id)
    query = query.where(Block.value.in_(values), Block.state == "quarantined").order_by(Block.released_at)
    return [(row[0], row[1], row[2]) for row in s.execute(query)]


def _end(s: ReadSession, ids: Any, scan: int) -> int | None:
    """The last id of a part; None: it is the last part."""
    last: int | None = s.scalar(select(ids).order_by(ids.desc()).limit(1))
    count = s.scalar(select(ids).order_by(ids).offset(scan - 1).limit(1))
    return last if count is not None else None
