# SPDX-License-Identifier: GPL-3.0-or-later
"""Scopes: made when somebody names them, and locked where several of their pools decide together."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from ..db.engine import WriteSession
from .models import Scope


def lock_scope(s: WriteSession, scope_id: int, share: bool = False) -> None:
    """Nobody else decides what depends on several pools of the scope until the session ends; who shares it decides on one."""
    s.execute(select(Scope.id).where(Scope.id == scope_id).with_for_update(read=share, key_share=not share))


def add_scope(s: WriteSession, name: str) -> int:
    """The id of the scope of this name; made if there is none. Scopes stay, so it is asked for once a session."""
    known: dict[str, int] = s.info.setdefault("ipam scopes", {})
    if name not in known:
        make = sqlite.insert if s.connection().dialect.name == "sqlite" else postgresql.insert
        s.execute(make(Scope).values(name=name).on_conflict_do_nothing())
        known[name] = s.scalars(select(Scope.id).where(Scope.name == name)).one()
    return known[name]
