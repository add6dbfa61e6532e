# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration: items as they are now, and the revisions that led there."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ..db.base import Base, Json, Key

KINDS = ("group", "host", "gwbridge", "overlay", "bridge", "macvlan", "ingress", "endpoint", "service")


class Revision(Base):
    """One change of the declaration, as a whole valid or not made. Revision 0 is the empty inventory."""

    __tablename__ = "revision"

    id: Mapped[Key]
    at: Mapped[datetime]
    who: Mapped[str] = mapped_column(String(150))
    message: Mapped[str] = mapped_column(String(500), default="")
    changes: Mapped[int]


class Item(Base):
    """One declared object. ``body``: as it was written; ``resolved``: the same with what IPAM has allocated, as the engine
    takes it. ``name``: unique in its kind; an endpoint's is `host/network/name`, a service's `network/name`."""

    __tablename__ = "item"
    __table_args__ = (
        UniqueConstraint("kind", "name"),
        CheckConstraint(f"kind IN {KINDS}", "kind"),
        Index(None, "kind", "host"),
        Index(None, "kind", "network"),
        # what IPAM holds for an item outlasts it: its id is nobody else's later
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(400))
    host: Mapped[str | None] = mapped_column(String(253))  # of an endpoint, or of what is one host's own
    network: Mapped[str | None] = mapped_column(String(60))  # of an endpoint or a service
    body: Mapped[Json]
    resolved: Mapped[Json]
    revision_id: Mapped[int] = mapped_column(ForeignKey("revision.id"), index=True)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Change(Base):
    """What a revision did to one item; before or after None: it was not there. Each is {"id", "body", "resolved"}, the last only
    if it differs from the body."""

    __tablename__ = "change"
    __table_args__ = (Index(None, "kind", "name", "id"),)

    id: Mapped[Key]
    revision_id: Mapped[int] = mapped_column(ForeignKey("revision.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(400))
    before: Mapped[Json | None]
    after: Mapped[Json | None]


class Snapshot(Base):
    """The inventory of a revision in Ansible's `--list` shape, as runs use it: JSON, compressed by zlib."""

    __tablename__ = "snapshot"

    revision_id: Mapped[int] = mapped_column(ForeignKey("revision.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    body: Mapped[bytes] = mapped_column(LargeBinary)


class HostReport(Base):
    """What a host last said of itself: interfaces, routes, name servers, versions."""

    __tablename__ = "host_report"

    host: Mapped[str] = mapped_column(String(253), primary_key=True)
    at: Mapped[datetime]
    run_id: Mapped[int | None]
    body: Mapped[Json]


class Seen(Base):
    """An address, VNI or port that a module read back on a host. ``family``: the pool kind that it would be of."""

    __tablename__ = "seen"
    __table_args__ = (Index(None, "host", "module"), Index(None, "family", "value"))

    id: Mapped[Key]
    host: Mapped[str] = mapped_column(String(253))
    module: Mapped[str] = mapped_column(String(40))
    network: Mapped[str] = mapped_column(String(60))
    name: Mapped[str] = mapped_column(String(253))  # of the endpoint, service or subnet
    field: Mapped[str] = mapped_column(String(24))  # ip, ip6, vip, vip6, subnet, vni, published
    family: Mapped[str] = mapped_column(String(8))
    value: Mapped[str] = mapped_column(String(64))
    run_id: Mapped[int]
    at: Mapped[datetime]
