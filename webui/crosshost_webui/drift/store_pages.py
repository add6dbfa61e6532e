# SPDX-License-Identifier: GPL-3.0-or-later
"""What lists on pages ask of drift: counts of many objects at once."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import func, select

from ..db.engine import ReadSession
from ..runs.models import Drift


def hosts_by_subject(s: ReadSession, subjects: Collection[str]) -> dict[str, int]:
    """On how many hosts these objects differ."""
    query = select(Drift.subject, func.count(func.distinct(Drift.host))).where(Drift.subject.in_(subjects))
    return {row[0]: row[1] for row in s.execute(query.group_by(Drift.subject))}


def oldest(s: ReadSession) -> datetime | None:
    """Since when something differs."""
    return s.scalar(select(func.min(Drift.since)))
