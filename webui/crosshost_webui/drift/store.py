# SPDX-License-Identifier: GPL-3.0-or-later
"""All SQL of drift."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, delete, func, or_, select

from ..db.engine import ReadSession, WriteSession
from ..runs.models import Drift


class HostDrift(NamedTuple):
    """How much differs on one host, and since when."""

    host: str
    objects: int
    since: datetime


def of_hosts(s: ReadSession, hosts: Collection[str]) -> Sequence[Drift]:
    found: list[Drift] = []
    chosen = sorted(hosts)
    for begin in range(0, len(chosen), 500):
        query = select(Drift).where(Drift.host.in_(chosen[begin : begin + 500]))
        found += s.scalars(query.order_by(Drift.host, Drift.module, Drift.subject)).all()
    return found


def rows(
    s: ReadSession, limit: int, after: tuple[str, str, str] | None = None, host: str | None = None, network: str | None = None
) -> Sequence[Drift]:  # fmt: skip
    """By host, module and subject. ``network``: only what is about it."""
    query = select(Drift).order_by(Drift.host, Drift.module, Drift.subject).limit(limit)
    if host is not None:
        query = query.where(Drift.host == host)
    if network is not None:
        query = query.where(
            or_(Drift.subject == network, Drift.subject.startswith(f"{network}/", autoescape=True))
        )
    if after is not None:
        a, b, c = after
        query = query.where(
            or_(
                Drift.host > a,
                and_(Drift.host == a, Drift.module > b),
                and_(Drift.host == a, Drift.module == b, Drift.subject > c),
            )
        )
    return s.scalars(query).all()


def summary(s: ReadSession, limit: int, after: str | None = None) -> Sequence[HostDrift]:
    """Hosts that differ, by name."""
    query = select(Drift.host, func.count(), func.min(Drift.since)).group_by(Drift.host).order_by(Drift.host)
    if after is not None:
        query = query.where(Drift.host > after)
    return [HostDrift(*one) for one in s.execute(query.limit(limit))]


def count_hosts(s: ReadSession) -> int:
    return s.scalar(select(func.count(func.distinct(Drift.host)))) or 0


def add(s: WriteSession, row: Drift) -> None:
    s.add(row)


def remove(s: WriteSession, ids: Iterable[int]) -> None:
    chosen = sorted(ids)
    for begin in range(0, len(chosen), 500):
        s.execute(delete(Drift).where(Drift.id.in_(chosen[begin : begin + 500])))


def remove_host(s: WriteSession, host: str) -> None:
    """The host is not declared any more."""
    s.execute(delete(Drift).where(Drift.host == host))
