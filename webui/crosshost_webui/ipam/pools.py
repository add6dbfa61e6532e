# SPDX-License-Identifier: GPL-3.0-or-later
"""Pools as operators make and delete them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from ..audit.store import Actor, record
from ..db.base import Json
from ..db.engine import ReadSession, WriteSession
from ..web.problem import Conflict, Invalid
from . import placing, store, store_read, store_scopes
from .defaults import (
    DECLARED,
    LEAVING,
    LENGTHS,
    POOL_PURPOSES,
    ensure_defaults,
    number_pool,
    prefix_length,
    subnet_pool,
)
from .held import get_block, get_pool
from .models import CLUSTER, Pool
from .placing import Request
from .store import Entry
from .values import Space, Value, network, text_of


@dataclass(frozen=True, kw_only=True)
class NewPool:
    """A pool as an operator makes it. Of subnets and addresses ``cidr``; of VNIs and ports ``first`` and ``last``."""

    name: str
    kind: str
    scope: str = CLUSTER
    purpose: str = ""
    cidr: str | None = None
    length: int | None = None
    protocol: str = ""
    first: int | None = None
    last: int | None = None
    note: str = ""


def create_pool(s: WriteSession, actor: Actor, wanted: NewPool) -> Pool:
    """Invalid says what it overlaps."""
    what = f"pool {wanted.name}"
    _refuse_purpose(what, wanted.purpose, wanted.kind)
    ensure_defaults(s)
    scope_id = store_scopes.add_scope(s, wanted.scope)
    store_scopes.lock_scope(s, scope_id)
    if wanted.name.startswith((f"{DECLARED} ", f"{LEAVING} ")) or _is_block(wanted.name):
        raise Invalid(f"{what}: name: pools of subnets are called so; take another", {"name": "take another"})
    if store_read.pool_by_name(s, scope_id, wanted.name) is not None:
        raise Invalid(f"{what}: name: there is one already in the scope {wanted.scope}", {"name": "taken"})
    if wanted.kind in ("subnet", "address"):
        found = _block_pool(s, actor, wanted, what, scope_id)
    else:
        found = _number_pool(s, wanted, what, scope_id)
    record(s, actor, "create", "pool", found.id, found.name, None, _pool_body(found))
    return found


def change_pool(
    s: WriteSession, actor: Actor, pool_id: int, purpose: str | None, length: int | None, note: str | None
) -> Pool:
    """What automatic choice makes of the pool, and its note; None: as it is. What is allocated stays."""
    found = get_pool(s, pool_id)
    what = f"pool {found.name}"
    if purpose is not None and found.purpose in (DECLARED, LEAVING):
        raise Conflict(f"{what}: it goes with its subnet, so it serves nothing else")
    if purpose is not None and found.block_id is not None:
        raise Conflict(f"{what}: it holds the addresses of one subnet, so it serves nothing else")
    if purpose is not None:
        _refuse_purpose(what, purpose, found.kind, found.version)
    if length is not None and (
        found.kind != "subnet" or not prefix_length(found.cidr or "") <= length <= found.unit
    ):
        raise Invalid(f"{what}: length {length}: it has no such subnets", {"length": "no such subnets"})
    before = _pool_body(found)
    values = {"purpose": purpose, "length": length, "note": note}
    told = {name: value for name, value in values.items() if value is not None}
    if not told:
        return found
    store.change_pool(s, pool_id, **told)
    found = get_pool(s, pool_id)
    record(s, actor, "change", "pool", pool_id, found.name, before, _pool_body(found))
    return found


def delete_pool(s: WriteSession, actor: Actor, pool_id: int) -> None:
    """Conflict if somebody has something of it."""
    found = get_pool(s, pool_id)
    held = None if found.block_id is None else get_block(s, found.block_id)
    if held is not None and held.block.owner_type != "pool":
        raise Conflict(
            f"pool {found.name}: it holds the addresses of {held.block.label}; it goes with the subnet"
        )
    store.lock(s, pool_id)
    block = store_read.has_foreign_block(s, pool_id)
    if block is not None:
        raise Conflict(
            f"pool {found.name}: {block.label or block.owner_id} has {block.value} of it; release that first"
        )
    body = _pool_body(found)
    store.drop_pool(s, pool_id)
    if held is not None:
        store.give_back(s, held.block.id)
    record(s, actor, "delete", "pool", pool_id, found.name, body, None)


def _block_pool(s: WriteSession, actor: Actor, wanted: NewPool, what: str, scope_id: int) -> Pool:
    try:
        block = network(wanted.cidr or "")
    except ValueError as error:
        raise Invalid(f"{what}: cidr {(wanted.cidr or '')[:80]!r}: {error}", {"cidr": str(error)}) from None
    cidr = str(block)
    _refuse_purpose(what, wanted.purpose, wanted.kind, block.version)
    length = wanted.length or max(block.prefixlen, LENGTHS[block.version])
    if wanted.kind == "subnet" and not block.prefixlen <= length <= block.max_prefixlen:
        raise Invalid(
            f"{what}: length {length}: subnets of {cidr} have {block.prefixlen} to {block.max_prefixlen}",
            {"length": f"{block.prefixlen} to {block.max_prefixlen}"},
        )
    value = placing.read(what, "subnet", cidr)
    _refuse_overlap(s, scope_id, what, Value(wanted.kind, *value[1:]))
    if wanted.kind == "address":
        return _addresses(s, actor, wanted, what, scope_id, value)
    found = subnet_pool(scope_id, wanted.name, cidr, length, wanted.purpose)
    if length > found.unit:
        raise Invalid(
            f"{what}: length {length}: {cidr} can be cut into /{found.unit} at most", {"length": "too long"}
        )
    return _added(s, found, wanted.note, what)


def _addresses(
    s: WriteSession, actor: Actor, wanted: NewPool, what: str, scope_id: int, value: Value
) -> Pool:
    """A pool of addresses. Where subnets are cut out of the same block, it takes its place among them."""
    around = store_read.overlapping_pools(s, scope_id, value)
    if any(Space.of(pool).all.holds(value.extent) for pool, _scope in around):
        entry = Entry(
            "pool", wanted.name[:80], wanted.name[:98], what, "reserved", False, wanted.note, actor.who
        )
        request = Request(what, entry, scope_id, is_lan=True)
        block_id = placing.exactly(s, request, value).taken.block_id
        child = store_read.pool_of_block(s, block_id)
        assert child is not None
        store.change_pool(s, child.id, name=wanted.name, note=wanted.note)
        return get_pool(s, child.id)
    _refuse_overlap(s, scope_id, what, value)
    return placing.add_address_pool(s, scope_id, text_of(value), None, wanted.name)


def _number_pool(s: WriteSession, wanted: NewPool, what: str, scope_id: int) -> Pool:
    protocol = (wanted.protocol or "tcp") if wanted.kind == "port" else ""
    if wanted.first is None or wanted.last is None:
        raise Invalid(f"{what}: a pool of kind {wanted.kind} needs first and last", {"first": "needed"})
    text = f"{wanted.first}-{wanted.last}" + (f"/{protocol}" if protocol else "")
    value = placing.read(what, wanted.kind, text)
    _refuse_overlap(s, scope_id, what, value)
    found = number_pool(scope_id, wanted.name, wanted.kind, protocol, value.first, value.last, wanted.purpose)
    return _added(s, found, wanted.note, what)


def _added(s: WriteSession, found: Pool, note: str, what: str) -> Pool:
    found.note = note
    try:
        return store.add_pool(s, found)
    except IntegrityError:
        raise Invalid(f"{what}: it overlaps another pool; take another block") from None


def _refuse_overlap(s: ReadSession, scope_id: int, what: str, value: Value) -> None:
    for pool, scope in store_read.overlapping_pools(s, scope_id, value):
        text = pool.cidr or Space.of(pool).text_of(Space.of(pool).all)
        raise Invalid(
            f"{what}: it overlaps the pool {pool.name} ({text}) of the scope {scope}; take another block"
        )


def _pool_body(pool: Pool) -> Json:
    return {
        "kind": pool.kind, "purpose": pool.purpose, "length": pool.length, "cidr": pool.cidr, "first": pool.first_value, "size": pool.size,
        "note": pool.note,
    }  # fmt: skip


def _refuse_purpose(what: str, purpose: str, kind: str, version: int = 0) -> None:
    """Invalid unless a pool of this kind and version can serve it."""
    words = [
        word for word, (other, needed) in POOL_PURPOSES.items() if other == kind and version in (0, needed)
    ]
    if purpose and purpose not in words:
        shown = ", ".join(words) or "none"
        raise Invalid(
            f"{what}: purpose {purpose!r}: such a pool serves one of: {shown}",
            {"purpose": f"one of: {shown}"},
        )


def _is_block(name: str) -> bool:
    try:
        network(name)
    except ValueError:
        return False
    return True
