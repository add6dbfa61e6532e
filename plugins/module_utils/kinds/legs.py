# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Legs to the gateway bridges: whose they are, and which addresses they hold. Sandboxes have them, and so have namespaces
of crosshost's own, whose places begin with ``xh-``."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..compile.endpoint import Leg, compile_leg, port_name
from ..kernel import observe
from ..kernel.session import Session
from ..resources import HOST, Link, Resource, mark_of
from ..spec import gwbridge
from ..spec.gwbridge import Gwbridge

OWN = "xh-"


class Wanted(NamedTuple):
    """A leg that is to be: the namespace it leads out of, and the families (4, 6) whose default route goes over it."""

    netns: str
    routed: tuple[int, ...] = (4, 6)


def is_leg(link: Link) -> bool:
    """True for the outer end of a leg; its alias holds an address, an endpoint's does not."""
    return "@" in link.alias


def place_of(link: Link) -> str:
    """The place whose leg it is."""
    return link.alias.partition("/")[2].rpartition("@")[0]


def offsets(session: Session, bridge: Gwbridge) -> dict[str, int]:
    """The addresses that places have on a bridge, as distances from the network address; the ports' aliases remember them."""
    subnet = bridge.subnets[0]
    gateways = {int(ipaddress.ip_address(one.gateway)) - one.first for one in bridge.subnets}
    found: dict[str, int] = {}
    for info in session.host.links:
        head, _, address = info.alias.rpartition("@")
        if info.kind == "veth" and info.owned and head.startswith(mark_of(f"{bridge.name}/")):
            try:
                number = int(ipaddress.ip_address(address))
            except ValueError:
                continue
            if subnet.first < number < subnet.last and number - subnet.first not in gateways:
                found[head.partition("/")[2]] = number - subnet.first
    return found


def choose(session: Session, bridge: Gwbridge, places: Mapping[str, Wanted]) -> dict[str, Leg]:
    """The legs of these places on a bridge. Who has an address keeps it. A new sandbox gets the first that is free, a place
    of our own the last: what sandboxes get does not depend on it."""
    held = offsets(session, bridge)
    used = set(held.values())
    found: dict[str, Leg] = {}
    for place, wanted in places.items():
        if place not in held:
            free = gwbridge.last_free if place.startswith(OWN) else gwbridge.first_free
            held[place] = free(bridge, used)
            used.add(held[place])
        found[place] = Leg(place, wanted.netns, held[place])
    return found


def resources(session: Session, bridge: Gwbridge, places: Mapping[str, Wanted]) -> Iterator[Resource]:
    """The legs of these places on a bridge, with their addresses and default routes."""
    for place, leg in choose(session, bridge, places).items():
        yield from compile_leg(bridge, leg, places[place].routed)


def observed(session: Session, places: Mapping[str, str]) -> Iterator[Resource]:
    """The legs of these places, by the namespaces that they lead out of, with the addresses and routes inside."""
    half_made = {port_name("vg", place) for place in places}  # by a run that was killed: it has no alias yet
    for pair in observe.pairs(session, [HOST], places.values()):
        link = pair.outer
        if (is_leg(link) and place_of(link) in places) or (not link.alias and link.name in half_made):
            yield link
            if pair.inner:
                yield from observe.inside(session, pair.inner[0], {pair.inner[1].name})
