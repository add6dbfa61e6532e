# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bridge networks as resources of one host's kernel. Pure.

However many networks there are, a packet is looked up in the same few verdict maps, by the devices where it comes in and
goes out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..resources import (
    HOST,
    Address,
    Attrs,
    Link,
    NftChain,
    NftElement,
    NftMap,
    Resource,
    Sysctl,
    canonical,
    mark_of,
)
from ..spec.bridge import Bridge
from .overlay import BRIDGE_ATTRS, FORWARDING

PREFIX = "bridge-"  # of all that is the bridge networks' in the table crosshost
INTO, OUT_OF, WITHIN, STAYING, LEAVING = (
    f"{PREFIX}{word}" for word in ("into", "out-of", "within", "staying", "leaving")
)
FILTERED, CLOSED, OPEN, AS_IT_IS, MASQUERADED = (
    f"{PREFIX}{word}" for word in ("filtered", "closed", "open", "as-it-is", "masqueraded")
)
_SRCNAT, _FILTER = 100, 0
_INWARD: dict[str, Any] = {"meta": {"key": "iifname"}}
_OUTWARD: dict[str, Any] = {"meta": {"key": "oifname"}}


def mark(name: str) -> str:
    """The ifalias of a network's bridge."""
    return mark_of(f"bridge/{name}")


def compile_bridge(network: Bridge) -> Iterator[Resource]:
    """The bridge with its addresses, and forwarding on the host."""
    mac = (b"\x5a" + hashlib.sha256(f"bridge {network.name}".encode()).digest()[:5]).hex(":")
    yield Link(HOST, network.bridge, "bridge", mark(network.name), network.mtu, mac=mac, attrs=BRIDGE_ATTRS)
    for subnet in network.subnets:
        if subnet.gateway:
            yield Address(HOST, network.bridge, subnet.gateway, subnet.prefixlen)
    if not network.internal:
        versions = {subnet.version for subnet in network.subnets}
        for version, name in zip((4, 6), FORWARDING):
            if version in versions:
                yield Sysctl(HOST, name, "1")


def port_flags(network: Bridge) -> Attrs:
    """The flags of each endpoint's port. Without icc, isolated ports reach the bridge but not each other. Otherwise, a
    frame may go back where it came from: a sandbox that uses its own published port, where br_netfilter translates it."""
    return (("hairpin", 1),) if network.icc else (("isolated", 1),)


def compile_rules(networks: Sequence[Bridge]) -> Iterator[Resource]:
    """The part of the table crosshost that all bridge networks of a host share. Nothing when there is none."""
    if not networks:
        return
    yield from _forward(networks)
    yield from _masquerade([one for one in networks if one.ip_masquerade and not one.internal])


def _forward(networks: Sequence[Bridge]) -> Iterator[Resource]:
    """Into a network come answers and what was sent to a published port; in and out of an internal one, nothing. Within a
    network all passes that its ports let through: where br_netfilter is on, bridged frames come this way too."""
    yield _map(WITHIN, "ifname", "ifname")
    yield from (_pair(WITHIN, one, OPEN) for one in networks if one.icc)
    yield _map(OUT_OF, "ifname")
    yield from (_device(OUT_OF, one, CLOSED) for one in networks if one.internal)
    yield _map(INTO, "ifname")
    yield from (_device(INTO, one, CLOSED if one.internal else FILTERED) for one in networks)
    yield _regular(OPEN, [[{"accept": None}]])
    yield _regular(CLOSED, [[{"drop": None}]])
    answers = _match("state", ["established", "related"])
    yield _regular(
        FILTERED,
        [[answers, {"accept": None}], [_match("status", "dnat"), {"accept": None}], [{"drop": None}]],
    )
    rules = [
        _look_up(_INWARD, _OUTWARD, name=WITHIN),
        _look_up(_INWARD, name=OUT_OF),
        _look_up(_OUTWARD, name=INTO),
    ]
    yield NftChain(HOST, "inet", f"{PREFIX}forward", "filter", "forward", _FILTER, _rules(rules))


def _masquerade(networks: Iterable[Bridge]) -> Iterator[Resource]:
    """What leaves a network by another device gets the host's address."""
    chosen = list(networks)
    if not chosen:
        return
    yield _map(STAYING, "ifname", "ifname")
    yield from (_pair(STAYING, one, AS_IT_IS) for one in chosen)
    yield _map(LEAVING, "ifname")
    yield from (_device(LEAVING, one, MASQUERADED) for one in chosen)
    yield _regular(AS_IT_IS, [])
    yield _regular(MASQUERADED, [[{"masquerade": None}]])
    rules = [_look_up(_INWARD, _OUTWARD, name=STAYING), _look_up(_INWARD, name=LEAVING)]
    yield NftChain(HOST, "inet", f"{PREFIX}nat", "nat", "postrouting", _SRCNAT, _rules(rules))


def _map(name: str, *keys: str) -> NftMap:
    return NftMap(HOST, "inet", name, keys)


def _device(name: str, network: Bridge, target: str) -> NftElement:
    return NftElement(HOST, "inet", name, canonical(network.bridge), target)


def _pair(name: str, network: Bridge, target: str) -> NftElement:
    return NftElement(HOST, "inet", name, canonical({"concat": [network.bridge, network.bridge]}), target)


def _regular(name: str, rules: Sequence[list[dict[str, Any]]]) -> NftChain:
    return NftChain(HOST, "inet", name, "", "", 0, _rules(rules))


def _rules(rules: Iterable[list[dict[str, Any]]]) -> tuple[str, ...]:
    return tuple(map(canonical, rules))


def _match(key: str, value: Any) -> dict[str, Any]:
    return {"match": {"op": "in", "left": {"ct": {"key": key}}, "right": value}}


def _look_up(*keys: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [{"vmap": {"key": keys[0] if len(keys) == 1 else {"concat": list(keys)}, "data": f"@{name}"}}]
