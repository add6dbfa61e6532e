# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's state as resources: only what crosshost owns, and only the part that a module is responsible for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Callable, NamedTuple, Optional

from ..resources import (
    HOST,
    Address,
    FdbEntry,
    Link,
    Neighbour,
    Netns,
    Peer,
    Resource,
    Route,
    State,
    Sysctl,
    mark_of,
    netns_name,
    state_of,
)
from . import netns as _netns
from . import sysctl
from .decode import LinkInfo, made_by_kernel
from .session import NsView, Session

SANDBOX_MARK = mark_of("sandbox")
_PREFIX = netns_name("")


def overlay_names(session: Session) -> list[str]:
    """The networks that have a namespace of ours on this host."""
    names = []
    for name in session.netns_names():
        if name.startswith(_PREFIX):
            view = session.view(name)
            if view and view.mark == mark_of(name[len(_PREFIX) :]):
                names.append(name[len(_PREFIX) :])
    return names


def overlays(session: Session, names: Iterable[str], settings: Iterable[Sysctl] = ()) -> State:
    """The resources of these overlay networks; a namespace that is not ours is left out (see :mod:`.collisions`)."""
    items: list[Resource] = []
    ours: set[str] = set()
    for name in names:
        netns = netns_name(name)
        view = session.view(netns)
        if view is None or view.mark != mark_of(name):
            continue
        ours.add(netns)
        items.append(Netns(netns, view.mark))
        items.extend(_network(session, view))
    items.extend(sysctls(session, [wanted for wanted in settings if wanted.netns in ours]))
    return state_of(items)


def _network(session: Session, view: NsView) -> list[Resource]:
    netns = view.netns
    items: list[Resource] = []
    bridges: dict[int, str] = {}
    tunnels: dict[int, str] = {}
    for info in view.links:
        if info.owned and info.kind == "bridge":
            bridges[info.ifindex] = info.name
        elif info.owned and info.kind == "vxlan":
            tunnels[info.ifindex] = info.name
        else:
            continue
        items.append(link_of(session, view, info))
    items += [
        Address(netns, dev, found.address, found.prefixlen)
        for found in view.addresses
        if (dev := bridges.get(found.ifindex))
    ]
    items += [
        Neighbour(netns, dev, address, mac)
        for index, address, mac in view.neighbours()
        if (dev := tunnels.get(index))
    ]
    rows = view.fdb()
    # the row for a device's own multicast group comes and goes with the device
    vteps = {dst for dst in {row[2] for row in rows} if dst and not _is_multicast(dst)}
    items += [
        FdbEntry(netns, dev, mac, dst)
        for index, mac, dst in rows
        if dst in vteps and (dev := tunnels.get(index))
    ]
    return items


def _is_multicast(address: str) -> bool:
    return address.startswith("ff") if ":" in address else 224 <= int(address.split(".")[0]) <= 239


def link_of(session: Session, view: NsView, info: LinkInfo, peer: Optional[Peer] = None) -> Link:
    """A link as a resource. The MAC counts where crosshost sets it: on bridges, on a pair's inner end, and on a macvlan
    that does not take its parent's."""
    attrs = info.attrs
    own_mac = info.kind == "bridge" or (info.kind == "macvlan" and dict(attrs).get("mode") != "passthru")
    if info.kind in ("macvlan", "ipvlan", "vlan"):
        attrs = tuple(sorted((*attrs, ("link", session.host.name_of(info.lower)))))
    if info.kind == "vxlan":
        lower = dict(attrs).get("link")
        others = tuple(pair for pair in attrs if pair[0] != "link")
        # the device of a VXLAN is in the namespace from which it was made: the host's
        attrs = tuple(sorted((*others, ("dev", session.host.name_of(int(lower)))))) if lower else others
    return Link(
        netns=view.netns,
        name=info.name,
        kind=info.kind,
        alias=info.alias,
        mtu=info.mtu,
        mac=info.mac if own_mac else "",
        master=view.name_of(info.master) if info.master else "",
        up=info.up,
        attrs=attrs,
        port=info.port,
        peer=peer,
    )


def sysctls(session: Session, settings: Iterable[Sysctl]) -> Iterator[Sysctl]:
    """The present values of these settings; those of a namespace or device that does not exist are left out."""
    for wanted in settings:
        if wanted.netns and session.view(wanted.netns) is None:
            continue
        value = sysctl.read(wanted.netns, wanted.name)
        if value is not None:
            yield wanted._replace(value=value)


def bridge(session: Session, name: str) -> list[Resource]:
    """A bridge of the host's namespace with its addresses, if it is ours."""
    info = session.host.by_name.get(name)
    if info is None or not info.owned or info.kind != "bridge":
        return []
    items: list[Resource] = [link_of(session, session.host, info)]
    items += [
        Address(HOST, name, found.address, found.prefixlen)
        for found in session.host.addresses
        if found.ifindex == info.ifindex
    ]
    return items


class Joined(NamedTuple):
    """A veth pair of ours: its outer end, and the inner one with the sandbox that holds it, if that was found."""

    outer: Link
    inner: Optional[tuple[str, LinkInfo]]


def pairs(session: Session, outer: Iterable[str], sandboxes: Iterable[str]) -> list[Joined]:
    """The pairs whose outer end is in one of the ``outer`` namespaces. Both ends bear the same alias."""
    inner: dict[str, tuple[str, LinkInfo]] = {}
    outside = set(outer)
    for netns in sandboxes:
        view = session.view(netns) if netns not in outside else None
        for info in view.links if view else ():
            if info.kind == "veth" and info.owned and info.alias:
                inner[info.alias] = (netns, info)
    found: list[Joined] = []
    for netns in outside:
        view = session.view(netns)
        for info in view.links if view else ():
            if info.kind != "veth" or not info.owned:
                continue
            if netns and "@" in info.alias:
                continue  # the inner end of a network's own leg
            assert view is not None
            mate = inner.get(info.alias) if info.alias else None
            peer = Peer(mate[0], mate[1].name, mate[1].mac, mate[1].mtu) if mate else None
            link = link_of(session, view, info, peer)
            if mate and not mate[1].up:
                link = link._replace(up=False)  # the pair counts as up when both ends are
            found.append(Joined(link, mate))
    return found


def sandbox_names(session: Session) -> list[str]:
    """The named namespaces that crosshost made as sandboxes. Of several names for one, the first that it got."""
    names = []
    for name in session.netns_names():
        if not name.startswith(_PREFIX):
            view = session.view(name)
            if view and view.mark == SANDBOX_MARK:
                names.append(name)
    return _netns.without_aliases(names)


def endpoints(
    session: Session, sandboxes: Iterable[str], wanted: Callable[[Link], bool], own: Iterable[str] = ()
) -> State:
    """The pairs and the macvlan children for which ``wanted`` says yes, with the rows of their ports and the addresses and
    routes inside; and the sandboxes of ``own``, if crosshost made them."""
    made = set(sandbox_names(session))
    looked_at = sorted(set(sandboxes) | made)
    outer = [HOST, *(netns_name(name) for name in overlay_names(session))]
    chosen = [pair for pair in pairs(session, outer, looked_at) if wanted(pair.outer)]
    items: list[Resource] = [pair.outer for pair in chosen]
    ports: dict[str, set[str]] = {}
    inner: dict[str, set[str]] = {}
    for pair in chosen:
        ports.setdefault(pair.outer.netns, set()).add(pair.outer.name)
        if pair.inner:
            inner.setdefault(pair.inner[0], set()).add(pair.inner[1].name)
    for space in looked_at:
        for child in _children(session, space):
            if wanted(child):
                items.append(child)
                inner.setdefault(space, set()).add(child.name)
    for netns, names in ports.items():
        view = session.view(netns)
        if view is None or not netns:
            continue
        for index, mac, dst in view.fdb():
            if not dst and view.name_of(index) in names:
                items.append(FdbEntry(netns, view.name_of(index), mac))
    for netns, names in inner.items():
        items.extend(inside(session, netns, names))
    items += [Netns(name, SANDBOX_MARK) for name in own if name in made]
    return state_of(items)


def _children(session: Session, netns: str) -> Iterator[Link]:
    view = session.view(netns)
    for info in view.links if view else ():
        if info.kind in ("macvlan", "ipvlan") and info.owned:
            assert view is not None
            yield link_of(session, view, info)


def default_routes(session: Session, sandboxes: Iterable[str]) -> Iterator[Route]:
    """The default routes of these sandboxes over devices of ours."""
    for netns in sandboxes:
        view = session.view(netns)
        for way in view.routes if view else ():
            info = view.by_index.get(way.dev) if view else None
            if way.dst in ("0.0.0.0/0", "::/0") and info is not None and info.owned:
                yield Route(netns, way.dst, info.name, way.gateway)


def inside(session: Session, netns: str, names: set[str]) -> Iterator[Resource]:
    """The addresses, permanent neighbours and routes of these devices."""
    view = session.view(netns)
    if view is None:
        return
    for found in view.addresses:
        if view.name_of(found.ifindex) in names:
            yield Address(netns, view.name_of(found.ifindex), found.address, found.prefixlen)
    for index, address, mac in view.neighbours():
        if view.name_of(index) in names:
            yield Neighbour(netns, view.name_of(index), address, mac)
    for way in view.routes:
        dev = view.name_of(way.dev)
        if dev in names and not made_by_kernel(way):
            yield Route(netns, way.dst, dev, way.gateway)
