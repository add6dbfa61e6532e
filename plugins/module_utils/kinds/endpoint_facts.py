# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints as facts: where they are, what their interfaces have, and the ports of the host that lead to them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from ..kernel import netns as _netns
from ..kernel import observe
from ..kernel.children import children
from ..kernel.decode import LinkInfo
from ..kernel.session import NsView, Session
from ..resources import HOST, Link, NftChain, netns_name
from ..spec import endpoint
from ..spec.endpoint import GATEWAY_INTERFACE
from ..spec.publish import port_of_chain
from .endpoint import EndpointKind
from .legs import is_leg
from .overlay import OverlayKind
from .places import known_path

Inner = tuple[str, "LinkInfo | None"]


def facts(session: Session, recorded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The endpoints that are recorded or that the kernel has."""
    kind = EndpointKind()
    configs = {kind.key(item): item for item in recorded}
    joined = _joined(session, recorded)
    published = _published(session) if any(item.get("publish") for item in recorded) else {}
    found = []
    for name in dict.fromkeys([*configs, *joined]):
        netns, info = joined.get(name, ("", None))
        view = session.view(netns) if netns else None
        config = configs.get(name)
        mine = _addresses(view, info.name) if info else {}
        near = {**mine, **_addresses(view, GATEWAY_INTERFACE)} if config and config.get("publish") else {}
        found.append(
            {
                "id": name,
                "present": name in joined or _in_mode(config),
                "config": config,
                "netns": netns,
                "interface": info.name if info else None,
                "mac": info.mac if info else None,
                "mtu": info.mtu if info else None,
                "addresses": [f"{address}/{length}" for address, length in mine.items()],
                "published": sorted({port for address in near for port in published.get(address, ())}),
            }
        )
    return found


def _joined(session: Session, recorded: list[dict[str, Any]]) -> dict[str, Inner]:
    """Where each endpoint is, and its interface there."""
    spaces = [HOST, *(netns_name(name) for name in OverlayKind({}).owned(session))]
    inner = {*filter(None, map(known_path, recorded)), *observe.sandbox_names(session)}
    found: dict[str, Inner] = {
        pair.outer.alias.partition(":")[2]: pair.inner or ("", None)
        for pair in observe.pairs(session, spaces, inner)
        if "/" in pair.outer.alias and not is_leg(pair.outer)
    }
    found.update(_children(session, inner))
    return found


def _children(session: Session, spaces: Iterable[str]) -> Iterator[tuple[str, Inner]]:
    """The endpoints of macvlan and ipvlan networks: a device in the sandbox is all that they are."""
    for item in children(session, sorted(spaces), lambda link: "/" in link.alias):
        view = session.view(item.netns) if isinstance(item, Link) else None
        if view is not None and isinstance(item, Link):
            yield item.alias.partition(":")[2], (item.netns, view.by_name[item.name])


def _in_mode(config: dict[str, Any] | None) -> bool:
    """True for an endpoint in no network whose sandbox is there."""
    if config is None or not endpoint.is_mode(str(config["network"])):
        return False
    sandbox = str(config.get("sandbox") or "")
    return not sandbox or _netns.exists(sandbox)


def _addresses(view: NsView | None, interface: str) -> dict[str, int]:
    """The addresses of an interface with their prefix lengths."""
    info = view.by_name.get(interface) if view else None
    rows = view.addresses if view and info else ()
    return {one.address: one.prefixlen for one in rows if info and one.ifindex == info.ifindex}


def _published(session: Session) -> dict[str, list[str]]:
    """The host's ports that lead to each address, in Docker's words."""
    found: dict[str, list[str]] = {}
    for item in session.nft(HOST):
        at = port_of_chain(item.name) if isinstance(item, NftChain) else None
        if at is None or not isinstance(item, NftChain):
            continue
        protocol, host_ip, port = at
        where = f"[{host_ip}]:" if ":" in host_ip else f"{host_ip}:" if host_ip else ""
        for rule in item.rules:
            for statement in json.loads(rule):
                way = statement.get("dnat")
                if way:
                    found.setdefault(way["addr"], []).append(f"{where}{port}:{way['port']}/{protocol}")
    return found
