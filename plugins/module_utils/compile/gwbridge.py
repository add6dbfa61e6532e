# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway bridge as resources of the host's kernel. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from ..resources import HOST, Address, Attrs, Link, NftChain, Resource, Sysctl, canonical, mark_of
from ..spec.gwbridge import Gwbridge
from ..spec.subnets import Subnet
from .overlay import BRIDGE_ATTRS

MARK = mark_of("gwbridge")
GATE = "xh-:ingress"  # the ingress network's place on a bridge; no network's name has a colon
_SRCNAT, _FILTER = 100, 0


def compile_gwbridge(bridge: Gwbridge) -> Iterator[Resource]:
    """The bridge, its addresses, forwarding on the host, and its chains of the table crosshost."""
    mac = (b"\x5a" + hashlib.sha256(bridge.name.encode()).digest()[:5]).hex(":")
    yield Link(HOST, bridge.name, "bridge", MARK, bridge.mtu, mac=mac, attrs=BRIDGE_ATTRS)
    for subnet in bridge.subnets:
        yield Address(HOST, bridge.name, subnet.gateway, subnet.prefixlen)
    yield from settings(bridge)
    yield from chains(bridge)


def settings(bridge: Gwbridge) -> Iterator[Sysctl]:
    """The host has to forward for its sandboxes."""
    versions = {subnet.version for subnet in bridge.subnets}
    if 4 in versions:
        yield Sysctl(HOST, "net.ipv4.ip_forward", "1")
    if 6 in versions:
        yield Sysctl(HOST, "net.ipv6.conf.all.forwarding", "1")


def chain_names(name: str) -> tuple[tuple[str, str], ...]:
    """(family, chain) of all that a bridge of this name may have."""
    return (("inet", f"{name}-nat"), ("inet", f"{name}-forward"))


def chains(bridge: Gwbridge) -> Iterator[NftChain]:
    """Masquerade; no new connection from outside to a sandbox but those to published ports; with icc off, none between sandboxes by way of the
    gateway's address either (on the bridge itself, isolated ports see to that)."""
    (_inet, nat), (_same, forward) = chain_names(bridge.name)
    into, out_of = _meta("oifname", "==", bridge.name), _meta("iifname", "==", bridge.name)
    if bridge.ip_masquerade:
        rules = [
            [_from(one), _meta("oifname", "!=", bridge.name), {"masquerade": None}] for one in bridge.subnets
        ]
        yield NftChain(HOST, "inet", nat, "nat", "postrouting", _SRCNAT, tuple(map(canonical, rules)))
    answers = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
    published = {"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}
    passing: list[list[Any]] = [[into, answers, {"accept": None}], [into, published, {"accept": None}]]
    if bridge.icc:
        passing.append([out_of, into, {"accept": None}])
    passing.append([into, {"drop": None}])
    yield NftChain(HOST, "inet", forward, "filter", "forward", _FILTER, tuple(map(canonical, passing)))


def port_flags(bridge: Gwbridge, place: str) -> Attrs:
    """The flags of a place's port: isolated ports reach the bridge but not each other. A flag of the port holds
    whatever happens to the nft ruleset, and needs neither br_netfilter nor the bridge family's meta expressions. Hairpin as
    in a bridge network. To the published ports of the ingress network all have a way: with br_netfilter, what is led back to
    the bridge from which it came is not routed, but bridged."""
    if bridge.icc:
        return (("hairpin", 1),)
    return () if place == GATE else (("isolated", 1),)


def _meta(word: str, op: str, value: str) -> dict[str, Any]:
    return {"match": {"op": op, "left": {"meta": {"key": word}}, "right": value}}


def _from(subnet: Subnet) -> dict[str, Any]:
    network, length = subnet.cidr.split("/")
    left = {"payload": {"protocol": "ip" if subnet.version == 4 else "ip6", "field": "saddr"}}
    return {"match": {"op": "==", "left": left, "right": {"prefix": {"addr": network, "len": int(length)}}}}
