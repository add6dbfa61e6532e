# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of a cluster, of every driver: on which hosts they are, under names and in subnets of their own."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Optional

from ..errors import SpecError
from . import cluster_hosts, fields, overlay
from .cluster_hosts import Declared, Host
from .subnets import Subnet, refuse_overlaps

# of overlay_network's options, what is the same on all hosts; `hosts` says on which the network is
NETWORK_OPTIONS = (
    "name", "subnets", "mtu", "control_plane", "multicast_group", "data_path_port",
    "internal", "attachable", "labels", "hosts",
)  # fmt: skip
MODES = ("host", "none")  # what an endpoint's `network` may say instead of a network's name

Row = tuple[str, str, str, str]
Groups = Mapping[str, Sequence[str]]


class Network(NamedTuple):
    """An overlay network. ``item`` is its declaration for `overlay_network`; ``hosts`` None: on all hosts. ``rows`` are
    (host, ip, ip6, mac) of its endpoints, "" for no address; empty unless the control plane is static."""

    item: dict[str, Any]
    hosts: Optional[frozenset[str]]
    rows: Sequence[Row]

    def on(self, host: str) -> bool:
        return self.hosts is None or host in self.hosts


class Shared(NamedTuple):
    """A declaration that holds for the cluster. ``own``: what hosts have declared of it for themselves."""

    item: dict[str, Any]
    own: dict[str, dict[str, Any]]


@contextmanager
def on_host(host: str) -> Iterator[None]:
    """Errors say of which host they are."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"{error.obj} on host {host}", error.field, error.value, error.remedy) from None


def lists(declared: Iterable[Declared], variable: str) -> Iterator[tuple[list[str], list[Any]]]:
    """The lists of a variable, each with the hosts that have it. One that several hosts have, as their group's, comes
    once."""
    found: dict[int, tuple[list[str], Any]] = {}
    for one in declared:
        value = one.variables.get(variable)
        if value is not None:
            found.setdefault(id(value), ([], value))[0].append(one.name)
    for holders, value in found.values():
        yield holders, fields.sequence(cluster_hosts.label(holders[0]), variable, value)


def collect(
    declared: Iterable[Declared],
    variable: str,
    options: Sequence[str],
    label: Callable[[object], str],
    own: Sequence[str] = (),
) -> dict[str, Shared]:
    """The networks of a variable by name, all hosts' lists joined. Hosts that declare the same one have to agree, but for
    the options ``own``."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    differing: dict[str, dict[str, dict[str, Any]]] = {}
    for holders, values in lists(declared, variable):
        mine = set()
        for place, raw in enumerate(values):
            whole = checked(f"{variable}[{place}]", raw, options, label)
            name = str(whole["name"])
            if name in mine:
                remedy = "it is declared twice; names are unique in a cluster"
                raise SpecError(label(name), "name", name, remedy)
            mine.add(name)
            item = {field: value for field, value in whole.items() if field not in own}
            agree(label(name), holders[0], item, *found.setdefault(name, (holders[0], item)))
            theirs = {field: whole[field] for field in own if field in whole}
            differing.setdefault(name, {}).update((host, theirs) for host in holders)
    return {name: Shared(item, differing[name]) for name, (_holder, item) in found.items()}


def agree(obj: str, host: str, item: dict[str, Any], holder: str, other: dict[str, Any]) -> None:
    """SpecError if two hosts declare something differently; ``other`` is what ``holder`` declares."""
    if other != item:
        field = next(key for key in (*item, *other) if item.get(key) != other.get(key))
        remedy = f"on host {host}, but {other.get(field)!r} on host {holder}; declare it once, for the group"
        raise SpecError(obj, field, item.get(field), remedy)


def checked(obj: str, raw: Any, options: Sequence[str], label: Callable[[object], str]) -> dict[str, Any]:
    """An item without the options that are null: it has a name, and no option that there is not."""
    item = {field: given for field, given in fields.mapping(obj, "item", raw).items() if given is not None}
    fields.known_only(label(item["name"]) if isinstance(item.get("name"), str) else obj, item, options)
    name = fields.name(obj, "name", item.get("name"), most=60)
    if name in MODES:
        remedy = f"an endpoint's network {name} means that there is none; take another name"
        raise SpecError(label(name), "name", name, remedy)
    for field in ("mtu", "data_path_port", "host_prefix", "host_prefix6"):
        if field in item:
            item[field] = cluster_hosts.number(item[field])
    return item


def chosen(obj: str, value: Any, hosts: Mapping[str, Host], groups: Groups) -> frozenset[str]:
    """The hosts that an option ``hosts`` names, and those of the cluster in the groups that it names."""
    found: set[str] = set()
    for entry in fields.sequence(obj, "hosts", value):
        if isinstance(entry, str) and entry in hosts:
            found.add(entry)
        elif isinstance(entry, str) and entry in groups:
            members = [host for host in groups[entry] if host in hosts]
            if not members:
                remedy = "no host of this group is in the cluster; name others, or add its hosts to the cluster's group"
                raise SpecError(obj, "hosts", entry, remedy)
            found.update(members)
        else:
            remedy = "there is no such host in the cluster and no such group; name hosts or groups of the inventory"
            raise SpecError(obj, "hosts", entry, remedy)
    return frozenset(found)


def place(name: str, item: dict[str, Any], hosts: Mapping[str, Host], groups: Groups) -> Network:
    """The overlay with the hosts on which it is."""
    plain = {field: value for field, value in item.items() if field != "hosts"}
    if "hosts" not in item:
        return Network(plain, None, ())
    return Network(plain, chosen(overlay.label(name), item["hosts"], hosts, groups), ())


def one_family(obj: str, hosts: Iterable[Host]) -> None:
    """One VXLAN device speaks one family, so all hosts of an overlay have VTEPs of it."""
    first: dict[bool, Host] = {}
    for host in hosts:
        first.setdefault(":" in host.vtep, host)
    if len(first) == 2:
        remedy = f"host {first[False].name} has {first[False].vtep}; use one address family for all hosts of a network"
        raise SpecError(obj, f"VTEP of host {first[True].name}", first[True].vtep, remedy)


def refuse_shared_names(labels: Iterable[tuple[str, str]]) -> None:
    """SpecError if two networks have one name; ``labels``: (name, how errors call it), once for each network."""
    seen: dict[str, str] = {}
    for name, obj in labels:
        other = seen.setdefault(name, obj)
        if other != obj:
            raise SpecError(obj, "name", name, f"{other} has it; networks of all drivers share their names")


class Spans:
    """Subnets of the whole cluster, none of which overlaps another. Asking whether a further one does costs O(log n)."""

    def __init__(self, owners: Sequence[tuple[str, Sequence[Subnet]]]) -> None:
        refuse_overlaps(owners)
        self._spans = sorted(
            (one.version, one.first, one.last, one.cidr, obj) for obj, found in owners for one in found
        )

    def refuse(self, obj: str, subnets: Iterable[Subnet]) -> None:
        """SpecError if one of these overlaps one of ours."""
        for one in subnets:
            below = bisect_right(self._spans, (one.version, one.last, 1 << 129))
            version, _first, last, cidr, other = self._spans[below - 1] if below else (0, 0, 0, "", "")
            if version == one.version and last >= one.first:
                raise SpecError(
                    obj, "subnet", one.cidr, f"it overlaps {cidr} of {other}; give each its own block"
                )
