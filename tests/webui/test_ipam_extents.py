# SPDX-License-Identifier: GPL-3.0-or-later
"""Arithmetic of extents against sets of slots."""

from __future__ import annotations

from crosshost_webui.ipam.extents import Extent, cut, fit, gaps, join, merge, order
from hypothesis import given
from hypothesis import strategies as st

SLOTS = st.integers(0, 200)
EXTENTS = st.tuples(SLOTS, SLOTS).map(lambda two: Extent(min(two), max(two)))
HUGE = 2**63 - 1


def slots(*extents: Extent) -> set[int]:
    return {slot for one in extents for slot in range(one.first, one.last + 1)}


def aligned(extent: Extent, k: int) -> list[int]:
    """The first slots of all aligned blocks of 2**k in it."""
    return [first for first in range(0, 256, 1 << k) if extent.holds(Extent(first, first + (1 << k) - 1))]


@given(EXTENTS)
def test_order_is_of_the_largest_aligned_block(extent: Extent) -> None:
    found = order(extent)
    assert aligned(extent, found)
    assert not aligned(extent, found + 1)


@given(EXTENTS, st.integers(0, 8), st.lists(EXTENTS, max_size=6))
def test_fit_is_the_lowest_that_avoids(extent: Extent, k: int, avoid: list[Extent]) -> None:
    taken = slots(*avoid)
    wanted = [first for first in aligned(extent, k) if not taken & set(range(first, first + (1 << k)))]
    found = fit(extent, k, join(avoid))
    assert (found.first if found else None) == (wanted[0] if wanted else None)
    assert found is None or found.size == 1 << k


@given(EXTENTS, st.data())
def test_cut_and_merge_are_inverse(extent: Extent, data: st.DataObject) -> None:
    first = data.draw(st.integers(extent.first, extent.last))
    taken = Extent(first, data.draw(st.integers(first, extent.last)))
    rest = cut(extent, taken)
    assert slots(*rest) == slots(extent) - slots(taken)
    left = next((one for one in rest if one.last < taken.first), None)
    right = next((one for one in rest if one.first > taken.last), None)
    assert merge(taken, left, right) == extent


@given(st.lists(EXTENTS, max_size=12))
def test_join_keeps_the_slots(extents: list[Extent]) -> None:
    found = join(extents)
    assert slots(*found) == slots(*extents)
    assert all(one.last + 1 < other.first for one, other in zip(found, found[1:], strict=False))


@given(st.lists(EXTENTS, max_size=12), st.integers(201, 300))
def test_gaps_are_the_rest(extents: list[Extent], size: int) -> None:
    blocks = join(extents)
    found = list(gaps(size, blocks))
    assert slots(*found) == set(range(size)) - slots(*blocks)
    assert join(found) == found


def test_the_largest_pool() -> None:
    whole = Extent(0, HUGE - 1)
    assert order(whole) == 62
    assert fit(whole, 62) == Extent(0, 2**62 - 1)
    assert fit(whole, 0, [Extent(0, HUGE - 2)]) == Extent(HUGE - 1, HUGE - 1)
    assert fit(whole, 63) is None
    assert order(Extent(1, HUGE - 1)) == 61
