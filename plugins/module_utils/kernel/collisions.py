# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan must not touch or collide with: links, namespaces, VNIs and subnets that crosshost did not make."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Iterator, Sequence

from ..errors import CollisionError
from ..plan import Op
from ..resources import HOST, Link, Netns
from ..spec.subnets import Subnet
from . import netns as _netns
from .session import Session

# where container engines keep namespaces that have no name below /run/netns
_ELSEWHERE = ("/run/docker/netns", "/var/run/docker/netns")


def refuse_taken_namespaces(session: Session, ops: Sequence[Op]) -> None:
    """A namespace that is to be made must not exist; one that is to go must hold nothing of anybody else's."""
    for op in ops:
        item = op.subject
        if not isinstance(item, Netns):
            continue
        view = session.view(item.name)
        if op.verb == "create" and view is not None:
            owner = f"it belongs to {view.mark!r}" if view.mark else "crosshost did not make it"
            raise CollisionError(
                f"namespace {item.name}: it exists already and {owner}; rename the network or remove it"
            )
        if op.verb == "delete" and view is not None:
            foreign = [link.name for link in view.links if link.name != "lo" and not link.owned]
            if foreign:
                raise CollisionError(
                    f"namespace {item.name}: it holds {', '.join(foreign)}, not made by crosshost; move or delete that first"
                )


def refuse_taken_names(session: Session, ops: Sequence[Op]) -> None:
    """A link that is to be made, in a namespace that exists, must not have the name of somebody else's."""
    for op in ops:
        item = op.subject
        if op.before is not None or not isinstance(item, Link):
            continue
        ends = [(item.netns, item.name)] + ([(item.peer.netns, item.peer.name)] if item.peer else [])
        for netns, name in ends:
            view = session.view(netns)
            found = view.by_name.get(name) if view else None
            if found is not None and not found.owned:
                where = f"namespace {netns}" if netns else "this host"
                raise CollisionError(
                    f"link {name}: {where} has one already ({found.kind or 'device'}, not made by crosshost); "
                    "declare another name or remove it"
                )


def refuse_taken_vnis(session: Session, ops: Sequence[Op]) -> None:
    """No VXLAN device may exist with the VNI and port of one that is to be made, in any namespace that has a name."""
    made: dict[tuple[object, object], Link] = {}
    gone: set[tuple[str, str]] = set()
    for op in ops:
        item = op.subject
        if isinstance(item, Link) and item.kind == "vxlan":
            if op.before is None:
                values = dict(item.attrs)
                made[(values.get("id"), values.get("port"))] = item
            elif op.after is None:
                gone.add((item.netns, item.name))
    if not made:
        return
    for netns, name, vni, port in _tunnels(session):
        link = made.get((vni, port))
        if link is not None and (netns, name) not in gone:
            place = f"in the namespace {netns}" if netns else "on the host"
            raise CollisionError(
                f"VNI {vni} on port {port}: {link.name} of {link.alias.partition(':')[2]} needs it and {name} {place} has it; "
                "give the network another VNI or remove that device"
            )


def _tunnels(session: Session) -> Iterator[tuple[str, str, object, object]]:
    for netns in namespaces(session):
        view = session.view(netns)
        for info in view.links if view else ():
            if info.kind == "vxlan":
                values = dict(info.attrs)
                yield netns, info.name, values.get("id"), values.get("port")


def namespaces(session: Session) -> list[str]:
    """All namespaces that somebody has given a name, the host's first."""
    return [HOST, *session.netns_names(), *_elsewhere()]


def _elsewhere() -> list[str]:
    found: dict[tuple[int, int], str] = {}
    for folder in _ELSEWHERE:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            path = f"{folder}/{name}"
            if _netns.exists(path):
                status = os.stat(path)
                found.setdefault((status.st_dev, status.st_ino), path)
    return list(found.values())


def refuse_routed_subnets(
    session: Session, subnets: Iterable[tuple[str, Subnet]], own: Sequence[str] = ()
) -> None:
    """No subnet of these networks may overlap a route of the host; routes over the devices ``own`` do not count."""
    routes = []
    for way in session.host.routes:
        dev = session.host.name_of(way.dev)
        block = ipaddress.ip_network(way.dst, strict=False)
        if block.prefixlen and dev not in own:
            routes.append(
                (block.version, int(block.network_address), int(block.broadcast_address), way.dst, dev)
            )
    routes.sort()
    for obj, subnet in subnets:
        for version, first, last, dst, dev in routes:
            if version == subnet.version and first <= subnet.last and subnet.first <= last:
                raise CollisionError(
                    f"{obj}: subnet {subnet.cidr!r}: it overlaps the host's route {dst} on {dev}; take another block"
                )
