# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Published ports of sandboxes as resources of one host's kernel. Pure.

Whoever opens a connection to such a port costs one or two look-ups, however many there are: by address, protocol and port,
then by protocol and port alone, on any address of the host. Each port is a chain of its own, which says where it leads.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, NamedTuple, Optional

from ..errors import SpecError
from ..resources import (
    HOST,
    NftChain,
    NftElement,
    NftMap,
    Resource,
    Sysctl,
    canonical,
)
from ..spec.publish import ANY4, ANY6, CHAIN_PREFIX, Publish, Taken, chain_name, port_of_chain

PREFIX = CHAIN_PREFIX  # of all that is the published ports' in the table crosshost
AT = {4: f"{PREFIX}at4", 6: f"{PREFIX}at6"}
ANY = {4: f"{PREFIX}any4", 6: f"{PREFIX}any6"}
OWN = {4: f"{PREFIX}own4", 6: f"{PREFIX}own6"}
HAIRPIN, BRIDGES, MASQUERADED = f"{PREFIX}hairpin", f"{PREFIX}bridges", f"{PREFIX}masqueraded"
_RAW, _DSTNAT, _SRCNAT = -300, -100, 100
_PROTOCOL: dict[str, Any] = {"meta": {"key": "l4proto"}}
_PORT: dict[str, Any] = {"payload": {"protocol": "th", "field": "dport"}}
_LOCAL = {"match": {"op": "==", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": "local"}}
_FROM_HERE = {
    "match": {"op": "==", "left": {"fib": {"result": "type", "flags": ["saddr"]}}, "right": "local"}
}
_TRANSLATED = {"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}
_NOT_LOOPBACK = {"match": {"op": "!=", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}


class Way(NamedTuple):
    """One family in which a port is reached: the sandbox's address, and the map and key that lead there."""

    family: str
    target: str
    map: str
    key: str


class Published(NamedTuple):
    """A published port with all that is to be known of it: ``bridge`` is the device over which the host reaches the sandbox
    at ``ip`` and ``ip6``, ``owner`` the endpoint's id."""

    host_ip: str
    host_port: int
    protocol: str
    ip: str
    ip6: str
    port: int
    bridge: str
    owner: str

    @property
    def chain(self) -> str:
        return chain_name(self.protocol, self.host_ip, self.host_port)

    @property
    def loopback(self) -> bool:
        """True if it is published at 127.0.0.1 too."""
        return bool(self.ip) and (self.host_ip in ("", ANY4) or self.host_ip.startswith("127."))

    def ways(self) -> Iterator[Way]:
        """The families in which it is reached."""
        for version, family, target, every in ((4, "ip", self.ip, ANY4), (6, "ip6", self.ip6, ANY6)):
            if target and self.host_ip in ("", every):
                yield Way(
                    family, target, ANY[version], canonical({"concat": [self.protocol, self.host_port]})
                )
            elif target and (":" in self.host_ip) == (version == 6):
                key = {"concat": [self.host_ip, self.protocol, self.host_port]}
                yield Way(family, target, AT[version], canonical(key))


def compile_published(ports: Iterable[Published], bridges: Iterable[str] = ()) -> Iterator[Resource]:
    """All published ports of a host. ``bridges``: the devices of the host on which sandboxes may publish; where none does,
    the device goes back to what it is by default."""
    chosen = list(ports)
    used = dict.fromkeys(one.bridge for one in chosen)
    near = {one.bridge for one in chosen if one.loopback}
    for bridge in dict.fromkeys((*bridges, *near)):
        # from 127.0.0.1 to a sandbox, and back
        name = f"net.ipv4.conf.{bridge.replace('.', '/')}.route_localnet"
        yield Sysctl(HOST, name, str(int(bridge in near)))
    if not chosen:
        return
    yield from _base_chains()
    yield NftMap(HOST, "inet", HAIRPIN, ("ifname", "ifname"))
    yield NftMap(HOST, "inet", BRIDGES, ("ifname",))
    for bridge in used:
        pair = canonical({"concat": [bridge, bridge]})
        yield NftElement(HOST, "inet", HAIRPIN, pair, MASQUERADED)
        yield NftElement(HOST, "inet", BRIDGES, canonical(bridge), MASQUERADED)
    for version, address in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        yield NftMap(HOST, "inet", OWN[version], (address, address))
        yield NftMap(HOST, "inet", AT[version], (address, "inet_proto", "inet_service"))
        yield NftMap(HOST, "inet", ANY[version], ("inet_proto", "inet_service"))
    for one in chosen:
        yield _chain(one)
        yield from (NftElement(HOST, "inet", way.map, way.key, one.chain) for way in one.ways())
    ends = {4: dict.fromkeys(one.ip for one in chosen), 6: dict.fromkeys(one.ip6 for one in chosen)}
    for version, addresses in ends.items():
        for address in filter(None, addresses):
            pair = canonical({"concat": [address, address]})
            yield NftElement(HOST, "inet", OWN[version], pair, MASQUERADED)


class Target(NamedTuple):
    """A sandbox whose ports are published, as far as it matters here."""

    owner: str
    publish: tuple[Publish, ...]
    ip: str
    ip6: str
    bridge: str


class Ground(NamedTuple):
    """Where ports are chosen from: ``low`` to ``high`` without the reserved ones, and only where ``free`` (protocol, host
    address, port) says that nobody listens."""

    low: int
    high: int
    reserved: frozenset[int]
    free: Callable[[str, str, int], bool]


def choose(
    targets: Sequence[Target], existing: Iterable[Resource], ground: Callable[[], Ground]
) -> list[Published]:
    """The published ports of these sandboxes, all of a host, each at one port of the host. What is declared stands first; a
    chosen port stays, as the chains that exist tell, as long as it leads to the same place. ``ground`` is asked for when a
    port has to be chosen anew."""
    wishes = [(target, one) for target in targets for one in target.publish]
    taken = Taken()
    for target, one in wishes:
        if one.fixed:
            taken.add(target.owner, one.protocol, one.host_ip, one.first)
    held = _held(existing)
    ports = [one.first if one.fixed else _kept(one, target, held, taken) for target, one in wishes]
    where: Optional[Ground] = None
    for place, (target, one) in enumerate(wishes):
        if not ports[place]:
            where = where or ground()
            ports[place] = _new(one, target, taken, where)
            taken.add(target.owner, one.protocol, one.host_ip, ports[place])
    return [
        Published(
            one.host_ip, port, one.protocol, target.ip, target.ip6, one.port, target.bridge, target.owner
        )
        for port, (target, one) in zip(ports, wishes)
    ]


_Lead = tuple[str, str, str, int]  # protocol, host address, sandbox's address, sandbox's port


def _held(existing: Iterable[Resource]) -> dict[_Lead, list[int]]:
    """The ports of the host that lead to each place now."""
    found: dict[_Lead, list[int]] = {}
    for item in existing:
        at = port_of_chain(item.name) if isinstance(item, NftChain) else None
        if at is None:
            continue
        assert isinstance(item, NftChain)
        for rule in item.rules:
            for statement in json.loads(rule):
                way = statement.get("dnat")
                if way:
                    found.setdefault((at[0], at[1], way["addr"], way["port"]), []).append(at[2])
    return found


def _kept(one: Publish, target: Target, held: dict[_Lead, list[int]], taken: Taken) -> int:
    """The port that it has already, claimed; 0 when it has none that still fits."""
    for address in filter(None, (target.ip, target.ip6)):
        for port in sorted(held.get((one.protocol, one.host_ip, address, one.port), [])):
            fits = not one.first or one.first <= port <= one.last
            if fits and taken.rival(one.protocol, one.host_ip, port) is None:
                taken.add(target.owner, one.protocol, one.host_ip, port)
                return port
    return 0


def _new(one: Publish, target: Target, taken: Taken, ground: Ground) -> int:
    """The first free port of a declared range; else one that follows from the endpoint's name, so that it is the same after
    a reboot, or the next free one after that."""
    for port in _candidates(one, target, ground):
        at = (one.protocol, one.host_ip, port)
        if taken.rival(*at) is None and ground.free(*at):
            return port
    span = f"{one.first} to {one.last}" if one.first else f"{ground.low} to {ground.high}"
    raise SpecError(
        f"endpoint {target.owner}",
        "publish",
        str(one),
        f"no port from {span} is free; give another range, or free one",
    )


def _candidates(one: Publish, target: Target, ground: Ground) -> Iterator[int]:
    if one.first:
        yield from range(one.first, one.last + 1)
        return
    digest = hashlib.sha256(f"{target.owner} {one.protocol} {one.port}".encode()).digest()
    start, many = int.from_bytes(digest[:4], "big"), ground.high - ground.low + 1
    for place in range(many):
        port = ground.low + (start + place) % many
        if port not in ground.reserved:
            yield port


def _chain(one: Published) -> NftChain:
    spoken = {"match": {"op": "==", "left": _PROTOCOL, "right": one.protocol}}
    rules = [
        [spoken, {"dnat": {"addr": way.target, "family": way.family, "port": one.port}}] for way in one.ways()
    ]
    return NftChain(HOST, "inet", one.chain, "", "", 0, tuple(map(canonical, rules)))


def _base_chains() -> Iterator[Resource]:
    look_ups = [*_look_ups(4), *_look_ups(6)]
    link_local = [_is("ip6", "saddr", "fe80::", 10), {"return": None}]
    to_itself = [_is("ip6", "daddr", "::1", 128), {"return": None}]
    # a sender's link-local address means nothing on the bridge, and answers to ::1 never come back
    yield _base("prerouting", "nat", "prerouting", _DSTNAT, [link_local, *look_ups])
    yield _base("output", "nat", "output", _DSTNAT, [link_local, to_itself, *look_ups])
    # what only the host itself could have sent, or would see, comes in by no other device than lo
    loopback = [[_NOT_LOOPBACK, _is("ip", way, "127.0.0.0", 8), {"drop": None}] for way in ("saddr", "daddr")]
    yield _base("raw", "filter", "prerouting", _RAW, loopback)
    # a sandbox that is led back to its own bridge, and the host itself, are answered by way of the host; where br_netfilter
    # turns a frame round on the bridge, no rule sees where it came in, but its addresses
    turned = [_TRANSLATED, _vmap([{"meta": {"key": "iifname"}}, {"meta": {"key": "oifname"}}], HAIRPIN)]
    from_here = [_TRANSLATED, _FROM_HERE, _vmap([{"meta": {"key": "oifname"}}], BRIDGES)]
    yield _base("postrouting", "nat", "postrouting", _SRCNAT, [turned, *map(_to_itself, (4, 6)), from_here])
    yield NftChain(HOST, "inet", MASQUERADED, "", "", 0, (canonical([{"masquerade": None}]),))


def _to_itself(version: int) -> list[dict[str, Any]]:
    family = "ip" if version == 4 else "ip6"
    ends = [{"payload": {"protocol": family, "field": field}} for field in ("saddr", "daddr")]
    return [_TRANSLATED, _vmap(ends, OWN[version])]


def _look_ups(version: int) -> Iterator[list[dict[str, Any]]]:
    family = "ip" if version == 4 else "ip6"
    address = {"payload": {"protocol": family, "field": "daddr"}}
    yield [_vmap([address, _PROTOCOL, _PORT], AT[version])]
    spoken = {"match": {"op": "==", "left": {"meta": {"key": "nfproto"}}, "right": f"ipv{version}"}}
    yield [spoken, _LOCAL, _vmap([_PROTOCOL, _PORT], ANY[version])]


def _base(name: str, kind: str, hook: str, prio: int, rules: Sequence[list[dict[str, Any]]]) -> NftChain:
    return NftChain(HOST, "inet", f"{PREFIX}{name}", kind, hook, prio, tuple(map(canonical, rules)))


def _vmap(keys: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return {"vmap": {"key": keys[0] if len(keys) == 1 else {"concat": keys}, "data": f"@{name}"}}


def _is(family: str, field: str, address: str, length: int) -> dict[str, Any]:
    whole = length == ipaddress.ip_address(address).max_prefixlen
    right: Any = address if whole else {"prefix": {"addr": address, "len": length}}
    left = {"payload": {"protocol": family, "field": field}}
    return {"match": {"op": "==", "left": left, "right": right}}
