# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an observed state to a desired one: ordered operations. Pure: no input but the two states."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Callable, NamedTuple, Optional

from .resources import (
    ZERO_MAC,
    Address,
    FdbEntry,
    File,
    Key,
    Link,
    Neighbour,
    Netns,
    Nft,
    NftChain,
    NftElement,
    NftMap,
    Promiscuous,
    Record,
    Resource,
    Route,
    State,
    Sysctl,
    Unit,
    key,
)

_DEV_BOUND = (Address, Route, Neighbour, FdbEntry, Promiscuous)


class Op(NamedTuple):
    """One change: create (before None), delete (after None) or change in place (both)."""

    before: Optional[Resource]
    after: Optional[Resource]

    @property
    def verb(self) -> str:
        if self.before is None:
            return "create"
        return "delete" if self.after is None else "change"

    @property
    def subject(self) -> Resource:
        return self.after or self.before  # type: ignore[return-value]  # one is there, and no resource is empty


def plan(observed: State, desired: State) -> list[Op]:
    """The operations that turn ``observed`` into ``desired``: deletes first, dependants before what they depend on; then
    creates and changes, the other way round. What disappears with a deleted link or namespace is not deleted itself. Parts
    of an nft table go last: what stays may refer to them until it is changed."""
    if observed == desired:
        return []
    doomed: set[Key] = set(observed.keys() - desired.keys())
    changed = _changed(observed, desired)
    doomed.update(key(old) for old, new in changed if old is not None and _must_recreate(old, new))
    doomed |= _flushed_routes(observed, doomed)
    dead = _dead_devices(observed, doomed)
    going = [observed[k] for k in observed if k in doomed] if doomed else []
    going = [item for item in going if not _implied(item, observed, doomed, dead)]
    deletes = _ranked((_delete_rank(item), Op(item, None)) for item in going if not isinstance(item, Nft))
    late = _ranked((_late_rank(item), Op(item, None)) for item in going if isinstance(item, Nft))
    middle = after_deletes(observed, deletes) if deletes else observed
    middle = _after_moves(middle, desired)
    if middle is not observed:
        changed = _changed(middle, desired)
    return deletes + _ranked((_RANKS[type(new)](new), Op(old, new)) for old, new in changed) + late


def _changed(state: State, desired: State) -> list[tuple[Optional[Resource], Resource]]:
    """What has to be written: (what is there, what is to be)."""
    find = state.get
    return [(old, new) for identity, new in desired.items() if (old := find(identity)) != new]


def _ranked(ops: Iterable[tuple[tuple[Any, ...], Op]]) -> list[Op]:
    """Operations by their rank; those of one rank stay as they come. There are few ranks and many operations."""
    found: dict[tuple[Any, ...], list[Op]] = {}
    for rank, op in ops:
        if rank in found:
            found[rank].append(op)
        else:
            found[rank] = [op]
    return [op for rank in sorted(found) for op in found[rank]]


def apply_to(state: State, ops: list[Op]) -> State:
    """What the operations make of a state: the kernel's behaviour as a model, for tests and for planning."""
    result = after_deletes(state, [op for op in ops if op.after is None])
    written = {key(op.after): op.after for op in ops if op.after is not None}
    return {**_after_moves(result, written), **written}


def after_deletes(state: State, deletes: list[Op]) -> State:
    """The state that is left once these objects are gone, with all that the kernel removes along with them."""
    gone = {key(op.subject) for op in deletes}
    if not any(isinstance(op.subject, (Netns, Link)) for op in deletes):
        return {identity: item for identity, item in state.items() if identity not in gone}
    spaces = {op.subject.name for op in deletes if isinstance(op.subject, Netns)}
    dead = _dead_devices(state, gone | _links_of(state, spaces))
    orphans = _orphaned_ports(state, dead)
    result: State = {}
    for identity, item in state.items():
        if identity in gone or _netns_of(item) in spaces:
            continue
        if isinstance(item, Link):
            if (item.netns, item.name) not in dead:
                orphan = (item.netns, item.name) in orphans
                result[identity] = item._replace(master="", port=()) if orphan else item
        elif not (isinstance(item, _DEV_BOUND) and _dies_with(item, dead, orphans)):
            result[identity] = item
    return result


def _links_of(state: State, spaces: set[str]) -> set[Key]:
    """The links that die with these namespaces: those inside, and the pairs that have an end inside."""
    return {
        identity
        for identity, item in state.items()
        if isinstance(item, Link)
        and (item.netns in spaces or (item.peer is not None and item.peer.netns in spaces))
    }


def _dies_with(item: Resource, dead: set[tuple[str, str]], orphans: set[tuple[str, str]]) -> bool:
    """True for what is bound to a dead device; a static row of a port belongs to the bridge that went away."""
    if not isinstance(item, _DEV_BOUND):
        return False
    place = (item.netns, item.dev)
    return place in dead or (place in orphans and isinstance(item, FdbEntry) and not item.dst)


def _flushed_routes(observed: State, doomed: set[Key]) -> set[Key]:
    """The IPv4 routes that the kernel flushes along with a device's last IPv4 address: they are deleted by name first, and
    made again afterwards if they are still wanted."""
    losing: dict[tuple[str, str], bool] = {}
    if not any(identity[0] == "Address" for identity in doomed):
        return set()
    for identity, item in observed.items():
        if isinstance(item, Address) and ":" not in item.address:
            place = (item.netns, item.dev)
            losing[place] = losing.get(place, True) and identity in doomed
    return {
        identity
        for identity, item in observed.items()
        if isinstance(item, Route) and ":" not in item.dst and losing.get((item.netns, item.dev), False)
    }


def _after_moves(state: State, desired: State) -> State:
    """The state once ports have moved to their desired bridges: a port's flags and static rows belong to the membership."""
    moved = {
        (item.netns, item.name)
        for identity, item in desired.items()
        if identity[0] == "Link"
        and isinstance(item, Link)
        and _master_in(state, identity) not in (None, item.master)
    }
    if not moved:
        return state
    return {
        identity: item
        for identity, item in state.items()
        if not (isinstance(item, FdbEntry) and not item.dst and (item.netns, item.dev) in moved)
    }


def _master_in(state: State, identity: Key) -> Optional[str]:
    link = state.get(identity)
    return link.master if isinstance(link, Link) else None


def _orphaned_ports(state: State, gone_links: set[tuple[str, str]]) -> set[tuple[str, str]]:
    return {
        (item.netns, item.name)
        for item in state.values()
        if isinstance(item, Link) and item.master and (item.netns, item.master) in gone_links
    }


def _netns_of(item: Resource) -> str:
    return "" if isinstance(item, (Netns, Record, File, Unit)) else item.netns


def _must_recreate(before: Resource, after: Resource) -> bool:
    """True where the kernel cannot change the object in place."""
    if isinstance(before, Netns) and isinstance(after, Netns):
        return before.of != after.of
    if isinstance(before, Link) and isinstance(after, Link):
        if before.kind != after.kind or (before.kind != "bridge" and before.attrs != after.attrs):
            return True
        if before.kind == "veth":
            return _pair(before) != _pair(after)
    return False


def _pair(link: Link) -> Optional[tuple[str, str]]:
    return (link.peer.netns, link.peer.name) if link.peer else None


def _dead_devices(observed: State, doomed: set[Key]) -> set[tuple[str, str]]:
    """The devices that the deletes take away: the doomed links, and the other ends of doomed pairs."""
    dead: set[tuple[str, str]] = set()
    for identity in doomed:
        link = observed.get(identity)
        if isinstance(link, Link):
            dead.add((link.netns, link.name))
            if link.peer:
                dead.add((link.peer.netns, link.peer.name))
    return dead


def _implied(item: Resource, observed: State, doomed: set[Key], dead: set[tuple[str, str]]) -> bool:
    """True when the object goes away by itself with another doomed one. Links with a socket or a pair outside their
    namespace are deleted by name all the same: a namespace's own removal is asynchronous, and a VNI stays taken meanwhile."""
    if isinstance(item, (Netns, Record, File, Unit)):
        return False
    if isinstance(item, Link):
        return item.kind == "bridge" and ("Netns", item.netns) in doomed
    if ("Netns", item.netns) in doomed:
        return True
    if isinstance(item, _DEV_BOUND):
        if (item.netns, item.dev) in dead:
            return True
        if isinstance(item, FdbEntry) and not item.dst:
            port = observed.get(("Link", item.netns, item.dev))
            return isinstance(port, Link) and (port.netns, port.master) in dead
    return False


_DELETE_ORDER: dict[type, int] = {
    Unit: 0,  # a process keeps its namespace alive, and reads its files
    Promiscuous: 0,  # a file says that it is ours to undo
    File: 1,
    FdbEntry: 2,
    Neighbour: 2,
    Route: 3,
    Address: 4,
    Sysctl: 9,
    Netns: 10,
    Record: 11,
}
_DELETE_LINKS = {"veth": 5, "macvlan": 5, "ipvlan": 5, "vxlan": 6, "bridge": 7}


def _delete_rank(item: Resource) -> tuple[int, str]:
    order = _DELETE_LINKS.get(item.kind, 8) if isinstance(item, Link) else _DELETE_ORDER[type(item)]
    return (order, _netns_of(item))


def _late_rank(item: Resource) -> tuple[str, int]:
    """Elements refer to regular chains, rules of base chains to maps."""
    if isinstance(item, NftElement):
        order = 0
    elif isinstance(item, NftChain):
        order = 1 if item.hook else 3
    else:
        order = 2
    return (_netns_of(item), order)


# Stage, namespace, order within it: each namespace is visited once a stage, which keeps the batches long.
_Rank = tuple[int, str, int, str]
_LINK_RANK = {"bridge": (1, 0), "vxlan": (1, 1), "veth": (2, 0), "macvlan": (2, 1), "ipvlan": (2, 1)}


def _rank_link(item: Link) -> _Rank:
    stage, order = _LINK_RANK.get(item.kind, (1, 0))
    return (stage, item.netns, order, item.name)


def _rank_sysctl(item: Sysctl) -> _Rank:
    if item.name.endswith(".disable_ipv6"):
        return (3, item.netns, -1, item.name)  # of a device that this plan may make
    # forwarding last: turning it on drops the routes learned from router advertisements unless accept_ra allows them
    return (1, item.netns, -1, f"{int(item.name.endswith('forwarding'))} {item.name}")


_RANKS: dict[type, Callable[[Any], _Rank]] = {
    Netns: lambda item: (0, item.name, 0, "") if not item.of else (3, "", 6, item.name),
    Link: _rank_link,
    Sysctl: _rank_sysctl,
    Address: lambda item: (3, item.netns, 0, item.address),
    # a default route may go through a gateway that only another route makes reachable
    Route: lambda item: (3, item.netns, 2 if item.gateway else 1, item.dst),
    Neighbour: lambda item: (3, item.netns, 3, item.dev),
    FdbEntry: lambda item: (3, item.netns, 5 if item.mac == ZERO_MAC else 4, item.dev),
    # the rules before the links that they are about
    NftChain: lambda item: (0, item.netns, 4 if item.hook else 1, item.name),
    NftMap: lambda item: (0, item.netns, 2, item.name),
    NftElement: lambda item: (0, item.netns, 3, item.map),
    File: lambda item: (4, "", 0, item.path),
    Promiscuous: lambda item: (5, item.netns, 0, item.dev),
    Unit: lambda item: (5, "", 1, item.name),
    Record: lambda item: (6, item.kind, 0, item.name),
}
