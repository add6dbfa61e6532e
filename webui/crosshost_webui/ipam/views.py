# SPDX-License-Identifier: GPL-3.0-or-later
"""IPAM as people look at it: what there is, how full it is, what is free, and where a value comes from and has got to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..db.engine import ReadSession
from ..inventory.models import Item, Revision, Seen
from ..runs.models import Run
from . import store_read
from .extents import Extent
from .held import Held, get_block, get_pool
from .models import CLUSTER, Pool
from .values import Space, parse

_TOP_LEVEL_MOST = 1000  # pools of the tree


class Utilisation(NamedTuple):
    """In slots; ``percent`` is rounded up, so that 0 means empty."""

    used: int
    size: int

    @property
    def free(self) -> int:
        return self.size - self.used

    @property
    def percent(self) -> int:
        return -(-self.used * 100 // self.size)


@dataclass(frozen=True)
class Branch:
    """A pool in the tree. ``range``: its CIDR block, or its numbers."""

    pool: Pool
    scope: str
    range: str
    utilisation: Utilisation


@dataclass(frozen=True)
class Subnet:
    """A block of a pool of subnets, with the pool of its addresses."""

    held: Held
    addresses: Pool | None
    utilisation: Utilisation | None


@dataclass(frozen=True)
class FreeExtent:
    """``largest``: the largest aligned block in it, such as a /20; of other kinds than subnets the same as ``value``."""

    value: str
    slots: Extent
    largest: str


@dataclass(frozen=True)
class Chain:
    """From the allocation over the declaration to the hosts: each with the run that has seen it there last."""

    held: Held
    item: Item | None
    revision: Revision | None
    seen: Sequence[Seen]
    runs: dict[int, Run]
    subnet: Held | None
    addresses: Pool | None


def utilisation(pool: Pool) -> Utilisation:
    return Utilisation(pool.used, pool.size)


def range_of(pool: Pool) -> str:
    """The pool's block as it was given, or its numbers."""
    space = Space.of(pool)
    return pool.cidr or space.text_of(space.all)


def tree(s: ReadSession, scope: str | None = None) -> list[Branch]:
    """The pools that are in no other, of one scope or of all; what is in them comes by subnets()."""
    filters = store_read.Filters(scope=scope, top_level=True)
    found = store_read.pools(s, filters, _TOP_LEVEL_MOST)
    branches = [Branch(pool, name, range_of(pool), utilisation(pool)) for pool, name in found]
    return sorted(branches, key=_place)


def subnets(s: ReadSession, pool_id: int, limit: int, after: int | None = None) -> list[Subnet]:
    """The blocks of a pool of subnets, in the order of their addresses; ``after``: a slot."""
    pool = get_pool(s, pool_id)
    scope = store_read.scope_name(s, pool.scope_id)
    blocks = store_read.blocks(s, pool_id, limit, after)
    pools = store_read.pools_of_blocks(s, [one.id for one in blocks])
    found = []
    for block in blocks:
        inside = pools.get(block.id)
        found.append(Subnet(Held(block, pool, scope), inside, utilisation(inside) if inside else None))
    return found


def free(s: ReadSession, pool_id: int, limit: int, after: int | None = None) -> list[FreeExtent]:
    """The free extents of a pool; ``after``: a slot."""
    pool = get_pool(s, pool_id)
    space = Space.of(pool)
    found = []
    for row in store_read.free(s, pool_id, limit, after):
        slots = Extent(row.first, row.last)
        value = space.text(slots)
        largest = f"/{pool.unit - row.ord}" if pool.kind == "subnet" else value
        found.append(FreeExtent(value, slots, largest))
    return found


def chain(s: ReadSession, block_id: int) -> Chain:
    """Where a block comes from and where it has got to."""
    held = get_block(s, block_id)
    item = None
    if held.block.owner_type == "item" and held.block.owner_id.isdigit():
        item = store_read.item(s, int(held.block.owner_id))
    revision_id = held.block.revision_id
    seen = [
        one
        for one in store_read.seen_values(s, [(held.pool.kind, held.value)])
        if is_of(held.scope, one.host)
    ]
    runs = store_read.runs(s, sorted({one.run_id for one in seen}))
    parent = None if held.pool.block_id is None else get_block(s, held.pool.block_id)
    return Chain(
        held, item, None if revision_id is None else store_read.revision(s, revision_id), seen, runs, parent,
        store_read.pool_of_block(s, block_id),
    )  # fmt: skip


def is_of(scope: str, host: str) -> bool:
    """Whether what is seen on the host can be a value of the scope."""
    return not scope.startswith("host ") or scope == f"host {host}"


def find(s: ReadSession, text: str, limit: int = 20) -> list[Held]:
    """The blocks that a person means: of this value, or whose subnet or pool has this address; the smallest first."""
    found = [Held(*row) for row in store_read.blocks_of_value(s, text.strip(), limit)]
    if found:
        return found
    for kind in ("address", "vni", "port"):
        try:
            value = parse(kind, text)
        except ValueError:
            continue
        for pool, scope in store_read.pools_with(s, value, limit):
            slots = Space.of(pool).touched(value.extent)
            block = None if slots is None else store_read.block_at(s, pool.id, slots.first)
            if block is not None:
                found.append(Held(block, pool, scope))
    return found


def _place(branch: Branch) -> tuple[bool, str, str, int, str, bytes, int]:
    pool = branch.pool
    return (
        branch.scope != CLUSTER, branch.scope, pool.kind, pool.version, pool.protocol, pool.base or b"", pool.first_value,
    )  # fmt: skip
