# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Overlay networks as a kind of :mod:`..converge`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..compile.overlay import FORWARDING, compile_overlay
from ..kernel import collisions, observe
from ..kernel.session import Session
from ..kernel.underlay import Finder, Underlay
from ..plan import Op
from ..resources import FdbEntry, Link, Netns, Resource, State, Sysctl, netns_name, state_of
from ..spec import fields, overlay
from .merging import merge_lists
from .mesh import network_name, refuse_its_name

NAME = "overlay_network"


class OverlayKind:
    """``defaults``: data_path_address, data_path_interface, data_path_port and peers for the networks without their own."""

    name = NAME

    def __init__(self, defaults: Mapping[str, Any]) -> None:
        self._defaults: dict[str, Any] = fields.given(defaults)
        self._parsed: dict[str, overlay.Overlay] = {}

    def key(self, item: Mapping[str, Any]) -> str:
        name = item.get("name")
        return fields.name(overlay.label(repr(name)), "name", name, most=60)

    def complete(self, item: dict[str, Any]) -> dict[str, Any]:
        """The item with the defaults of the task where it says nothing itself."""
        found = {**self._defaults, **item}
        if "data_path_address" in item or "data_path_interface" in item:
            for field in ("data_path_address", "data_path_interface"):
                if field not in item:
                    found.pop(field, None)
        return found

    def merge(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        merged = {**old, **new}
        for field, identity in (("subnets", "subnet"), ("peers", "vtep"), ("endpoints", ("ip", "ip6"))):
            if field in old and field in new:
                merged[field] = merge_lists(old[field], new[field], identity)
        if "labels" in old and "labels" in new:
            merged["labels"] = {**old["labels"], **new["labels"]}
        return merged

    def check(self, items: Sequence[dict[str, Any]]) -> None:
        parsed = overlay.parse_all(items)
        self._parsed = {one.name: one for one in parsed}
        refuse_its_name((one.name, one.obj) for one in parsed)

    def owned(self, session: Session) -> list[str]:
        mesh = network_name()
        return [name for name in observe.overlay_names(session) if name != mesh]

    def desired(self, session: Session, names: Sequence[str]) -> State:
        finder = Finder(session)
        found: list[Resource] = []
        for name in names:
            parsed = self._parsed[name]
            below: Underlay = finder.resolve(parsed)
            found.extend(compile_overlay(parsed, below.vtep, below.dev, below.mtu))
        state = state_of(found)
        return {**state, **_ports(session, names, state)}

    def observed(self, session: Session, names: Sequence[str], desired: State) -> State:
        settings = [item for item in desired.values() if isinstance(item, Sysctl)]
        doomed = [name for name in names if ("Netns", netns_name(name)) not in desired]
        # they go with the namespace, and have to be known to come back if its deletion is refused
        settings += [Sysctl(netns_name(name), one, "") for name in doomed for one in FORWARDING]
        state = observe.overlays(session, names, settings)
        state.update(_ports(session, [name for name in names if name not in doomed]))
        if doomed:
            from .places import sandboxes  # late: only a network that goes needs it

            # an endpoint's pair lives in its network's namespace and dies with it, with all that is inside
            spaces = {netns_name(name) for name in doomed}
            state.update(observe.endpoints(session, sandboxes(), lambda link: link.netns in spaces))
            if os.path.isdir("/run/crosshost/dns"):
                from .names import of_networks  # likewise, and only where names are served

                state.update(of_networks(session, doomed))
        return state

    def guard(self, session: Session, ops: Sequence[Op]) -> None:
        built = [op for op in ops if isinstance(op.subject, (Netns, Link))]
        collisions.refuse_taken_namespaces(session, built)
        collisions.refuse_taken_names(session, built)
        collisions.refuse_taken_vnis(session, built)
        collisions.refuse_routed_subnets(session, self._new_subnets(built))

    def _new_subnets(self, ops: Sequence[Op]) -> list[tuple[str, Any]]:
        """The subnets of the networks that get a namespace or a link by this plan."""
        touched = {op.subject.name for op in ops if op.before is None and isinstance(op.subject, Netns)}
        touched |= {op.subject.netns for op in ops if op.before is None and isinstance(op.subject, Link)}
        chosen = [one for one in self._parsed.values() if netns_name(one.name) in touched]
        return [(one.obj, subnet) for one in chosen for subnet in one.subnets]


def _ports(session: Session, names: Sequence[str], desired: Optional[State] = None) -> State:
    """The endpoints' ports of these networks, with their static rows. They are the endpoints' own and only ride along: a
    bridge that goes lets go of its ports, and an undo has to put them back. With ``desired``: as they will be then."""
    ports: dict[tuple[str, str], Link] = {}
    for pair in observe.pairs(session, map(netns_name, names), []):
        port = pair.outer
        if desired is not None and ("Link", port.netns, port.master) not in desired:
            port = port._replace(master="", port=())
        ports[(port.netns, port.name)] = port
    found: list[Resource] = list(ports.values())
    for netns in {netns for netns, _name in ports}:
        view = session.view(netns)
        for index, mac, dst in view.fdb() if view else ():
            port_ = ports.get((netns, view.name_of(index))) if view and not dst else None
            if port_ is not None and port_.master:
                found.append(FdbEntry(netns, port_.name, mac))
    return state_of(found)
