# SPDX-License-Identifier: GPL-3.0-or-later
"""API tokens, `xh_<key>.<secret>`. The key finds the row; the secret is random enough that a fast digest is as good as a slow one,
and it is keyed by a pepper that is not in the database."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import timedelta

from ..audit import store as audit
from ..audit.store import Actor
from ..db.base import Json, now
from ..db.engine import ReadSession, WriteSession
from ..web.access import SCOPES, Role
from ..web.problem import Invalid, NotFound
from . import store
from .keys import Keys
from .models import Token, User

DAYS_MOST = 3650
FORM = re.compile(r"xh_([0-9a-f]{16})\.([A-Za-z0-9_-]{43})")
# What a scope is of use for: a token can do what its user can, and no more.
LEAST_ROLE = {
    "read": Role.VIEWER, "inventory:write": Role.OPERATOR, "ipam:write": Role.OPERATOR, "run:start": Role.OPERATOR,
    "executor": Role.OPERATOR, "admin": Role.VIEWER,
}  # fmt: skip
assert LEAST_ROLE.keys() == set(SCOPES)


def shown(token: Token) -> Json:
    """All but the digest."""
    return {
        "name": token.name, "key": token.key, "scopes": list(token.scopes),
        "expires_at": None if token.expires_at is None else token.expires_at.isoformat(),
    }  # fmt: skip


def create(
    s: WriteSession, keys: Keys, who: Actor, user: User, name: str, scopes: Sequence[str], days: int | None
) -> tuple[Token, str]:
    """A token of the user, and its text, which is nowhere else and never shown again. ``days`` None: it does not expire."""
    if days is not None and not 1 <= days <= DAYS_MOST:
        raise Invalid(f"token {name}: days {days}: use 1 to {DAYS_MOST}", {"days": f"use 1 to {DAYS_MOST}"})
    key, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    pepper_id, digest = keys.digest(secret)
    at = now()
    found = Token(
        key=key, digest=digest, pepper_id=pepper_id, user_id=user.id, name=_name(name),
        scopes=_scopes(name, scopes, Role[user.role.upper()]), created_at=at,
        expires_at=None if days is None else at + timedelta(days=days),
    )  # fmt: skip
    store.add_token(s, found)
    audit.record(s, who, "create", "token", found.id, f"{found.name} of {user.name}", None, shown(found))
    return found, f"xh_{key}.{secret}"


def get(s: ReadSession, token_id: int, user_id: int | None) -> tuple[Token, User]:
    """``user_id``: whose it must be; None: anybody's. NotFound also for the token of somebody else."""
    found = store.token(s, token_id)
    if found is None or user_id not in (None, found[1].id):
        raise NotFound(f"token {token_id}: there is none; the list of tokens has their ids")
    return found


def revoke(s: WriteSession, who: Actor, token_id: int, user_id: int | None) -> None:
    """It stays in the list as revoked; revoking it again changes nothing."""
    token, user = get(s, token_id, user_id)
    if store.revoke_token(s, token.id, now()):
        audit.record(s, who, "revoke", "token", token.id, f"{token.name} of {user.name}", shown(token), None)


def _name(name: str) -> str:
    found = name.strip()
    if not found or len(found) > 150 or not found.isprintable():
        told = "say what it is for, in 1 to 150 printable characters"
        raise Invalid(f"token: name {name[:80]!r}: {told}", {"name": told})
    return found


def _scopes(name: str, scopes: Sequence[str], role: Role) -> list[str]:
    told = ""
    for one in scopes:
        if one not in SCOPES:
            told = f"{one[:40]!r} is not known; use {', '.join(SCOPES)}"
        elif role < LEAST_ROLE[one]:
            told = f"{one} is for {LEAST_ROLE[one].word}s, and the account is {role.word}"
    if not scopes:
        told = f"name at least one of {', '.join(SCOPES)}"
    if told:
        raise Invalid(f"token {name[:80]}: scopes: {told}", {"scopes": told})
    return sorted(set(scopes), key=SCOPES.index)
