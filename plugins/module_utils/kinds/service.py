# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services as a kind of :mod:`..converge`: balanced in each sandbox of this host that is in the service's network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Optional

from .. import record
from ..compile import service as parts
from ..kernel import netns as _netns
from ..kernel.session import Session
from ..plan import Op
from ..resources import NftChain, NftElement, NftMap, Resource, State, key, state_of
from ..spec import endpoint, fields, service
from ..spec.peers import reserved
from ..spec.service import Bounds, End
from ..spec.subnets import parse_plain_subnets, parse_subnets
from .places import known_path

NAME = "service"
DRIVERS = ("overlay_network", "bridge_network", "macvlan")
_SHARED = {parts.OUTPUT, parts.map_name(4), parts.map_name(6)}


class ServiceKind:
    """``networks`` (by the driver's kind) and ``endpoints``: declarations that stand in for those not yet recorded on the
    host, so that check mode is true before the first run; ``planned``: for sandboxes that are not there yet, too."""

    name = NAME

    def __init__(
        self,
        networks: Optional[Mapping[str, Optional[Iterable[Mapping[str, Any]]]]] = None,
        endpoints: Optional[Iterable[Mapping[str, Any]]] = None,
        planned: bool = False,
    ) -> None:
        self._networks: dict[str, tuple[str, Mapping[str, Any]]] = {}
        for driver in DRIVERS:
            for item in (*record.load(driver), *((networks or {}).get(driver) or ())):
                self._networks[str(item.get("name"))] = (driver, fields.given(item))
        self._ends: dict[tuple[str, str], Mapping[str, Any]] = {}
        for item in (*record.load("endpoint"), *(endpoints or ())):
            if item.get("network") in self._networks:  # not in the host's namespace, in none, in another's
                at = endpoint.where(item)
                self._ends[at.network, at.name] = item
        self._planned = planned
        self._parsed: dict[str, service.Service] = {}
        self._keys: dict[tuple[Any, Any], str] = {}
        self._found: Optional[dict[str, set[str]]] = None
        self._holding: dict[str, set[str]] = {}

    def key(self, item: Mapping[str, Any]) -> str:
        pair = (item.get("network"), item.get("name"))
        try:
            return self._keys[pair]
        except (KeyError, TypeError):  # not asked for before, or no names at all, which the next line refuses
            return self._keys.setdefault(pair, "/".join(service.identity(item)))

    def complete(self, item: dict[str, Any]) -> dict[str, Any]:
        return item

    def merge(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        merged = {**old, **new}
        if new.get("mode") == "dnsrr":
            # a virtual address that it had as a service in mode vip means nothing now
            for field in ("vip", "vip6"):
                if field not in new:
                    merged.pop(field, None)
        if "tasks" in old and _are_mappings(new.get("tasks")):
            tasks = {_task_id(item): item for item in old["tasks"]}
            for item in new["tasks"]:
                tasks[_task_id(item)] = {**tasks.get(_task_id(item), {}), **item}
            merged["tasks"] = list(tasks.values())
        return merged

    def check(self, items: Sequence[dict[str, Any]]) -> None:
        used = {str(item.get("network")) for item in items}
        bounds = {name: _bounds(*found) for name, found in self._networks.items()}
        self._parsed = {one.id: one for one in service.parse_all(items, bounds, self._known_ends(used))}

    def owned(self, session: Session) -> list[str]:
        session.read_ahead(self._sandboxes())
        for netns in self._sandboxes():
            chains = (
                parts.service_of(item.name) for item in session.nft(netns) if isinstance(item, NftChain)
            )
            self._holding[netns] = {name for name in chains if name}
        return sorted(set().union(*self._holding.values()))

    def desired(self, session: Session, names: Sequence[str]) -> State:
        touched = dict(self._touched(names))
        session.read_ahead(touched)  # nft lists them while this goes on
        balanced = self._balanced()
        needed: dict[str, list[parts.Balancing]] = {}
        for one in (self._parsed[name] for name in names):
            needed.setdefault(one.network, []).extend(parts.balancing(one))
        found: list[Resource] = []
        for netns, networks in touched.items():
            if networks & balanced:
                found.extend(parts.base(netns))
            for network in sorted(networks & needed.keys()):
                found.extend(parts.resources(netns, needed[network]))
        return state_of(found)

    def observed(self, session: Session, names: Sequence[str], desired: State) -> State:
        ours = set(names)
        found: list[Resource] = []
        for netns, networks in self._touched(names):
            needed = not networks.isdisjoint(self._balanced())
            for item in session.nft(netns):
                if isinstance(item, NftElement):
                    owner = parts.service_of(item.target)  # what goes to no service at all is nobody's
                    if item.map in _SHARED and (owner in ours or not owner or key(item) in desired):
                        found.append(item)
                elif isinstance(item, (NftChain, NftMap)):
                    # what services share stays as it is while others than these use it
                    shared = item.name in _SHARED and (not needed or key(item) in desired)
                    if shared or parts.service_of(item.name) in ours:
                        found.append(item)
        return state_of(found)

    def _balanced(self) -> set[str]:
        """The networks in which services have virtual addresses."""
        return {one.network for one in self._parsed.values() if one.mode == "vip"}

    def facts(self, session: Session, recorded: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """What there is of these services and of those that only the kernel knows; one is present if it answers in all
        sandboxes of its network."""
        configs = {self.key(item): item for item in recorded}
        facts = []
        for name in dict.fromkeys([*configs, *self.owned(session)]):
            config = configs.get(name)
            wanted = {
                netns for netns, networks in self._sandboxes().items() if name.partition("/")[0] in networks
            }
            there = {netns for netns, names in self._holding.items() if name in names}
            balanced = config is None or config.get("mode", "vip") == "vip"
            vips = [config[field] for field in ("vip", "vip6") if field in config] if config else []
            present = config is not None and (wanted <= there if balanced else not there)
            facts.append(
                {"id": name, "present": present, "config": config, "vips": vips, "sandboxes": sorted(there)}
            )
        return facts

    def guard(self, session: Session, ops: Sequence[Op]) -> None:
        """There is nothing to collide with: the table is ours in every namespace."""

    def settle(self, recorded: Sequence[dict[str, Any]]) -> None:
        """A UDP flow goes on to the task that it began with. That is right while the task drains, not when it has gone."""
        gone: dict[str, set[tuple[str, str]]] = {}
        for item in recorded:
            now = self._parsed.get(self.key(item))
            tasks = [(_plain(task.get("ip")), _plain(task.get("ip6"))) for task in item.get("tasks", ())]
            pairs = _pairs((_plain(item.get("vip")), _plain(item.get("vip6"))), tasks)
            if now:
                pairs -= _pairs((now.vip, now.vip6), [(task.ip, task.ip6) for task in now.tasks])
            if pairs:
                gone.setdefault(str(item["network"]), set()).update(pairs)
        if not gone:
            return
        from ..kernel import conntrack  # late: few runs need it

        for netns, networks in self._sandboxes().items():
            pairs = set().union(*(gone.get(network, ()) for network in networks))
            if pairs and _netns.exists(netns):
                conntrack.forget_tasks(netns, pairs)

    def _known_ends(self, used: set[str]) -> Iterator[End]:
        """The endpoints of these networks: those on this host, and those on others as far as the networks know them."""
        for (network, name), item in self._ends.items():
            if network in used:
                yield End(network, name, _plain(item.get("ip")), _plain(item.get("ip6")))
        for network in used & self._networks.keys():
            for row in self._networks[network][1].get("endpoints") or ():
                yield End(network, str(row.get("name") or ""), _plain(row.get("ip")), _plain(row.get("ip6")))

    def _touched(self, names: Iterable[str]) -> Iterator[tuple[str, set[str]]]:
        """The sandboxes that may hold something of these services, with all the networks that each is in."""
        ours = set(names)
        about = {name.partition("/")[0] for name in ours}
        for netns, networks in self._sandboxes().items():
            if networks & about or self._holding.get(netns, set()) & ours:
                yield netns, networks

    def _sandboxes(self) -> dict[str, set[str]]:
        """The networks of each sandbox of this host, in the order of their names."""
        if self._found is None:
            places: dict[str, set[str]] = {}
            for (network, _name), item in self._ends.items():
                places.setdefault(known_path(item), set()).add(network)
            self._found = {
                netns: places[netns]
                for netns in sorted(places)
                if netns and (self._planned or _netns.exists(netns))
            }
        return self._found


def leftovers(session: Session, netns: str, network: str) -> list[Resource]:
    """What a sandbox has of the services of a network that it leaves; with what all services share, if it has no others."""
    found: list[Resource] = []
    shared: list[Resource] = []
    others = False
    for item in session.nft(netns):
        if isinstance(item, (NftChain, NftMap)) and item.name in _SHARED:
            shared.append(item)
        elif isinstance(item, (NftChain, NftElement)):
            owner = parts.service_of(item.name if isinstance(item, NftChain) else item.target)
            if owner.startswith(f"{network}/"):
                found.append(item)
            elif owner:
                others = True
    return found if others else found + shared


def _bounds(driver: str, item: Mapping[str, Any]) -> Bounds:
    if driver == "macvlan":
        from ..spec import macvlan  # late: most hosts have none

        network = macvlan.parse(item)
        return Bounds(network.subnets, network.reserved)
    parse = parse_subnets if driver == "overlay_network" else parse_plain_subnets
    subnets = parse(f"{driver} {item.get('name')}", item.get("subnets"))
    return Bounds(subnets, reserved(subnets))


def _pairs(vips: tuple[str, str], tasks: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """(virtual address, task's address) of both families."""
    return {(vip, ip) for ends in tasks for vip, ip in zip(vips, ends) if vip and ip}


def _are_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def _task_id(item: Mapping[str, Any]) -> object:
    return item.get("name") or item.get("ip") or item.get("ip6")


def _plain(address: Any) -> str:
    """An address in its normal form; "" for none, and for what is none: its own module refuses that."""
    packed = fields.pack(address) if address else None
    return fields.address(NAME, "ip", address) if packed else ""
