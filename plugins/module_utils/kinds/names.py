# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of overlay networks as a kind of :mod:`..converge`: a name server for each on this host."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Optional

from .. import record
from ..compile import names as servers
from ..compile import resolver
from ..errors import HostError
from ..kernel import collisions, files, observe, resolv, units
from ..kernel.session import Session
from ..plan import Op
from ..resources import File, NftChain, Resource, State, Sysctl, Unit, netns_name, state_of
from ..spec import endpoint, fields, gwbridge
from ..spec import names as declared
from ..spec.names import Names
from . import legs, resolvers
from .merging import merge_lists
from .resolvers import Resolvers

NAME = "names"
_WAY_OUT = (resolver.INPUT, resolver.FORWARD)
_DETOURS = (resolver.RAW, resolver.OUTPUT)
Items = Optional[Iterable[Mapping[str, Any]]]


class NamesKind:
    """``networks``, ``bridges`` and ``endpoints``: declarations that stand in for those not yet recorded on the host, so that
    check mode is true before the first run."""

    name = NAME

    def __init__(
        self, networks: Items = None, bridges: Items = None, endpoints: Items = None, check_mode: bool = False
    ) -> None:
        known = _laid_over(record.load("overlay_network"), networks, lambda item: str(item.get("name")))
        self._networks = {one.name: one for one in map(declared.ground, known)}
        below = _laid_over(record.load("gwbridge"), bridges, _bridge_name)
        self._bridges = {one.name: one for one in gwbridge.parse_all(below)}
        self._endpoints = _laid_over(record.load("endpoint"), endpoints, _endpoint_id)
        self._check_mode = check_mode
        self._parsed: dict[str, Names] = {}
        self._resolvers = Resolvers({}, [])

    def key(self, item: Mapping[str, Any]) -> str:
        return declared.network_of(item)

    def complete(self, item: dict[str, Any]) -> dict[str, Any]:
        return item

    def merge(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        merged = {**old, **new}
        for field in ("records", "services"):
            if field in old and field in new:
                merged[field] = merge_lists(old[field], new[field], "name")
        return merged

    def check(self, items: Sequence[dict[str, Any]]) -> None:
        self._parsed = {one.network: one for one in declared.parse_all(items, self._networks, self._bridges)}
        self._resolvers = Resolvers(self._parsed, self._endpoints)

    def owned(self, _session: Session) -> list[str]:
        return [one for one in _instances(running_servers()) if ":" not in one]

    # -- what is to be

    def desired(self, session: Session, names: Sequence[str]) -> State:
        found: list[Resource] = [servers.template()] if self._parsed else []
        upstream = self._upstream(names)
        for name in names:
            one = self._parsed[name]
            own = servers.Server(name, netns_name(name), one.gateways, servers.PORT, (one,), upstream[name])
            found.extend(servers.compile_server(own))
            if one.gwbridge:
                found.extend(resolver.way_out(name, one.gateways))
        for name, bridge in self._bridges.items():
            mine = [one for one in names if self._parsed[one].gwbridge == name]
            places = {netns_name(one): legs.Wanted(netns_name(one)) for one in mine}
            found.extend(legs.resources(session, bridge, places))
        for server in self._resolvers.servers(upstream):
            found.extend(servers.compile_server(server))
        for network in self._asked():
            found.extend(resolver.detours(network, self._resolvers.looking_up(network)))
        found.extend(self._resolvers.desired())
        return state_of(found)

    def _upstream(self, wanted: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Whom these networks' name servers ask for other names, and those that sandboxes of several networks use."""
        found: dict[str, tuple[str, ...]] = {}
        for name in {*wanted, *self._asked()}:
            one = self._parsed[name]
            if not one.gwbridge:
                found[name] = ()
            elif one.upstream is not None:
                found[name] = one.upstream
            else:
                reached = {subnet.version for subnet in self._bridges[one.gwbridge].subnets}
                listed = resolv.host_servers(one.obj)
                found[name] = tuple(text for text in listed if (6 if ":" in text else 4) in reached)
        return found

    def _asked(self) -> list[str]:
        """The networks whose namespaces have name servers of several networks."""
        return sorted({found[0].networks[0] for found in self._resolvers.shared.values()})

    # -- what is there

    def observed(self, session: Session, names: Sequence[str], desired: State) -> State:
        running = running_servers()
        several = {one for one in _instances(running) if ":" in one} | set(self._resolvers.shared)
        found: list[Resource] = list(files.observe([servers.TEMPLATE]))
        found.extend(_servers({*names, *several}, running))
        found.extend(self._resolvers.observed([one for one in desired.values() if isinstance(one, File)]))
        found.extend(_legs(session, names))
        chains: dict[str, Sequence[str]] = {_first(one): _DETOURS for one in several}
        chains.update(dict.fromkeys(names, (*_WAY_OUT, *_DETOURS)))
        found.extend(_chains(session, chains))
        settings = [item for item in desired.values() if isinstance(item, Sysctl)]
        found.extend(observe.sysctls(session, settings))
        return state_of(dict.fromkeys(found))

    def guard(self, session: Session, ops: Sequence[Op]) -> None:
        collisions.refuse_taken_names(session, ops)
        resolvers.guard(ops)
        from ..kernel import probe  # late: only changes need it

        started = [op.after for op in ops if isinstance(op.after, Unit)]
        if not started or self._check_mode:
            return
        if not units.available():
            raise HostError(
                f"names: unit {started[0].name}: this host is not run by systemd, which runs name servers"
            )
        if probe.program("dnsmasq") is None:
            raise HostError(
                "dnsmasq cannot be found: install the package dnsmasq-base (Debian, Ubuntu) or dnsmasq"
            )
        for unit in started:
            network = _first(servers.instance_of(unit.name))
            if session.view(netns_name(network)) is None:
                raise HostError(f"names {network}: network {network} is not on this host; converge it first")


def of_networks(session: Session, networks: Iterable[str]) -> State:
    """What is there of these networks' names and goes with them: a name server would keep its namespace alive."""
    running = running_servers()
    instances = {one for one in _instances(running) if _first(one) in networks}
    names = {_first(one) for one in instances}
    found: list[Resource] = list(_servers(instances, running))
    found.extend(_legs(session, names))
    found.extend(_chains(session, dict.fromkeys(names, (*_WAY_OUT, *_DETOURS))))
    return state_of(dict.fromkeys(found))


def _first(instance: str) -> str:
    """The network in whose namespace a name server runs."""
    return instance.partition(":")[0]


def running_servers() -> dict[str, Unit]:
    """The units of the name servers, by instance."""
    return {servers.instance_of(one.name): one for one in units.observe([servers.PATTERN])}


def _instances(running: Mapping[str, Unit]) -> list[str]:
    """The name servers that are there: their folders and their units."""
    try:
        found = sorted(os.listdir(servers.FOLDER))
    except OSError:
        found = []
    return list(dict.fromkeys([*found, *running]))


def _servers(instances: set[str], running: Mapping[str, Unit]) -> Iterator[Resource]:
    """The files and units of these servers. Where files are not those that a server was told of, it does not count as told:
    somebody altered them, and it may have read that."""
    paths = [path for one in sorted(instances) for path in servers.paths(one)]
    found = {item.path: item for item in files.observe([servers.TEMPLATE, *paths])}
    yield from (item for path, item in found.items() if path != servers.TEMPLATE)
    texts = {path: item.content for path, item in found.items()}
    for instance in instances & set(running):
        unit, there = running[instance], servers.unit_of(instance, texts)
        config = unit.config if unit.config == there.config else ""
        yield unit._replace(config=config, data=unit.data if unit.data == there.data else "")


def _legs(session: Session, names: Iterable[str]) -> Iterator[Resource]:
    return legs.observed(session, {netns_name(name): netns_name(name) for name in names})


def _chains(session: Session, wanted: Mapping[str, Sequence[str]]) -> Iterator[Resource]:
    """Those of these networks' chains that are named."""
    session.read_ahead(netns_name(name) for name in wanted)
    for name, chosen in wanted.items():
        for one in session.nft(netns_name(name)):
            if isinstance(one, NftChain) and one.name in chosen:
                yield one


def _laid_over(recorded: Sequence[Mapping[str, Any]], items: Items, key: Any) -> list[dict[str, Any]]:
    """What is recorded, with declarations that are newer laid over it."""
    found = {key(item): dict(item) for item in recorded}
    for item in items or ():
        given = fields.given(item)
        found[key(given)] = {**found.get(key(given), {}), **given}
    return list(found.values())


def _bridge_name(item: Mapping[str, Any]) -> str:
    return str(item.get("name", gwbridge.NAME_DEFAULT))


def _endpoint_id(item: Mapping[str, Any]) -> str:
    at = endpoint.where(item)
    return f"{at.network}/{at.name}"
