# SPDX-License-Identifier: GPL-3.0-or-later
"""All SQL of users, sessions, tokens, the buckets of attempts, and the requests that are remembered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ..db.engine import ReadSession, WriteSession
from .models import Bucket, Remembered, SignIn, Token, User


def user(s: ReadSession, user_id: int) -> User | None:
    return s.get(User, user_id)


def user_to_change(s: WriteSession, user_id: int) -> User | None:
    """Nobody else changes the row until the session ends."""
    return s.scalar(select(User).where(User.id == user_id).with_for_update())


def user_by_name(s: ReadSession, name: str) -> User | None:
    return s.scalar(select(User).where(User.name == name))


def user_by_subject(s: ReadSession, subject: str) -> User | None:
    return s.scalar(select(User).where(User.source == "oidc", User.subject == subject))


def users(s: ReadSession, limit: int, after: str | None = None) -> Sequence[User]:
    """In the order of their names; ``after``: only those behind this name."""
    query = select(User).order_by(User.name).limit(limit)
    return s.scalars(query if after is None else query.where(User.name > after)).all()


def count_users(s: ReadSession) -> int:
    return s.scalar(select(func.count()).select_from(User)) or 0


def lock_admins(s: WriteSession) -> set[int]:
    """The local admins who can sign in by password. Nobody else changes them until the session ends, so that two who disable each
    other leave one."""
    query = select(User.id).where(
        User.role == "admin", User.source == "local", ~User.disabled, User.password.is_not(None)
    )
    return set(s.scalars(query.order_by(User.id).with_for_update()).all())


def add_user(s: WriteSession, found: User) -> User:
    s.add(found)
    s.flush()
    return found


def delete_user(s: WriteSession, user_id: int) -> None:
    """With the sessions and the tokens, which the database takes away."""
    s.execute(delete(User).where(User.id == user_id))


def sign_in(s: ReadSession, sign_in_id: bytes) -> tuple[SignIn, User] | None:
    row = s.execute(
        select(SignIn, User).join(User, User.id == SignIn.user_id).where(SignIn.id == sign_in_id)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def add_sign_in(s: WriteSession, found: SignIn) -> None:
    s.add(found)


def sign_ins(s: ReadSession, user_id: int) -> Sequence[SignIn]:
    return s.scalars(
        select(SignIn).where(SignIn.user_id == user_id).order_by(SignIn.seen_at.desc()).limit(200)
    ).all()


def saw_sign_in(s: WriteSession, sign_in_id: bytes, at: datetime) -> None:
    s.execute(update(SignIn).where(SignIn.id == sign_in_id, SignIn.seen_at < at).values(seen_at=at))


def end_sign_in(s: WriteSession, sign_in_id: bytes) -> None:
    s.execute(delete(SignIn).where(SignIn.id == sign_in_id))


def end_sign_ins(s: WriteSession, user_id: int, but: bytes | None = None) -> int:
    """End a user's sessions, all ``but`` one; how many."""
    query = delete(SignIn).where(SignIn.user_id == user_id).returning(SignIn.user_id)
    return len(s.execute(query if but is None else query.where(SignIn.id != but)).all())


def drop_old_sign_ins(s: WriteSession, at: datetime, idle: timedelta) -> int:
    query = (
        delete(SignIn)
        .where(or_(SignIn.expires_at <= at, SignIn.seen_at <= at - idle))
        .returning(SignIn.user_id)
    )
    return len(s.execute(query).all())


def token_by_key(s: ReadSession, key: str) -> tuple[Token, User] | None:
    row = s.execute(
        select(Token, User).join(User, User.id == Token.user_id).where(Token.key == key)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def token(s: ReadSession, token_id: int) -> tuple[Token, User] | None:
    row = s.execute(
        select(Token, User).join(User, User.id == Token.user_id).where(Token.id == token_id)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def tokens(
    s: ReadSession, user_id: int | None, limit: int, before_id: int | None = None
) -> Sequence[tuple[Token, str]]:
    """With the names of their users, the newest first; ``user_id`` None: everybody's."""
    query = (
        select(Token, User.name).join(User, User.id == Token.user_id).order_by(Token.id.desc()).limit(limit)
    )
    if user_id is not None:
        query = query.where(Token.user_id == user_id)
    if before_id is not None:
        query = query.where(Token.id < before_id)
    return [(row[0], row[1]) for row in s.execute(query)]


def add_token(s: WriteSession, found: Token) -> Token:
    s.add(found)
    s.flush()
    return found


def used_token(s: WriteSession, token_id: int, at: datetime) -> None:
    query = update(Token).where(Token.id == token_id, or_(Token.used_at.is_(None), Token.used_at < at))
    s.execute(query.values(used_at=at))


def revoke_token(s: WriteSession, token_id: int, at: datetime) -> bool:
    """Whether it was still valid."""
    query = update(Token).where(Token.id == token_id, Token.revoked_at.is_(None)).values(revoked_at=at)
    return s.execute(query.returning(Token.id)).first() is not None


def revoke_tokens(s: WriteSession, user_id: int, at: datetime) -> int:
    query = update(Token).where(Token.user_id == user_id, Token.revoked_at.is_(None)).values(revoked_at=at)
    return len(s.execute(query.returning(Token.id)).all())


def pepper_ids(s: ReadSession) -> set[str]:
    """Of the tokens that are not revoked."""
    return set(s.scalars(select(Token.pepper_id).where(Token.revoked_at.is_(None)).distinct()))


def lock_bucket(s: WriteSession, key: str, level: float, at: datetime) -> Bucket:
    """The bucket, held until the session ends; made with this level if there is none."""
    make = sqlite.insert if s.get_bind().dialect.name == "sqlite" else postgresql.insert
    s.execute(make(Bucket).values(key=key, level=level, at=at).on_conflict_do_nothing())
    return s.scalars(select(Bucket).where(Bucket.key == key).with_for_update()).one()


def drop_bucket(s: WriteSession, key: str) -> None:
    s.execute(delete(Bucket).where(Bucket.key == key))


def drop_old_buckets(s: WriteSession, before: datetime) -> int:
    return len(s.execute(delete(Bucket).where(Bucket.at < before).returning(Bucket.key)).all())


def try_lock_remembered(s: WriteSession, principal: str, key: str) -> bool:
    """Whether no other server carries out this request at the moment. On SQLite there is none."""
    if s.get_bind().dialect.name == "sqlite":
        return True
    digest = hashlib.sha256(f"idempotency {principal} {key}".encode()).digest()
    number = int.from_bytes(digest[:8], "big", signed=True)
    return bool(s.scalar(select(func.pg_try_advisory_xact_lock(number))))


def remembered(s: ReadSession, principal: str, key: str) -> Remembered | None:
    return s.get(Remembered, (principal, key))


def remember(
    s: WriteSession, principal: str, key: str, digest: bytes, status: int, body: bytes, at: datetime
) -> None:
    s.add(Remembered(principal=principal, key=key, digest=digest, status=status, body=body, at=at))


def forget(s: WriteSession, before: datetime) -> int:
    """Drop the remembered requests that are older; how many."""
    return len(s.execute(delete(Remembered).where(Remembered.at < before).returning(Remembered.key)).all())
