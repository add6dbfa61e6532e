# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of a pool shows every slot once, and as it is."""

from __future__ import annotations

from crosshost_webui.ipam.extents import Extent
from crosshost_webui.ipam.map import CELL, CELLS, COLUMNS, GAP, Mark, picture, wider, window
from hypothesis import given
from hypothesis import strategies as st

sizes = st.integers(1, 2**63 - 1) | st.integers(1, 5000)
units = st.sampled_from([1, 2, 256, 2**16])


@given(
    sizes, units, st.none() | st.integers(-5, 2**64), st.none() | st.integers(1, 2**63), st.integers(0, 2**63)
)
def test_a_window_is_inside_and_small_enough(
    size: int, unit: int, at: int | None, per_cell: int | None, used: int
) -> None:
    shown = window(size, unit, at, per_cell, used)
    assert 0 <= shown.first <= shown.last < size
    assert shown.last - shown.first < shown.per_cell * CELLS
    assert shown.per_cell & (shown.per_cell - 1) == 0
    assert shown.per_cell >= unit
    outer = wider(shown, size, unit)
    steps = 0
    while outer is not None:
        assert outer.first <= shown.first
        assert outer.last >= shown.last
        shown, outer, steps = outer, wider(outer, size, unit), steps + 1
    assert (shown.first, shown.last) == (0, size - 1)
    assert steps <= 12


@st.composite
def pools(draw: st.DrawFn) -> tuple[int, list[Mark], list[Extent]]:
    """A size, the blocks and the free extents that together cover it."""
    size = draw(st.integers(1, 3000))
    cuts = sorted(draw(st.sets(st.integers(0, size), max_size=40)) | {0, size})
    marks, free = [], []
    for first, end in zip(cuts, cuts[1:], strict=False):
        if draw(st.booleans()):
            marks.append(Mark(first, end - 1, "active", first, f"b{first}"))
        elif free and free[-1].last == first - 1:
            free[-1] = Extent(free[-1].first, end - 1)
        else:
            free.append(Extent(first, end - 1))
    return size, marks, free


@given(pools(), st.sampled_from([1, 2, 8, 64]))
def test_a_picture_tells_of_each_slot_what_it_is(
    pool: tuple[int, list[Mark], list[Extent]], per_cell: int
) -> None:
    size, marks, free = pool
    shown = window(size, 1, 0, per_cell)
    inside = [one for one in free if one.first <= shown.last]
    drawn = picture(shown, inside, [one for one in marks if one.first <= shown.last])
    used = {slot for mark in marks for slot in range(mark.first, mark.last + 1)}
    place = shown.first
    for bar in drawn.bars:
        assert bar.slots.first == place
        place = bar.slots.last + 1
        mine = range(bar.slots.first, bar.slots.last + 1)
        assert abs(bar.share - sum(slot in used for slot in mine) / len(mine)) < 1e-9
        if bar.mark is not None:
            assert bar.mark.first <= bar.slots.first
            assert bar.mark.last >= bar.slots.last
        assert 0 <= bar.x < bar.x + bar.width <= drawn.width
        assert 0 <= bar.y < drawn.height
    assert place == shown.last + 1


@given(pools())
def test_bars_of_a_row_do_not_touch(pool: tuple[int, list[Mark], list[Extent]]) -> None:
    size, marks, free = pool
    drawn = picture(window(size, 1, 0, 1), free, marks)
    for one, other in zip(drawn.bars, drawn.bars[1:], strict=False):
        assert (other.x - one.x - one.width == GAP and other.y == one.y) or (other.x == 0 and other.y > one.y)
    assert drawn.width == COLUMNS * (CELL + GAP)


def test_what_is_used_is_where_it_is() -> None:
    drawn = picture(window(256, 1), [Extent(4, 255)], [Mark(0, 3, "active", 7, "gateway")])
    assert [(bar.slots, bar.share, bar.mark and bar.mark.block_id) for bar in drawn.bars[:2]] == [
        (Extent(0, 3), 1.0, 7), (Extent(4, 63), 0.0, None),
    ]  # fmt: skip
