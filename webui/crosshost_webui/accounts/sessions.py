# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions of browsers: rows of the database. The cookie holds a random id; the database holds only its SHA-256, so that a copy
of the database opens no session."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from starlette.responses import Response

from ..db.base import now
from ..db.engine import WriteSession
from ..settings import Settings
from . import store
from .models import SignIn, User


def is_https(settings: Settings) -> bool:
    return settings.base_url.lower().startswith("https://")


def cookie_name(settings: Settings) -> str:
    """`__Host-`: browsers take such a cookie only from this very host, for all paths and over https. Over plain http, which is
    for loopback and tests, they would throw away a cookie of that name, and one that says Secure: it has another name there."""
    return "__Host-xh" if is_https(settings) else "xh"


def begin(s: WriteSession, settings: Settings, user: User, address: str, agent: str) -> str:
    """A new session of the user; the value of its cookie."""
    value = secrets.token_urlsafe(32)
    at = now()
    found = SignIn(
        id=hashlib.sha256(value.encode()).digest(), user_id=user.id, created_at=at, seen_at=at,
        expires_at=at + timedelta(seconds=settings.session_life), address=address[:64],
        agent="".join(one for one in agent if one.isprintable())[:300],
    )  # fmt: skip
    store.add_sign_in(s, found)
    user.signed_in_at = at
    return value


def set_cookie(response: Response, settings: Settings, value: str) -> None:
    """Lax, not Strict: a link to a page, in a mail or a chat, shall open it signed in. What changes something is no GET."""
    response.set_cookie(
        cookie_name(settings), value, max_age=settings.session_life, path="/", secure=is_https(settings), httponly=True,
        samesite="lax",
    )  # fmt: skip


def clear_cookie(response: Response, settings: Settings) -> None:
    response.delete_cookie(
        cookie_name(settings), path="/", secure=is_https(settings), httponly=True, samesite="lax"
    )
