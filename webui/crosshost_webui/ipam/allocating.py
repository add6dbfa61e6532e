# SPDX-License-Identifier: GPL-3.0-or-later
"""What people and programs allocate beside the declarations, and how it is released."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..audit.store import Actor
from ..db.engine import ReadSession, WriteSession
from ..web.problem import Conflict, Invalid
from . import placing, store, store_read, store_scopes
from .claims import pools_serving, release
from .defaults import SERVED_BY, ensure_defaults, ensure_ports
from .extents import Extent
from .held import Held, drop_unused, get_block, get_pool, log
from .models import CLUSTER, Block, Pool
from .placing import Request
from .store import Entry
from .values import PROTOCOLS, Value, text_of


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """What somebody asks for by hand or by the API. One of ``pool_id``, ``purpose``, ``within`` says where. ``owner`` and ``name``
    identify it: asked for again, the same is given. ``value``: exact. ``length``: of a subnet. ``count``: of other slots, a power
    of two, aligned. ``reserve``: nobody uses it, but nobody else shall."""

    owner: str
    name: str
    pool_id: int | None = None
    purpose: str | None = None
    within: str | None = None
    scope: str = CLUSTER
    value: str | None = None
    length: int | None = None
    count: int = 1
    avoid: Sequence[str] = ()
    note: str = ""
    reserve: bool = False


def allocate(s: WriteSession, actor: Actor, wanted: Allocation) -> tuple[Held, bool]:
    """The block, and whether it is new. Invalid: there is no room, or who is in the way. Conflict: the owner has another one of
    that name."""
    what = f"{wanted.owner}: {wanted.name}"
    pools, window = _where(s, wanted, what)
    first = pools[0]
    value = None if wanted.value is None else placing.read(what, first.kind, wanted.value)
    if value is not None and value.version != first.version:
        raise Invalid(f"{what} {wanted.value!r}: it has to be IPv{first.version}", {"value": "other version"})
    if value is not None and wanted.pool_id is None and first.kind != "address":
        pools = []
    if first.kind in ("subnet", "port"):
        # what is decided by several pools at once; others go on beside it
        store_scopes.lock_scope(s, first.scope_id, share=True)
    had = _had(s, wanted, what, pools, value)
    if had is not None:
        return had, False
    entry = Entry(
        "manual", wanted.owner, wanted.name, wanted.owner, "reserved" if wanted.reserve else "active", value is None,
        wanted.note, actor.who,
    )  # fmt: skip
    scope_id = store_scopes.add_scope(s, wanted.scope) if wanted.pool_id is None else first.scope_id
    request = Request(what, entry, scope_id, False, wanted.length, _order(wanted, first, what), wanted.avoid)
    if value is not None:
        placed = placing.exactly(s, request, value, pools[0] if pools else None)
    else:
        placed = placing.next_free(s, request, pools, window)
    if not placed.taken.is_new:
        return get_block(s, placed.taken.block_id), False
    found = _made(placed, entry, store_read.scope_name(s, placed.pool.scope_id))
    log(s, actor, "allocate", found, None, found.body())
    return found, True


def release_block(s: WriteSession, actor: Actor, block_id: int, at_once: bool = False) -> None:
    """Put a block into quarantine; ``at_once``, or from there: make it free. Conflict: it is a declared object's, or somebody has
    addresses of the subnet."""
    held = get_block(s, block_id)
    block = held.block
    what = f"allocation {held.value} of {block.label or block.owner_id}"
    is_quarantined = block.state == "quarantined"
    if block.owner_type == "item" and not is_quarantined:
        raise Conflict(f"{what}: it is declared as {block.name}; change the declaration there")
    if block.owner_type == "system":
        raise Conflict(f"{what}: it is the {block.name}, which no host can have")
    if block.owner_type == "pool" and not is_quarantined:
        raise Conflict(f"{what}: it holds the pool {block.name}; delete that")
    child = store_read.pool_of_block(s, block_id)
    inside = None if child is None else store_read.has_foreign_block(s, child.id)
    if inside is not None:
        raise Conflict(f"{what}: {inside.label or inside.owner_id} has an address of it; release that first")
    before = held.body()
    if not is_quarantined:
        release(s, held, what)
    if at_once or is_quarantined:
        store.give_back(s, block_id)
        drop_unused(s, held.pool)
    log(s, actor, "release", held, before, None)


def _where(s: WriteSession, wanted: Allocation, what: str) -> tuple[Sequence[Pool], Extent | None]:
    """The pools that it may come from, and the part of them that automatic choice keeps to."""
    told = [one for one in (wanted.pool_id, wanted.purpose, wanted.within) if one is not None]
    if len(told) != 1:
        raise Invalid(f"{what}: say where by exactly one of pool_id, purpose, within")
    if wanted.pool_id is not None:
        return [get_pool(s, wanted.pool_id)], None
    ensure_defaults(s)
    ids = list(dict.fromkeys(store_scopes.add_scope(s, name) for name in (wanted.scope, CLUSTER)))
    if wanted.within is not None:
        pool, window = placing.address_home(s, what, ids, wanted.within)
        return [pool], window
    purpose = wanted.purpose or ""
    if purpose not in SERVED_BY:
        raise Invalid(
            f"{what}: purpose {purpose!r}: take one of {', '.join(SERVED_BY)}", {"purpose": "unknown"}
        )
    protocol = ""
    if purpose == "port":
        protocol = next((one for one in PROTOCOLS if (wanted.value or "").endswith(f"/{one}")), "tcp")
        ensure_ports(s, ids[0], protocol)
    pools = pools_serving(s, ids, purpose, protocol)
    if not pools:
        raise Invalid(f"{what}: no pool serves {purpose}; add one, or take another purpose")
    return pools, None


def _had(
    s: ReadSession, wanted: Allocation, what: str, pools: Sequence[Pool], value: Value | None
) -> Held | None:
    """What the owner has under that name, if it is what it asks for now."""
    block_id = store_read.block_of_owner(s, "manual", wanted.owner, wanted.name)
    if block_id is None:
        return None
    held = get_block(s, block_id)
    same = held.value == text_of(value) if value is not None else held.pool.id in {one.id for one in pools}
    if not same:
        raise Conflict(
            f"{what}: it is {held.value} of {held.pool.name} already; release that, or take another name"
        )
    return held


def _made(placed: placing.Placed, entry: Entry, scope: str) -> Held:
    """What has just been stored, without reading it again."""
    taken = placed.taken
    block = Block(
        **entry._asdict(), id=taken.block_id, pool_id=placed.pool.id, first=taken.extent.first, last=taken.extent.last,
        value=placed.value, created_at=taken.at, released_at=None,
    )  # fmt: skip
    return Held(block, placed.pool, scope)


def _order(wanted: Allocation, pool: Pool, what: str) -> int:
    if wanted.count & (wanted.count - 1) or wanted.count < 1:
        raise Invalid(
            f"{what}: count {wanted.count}: take a power of two; a block is aligned",
            {"count": "no power of two"},
        )
    if pool.kind == "subnet" and wanted.count != 1:
        raise Invalid(f"{what}: count {wanted.count}: of subnets say the length", {"count": "of subnets 1"})
    return wanted.count.bit_length() - 1
