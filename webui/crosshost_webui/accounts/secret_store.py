# SPDX-License-Identifier: GPL-3.0-or-later
"""All SQL of secrets."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select, text

from ..db.engine import ReadSession, WriteSession
from .models import Secret


def secret(s: ReadSession, secret_id: int) -> Secret | None:
    return s.get(Secret, secret_id)


def secret_to_change(s: WriteSession, secret_id: int) -> Secret | None:
    """Nobody else changes the row until the session ends."""
    return s.scalar(select(Secret).where(Secret.id == secret_id).with_for_update())


def secret_by_name(s: ReadSession, kind: str, name: str) -> Secret | None:
    return s.scalar(select(Secret).where(Secret.kind == kind, Secret.name == name))


def secrets(s: ReadSession, kind: str | None, limit: int, after_id: int | None = None) -> Sequence[Secret]:
    """In the order in which they were made."""
    query = select(Secret).order_by(Secret.id).limit(limit)
    if kind is not None:
        query = query.where(Secret.kind == kind)
    if after_id is not None:
        query = query.where(Secret.id > after_id)
    return s.scalars(query).all()


def all_to_change(s: WriteSession) -> Sequence[Secret]:
    """Every secret; no other is added or changed until the session ends."""
    if s.get_bind().dialect.name == "postgresql":
        s.execute(text("LOCK TABLE secret IN SHARE ROW EXCLUSIVE MODE"))
    return s.scalars(select(Secret).order_by(Secret.id)).all()


def add(s: WriteSession, found: Secret) -> Secret:
    s.add(found)
    s.flush()
    return found


def remove(s: WriteSession, secret_id: int) -> None:
    s.execute(delete(Secret).where(Secret.id == secret_id))


def key_ids(s: ReadSession) -> set[str]:
    return set(s.scalars(select(Secret.key_id).distinct()))
