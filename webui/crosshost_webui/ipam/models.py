# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools, the blocks allocated from them, and the extents that are free.

A pool has slots 0 to size-1. A slot is an address, a VNI or a port; of a pool of subnets it is the smallest subnet that can be
cut out, and a subnet is an aligned block of slots. For each pool the blocks and the free extents together cover every slot once.
That no two blocks overlap is kept by the database itself, whoever writes: see guards.py.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ..db.base import Base, Key
from . import guards

POOL_KINDS = ("subnet", "address", "vni", "port")
CLUSTER = "cluster"
_RELEASED = text("released_at IS NOT NULL")


class Scope(Base):
    """A space in which no two pools overlap. What is not one host's own is of the scope CLUSTER."""

    __tablename__ = "scope"

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(String(60), unique=True)


class Pool(Base):
    """``cidr`` is cut into slots of prefix length ``unit`` (32 or 128: addresses); ``base`` and ``top`` are its first and last
    address, 4 or 16 bytes. ``length``: the prefix length that a subnet gets if nobody says one. VNIs and ports count from
    ``first_value``. ``block_id``: the subnet whose addresses these are. ``purpose``: which automatic allocations come from it;
    `declared`: it was made for one declared subnet that is in no other pool; `leaving`: its subnet is released."""

    __tablename__ = "pool"
    __table_args__ = (
        UniqueConstraint("scope_id", "name"),
        CheckConstraint(f"kind IN {POOL_KINDS}", "kind"),
        CheckConstraint("size > 0 AND used >= 0 AND used <= size", "size"),
        Index(None, "scope_id", "kind", "version", "base"),
        Index(None, "scope_id", "purpose"),
        # what is remembered of one, in the audit log or by a link, is never of another
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    scope_id: Mapped[int] = mapped_column(ForeignKey("scope.id"))
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(8))
    purpose: Mapped[str] = mapped_column(String(24), default="")
    version: Mapped[int] = mapped_column(default=0)  # 4, 6; 0: no addresses
    protocol: Mapped[str] = mapped_column(String(4), default="")  # of ports: tcp, udp, sctp
    cidr: Mapped[str | None] = mapped_column(String(50))
    base: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    top: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    unit: Mapped[int] = mapped_column(default=0)
    length: Mapped[int] = mapped_column(default=0)
    first_value: Mapped[int] = mapped_column(default=0)
    size: Mapped[int]
    used: Mapped[int] = mapped_column(default=0)
    block_id: Mapped[int | None] = mapped_column(
        ForeignKey("block.id", ondelete="CASCADE", use_alter=True), index=True
    )
    note: Mapped[str] = mapped_column(String(500), default="")
    created_at: Mapped[datetime]


class Block(Base):
    """Slots ``first`` to ``last`` of a pool, for one owner. ``value``: what they are, as values.text_of() writes it. ``state``:
    active; reserved (an operator keeps it); quarantined (released at ``released_at``, and for a time not handed out again; its
    name then ends in `#` and its id)."""

    __tablename__ = "block"
    __table_args__ = (
        UniqueConstraint("pool_id", "first"),
        # the owner first: it is also what an owner's blocks are found by
        UniqueConstraint("owner_type", "owner_id", "name", "pool_id"),
        CheckConstraint("first <= last AND first >= 0", "extent"),
        CheckConstraint("state IN ('active', 'reserved', 'quarantined')", "state"),
        Index(None, "released_at", sqlite_where=_RELEASED, postgresql_where=_RELEASED),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    pool_id: Mapped[int] = mapped_column(ForeignKey("pool.id"))
    first: Mapped[int]
    last: Mapped[int]
    value: Mapped[str] = mapped_column(String(100), index=True)
    owner_type: Mapped[str] = mapped_column(String(16))  # item, manual, system
    owner_id: Mapped[str] = mapped_column(String(80))
    name: Mapped[str] = mapped_column(String(120))  # what of the owner: ip, vip, subnet 0, vni 0
    label: Mapped[str] = mapped_column(String(400), default="")  # the owner, for people
    state: Mapped[str] = mapped_column(String(12), default="active")
    automatic: Mapped[bool] = mapped_column(default=True)  # False: somebody wrote it
    note: Mapped[str] = mapped_column(String(500), default="")
    who: Mapped[str] = mapped_column(String(150), default="")
    revision_id: Mapped[int | None]
    created_at: Mapped[datetime]
    released_at: Mapped[datetime | None]


class Free(Base):
    """A free extent. ``ord``: log2 of the largest aligned block in it."""

    __tablename__ = "free"
    __table_args__ = (Index(None, "pool_id", "ord", "first"), CheckConstraint("first <= last", "extent"))

    pool_id: Mapped[int] = mapped_column(ForeignKey("pool.id", ondelete="CASCADE"), primary_key=True)
    first: Mapped[int] = mapped_column(primary_key=True)
    last: Mapped[int]
    ord: Mapped[int]


guards.attach(Base.metadata.tables["pool"], Base.metadata.tables["block"])
