# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of IPAM: the tree of pools, the map of each, the chain of each allocation, and what does not agree with the hosts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import ValidationError

from ..audit.store import actor
from ..db.engine import ReadSession
from ..web import links, problem
from ..web.access import Context, IpamWriter, Viewer
from ..web.pages import go, page
from ..web.paging import Paged, number_after
from ..web.problem import NotFound, Problem
from ..web.sent import Sent
from . import map as maps
from . import reconcile, service, store_read, views
from .defaults import POOL_PURPOSES
from .held import get_block, get_pool
from .models import Pool
from .schemas import AllocationNew, PoolNew
from .values import Space

router = APIRouter(prefix="/ipam")
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
Slot = Annotated[int | None, Query(ge=0, le=2**63 - 1)]
BLOCKS_DRAWN = 1200  # in one window; more are drawn by how full their cells are
FREE_DRAWN = 3000
FREE_SHOWN = 8
KINDS = (("subnet", "subnets"), ("address", "addresses"), ("vni", "VNIs"), ("port", "ports"))
PURPOSES = {
    "network4": "networks, IPv4", "network6": "networks, IPv6", "overlay4": "overlay networks, IPv4",
    "overlay6": "overlay networks, IPv6", "bridge4": "bridge networks, IPv4", "bridge6": "bridge networks, IPv6",
    "gwbridge4": "gateway bridges, IPv4", "gwbridge6": "gateway bridges, IPv6", "ingress4": "ingress, IPv4",
    "ingress6": "ingress, IPv6", "vni": "VNIs of networks", "port": "published ports", "declared": "one declared subnet",
    "leaving": "a subnet that is released", "": "nothing by itself",
}  # fmt: skip


@router.get("")
def tree(context: Viewer, q: Annotated[str, Query(max_length=100, pattern=r"^[^\x00]*$")] = "") -> Response:
    """``q``: an address, a subnet, a VNI or a port, whose allocations are shown."""
    with context.db.read() as s:
        branches = views.tree(s)
        found = views.find(s, q) if q.strip() else []
    scopes: dict[str, list[views.Branch]] = {}
    for one in branches:
        scopes.setdefault(one.scope, []).append(one)
    return page(context, "ipam/tree.html", scopes=scopes, purposes=PURPOSES, q=q.strip(), found=found)


@router.get("/pools/new")
def new_pool(context: IpamWriter) -> Response:
    return _pool_form(context, {"kind": "subnet", "scope": "cluster"})


@router.post("/pools")
def add_pool(context: IpamWriter, sent: Sent) -> Response:
    try:
        asked = PoolNew.model_validate(_given(sent, PoolNew.model_fields))
        with context.db.write() as s:
            made = service.create_pool(s, actor(context), asked.wanted())
    except ValidationError as error:
        return _pool_form(context, sent, problem.of_request(error.errors()))
    except Problem as error:
        return _pool_form(context, sent, error)
    return go(context, f"/ipam/pools/{made.id}", ("ok", f"Pool {made.name} is made."))


@router.get("/pools/{pool_id}")
def show_pool(context: Viewer, pool_id: Id, paging: Paged, at: Slot = None, cell: Slot = None) -> Response:
    """``at``: a slot in the window of the map; ``cell``: the slots of one cell."""
    return _pool_page(context, pool_id, number_after(paging), at, cell)


@router.post("/pools/{pool_id}/delete")
def delete_pool(context: IpamWriter, pool_id: Id) -> Response:
    try:
        with context.db.write() as s:
            name = get_pool(s, pool_id).name
            service.delete_pool(s, actor(context), pool_id)
    except NotFound:
        raise
    except Problem as error:
        return go(context, f"/ipam/pools/{pool_id}", ("failed", error.detail))
    return go(context, "/ipam", ("ok", f"Pool {name} is deleted."))


@router.post("/pools/{pool_id}/allocate")
def allocate(context: IpamWriter, pool_id: Id, sent: Sent) -> Response:
    try:
        given = _given(sent, AllocationNew.model_fields)
        asked = AllocationNew.model_validate(
            {**given, "pool_id": pool_id, "reserve": sent.get("reserve") == "1"}
        )
        with context.db.write() as s:
            held, is_new = service.allocate(s, actor(context), asked.wanted())
    except ValidationError as error:
        return _pool_page(context, pool_id, None, sent=sent, error=problem.of_request(error.errors()))
    except NotFound:
        raise
    except Problem as error:
        return _pool_page(context, pool_id, None, sent=sent, error=error)
    told = f"{held.value} is {'allocated to' if is_new else 'already of'} {held.owner}."
    return go(context, f"/ipam/blocks/{held.block.id}", ("ok" if is_new else "active", told))


@router.get("/blocks/{block_id}")
def show_block(context: Viewer, block_id: Id) -> Response:
    with context.db.read() as s:
        chain = views.chain(s, block_id)
    return page(
        context, "ipam/block.html", chain=chain, held=chain.held, item_href=_item_href(chain),
        is_shown=chain.held.pool.kind != "subnet" or chain.item is not None,
    )  # fmt: skip


@router.post("/blocks/{block_id}/release")
def release(context: IpamWriter, block_id: Id) -> Response:
    try:
        with context.db.write() as s:
            held = get_block(s, block_id)
            pool_id, value = held.pool.id, held.value
            service.release_block(s, actor(context), block_id)
    except NotFound:
        raise
    except Problem as error:
        return go(context, f"/ipam/blocks/{block_id}", ("failed", error.detail))
    return go(context, f"/ipam/pools/{pool_id}", ("ok", f"{value} is released."))


@router.get("/reconciliation")
def reconciliation(context: Viewer, missing: Slot = None, strays: Slot = None) -> Response:
    """``missing``, ``strays``: where to go on in each of the two lists."""
    with context.db.read() as s:
        absent = reconcile.missing(s, 50, missing)
        found = reconcile.strays(s, 50, strays)
    return page(
        context,
        "ipam/reconciliation.html",
        missing=absent,
        strays=found,
        at={"missing": missing, "strays": strays},
    )


def _pool_page(
    context: Context,
    pool_id: int,
    after: int | None,
    at: int | None = None,
    cell: int | None = None,
    sent: Mapping[str, str] | None = None,
    error: Problem | None = None,
) -> Response:
    with context.db.read() as s:
        pool = get_pool(s, pool_id)
        blocks = views.subnets(s, pool_id, 51, after)
        values: dict[str, Any] = {
            "scope": store_read.scope_name(s, pool.scope_id),
            "free": views.free(s, pool_id, FREE_SHOWN),
            "parent": get_block(s, pool.block_id) if pool.block_id is not None else None,
            **_map(s, pool, at, cell),
        }
    return page(
        context, "ipam/pool.html", error.status if error else 200, pool=pool, range=views.range_of(pool),
        blocks=blocks[:50], next=blocks[49].held.block.first if len(blocks) > 50 else None, purposes=PURPOSES,
        values=sent or {}, error=error, errors=error.fields if error else {}, **values,
    )  # fmt: skip


def _map(s: ReadSession, pool: Pool, at: int | None, cell: int | None) -> dict[str, Any]:
    """The picture of a window, what its parts are called, and the ways to others."""
    unit = 1 << max(pool.unit - pool.length, 0) if pool.kind == "subnet" and pool.length else 1
    space = Space.of(pool)
    shown = maps.window(pool.size, unit, at, cell, pool.used)
    free = store_read.free_within(s, pool.id, shown.extent, FREE_DRAWN + 1)
    if len(free) > FREE_DRAWN:
        shown = maps.window(pool.size, unit, shown.first, unit, pool.used)
        free = store_read.free_within(s, pool.id, shown.extent, FREE_DRAWN + 1)
    blocks = store_read.blocks(s, pool.id, BLOCKS_DRAWN + 1, window=shown.extent)
    marks = [maps.Mark(one.first, one.last, one.state, one.id, one.label or one.owner_id) for one in blocks]
    drawn = maps.picture(shown, free, marks if len(marks) <= BLOCKS_DRAWN else ())
    bars = [
        {
            "bar": one, "text": space.text(one.slots), "state": one.mark.state if one.mark else "part" if one.share else "free",
            "href": _bar_href(pool, shown, one, unit),
        }
        for one in drawn.bars
    ]  # fmt: skip
    span = shown.last - shown.first + 1
    outer = maps.wider(shown, pool.size, unit)
    return {
        "map": drawn, "bars": bars, "shown": shown, "shown_text": space.text(shown.extent), "cell_text": _cell(pool, shown),
        "before": max(shown.first - span, 0) if shown.first else None,
        "behind": shown.last + 1 if shown.last < pool.size - 1 else None, "outer": outer,
    }  # fmt: skip


def _bar_href(pool: Pool, shown: maps.Window, bar: maps.Bar, unit: int) -> str:
    if bar.mark is not None:
        return f"/ipam/blocks/{bar.mark.block_id}"
    if bar.share and shown.per_cell > unit:
        return f"/ipam/pools/{pool.id}?at={bar.slots.first}&cell={max(shown.per_cell // maps.COLUMNS, unit)}"
    return ""


def _cell(pool: Pool, shown: maps.Window) -> str:
    """What one cell is."""
    if pool.kind == "subnet":
        return f"a /{pool.unit - shown.per_cell.bit_length() + 1}"
    words = {"address": ("address", "addresses"), "vni": ("VNI", "VNIs"), "port": ("port", "ports")}[
        pool.kind
    ]
    return f"one {words[0]}" if shown.per_cell == 1 else f"{shown.per_cell:,} {words[1]}"


def _pool_form(context: Context, values: Mapping[str, Any], error: Problem | None = None) -> Response:
    purposes = [("", PURPOSES[""]), *((one, PURPOSES.get(one, one)) for one in POOL_PURPOSES)]
    return page(
        context, "ipam/pool_new.html", error.status if error else 200, values=values, error=error,
        errors=error.fields if error else {}, kinds=KINDS, purposes=purposes,
    )  # fmt: skip


def _given(sent: Mapping[str, str], known: Mapping[str, object]) -> dict[str, str]:
    """What was filled in, of what is known."""
    return {name: value.strip() for name, value in sent.items() if name in known and value.strip()}


def _item_href(chain: views.Chain) -> str:
    return links.item(chain.item.kind, chain.item.name) if chain.item else ""
