# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a block goes: these very values, or the next free ones; in which pool, and past what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..db.engine import ReadSession, WriteSession
from ..web.problem import Invalid
from . import occupied, store, store_read
from .defaults import (
    DECLARED,
    LEAVING,
    LENGTHS,
    address_pool,
    ensure_ports,
    prefix_length,
    subnet_pool,
)
from .extents import Extent, join
from .models import Block, Pool
from .store import Entry, Taken
from .values import Space, Value, bits_of, network, parse, text_of


class Request(NamedTuple):
    """What is looked for. ``what``: the owner and the name, as errors begin. ``length``: of a subnet; ``order``: log2 of the
    number of other slots."""

    what: str
    entry: Entry
    scope_id: int
    is_lan: bool = False
    length: int | None = None
    order: int = 0
    avoid: Sequence[str] = ()


class Placed(NamedTuple):
    pool: Pool
    taken: Taken
    value: str


def exactly(s: WriteSession, request: Request, value: Value, pool: Pool | None = None) -> Placed:
    """These values. ``pool`` None: in whichever pool of the scope has them; a subnet that is in none gets one of its own.
    Invalid says who is in the way."""
    if value.kind == "subnet" and not request.is_lan:
        use = occupied.in_the_way(s, value)
        if use is not None:
            raise Invalid(
                f"{request.what} {text_of(value)}: it overlaps the {use.what} {use.text} of host {use.host}; "
                "take another block, or leave it out for the next free one"
            )
    if value.kind in ("subnet", "port"):
        _refuse_elsewhere(s, request, value)
    home = pool or _home(s, request, value)
    space = Space.of(home)
    if (value.version, value.protocol) != (space.version, space.protocol):
        raise Invalid(
            f"{request.what} {text_of(value)}: it is none of {space.text_of(space.all)}; pool {home.name}"
        )
    try:
        slots = space.slots(value.extent)
    except ValueError as error:
        raise Invalid(f"{request.what} {text_of(value)}: {error}; pool {home.name}") from None
    try:
        taken = store.take_exactly(s, home.id, space, slots, request.entry)
    except store.OccupiedError as error:
        raise _taken(s, request, value, error.block_id) from None
    return _finish(s, home, space, taken)


def next_free(
    s: WriteSession, request: Request, pools: Sequence[Pool], window: Extent | None = None
) -> Placed:
    """The next free ones of the first of these pools that has some. ``window``: only among these addresses. Invalid: none has."""
    wanted = ""
    for pool in pools:
        space = Space.of(pool)
        k = request.order
        if pool.kind == "subnet":
            length = request.length or pool.length or LENGTHS[pool.version]
            wanted = f"/{length}"
            k = pool.unit - length
            if k < 0 or length < prefix_length(pool.cidr or ""):
                continue
        among = None if window is None else space.touched(window)
        if window is not None and among is None:
            continue
        taken = store.take(s, pool.id, space, k, request.entry, among, avoided(s, request, pool, space))
        if taken is not None:
            return _finish(s, pool, space, taken)
    names = ", ".join(f"{one.name} ({one.cidr})" if one.cidr else one.name for one in pools)
    many = f"{1 << request.order} in a row" if request.order else "one"
    raise Invalid(
        f"{request.what}: no free {wanted or many} is left in {names}; release something, or add a pool"
    )


def avoided(s: ReadSession, request: Request, pool: Pool, space: Space) -> Sequence[Extent]:
    """The slots that automatic choice leaves out."""
    values: list[Extent] = []
    for text in request.avoid:
        value = read(request.what, "address" if pool.version else pool.kind, text)
        if value.version == pool.version and value.protocol == pool.protocol:
            values.append(value.extent)
    if pool.kind == "subnet":
        values += occupied.extents(s, pool.version)
    if pool.kind in ("subnet", "port"):
        whole = Value(pool.kind, pool.version, pool.protocol, *space.all)
        values += _elsewhere(s, pool.scope_id, whole)
    return join(slots for one in values if (slots := space.touched(one)) is not None)


def read(what: str, kind: str, text: str) -> Value:
    """Invalid if the text is no such value."""
    try:
        return parse(kind, text)
    except ValueError as error:
        raise Invalid(f"{what} {text[:80]!r}: {error}") from None


def address_home(
    s: ReadSession, what: str, scope_ids: Sequence[int], cidr: str
) -> tuple[Pool, Extent | None]:
    """The pool of the addresses of this subnet, or of the one that it is a part of; then with the part's addresses."""
    try:
        block = network(cidr)
    except ValueError as error:
        raise Invalid(f"{what}: subnet {cidr[:80]!r}: {error}") from None
    first, last = int(block.network_address), int(block.broadcast_address)
    for scope_id in scope_ids:
        named = store_read.pool_by_name(s, scope_id, str(block))
        if named is not None and named.kind == "address":
            return named, None
        near = store_read.address_pool_at(s, scope_id, block.version, first)
        if near is not None and near.cidr and network(near.cidr).supernet_of(block):  # type: ignore[arg-type]
            return near, Extent(first, last)
    raise Invalid(f"{what}: there is no subnet {block}; declare it in a network first")


def add_address_pool(s: WriteSession, scope_id: int, cidr: str, block_id: int | None, name: str = "") -> Pool:
    """The pool of a subnet's addresses, without those that no host can have."""
    found = address_pool(scope_id, name or cidr, cidr, block_id)
    bits, length = bits_of(found.version), prefix_length(cidr)
    reserved: dict[str, Extent] = {}
    if found.version == 4 and length < bits - 1:
        reserved = {
            "network address": Extent(0, 0),
            "broadcast address": Extent(found.size - 1, found.size - 1),
        }
    elif found.version == 6 and length < bits - 1:
        reserved = {"subnet-router anycast address": Extent(0, 0)}
    return store.add_pool(s, found, reserved)


def detach_addresses(s: WriteSession, block_id: int) -> Pool | None:
    """The subnet of this block goes: its pool of addresses with it, or, if somebody has some of them, the pool that is then left
    over by itself, which may not last until the end of the transaction."""
    child = store_read.pool_of_block(s, block_id)
    if child is None:
        return None
    store.lock(s, child.id)
    if store_read.has_foreign_block(s, child.id) is None:
        store.drop_pool(s, child.id)
        return None
    store.change_pool(s, child.id, block_id=None, purpose=LEAVING, name=f"{LEAVING} {child.id} {child.cidr}")
    return child


def _finish(s: WriteSession, pool: Pool, space: Space, taken: Taken) -> Placed:
    value = space.text(taken.extent)
    if pool.kind == "subnet" and taken.is_new and "-" not in value:
        add_address_pool(s, pool.scope_id, value, taken.block_id)
    return Placed(pool, taken, value)


def _home(s: WriteSession, request: Request, value: Value) -> Pool:
    """The pool of the scope that has the value."""
    if value.kind == "port":
        ensure_ports(s, request.scope_id, value.protocol)
    found = store_read.overlapping_pools(s, request.scope_id, value)
    kept = []
    for pool, _scope in found:
        if pool.purpose == DECLARED and store_read.has_foreign_block(s, pool.id) is None:
            store.drop_pool(s, pool.id)  # what it was made for is gone
        else:
            kept.append(pool)
    for pool in kept:
        if Space.of(pool).all.holds(value.extent):
            return pool
    if kept:
        raise Invalid(
            f"{request.what} {text_of(value)}: it overlaps the pool {kept[0].name} ({kept[0].cidr}) without lying in it; "
            "take a block inside or outside of it"
        )
    cidr = text_of(value)
    if value.kind != "subnet" or "-" in cidr:
        raise Invalid(f"{request.what} {cidr}: no pool has it; add one in IPAM")
    for pool, _scope in store_read.overlapping_pools(s, request.scope_id, value._replace(kind="address")):
        raise Invalid(
            f"{request.what} {cidr}: it overlaps the addresses of the pool {pool.name} ({pool.cidr}); take another block"
        )
    length = prefix_length(cidr)
    made = subnet_pool(request.scope_id, f"{DECLARED} {cidr}", cidr, length, DECLARED, unit=length)
    return store.add_pool(s, made)


def _refuse_elsewhere(s: ReadSession, request: Request, value: Value) -> None:
    """A host's own networks and ports lie beside those of the cluster, so they differ from these."""
    for pool, scope in store_read.pools_elsewhere(s, request.scope_id, value):
        window = Space.of(pool).touched(value.extent)
        if window is None:
            continue
        for block in store_read.blocks(s, pool.id, 100, window=window):
            if block.state != "quarantined":
                raise Invalid(
                    f"{request.what} {text_of(value)}: {has_it(block)}, in the scope {scope}; take another"
                )


def _elsewhere(s: ReadSession, scope_id: int, whole: Value) -> Iterable[Extent]:
    pools = store_read.pools_elsewhere(s, scope_id, whole)
    ids = [pool.id for pool, _scope in pools]
    for begin in range(0, len(ids), 500):
        for block, pool, _scope in store_read.used_of(s, ids[begin : begin + 500]):
            yield Space.of(pool).values(Extent(block.first, block.last))


def _taken(s: ReadSession, request: Request, value: Value, block_id: int) -> Invalid:
    found = store_read.block(s, block_id)
    text = "somebody has it" if found is None else has_it(found[0])
    return Invalid(
        f"{request.what} {text_of(value)}: {text}; take another, or leave it out for the next free one"
    )


def has_it(block: Block) -> str:
    if block.owner_type == "system":
        return f"it is the {block.name}"
    return f"{block.label or block.owner_id} has it as {block.name}"
