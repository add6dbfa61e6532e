# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API of IPAM takes and gives. Slots count from 0; a pool has up to 2**63 - 1 of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from ..accounts.schemas import Line, Strict
from ..inventory.models import Seen
from .allocating import Allocation
from .check import Report
from .defaults import POOL_PURPOSES, SERVED_BY
from .held import Held
from .models import Pool
from .pools import NewPool
from .reconcile import Stray
from .views import Chain, FreeExtent, range_of

Kind = Literal["subnet", "address", "vni", "port"]
State = Literal["active", "reserved", "quarantined"]
Protocol = Literal["tcp", "udp", "sctp"]
ScopeName = Annotated[
    Line,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._~-]{0,59}$",
        description="the space in which values differ: `cluster`, or `host NAME` for what is one host's own",
    ),
]
Note = Annotated[Line, Field(max_length=500, description="for people", examples=["the printers"])]
Value = Annotated[Line, Field(min_length=1, max_length=100)]
Slot = Annotated[int, Field(ge=0, le=2**63 - 2)]


class PoolNew(Strict):
    """A pool. Of subnets and addresses say `cidr`, of VNIs and ports `first` and `last`."""

    name: Line = Field(min_length=1, max_length=98, examples=["site B"])
    kind: Kind = Field(examples=["subnet"])
    scope: ScopeName = "cluster"
    purpose: Line = Field(
        default="", max_length=24, examples=["network4"],
        description=f"which automatic allocations come from it; empty: none; one of {', '.join(POOL_PURPOSES)}",
    )  # fmt: skip
    cidr: Value | None = Field(default=None, examples=["10.128.0.0/9"])
    length: int | None = Field(
        default=None, ge=1, le=128, description="of an automatic subnet", examples=[24]
    )
    protocol: Protocol | None = Field(default=None, description="of ports; tcp if it is not said")
    first: int | None = Field(default=None, ge=1, le=2**24 - 1)
    last: int | None = Field(default=None, ge=1, le=2**24 - 1)
    note: Note = ""

    def wanted(self) -> NewPool:
        return NewPool(**{**self.model_dump(), "protocol": self.protocol or ""})


class PoolChange(Strict):
    """What is not there stays as it is."""

    purpose: Line | None = Field(default=None, max_length=24, examples=["ingress4"])
    length: int | None = Field(default=None, ge=1, le=128)
    note: Note | None = None


class PoolOut(BaseModel):
    id: int
    name: str = Field(examples=["networks IPv4"])
    kind: Kind
    scope: str = Field(examples=["cluster"])
    purpose: str = Field(examples=["network4"])
    range: str = Field(description="its CIDR block or its numbers", examples=["10.0.0.0/8"])
    length: int | None = Field(description="prefix length of an automatic subnet", examples=[24])
    size: int = Field(description="slots", examples=[16777216])
    used: int = Field(description="slots", examples=[512])
    subnet_id: int | None = Field(description="the allocation whose addresses these are")
    note: str
    created_at: datetime

    @classmethod
    def of(cls, pool: Pool, scope: str) -> PoolOut:
        return cls(
            id=pool.id, name=pool.name, kind=_kind(pool), scope=scope, purpose=pool.purpose, range=range_of(pool),
            length=pool.length or None, size=pool.size, used=pool.used, subnet_id=pool.block_id, note=pool.note,
            created_at=pool.created_at,
        )  # fmt: skip


class PoolsOut(BaseModel):
    items: list[PoolOut]


class AllocationNew(Strict):
    """Something of a pool, for an owner. Exactly one of `pool_id`, `purpose` and `within` says where. Asked for again by the same
    owner and name, the same is given."""

    owner: Line = Field(min_length=1, max_length=80, description="who has it", examples=["printers"])
    name: Line = Field(min_length=1, max_length=98, description="which of the owner's it is", examples=["p1"])
    pool_id: int | None = Field(default=None, ge=1, le=2**63 - 1)
    purpose: Line | None = Field(
        default=None, max_length=24, description=f"one of {', '.join(SERVED_BY)}", examples=["overlay4"]
    )
    within: Value | None = Field(
        default=None,
        description="the subnet, or a part of one, that an address is of",
        examples=["10.0.0.0/24"],
    )
    scope: ScopeName = "cluster"
    value: Value | None = Field(
        default=None, description="exactly this; the next free otherwise", examples=["10.0.0.9"]
    )
    length: int | None = Field(default=None, ge=1, le=128, description="of a subnet", examples=[26])
    count: int = Field(
        default=1, ge=1, le=2**62, description="of other slots: so many, a power of two, aligned"
    )
    avoid: list[Value] = Field(
        default_factory=list, max_length=1000, description="what automatic choice leaves out"
    )
    note: Note = ""
    reserve: bool = Field(default=False, description="keep it from everybody")

    def wanted(self) -> Allocation:
        return Allocation(**self.model_dump())


class AllocationOut(BaseModel):
    id: int
    value: str = Field(examples=["10.0.0.9"])
    kind: Kind
    pool_id: int
    pool: str = Field(examples=["10.0.0.0/24"])
    scope: str = Field(examples=["cluster"])
    first: Slot
    last: Slot
    owner_type: str = Field(
        description="item: declared; manual; pool: a pool's own place; system", examples=["manual"]
    )
    owner_id: str = Field(examples=["printers"])
    owner: str = Field(description="for people", examples=["printers"])
    name: str = Field(examples=["p1"])
    state: State
    automatic: bool = Field(description="it was chosen and not written")
    note: str
    who: str = Field(examples=["ann"])
    revision_id: int | None = Field(description="the revision that allocated it")
    created_at: datetime
    released_at: datetime | None
    free_at: datetime | None = Field(description="when it leaves quarantine")
    addresses_pool_id: int | None = Field(default=None, description="of a subnet, the pool of its addresses")

    @classmethod
    def of(cls, held: Held, quarantine: int, addresses: Pool | None = None) -> AllocationOut:
        """``quarantine``: in seconds."""
        block = held.block
        released = block.released_at
        return cls(
            id=block.id, value=block.value, kind=_kind(held.pool), pool_id=held.pool.id, pool=held.pool.name, scope=held.scope,
            first=block.first, last=block.last, owner_type=block.owner_type, owner_id=block.owner_id, owner=held.owner,
            name=held.name, state=_state(held), automatic=block.automatic, note=block.note, who=block.who,
            revision_id=block.revision_id, created_at=block.created_at, released_at=released,
            free_at=None if released is None else released + timedelta(seconds=quarantine),
            addresses_pool_id=None if addresses is None else addresses.id,
        )  # fmt: skip


class AllocationsOut(BaseModel):
    items: list[AllocationOut]


class FreeOut(BaseModel):
    """A run of free slots."""

    first: Slot
    last: Slot
    value: str = Field(examples=["10.4.0.0-10.255.255.255"])
    largest: str = Field(description="the largest subnet in it", examples=["/9"])

    @classmethod
    def of(cls, found: FreeExtent) -> FreeOut:
        return cls(first=found.slots.first, last=found.slots.last, value=found.value, largest=found.largest)


class SeenOut(BaseModel):
    """A value as a module has read it back on a host."""

    host: str = Field(examples=["alpha"])
    module: str = Field(examples=["endpoint"])
    network: str = Field(examples=["web"])
    name: str
    field: str = Field(examples=["ip"])
    value: str = Field(examples=["10.0.0.9"])
    run_id: int
    at: datetime

    @classmethod
    def of(cls, seen: Seen) -> SeenOut:
        return cls(
            host=seen.host, module=seen.module, network=seen.network, name=seen.name, field=seen.field, value=seen.value,
            run_id=seen.run_id, at=seen.at,
        )  # fmt: skip


class ItemRef(BaseModel):
    """A declared object."""

    id: int
    kind: str = Field(examples=["endpoint"])
    name: str = Field(examples=["alpha/web/shop"])


class ChainOut(BaseModel):
    """From the allocation over the declaration to the hosts."""

    allocation: AllocationOut
    subnet: AllocationOut | None = Field(description="of an address, the subnet that it is of")
    item: ItemRef | None
    revision_id: int | None
    seen: list[SeenOut]

    @classmethod
    def of(cls, chain: Chain, quarantine: int) -> ChainOut:
        item = chain.item
        return cls(
            allocation=AllocationOut.of(chain.held, quarantine, chain.addresses),
            subnet=None if chain.subnet is None else AllocationOut.of(chain.subnet, quarantine),
            item=None if item is None else ItemRef(id=item.id, kind=item.kind, name=item.name),
            revision_id=None if chain.revision is None else chain.revision.id,
            seen=[SeenOut.of(one) for one in chain.seen],
        )


class StrayOut(BaseModel):
    """A value on a host that nobody has."""

    seen: SeenOut
    former: AllocationOut | None = Field(description="what it was until it was released")

    @classmethod
    def of(cls, stray: Stray, quarantine: int) -> StrayOut:
        former = None if stray.former is None else AllocationOut.of(stray.former, quarantine)
        return cls(seen=SeenOut.of(stray.seen), former=former)


class FaultOut(BaseModel):
    pool_id: int
    text: str = Field(examples=["pool web: its counter says 7 used slots, the blocks have 8"])
    mended_by_rebuild: bool


class CheckOut(BaseModel):
    """Whether blocks and free extents add up in each pool."""

    ok: bool
    pools: int
    blocks: int
    free: int
    faults: list[FaultOut] = Field(description="the first hundred")

    @classmethod
    def of(cls, report: Report) -> CheckOut:
        faults = [
            FaultOut(pool_id=one.pool_id, text=one.text, mended_by_rebuild=one.is_mended)
            for one in report.faults
        ]
        return cls(ok=not faults, pools=report.pools, blocks=report.blocks, free=report.free, faults=faults)


class RebuildOut(BaseModel):
    free: int = Field(description="free extents made")


def _kind(pool: Pool) -> Kind:
    found: Kind = pool.kind  # type: ignore[assignment]  # the column has no others
    return found


def _state(held: Held) -> State:
    found: State = held.block.state  # type: ignore[assignment]  # the column has no others
    return found
