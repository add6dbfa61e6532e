# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The published ports of all endpoints of a host together: they share the host's ports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from .. import record
from ..compile.publish import PREFIX, Published, Target, choose, compile_published
from ..errors import SpecError
from ..kernel.session import Session
from ..resources import HOST, Resource, nft_name
from ..spec import gwbridge
from ..spec.endpoint import Endpoint
from ..spec.gwbridge import member
from ..spec.networks import Network
from ..spec.publish import refuse_unreachable
from . import ports
from .ground import Ground


class Way(NamedTuple):
    """A publishing endpoint, settled. ``out``: the endpoint that gives its sandbox each family's default route; ``offset``: the
    place of its sandbox's leg on the gateway bridge, if it has one."""

    end: Endpoint
    out: Mapping[int, Endpoint]
    offset: int


def resources(
    session: Session, ground: Ground, ways: Sequence[Way]
) -> tuple[list[Published], list[Resource]]:
    """The ports with the host's ports that they get, and all that makes them answer."""
    targets = [_target(ground, way) for way in ways]
    published = choose(targets, session.nft(HOST), ports.ground)
    return published, list(compile_published(published, _devices(session, ground)))


def _target(ground: Ground, way: Way) -> Target:
    end, network = way.end, ground.networks[way.end.network]
    found = {4: "", 6: ""}
    for version, out in way.out.items():
        if network.driver == "overlay" and ground.networks[out.network].driver == "overlay":
            for subnet in ground.bridges[out.gwbridge].subnets:
                if subnet.version == version:
                    found[version] = member(subnet, way.offset)
        elif out.id == end.id:
            found[version] = end.ip if version == 4 else end.ip6
    if not any(found.values()):
        over = next(iter(way.out.values())).obj
        remedy = f"the sandbox's default route goes over {over}; publish there, or raise gw_priority here"
        raise SpecError(end.obj, "publish", str(end.publish[0]), remedy)
    refuse_unreachable(end.obj, "publish", end.publish, found[4], found[6])
    return Target(end.id, end.publish, found[4], found[6], _device(network, way))


def _device(network: Network, way: Way) -> str:
    """The host's device on the way to the sandbox."""
    bridge = getattr(network, "bridge", "")
    return str(bridge or next(iter(way.out.values())).gwbridge)


def _devices(session: Session, ground: Ground) -> Iterator[str]:
    """The bridges of this host on which nobody but endpoints publishes."""
    meshed = {str(item.get("gwbridge") or gwbridge.NAME_DEFAULT) for item in record.load("ingress")}
    names = [*ground.bridges, *(getattr(network, "bridge", "") for network in ground.networks.values())]
    return (name for name in names if name in session.host.by_name and name not in meshed)


def observed(session: Session) -> Iterator[Resource]:
    """The published ports' part of the host's nft table."""
    return (item for item in session.nft(HOST) if nft_name(item).startswith(PREFIX))
