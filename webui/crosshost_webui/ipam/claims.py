# SPDX-License-Identifier: GPL-3.0-or-later
"""Making what an owner has exactly what it wants: keeping, allocating, releasing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import event

from ..audit.store import Actor, record
from ..db.engine import ReadSession, WriteSession
from ..web.problem import Invalid
from . import placing, store, store_read, store_scopes
from .defaults import KINDS, SERVED_BY, ensure_defaults, ensure_ports
from .extents import Extent
from .held import Held
from .models import CLUSTER, Pool
from .placing import Placed, Request
from .store import Entry
from .values import Space, Value, bits_of

_LEAVING, _CLAIMING = "ipam leaving", "ipam claiming"


class Owner(NamedTuple):
    """Whose blocks these are: ``type`` item with an item's id, or manual. ``label``: for people, such as `network web`."""

    type: str
    id: str
    label: str
    revision_id: int | None = None


class Wanted(NamedTuple):
    """One block of an owner. ``purpose``: a word of defaults.KINDS. ``value``: a CIDR block, an address, a VNI, a port such as
    8080/udp; None: automatic. ``within``: of an address, the subnet, or a part of it that automatic choice keeps to, or the name of
    a subnet that is wanted together with it. ``avoid``: what automatic choice leaves out. ``scope``: `cluster`, or `host NAME`
    for what only differs on one host. ``length``: of an automatic subnet, if not its pool's."""

    name: str
    purpose: str
    value: str | None = None
    within: str | None = None
    avoid: Sequence[str] = ()
    scope: str = CLUSTER
    length: int | None = None


class Granted(NamedTuple):
    """``value``: as it was wanted; of a port the number alone."""

    name: str
    value: str
    block_id: int
    automatic: bool


def claim(s: WriteSession, owner: Owner, wanted: Sequence[Wanted], actor: Actor) -> list[Granted]:
    """Make the owner's blocks exactly those wanted, in this order. What it has under the same name and may keep, it keeps. What is
    released stays in quarantine. Invalid names who or what is in the way.

    A subnet may go while other owners still have addresses of it, provided that they are claimed elsewhere, or released, before
    the transaction ends; settle() tells earlier.
    """
    _check(owner, wanted)
    return _Claim(s, owner, actor).run(wanted)


def settle(s: WriteSession) -> None:
    """Remove the pools of subnets that have gone. Invalid names who still has an address of one. Called before the commit in any
    case."""
    leaving: dict[int, str] = s.info.get(_LEAVING, {})
    while leaving:
        pool_id, what = next(iter(leaving.items()))
        store.lock(s, pool_id)
        block = store_read.has_foreign_block(s, pool_id)
        if block is not None:
            pool = store_read.pool(s, pool_id)
            assert pool is not None
            raise Invalid(
                f"{what}: the subnet {pool.cidr} cannot go, {block.label or block.owner_id} has {block.value} of it as "
                f"{block.name}; change that first, or in the same change"
            )
        store.drop_pool(s, pool_id)
        del leaving[pool_id]


def release(s: WriteSession, held: Held, what: str) -> None:
    """Put a block into quarantine. Of a subnet its addresses go with it; the rest is settle()'s."""
    if held.pool.kind == "subnet":
        left = placing.detach_addresses(s, held.block.id)
        if left is not None:
            if _LEAVING not in s.info:
                s.info[_LEAVING] = {}
                event.listen(s, "before_commit", settle)
            s.info[_LEAVING][left.id] = what
    store.quarantine(s, held.block.id)


class _Claim:
    """One call of claim()."""

    def __init__(self, s: WriteSession, owner: Owner, actor: Actor) -> None:
        self.s, self.owner, self.actor = s, owner, actor
        self.cluster = _begin(s)
        self.held: dict[str, Held] = {}
        self.former: dict[str, Held] = {}  # in quarantine, the last of each name
        for block, pool, scope in store_read.blocks_of_owner(s, owner.type, owner.id):
            found = Held(block, pool, scope)
            (self.former if block.state == "quarantined" else self.held)[found.name] = found
        self.granted: dict[str, Granted] = {}
        self.changes: dict[str, tuple[str | None, str | None]] = {}

    def run(self, wanted: Sequence[Wanted]) -> list[Granted]:
        names = {one.name for one in wanted}
        # addresses first: then a subnet goes with all that is in it
        gone = [name for name in self.held if name not in names]
        for name in sorted(gone, key=lambda name: self.held[name].pool.kind != "address"):
            self.release(name)
        # a subnet before the addresses in it; and what goes before what comes, so that two can change places
        addresses = [one for one in wanted if one.purpose == "address"]
        for part in ([one for one in wanted if one.purpose != "address"], addresses):
            kept = [one for one in part if self.keep(one)]
            rest = [one for one in part if one not in kept]
            values = {one.name: self.held[one.name].value for one in rest if one.name in self.held}
            for one in rest:
                self.release(one.name)
            # declared ones first: automatic choice gets out of their way
            for one in sorted(rest, key=lambda one: one.value is None):
                self.grant(one, values.get(one.name))
        self.audit()
        return [self.granted[one.name] for one in wanted]

    def scope(self, name: str) -> int:
        return store_scopes.add_scope(self.s, name)

    def what(self, one: Wanted) -> str:
        return f"{self.owner.label}: {one.name}"

    def keep(self, one: Wanted) -> bool:
        held = self.held.get(one.name)
        if held is None or not self.suits(one, held):
            return False
        self.granted[one.name] = _granted(one, held.value, held.block.id)
        entry = self.entry(one)
        block = held.block
        if (block.label, block.automatic, block.state) != (entry.label, entry.automatic, entry.state):
            store.change(self.s, block.id, entry._replace(note=block.note, who=block.who))
        return True

    def suits(self, one: Wanted, held: Held) -> bool:
        """Whether the block does for what is wanted."""
        kind, version = KINDS[one.purpose]
        if held.pool.kind != kind or (version and held.pool.version != version):
            return False
        if one.value is None:
            if kind == "address":
                return self.home(one)[0].id == held.pool.id
            return kind != "subnet" or one.length in (
                None,
                held.pool.unit - held.extent.size.bit_length() + 1,
            )
        value = self.read(one)
        space = Space.of(held.pool)
        if (value.version, value.protocol) != (space.version, space.protocol):
            return False
        same = value.extent == space.values(held.extent)
        if kind == "address":
            return same and self.home(one)[0].id == held.pool.id
        return same and held.scope == one.scope

    def read(self, one: Wanted) -> Value:
        kind, version = KINDS[one.purpose]
        assert one.value is not None
        text = one.value
        if kind == "port" and "/" not in text and one.name.rpartition("/")[2] in ("udp", "sctp"):
            text = f"{text}/{one.name.rpartition('/')[2]}"
        value = placing.read(self.what(one), kind, text)
        if version and value.version != version:
            raise Invalid(f"{self.what(one)} {one.value!r}: it has to be IPv{version}")
        if kind == "address" and value.first != value.last:
            raise Invalid(f"{self.what(one)} {one.value!r}: write one address")
        return value

    def home(self, one: Wanted) -> tuple[Pool, Extent | None]:
        """Of an address, the pool, and the part of it that automatic choice keeps to."""
        within = one.within or ""
        if within in self.granted:
            within = self.granted[within].value
        scopes = dict.fromkeys([self.scope(one.scope), self.cluster])
        return placing.address_home(self.s, self.what(one), list(scopes), within)

    def grant(self, one: Wanted, former: str | None) -> None:
        """Allocate. ``former``: what the owner has had under this name until now."""
        pool: Pool | None = None
        window: Extent | None = None
        if one.purpose == "address":
            pool, window = self.home(one)
        if one.value is not None:
            placed = placing.exactly(self.s, self.request(one), self.read(one), pool)
        else:
            placed = self.again(one, pool, former) or self.automatic(one, pool, window)
        self.granted[one.name] = _granted(one, placed.value, placed.taken.block_id)
        self.changes[one.name] = (self.changes.get(one.name, (None, None))[0], placed.value)

    def again(self, one: Wanted, pool: Pool | None, former: str | None) -> Placed | None:
        """What it has had before, if that is still to be had: the address in the subnet that takes the place of its old one, or
        what it has released and nobody else got."""
        if former is None:
            gone = self.former.get(one.name)
            if gone is None or not self.suits(one, gone):
                return None
            former = gone.value
        request = self.request(one)
        kind = KINDS[one.purpose][0]
        value = placing.read(self.what(one), kind, former)
        home = pool
        if home is None:
            gone = self.former.get(one.name)
            if gone is None or gone.value != former or not self.suits(one, gone):
                return None
            home = store_read.pool(self.s, gone.pool.id)
            if home is None:
                return None
        space = Space.of(home)
        if (value.version, value.protocol) != (space.version, space.protocol):
            return None
        if not space.all.holds(value.extent):
            return None
        slots = space.slots(value.extent)
        if any(one.overlaps(slots) for one in placing.avoided(self.s, request, home, space)):
            return None
        try:
            return placing.exactly(self.s, request, value, home)
        except Invalid:
            return None

    def automatic(self, one: Wanted, pool: Pool | None, window: Extent | None) -> Placed:
        if pool is not None:
            return placing.next_free(self.s, self.request(one), [pool], window)
        if one.purpose == "lan":
            raise Invalid(f"{self.what(one)}: write the LAN's own block; it cannot be chosen")
        scope_id = self.scope(one.scope)
        if one.purpose == "port":
            ensure_ports(self.s, scope_id, self.protocol(one))
        pools = pools_serving(self.s, [scope_id, self.cluster], one.purpose, self.protocol(one))
        if not pools:
            raise Invalid(
                f"{self.what(one)}: no pool serves {one.purpose}; add one in IPAM, or declare a value"
            )
        return placing.next_free(self.s, self.request(one), pools)

    def protocol(self, one: Wanted) -> str:
        if one.purpose != "port":
            return ""
        found = one.name.rpartition("/")[2]
        return found if found in ("udp", "sctp") else "tcp"

    def request(self, one: Wanted) -> Request:
        return Request(
            self.what(one), self.entry(one), self.scope(one.scope), one.purpose == "lan", one.length,
            0, one.avoid,
        )  # fmt: skip

    def entry(self, one: Wanted) -> Entry:
        return Entry(
            self.owner.type, self.owner.id, one.name, self.owner.label[:400], "active", one.value is None, "",
            self.actor.who, self.owner.revision_id,
        )  # fmt: skip

    def release(self, name: str) -> None:
        held = self.held.pop(name, None)
        if held is not None:
            release(self.s, held, self.owner.label)
            self.changes[name] = (held.value, None)

    def audit(self) -> None:
        if not self.changes:
            return
        before = {name: old for name, (old, _new) in self.changes.items() if old is not None}
        after = {name: new for name, (_old, new) in self.changes.items() if new is not None}
        record(
            self.s, self.actor, "allocate" if after else "release", self.owner.type, self.owner.id, self.owner.label,
            before or None, after or None,
        )  # fmt: skip


def _begin(s: WriteSession) -> int:
    """The cluster's scope, which nobody else claims of until the session ends."""
    if _CLAIMING not in s.info:
        ensure_defaults(s)
        store_scopes.lock_scope(s, store_scopes.add_scope(s, CLUSTER))
        s.info[_CLAIMING] = True
    return store_scopes.add_scope(s, CLUSTER)


def pools_serving(s: ReadSession, scope_ids: Sequence[int], purpose: str, protocol: str = "") -> list[Pool]:
    """The pools that automatic allocations of this purpose come from, in this order: of the first of the scopes that has any."""
    for scope_id in dict.fromkeys(scope_ids):
        found = [
            pool
            for word in SERVED_BY[purpose]
            for pool in store_read.pools_for(s, scope_id, word)
            if pool.protocol == protocol
        ]
        if found:
            return found
    return []


def _check(owner: Owner, wanted: Sequence[Wanted]) -> None:
    seen: set[str] = set()
    for one in wanted:
        if one.name in seen:
            raise Invalid(f"{owner.label}: {one.name}: it is there twice; give the second another name")
        seen.add(one.name)
        assert one.purpose in KINDS, one.purpose
        if len(one.name) > 98:
            raise Invalid(f"{owner.label}: {one.name[:40]}…: a name has up to 98 characters")
        version = KINDS[one.purpose][1]
        if one.length is not None and version and not 0 < one.length <= bits_of(version):
            raise Invalid(f"{owner.label}: {one.name}: no subnet of IPv{version} is a /{one.length}")


def _granted(one: Wanted, value: str, block_id: int) -> Granted:
    text = value.partition("/")[0] if one.purpose == "port" else value
    return Granted(one.name, text, block_id, one.value is None)
