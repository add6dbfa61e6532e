# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Macvlan and ipvlan networks as a kind of :mod:`..converge`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .. import record
from ..compile import macvlan as compiled
from ..compile.macvlan import dummy_name, parent_of, shim_name
from ..errors import CollisionError
from ..kernel import collisions, files, observe
from ..kernel.children import children
from ..kernel.decode import LinkInfo
from ..kernel.session import Session
from ..plan import Op
from ..resources import HOST, Address, Link, Promiscuous, Record, Resource, Route, State, Sysctl, state_of
from ..spec import fields, macvlan
from ..spec.macvlan import Macvlan
from . import parents
from .children import network_of, spaces
from .drivers import refuse_shared
from .merging import merge_lists

NAME = "macvlan"


class MacvlanKind:
    """What the host has of networks whose sandboxes are on its LANs. The sandboxes' own devices, the children, belong to the
    endpoints; they go along with a network that goes or that moves to another device."""

    name = NAME

    def __init__(self) -> None:
        self._parsed: dict[str, Macvlan] = {}

    def key(self, item: Mapping[str, Any]) -> str:
        name = item.get("name")
        return fields.name(macvlan.label(repr(name)), "name", name, most=60)

    def complete(self, item: dict[str, Any]) -> dict[str, Any]:
        return item

    def merge(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        merged = {**old, **new}
        if new.get("driver", old.get("driver")) != old.get("driver") and "mode" not in new:
            merged.pop("mode", None)  # the drivers have no mode in common
        if "subnets" in old and "subnets" in new:
            merged["subnets"] = merge_lists(old["subnets"], new["subnets"], "subnet")
        if "labels" in old and "labels" in new:
            merged["labels"] = {**old["labels"], **new["labels"]}
        return merged

    def check(self, items: Sequence[dict[str, Any]]) -> None:
        networks = macvlan.parse_all(items)
        refuse_shared(NAME, networks)
        self._parsed = {one.name: one for one in networks}

    def owned(self, session: Session) -> list[str]:
        return list(dict.fromkeys(filter(None, map(_owner, session.host.links))))

    # -- what is to be

    def desired(self, session: Session, names: Sequence[str]) -> State:
        found: list[Resource] = []
        for name in names:
            network = self._parsed[name]
            found.extend(compiled.compile_macvlan(network, parents.resolve(session, network)))
            if network.shim:
                found.extend(compiled.routes_to(network, self._addresses(session, network)))
        found.extend(self._promiscuous(session, names))
        return state_of(dict.fromkeys(found))

    def _promiscuous(self, session: Session, names: Sequence[str]) -> Iterator[Resource]:
        """The devices that are to take in everything because of us. What somebody else has set, we neither set nor undo."""
        wanted = {one.parent for one in self._parsed.values() if one.promiscuous}
        for dev in sorted(wanted & {self._parsed[name].parent for name in names}):
            info = session.host.by_name.get(dev)
            if info is None or parents.is_made(info):
                yield Promiscuous(HOST, dev)  # it goes with the device
            elif not info.promiscuous or self._is_ours(session, info):
                yield compiled.memory_of(dev, info.ifindex)
                yield Promiscuous(HOST, dev)

    def _addresses(self, session: Session, network: Macvlan) -> list[str]:
        """The addresses of a network's children on this host, as far as they are where it is."""
        mine = children(
            session,
            spaces(session),
            lambda link: network_of(link) == network.name and _is_on(link, network),
        )
        return [item.address for item in mine if isinstance(item, Address)]

    # -- what is there

    def observed(self, session: Session, names: Sequence[str], desired: State) -> State:
        host = session.host
        found: list[Resource] = [
            observe.link_of(session, host, info) for info in host.links if self._is_about(info, names)
        ]
        shims = {shim_name(name) for name in names} & {item.name for item in found if isinstance(item, Link)}
        found.extend(observe.inside(session, HOST, shims))
        found.extend(self._asked(session, names))
        settings = [item for item in desired.values() if isinstance(item, Sysctl)]
        found.extend(observe.sysctls(session, settings))
        found.extend(self._leaving(session, names))
        return state_of(found)

    def _is_about(self, info: LinkInfo, names: Sequence[str]) -> bool:
        """Whether a device of ours on the host is one of these networks', or a VLAN that no network needs any more."""
        if parents.is_made(info):
            users = [one.name for one in self._parsed.values() if one.parent == info.name]
            return not users or any(name in names for name in users)
        if not info.owned:
            return False
        if not info.alias and info.kind in ("vlan", "dummy", *macvlan.MODES):
            # half made by a run that was killed, perhaps for a network that is declared no more
            others = [one for one in self._parsed.values() if one.name not in names]
            return not any(info.name in (parent_of(one), shim_name(one.name)) for one in others)
        known = {device(name) for name in names for device in (dummy_name, shim_name)}
        return info.name in known or _owner(info) in names

    def _asked(self, session: Session, names: Sequence[str]) -> Iterator[Resource]:
        """What we have set on parents, as far as it is up to these networks, or to none any more."""
        wanted = {one.parent for one in self._parsed.values() if one.promiscuous}
        mine = {self._parsed[name].parent for name in names if name in self._parsed}
        for info in session.host.links:
            dev = info.name
            if info.promiscuous and (dev not in wanted or dev in mine) and self._is_ours(session, info):
                yield Promiscuous(HOST, dev)
        for dev in _asked_devices():
            if dev not in wanted or dev in mine:
                yield from files.observe([compiled.asked_path(dev)])

    @staticmethod
    def _is_ours(session: Session, info: LinkInfo) -> bool:
        """Whether it was crosshost that made a device promiscuous."""
        return parents.is_made(info) or _is_asked(session, info.name)

    def _leaving(self, session: Session, names: Sequence[str]) -> Iterator[Resource]:
        """The children of networks that go, and those that are not where their network is now."""
        recorded = [item for item in record.load(NAME) if item["name"] in names]
        moved = {str(item["name"]) for item in recorded if self._has_moved(item)}
        if moved:
            yield from children(session, spaces(session), lambda link: self._is_left(link, moved))

    def _has_moved(self, item: Mapping[str, Any]) -> bool:
        """Whether a recorded network stands on another device than is declared now, or on none."""
        now = self._parsed.get(item["name"])
        was = macvlan.parse(item)
        return now is None or (now.driver, parent_of(now)) != (was.driver, parent_of(was))

    def _is_left(self, link: Link, moved: set[str]) -> bool:
        name = network_of(link)
        now = self._parsed.get(name)
        return name in moved and (now is None or not _is_on(link, now))

    # -- what must not be

    def guard(self, session: Session, ops: Sequence[Op]) -> None:
        collisions.refuse_taken_names(session, ops)
        for name in dict.fromkeys(_touched(ops)):
            network = self._parsed.get(name)
            if network is not None and network.parent:
                parents.refuse_taken(session, network)
        for op in ops:
            item = op.subject
            if op.before is None and isinstance(item, Address) and item.netns == HOST:
                self._refuse_taken_address(session, item)
            elif op.before is None and isinstance(item, Route) and item.netns == HOST:
                self._refuse_taken_route(session, item)

    def _network_on(self, dev: str) -> Macvlan:
        return next(one for one in self._parsed.values() if shim_name(one.name) == dev)

    def _refuse_taken_address(self, session: Session, item: Address) -> None:
        network = self._network_on(item.dev)
        for found in session.host.addresses:
            dev = session.host.name_of(found.ifindex)
            if found.address == item.address and dev != item.dev:
                remedy = f"{dev} of this host has that address; give the host another one for its own child"
                raise CollisionError(f"{network.obj}: shim {item.address!r}: {remedy}")
        if item.address in self._addresses(session, network):
            remedy = "an endpoint of the network has that address; give the host another one"
            raise CollisionError(f"{network.obj}: shim {item.address!r}: {remedy}")

    def _refuse_taken_route(self, session: Session, item: Route) -> None:
        network = self._network_on(item.dev)
        for way in session.host.routes:
            dev = session.host.name_of(way.dev)
            if way.dst == item.dst and dev != item.dev:
                remedy = f"it is this host's route over {dev}; declare a range that is a part of it"
                raise CollisionError(f"{network.obj}: host_range {item.dst!r}: {remedy}")


def _owner(info: LinkInfo) -> str:
    """The network whose own device this is."""
    return compiled.name_of(info.alias) if info.kind in ("dummy", *macvlan.MODES) else ""


def _is_on(link: Link, network: Macvlan) -> bool:
    return (link.kind, dict(link.attrs).get("link")) == (network.driver, parent_of(network))


def _touched(ops: Iterable[Op]) -> Iterator[str]:
    """The networks whose declaration changes, or that get a device."""
    for op in ops:
        if isinstance(op.after, Record):
            yield op.after.name
        elif op.before is None and isinstance(op.after, Link):
            yield compiled.name_of(op.after.alias)


def _asked_devices() -> list[str]:
    try:
        return sorted(name for name in os.listdir(compiled.ASKED) if not name.endswith(".part"))
    except FileNotFoundError:
        return []


def _is_asked(session: Session, dev: str) -> bool:
    """Whether it was crosshost that made this device promiscuous, and not one before it of the same name."""
    info = session.host.by_name.get(dev)
    return info is not None and files.read(compiled.asked_path(dev)) == compiled.memory_of(dev, info.ifindex)
