# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords: Argon2id. Hashing takes memory and time on purpose, so only a few are hashed at once, and none while the database
is held."""

from __future__ import annotations

import secrets
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from ..web.problem import Invalid, Unavailable

LEAST = 12  # characters; length is what makes a password hard to guess, not the kinds of characters in it (NIST SP 800-63B)
MOST = 256
AT_ONCE = 2  # a thread each; 19 MiB each
WAITING_MOST = 8
# OWASP's least for Argon2id: 19 MiB, two passes, one lane
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_turns = threading.BoundedSemaphore(AT_ONCE)
_places = threading.BoundedSemaphore(AT_ONCE + WAITING_MOST)


def hashed(password: str, name: str) -> str:
    """What is stored for a new password of the account ``name``. Invalid if the policy forbids it."""
    plain = _normal(password)
    if not LEAST <= len(plain) <= MOST:
        found = f"it has {len(plain)} characters; take {LEAST} to {MOST}"
        raise Invalid(f"password of {name}: {found}", {"password": found})
    if plain.casefold() == name.casefold() or len(set(plain)) < 4:
        found = "it is the account's name, or hardly more than one character; take several words"
        raise Invalid(f"password of {name}: {found}", {"password": found})
    with _in_turn():
        return _hasher.hash(plain)


def is_right(stored: str | None, password: str) -> bool:
    """Whether the password is the one that is stored. None, for an account that does not exist or has no password: False, after
    the same time."""
    plain = _normal(password[: MOST + 1])
    with _in_turn():
        try:
            return _hasher.verify(stored or _nobodys(), plain) and stored is not None
        except (VerificationError, InvalidHashError):
            return False


def is_outdated(stored: str) -> bool:
    """Whether it was hashed at another cost than is usual now."""
    return _hasher.check_needs_rehash(stored)


def again(password: str) -> str:
    """The hash of a password that was right a moment ago, at today's cost."""
    with _in_turn():
        return _hasher.hash(_normal(password))


def made_up() -> str:
    """A password for a person to copy: 120 bits."""
    text = secrets.token_hex(15)
    return "-".join(text[at : at + 6] for at in range(0, len(text), 6))


def _normal(password: str) -> str:
    """The same characters typed on another keyboard are the same password."""
    return unicodedata.normalize("NFKC", password)


@cache
def _nobodys() -> str:
    return _hasher.hash(secrets.token_hex(16))


@contextmanager
def _in_turn() -> Iterator[None]:
    """Unavailable when many wait already: who sends thousands of passwords shall not take the threads of everybody else."""
    if not _places.acquire(blocking=False):
        raise Unavailable(
            "many sign in at this moment; try again in a few seconds", headers={"Retry-After": "5"}
        )
    try:
        with _turns:
            yield
    finally:
        _places.release()
