# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done about accounts from the command line, at the start, and from time to time."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from ..audit.store import Actor
from ..db.base import now
from ..web.idempotency import KEPT
from ..web.problem import Conflict, NotFound
from . import limits, passwords, secret_store, secrets, store, tokens, users
from .models import User

if TYPE_CHECKING:
    from ..state import State

FIRST = "admin"


def command_line() -> Actor:
    """Who works on the command line, by the name of the machine's account."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "unknown"
    return Actor(name, "command line")


def first_admin(state: State) -> tuple[str, str] | None:
    """The first start: an admin, by name and password, which is shown once. None if there are users already."""
    with state.db.read() as s:
        if store.count_users(s):
            return None
    password = passwords.made_up()
    stored = passwords.hashed(password, FIRST)
    try:
        with state.db.write() as s:
            if store.count_users(s):
                return None
            users.create(s, Actor("server", "first start"), FIRST, "admin", stored)
    except Conflict:
        return None  # another server was first
    return FIRST, password


def create_user(state: State, name: str, role: str, has_password: bool = True) -> str:
    """A user by the command line; its password, or an empty text if it is to have none."""
    password = passwords.made_up() if has_password else ""
    stored = passwords.hashed(password, name) if has_password else None
    with state.db.write() as s:
        users.create(s, command_line(), name, role, stored)
    return password


def reset_password(state: State, name: str) -> str:
    """A new password for a local user, who can sign in again, also if it was disabled. NotFound if there is none of this name."""
    password = passwords.made_up()
    stored = passwords.hashed(password, name)
    with state.db.write() as s:
        user = users.to_change(s, _named(state, name).id)
        users.set_password(s, command_line(), user, stored)
        if user.disabled:
            users.change(s, command_line(), user, disabled=False)
    return password


def make_token(state: State, user_name: str, name: str, scopes: Sequence[str], days: int | None = 90) -> str:
    """The text of a new API token of this user."""
    user = _named(state, user_name)
    with state.db.write() as s:
        return tokens.create(s, state.keys, command_line(), user, name, scopes, days)[1]


def rotate_keys(state: State, who: Actor | None = None) -> tuple[str, int]:
    """A new key and pepper; all secrets are encrypted with the new key. Its id, and how many secrets there are. A server that runs
    goes on: it reads the key file again."""
    state.keys.rotate()
    with state.db.write() as s:
        return secrets.encrypt_all_again(s, state.keys, who or command_line())


def unknown_keys(state: State) -> list[str]:
    """One line for each key that the database needs and the key file does not hold."""
    with state.db.read() as s:
        missing = state.keys.missing(secret_store.key_ids(s), store.pepper_ids(s))
    return [
        f"{state.keys.path}: the key {one} is not in it, and what was made with it cannot be used; put back the key file that "
        "belongs to this database"
        for one in sorted(missing)
    ]


def sweep(state: State) -> None:
    """Drop what has had its time: sessions, full buckets, remembered requests. To be called every few minutes."""
    at = now()
    full = timedelta(seconds=limits.SIGN_IN.burst * limits.SIGN_IN.seconds)
    with state.db.write() as s:
        store.drop_old_sign_ins(s, at, timedelta(seconds=state.settings.session_idle))
        store.drop_old_buckets(s, at - full)
        store.forget(s, at - KEPT)


def _named(state: State, name: str) -> User:
    with state.db.read() as s:
        found = store.user_by_name(s, users.normal_name(name))
    if found is None:
        raise NotFound(f"user {name}: there is none of this name")
    return found
