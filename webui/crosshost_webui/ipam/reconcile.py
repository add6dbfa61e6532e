# SPDX-License-Identifier: GPL-3.0-or-later
"""What is allocated and on no host, and what is on a host and not allocated.

Each call looks at a bounded number of rows and says where to go on, so that a page costs the same whatever there is. What a host
chooses by itself is nobody's allocation and left out: the ingress network's addresses of hosts, the addresses in LANs, the ports
that endpoints publish.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..db.engine import ReadSession
from ..inventory.models import Seen
from . import store_seen
from .held import Held

SCAN = 10_000  # rows of one call


class Missing(NamedTuple):
    """Allocations that no host has. ``next``: where to go on; None: that is all."""

    found: Sequence[Held]
    next: int | None


class Stray(NamedTuple):
    """A value on a host. ``former``: whose it was until it was released."""

    seen: Seen
    former: Held | None


class Strays(NamedTuple):
    found: Sequence[Stray]
    next: int | None


def missing(s: ReadSession, limit: int, after: int | None = None) -> Missing:
    """Of declared objects, in the order of allocation."""
    rows, upto = store_seen.not_seen(s, limit, SCAN, after)
    return Missing([Held(*row) for row in rows], upto)


def strays(s: ReadSession, limit: int, after: int | None = None) -> Strays:
    """In the order in which they were seen."""
    rows, upto = store_seen.not_allocated(s, limit, SCAN, after)
    former = {
        (held.value, held.scope): held
        for row in store_seen.released(s, [one.value for one in rows])
        if (held := Held(*row))
    }
    found = []
    for one in rows:
        own = former.get((one.value, f"host {one.host}"))
        shared = next(
            (
                held
                for (value, scope), held in former.items()
                if value == one.value and not scope.startswith("host ")
            ),
            None,
        )
        found.append(Stray(one, own or shared))
    return Strays(found, upto)
