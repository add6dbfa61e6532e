# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints of macvlan and ipvlan networks."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from typing import Callable, cast

from ..compile.endpoint import addresses, endpoint_alias
from ..compile.macvlan import compile_child, parent_of, routed, routes_to, shim_name
from ..errors import HostError
from ..kernel import observe
from ..kernel.children import children
from ..kernel.session import Session
from ..resources import HOST, Address, Key, Link, Resource, Route, key
from ..spec.endpoint import Endpoint
from ..spec.macvlan import Macvlan
from ..spec.networks import Network
from .places import sandboxes


def resources(
    session: Session, end: Endpoint, network: Network, netns: str, interface: str, check_mode: bool = False
) -> Iterator[Resource]:
    """The device on the network's parent that the sandbox gets, and what belongs to it."""
    known = cast(Macvlan, network)
    name = parent_of(known)
    parent = session.host.by_name.get(name)
    if parent is None and not check_mode:
        raise HostError(f"{end.obj}: {name}, on which {known.obj} is, is not on this host; converge it first")
    mtu = known.mtu or (parent.mtu if parent else 1500)
    yield compile_child(known, netns, interface, end.mac, mtu)._replace(alias=endpoint_alias(end.id))
    yield from addresses(end, known.subnets, netns, interface)


def spaces(session: Session) -> list[str]:
    """Where children of ours may be."""
    return sorted(sandboxes() | set(observe.sandbox_names(session)))


def network_of(link: Link) -> str:
    """The network of an endpoint's device."""
    return link.alias.partition(":")[2].partition("/")[0]


def lans(networks: Mapping[str, Network], names: Iterable[str]) -> list[Macvlan]:
    """The networks of these endpoints (by id) in which the host has a child of its own."""
    found = {name.partition("/")[0]: None for name in names}
    return [cast(Macvlan, networks[name]) for name in found if getattr(networks.get(name), "shim", ())]


def routes(
    session: Session,
    network: Macvlan,
    names: Collection[str],
    living: Iterable[str],
    ends: Iterable[Endpoint],
    check_mode: bool,
) -> Iterator[Route]:
    """The host's routes over its own child to endpoints of a network: to ``ends``, which are what is left of ``names``, and to
    all others that are there and ``living``."""
    if shim_name(network.name) not in session.host.by_name and not check_mode:
        return  # when it is made, it gets its routes
    others = set(map(endpoint_alias, living)) - set(map(endpoint_alias, names))
    found = list(_addresses(session, network, lambda alias: alias in others))
    found += [text for end in ends if end.network == network.name for text in (end.ip, end.ip6) if text]
    yield from routes_to(network, found)


def routes_there(
    session: Session, network: Macvlan, names: Collection[str], desired: Container[Key]
) -> Iterator[Route]:
    """The routes of that kind that the host has, but for those to endpoints which are none of ``names``."""
    mine = set(map(endpoint_alias, names))
    blocks = set(routed(network))
    others = set(_addresses(session, network, lambda alias: alias not in mine))
    for item in observe.inside(session, HOST, {shim_name(network.name)}):
        if not isinstance(item, Route) or item.dst in blocks:
            continue
        if key(item) in desired or item.dst.partition("/")[0] not in others:
            yield item


def _addresses(session: Session, network: Macvlan, wanted: Callable[[str], bool]) -> Iterator[str]:
    """The addresses of a network's endpoints that are there, of those whose alias is wanted."""
    chosen = children(
        session, spaces(session), lambda link: network_of(link) == network.name and wanted(link.alias)
    )
    return (item.address for item in chosen if isinstance(item, Address))
