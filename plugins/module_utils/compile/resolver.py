# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the sandboxes of one host come to their names: resolv.conf, and the rules around the name servers. Pure.

A sandbox asks the gateway of its network. One that is in several networks has a name server that knows them all; it shares
the first network's namespace and gateway address with that network's own, on a port of its own. Rules without state lead the
sandbox's packets there and back, since resolv.conf knows no ports and tracking each look-up would cost more than answering it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Optional

from ..resources import NftChain, canonical, netns_name
from ..spec.endpoint import GATEWAY_INTERFACE
from .names import PORT, instance_name

MARK = "# crosshost: "
_OWNER = "# written by "
_KEPT = "#| "
_NOTE = "# names of these networks; what follows was here before, and comes back when the endpoints leave\n"
INPUT, FORWARD, RAW, OUTPUT = "names-input", "names-forward", "names-raw", "names-output"
_FILTER, _RAW_PRIO = 0, -300
_FIRST_PORT, _PORTS = 10000, 20000  # below the ports from which a name server asks others, as Linux has them


class Sandbox(NamedTuple):
    """A sandbox and its networks that have names, the one that it asks first. ``addresses`` are its own in that network,
    ``server`` is the network's gateway."""

    place: str
    networks: tuple[str, ...]
    server: str
    addresses: tuple[str, ...]


def resolv_conf(networks: Sequence[str], server: str, former: Optional[str] = None, owner: str = "") -> str:
    """The file for a sandbox. ``former`` is what was in it, if there was one; the domains that it searched it goes on to
    search. ``owner`` tells the host apart from a machine that runs inside of it, whose processes it sees as well."""
    text = f"{MARK}{' '.join(networks)}\n"
    text += f"{_OWNER}{owner}\n" if owner else ""
    if former is not None:
        lines = former.split("\n")
        text += _NOTE + "".join(f"{_KEPT}{line}\n" for line in lines)
        text += "".join(f"{line}\n" for line in lines if line.split()[:1] in (["search"], ["domain"]))
    return f"{text}nameserver {server}\noptions ndots:0\n"


def is_ours(text: str) -> bool:
    return text.startswith(MARK)


def owner_of(text: str) -> str:
    """Who wrote a file that is ours; "" where it does not say."""
    second = text.split("\n", 2)[1:2]
    return second[0][len(_OWNER) :] if second and second[0].startswith(_OWNER) else ""


def former(text: str) -> Optional[str]:
    """What was in the file before it became ours, None if there was no file; all of it if it is not ours."""
    if not is_ours(text):
        return text
    kept = [line[len(_KEPT) :] for line in text.split("\n") if line.startswith(_KEPT)]
    return "\n".join(kept) if kept else None


def shared(sandboxes: Iterable[Sandbox]) -> dict[str, list[Sandbox]]:
    """The sandboxes that are in several networks, by the server that knows these networks."""
    found: dict[str, list[Sandbox]] = {}
    for one in sandboxes:
        if len(one.networks) > 1:
            found.setdefault(instance_name(one.networks), []).append(one)
    return found


def ports(instances: Iterable[str]) -> dict[str, int]:
    """A port for each of these servers. They stay as they are when others come and go, but for a rare collision."""
    found: dict[str, int] = {}
    for instance in sorted(instances):
        offset = int.from_bytes(hashlib.sha256(instance.encode()).digest()[:4], "big") % _PORTS
        while _FIRST_PORT + offset in found.values():
            offset = (offset + 1) % _PORTS
        found[instance] = _FIRST_PORT + offset
    return found


def way_out(network: str, gateways: Sequence[str]) -> Iterator[NftChain]:
    """A network's leg to the gateway bridge is for its name server alone: no sandbox leaves by it, and nobody who is on
    that bridge asks the name server."""
    netns = netns_name(network)
    rules = [[_meta("iifname"), _match(*_of(address, "daddr")), _DROP] for address in gateways]
    yield _chain(netns, INPUT, "input", _FILTER, rules)
    rules = [[_meta("iifname"), _DROP], [_meta("oifname"), _DROP]]
    yield _chain(netns, FORWARD, "forward", _FILTER, rules)


def detours(network: str, sandboxes: Iterable[tuple[Sandbox, int]]) -> Iterator[NftChain]:
    """The way of the sandboxes of several networks to the port of their own server; nobody else comes to that port."""
    netns = netns_name(network)
    closed: list[list[dict[str, Any]]] = []
    there: list[list[dict[str, Any]]] = []
    back: list[list[dict[str, Any]]] = []
    known = set()
    for one, port in sandboxes:
        for protocol in ("udp", "tcp"):
            if port not in known:
                closed.append([_match(protocol, "dport", port), _DROP])
            for address in one.addresses:
                asks = [_match(*_of(address, "saddr")), _match(protocol, "dport", PORT)]
                there.append([*asks, _set(protocol, "dport", port)])
                is_told = [_match(*_of(address, "daddr")), _match(protocol, "sport", port)]
                back.append([*is_told, _set(protocol, "sport", PORT)])
        known.add(port)
    if there:
        yield _chain(netns, RAW, "prerouting", _RAW_PRIO, closed + there)
        yield _chain(netns, OUTPUT, "output", _RAW_PRIO, back)


_DROP: dict[str, Any] = {"drop": None}


def _chain(netns: str, name: str, hook: str, prio: int, rules: list[list[dict[str, Any]]]) -> NftChain:
    return NftChain(netns, "inet", name, "filter", hook, prio, tuple(map(canonical, rules)))


def _meta(key: str) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": GATEWAY_INTERFACE}}


def _match(protocol: str, field: str, value: object) -> dict[str, Any]:
    left = {"payload": {"protocol": protocol, "field": field}}
    return {"match": {"op": "==", "left": left, "right": value}}


def _of(address: str, field: str) -> tuple[str, str, str]:
    return ("ip6" if ":" in address else "ip", field, address)


def _set(protocol: str, field: str, port: int) -> dict[str, Any]:
    return {"mangle": {"key": {"payload": {"protocol": protocol, "field": field}}, "value": port}}
