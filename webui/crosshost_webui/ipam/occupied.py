# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts have said of themselves that no subnet may overlap: routes that are not crosshost's, and name servers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..db.engine import ReadSession
from . import store_read
from .extents import Extent, join
from .values import Value

_KEY = "ipam occupied"


class Use(NamedTuple):
    """Addresses that a host needs. ``what``: route, name server."""

    host: str
    what: str
    text: str
    version: int
    first: int
    last: int


def occupied(s: ReadSession) -> dict[str, list[Use]]:
    """By host. Routes of crosshost's own devices are not among what hosts report."""
    found: dict[str, list[Use]] = s.info.get(_KEY, {})
    if _KEY not in s.info:
        found = s.info[_KEY] = {host: list(_uses(host, body)) for host, body in store_read.reports(s)}
    return found


def in_the_way(s: ReadSession, value: Value) -> Use | None:
    """What a host needs of these addresses."""
    for uses in occupied(s).values():
        for use in uses:
            if use.version == value.version and use.first <= value.last and value.first <= use.last:
                return use
    return None


def extents(s: ReadSession, version: int) -> list[Extent]:
    """The addresses of that version that hosts need, as numbers; ascending, as join() gives them."""
    key = f"{_KEY} {version}"
    if key not in s.info:
        uses = (use for uses in occupied(s).values() for use in uses)
        s.info[key] = join(Extent(use.first, use.last) for use in uses if use.version == version)
    found: list[Extent] = s.info[key]
    return found


def _uses(host: str, body: dict[str, Any]) -> Iterable[Use]:
    for what, key in (("route", "routes"), ("name server", "nameservers")):
        texts = body.get(key)
        for text in texts if isinstance(texts, list) else ():
            try:
                block = ipaddress.ip_network(str(text).partition("%")[0], strict=False)
            except ValueError:
                continue  # a host says what it likes
            if block.prefixlen and not (block.is_loopback or block.is_link_local or block.is_multicast):
                yield Use(
                    host, what, str(text), block.version, int(block.network_address), int(block.broadcast_address)
                )  # fmt: skip
