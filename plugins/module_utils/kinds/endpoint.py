# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints as a kind of :mod:`..converge`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from .. import record
from ..compile.endpoint import Leg, Place, compile_endpoint, compile_leg, endpoint_alias
from ..compile.overlay import bridge_mac, bridge_name
from ..errors import CollisionError, HostError, SpecError
from ..kernel import collisions, containers, observe
from ..kernel import netns as _netns
from ..kernel.session import Session
from ..kernel.underlay import Finder
from ..plan import Op
from ..resources import (
    HOST,
    OWNER,
    Link,
    Netns,
    Resource,
    Route,
    State,
    Sysctl,
    key,
    mark_of,
    netns_name,
    state_of,
)
from ..spec import endpoint, gwbridge, overlay
from ..spec.endpoint import GATEWAY_INTERFACE, Endpoint
from .overlay import NAME as OVERLAYS
from .overlay import OverlayKind
from .places import known_path

NAME = "endpoint"


class EndpointKind:
    """``networks`` and ``bridges``: declarations that stand in for those not yet recorded on the host, so that check mode
    is true before the first run; ``defaults``: as for OverlayKind, for the MTU of a network that is not there yet."""

    name = NAME

    def __init__(
        self,
        networks: Optional[Iterable[Mapping[str, Any]]] = None,
        bridges: Optional[Iterable[Mapping[str, Any]]] = None,
        defaults: Optional[Mapping[str, Any]] = None,
        check_mode: bool = False,
    ) -> None:
        reader = OverlayKind(defaults or {})
        # what is recorded has the remote endpoints; a declaration that differs from it is newer
        known = {item["name"]: item for item in record.load(OVERLAYS)}
        for item in networks or ():
            given = reader.complete({field: value for field, value in item.items() if value is not None})
            known[reader.key(given)] = {**known.get(str(given["name"]), {}), **given}
        self._networks = {one.name: one for one in overlay.parse_all(list(known.values()))}
        below = {str(item.get("name", gwbridge.NAME_DEFAULT)): item for item in record.load("gwbridge")}
        below.update({str(item.get("name") or gwbridge.NAME_DEFAULT): dict(item) for item in bridges or ()})
        self._bridges = {one.name: one for one in gwbridge.parse_all(list(below.values()))}
        self._check_mode = check_mode
        self._parsed: dict[str, Endpoint] = {}
        self._places: dict[str, str] = {}

    def key(self, item: Mapping[str, Any]) -> str:
        at = endpoint.where(item)
        return f"{at.network}/{at.name}"

    def complete(self, item: dict[str, Any]) -> dict[str, Any]:
        return item

    def merge(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        chosen = [field for field in ("sandbox", "pid", "container") if field in new]
        kept = {k: v for k, v in old.items() if not chosen or k not in ("sandbox", "pid", "container")}
        return {**kept, **new}

    def check(self, items: Sequence[dict[str, Any]]) -> None:
        self._parsed = {one.id: one for one in endpoint.parse_all(items, self._networks, self._bridges)}

    def owned(self, session: Session) -> list[str]:
        spaces = [netns_name(name) for name in observe.overlay_names(session)]
        pairs = observe.pairs(session, spaces, [])
        return [_owner(pair.outer) for pair in pairs if "/" in pair.outer.alias]

    def desired(self, session: Session, names: Sequence[str]) -> State:
        finder = Finder(session)
        found: list[Resource] = []
        taken: dict[str, set[str]] = {}
        for name in names:
            one = self._parsed[name]
            netns = self._sandbox(one)
            # a sandbox that crosshost made stays as long as an endpoint is in it, whichever asked for it
            if one.sandbox and not _is_foreign(session, netns):
                found.append(Netns(netns, observe.SANDBOX_MARK))
            interface = self._interface(session, one, netns, taken)
            network = self._networks[one.network]
            place = Place(netns, interface, *self._segment(session, finder, one))
            found.extend(compile_endpoint(one, network, place))
        found.extend(self._legs(session, self._touched(names)))
        return state_of(dict.fromkeys(found))

    def observed(self, session: Session, names: Sequence[str], desired: State) -> State:
        chosen = {endpoint_alias(name) for name in names}
        places = self._touched(names)
        living = {one.place for one in self._parsed.values()}
        routed = {one.place for one in self._parsed.values() if one.default_route}

        def wanted(link: Link) -> bool:
            if not link.alias:
                return True  # half made by a run that was killed: nobody's but ours to finish or to remove
            if link.netns == HOST:
                place = _leg_place(link)
                # an endpoint that this run is not about may still need the leg
                mine = place in places and (key(link) in desired or place not in routed)
                return mine or place not in living
            return link.alias in chosen

        recorded = [item for item in record.load(NAME) if self.key(item) in names]
        spaces = {known_path(item) for item in recorded}
        spaces |= {link.peer.netns for link in desired.values() if isinstance(link, Link) and link.peer}
        named = {one.sandbox for one in self._parsed.values()}
        made = {item.name for item in desired.values() if isinstance(item, Netns)}
        # likewise, it may still be in the sandbox
        own = [name for name in observe.sandbox_names(session) if name in made or name not in named]
        settings = [item for item in desired.values() if isinstance(item, Sysctl)]
        found = observe.endpoints(session, spaces - {HOST}, wanted, own)
        return {**found, **state_of(observe.sysctls(session, settings))}

    def guard(self, session: Session, ops: Sequence[Op]) -> None:
        collisions.refuse_taken_names(session, ops)
        for op in ops:
            item = op.subject
            if op.before is None and isinstance(item, Route) and item.dst in ("0.0.0.0/0", "::/0"):
                _refuse_other_default(session, item)
            if op.before is None and isinstance(item, Link) and not self._check_mode:
                view = session.view(item.netns)
                if view is None or item.master not in view.by_name:
                    what = f"network {item.netns[3:]}" if item.netns else f"gateway bridge {item.master}"
                    raise HostError(f"endpoint {_owner(item)}: {what} is not on this host; converge it first")

    def _touched(self, names: Iterable[str]) -> set[str]:
        """The sandboxes of these endpoints, as they are declared now and as they were recorded."""
        wanted = set(names)
        places = {one.place for one in self._parsed.values() if one.id in wanted}
        for item in record.load(NAME):
            at = endpoint.where(item)
            if f"{at.network}/{at.name}" in wanted:
                places.add(endpoint.place(at.sandbox, at.pid, at.container))
        return places

    def _sandbox(self, one: Endpoint) -> str:
        if one.place not in self._places:
            self._places[one.place] = self._find(one)
        return self._places[one.place]

    def _find(self, one: Endpoint) -> str:
        if one.sandbox:
            # several endpoints may share a sandbox that only one of them asks to create
            asked = any(other.create for other in self._parsed.values() if other.sandbox == one.sandbox)
            if not asked and not _netns.exists(one.sandbox):
                remedy = "there is no such namespace on this host; make it, or set create: true"
                raise SpecError(one.obj, "sandbox", one.sandbox, remedy)
            return one.sandbox
        return containers.namespace_of(one.obj, one.pid or containers.pid_of(one.obj, one.container))

    def _interface(self, session: Session, one: Endpoint, netns: str, taken: dict[str, set[str]]) -> str:
        """The declared name; else the one that the endpoint has already; else the first free eth<n>."""
        view = session.view(netns)
        used = taken.setdefault(
            netns, {other.interface for other in self._parsed.values() if other.place == one.place}
        )
        if one.interface:
            return one.interface
        alias = endpoint_alias(one.id)
        others = set()
        for info in view.links if view else ():
            if info.alias == alias and info.name not in used:
                used.add(info.name)
                return info.name
            # half made by a run that was killed, it has no alias yet: this run makes it anew
            if not info.owned or info.alias not in ("", alias):
                others.add(info.name)
        number = 0
        while f"eth{number}" in used | others:
            number += 1
        used.add(f"eth{number}")
        return f"eth{number}"

    def _segment(self, session: Session, finder: Finder, one: Endpoint) -> tuple[int, str]:
        """MTU and MAC of the segment's bridge, as they are, or as they will be when the network is not there yet."""
        view = session.view(netns_name(one.network))
        bridge = view.by_name.get(bridge_name(one.vni)) if view else None
        if bridge is not None and not self._check_mode:
            return bridge.mtu, bridge.mac
        below = finder.resolve(self._networks[one.network])
        return below.mtu, bridge_mac(below.vtep, one.vni)

    def _legs(self, session: Session, places: set[str]) -> Iterable[Resource]:
        """A leg for each of these sandboxes that has an endpoint with a default route. Addresses stay where they are."""
        wanted = {
            one.place: one for one in self._parsed.values() if one.default_route and one.place in places
        }
        for name, bridge in self._bridges.items():
            held = _offsets(session, bridge)
            used = set(held.values())
            for place, one in wanted.items():
                if one.gwbridge != name:
                    continue
                if place not in held:
                    held[place] = gwbridge.first_free(bridge, used)
                    used.add(held[place])
                yield from compile_leg(bridge, Leg(place, self._sandbox(one), held[place]))


def _offsets(session: Session, bridge: gwbridge.Gwbridge) -> dict[str, int]:
    """The addresses that sandboxes have on a bridge, by sandbox, as the ports' aliases remember them."""
    subnet = bridge.subnets[0]
    found: dict[str, int] = {}
    for info in session.host.links:
        head, _, address = info.alias.rpartition("@")
        if info.kind == "veth" and info.owned and head.startswith(mark_of(f"{bridge.name}/")):
            try:
                number = int(ipaddress.ip_address(address))
            except ValueError:
                continue
            gateways = {int(ipaddress.ip_address(one.gateway)) - one.first for one in bridge.subnets}
            if subnet.first < number < subnet.last and number - subnet.first not in gateways:
                found[head.partition("/")[2]] = number - subnet.first
    return found


def _owner(link: Link) -> str:
    return link.alias.partition(":")[2]


def _leg_place(link: Link) -> str:
    return link.alias.partition("/")[2].rpartition("@")[0]


def _is_foreign(session: Session, netns: str) -> bool:
    """True for a namespace that exists and that crosshost did not make."""
    view = session.view(netns)
    return view is not None and not view.mark.startswith(f"{OWNER}:")


def _refuse_other_default(session: Session, item: Route) -> None:
    view = session.view(item.netns)
    for way in view.routes if view else ():
        name = view.name_of(way.dev) if view else ""
        if way.dst == item.dst and name != GATEWAY_INTERFACE:
            raise CollisionError(
                f"sandbox {item.netns}: it has a default route over {name} that crosshost did not make; "
                "set default_route: false on its endpoints"
            )
