# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools and blocks for tests."""

from __future__ import annotations

from typing import Any

from crosshost_webui.audit.store import Actor
from crosshost_webui.db.engine import Database, ReadSession, WriteSession
from crosshost_webui.ipam import store, store_scopes
from crosshost_webui.ipam.check import check
from crosshost_webui.ipam.defaults import number_pool
from crosshost_webui.ipam.models import Block
from crosshost_webui.ipam.service import Granted, Owner, Wanted, claim
from crosshost_webui.ipam.store import Entry
from sqlalchemy import select

ACTOR = Actor("ann")


def add_numbers(s: WriteSession, size: int, name: str = "numbers", first: int = 0) -> int:
    """A pool of ``size`` slots whose values are their numbers."""
    scope_id = store_scopes.add_scope(s, f"scope of {name}")
    return store.add_pool(s, number_pool(scope_id, name, "vni", "", first, first + size - 1, "")).id


def entry(name: str, owner: str = "test") -> Entry:
    return Entry("manual", owner, name)


def assert_clean(database: Database) -> None:
    """Blocks and free extents add up."""
    with database.read() as s:
        assert [one.text for one in check(s).faults] == []


def slots_of(s: ReadSession, pool_id: int) -> dict[str, tuple[int, int]]:
    """The blocks of a pool by name."""
    rows = s.execute(select(Block.name, Block.first, Block.last).where(Block.pool_id == pool_id))
    return {name: (first, last) for name, first, last in rows}


def item(number: int, label: str = "") -> Owner:
    return Owner("item", str(number), label or f"network n{number}")


def claimed(s: WriteSession, owner: Owner, *wanted: Wanted) -> dict[str, str]:
    """The values that the owner gets, by name."""
    return {one.name: one.value for one in grants(s, owner, *wanted)}


def grants(s: WriteSession, owner: Owner, *wanted: Wanted) -> list[Granted]:
    return claim(s, owner, wanted, ACTOR)


def columns(row: Any) -> dict[str, Any]:
    """A row's columns, to compare."""
    return {column.name: getattr(row, column.name) for column in row.__table__.columns}
