# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rest of the dashboard asks of IPAM."""

from __future__ import annotations

from datetime import timedelta

from ..db.base import now
from ..db.engine import WriteSession
from . import store, store_read, store_scopes
from .allocating import Allocation, allocate, release_block
from .check import check, rebuild
from .claims import Granted, Owner, Wanted, claim, settle
from .defaults import ensure_defaults
from .held import Held, drop_unused, get_block, get_pool
from .models import CLUSTER
from .occupied import Use, occupied
from .pools import NewPool, change_pool, create_pool, delete_pool

__all__ = [
    "Allocation", "Granted", "Held", "NewPool", "Owner", "Use", "Wanted", "allocate", "change_pool", "check", "claim", "create_pool",
    "delete_pool", "ensure_defaults", "get_block", "get_pool", "occupied", "reap", "rebuild", "release_block", "settle",
]  # fmt: skip

_REAP_PART = 200


def reap(s: WriteSession, quarantine: int) -> int:
    """Make blocks free that have been in quarantine for so many seconds; how many. A part of them, if there are many: call it
    again until it is 0."""
    scope = store_read.scope(s, CLUSTER)
    if scope is not None:
        # who claims holds several pools as well
        store_scopes.lock_scope(s, scope.id)
    found = store.released_before(s, now() - timedelta(seconds=quarantine), _REAP_PART)
    for block_id in found:
        held = store_read.block(s, block_id)
        store.give_back(s, block_id)
        if held is not None:
            drop_unused(s, held[1])
    return len(found)
