# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of IPAM: pools, what is allocated of them, what is free, and whether hosts have it."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from ..audit.store import actor
from ..db.engine import ReadSession, WriteSession
from ..web.access import Admin, Context, IpamWriter, Viewer
from ..web.conditional import demand_match, etag
from ..web.idempotency import Answer, IdempotencyKey, once
from ..web.openapi import Match, errors
from ..web.paging import Paged, Paging, Part, number_after
from ..web.problem import Invalid
from . import check, reconcile, service, store_read, views
from .held import Held, get_block, get_pool
from .models import Pool
from .schemas import (
    AllocationNew,
    AllocationOut,
    AllocationsOut,
    ChainOut,
    CheckOut,
    FreeOut,
    Kind,
    PoolChange,
    PoolNew,
    PoolOut,
    PoolsOut,
    RebuildOut,
    ScopeName,
    StrayOut,
)

router = APIRouter(prefix="/ipam", tags=["ipam"])
PoolId = Annotated[int, Path(ge=1, le=2**63 - 1, description="the pool's id")]
BlockId = Annotated[int, Path(ge=1, le=2**63 - 1, description="the allocation's id")]
OnePool = Annotated[int | None, Query(ge=1, le=2**63 - 1, description="this pool alone")]
SLOT_DIGITS = 19


@router.get("/tree", summary="The pools that are in no other")
def tree(context: Viewer, scope: Annotated[ScopeName | None, Query()] = None) -> PoolsOut:
    """Of one scope or of all, as the page shows them: the cluster's first, by their addresses and numbers."""
    with context.db.read() as s:
        return PoolsOut(items=[PoolOut.of(one.pool, one.scope) for one in views.tree(s, scope)])


@router.get("/pools", summary="Pools")
def pools(
    context: Viewer,
    paging: Paged,
    scope: Annotated[ScopeName | None, Query()] = None,
    kind: Kind | None = None,
    purpose: Annotated[str | None, Query(max_length=24, pattern=r"^[a-z0-9]*$")] = None,
    top_level: Annotated[bool | None, Query(description="true: in no subnet; false: of subnets")] = None,
) -> Part[PoolOut]:
    """Also those of subnets' addresses."""
    filters = store_read.Filters(scope, kind, purpose, top_level)
    with context.db.read() as s:
        found = store_read.pools(s, filters, paging.limit + 1, number_after(paging))
    items = [PoolOut.of(*one) for one in found[: paging.limit]]
    return Part[PoolOut](items=items, next=str(items[-1].id) if len(found) > paging.limit else None)


@router.post("/pools", summary="Make a pool", status_code=201)
def create_pool(context: IpamWriter, asked: PoolNew, response: Response) -> PoolOut:
    """No two pools of one kind and scope overlap. A pool of addresses inside of a pool of subnets takes its place there."""
    with context.db.write() as s:
        found = service.create_pool(s, actor(context), asked.wanted())
        out = _pool_out(s, found)
    response.headers["Location"] = f"/api/v1/ipam/pools/{out.id}"
    response.headers["ETag"] = _pool_tag(found)
    return out


@router.get("/pools/{pool_id}", summary="A pool", responses=errors(404))
def pool(context: Viewer, pool_id: PoolId, response: Response) -> PoolOut:
    """With how much of it is used."""
    with context.db.read() as s:
        found = get_pool(s, pool_id)
        response.headers["ETag"] = _pool_tag(found)
        return _pool_out(s, found)


@router.patch("/pools/{pool_id}", summary="Change a pool", responses=errors(404, 409, 412, 428))
def change_pool(
    context: IpamWriter, pool_id: PoolId, asked: PoolChange, response: Response, if_match: Match = None
) -> PoolOut:
    """What automatic choice makes of it, and its note. What is allocated stays."""
    del if_match  # demand_match() reads it
    with context.db.write() as s:
        demand_match(context.request, _pool_tag(get_pool(s, pool_id)), f"pool {pool_id}")
        found = service.change_pool(s, actor(context), pool_id, asked.purpose, asked.length, asked.note)
        response.headers["ETag"] = _pool_tag(found)
        return _pool_out(s, found)


@router.delete(
    "/pools/{pool_id}", summary="Delete a pool", status_code=204, responses=errors(404, 409, 412, 428)
)
def delete_pool(context: IpamWriter, pool_id: PoolId, if_match: Match = None) -> None:
    """Nobody has anything of it any more."""
    del if_match
    with context.db.write() as s:
        demand_match(context.request, _pool_tag(get_pool(s, pool_id)), f"pool {pool_id}")
        service.delete_pool(s, actor(context), pool_id)


@router.get("/pools/{pool_id}/allocations", summary="What is allocated of a pool", responses=errors(404))
def allocations_of(context: Viewer, pool_id: PoolId, paging: Paged) -> Part[AllocationOut]:
    """In the order of its slots; of a pool of subnets with the pools of their addresses."""
    with context.db.read() as s:
        found = views.subnets(s, pool_id, paging.limit + 1, _slot_after(paging))
    quarantine = context.state.settings.quarantine
    items = [AllocationOut.of(one.held, quarantine, one.addresses) for one in found[: paging.limit]]
    after = str(items[-1].first) if len(found) > paging.limit else None
    return Part[AllocationOut](items=items, next=after)


@router.get("/pools/{pool_id}/free", summary="What is free of a pool", responses=errors(404))
def free(context: Viewer, pool_id: PoolId, paging: Paged) -> Part[FreeOut]:
    """Runs of free slots, in their order."""
    with context.db.read() as s:
        found = views.free(s, pool_id, paging.limit + 1, _slot_after(paging))
    items = [FreeOut.of(one) for one in found[: paging.limit]]
    return Part[FreeOut](items=items, next=str(items[-1].first) if len(found) > paging.limit else None)


@router.get("/allocations", summary="Allocations")
def allocations(
    context: Viewer,
    paging: Paged,
    owner_type: Annotated[str | None, Query(max_length=16, pattern=r"^[a-z]*$", examples=["manual"])] = None,
    owner_id: Annotated[
        str | None, Query(max_length=80, pattern=r"^[^\x00]*$", examples=["printers"])
    ] = None,
    name: Annotated[str | None, Query(max_length=98, pattern=r"^[^\x00]*$", examples=["p1"])] = None,
    state: Annotated[Literal["quarantined"] | None, Query(description="only those in quarantine")] = None,
) -> Part[AllocationOut]:
    """Of all pools, the oldest first. One in quarantine is not found by its name."""
    with context.db.read() as s:
        found = store_read.all_blocks(
            s, paging.limit + 1, number_after(paging), owner_type, owner_id, name, state
        )
    items = [_block_out(context, Held(*one)) for one in found[: paging.limit]]
    return Part[AllocationOut](items=items, next=str(items[-1].id) if len(found) > paging.limit else None)


@router.post(
    "/allocations",
    summary="Allocate",
    status_code=201,
    response_model=AllocationOut,
    responses={
        200: {"model": AllocationOut, "description": "The owner has had it already"},
        **errors(404, 409),
    },
)
def allocate(context: IpamWriter, asked: AllocationNew, key: IdempotencyKey = None) -> Response:
    """The next free one, exactly this one, or an aligned block. The answer is 201 for a new allocation, and 200 if the owner has
    had it under this name."""

    def act(s: WriteSession) -> Answer:
        held, is_new = service.allocate(s, actor(context), asked.wanted())
        inside = store_read.pool_of_block(s, held.block.id) if held.pool.kind == "subnet" else None
        out = AllocationOut.of(held, context.state.settings.quarantine, inside)
        headers = {"ETag": _block_tag(held), "Location": f"/api/v1/ipam/allocations/{out.id}"}
        return Answer.of(out, 201 if is_new else 200, headers)

    return once(context, key, asked, act)


@router.get("/allocations/{block_id}", summary="An allocation", responses=errors(404))
def allocation(context: Viewer, block_id: BlockId, response: Response) -> AllocationOut:
    """Also while it is in quarantine."""
    with context.db.read() as s:
        held = get_block(s, block_id)
        response.headers["ETag"] = _block_tag(held)
        return AllocationOut.of(
            held, context.state.settings.quarantine, store_read.pool_of_block(s, block_id)
        )


@router.delete(
    "/allocations/{block_id}", summary="Release an allocation", status_code=204,
    responses=errors(404, 409, 412, 428),
)  # fmt: skip
def release(
    context: IpamWriter,
    block_id: BlockId,
    at_once: Annotated[bool, Query(description="without quarantine")] = False,
    if_match: Match = None,
) -> None:
    """It stays in quarantine before automatic choice takes it again; released from there, it is free. What is declared is released
    by its declaration."""
    del if_match
    with context.db.write() as s:
        demand_match(context.request, _block_tag(get_block(s, block_id)), f"allocation {block_id}")
        rests = context.state.settings.quarantine > 0 and not at_once
        service.release_block(s, actor(context), block_id, at_once=not rests)


@router.get(
    "/allocations/{block_id}/chain",
    summary="Where an allocation comes from and has got to",
    responses=errors(404),
)
def chain(context: Viewer, block_id: BlockId) -> ChainOut:
    """The declaration that wants it, the revision that allocated it, and the hosts that have it, by the runs that saw it there."""
    with context.db.read() as s:
        return ChainOut.of(views.chain(s, block_id), context.state.settings.quarantine)


@router.get("/find", summary="Find a value")
def find(
    context: Viewer,
    q: Annotated[str, Query(min_length=1, max_length=100, pattern=r"^[^\x00]*$", examples=["10.0.0.9"])],
) -> AllocationsOut:
    """The allocations of this value, or of what it is in."""
    with context.db.read() as s:
        return AllocationsOut(items=[_block_out(context, one) for one in views.find(s, q)])


@router.get("/reconciliation/missing", summary="Allocated, and on no host")
def missing(context: Viewer, paging: Paged) -> Part[AllocationOut]:
    """Each part is of a bounded number of allocations, and may be empty though there is a next one."""
    with context.db.read() as s:
        found = reconcile.missing(s, paging.limit, number_after(paging))
    items = [_block_out(context, one) for one in found.found]
    return Part[AllocationOut](items=items, next=None if found.next is None else str(found.next))


@router.get("/reconciliation/strays", summary="On a host, and not allocated")
def strays(context: Viewer, paging: Paged) -> Part[StrayOut]:
    """Each part is of a bounded number of values, and may be empty though there is a next one."""
    with context.db.read() as s:
        found = reconcile.strays(s, paging.limit, number_after(paging))
    items = [StrayOut.of(one, context.state.settings.quarantine) for one in found.found]
    return Part[StrayOut](items=items, next=None if found.next is None else str(found.next))


@router.get("/check", summary="Check that everything adds up", responses=errors(404))
def check_all(context: Admin, pool_id: OnePool = None) -> CheckOut:
    """Blocks and free extents cover every slot of each pool once. It reads everything there is."""
    with context.db.read() as s:
        _demand_pool(s, pool_id)
        return CheckOut.of(check.check(s, pool_id))


@router.post("/rebuild", summary="Make free extents anew from the blocks", responses=errors(404))
def rebuild(context: Admin, pool_id: OnePool = None) -> RebuildOut:
    """Of one pool or of all. Allocations are left as they are."""
    with context.db.write() as s:
        _demand_pool(s, pool_id)
        return RebuildOut(free=check.rebuild(s, actor(context), pool_id))


def _demand_pool(s: ReadSession, pool_id: int | None) -> None:
    if pool_id is not None:
        get_pool(s, pool_id)


def _slot_after(paging: Paging) -> int | None:
    """`after` of a list in the order of slots, which have a digit more than ids."""
    text = paging.after
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= SLOT_DIGITS and int(text) < 2**63):
        raise Invalid(
            "after: it is not the `next` of a part of this list; begin again without it",
            {"after": "it is not the `next` of a part of this list"},
        )
    return int(text)


def _pool_out(s: ReadSession, pool: Pool) -> PoolOut:
    return PoolOut.of(pool, store_read.scope_name(s, pool.scope_id))


def _block_out(context: Context, held: Held) -> AllocationOut:
    return AllocationOut.of(held, context.state.settings.quarantine)


def _pool_tag(pool: Pool) -> str:
    """Of what can be changed; what is allocated of it changes nothing of the pool."""
    return etag(
        f"{pool.id}-{pool.purpose}-{pool.length}-{hashlib.sha256(pool.note.encode()).hexdigest()[:12]}"
    )


def _block_tag(held: Held) -> str:
    block = held.block
    return etag(f"{block.id}-{block.state}-{block.revision_id or 0}-{int(block.automatic)}")
