# SPDX-License-Identifier: GPL-3.0-or-later
"""All SQL of the metrics and of the health check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Double, cast, func, select, text

from ..accounts.models import User
from ..db.base import now
from ..db.engine import ReadSession
from ..ipam.models import Pool, Scope
from ..runs.models import ACTIVE, ENDED, Run


class PoolUse(NamedTuple):
    scope: str
    name: str
    kind: str
    size: int
    used: int


def answers(s: ReadSession) -> bool:
    return bool(s.scalar(text("SELECT 1")))


def runs_by_status(s: ReadSession) -> dict[str, int]:
    found = dict.fromkeys((*ACTIVE, *ENDED), 0)
    for status, count in s.execute(select(Run.status, func.count()).group_by(Run.status)):
        found[status] = count
    return found


def queued_since(s: ReadSession) -> float:
    """Seconds since the oldest run that is queued was; 0: none is."""
    oldest = s.scalar(select(Run.queued_at).where(Run.status == "queued").order_by(Run.id).limit(1))
    return 0.0 if oldest is None else max(0.0, (now() - oldest).total_seconds())


def users_by_role(s: ReadSession) -> dict[str, int]:
    found = dict.fromkeys(("viewer", "operator", "admin"), 0)
    for role, count in s.execute(select(User.role, func.count()).where(~User.disabled).group_by(User.role)):
        found[role] = count
    return found


def pools(s: ReadSession) -> Sequence[PoolUse]:
    """Each pool that is not of a subnet; those of the subnets as one a scope."""
    named = (
        select(Scope.name, Pool.name, Pool.kind, Pool.size, Pool.used)
        .join(Scope, Scope.id == Pool.scope_id).where(Pool.block_id.is_(None)).order_by(Scope.name, Pool.name)
    )  # fmt: skip
    found = [PoolUse(*row) for row in s.execute(named)]
    addresses = (
        select(Scope.name, func.sum(cast(Pool.size, Double)), func.sum(cast(Pool.used, Double)))
        .join(Scope, Scope.id == Pool.scope_id).where(Pool.block_id.is_not(None)).group_by(Scope.name).order_by(Scope.name)
    )  # fmt: skip
    # a sum of 64-bit numbers fits no 64-bit number: SQLite would refuse it
    found += [
        PoolUse(scope, "subnets", "address", int(size), int(used))
        for scope, size, used in s.execute(addresses)
    ]
    return found
