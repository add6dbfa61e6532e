# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory in the shape of `ansible-inventory --list --export`: groups with their variables, and each host's own variables.

What describes the cluster is in the variables of its group, once, however many hosts there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..db.base import Json
from .kinds import CLUSTER_GROUP, NETWORKS, Entry, Items, ordered

LISTS = {
    "overlay": "crosshost_networks",
    "bridge": "crosshost_bridge_networks",
    "macvlan": "crosshost_macvlan_networks",
    "endpoint": "crosshost_endpoints",
    "service": "crosshost_services",
}
# of the dashboard alone
_OWN = {"bridge": ("host",), "macvlan": ("parents",), "gwbridge": ("host", "group", "enabled")}
_FIELDS = (
    ("vtep", "crosshost_vtep"),
    ("data_path_interface", "crosshost_data_path_interface"),
    ("labels", "crosshost_labels"),
)


class Group(NamedTuple):
    hosts: list[str]
    children: list[str]
    variables: Json


class Inventory(NamedTuple):
    """``groups`` by name, with `all`; ``hosts``: their own variables by name."""

    groups: dict[str, Group]
    hosts: dict[str, Json]

    def listing(self) -> Json:
        """As Ansible's inventory scripts print it."""
        found: Json = {"_meta": {"hostvars": self.hosts}}
        inner = {child for group in self.groups.values() for child in group.children}
        grouped = {host for group in self.groups.values() for host in group.hosts}
        ungrouped = [host for host in self.hosts if host not in grouped]
        for name, group in self.groups.items():
            children = group.children
            if name == "all":
                children = [one for one in self.groups if one != "all" and one not in inner]
                children += ["ungrouped"] if ungrouped else []
            whole = {"hosts": group.hosts, "children": children, "vars": group.variables}
            found[name] = {key: value for key, value in whole.items() if value}
        if ungrouped:
            found["ungrouped"] = {"hosts": ungrouped}
        return found


def of_kind(items: Items, kind: str) -> list[Entry]:
    """In the order in which they were made."""
    return sorted((one for key, one in items.items() if key[0] == kind), key=lambda one: one.id)


def cluster_group(items: Items) -> str:
    """The group whose hosts are the cluster."""
    return CLUSTER_GROUP if ("group", CLUSTER_GROUP) in items else "all"


def plain(kind: str, resolved: Mapping[str, Any]) -> Json:
    """An item as its variable has it."""
    own = _OWN.get(kind, ())
    return ordered(kind, {field: value for field, value in resolved.items() if field not in own})


def skeleton(items: Items) -> Inventory:
    """Groups and hosts with their own variables, without what describes the cluster."""
    groups = {"all": Group([], [], {})}
    for entry in of_kind(items, "group"):
        body = entry.resolved
        variables = dict(sorted(body.get("variables", {}).items()))
        groups[entry.name] = Group([], list(body.get("children", ())), variables)
    hosts: dict[str, Json] = {}
    for entry in of_kind(items, "host"):
        hosts[entry.name] = _host_variables(entry.resolved)
        for name in entry.resolved.get("groups", ()):
            if name in groups:
                groups[name].hosts.append(entry.name)
    return Inventory(groups, hosts)


def inventory(items: Items) -> Inventory:
    """The whole declaration. Costs O(items)."""
    found = skeleton(items)
    shared = found.groups[cluster_group(items)].variables
    _add_lists(items, shared, found.hosts)
    _add_gwbridges(items, found.groups, shared, found.hosts)
    for entry in of_kind(items, "ingress"):
        shared["crosshost_ingress"] = plain("ingress", entry.resolved)
    return found


def _host_variables(body: Mapping[str, Any]) -> Json:
    found = dict(sorted(body.get("variables", {}).items()))
    found.update({variable: body[field] for field, variable in _FIELDS if field in body})
    return found


def _add_lists(items: Items, shared: Json, hosts: dict[str, Json]) -> None:
    for kind in (*NETWORKS, "endpoint", "service"):
        entries = of_kind(items, kind)
        common = [plain(kind, one.resolved) for one in entries if kind != "bridge" or "host" not in one.body]
        if common:
            shared[LISTS[kind]] = common
        if kind == "bridge":
            _add_own_bridges(entries, common, hosts)
        if kind == "macvlan":
            _add_parents(entries, common, hosts)


def _add_own_bridges(entries: Iterable[Entry], common: list[Json], hosts: dict[str, Json]) -> None:
    """A host's list takes the place of its group's: it has the common ones as well."""
    for one in entries:
        variables = hosts.get(one.body["host"]) if "host" in one.body else None
        if variables is not None:
            variables.setdefault(LISTS["bridge"], list(common)).append(plain("bridge", one.resolved))


def _add_parents(entries: list[Entry], common: list[Json], hosts: dict[str, Json]) -> None:
    """A host with a parent of its own has the whole list, which takes the place of its group's."""
    for number, one in enumerate(entries):
        for host, parent in one.resolved.get("parents", {}).items():
            if host in hosts:
                mine = hosts[host].setdefault(LISTS["macvlan"], list(common))
                mine[number] = {**mine[number], "parent": parent}


def _add_gwbridges(items: Items, groups: dict[str, Group], shared: Json, hosts: dict[str, Json]) -> None:
    for one in of_kind(items, "gwbridge"):
        body = one.resolved
        value = plain("gwbridge", body) if body.get("enabled", True) else {}
        if "host" in body:
            hosts.get(body["host"], {})["crosshost_gwbridge"] = value
        elif "group" in body:
            groups.get(body["group"], Group([], [], {})).variables["crosshost_gwbridge"] = value
        else:
            shared["crosshost_gwbridge"] = value
