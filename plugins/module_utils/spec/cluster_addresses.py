# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses by construction: who asks for one gets it from what it is called, without a memory of what was handed out."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping


class ExhaustedError(ValueError):
    """There are more keys than addresses."""


def allocate(
    keys: Collection[str], first: int, last: int, taken: Collection[int], fixed: Mapping[str, int]
) -> dict[str, int]:
    """A number from ``first`` to ``last`` for each key, no two the same and none of ``taken``; ``fixed`` are the keys that
    have theirs already. ExhaustedError if they do not suffice.

    A key begins at its digest and takes the first free number from there on; smaller keys come first. So the order of
    the keys does not matter, a key that is added moves no smaller one, and of the others only those that it pushes on.
    """
    size = last - first + 1
    wanted = sorted({key for key in keys if key not in fixed})
    used = {number for number in (*taken, *fixed.values()) if first <= number <= last}
    if len(wanted) > size - len(used):
        raise ExhaustedError
    found = dict(fixed)
    for key in wanted:
        place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big") % size
        while first + place in used:
            place = (place + 1) % size
        found[key] = first + place
        used.add(first + place)
    return found
