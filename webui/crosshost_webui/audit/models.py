# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log: who did what to which object. Written in the transaction of the change, never changed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from ..db.base import Base, Json, Key


class AuditEntry(Base):
    __tablename__ = "audit_entry"
    # one for each filter, with the id: the newest rows of any filter cost the same however long the log is
    __table_args__ = (
        Index(None, "object_type", "object_id", "id"),
        Index(None, "object_type", "id"),
        Index(None, "who", "id"),
        Index(None, "action", "id"),
    )

    id: Mapped[Key]
    at: Mapped[datetime] = mapped_column(index=True)
    who: Mapped[str] = mapped_column(String(150))
    through: Mapped[str] = mapped_column(String(150), default="")  # `token NAME`, or the command line
    action: Mapped[str] = mapped_column(String(60))
    object_type: Mapped[str] = mapped_column(String(40))
    object_id: Mapped[str] = mapped_column(String(80), default="")
    object_name: Mapped[str] = mapped_column(String(300), default="")
    before: Mapped[Json | None]
    after: Mapped[Json | None]
    request_id: Mapped[str] = mapped_column(String(40), default="")
    address: Mapped[str] = mapped_column(String(64), default="")
