# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on a host, as facts: recorded declarations, the kernel's state, and the drift between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Callable

from . import record
from .converge import Kind, converge, need_root
from .errors import CrosshostError
from .kernel import observe
from .kernel.session import Session
from .kinds import bridge_facts, endpoint_facts, ingress_facts, macvlan_facts
from .kinds.bridge import BridgeKind
from .kinds.endpoint import EndpointKind
from .kinds.gwbridge import GwbridgeKind
from .kinds.ingress import IngressKind
from .kinds.macvlan import MacvlanKind
from .kinds.names import NamesKind, running_servers
from .kinds.overlay import OverlayKind
from .kinds.service import ServiceKind
from .resources import HOST, Address, FdbEntry, Link, Neighbour, State, mark_of, netns_name

KINDS: dict[str, tuple[str, Callable[[], Kind]]] = {
    "overlay_networks": ("overlay_network", lambda: OverlayKind({})),
    "gwbridges": ("gwbridge", GwbridgeKind),
    "bridge_networks": ("bridge_network", BridgeKind),
    "macvlans": ("macvlan", MacvlanKind),
    "endpoints": ("endpoint", EndpointKind),
    "services": ("service", ServiceKind),
    "ingress": ("ingress", IngressKind),
    "names": ("names", NamesKind),
}


def gather(chosen: Sequence[str]) -> dict[str, Any]:
    """Facts of the chosen kinds. HostError without root."""
    need_root()
    found: dict[str, Any] = {}
    with Session() as session:
        for what in chosen:
            found[what] = _FACTS[what](session, record.load(KINDS[what][0]))
    drift, errors = drifts(chosen)
    return {**found, "drift": drift, "drifted": any(drift.values()) or bool(errors), "errors": errors}


def drifts(chosen: Iterable[str]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """For each kind the commands that would mend it; and the reasons where that cannot be said."""
    drift: dict[str, list[str]] = {}
    errors: dict[str, str] = {}
    for what in chosen:
        name, make = KINDS[what]
        try:
            outcome = converge(make(), record.load(name), "overridden", check=True)
            drift[name] = outcome.commands
        except CrosshostError as error:
            errors[name] = str(error)
    return drift, errors


def _overlays(session: Session, recorded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    present = OverlayKind({}).owned(session)
    configs = {item["name"]: item for item in recorded}
    facts = []
    for name in dict.fromkeys([*configs, *present]):
        state = observe.overlays(session, [name])
        pairs = observe.pairs(session, [netns_name(name)], [])
        facts.append(
            {
                "name": name,
                "namespace": netns_name(name),
                "present": name in present,
                "config": configs.get(name),
                "links": [_link(item) for item in _of(state, Link)],
                "addresses": [f"{item.address}/{item.prefixlen}" for item in _of(state, Address)],
                "fdb_rows": len(_of(state, FdbEntry)),
                "neighbours": len(_of(state, Neighbour)),
                "endpoints": sorted(pair.outer.alias.partition("/")[2] for pair in pairs),
            }
        )
    return facts


def _of(state: State, kind: type) -> list[Any]:
    return [item for item in state.values() if isinstance(item, kind)]


def _link(link: Link) -> dict[str, Any]:
    return {
        "name": link.name,
        "kind": link.kind,
        "mtu": link.mtu,
        "up": link.up,
        "master": link.master,
        **dict(link.attrs),
    }


def _gwbridges(session: Session, recorded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    configs = {item["name"]: item for item in recorded}
    facts = []
    for name in dict.fromkeys([*configs, *GwbridgeKind().owned(session)]):
        items = observe.bridge(session, name)
        pairs = observe.pairs(session, [HOST], [])
        facts.append(
            {
                "name": name,
                "present": bool(items),
                "config": configs.get(name),
                "addresses": [
                    f"{item.address}/{item.prefixlen}" for item in items if isinstance(item, Address)
                ],
                "mtu": next((item.mtu for item in items if isinstance(item, Link)), None),
                "sandboxes": sorted(
                    pair.outer.alias.partition("/")[2].rpartition("@")[0]
                    for pair in pairs
                    if pair.outer.alias.startswith(mark_of(f"{name}/"))
                ),
            }
        )
    return facts


def _names(_session: Session, recorded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The name servers. Those whose name has colons serve the sandboxes that are in these networks together."""
    configs = {item["network"]: item for item in recorded}
    running = running_servers()
    return [
        {
            "name": name,
            "present": name in running and bool(running[name].config),
            "config": configs.get(name),
            "records": len(configs.get(name, {}).get("records", ())),
            "services": len(configs.get(name, {}).get("services", ())),
        }
        for name in dict.fromkeys([*configs, *running])
    ]


_FACTS: dict[str, Callable[[Session, list[dict[str, Any]]], list[dict[str, Any]]]] = {
    "overlay_networks": _overlays,
    "gwbridges": _gwbridges,
    "bridge_networks": bridge_facts.facts,
    "macvlans": macvlan_facts.facts,
    "endpoints": endpoint_facts.facts,
    "services": lambda session, recorded: ServiceKind().facts(session, recorded),
    "ingress": ingress_facts.facts,
    "names": _names,
}
