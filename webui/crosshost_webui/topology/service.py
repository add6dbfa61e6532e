# SPDX-License-Identifier: GPL-3.0-or-later
"""What the picture of the cluster shows: some of the hosts, the networks that are on them, and how each crossing is."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

from ..db.engine import ReadSession
from ..drift import store as drift_store
from ..inventory import service as inventory
from ..inventory import store_pages, telling
from ..inventory.kinds import CLUSTER_GROUP, Items
from .layout import Cell, Host, Network, Picture, layout

HOSTS, NETWORKS = 60, 40  # in one picture


class View(NamedTuple):
    """``part`` and ``rails``: which part of hosts and networks it is, from 0, of ``parts`` and ``all_rails``."""

    picture: Picture
    part: int
    parts: int
    rails: int
    all_rails: int
    groups: Sequence[str]


def view(s: ReadSession, part: int = 0, rails: int = 0, group: str = "") -> View:
    """Invalid if what hosts report contradicts the declaration."""
    parsed = inventory.parsed(s)
    items = inventory.items(s)
    hosts = sorted(_hosts(items), key=lambda one: (one.group == "", one.group, one.name))
    groups = list(dict.fromkeys(one.group for one in hosts if one.group))
    if group:
        hosts = [one for one in hosts if one.group == group]
    parts = max(-(-len(hosts) // HOSTS), 1)
    part = min(part, parts - 1)
    shown = hosts[part * HOSTS : (part + 1) * HOSTS]
    on = {one.name: list(telling.networks_on(parsed.cluster, items, one.name)) for one in shown}
    every = sorted({(one.kind, one.item) for mine in on.values() for one in mine})
    all_rails = max(-(-len(every) // NETWORKS), 1)
    rails = min(rails, all_rails - 1)
    chosen = set(every[rails * NETWORKS : (rails + 1) * NETWORKS])
    names = [one.name for one in shown]
    looked = store_pages.looked_at(s, names)
    counts = store_pages.endpoints_by_both(s, names)
    differs = {(one.host, one.subject.partition("/")[0]) for one in drift_store.of_hosts(s, names)}
    cells = {
        (host, (one.kind, one.item)): Cell(counts.get((host, one.name), 0), _state(host, one.name, looked, differs))
        for host, mine in on.items() for one in mine if (one.kind, one.item) in chosen
    }  # fmt: skip
    picture = layout(shown, [Network(*one) for one in chosen], cells)
    return View(picture, part, parts, rails, all_rails, groups)


def _hosts(items: Items) -> list[Host]:
    """Each in the group that tells most of it: the first one besides the cluster's."""
    found = []
    for (kind, name), one in items.items():
        if kind == "host":
            groups = [group for group in one.body.get("groups", ()) if group != CLUSTER_GROUP]
            found.append(Host(name, groups[0] if groups else ""))
    return found


def _state(host: str, network: str, looked: Container[str], differs: Container[tuple[str, str]]) -> str:
    if (host, network) in differs:
        return "drift"
    return "converged" if host in looked else "unknown"
