# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandboxes' side of names: their resolv.conf, and the name servers of those that are in several networks.

It is always brought in line as a whole, for all sandboxes of the host: what one of them gets depends on all its networks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from ..compile import names as servers
from ..compile import resolver
from ..compile.resolver import Sandbox
from ..errors import CollisionError, HostError
from ..kernel import files, resolv
from ..plan import Op
from ..resources import File, netns_name
from ..spec import endpoint, fields
from ..spec.names import Names
from ..spec.subnets import find


class _End(NamedTuple):
    """An endpoint in a network that has names; ``server`` "" when it cannot reach the network's gateway."""

    names: Names
    addresses: tuple[str, ...]
    server: str
    order: tuple[bool, bool, int, str]


class Resolvers:
    """``named``: the networks that have names, ``items``: the endpoints of this host, as they were declared."""

    def __init__(self, named: Mapping[str, Names], items: Iterable[Mapping[str, Any]]) -> None:
        self._named = named
        self._wheres: dict[str, endpoint.Where] = {}
        self._paths: dict[str, str] = {}
        self.sandboxes = list(self._sandboxes(items))
        self.shared = resolver.shared(self.sandboxes)
        self.ports = resolver.ports(self.shared)

    @cached_property
    def _named_files(self) -> set[tuple[int, int]]:
        return resolv.named_files()

    def _sandboxes(self, items: Iterable[Mapping[str, Any]]) -> Iterator[Sandbox]:
        ends: dict[str, list[_End]] = {}
        for item in items:
            at = endpoint.where(item)
            if at.network in self._named and item.get("dns") is not False:
                place = endpoint.place(at.sandbox, at.pid, at.container)
                self._wheres[place] = at
                ends.setdefault(place, []).append(_end(self._named[at.network], item))
        for place, found in ends.items():
            found.sort(key=lambda end: end.order)
            first = found[0]
            if first.server:
                networks = tuple(dict.fromkeys(end.names.network for end in found))
                mine = [end.addresses for end in found if end.names is first.names]
                addresses = tuple(sorted({address for each in mine for address in each}))
                yield Sandbox(place, networks, first.server, addresses)

    def servers(self, upstream: Mapping[str, tuple[str, ...]]) -> Iterator[servers.Server]:
        """The name servers of several networks each. They ask others as their first network's own does."""
        for instance, sandboxes in self.shared.items():
            networks = tuple(self._named[name] for name in sandboxes[0].networks)
            first = networks[0]
            yield servers.Server(
                instance,
                netns_name(first.network),
                first.gateways,
                self.ports[instance],
                networks,
                upstream[first.network],
            )

    def looking_up(self, network: str) -> list[tuple[Sandbox, int]]:
        """The sandboxes that ask in this network's namespace but not its own server, with the port of theirs."""
        return [
            (one, self.ports[instance])
            for instance, found in sorted(self.shared.items())
            for one in found
            if one.networks[0] == network
        ]

    # -- resolv.conf

    def desired(self) -> Iterator[File]:
        """The files of all sandboxes, and of those that are to get theirs back."""
        mine = set()
        for one in self.sandboxes:
            at = self._wheres[one.place]
            if at.sandbox:
                yield File(resolv.named_path(at.sandbox), resolver.resolv_conf(one.networks, one.server))
                continue
            path = self._own_path(one.place, at)
            if path:
                there = files.read(path)
                former = resolver.former(there.content) if there else None
                ours = resolver.resolv_conf(one.networks, one.server, former, resolv.own_name())
                yield there._replace(content=ours) if there else File(path, ours)
                mine.add(files.identity(path))
        for there in _written():
            former = resolver.former(there.content)
            if former is not None and files.identity(there.path) not in mine:
                yield there._replace(content=former)

    def observed(self, desired: Iterable[File]) -> Iterator[File]:
        """The files that are ours, or that are to become ours."""
        wanted = {item.path for item in desired if item.path.endswith("/resolv.conf")}
        for item in resolv.named():
            if _is_ours(item) or item.path in wanted:
                yield item
        inside = sorted(path for path in wanted if path.startswith("/proc/"))
        mine = {files.identity(path) for path in inside}
        yield from files.observe(inside)
        yield from (one for one in _written() if files.identity(one.path) not in mine)

    def _own_path(self, place: str, at: endpoint.Where) -> str:
        """The file of a container or process; "" when it does not run, or has none of its own."""
        if place not in self._paths:
            pid = resolv.process_of(at.pid, at.container)
            self._paths[place] = resolv.own_path(pid, self._named_files) if pid else ""
        return self._paths[place]


def _written() -> Iterator[File]:
    """The files of containers and processes that this host wrote. A machine inside of it, whose processes are seen from here,
    may have written others."""
    name = resolv.own_name()
    for one in resolv.own_files():
        if resolver.is_ours(one.content) and resolver.owner_of(one.content) == name:
            yield one


def _is_ours(item: File) -> bool:
    return resolver.is_ours(item.content) or item == File(item.path, "", files.BEGUN)


def guard(ops: Sequence[Op]) -> None:
    """Refuse to take over a named sandbox's file of somebody else's, and files that cannot be written."""
    for op in ops:
        item = op.subject
        if not isinstance(item, File):
            continue
        if item.path.startswith("/proc/"):
            reason = files.writable(item.path)
            if reason:
                remedy = "mount it writable, or set dns: false on the endpoint"
                raise HostError(f"names: {item.path}: {reason}; {remedy}")
        elif item.path.endswith("/resolv.conf") and _is_foreign(op):
            raise CollisionError(
                f"names: {item.path}: crosshost did not write it; remove it, or set dns: false on the sandbox's endpoints"
            )


def _is_foreign(op: Op) -> bool:
    """True for a change of a file that is not ours, and where something else than a file is in the way."""
    if isinstance(op.before, File):
        return not _is_ours(op.before)
    return os.path.lexists(op.subject.path) if isinstance(op.subject, File) else False


def _end(names: Names, item: Mapping[str, Any]) -> _End:
    """An endpoint's part. What leads to the outside is asked first, then what has the higher priority."""
    addresses, server = [], ""
    for field in ("ip", "ip6"):
        packed = fields.pack(item.get(field))
        subnet = find(names.subnets, packed) if packed is not None else None
        if packed is not None and subnet is not None:
            addresses.append(fields.address(names.obj, field, item[field]))
            server = server or subnet.gateway
    order = (not server, not names.gwbridge, -int(item.get("gw_priority") or 0), names.network)
    return _End(names, tuple(addresses), server, order)
