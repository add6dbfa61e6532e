# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bridge networks as a kind of :mod:`..converge`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..compile.bridge import PREFIX, compile_bridge, compile_rules, mark, port_flags
from ..errors import CollisionError, SpecError
from ..kernel import collisions, observe
from ..kernel.session import Session
from ..plan import Op
from ..resources import (
    HOST,
    Address,
    Link,
    Resource,
    State,
    Sysctl,
    nft_name,
    state_of,
)
from ..spec import bridge, fields
from .drivers import refuse_shared
from .forwarding import keep_router_advertisements
from .merging import merge_lists
from .places import sandboxes

NAME = "bridge_network"
_MARK = mark("")


class BridgeKind:
    """Bridges in the host's own namespace, and the rules that all of them share. ``with_endpoints``: a network that goes
    takes its endpoints' pairs with it; otherwise it does not go while it has any."""

    name = NAME

    def __init__(self, with_endpoints: bool = False) -> None:
        self._with_endpoints = with_endpoints
        self._parsed: dict[str, bridge.Bridge] = {}

    def key(self, item: Mapping[str, Any]) -> str:
        name = item.get("name")
        return fields.name(bridge.label(repr(name)), "name", name, most=60)

    def complete(self, item: dict[str, Any]) -> dict[str, Any]:
        return item

    def merge(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        merged = {**old, **new}
        if "subnets" in old and "subnets" in new:
            merged["subnets"] = merge_lists(old["subnets"], new["subnets"], "subnet")
        if "labels" in old and "labels" in new:
            merged["labels"] = {**old["labels"], **new["labels"]}
        return merged

    def check(self, items: Sequence[dict[str, Any]]) -> None:
        networks = bridge.parse_all(items)
        refuse_shared(NAME, networks)
        self._parsed = {network.name: network for network in networks}

    def owned(self, session: Session) -> list[str]:
        return [name for name, _device in devices(session)]

    def desired(self, session: Session, names: Sequence[str]) -> State:
        found: list[Resource] = []
        for name in names:
            network = self._parsed[name]
            found.extend(compile_bridge(network))
            flags = port_flags(network)
            found.extend(port._replace(port=flags) for port in _ports(session, {network.bridge}))
        found.extend(keep_router_advertisements(session, found))
        # the rules are those of all networks together, whichever this run is about
        found.extend(compile_rules(list(self._parsed.values())))
        return state_of(dict.fromkeys(found))

    def observed(self, session: Session, names: Sequence[str], desired: State) -> State:
        found: list[Resource] = []
        present = self._present(session, names)
        for device in present:
            found.extend(observe.bridge(session, device))
        found.extend(_ports(session, {one for one in present if ("Link", HOST, one) in desired}))
        doomed = {one for one in present if ("Link", HOST, one) not in desired}
        if doomed:
            pairs = observe.endpoints(
                session, sandboxes(), lambda link: link.netns == HOST and link.master in doomed
            )
            found.extend(pairs.values())
        found.extend(one for one in session.nft(HOST) if nft_name(one).startswith(PREFIX))
        settings = [item for item in desired.values() if isinstance(item, Sysctl)]
        found.extend(observe.sysctls(session, settings))
        return state_of(found)

    def _present(self, session: Session, names: Sequence[str]) -> list[str]:
        """The bridges of these networks, with those that a killed run left half made: they have no alias yet."""
        found = {device for name, device in devices(session) if name in names}
        others = {one.bridge for one in self._parsed.values() if one.name not in names}
        declared = {one.bridge for one in self._parsed.values()}
        for link in session.host.links:
            half_made = link.owned and link.kind == "bridge" and not link.alias
            ours = link.name in declared or link.name.startswith(bridge.PREFIX)
            if half_made and ours and link.name not in others:
                found.add(link.name)
        return sorted(found)

    def guard(self, session: Session, ops: Sequence[Op]) -> None:
        links = [op for op in ops if isinstance(op.subject, Link)]
        for op in links:
            _refuse_other_bridges(session, op)
            _refuse_occupied(session, op, self._with_endpoints)
        collisions.refuse_taken_names(session, links)
        new = {op.subject.dev for op in ops if op.before is None and isinstance(op.subject, Address)}
        subnets = [
            (one.obj, subnet) for one in self._parsed.values() if one.bridge in new for subnet in one.subnets
        ]
        collisions.refuse_routed_subnets(session, subnets, own=[device for _name, device in devices(session)])


def devices(session: Session) -> list[tuple[str, str]]:
    """(network, bridge) of all that the kernel has."""
    return [
        (link.alias[len(_MARK) :], link.name)
        for link in session.host.links
        if link.kind == "bridge" and link.owned and link.alias.startswith(_MARK)
    ]


def _ports(session: Session, bridges: set[str]) -> list[Link]:
    """The endpoints' ports on these bridges: they are the endpoints' own, but for the flag that icc decides."""
    pairs = observe.pairs(session, [HOST], []) if bridges else []
    return [pair.outer for pair in pairs if pair.outer.master in bridges and pair.outer.alias]


def _refuse_other_bridges(session: Session, op: Op) -> None:
    """A bridge of crosshost's that is another network's, or the gateway bridge."""
    if op.before is not None or not isinstance(op.after, Link):
        return
    found = session.host.by_name.get(op.after.name)
    if found is not None and found.owned:
        owner = found.alias.partition(":")[2] or "something half made"
        raise CollisionError(
            f"link {op.after.name}: it belongs to {owner}; declare another bridge, or remove that first"
        )


def _refuse_occupied(session: Session, op: Op, with_endpoints: bool) -> None:
    """A bridge does not go while sandboxes hang on it; never while something does that crosshost did not make."""
    if op.after is not None or not isinstance(op.before, Link) or op.before.kind != "bridge":
        return
    device = session.host.by_name.get(op.before.name)
    ports = [link for link in session.host.links if device is not None and link.master == device.ifindex]
    if with_endpoints:
        ports = [link for link in ports if not link.owned]
    if ports:
        known = [link.alias.rpartition("/")[2] or link.name for link in ports]
        remedy = f"sandboxes use it ({', '.join(known[:5])}{', ...' if len(known) > 5 else ''}); delete their endpoints first"
        name = op.before.alias[len(_MARK) :]
        raise SpecError(bridge.label(name), "bridge", op.before.name, remedy)
