# SPDX-License-Identifier: GPL-3.0-or-later
"""Arithmetic of extents: runs of slots, both ends included. Pure.

A block is aligned if its size is a power of two and its first slot a multiple of the size, as subnets are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


class Extent(NamedTuple):
    """Slots ``first`` to ``last``."""

    first: int
    last: int

    @property
    def size(self) -> int:
        return self.last - self.first + 1

    def overlaps(self, other: Extent) -> bool:
        return self.first <= other.last and other.first <= self.last

    def holds(self, other: Extent) -> bool:
        return self.first <= other.first and other.last <= self.last


def order(extent: Extent) -> int:
    """log2 of the largest aligned block in it."""
    found = extent.size.bit_length() - 1
    # of two halves of an unaligned run one is aligned, so this is at most one less
    return found if _align(extent.first, found) + (1 << found) - 1 <= extent.last else found - 1


def fit(extent: Extent, k: int, avoid: Sequence[Extent] = ()) -> Extent | None:
    """The lowest aligned block of 2**``k`` slots in the extent that overlaps nothing of ``avoid``, which is as join() gives it."""
    size = 1 << k
    first = _align(extent.first, k)
    at = bisect_left(avoid, first, key=lambda one: one.last)
    while first + size - 1 <= extent.last:
        if at == len(avoid) or avoid[at].first > first + size - 1:
            return Extent(first, first + size - 1)
        first = _align(avoid[at].last + 1, k)
        at = bisect_left(avoid, first, lo=at, key=lambda one: one.last)
    return None


def cut(extent: Extent, taken: Extent) -> list[Extent]:
    """What is left of the extent without ``taken``, which lies in it."""
    left = Extent(extent.first, taken.first - 1)
    right = Extent(taken.last + 1, extent.last)
    return [one for one in (left, right) if one.size > 0]


def merge(freed: Extent, left: Extent | None, right: Extent | None) -> Extent:
    """The free extent that ``freed`` becomes a part of; ``left`` and ``right``: free neighbours, if they touch it."""
    return Extent(left.first if left else freed.first, right.last if right else freed.last)


def join(extents: Iterable[Extent]) -> list[Extent]:
    """The same slots in ascending extents that neither overlap nor touch."""
    found: list[Extent] = []
    for one in sorted(extents):
        if found and one.first <= found[-1].last + 1:
            found[-1] = Extent(found[-1].first, max(found[-1].last, one.last))
        else:
            found.append(one)
    return found


def gaps(size: int, blocks: Iterable[Extent]) -> Iterator[Extent]:
    """The free extents of a pool of ``size`` slots; ``blocks`` are ascending and do not overlap."""
    after = 0
    for one in blocks:
        if one.first > after:
            yield Extent(after, one.first - 1)
        after = one.last + 1
    if after < size:
        yield Extent(after, size - 1)


def _align(slot: int, k: int) -> int:
    """The next multiple of 2**``k``, from ``slot`` on."""
    return -(-slot >> k) << k
