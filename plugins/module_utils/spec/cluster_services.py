# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The services of a cluster: which endpoints are their tasks, and that addresses and names are nobody else's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import SpecError
from . import fields, service
from .cluster_endpoints import Placed, label
from .cluster_hosts import Declared, number
from .cluster_networks import agree, lists
from .cluster_ports import Port, parse_ports
from .names import TASKS
from .overlay import Overlay
from .service import End, Service

VARIABLE = "crosshost_services"
OPTIONS = (*service.OPTIONS, "aliases", "ports")
TASK_OPTIONS = ("endpoint", "host", "weight")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


class Task(NamedTuple):
    """An endpoint as a task of a service."""

    end: Placed
    weight: int


class Balanced(NamedTuple):
    """A service. ``item`` is its declaration for the module `service`; ``tasks`` are in the order of the declaration."""

    item: dict[str, Any]
    parsed: Service
    tasks: tuple[Task, ...]
    aliases: tuple[str, ...]
    ports: tuple[Port, ...]


def parse_services(
    declared: Sequence[Declared],
    placed: Sequence[Placed],
    overlays: Mapping[str, Overlay],
    others: Mapping[str, str],
) -> list[Balanced]:
    """All services, in the order of their declarations. ``others``: how errors call the networks that are no overlays."""
    ends = _by_name(placed)
    found: list[tuple[dict[str, Any], tuple[Task, ...], tuple[str, ...], tuple[Port, ...]]] = []
    for (network, name), raw in _collect(declared).items():
        obj = service.label(network, name)
        if network in others:
            remedy = f"services are in overlay networks, and that is {others[network]}; name an overlay"
            raise SpecError(obj, "network", network, remedy)
        tasks = tuple(_tasks(obj, raw.get("tasks"), network, ends)) if network in overlays else ()
        item = {field: raw[field] for field in service.OPTIONS if field in raw}
        item["tasks"] = list(_resolved(tasks))
        aliases = tuple(_aliases(obj, raw.get("aliases", [])))
        ports = tuple(parse_ports(obj, raw.get("ports", [])))
        found.append((item, tasks, aliases, ports))
    parsed = service.parse_all([one[0] for one in found], overlays, _ends(placed))
    services = [
        Balanced(item, one, tasks, aliases, ports)
        for (item, tasks, aliases, ports), one in zip(found, parsed)
    ]
    _refuse_shared_names(services, placed)
    for one in services:
        _refuse_unreachable_ports(one)
    return services


def _collect(declared: Sequence[Declared]) -> dict[tuple[str, str], dict[str, Any]]:
    """The declarations by network and name; hosts that declare the same one have to agree."""
    found: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    for holders, values in lists(declared, VARIABLE):
        mine = set()
        for place, raw in enumerate(values):
            obj = f"{VARIABLE}[{place}]"
            item = {key: one for key, one in fields.mapping(obj, "item", raw).items() if one is not None}
            where = service.identity(item)
            obj = service.label(*where)
            fields.known_only(obj, item, OPTIONS)
            if where in mine:
                raise SpecError(obj, "name", where[1], "it is declared twice; names are unique in a network")
            mine.add(where)
            agree(obj, holders[0], item, *found.setdefault(where, (holders[0], item)))
    return {where: item for where, (_holder, item) in found.items()}


def _by_name(placed: Iterable[Placed]) -> dict[tuple[str, str], list[Placed]]:
    found: dict[tuple[str, str], list[Placed]] = {}
    for one in placed:
        found.setdefault((one.parsed.network, one.parsed.name), []).append(one)
    return found


def _tasks(
    obj: str, value: Any, network: str, ends: Mapping[tuple[str, str], Sequence[Placed]]
) -> Iterator[Task]:
    """The endpoints that the declaration names: a name alone stands for those of all hosts."""
    seen = set()
    for place, raw in enumerate(fields.sequence(obj, "tasks", value if value is not None else [])):
        where = f"tasks[{place}]"
        given = {"endpoint": raw} if isinstance(raw, str) else fields.mapping(obj, where, raw)
        fields.known_only(obj, given, TASK_OPTIONS)
        name, host = given.get("endpoint"), given.get("host")
        known = ends.get((network, name), ()) if isinstance(name, str) else ()
        chosen = [one for one in known if host is None or one.host == host]
        if not chosen:
            there = "" if host is None or not known else f" on host {host}"
            remedy = f"network {network} has no endpoint of that name{there}; declare it in crosshost_endpoints, or name another"
            raise SpecError(obj, where, name, remedy)
        weight = number(given.get("weight"))
        for one in chosen:
            if (one.host, one.parsed.id) in seen:
                remedy = (
                    f"the one on host {one.host} is there twice; list each endpoint once, with its weight"
                )
                raise SpecError(obj, where, name, remedy)
            seen.add((one.host, one.parsed.id))
            yield Task(one, service.WEIGHT_DEFAULT if weight is None else weight)


def _resolved(tasks: Sequence[Task]) -> Iterator[dict[str, Any]]:
    """The tasks as the module `service` takes them, under names that no two share."""
    seen = set()
    for end, weight in tasks:
        name = _UNSAFE.sub("-", f"{end.parsed.name}.{end.host}")[:128]
        item: dict[str, Any] = {"ip": end.parsed.ip, "ip6": end.parsed.ip6, "weight": weight}
        if name not in seen:
            item["name"] = name
            seen.add(name)
        yield {field: value for field, value in item.items() if value != ""}


def _aliases(obj: str, value: Any) -> Iterator[str]:
    for name in fields.sequence(obj, "aliases", value):
        yield fields.name(obj, "aliases", name)


def _ends(placed: Iterable[Placed]) -> Iterator[End]:
    for one in placed:
        yield End(one.parsed.network, one.parsed.name, one.parsed.ip, one.parsed.ip6)


def _refuse_shared_names(services: Sequence[Balanced], placed: Sequence[Placed]) -> None:
    """SpecError if a name of a service is also an endpoint's or another service's: who asks for it means one of them."""
    used = {one.parsed.network for one in services}
    taken: dict[tuple[str, str], str] = {}
    for one in placed:
        if one.parsed.network in used:
            for name in (one.parsed.name, *one.parsed.aliases):
                taken.setdefault(
                    (one.parsed.network, name.lower()), label(one.host, one.parsed.network, one.parsed.name)
                )
    for balanced in services:
        obj, network = balanced.parsed.obj, balanced.parsed.network
        own = [("name", balanced.parsed.name), *(("aliases", alias) for alias in balanced.aliases)]
        for field, name in [*own, *((field, f"{TASKS}{name}") for field, name in own)]:
            other = taken.setdefault((network, name.lower()), obj)
            if other != obj:
                remedy = f"{other} has this name; names of services and endpoints are unique in a network"
                raise SpecError(obj, field, name, remedy)


def _refuse_unreachable_ports(one: Balanced) -> None:
    if one.parsed.mode == "dnsrr":
        for port in one.ports:
            if port.mode == "ingress":
                remedy = "a service in mode dnsrr has no address that a port could lead to; publish it with mode: host, or use mode: vip"
                raise SpecError(one.parsed.obj, "ports", str(port.publish), remedy)
