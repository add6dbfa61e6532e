# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices that are made on others (macvlan, ipvlan): ours in sandboxes, and who else uses a parent."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from typing import Callable, NamedTuple, Optional

from ..resources import HOST, Link, Resource
from . import observe
from .collisions import namespaces
from .decode import CHILD_KINDS, LinkInfo
from .netlink import NetlinkError, attributes
from .session import Session

_RTM_NEWNSID, _RTM_GETNSID = 88, 90  # linux/rtnetlink.h
_NETNSA_NSID, _NETNSA_FD = 1, 3  # linux/net_namespace.h


class User(NamedTuple):
    """A macvlan or ipvlan device of somebody else's."""

    netns: str
    name: str
    kind: str
    mode: str

    def __str__(self) -> str:
        place = f"in the namespace {self.netns}" if self.netns else "on the host"
        return f"{self.name} {place} is {self.kind} in mode {self.mode} on it"


def users(session: Session, parent: LinkInfo) -> Iterator[User]:
    """Whose devices on this one are to be seen: in the host's namespace and in all that have a name."""
    for netns in namespaces(session):
        view = session.view(netns)
        for info in view.links if view else ():
            if info.lower != parent.ifindex or info.kind not in CHILD_KINDS or info.owned:
                continue
            if info.lower_nsid != (-1 if netns == HOST else _host_id(session, netns)):
                continue  # on a device of another namespace that has the same number
            kind = info.kind.replace("vtap", "vlan")
            yield User(netns, info.name, kind, str(dict(info.attrs).get("mode", "")))


def _host_id(session: Session, netns: str) -> Optional[int]:
    """What the host's namespace is called in another one (a link's IFLA_LINK_NETNSID); None when it has no name there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        request = struct.pack("=BxxxHHI", 0, 8, _NETNSA_FD, home)
        answer = session.sockets.of(netns).ask(_RTM_GETNSID, request, _RTM_NEWNSID)
    except NetlinkError:
        return None
    finally:
        os.close(home)
    found = attributes(answer, 4).get(_NETNSA_NSID, b"\xff" * 4)
    number = struct.unpack("=i", found)[0]
    return int(number) if number >= 0 else None


def children(session: Session, spaces: Iterable[str], wanted: Callable[[Link], bool]) -> Iterator[Resource]:
    """The macvlan and ipvlan devices of ours in these namespaces for which ``wanted`` says yes, with their addresses and
    routes."""
    for netns in spaces:
        view = session.view(netns)
        found = {
            info.name: observe.link_of(session, view, info)
            for info in (view.links if view else ())
            if view is not None and info.owned and info.kind in CHILD_KINDS
        }
        chosen = {name for name, link in found.items() if wanted(link)}
        yield from (found[name] for name in sorted(chosen))
        yield from observe.inside(session, netns, chosen)
