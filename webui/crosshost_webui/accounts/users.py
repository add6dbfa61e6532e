# SPDX-License-Identifier: GPL-3.0-or-later
"""Users: who may be one, what may be changed about them, and what ends with a change. Passwords come here hashed already, for
that takes longer than the database may be held."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from ..audit import store as audit
from ..audit.store import Actor
from ..db.base import Json, now
from ..db.engine import ReadSession, WriteSession
from ..web.problem import Conflict, Invalid, NotFound
from . import store
from .models import User
from .oidc import Identity

ROLES = ("viewer", "operator", "admin")
NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,149}")


def normal_name(name: str) -> str:
    """As it is kept: names differ by more than the size of letters. Invalid if it is none."""
    found = name.strip().lower()
    if not NAME.fullmatch(found):
        told = "use letters, digits and . _ @ + -, beginning with a letter or a digit, at most 150"
        raise Invalid(f"user {name[:80]!r}: {told}", {"name": told})
    return found


def shown(user: User) -> Json:
    """What everybody may know who may see users, and what the audit log keeps."""
    return {
        "name": user.name, "display_name": user.display_name, "role": user.role, "source": user.source,
        "disabled": user.disabled, "has_password": user.password is not None,
    }  # fmt: skip


def version(user: User) -> str:
    """Another one after each change that an administrator makes."""
    password = user.password or ""
    text = repr((sorted(shown(user).items()), hashlib.sha256(password.encode()).hexdigest()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def get(s: ReadSession, user_id: int) -> User:
    found = store.user(s, user_id)
    if found is None:
        raise _unknown(user_id)
    return found


def to_change(s: WriteSession, user_id: int) -> User:
    """The user, held until the session ends. The admins are held before, by everyone in the same order: no two wait for each
    other."""
    store.lock_admins(s)
    found = store.user_to_change(s, user_id)
    if found is None:
        raise _unknown(user_id)
    return found


def create(
    s: WriteSession, who: Actor, name: str, role: str, password: str | None = None, display_name: str = ""
) -> User:
    """A local user. ``password``: hashed; None: cannot sign in by password, for accounts that have tokens only. Conflict if there
    is one of this name."""
    found = User(
        name=normal_name(name), display_name=display_name.strip()[:200], role=_role(role), password=password,
        created_at=now(),
    )  # fmt: skip
    return add(s, who, found)


def add(s: WriteSession, who: Actor, user: User) -> User:
    if store.user_by_name(s, user.name) is not None:
        raise Conflict(f"user {user.name}: there is one of this name; take another name, or change that one")
    store.add_user(s, user)
    audit.record(s, who, "create", "user", user.id, user.name, None, shown(user))
    return user


def change(
    s: WriteSession,
    who: Actor,
    user: User,
    role: str | None = None,
    display_name: str | None = None,
    disabled: bool | None = None,
) -> User:
    """Change what is not None. Another role ends the user's sessions; so does disabling, and it revokes the tokens too. Conflict
    if no admin were left."""
    before = shown(user)
    if role is not None and _role(role) != user.role and user.source == "oidc":
        raise Conflict(f"user {user.name}: the groups of the sign-in provider give the role; change it there")
    if role not in (None, "admin") or disabled:
        _keep_an_admin(s, user)
    user.role = role or user.role
    user.display_name = user.display_name if display_name is None else display_name.strip()[:200]
    user.disabled = user.disabled if disabled is None else disabled
    after = shown(user)
    if after == before:
        return user
    if after["role"] != before["role"] or user.disabled:
        store.end_sign_ins(s, user.id)
    if user.disabled and not before["disabled"]:
        store.revoke_tokens(s, user.id, now())
    audit.record(s, who, "change", "user", user.id, user.name, before, after)
    return user


def of_provider(s: WriteSession, who: Actor, user: User | None, identity: Identity, role: str) -> User:
    """The account of whom a provider names: made at the first time, with another role than before when the groups changed."""
    display_name = identity.display_name[:200]
    if user is None:
        found = User(
            name=_free_name(s, identity.name), display_name=display_name, role=_role(role), source="oidc",
            subject=identity.subject, created_at=now(),
        )  # fmt: skip
        return add(s, who._replace(who=found.name), found)
    before = shown(user)
    user.role, user.display_name = _role(role), display_name
    if user.role != before["role"]:
        store.end_sign_ins(s, user.id)
    if shown(user) != before:
        audit.record(
            s, who._replace(who="sign-in provider"), "change", "user", user.id, user.name, before, shown(user)
        )
    return user


def set_password(s: WriteSession, who: Actor, user: User, password: str) -> None:
    """``password``: hashed. Ends all sessions of the user: who has stolen one is out."""
    if user.source != "local":
        raise Conflict(f"user {user.name}: it signs in at the provider and has no password here")
    before = shown(user)
    user.password = password
    ended = store.end_sign_ins(s, user.id)
    audit.record(
        s, who, "set password", "user", user.id, user.name, before, {**shown(user), "sessions_ended": ended}
    )


def delete(s: WriteSession, who: Actor, user: User) -> None:
    """With sessions and tokens. Conflict if no admin were left."""
    _keep_an_admin(s, user)
    audit.record(s, who, "delete", "user", user.id, user.name, shown(user), None)
    store.delete_user(s, user.id)


def end_sessions(s: WriteSession, who: Actor, user: User, but: bytes | None = None) -> int:
    ended = store.end_sign_ins(s, user.id, but)
    if ended:
        audit.record(s, who, "end sessions", "user", user.id, user.name, None, {"sessions_ended": ended})
    return ended


def _keep_an_admin(s: WriteSession, user: User) -> None:
    """A local one with a password: who comes from a provider is admin only as long as the provider says so."""
    if store.lock_admins(s) == {user.id}:
        raise Conflict(f"user {user.name}: it is the only local admin; make another one first")


def _free_name(s: WriteSession, name: str) -> str:
    """A name that nobody has: the account of somebody else is not taken over by giving oneself its name at the provider."""
    wanted = re.sub(r"[^a-z0-9._@+-]", "-", name.strip().lower()[:140]).lstrip("._@+-") or "user"
    found, count = wanted, 1
    while store.user_by_name(s, found) is not None:
        count += 1
        found = f"{wanted}.{count}"
    return found


def _role(role: str) -> str:
    if role not in ROLES:
        raise Invalid(
            f"role {role[:40]!r}: use one of {', '.join(ROLES)}", {"role": f"use one of {', '.join(ROLES)}"}
        )
    return role


def _unknown(user_id: Any) -> NotFound:
    return NotFound(f"user {user_id}: there is none; the list of users has their ids")
