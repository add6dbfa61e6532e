# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be left out of a state: a resource with everything that cannot be without it; and pairs made small by it."""

from __future__ import annotations

import re
from collections.abc import Callable

from ansible_collections.crosshost.network.plugins.module_utils.resources import (
    HOST,
    Address,
    FdbEntry,
    File,
    Link,
    Neighbour,
    Netns,
    NftChain,
    NftElement,
    Record,
    Resource,
    Route,
    State,
)

UNDERLAY, NAMED = "eth1", "/run/netns/"


def shrink(
    states: tuple[State, State], fails: Callable[[State, State], bool], rounds: int = 400
) -> tuple[State, State]:
    """A smaller pair that still fails: resources are left out one by one, with all that hangs on them."""
    current = list(states)
    for _ in range(3):
        for side in (0, 1):
            for identity in list(current[side]):
                if rounds <= 0:
                    return current[0], current[1]
                if identity not in current[side] or identity[0] == "Sysctl":
                    continue
                rounds -= 1
                trial = list(current)
                trial[side] = without(current[side], identity)
                if fails(trial[0], trial[1]):
                    current = trial
    return current[0], current[1]


def without(state: State, identity: tuple[object, ...]) -> State:
    """The state less one resource and everything that cannot be without it."""
    left = {k: item for k, item in state.items() if k != identity}
    while True:
        fine = {k: item for k, item in left.items() if _stands(item, left)}
        if len(fine) == len(left):
            return left
        left = fine


def _stands(item: Resource, state: State) -> bool:
    if isinstance(item, Netns):
        return not item.of.startswith(NAMED) or ("Netns", item.of[len(NAMED) :]) in state
    if isinstance(item, (File, Record)):
        return True
    netns = item.netns
    if netns and ("Netns", netns) not in state:
        return False
    if isinstance(item, NftElement):
        place = (item.netns, item.family)
        return ("NftMap", *place, item.map) in state and ("NftChain", *place, item.target) in state
    if isinstance(item, NftChain):
        needed = re.findall(r'"@([^"]+)"', "".join(item.rules))
        return all(("NftMap", item.netns, item.family, name) in state for name in needed)
    if isinstance(item, Link):
        if item.kind == "macvlan" and ("Link", HOST, dict(item.attrs)["link"]) not in state:
            return dict(item.attrs)["link"] == UNDERLAY
        peer = not (item.peer and item.peer.netns) or ("Netns", item.peer.netns) in state
        return peer and (not item.master or ("Link", item.netns, item.master) in state)
    if isinstance(item, (Address, Route, Neighbour, FdbEntry)):
        devices = {(one.netns, one.name) for one in state.values() if isinstance(one, Link)}
        devices |= {
            (one.peer.netns, one.peer.name) for one in state.values() if isinstance(one, Link) and one.peer
        }
        if (item.netns, item.dev) not in devices:
            return False
    if isinstance(item, Route) and item.gateway:
        return any(
            isinstance(one, Address)
            and one.dev == item.dev
            and one.netns == item.netns
            and (":" in one.address) == (":" in item.dst)
            for one in state.values()
        )
    return True
