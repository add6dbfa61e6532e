# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One address range shared out among hosts, each a block of its own: no host has to ask another for an address."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Optional

from ..errors import SpecError
from . import fields
from .fields import Network

_Span = tuple[int, int]
_ATTEMPTS = 64  # with half of the blocks free, all of them fail once in 2^64


def host_ranges(
    ip_range: str,
    prefix: int,
    hosts: Collection[str],
    declared: Optional[Mapping[str, str]] = None,
    obj: str = "macvlan",
) -> dict[str, str]:
    """Each host's block of ``ip_range`` as {host: CIDR}, all of ``prefix`` bits, no two overlapping. ``declared``: blocks that
    hosts were given by hand, of whatever size.

    Where a block is depends on the host's name and not on how many hosts there are: one that comes or goes moves few
    others. A host takes the block that its name points to; where several point to one, the first by name does, and the
    others try, each in an order of its own, those that no name points to.
    """
    whole = fields.network(obj, "ip_range", ip_range)
    most = whole.max_prefixlen
    fields.integer(obj, "host_prefix", prefix, whole.prefixlen, most, f"the length of a part of {whole}")
    by_hand = {host: text for host, text in (declared or {}).items() if host in hosts}
    spans = _declared(obj, whole, by_hand)
    first, shift = int(whole.network_address), most - prefix
    blocked = _merged([((low - first) >> shift, (high - first) >> shift) for low, high in spans])
    count = 1 << (prefix - whole.prefixlen)
    rest = sorted(set(hosts) - by_hand.keys())
    room = count - sum(high - low + 1 for low, high in blocked)
    if len(rest) > room:
        remedy = f"it has room for {room} hosts with /{prefix} each, and there are {len(rest)}; give a larger range or smaller parts"
        raise SpecError(obj, "ip_range", str(whole), remedy)
    found = {host: str(fields.network(obj, "host_range", text)) for host, text in by_hand.items()}
    for host, place in _places(rest, count, blocked).items():
        found[host] = str(type(whole)((first + (place << shift), prefix)))
    return found


def _declared(obj: str, whole: Network, blocks: Mapping[str, str]) -> list[_Span]:
    """The first and last addresses of blocks given by hand: inside of the range, and no two overlapping."""
    found: list[tuple[int, int, str]] = []
    for host, text in blocks.items():
        block = fields.network(obj, f"host_range of host {host}", text)
        if block.version != whole.version or not (
            block.network_address in whole and block.broadcast_address in whole
        ):
            remedy = f"it is outside {whole}; give a part of that range"
            raise SpecError(obj, f"host_range of host {host}", text, remedy)
        found.append((int(block.network_address), int(block.broadcast_address), host))
    found.sort()
    for before, after in zip(found, found[1:]):
        if after[0] <= before[1]:
            remedy = f"it overlaps {blocks[before[2]]} of host {before[2]}; give each host its own"
            raise SpecError(obj, f"host_range of host {after[2]}", blocks[after[2]], remedy)
    return [(low, high) for low, high, _host in found]


def _merged(spans: Sequence[_Span]) -> list[_Span]:
    """Spans of block numbers, sorted, those that share a block made one."""
    found: list[_Span] = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found


def _places(hosts: Sequence[str], count: int, blocked: Sequence[_Span]) -> dict[str, int]:
    """A block number for each host, given in order of their names."""
    homes = {host: _hash(host) for host in hosts}
    found: dict[str, int] = {}
    taken: set[int] = set()
    for host in hosts:
        home = homes[host] % count
        if _free(home, taken, blocked):
            found[host] = home
            taken.add(home)
    for host in hosts:
        if host not in found:
            found[host] = _elsewhere(homes[host], count, taken, blocked)
            taken.add(found[host])
    return found


def _elsewhere(number: int, count: int, taken: Collection[int], blocked: Sequence[_Span]) -> int:
    step = (number >> 128) | 1  # odd, and the count is a power of two: the steps lead to every block
    for attempt in range(1, _ATTEMPTS):
        place = (number + attempt * step) % count
        if _free(place, taken, blocked):
            return place
    place = 0  # nearly all are taken: the first one that is not
    while not _free(place, taken, blocked):
        place = next((high for low, high in blocked if low <= place <= high), place) + 1
    return place


def _free(place: int, taken: Collection[int], blocked: Sequence[_Span]) -> bool:
    return place not in taken and not any(low <= place <= high for low, high in blocked)


def _hash(host: str) -> int:
    return int.from_bytes(hashlib.sha256(host.encode()).digest(), "big")
