# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ingress network as a kind of :mod:`..converge`: its overlay, its sandbox, the legs of this host's tasks and the rules of
the host's ports are one state, so that one transaction makes or re-creates them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Optional

from .. import record
from ..compile import ingress as parts
from ..compile.gwbridge import GATE
from ..compile.overlay import FORWARDING, bridge_mac, compile_overlay
from ..errors import HostError, SpecError
from ..kernel import collisions, containers, observe
from ..kernel import netns as _netns
from ..kernel.session import Session
from ..kernel.underlay import Finder
from ..plan import Op
from ..resources import (
    HOST,
    Address,
    FdbEntry,
    Link,
    Netns,
    NftElement,
    Resource,
    State,
    Sysctl,
    canonical,
    netns_name,
    nft_name,
    state_of,
)
from ..spec import endpoint, gwbridge, ingress
from ..spec.ingress import SANDBOX, Ingress, Place
from ..spec.service import Task
from . import ingress_refusals as refusals
from . import legs, mesh
from .gateways import known_bridges
from .merging import merge_lists
from .overlay import OverlayKind
from .places import known_path

NAME = mesh.NAME
Items = Optional[Iterable[Mapping[str, Any]]]


class IngressKind:
    """``defaults``: as for OverlayKind; ``bridges``: gateway bridges that stand in for those not yet recorded on the host.
    ``withdraw``: the network may go with all its ports, as when it is overridden; otherwise they go first. ``planned``: what is
    to be need not be there yet, so that check mode is true before the first run."""

    name = NAME

    def __init__(
        self,
        defaults: Optional[Mapping[str, Any]] = None,
        bridges: Items = None,
        withdraw: bool = False,
        planned: bool = False,
    ) -> None:
        self._overlay = OverlayKind(defaults or {})
        self._bridges = known_bridges(bridges)
        self._withdraw = withdraw
        self._planned = planned
        self._recorded = record.load(NAME)
        self._parsed: Optional[Ingress] = None
        self._found: dict[Place, str] = {}
        self._missing: dict[str, str] = {}
        # who answers UDP flows to the host's and the sandbox's ports
        self._kept: dict[str, dict[int, set[str]]] = {HOST: {}, SANDBOX: {}}

    def key(self, item: Mapping[str, Any]) -> str:
        return ingress.name_of(item)

    def complete(self, item: dict[str, Any]) -> dict[str, Any]:
        return self._overlay.complete({"name": ingress.NAME_DEFAULT, **item})

    def merge(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        merged = {**old, **new}
        for field, identity in (("peers", "vtep"), ("endpoints", ("ip", "ip6"))):
            if field in old and field in new:
                merged[field] = merge_lists(old[field], new[field], identity)
        for field, key in (("legs", _leg_name), ("ports", ingress.port_key)):
            if field in old and field in new:
                merged[field] = _laid_over(old[field], new[field], key)
        if "labels" in old and "labels" in new:
            merged["labels"] = {**old["labels"], **new["labels"]}
        return merged

    def check(self, items: Sequence[dict[str, Any]]) -> None:
        if len(items) > 1:
            first, second = (ingress.label(self.key(item)) for item in items[:2])
            remedy = (
                f"there is {first} already, and a cluster has one; state overridden puts another in its place"
            )
            raise SpecError(second, "name", self.key(items[1]), remedy)
        for old in self._recorded:
            if items:
                refusals.refuse_silence(old, items[0])
            elif not self._withdraw:
                refusals.refuse_loss(old)
        self._parsed = ingress.parse(items[0], self._bridges) if items else None
        if self._parsed:
            refusals.refuse_overlaps(self._parsed, self._bridges.values())

    def owned(self, session: Session) -> list[str]:
        """The network that the sandbox is in."""
        view = session.view(SANDBOX)
        if view is None or view.mark != parts.MARK:
            return []
        inner = view.by_name.get(parts.OVERLAY_INTERFACE)
        name, _, leg = (inner.alias if inner else "").partition(":")[2].partition("/")
        return [name if leg == SANDBOX else ingress.NAME_DEFAULT]

    # -- what is to be

    def desired(self, session: Session, names: Sequence[str]) -> State:
        self._missing.clear()
        self._kept = {HOST: {}, SANDBOX: {}}
        found: list[Resource] = list(self._left_settings(session))
        if self._parsed and self._parsed.name in names:
            found.extend(self._whole(session, self._parsed))
        return state_of(dict.fromkeys(found))

    def _whole(self, session: Session, declared: Ingress) -> Iterator[Resource]:
        one = self._present(declared)
        bridge = self._bridges[one.gwbridge]
        try:
            below = Finder(session).resolve(one.network)
        except SpecError as error:
            raise SpecError(one.obj, error.field, error.value, error.remedy) from None
        yield from compile_overlay(one.network, below.vtep, below.dev, below.mtu)
        mac = bridge_mac(below.vtep, one.network.subnets[0].vni)
        yield from parts.compile_sandbox(one, below.mtu, mac)
        spaces = {leg.name: self._found[leg.place] for leg in one.legs}
        yield from parts.compile_tasks(one, spaces, below.mtu, mac)
        wanted = {GATE: legs.Wanted(SANDBOX)}
        yield from legs.resources(session, bridge, wanted)
        offset = legs.choose(session, bridge, wanted)[GATE].offset
        gate = parts.Gate(bridge, *_members(bridge, offset))
        near = self._near(session, one)
        for port in one.ports:
            if port.protocol == "udp":
                direct = [text for task in near.get(port.id, ()) for text in (task.ip, task.ip6)]
                self._kept[HOST][port.published] = {gate.ip, gate.ip6, *direct}
                answering = {text for task in port.tasks for text in (task.ip, task.ip6)}
                self._kept[SANDBOX][port.published] = answering
        yield from parts.compile_host(one, gate, near)

    def _present(self, declared: Ingress) -> Ingress:
        """What is declared without the tasks whose sandboxes are not there: the rest need not wait for them."""
        alive = []
        gone: set[str] = set()
        for leg in declared.legs:
            try:
                self._found[leg.place] = self._find(f"{declared.obj}: leg {leg.name}", leg.place)
                alive.append(leg)
            except HostError as error:
                self._missing[leg.place.word] = str(error)
                gone |= {text for text in (leg.ip, leg.ip6) if text}
        paths = [self._found[leg.place] for leg in alive]
        if len(_by_node(paths)) < sum(map(_netns.exists, paths)):
            remedy = "two of them are in one sandbox, where one is enough for all its ports"
            raise SpecError(declared.obj, "legs", ", ".join(leg.name for leg in alive), remedy)
        ports = (
            port._replace(tasks=tuple(task for task in port.tasks if not gone & {task.ip, task.ip6}))
            for port in declared.ports
        )
        return declared._replace(legs=tuple(alive), ports=tuple(ports)) if gone else declared

    def _find(self, obj: str, place: Place) -> str:
        if place.sandbox:
            if not self._planned and not _netns.exists(place.sandbox):
                raise HostError(
                    f"{obj}: sandbox {place.sandbox!r}: there is no such namespace on this host; make it"
                )
            return place.sandbox
        return containers.namespace_of(obj, place.pid or containers.pid_of(obj, place.container))

    def _near(self, session: Session, one: Ingress) -> dict[str, list[Task]]:
        """The tasks of this host that clients reach directly, port by port, with their addresses on the gateway bridge."""
        bridge = self._bridges[one.gwbridge]
        held = legs.offsets(session, bridge)
        found: dict[str, list[Task]] = {}
        for port in one.ports:
            for local in port.local:
                word = local.place.word
                if word in held:
                    ip, ip6 = _members(bridge, held[word])
                    found.setdefault(port.id, []).append(Task(word, ip, ip6, local.weight))
                elif not self._planned:
                    why = f"{one.obj}: port {port.id}: sandbox {word} has no leg to {bridge.name}; converge its endpoint"
                    self._missing.setdefault(word, why)
        return found

    def _left_settings(self, session: Session) -> Iterator[Resource]:
        """The bridges that the recorded network used go back to what they are by default, where nobody else needs them."""
        kept = self._parsed.gwbridge if self._parsed and self._parsed.ports else ""
        for old in self._recorded:
            name = str(old.get("gwbridge") or gwbridge.NAME_DEFAULT)
            if name != kept and name in session.host.by_name and not _publishes(session, name):
                yield Sysctl(HOST, parts.setting_of(name), "0")

    # -- what is there

    def observed(self, session: Session, names: Sequence[str], desired: State) -> State:
        settings = [item for item in desired.values() if isinstance(item, Sysctl)]
        others = {str(item.get("name")) for item in record.load("overlay_network")}
        mine = [name for name in names if name not in others]
        found = observe.overlays(session, mine)
        found.update(state_of(observe.sysctls(session, settings)))
        if self._parsed and self._parsed.name not in names:
            return found  # this run is about a network that is not there
        spaces = list(_by_node((SANDBOX, *self._found.values(), *self._known_paths())).values())
        found.update(state_of(_joined(session, [netns_name(name) for name in mine], spaces)))
        found.update(state_of(legs.observed(session, {GATE: SANDBOX})))
        view = session.view(SANDBOX)
        if view is not None and view.mark == parts.MARK:
            found.update(state_of([Netns(SANDBOX, parts.MARK)]))
            if ("Netns", SANDBOX) not in desired:
                # they go with the namespace, and have to be known to come back if its deletion is refused
                going = [Sysctl(SANDBOX, name, "") for name in FORWARDING]
                found.update(state_of(observe.sysctls(session, going)))
        session.read_ahead([HOST, *spaces])
        for space in (HOST, *spaces):
            found.update(
                state_of(one for one in session.nft(space) if nft_name(one).startswith(parts.PREFIX))
            )
        return found

    def _known_paths(self) -> Iterator[str]:
        """Where the recorded legs are that are none any more."""
        living = {place.word for place in self._found}
        for item in self._recorded:
            for leg in item.get("legs") or ():
                chosen = {field: leg[field] for field in ingress.PLACE_OPTIONS if leg.get(field)}
                at = endpoint.where({"network": NAME, **chosen})
                if endpoint.place(at.sandbox, at.pid, at.container) not in living:
                    yield known_path({"network": NAME, **chosen})

    def guard(self, session: Session, ops: Sequence[Op]) -> None:
        built = [op for op in ops if isinstance(op.subject, (Netns, Link))]
        collisions.refuse_taken_namespaces(session, built)
        collisions.refuse_taken_names(session, built)
        collisions.refuse_taken_vnis(session, built)
        one = self._parsed
        if one is None:
            return
        inside = netns_name(one.name)
        if any(op.before is None and _concerns(op.subject, inside) for op in ops):
            subnets = [(one.obj, subnet) for subnet in one.network.subnets]
            collisions.refuse_routed_subnets(session, subnets)
        info = session.host.by_name.get(one.gwbridge)
        if not self._planned and (info is None or not info.owned):
            raise HostError(
                f"{one.obj}: gateway bridge {one.gwbridge} is not on this host; converge it first"
            )
        refusals.refuse_taken_ports(session, one, ops)

    def settle(self, recorded: Sequence[dict[str, Any]]) -> None:
        """UDP flows end by silence alone: those that nobody answers any more are forgotten, and begin anew."""
        old = {
            int(port["published"])
            for item in recorded
            for port in item.get("ports") or ()
            if ingress.port_key(port)[1] == "udp"
        }
        if not old and not self._kept[HOST]:
            return
        from ..kernel import conntrack  # late: only UDP needs it

        with Session() as session:
            for netns, kept in self._kept.items():
                view = session.view(netns)
                if view is not None:
                    own = {info.address for info in view.addresses}
                    conntrack.forget_strays(netns, {**dict.fromkeys(old, ()), **kept}, own)

    def refuse_missing(self) -> None:
        if self._missing:
            raise HostError("; ".join(self._missing.values()))


def _by_node(spaces: Iterable[str]) -> dict[tuple[int, int], str]:
    """Those of these namespaces that exist. Of two names for one the first counts: what is inside is seen once."""
    found: dict[tuple[int, int], str] = {}
    for space in filter(None, spaces):
        if _netns.exists(space):
            node = os.stat(_netns.path_of(space))
            found.setdefault((node.st_dev, node.st_ino), space)
    return found


def _joined(session: Session, networks: Sequence[str], spaces: Iterable[str]) -> Iterator[Resource]:
    """The pairs of these networks' namespaces, with the rows of their ports and what is inside."""
    inner: dict[str, set[str]] = {}
    ports: dict[str, set[str]] = {}
    for pair in observe.pairs(session, networks, spaces):
        yield pair.outer
        ports.setdefault(pair.outer.netns, set()).add(pair.outer.name)
        if pair.inner:
            inner.setdefault(pair.inner[0], set()).add(pair.inner[1].name)
    for netns, names in ports.items():
        view = session.view(netns)
        for index, mac, dst in view.fdb() if view else ():
            if view and not dst and view.name_of(index) in names:
                yield FdbEntry(netns, view.name_of(index), mac)
    for netns, names in inner.items():
        yield from observe.inside(session, netns, names)


def _concerns(item: Resource, netns: str) -> bool:
    return (isinstance(item, Netns) and item.name == netns) or (
        isinstance(item, (Link, Address)) and item.netns == netns
    )


def _leg_name(item: Mapping[str, Any]) -> object:
    return item.get("name") or item.get("sandbox") or item.get("container") or item.get("pid")


def _laid_over(
    old: Iterable[Mapping[str, Any]],
    new: Iterable[Mapping[str, Any]],
    key: Callable[[Mapping[str, Any]], object],
) -> list[dict[str, Any]]:
    found: dict[object, dict[str, Any]] = {}
    for item in (*old, *new):
        found[key(item)] = {**found.get(key(item), {}), **item}
    return list(found.values())


def _members(bridge: gwbridge.Gwbridge, offset: int) -> tuple[str, str]:
    """The IPv4 and IPv6 address at an offset, "" where there is no such subnet."""
    found = {subnet.version: gwbridge.member(subnet, offset) for subnet in bridge.subnets}
    return found.get(4, ""), found.get(6, "")


def _publishes(session: Session, bridge: str) -> bool:
    """True if endpoints have published ports over the bridge."""
    from ..compile import publish  # late: it is asked only of a bridge that no port of ours uses

    key = canonical(bridge)
    return any(
        isinstance(item, NftElement) and item.map == publish.BRIDGES and item.key == key
        for item in session.nft(HOST)
    )
