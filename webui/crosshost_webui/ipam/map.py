# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of a pool: rows of cells, each a number of slots, with how much of them is used and by whom. Pure.

A pool may have 2**63 slots. So a picture is of a window: a cell holds a power of two of slots, and a window at most so many cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .extents import Extent

COLUMNS, ROWS = 64, 12
CELLS = COLUMNS * ROWS
CELL, GAP = 16, 2  # pixels; the cell's width and the space between two
LINE = 26  # pixels from row to row


class Window(NamedTuple):
    """The slots ``first`` to ``last`` in cells of ``per_cell``."""

    first: int
    last: int
    per_cell: int

    @property
    def extent(self) -> Extent:
        return Extent(self.first, self.last)


class Mark(NamedTuple):
    """A block in the picture."""

    first: int
    last: int
    state: str
    block_id: int
    label: str


class Bar(NamedTuple):
    """Some cells of one row. ``share`` of them is used; ``mark``: the block that they are of, alone."""

    x: int
    y: int
    width: int
    slots: Extent
    share: float
    mark: Mark | None


class Picture(NamedTuple):
    width: int
    height: int
    bars: Sequence[Bar]


def window(size: int, unit: int, at: int | None = None, per_cell: int | None = None, used: int = 0) -> Window:
    """A window of a pool of ``size`` slots. ``unit``: the slots of the smallest cell that makes sense, a power of two. Without
    ``per_cell`` it is of the whole pool, or, if hardly anything is used, of its beginning."""
    whole = max(unit, _power(-(-size // CELLS)))
    cell = whole if per_cell is None else min(max(_power(per_cell), unit), whole)
    if per_cell is None and used < unit * CELLS // 2:
        cell = unit
    span = cell * CELLS
    begin = 0 if at is None else min(max(at, 0), size - 1) // span * span
    return Window(begin, min(begin + span, size) - 1, cell)


def wider(shown: Window, size: int, unit: int) -> Window | None:
    """The same place with cells of so many more slots; None: all of the pool is shown."""
    if shown.first == 0 and shown.last == size - 1:
        return None
    return window(size, unit, shown.first, shown.per_cell * COLUMNS)


def picture(shown: Window, free: Sequence[Extent], marks: Iterable[Mark]) -> Picture:
    """``free`` and ``marks``: all that overlap the window, in the order of their slots."""
    count = (shown.last - shown.first) // shown.per_cell + 1
    spaces = iter([*free, Extent(shown.last + 1, shown.last + 1)])
    space = next(spaces)
    blocks = iter(marks)
    block = next(blocks, None)
    bars: list[Bar] = []
    for number in range(count):
        first = shown.first + number * shown.per_cell
        last = min(first + shown.per_cell - 1, shown.last)
        unused = 0
        while space.first <= last:
            unused += min(space.last, last) - max(space.first, first) + 1
            if space.last > last:
                break
            space = next(spaces)
        while block is not None and block.last < first:
            block = next(blocks, None)
        sole = block if block is not None and block.first <= first and block.last >= last else None
        _add(bars, number, Extent(first, last), 1 - unused / (last - first + 1), sole)
    rows = (count - 1) // COLUMNS + 1
    return Picture(COLUMNS * (CELL + GAP), rows * LINE, bars)


def _add(bars: list[Bar], number: int, slots: Extent, share: float, mark: Mark | None) -> None:
    """Cells of one block, and free ones, are drawn as one bar, up to the end of the row."""
    x, y = number % COLUMNS * (CELL + GAP), number // COLUMNS * LINE
    before = bars[-1] if bars and x > 0 else None
    alike = before is not None and before.mark == mark and (mark is not None or before.share == share == 0)
    if before is not None and alike:
        bars[-1] = before._replace(width=x + CELL - before.x, slots=Extent(before.slots.first, slots.last))
    else:
        bars.append(Bar(x, y, CELL, slots, share, mark))


def _power(number: int) -> int:
    """The least power of two that is not less."""
    return 1 << max(number - 1, 0).bit_length()
