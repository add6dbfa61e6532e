# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking and giving back slots, against a model of sets; and what happens to a pool that somebody has written into beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from crosshost_webui.db.base import now
from crosshost_webui.db.engine import Database
from crosshost_webui.ipam import store
from crosshost_webui.ipam.check import check
from crosshost_webui.ipam.extents import Extent, join
from crosshost_webui.ipam.models import Block, Free, Pool
from crosshost_webui.ipam.values import Space
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Executable, delete, insert, select, update

from tests.webui.support_ipam import add_numbers, assert_clean, entry, slots_of

SIZE = 40
SPACE = Space("vni", 0, "", 0, 1, SIZE)
EXTENTS = st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1)).map(
    lambda two: Extent(min(two), max(two))
)


class PoolModel(RuleBasedStateMachine):
    """A pool beside the sets of slots that its blocks should have."""

    database: Database
    blocks = Bundle("blocks")

    def __init__(self) -> None:
        super().__init__()
        with self.database.write() as s:
            for pool_id in s.scalars(select(Pool.id)).all():
                store.drop_pool(s, pool_id)
            self.pool_id = add_numbers(s, SIZE)
        self.used: dict[int, set[int]] = {}
        self.resting: set[int] = set()
        self.count = 0

    def taken(self) -> set[int]:
        return set().union(*self.used.values())

    def name(self) -> store.Entry:
        self.count += 1
        return entry(str(self.count))

    @rule(
        target=blocks,
        k=st.integers(0, 5),
        window=st.none() | EXTENTS,
        avoid=st.lists(EXTENTS, max_size=3),
    )
    def take(self, k: int, window: Extent | None, avoid: list[Extent]) -> object:
        with self.database.write() as s:
            found = store.take(s, self.pool_id, SPACE, k, self.name(), window, join(avoid))
        inside = range(window.first, window.last + 1) if window else range(SIZE)
        refused = self.taken().union(*(range(one.first, one.last + 1) for one in avoid))
        room = [
            first for first in range(0, SIZE, 1 << k)
            if all(slot in inside and slot not in refused for slot in range(first, first + (1 << k)))
        ]  # fmt: skip
        if found is None:
            assert not room
            return multiple()
        assert found.is_new
        assert found.extent.first in room
        assert found.extent.size == 1 << k
        if k == 0:
            assert found.extent.first == room[0]
        self.used[found.block_id] = set(range(found.extent.first, found.extent.last + 1))
        return found.block_id

    @rule(target=blocks, wanted=EXTENTS)
    def take_exactly(self, wanted: Extent) -> object:
        slots = set(range(wanted.first, wanted.last + 1))
        # in the order of their slots, so that those in quarantine before the first other one are given back or not as a whole
        over = {number for number, held in self.used.items() if held & slots}
        try:
            with self.database.write() as s:
                found = store.take_exactly(s, self.pool_id, SPACE, wanted, self.name())
        except store.OccupiedError as error:
            assert error.block_id in over - self.resting
            return multiple()
        assert over <= self.resting
        for number in over:
            del self.used[number]
        self.used[found.block_id] = slots
        return found.block_id

    @rule(number=consumes(blocks))
    def give_back(self, number: int) -> None:
        with self.database.write() as s:
            freed = store.give_back(s, number)
        held = self.used.pop(number, None)
        assert (freed is None) == (held is None)

    @rule(number=blocks)
    def quarantine(self, number: int) -> None:
        with self.database.write() as s:
            store.quarantine(s, number)
        self.resting.add(number)

    @invariant()
    def adds_up(self) -> None:
        assert_clean(self.database)
        with self.database.read() as s:
            free = s.execute(select(Free.first, Free.last).order_by(Free.first)).all()
            pool = s.get(Pool, self.pool_id)
        assert {slot for first, last in free for slot in range(first, last + 1)} == set(
            range(SIZE)
        ) - self.taken()
        assert pool is not None
        assert pool.used == len(self.taken())


def test_a_pool_is_a_set_of_slots(database: Database) -> None:
    """Random takes, exact takes, releases; after each the blocks and free extents add up."""
    PoolModel.database = database
    few = settings(max_examples=25 if database.is_sqlite else 8, stateful_step_count=25)
    run_state_machine_as_test(PoolModel, settings=few)


@pytest.fixture
def pool_id(database: Database) -> int:
    with database.write() as s:
        return add_numbers(s, SIZE)


def take(database: Database, pool_id: int, name: str, k: int = 0) -> store.Taken | None:
    with database.write() as s:
        return store.take(s, pool_id, SPACE, k, entry(name))


def test_the_same_name_again_is_the_same_block(database: Database, pool_id: int) -> None:
    first = take(database, pool_id, "a")
    again = take(database, pool_id, "a")
    assert first is not None
    assert again is not None
    assert again == first._replace(is_new=False, at=None)
    with database.write() as s:
        exact = store.take_exactly(s, pool_id, SPACE, Extent(9, 9), entry("a"))
    assert exact == again
    assert_clean(database)


def test_a_full_pool(database: Database, pool_id: int) -> None:
    for number in range(SIZE):
        assert take(database, pool_id, str(number)) is not None
    assert take(database, pool_id, "more") is None
    assert_clean(database)


def test_blocks_are_cut_where_they_split_the_least(database: Database, pool_id: int) -> None:
    """Size 40: free are 4-7 and 9-39."""
    with database.write() as s:
        for first, last in ((0, 3), (8, 8)):
            store.take_exactly(s, pool_id, SPACE, Extent(first, last), entry(str(first)))
        assert store.take(s, pool_id, SPACE, 2, entry("four")) is not None
        assert store.take(s, pool_id, SPACE, 3, entry("eight")) is not None
        assert slots_of(s, pool_id)["four"] == (4, 7)
        assert slots_of(s, pool_id)["eight"] == (16, 23)
    assert_clean(database)


def test_quarantine_keeps_slots_from_automatic_choice(database: Database, pool_id: int) -> None:
    first = take(database, pool_id, "a")
    assert first is not None
    with database.write() as s:
        store.quarantine(s, first.block_id)
    second = take(database, pool_id, "a")
    assert second is not None
    assert second.extent == Extent(1, 1)
    with database.write() as s:
        third = store.take_exactly(s, pool_id, SPACE, Extent(0, 0), entry("b"))
        assert third.is_new
        assert store.give_back(s, first.block_id) is None
    assert_clean(database)


def write_beside(database: Database, pool_id: int, first: int, last: int) -> None:
    """As a writer that knows nothing of free extents."""
    row = {
        **entry(f"beside {first}")._asdict(), "pool_id": pool_id, "first": first, "last": last,
        "value": SPACE.text(Extent(first, last)), "created_at": now(),
    }  # fmt: skip
    with database.write() as s:
        s.execute(insert(Block), [row])


def test_a_writer_beside_the_store_is_found_and_healed(database: Database, pool_id: int) -> None:
    write_beside(database, pool_id, 0, 1)
    with database.read() as s:
        faults = [one.text for one in check(s, pool_id).faults]
    assert any("there twice" in text for text in faults)
    assert any("counter says 0 used slots, the blocks have 2" in text for text in faults)
    found = take(database, pool_id, "a")
    assert found is not None
    assert found.extent == Extent(2, 2)
    assert_clean(database)


def test_healing_of_exact_and_aligned_blocks(database: Database, pool_id: int) -> None:
    write_beside(database, pool_id, 0, 1)
    found = take(database, pool_id, "four", 2)
    assert found is not None
    assert found.extent == Extent(4, 7)
    write_beside(database, pool_id, 20, 20)
    with database.write() as s:
        store.take_exactly(s, pool_id, SPACE, Extent(21, 22), entry("exact"))
    every = [take(database, pool_id, f"single {number}") for number in range(SIZE)]
    taken = [one for one in every if one is not None]
    assert len(taken) == SIZE - 9
    assert_clean(database)
    with database.write() as s:
        s.execute(delete(Free))
        for one in taken[:20]:
            s.execute(delete(Block).where(Block.id == one.block_id))
        store.take_exactly(s, pool_id, SPACE, taken[3].extent, entry("no free list"))
    assert_clean(database)


def test_healing_on_release(database: Database, pool_id: int) -> None:
    found = take(database, pool_id, "a", 1)
    assert found is not None
    with database.write() as s:
        s.execute(update(Pool).values(used=0))
        store.give_back(s, found.block_id)
    assert_clean(database)
    found = take(database, pool_id, "a", 1)
    assert found is not None
    with database.write() as s:
        s.execute(update(Free).values(first=0, last=SIZE - 1, ord=5))
        store.give_back(s, found.block_id)
    assert_clean(database)


def test_rebuild(database: Database, pool_id: int) -> None:
    for number in range(10):
        take(database, pool_id, str(number), number % 3)
    with database.write() as s:
        before = [
            tuple(row) for row in s.execute(select(Free.first, Free.last, Free.ord).order_by(Free.first))
        ]
        s.execute(update(Free).where(Free.first == before[0][0]).values(ord=0))
        s.execute(update(Pool).values(used=1))
        assert store.rebuild(s, pool_id) == len(before)
        after = [
            tuple(row) for row in s.execute(select(Free.first, Free.last, Free.ord).order_by(Free.first))
        ]
    assert after == before
    assert_clean(database)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (update(Free).values(ord=1), "indexed as of order"),
        (update(Free).where(Free.first > 0).values(last=SIZE), "beyond its end"),
        (update(Free).where(Free.first > 0).values(last=SIZE - 2), "neither used nor free"),
        (update(Free).where(Free.first > 0).values(first=6), "neither used nor free"),
        (update(Free).where(Free.first > 0).values(first=4), "there twice"),
        (delete(Free), "neither used nor free"),
        (update(Pool).values(used=7), "counter says 7"),
        (update(Block).values(value="x"), "is called x"),
        (insert(Free).values(pool_id=1, first=SIZE, last=SIZE, ord=0), "free beside another"),
    ],
)
def test_check_tells(tmp_path: Path, change: Executable, text: str) -> None:
    database = Database(f"sqlite:///{tmp_path / 'db'}")
    database.create()
    with database.write() as s:
        pool_id = add_numbers(s, SIZE)
        store.take_exactly(s, pool_id, SPACE, Extent(3, 4), entry("a"))
        s.execute(change)
    with database.read() as s:
        assert any(text in one.text for one in check(s).faults), check(s).faults
    with database.write() as s:
        store.rebuild(s, pool_id)
    with database.read() as s:
        assert [one.text for one in check(s).faults if one.is_mended] == []
    database.close()
