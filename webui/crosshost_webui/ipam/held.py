# SPDX-License-Identifier: GPL-3.0-or-later
"""A block together with its pool, as it is shown and as the audit log keeps it."""

from __future__ import annotations

from typing import NamedTuple

from ..audit.store import Actor, record
from ..db.base import Json
from ..db.engine import ReadSession, WriteSession
from ..web.problem import NotFound
from . import store, store_read
from .defaults import DECLARED
from .extents import Extent
from .models import Block, Pool


class Held(NamedTuple):
    block: Block
    pool: Pool
    scope: str

    @property
    def extent(self) -> Extent:
        return Extent(self.block.first, self.block.last)

    @property
    def value(self) -> str:
        return self.block.value

    @property
    def name(self) -> str:
        """The name that the owner has given; a block in quarantine has its id behind it."""
        block = self.block
        return block.name.rpartition("#")[0] if block.state == "quarantined" else block.name

    @property
    def owner(self) -> str:
        """For people."""
        return self.block.label or self.block.owner_id or self.block.owner_type

    def body(self) -> Json:
        """As the audit log keeps it."""
        return {
            "value": self.value, "pool": self.pool.name, "scope": self.scope, "owner": self.block.owner_id, "name": self.name,
            "state": self.block.state, "note": self.block.note,
        }  # fmt: skip


def get_pool(s: ReadSession, pool_id: int) -> Pool:
    found = store_read.pool(s, pool_id)
    if found is None:
        raise NotFound(f"pool {pool_id}: there is none of this id")
    return found


def get_block(s: ReadSession, block_id: int) -> Held:
    found = store_read.block(s, block_id)
    if found is None:
        raise NotFound(f"allocation {block_id}: there is none of this id; it may have been released")
    return Held(*found)


def drop_unused(s: WriteSession, pool: Pool) -> None:
    """A pool that was made for one declared subnet goes with it."""
    if pool.purpose == DECLARED and not store_read.blocks(s, pool.id, 1):
        store.drop_pool(s, pool.id)


def log(
    s: WriteSession, actor: Actor, action: str, held: Held, before: Json | None, after: Json | None
) -> None:
    name = f"{held.value} of {held.owner}"
    record(s, actor, action, "allocation", held.block.id, name, before, after)
