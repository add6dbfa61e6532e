# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration as pages tell it: which networks are on a host, what an item was given, what it is about. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster import Cluster

from ..db.base import Json
from ..web import links
from .kinds import Entry, Items
from .models import Change


class Network(NamedTuple):
    """A network on a host. ``item``: the name of the item that declares it; ``name``: what it is called on the host."""

    kind: str
    item: str
    name: str
    subnets: Sequence[str]


class Subnet(NamedTuple):
    """``automatic``: what of it came from the pools."""

    cidr: str
    vni: int | None
    gateway: str
    automatic: tuple[str, ...]


def networks_on(cluster: Cluster, items: Items, host: str) -> Iterator[Network]:
    """By driver and name."""
    for name, overlay in sorted(cluster.networks.items()):
        if overlay.on(host):
            yield Network("overlay", name, name, _cidrs(overlay.item))
    for item in cluster.bridges.get(host, ()):
        name = str(item["name"])
        own = f"{host}/{name}"
        yield Network("bridge", own if ("bridge", own) in items else name, name, _cidrs(item))
    for item in cluster.macvlans.get(host, ()):
        name = str(item["name"])
        yield Network("macvlan", name, name, _cidrs(item))


def places(entry: Entry) -> Sequence[str]:
    """The names of hosts and groups that a network is on; empty: the whole cluster."""
    if "host" in entry.body:
        return (str(entry.body["host"]),)
    listed = entry.body.get("hosts")
    return [str(one) for one in listed] if isinstance(listed, list) else ()


def limit_of(entry: Entry) -> str:
    """The limit of a run that is about this item."""
    if entry.kind in ("host", "group"):
        return entry.name
    if entry.kind == "endpoint":
        return str(entry.body["host"])
    if entry.kind in ("overlay", "bridge", "macvlan"):
        return ",".join(places(entry))
    return str(entry.body.get("host", "")) if entry.kind == "gwbridge" else ""


def subnets(entry: Entry) -> list[Subnet]:
    """Those of a network, as they are in force."""
    written = _mappings(entry.body.get("subnets"))
    found = []
    for place, one in enumerate(_mappings(entry.resolved.get("subnets"))):
        own = written[place] if place < len(written) else {}
        automatic = tuple(name for name in ("subnet", "vni") if name in one and name not in own)
        vni = one.get("vni")
        gateway = str(one.get("gateway") or "first address")
        found.append(
            Subnet(str(one.get("subnet", "")), vni if isinstance(vni, int) else None, gateway, automatic)
        )
    return found


def given(entry: Entry) -> list[str]:
    """What the pools gave an item, in words: for who has just saved it."""
    found = []
    for one in subnets(entry):
        if "subnet" in one.automatic:
            found.append(f"the subnet {one.cidr}")
        if "vni" in one.automatic:
            found.append(f"the VNI {one.vni}")
    found += [
        f"the {'subnet' if name == 'subnet' else 'address'} {entry.resolved[name]}"
        for name in ("subnet", "ip", "ip6", "vip", "vip6")
        if name in entry.resolved and entry.body.get(name) in (None, "")
    ]
    written = _list(entry.body.get("ports"))
    for place, port in enumerate(_list(entry.resolved.get("ports"))):
        own = written[place] if place < len(written) else None
        if isinstance(port, Mapping) and isinstance(own, Mapping) and "published" not in own:
            found.append(f"the port {port.get('published')}")
    return found


def saved(entry: Entry, revision_id: int) -> str:
    """The message after saving."""
    words = given(entry)
    told = f"{links.word(entry.kind).capitalize()} {entry.name} is saved as revision {revision_id}."
    if words:
        listed = " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
        told += f" It has {listed}."
    return told


def change_sides(change: Change) -> tuple[Json | None, Json | None]:
    """An item before and after, with what it was given."""
    return side(change.before), side(change.after)


def side(kept: Json | None) -> Json | None:
    """What a revision keeps of an item, as it was in force."""
    if kept is None:
        return None
    found = kept.get("resolved") or kept.get("body")
    return found if isinstance(found, dict) else kept


def _cidrs(item: Mapping[str, Any]) -> list[str]:
    return [str(one.get("subnet", "")) for one in _mappings(item.get("subnets"))]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [one if isinstance(one, Mapping) else {} for one in _list(value)]
