# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log's rows. They are added by what changes something, in its transaction, and by nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select

from ..db.base import Json, now
from ..db.engine import ReadSession, WriteSession
from .models import AuditEntry

if TYPE_CHECKING:
    from ..web.access import Context

BODY_MOST = 64 * 1024  # bytes of JSON of one side; a revision keeps the whole of what it changed


class Actor(NamedTuple):
    """Who does something. ``through``: `token NAME`, `command line`, a schedule; empty: the browser."""

    who: str
    through: str = ""
    request_id: str = ""
    address: str = ""


class Filters(NamedTuple):
    """What is looked for; None: anything. These columns and no others: a filter on what is not shown would tell it."""

    who: str | None = None
    action: str | None = None
    object_type: str | None = None
    object_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def actor(context: Context) -> Actor:
    return Actor(context.who, context.principal.through, context.request_id, context.address)


def record(
    s: WriteSession,
    who: Actor,
    action: str,
    object_type: str,
    object_id: object,
    object_name: str,
    before: Json | None,
    after: Json | None,
) -> None:
    """Add an entry. ``before`` None: it is new; ``after`` None: it is gone. Neither holds a secret, not even a masked one."""
    s.add(
        AuditEntry(
            at=now(), who=_text(who.who, 150), through=_text(who.through, 150), action=_text(action, 60),
            object_type=_text(object_type, 40), object_id=_text(str(object_id), 80), object_name=_text(object_name, 300),
            before=_fitting(before), after=_fitting(after), request_id=_text(who.request_id, 40),
            address=_text(who.address, 64),
        )
    )  # fmt: skip


def entries(
    s: ReadSession, filters: Filters, limit: int, before_id: int | None = None
) -> Sequence[AuditEntry]:
    """The newest first; ``before_id``: only those older than this one."""
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
    for name in ("who", "action", "object_type", "object_id"):
        value = getattr(filters, name)
        if value is not None:
            query = query.where(getattr(AuditEntry, name) == value)
    if before_id is not None:
        query = query.where(AuditEntry.id < before_id)
    # Moments as ids: the rows are in the order of time, and an index gives both the range and the order only by id.
    if filters.since is not None:
        first = _first_since(s, filters.since)
        if first is None:
            return []
        query = query.where(AuditEntry.id >= first)
    if filters.until is not None:
        end = _first_since(s, filters.until)
        if end is not None:
            query = query.where(AuditEntry.id < end)
    return s.scalars(query).all()


def entry(s: ReadSession, entry_id: int) -> AuditEntry | None:
    return s.get(AuditEntry, entry_id)


def _first_since(s: ReadSession, moment: datetime) -> int | None:
    return s.scalar(
        select(AuditEntry.id).where(AuditEntry.at >= moment).order_by(AuditEntry.at, AuditEntry.id).limit(1)
    )


def _text(value: str, most: int) -> str:
    """As the column takes it: PostgreSQL has no NUL in texts, and neither database has lone surrogates."""
    return value.replace("\0", "").encode("utf-8", "replace").decode()[:most]


def _fitting(value: Json | None) -> Json | None:
    if value is None:
        return None
    size = len(json.dumps(value, default=str))
    if size > BODY_MOST:
        return {
            "truncated": True,
            "bytes": size,
            "fields": [_text(str(name), 80) for name in sorted(map(str, value))[:200]],
        }
    return {_text(str(name), 300): _clean(inner) for name, inner in value.items()}


def _clean(value: Any) -> Any:
    """As JSON that both databases take."""
    if isinstance(value, dict):
        return {_text(str(name), 300): _clean(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _text(str(value), BODY_MOST)
