# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may come in: users, their sessions, API tokens, and the buckets that limit attempts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ..db.base import Base, Key


class User(Base):
    """``source`` local: with a password; oidc: known by issuer and ``subject``. A disabled user's sessions and tokens end."""

    __tablename__ = "user_account"
    __table_args__ = (
        CheckConstraint("role IN ('viewer', 'operator', 'admin')", "role"),
        CheckConstraint("source IN ('local', 'oidc')", "source"),
        UniqueConstraint("source", "subject"),
    )

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(String(150), unique=True)
    display_name: Mapped[str] = mapped_column(String(200), default="")
    role: Mapped[str] = mapped_column(String(16))
    source: Mapped[str] = mapped_column(String(8), default="local")
    subject: Mapped[str | None] = mapped_column(String(400))
    password: Mapped[str | None] = mapped_column(String(400))  # Argon2id
    disabled: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    signed_in_at: Mapped[datetime | None]


class SignIn(Base):
    """A session of a browser. ``id``: SHA-256 of what the cookie holds."""

    __tablename__ = "sign_in"

    id: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    address: Mapped[str] = mapped_column(String(64), default="")
    agent: Mapped[str] = mapped_column(String(300), default="")


class Token(Base):
    """An API token `xh_<key>.<secret>`. ``digest``: HMAC-SHA-256 of the secret with the pepper ``pepper_id``."""

    __tablename__ = "token"

    id: Mapped[Key]
    key: Mapped[str] = mapped_column(String(24), unique=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    pepper_id: Mapped[str] = mapped_column(String(16))
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(150))
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Bucket(Base):
    """A token bucket: ``level`` attempts were left at ``at``."""

    __tablename__ = "bucket"

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    level: Mapped[float]
    at: Mapped[datetime] = mapped_column(index=True)


class Secret(Base):
    """What runs need to reach hosts, encrypted with AES-256-GCM by the key ``key_id``; bound to its own id and kind."""

    __tablename__ = "secret"
    __table_args__ = (
        CheckConstraint("kind IN ('ssh_key', 'vault_password', 'become_password')", "kind"),
        UniqueConstraint("kind", "name"),
    )

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(String(150))
    kind: Mapped[str] = mapped_column(String(24))
    key_id: Mapped[str] = mapped_column(String(16), index=True)
    nonce: Mapped[bytes] = mapped_column(LargeBinary(12))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    fingerprint: Mapped[str] = mapped_column(String(120), default="")
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class Remembered(Base):
    """What a request with an Idempotency-Key was answered, so that the same request again is answered the same."""

    __tablename__ = "remembered"

    principal: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    status: Mapped[int]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[datetime] = mapped_column(index=True)
