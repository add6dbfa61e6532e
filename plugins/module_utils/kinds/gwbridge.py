# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gateway bridges as a kind of :mod:`..converge`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .. import record
from ..compile.gwbridge import MARK, chain_names, compile_gwbridge, port_flags
from ..errors import CollisionError, SpecError
from ..kernel import collisions, observe
from ..kernel.session import Session
from ..plan import Op
from ..resources import HOST, Link, NftChain, Resource, State, Sysctl, state_of
from ..spec import gwbridge, overlay
from ..spec.subnets import refuse_overlaps
from .forwarding import keep_router_advertisements
from .legs import place_of
from .places import sandboxes

NAME = "gwbridge"
_DOCKERS = re.compile(r"docker(0|_gwbridge)\Z|br-[0-9a-f]{12}\Z")


class GwbridgeKind:
    """Gateway bridges in the host's own namespace. ``with_legs``: a bridge that goes takes the sandboxes' legs with it, as
    when another one is declared in its place; otherwise it does not go while there are any."""

    name = NAME

    def __init__(self, with_legs: bool = False) -> None:
        self._with_legs = with_legs
        self._parsed: dict[str, gwbridge.Gwbridge] = {}

    def key(self, item: Mapping[str, Any]) -> str:
        return gwbridge.parse({"name": item.get("name"), "subnet": "192.0.2.0/24"}).name

    def complete(self, item: dict[str, Any]) -> dict[str, Any]:
        return {"name": gwbridge.NAME_DEFAULT, **item}

    def merge(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        merged = {**old, **new}
        for suffix in ("", "6"):
            # a new subnet makes the old gateway meaningless
            if new.get(f"subnet{suffix}", old.get(f"subnet{suffix}")) != old.get(f"subnet{suffix}"):
                merged.pop(f"gateway{suffix}", None)
                if f"gateway{suffix}" in new:
                    merged[f"gateway{suffix}"] = new[f"gateway{suffix}"]
        return merged

    def check(self, items: Sequence[dict[str, Any]]) -> None:
        bridges = gwbridge.parse_all(items)
        refuse_overlaps(
            [(one.obj, one.subnets) for one in overlay.parse_all(record.load("overlay_network"))]
            + [(bridge.obj, bridge.subnets) for bridge in bridges]
        )
        self._parsed = {bridge.name: bridge for bridge in bridges}

    def owned(self, session: Session) -> list[str]:
        found = [link.name for link in session.host.links if link.kind == "bridge" and link.alias == MARK]
        # a run that was killed may have left the rules of a bridge alone, which come before it
        for item in session.nft(HOST):
            name, _, part = item.name.rpartition("-") if isinstance(item, NftChain) else ("", "", "")
            if part in ("nat", "forward") and not gwbridge.is_taken(name):
                found.append(name)
        return list(dict.fromkeys(found))

    def desired(self, session: Session, names: Sequence[str]) -> State:
        found: list[Resource] = []
        for name in names:
            found.extend(compile_gwbridge(self._parsed[name]))
            bridge = self._parsed[name]
            ports = _ports(session, name)
            found.extend(port._replace(port=port_flags(bridge, place_of(port))) for port in ports)
        found.extend(keep_router_advertisements(session, found))
        return state_of(dict.fromkeys(found))

    def observed(self, session: Session, names: Sequence[str], desired: State) -> State:
        found: list[Resource] = []
        doomed = {name for name in names if ("Link", HOST, name) not in desired}
        for name in names:
            found.extend(observe.bridge(session, name))
            if name not in doomed:
                found.extend(_ports(session, name))
        if doomed:
            from ..spec.ingress import SANDBOX  # late: only a bridge that goes needs it

            spaces = {*sandboxes(), SANDBOX}
            legs = observe.endpoints(
                session, spaces, lambda link: link.netns == HOST and link.master in doomed
            )
            found.extend(legs.values())
        ours = {chain for name in names for _family, chain in chain_names(name)}
        found.extend(one for one in session.nft(HOST) if isinstance(one, NftChain) and one.name in ours)
        found.extend(
            observe.sysctls(session, [item for item in desired.values() if isinstance(item, Sysctl)])
        )
        return state_of(found)

    def guard(self, session: Session, ops: Sequence[Op]) -> None:
        for op in ops:
            if isinstance(op.subject, Link):
                _refuse_dockers(session, op)
                _refuse_occupied(session, op, self._with_legs)
        collisions.refuse_taken_names(session, ops)
        subnets = [(bridge.obj, subnet) for bridge in self._parsed.values() for subnet in bridge.subnets]
        collisions.refuse_routed_subnets(session, subnets, own=list(self._parsed))


def _ports(session: Session, name: str) -> list[Link]:
    """The sandboxes' ports on a bridge of ours: they are the endpoints', but for the flag that icc decides."""
    pairs = observe.pairs(session, [HOST], [])
    return [pair.outer for pair in pairs if pair.outer.master == name and pair.outer.alias]


def _refuse_dockers(session: Session, op: Op) -> None:
    name = op.subject.name if isinstance(op.subject, Link) else ""
    found = session.host.by_name.get(name)
    if op.before is None and found is not None and not found.owned and _DOCKERS.match(name):
        raise CollisionError(
            f"gwbridge {name}: this host's dockerd made that bridge and uses it; crosshost never touches it: "
            f"declare another name, such as {gwbridge.NAME_DEFAULT}"
        )


def _refuse_occupied(session: Session, op: Op, with_legs: bool) -> None:
    """A bridge does not go while sandboxes hang on it; never while something does that crosshost did not make."""
    if op.after is not None or not isinstance(op.before, Link) or op.before.kind != "bridge":
        return
    bridge = session.host.by_name.get(op.before.name)
    ports = [link for link in session.host.links if bridge is not None and link.master == bridge.ifindex]
    if with_legs:
        ports = [link for link in ports if not link.owned]
    if ports:
        known = [link.alias.rpartition("/")[2].partition("@")[0] or link.name for link in ports]
        remedy = f"sandboxes use it ({', '.join(known[:5])}{', ...' if len(known) > 5 else ''}); delete their endpoints first"
        if any(name.startswith("xh-") for name in known):
            remedy += ", and the names of networks that go out by it (xh-NETWORK)"
        raise SpecError(gwbridge.label(op.before.name), "state", "deleted", remedy)
