# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Macvlan and ipvlan networks as facts."""

from __future__ import annotations

from typing import Any

from ..compile.macvlan import dummy_name, parent_of, shim_name
from ..kernel import observe
from ..kernel.children import children
from ..kernel.session import Session
from ..resources import HOST, Address, Link
from ..spec import macvlan
from .children import network_of, spaces
from .macvlan import MacvlanKind


def facts(session: Session, recorded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The networks that are recorded or of which the host has devices."""
    configs = {item["name"]: item for item in recorded}
    parsed = {one.name: one for one in macvlan.parse_all(recorded)}
    joined: dict[str, list[str]] = {}
    for link in children(session, spaces(session), lambda _link: True):
        if isinstance(link, Link):
            joined.setdefault(network_of(link), []).append(link.alias.partition("/")[2])
    found = []
    for name in dict.fromkeys([*configs, *MacvlanKind().owned(session)]):
        network = parsed.get(name)
        parent = session.host.by_name.get(parent_of(network) if network else dummy_name(name))
        shims = observe.inside(session, HOST, {shim_name(name)})
        addresses = [item.address for item in shims if isinstance(item, Address)]
        whole = parent is not None and not (network and set(network.shim) - set(addresses))
        found.append(
            {
                "name": name,
                "present": whole,
                "config": configs.get(name),
                "driver": network.driver if network else None,
                "mode": network.mode if network else None,
                "parent": parent.name if parent else None,
                "mtu": (network.mtu if network else None) or (parent.mtu if parent else None),
                "shim": addresses,
                "endpoints": sorted(joined.get(name, ())),
            }
        )
    return found
