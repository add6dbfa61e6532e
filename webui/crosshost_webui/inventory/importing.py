# SPDX-License-Identifier: GPL-3.0-or-later
"""The bodies of items that mean what a plain inventory of Ansible means. Pure; the inverse of emit.py."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..db.base import Json
from . import declared, kinds, shape
from .declared import Parsed
from .emit import LISTS, Inventory
from .kinds import CLUSTER_GROUP, DECLARED_VARIABLES, HOST_VARIABLES, Key


def bodies(parsed: Parsed) -> dict[Key, Json]:
    """By kind and name. Invalid if a host or a group cannot be kept. ``parsed``: the engine has found the whole to be right."""
    found: dict[Key, Json] = {}
    for kind, body in _all(_Source(parsed)):
        tidy = kinds.tidy(kind, body)
        found[kind, kinds.identity(kind, tidy)] = tidy
    return found


class _Source:
    def __init__(self, parsed: Parsed) -> None:
        self.inventory: Inventory = parsed.inventory
        self.groups = parsed.groups
        self.group = CLUSTER_GROUP if CLUSTER_GROUP in self.inventory.groups else "all"
        self.cluster: list[str] = list(parsed.cluster.hosts)
        in_force = declared.variables(self.inventory)
        self.in_force: dict[str, Json] = {host: in_force[host] for host in self.cluster}

    def lists(self, variable: str) -> Iterator[tuple[list[str], list[Any]]]:
        """The lists of the cluster's hosts, each once, with the hosts that have it."""
        found: dict[int, tuple[list[str], list[Any]]] = {}
        for host, variables in self.in_force.items():
            value = variables.get(variable)
            if value is not None:
                found.setdefault(id(value), ([], value))[0].append(host)
        return iter(found.values())

    def chosen(self, hosts: Iterable[Any]) -> set[str]:
        """The hosts of the cluster that an option `hosts` names."""
        found: set[str] = set()
        for one in hosts:
            found.update([one] if one in self.in_force else self.groups.get(one, ()))
        return found & set(self.cluster)


def _all(source: _Source) -> Iterator[tuple[str, Json]]:
    yield from _groups_and_hosts(source.inventory)
    yield from _gwbridges(source)
    for kind in ("overlay", "service"):
        yield from ((kind, item) for item in _joined(source, kind))
    yield from _macvlans(source)
    yield from _bridges(source)
    ingress = next(
        (mine["crosshost_ingress"] for mine in source.in_force.values() if mine.get("crosshost_ingress")),
        None,
    )
    if ingress is not None:
        yield "ingress", dict(ingress)
    yield from _endpoints(source)


def _groups_and_hosts(inventory: Inventory) -> Iterator[tuple[str, Json]]:
    for name, group in inventory.groups.items():
        variables = _other(group.variables, DECLARED_VARIABLES)
        if name != "all" or variables:
            children = [] if name == "all" else group.children
            yield "group", {"name": name, "children": children, "variables": variables}
    direct: dict[str, list[str]] = {host: [] for host in inventory.hosts}
    for name, group in inventory.groups.items():
        for host in group.hosts:
            direct[host].append(name)
    for host, own in inventory.hosts.items():
        body: Json = {"name": host, "groups": direct[host]}
        body.update({option: own[variable] for variable, option in HOST_VARIABLES.items() if variable in own})
        body["variables"] = _other(own, {**DECLARED_VARIABLES, **HOST_VARIABLES})
        yield "host", body


def _other(variables: Mapping[str, Any], without: Mapping[str, str]) -> Json:
    return {name: value for name, value in variables.items() if name not in without}


def _gwbridges(source: _Source) -> Iterator[tuple[str, Json]]:
    """Each where it is declared; what `all` has is the cluster's, unless the cluster's group has its own."""
    variable = "crosshost_gwbridge"
    groups = source.inventory.groups
    for name, group in groups.items():
        value = group.variables.get(variable)
        if value is None or (name == "all" != source.group and variable in groups[source.group].variables):
            continue
        place = {} if name in ("all", source.group) else {"group": name}
        yield "gwbridge", {**(value or {"enabled": False}), **place}
    for host, own in source.inventory.hosts.items():
        if own.get(variable) is not None:
            yield "gwbridge", {**(own[variable] or {"enabled": False}), "host": host}


def _joined(source: _Source, kind: str) -> Iterator[Json]:
    """All lists of a variable joined; where hosts declare the same one, they agree."""
    seen = set()
    for _holders, values in source.lists(LISTS[kind]):
        for item in values:
            key = (item.get("network"), item["name"])
            if key not in seen:
                seen.add(key)
                yield dict(item)


def _macvlans(source: _Source) -> Iterator[tuple[str, Json]]:
    parents: dict[str, dict[str, Any]] = {}
    for holders, values in source.lists(LISTS["macvlan"]):
        for item in values:
            parents.setdefault(item["name"], {}).update(dict.fromkeys(holders, item.get("parent")))
    for item in _joined(source, "macvlan"):
        mine = parents[item["name"]]
        here = source.chosen(item["hosts"]) if item.get("hosts") is not None else set(source.cluster)
        # as the engine has it: hosts that declare none have the first one's
        usual = next(iter(mine.values()))
        own = {host: parent for host, parent in mine.items() if parent != usual and parent and host in here}
        body = {**item, "parent": usual}
        yield "macvlan", {**body, "parents": own} if own else body


def _endpoints(source: _Source) -> Iterator[tuple[str, Json]]:
    """An endpoint without a host is one of each host that has the list."""
    seen = set()
    for holders, values in source.lists(LISTS["endpoint"]):
        for item in values:
            plain = shape.without_nulls(item)
            for host in [plain["host"]] if "host" in plain else holders:
                body = {**plain, "host": host}
                key = (host, *_where(body))
                if key not in seen:
                    seen.add(key)
                    yield "endpoint", body


def _where(body: Json) -> tuple[str, str]:
    """Network and name, which tell the endpoints of a host apart."""
    default = body.get("sandbox") or body.get("container") or f"pid-{body.get('pid')}"
    return str(body["network"]), str(body.get("name", default))


def _bridges(source: _Source) -> Iterator[tuple[str, Json]]:
    """One network for all hosts that have it, if their declarations are the same; else each host's own."""
    variable = LISTS["bridge"]
    common = [
        _text(item)
        for group in source.inventory.groups.values()
        for item in group.variables.get(variable) or ()
        if item.get("hosts") is None
    ]
    having: dict[str, dict[str, Json]] = {}
    for holders, values in source.lists(variable):
        for item in map(shape.without_nulls, values):
            on = source.chosen(item["hosts"]) if "hosts" in item else set(holders)
            mine = (
                "hosts" not in item and len(holders) == 1 and variable in source.inventory.hosts[holders[0]]
            )
            if mine and _text(item) not in common:
                yield "bridge", {**item, "host": holders[0]}
                continue
            having.setdefault(item["name"], {}).update({host: item for host in holders if host in on})
    for by_host in having.values():
        yield from _shared(source, by_host)


def _shared(source: _Source, by_host: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    plain = {
        host: {key: value for key, value in item.items() if key != "hosts"} for host, item in by_host.items()
    }
    if len({_text(item) for item in plain.values()}) != 1:
        for host, item in plain.items():
            yield "bridge", {**item, "host": host}
        return
    body = next(iter(plain.values()))
    hosts = [host for host in source.cluster if host in by_host]
    said = {_text(item.get("hosts")) for item in by_host.values()}
    declared_hosts = next(iter(by_host.values())).get("hosts")
    if len(said) == 1 and declared_hosts is not None and source.chosen(declared_hosts) == set(hosts):
        yield "bridge", {**body, "hosts": declared_hosts}
    elif hosts == source.cluster:
        yield "bridge", body
    else:
        yield "bridge", {**body, "hosts": _group_of(source, hosts) or hosts}


def _group_of(source: _Source, hosts: Sequence[str]) -> list[str]:
    """A group that has the list of bridge networks and is exactly these hosts."""
    for name, group in source.inventory.groups.items():
        if LISTS["bridge"] in group.variables and source.chosen([name]) == set(hosts):
            return [name]
    return []


def _text(value: Any) -> str:
    return json.dumps(shape.without_nulls(value), sort_keys=True)
