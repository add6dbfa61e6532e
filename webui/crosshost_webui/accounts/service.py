# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asks: by the session's cookie of a browser, or by an API token. Signing in and out, and one's own password."""

from __future__ import annotations

import hashlib
import hmac
import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError

from ..audit import store as audit
from ..audit.store import Actor
from ..db.base import now
from ..db.engine import WriteSession
from ..web.access import NOBODY, Context, Principal, Role
from ..web.problem import Conflict, Forbidden, Invalid, SignInNeeded
from . import limits, oidc, passwords, sessions, store, tokens, users
from .models import User

if TYPE_CHECKING:
    from ..state import State

# When somebody was seen is kept to the minute: a write for each request would make reading cost what writing does.
SEEN_EVERY = timedelta(minutes=1)
log = logging.getLogger("crosshost_webui.accounts")


def authenticate(state: State, request: Request) -> Principal:
    """The principal of a request; NOBODY if it names none. SignInNeeded if it brings an API token that is not valid, for who
    sends one wants to be told, and not to be taken for nobody."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip().startswith("xh_"):
        return _by_token(state, value.strip())
    cookie = request.cookies.get(sessions.cookie_name(state.settings))
    return _by_cookie(state, cookie) if cookie else NOBODY


def sign_in(
    state: State, name: str, password: str, who: Actor, agent: str = "", replacing: bytes | None = None
) -> str:
    """Sign in by password; the value of the new session's cookie (sessions.set_cookie). ``who``: the address and the request's
    id count, not the name. ``replacing``: the session that the browser had, which ends. SignInNeeded if the name or the password
    is wrong, without saying which; TooMany after too many attempts on this account from this address."""
    given = name.strip().lower()[:150]
    bucket = limits.key_of("sign-in", given, who.address)
    with state.db.write() as s:
        limits.take(s, bucket, limits.SIGN_IN)
    with state.db.read() as s:
        found = store.user_by_name(s, given)
    usable = found is not None and found.source == "local" and not found.disabled
    stored = found.password if found is not None and usable else None
    is_right = passwords.is_right(stored, password)
    again = passwords.again(password) if is_right and stored and passwords.is_outdated(stored) else None
    with state.db.write() as s:
        user = store.user_to_change(s, found.id) if found is not None else None
        # once more, for it may have been changed while the password was hashed
        if not is_right or user is None or user.disabled or user.password != stored:
            _refused_sign_in(s, who, user)
            value = ""
        else:
            user.password = again or user.password
            store.drop_bucket(s, bucket)
            value = begin_session(s, state, user, who, agent, replacing)
    if not value:
        raise SignInNeeded("the name or the password is not right")
    return value


def sign_in_identity(
    state: State, identity: oidc.Identity, who: Actor, agent: str = "", replacing: bytes | None = None
) -> str:
    """Sign in whom a provider names, with the role that the groups give; the value of the new session's cookie. The account is
    made at the first time, and found by the provider's id, never by a name. Forbidden if no group gives a role, or if the
    account is disabled."""
    role = oidc.role_of(state.settings, identity.groups)
    with state.db.write() as s:
        found = store.user_by_subject(s, identity.subject)
        user = store.user_to_change(s, found.id) if found is not None else None
        value, told = "", ""
        if role is None:
            told = "none of its groups may come in; ask an administrator"
        elif user is not None and user.disabled:
            told = "the account is disabled; ask an administrator"
        else:
            user = users.of_provider(s, who, user, identity, role)
            value = begin_session(s, state, user, who, agent, replacing)
        if not value and user is not None:
            _refused_sign_in(s, who, user)
    if not value:
        raise Forbidden(f"{identity.name[:150]}: {told}")
    return value


def begin_session(
    s: WriteSession, state: State, user: User, who: Actor, agent: str, replacing: bytes | None
) -> str:
    """A new session, with an entry in the audit log; the value of its cookie."""
    if replacing is not None:
        store.end_sign_in(s, replacing)
    audit.record(s, who._replace(who=user.name), "sign in", "user", user.id, user.name, None, None)
    return sessions.begin(s, state.settings, user, who.address, agent)


def sign_out(context: Context) -> None:
    """End the browser's session. The route clears the cookie (sessions.clear_cookie)."""
    principal = context.principal
    if principal.sign_in is not None:
        with context.db.write() as s:
            store.end_sign_in(s, principal.sign_in)
            audit.record(
                s, audit.actor(context), "sign out", "user", principal.user_id, principal.name, None, None
            )


def change_own_password(context: Context, current: str, new: str) -> str:
    """Another password for who asks, in a browser; the value of the cookie of a new session, for all others end. Invalid if the
    current password is not right; Forbidden with an API token; TooMany as at signing in."""
    state, who = context.state, audit.actor(context)
    if context.principal.sign_in is None:
        raise Forbidden("a password is changed by its owner in a browser, not by an API token")
    bucket = limits.key_of("sign-in", context.who, context.address)
    with state.db.write() as s:
        limits.take(s, bucket, limits.SIGN_IN)
    with state.db.read() as s:
        stored = users.get(s, context.principal.user_id or 0).password
    if not passwords.is_right(stored, current):
        raise Invalid("the current password is not right", {"current": "it is not right"})
    new_hash = passwords.hashed(new, context.who)
    with state.db.write() as s:
        user = users.to_change(s, context.principal.user_id or 0)
        if user.password != stored:
            raise Conflict("the password was changed meanwhile; sign in again")
        users.set_password(s, who, user, new_hash)
        store.drop_bucket(s, bucket)
        agent = context.request.headers.get("user-agent", "")
        return sessions.begin(s, state.settings, user, context.address, agent)


def safe_next(value: str | None) -> str:
    """Where to go after signing in: a page of ours, or the overview. What a browser would take for another host is none of ours."""
    if not value or not value.startswith("/") or value.startswith(("//", "/\\")) or not value.isprintable():
        return "/"
    return "/" if "\\" in value or value.startswith("/sign-") else value[:2000]


def _refused_sign_in(s: WriteSession, who: Actor, user: User | None) -> None:
    """The log has the account's name only if there is such an account: people type their password into the wrong field."""
    name = user.name if user is not None else "an unknown account"
    log.warning("sign-in of %s refused", name, extra={"request_id": who.request_id, "address": who.address})
    if user is not None:
        audit.record(s, who._replace(who=""), "sign in refused", "user", user.id, user.name, None, None)


def role_of(user: User) -> Role:
    return Role[user.role.upper()]


def _by_token(state: State, value: str) -> Principal:
    found = tokens.FORM.fullmatch(value)
    with state.db.read() as s:
        row = store.token_by_key(s, found[1]) if found else None
    if found is None or row is None:
        raise _refused("it is not known")
    token, user = row
    _, digest = state.keys.digest(found[2], token.pepper_id)
    if not hmac.compare_digest(digest, token.digest):
        raise _refused("it is not known")
    at = now()
    if token.revoked_at is not None:
        raise _refused(f"{token.name} was revoked")
    if token.expires_at is not None and token.expires_at <= at:
        raise _refused(f"{token.name} has expired")
    if user.disabled:
        raise _refused(f"the account {user.name} is disabled")
    if token.used_at is None or at - token.used_at >= SEEN_EVERY:
        _note(state, at, token_id=token.id)
    return Principal(
        user.name,
        role_of(user),
        f"token:{token.id}",
        user.id,
        f"token {token.name}",
        frozenset(map(str, token.scopes)),
    )


def _by_cookie(state: State, value: str) -> Principal:
    sign_in_id = hashlib.sha256(value.encode("utf-8", "replace")).digest()
    with state.db.read() as s:
        row = store.sign_in(s, sign_in_id)
    if row is None:
        return NOBODY
    found, user = row
    at = now()
    idle = timedelta(seconds=state.settings.session_idle)
    if user.disabled or found.expires_at <= at or found.seen_at + idle <= at:
        return NOBODY
    if at - found.seen_at >= SEEN_EVERY:
        _note(state, at, sign_in_id=sign_in_id)
    return Principal(user.name, role_of(user), f"user:{user.id}", user.id, sign_in=sign_in_id)


def _note(state: State, at: datetime, token_id: int = 0, sign_in_id: bytes = b"") -> None:
    """Remember that it was used. A database that cannot be written at the moment is no reason to refuse who wants to read, or to
    let it wait: the next request notes it."""
    if state.db.is_writing():
        return
    try:
        with state.db.write() as s:
            if token_id:
                store.used_token(s, token_id, at)
            else:
                store.saw_sign_in(s, sign_in_id, at)
    except SQLAlchemyError as error:
        log.warning("cannot note the use of a sign-in: %s", type(error).__name__)


def _refused(why: str) -> SignInNeeded:
    return SignInNeeded(
        f"the API token is not valid: {why}; make another one under Tokens",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )
