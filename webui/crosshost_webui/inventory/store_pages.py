# SPDX-License-Identifier: GPL-3.0-or-later
"""What lists on pages ask for besides their items: counts and times of many objects at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import func, select

from ..db.engine import ReadSession
from .models import HostReport, Item, Seen

SUGGESTED_MOST = 300
SEEN_MOST = 200


def looked_at(s: ReadSession, hosts: Collection[str]) -> dict[str, datetime]:
    """When runs last had a report of these hosts."""
    query = select(HostReport.host, HostReport.at).where(HostReport.host.in_(hosts))
    return {row[0]: row[1] for row in s.execute(query)}


def count_looked_at(s: ReadSession) -> int:
    return s.scalar(select(func.count()).select_from(HostReport)) or 0


def endpoints_by_host(s: ReadSession, hosts: Collection[str]) -> dict[str, int]:
    query = select(Item.host, func.count()).where(Item.kind == "endpoint", Item.host.in_(hosts))
    return {str(row[0]): row[1] for row in s.execute(query.group_by(Item.host))}


def endpoints_by_network(s: ReadSession, networks: Collection[str]) -> dict[str, int]:
    """By the networks' names on hosts."""
    query = select(Item.network, func.count()).where(Item.kind == "endpoint", Item.network.in_(networks))
    return {str(row[0]): row[1] for row in s.execute(query.group_by(Item.network))}


def endpoints_by_both(s: ReadSession, hosts: Collection[str]) -> dict[tuple[str, str], int]:
    """By host and network."""
    query = select(Item.host, Item.network, func.count()).where(Item.kind == "endpoint", Item.host.in_(hosts))
    rows = s.execute(query.group_by(Item.host, Item.network))
    return {(str(row[0]), str(row[1])): row[2] for row in rows}


def names(s: ReadSession, kinds: Collection[str], limit: int = SUGGESTED_MOST) -> list[str]:
    """For browsers to propose."""
    query = select(Item.name).where(Item.kind.in_(kinds)).order_by(Item.name).limit(limit)
    return list(s.scalars(query))


def seen_on(s: ReadSession, host: str) -> Sequence[Seen]:
    query = select(Seen).where(Seen.host == host).order_by(Seen.network, Seen.name, Seen.id)
    return s.scalars(query.limit(SEEN_MOST)).all()
