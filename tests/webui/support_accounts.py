# SPDX-License-Identifier: GPL-3.0-or-later
"""Users, their sessions and tokens for tests, made beneath the rules: no password is hashed, so that it costs nothing."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime

import pytest
from crosshost_webui.accounts import passwords, sessions, store
from crosshost_webui.accounts.keys import Keys
from crosshost_webui.accounts.models import Token, User
from crosshost_webui.db.base import now
from crosshost_webui.db.engine import Database
from crosshost_webui.settings import Settings
from crosshost_webui.state import State


@pytest.fixture
def any_state(database: Database, settings: Settings) -> State:
    """Without routes, on each kind of database."""
    return State(settings, database, Keys(settings))


@pytest.fixture
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Passwords that cost next to nothing; test_accounts_passwords tests the real cost."""
    monkeypatch.setattr(passwords, "_hasher", passwords.PasswordHasher(1, 8, 1))
    passwords._nobodys.cache_clear()
    yield
    passwords._nobodys.cache_clear()


def make_user(state: State, name: str = "ann", role: str = "admin", disabled: bool = False) -> int:
    """A local user without a password; the id."""
    with state.db.write() as s:
        return store.add_user(s, User(name=name, role=role, disabled=disabled, created_at=now())).id


def sign_in(state: State, name: str = "ann") -> dict[str, str]:
    """A session of the user's browser; the header that carries it."""
    with state.db.write() as s:
        found = store.user_by_name(s, name)
        assert found is not None, name
        value = sessions.begin(s, state.settings, found, "127.0.0.1", "test")
    return {"Cookie": f"{sessions.cookie_name(state.settings)}={value}"}


def make_token(
    state: State, name: str = "ann", scopes: Sequence[str] = ("admin",), expires_at: datetime | None = None
) -> dict[str, str]:
    """An API token of the user; the header that carries it."""
    key, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    pepper_id, digest = state.keys.digest(secret)
    with state.db.write() as s:
        found = store.user_by_name(s, name)
        assert found is not None, name
        token = Token(
            key=key, digest=digest, pepper_id=pepper_id, user_id=found.id, name=f"of {name}", scopes=list(scopes),
            created_at=now(), expires_at=expires_at,
        )  # fmt: skip
        store.add_token(s, token)
    return {"Authorization": f"Bearer xh_{key}.{secret}"}
