# SPDX-License-Identifier: GPL-3.0-or-later
"""What the database refuses of writers that know nothing of the rules."""

from __future__ import annotations

import itertools
import random
import re
import threading
from typing import Any

import pytest
from crosshost_webui.db.base import now
from crosshost_webui.db.engine import Database, WriteSession
from crosshost_webui.ipam.models import Block, Pool, Scope
from sqlalchemy import insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

# the same first slot is refused by the unique index already, where that is looked at first
REFUSED = r"ex_block_overlap|uq_block_pool_id_first"
NAMES = (f"p{number}" for number in itertools.count())


def make_scope(s: WriteSession, name: str = "cluster") -> int:
    found = Scope(name=name)
    s.add(found)
    s.flush()
    return found.id


def make_pool(s: WriteSession, scope_id: int, **values: Any) -> int:
    """A pool as a writer makes it that knows nothing of the rules."""
    found = Pool(**{"scope_id": scope_id, "name": next(NAMES), "size": 100, "created_at": now(), **values})
    s.add(found)
    s.flush()
    return found.id


def block(pool_id: int, first: int, last: int) -> dict[str, Any]:
    return {
        "pool_id": pool_id, "first": first, "last": last, "value": "", "owner_type": "manual", "owner_id": "x", "name": f"{first}-{last}",
        "label": "", "state": "active", "automatic": False, "note": "", "who": "", "created_at": now(),
    }  # fmt: skip


@pytest.fixture
def pool_id(database: Database) -> int:
    with database.write() as s:
        found = make_pool(s, make_scope(s), kind="vni")
        s.execute(insert(Block), [block(found, 10, 19), block(found, 30, 39)])
        return found


@pytest.mark.parametrize(
    ("first", "last"), [(10, 10), (19, 25), (0, 10), (5, 50), (29, 30), (12, 13), (0, 99)]
)
def test_an_overlapping_block_is_refused(database: Database, pool_id: int, first: int, last: int) -> None:
    with pytest.raises(IntegrityError, match=REFUSED), database.write() as s:
        s.execute(insert(Block), [block(pool_id, first, last)])


@pytest.mark.parametrize(("first", "last"), [(0, 9), (20, 29), (40, 99)])
def test_a_touching_block_is_let_in(database: Database, pool_id: int, first: int, last: int) -> None:
    with database.write() as s:
        s.execute(insert(Block), [block(pool_id, first, last)])


@pytest.mark.usefixtures("pool_id")
def test_a_block_cannot_grow_into_another(database: Database) -> None:
    with pytest.raises(IntegrityError, match=REFUSED), database.write() as s:
        s.execute(update(Block).where(Block.first == 10).values(last=30))
    with database.write() as s:
        s.execute(update(Block).where(Block.first == 10).values(first=5, last=29))


def test_the_same_slots_of_another_pool(database: Database, pool_id: int) -> None:
    with database.write() as s:
        other = make_pool(s, make_scope(s, "host a"), kind="vni")
        s.execute(insert(Block), [block(other, 10, 19)])
    with pytest.raises(IntegrityError, match=REFUSED), database.write() as s:
        s.execute(update(Block).where(Block.pool_id == other).values(pool_id=pool_id))


def cidr(text: str, base: str, top: str) -> dict[str, Any]:
    return {
        "kind": "subnet", "version": 4, "cidr": text, "base": bytes.fromhex(base), "top": bytes.fromhex(top),
        "unit": 32,
    }  # fmt: skip


TEN = cidr("10.0.0.0/8", "0a000000", "0affffff")
INSIDE = cidr("10.1.0.0/16", "0a010000", "0a01ffff")
AROUND = cidr("8.0.0.0/6", "08000000", "0bffffff")
BESIDE = cidr("11.0.0.0/8", "0b000000", "0bffffff")


@pytest.mark.parametrize("other", [TEN, INSIDE, AROUND])
def test_pools_of_a_scope_do_not_overlap(database: Database, other: dict[str, Any]) -> None:
    with database.write() as s:
        scope_id, host = make_scope(s), make_scope(s, "host a")
        pool_id = make_pool(s, scope_id, **TEN)
        make_pool(s, scope_id, **BESIDE)
        make_pool(s, host, **other)
        made = make_pool(s, scope_id, kind="vni")
        s.execute(insert(Block), [block(made, 0, 0)])
        block_id = s.scalars(select(Block.id)).one()
        make_pool(s, scope_id, **{**other, "kind": "address"})
        make_pool(s, scope_id, **{**other, "block_id": block_id})
        make_pool(s, scope_id, **{**other, "purpose": "leaving"})
    with pytest.raises(IntegrityError, match=r"ex_pool_(overlap|numbers)"), database.write() as s:
        make_pool(s, scope_id, **other)
    with pytest.raises(IntegrityError, match=r"ex_pool_(overlap|numbers)"), database.write() as s:
        s.execute(update(Pool).where(Pool.purpose == "leaving").values(purpose=""))
    with database.write() as s:
        s.execute(update(Pool).where(Pool.id == pool_id).values(note="itself it does not overlap"))


def test_pools_of_numbers_do_not_overlap(database: Database) -> None:
    with database.write() as s:
        scope_id = make_scope(s)
        make_pool(s, scope_id, kind="port", protocol="tcp", first_value=100, size=100)
        make_pool(s, scope_id, kind="port", protocol="udp", first_value=100, size=100)
        make_pool(s, scope_id, kind="port", protocol="tcp", first_value=200, size=100)
        make_pool(s, scope_id, kind="vni", first_value=100, size=100)
    for first, size in ((100, 1), (199, 1), (0, 101), (50, 500)):
        with pytest.raises(IntegrityError, match=r"ex_pool_(overlap|numbers)"), database.write() as s:
            make_pool(s, scope_id, kind="port", protocol="tcp", first_value=first, size=size)


def test_writers_that_race_without_a_lock(database: Database) -> None:
    """Each inserts random extents, one a transaction; whatever got in, nothing overlaps."""
    with database.write() as s:
        pool_id = make_pool(s, make_scope(s), kind="vni", size=1000)
    counts: list[tuple[int, int]] = []

    def insert_many(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311
        got = refused = 0
        for _ in range(40):
            first = chance.randrange(950)
            try:
                with database.writer.begin() as connection:
                    connection.execute(insert(Block), [block(pool_id, first, first + chance.randrange(50))])
                got += 1
            except DBAPIError as error:
                assert re.search("ex_block_overlap|uq_block|deadlock", str(error.orig)), error
                refused += 1
        counts.append((got, refused))

    threads = [threading.Thread(target=insert_many, args=(seed,)) for seed in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(120)
    with database.read() as s:
        found = s.execute(select(Block.first, Block.last).order_by(Block.first)).all()
    assert sum(got for got, _refused in counts) == len(found)
    assert len(found) > 5
    assert sum(refused for _got, refused in counts) > 5
    assert all(one.last < other.first for one, other in zip(found, found[1:], strict=False))
