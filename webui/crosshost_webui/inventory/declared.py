# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration as the engine reads it. Pure.

Variables of groups reach hosts as Ansible has it: by the groups' depth, then their ``ansible_group_priority``, then their name;
the host's own come last. Whether all of it makes sense is decided by the engine's parse_cluster, as in a run.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.spec import fields
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster import Cluster, parse_cluster
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster_hosts import (
    Declared,
    Facts,
    Interface,
)

from ..db.base import Json
from ..web.problem import Invalid
from . import shape
from .emit import Group, Inventory, cluster_group, inventory, of_kind
from .kinds import CLUSTER_GROUP, Items, engine, label

PREFIX = "crosshost_"
DEPTH_MOST = 64
# Stand for data-path addresses that nobody knows before the first run: of no use on any network, and each host's own.
_UNKNOWN4 = ipaddress.ip_address("240.0.0.1")
_UNKNOWN6 = ipaddress.ip_address("100::1")


class Parsed(NamedTuple):
    """A valid declaration. ``groups``: all hosts of each group by its name. ``assumed``: the hosts whose data-path address is
    neither declared nor reported, so that the cluster has a stand-in for it."""

    cluster: Cluster
    groups: Mapping[str, Sequence[str]]
    assumed: tuple[str, ...]
    inventory: Inventory

    @property
    def warnings(self) -> list[str]:
        found = list(self.cluster.warnings)
        if self.assumed:
            some = ", ".join(self.assumed[:5]) + (", …" if len(self.assumed) > 5 else "")
            found.append(
                f"the data-path address of {len(self.assumed)} hosts ({some}) is not known before their first run; "
                "set vtep to know it now"
            )
        return found


def parse(items: Items, facts: Mapping[str, Facts]) -> Parsed:
    """The cluster that the items declare. Invalid if anything of it cannot be right. Costs O(items)."""
    check(items)
    found = inventory(items)
    return parse_inventory(found, facts, cluster_group(items))


def parse_inventory(found: Inventory, facts: Mapping[str, Facts], group: str | None = None) -> Parsed:
    """The same of an inventory; ``group``: the cluster's, by default as the playbooks choose it."""
    groups = members(found)
    if group is None:
        group = CLUSTER_GROUP if groups.get(CLUSTER_GROUP) else "all"
    merged = variables(found)
    known = {}
    missing = []
    for name in groups[group]:
        mine = merged[name]
        if "crosshost_vtep" in mine:
            known[name] = Facts()
        elif _tells(facts.get(name), mine):
            known[name] = facts[name]
        else:
            missing.append(name)
    known.update(_stand_ins(missing, merged))
    with engine():
        cluster = parse_cluster([Declared(one, merged[one], known[one]) for one in groups[group]], groups)
    return Parsed(cluster, groups, tuple(missing), found)


def _tells(facts: Facts | None, mine: Mapping[str, Any]) -> bool:
    """Whether a host has said enough to know its data-path address by."""
    if facts is None:
        return False
    return bool(facts.interfaces if mine.get("crosshost_data_path_interface") else facts.default)


def check(items: Items) -> None:
    """What the engine does not see: that groups and hosts refer to what is there, and that names mean one thing."""
    hosts = {name for kind, name in items if kind == "host"}
    groups = {name for kind, name in items if kind == "group"}
    for name in hosts & (groups | {"all", "ungrouped"}):
        raise Invalid(f"host {name}: name: there is a group of this name; call one of the two differently")
    for obj, field, name, what in _references(items):
        if name not in (hosts if what == "host" else groups) and (what, name) != ("group", "all"):
            remedy = f"there is no such {what}; add it first, or name another"
            raise Invalid(f"{obj}: {field} {shape.shown(name)}: {remedy}", {field: remedy})
    _refuse_seconds(items)


def _references(items: Items) -> Iterator[tuple[str, str, str, str]]:
    """(object, field, name, host or group) of what has to be there."""
    for kind, field in (("host", "groups"), ("group", "children")):
        for entry in of_kind(items, kind):
            for name in entry.body.get(field, ()):
                yield label(kind, entry.name), field, name, "group"
    for kind, field in (("bridge", "host"), ("gwbridge", "host"), ("gwbridge", "group")):
        for entry in of_kind(items, kind):
            if field in entry.body:
                yield label(kind, entry.name), field, entry.body[field], field
    for entry in of_kind(items, "macvlan"):
        obj = f"macvlan {entry.name}"
        with engine():
            parents = fields.mapping(obj, "parents", entry.body.get("parents", {}))
        for host in parents:
            yield obj, "parents", host, "host"


def _refuse_seconds(items: Items) -> None:
    """One ingress network, and one gateway bridge for each place that declares one."""
    places: dict[tuple[str, str], str] = {}
    for kind in ("ingress", "gwbridge"):
        for entry in of_kind(items, kind):
            place = entry.body.get("host") or entry.body.get("group") or ""
            if kind == "gwbridge" and place == cluster_group(items):
                place = ""
            other = places.setdefault((kind, place), entry.name)
            if other != entry.name:
                whose = place or "the cluster"
                remedy = f"{whose} has {other} already, and takes one; change that one, or remove it first"
                raise Invalid(f"{label(kind, entry.name)}: {remedy}", {"name": remedy})


def members(found: Inventory) -> dict[str, list[str]]:
    """All hosts of each group, those of its children as well, in the inventory's order."""
    order = {host: number for number, host in enumerate(found.hosts)}
    result: dict[str, list[str]] = {}
    for name, below in _below(found.groups).items():
        hosts = {host for one in below for host in found.groups[one].hosts}
        result[name] = sorted(hosts, key=order.__getitem__)
    grouped = {host for group in found.groups.values() for host in group.hosts}
    return {
        **result,
        "all": list(found.hosts),
        "ungrouped": [host for host in found.hosts if host not in grouped],
    }


def _below(groups: Mapping[str, Group]) -> dict[str, frozenset[str]]:
    """Each group with the groups inside of it. Invalid if groups contain each other."""
    found: dict[str, frozenset[str]] = {}

    def visit(name: str, path: tuple[str, ...]) -> frozenset[str]:
        if name in path:
            loop = " > ".join((*path[path.index(name) :], name))
            raise Invalid(
                f"group {name}: children: the groups contain each other: {loop}; take one of them out"
            )
        if len(path) > DEPTH_MOST:
            raise Invalid(f"group {name}: children: groups are nested more than {DEPTH_MOST} deep")
        if name not in found:
            inner = (visit(child, (*path, name)) for child in groups[name].children if child in groups)
            found[name] = frozenset((name,)).union(*inner)
        return found[name]

    for name in groups:
        visit(name, ())
    return found


def by_precedence(groups: Mapping[str, Group]) -> list[str]:
    """The groups in the order in which their variables are laid over each other."""
    depths = _depths(groups)
    return sorted(groups, key=lambda name: (depths[name], _priority(groups[name].variables), name))


def groups_of(found: Inventory) -> dict[str, frozenset[str]]:
    """All groups that each host is in. Hosts that are in the same ones have the same set."""
    above: dict[str, set[str]] = {name: set() for name in found.groups}
    for name, below in _below(found.groups).items():
        for inner in below:
            above[inner].add(name)
    direct: dict[str, list[str]] = {host: [] for host in found.hosts}
    for name, group in found.groups.items():
        for host in group.hosts:
            direct[host].append(name)
    known: dict[tuple[str, ...], frozenset[str]] = {}
    result = {}
    for host, names in direct.items():
        key = tuple(names)
        if key not in known:
            known[key] = frozenset(("all",)).union(*(above[name] for name in key))
        result[host] = known[key]
    return result


def variables(found: Inventory) -> dict[str, Json]:
    """The variables of each host that the engine reads, as they are in force. Hosts of the same groups share their values."""
    order = by_precedence(found.groups)
    chosen = {name: _relevant(found.groups[name].variables) for name in order}
    merged: dict[frozenset[str], Json] = {}
    above = groups_of(found)
    result = {}
    for host, own in found.hosts.items():
        mine = above[host]
        if mine not in merged:
            merged[mine] = {
                field: value for name in order if name in mine for field, value in chosen[name].items()
            }
        result[host] = {**merged[mine], **_relevant(own)}
    return result


def _relevant(found: Mapping[str, Any]) -> Json:
    return {name: value for name, value in found.items() if name.startswith(PREFIX) or name == "ansible_host"}


def _priority(found: Mapping[str, Any]) -> int:
    value = found.get("ansible_group_priority", 1)
    return value if isinstance(value, int) else 1


def _depths(groups: Mapping[str, Group]) -> dict[str, int]:
    """How deep below `all` each group is, by its longest way."""
    found = dict.fromkeys(groups, 1)
    found["all"] = 0
    for _ in groups:
        changed = False
        for name, group in groups.items():
            for child in group.children if name != "all" else ():
                if child in found and found[child] <= found[name]:
                    found[child] = found[name] + 1
                    changed = True
        if not changed:
            break
    return found


def _stand_ins(
    missing: Sequence[str], merged: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Facts]]:
    """Facts for hosts that nobody has asked yet, of the family that the cluster has."""
    declared = [str(mine["crosshost_vtep"]) for mine in merged.values() if mine.get("crosshost_vtep")]
    first = _UNKNOWN6 if declared and all(":" in one for one in declared) else _UNKNOWN4
    for number, name in enumerate(missing):
        address = str(first + number)
        interface = merged[name].get("crosshost_data_path_interface")
        named = {interface: Interface(0, (address,))} if isinstance(interface, str) else {}
        yield name, Facts(named, (address,))


def facts_of_report(body: Mapping[str, Any]) -> Facts:
    """What a host's report tells of its addresses. What is malformed counts as not told: a report is a host's own word."""
    found = {}
    listed = body.get("interfaces")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, Mapping) and isinstance(one.get("name"), str):
            mtu = one.get("mtu")
            found[one["name"]] = Interface(
                mtu if isinstance(mtu, int) else 0, tuple(_addresses(one.get("addresses")))
            )
    return Facts(found, tuple(_addresses(body.get("default"))))


def _addresses(value: Any) -> Iterator[str]:
    for one in value if isinstance(value, list) else ():
        try:
            yield fields.host_address("", "", one)
        except SpecError:
            continue
