# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ingress network as resources of one host's kernel. Pure.

A connection to a published port of the host is led into the sandbox, and from there to a task on any host, in the sandbox's
own name: answers come back the same way. Each of the two costs one look-up, however many ports there are. Whatever changes,
the connections that there are go on, as only the first packet of one comes to these chains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..resources import HOST, Netns, NftChain, NftElement, NftMap, Resource, Sysctl, canonical, mark_of
from ..spec import fields
from ..spec.endpoint import GATEWAY_INTERFACE, Endpoint
from ..spec.gwbridge import Gwbridge
from ..spec.ingress import SANDBOX, Ingress, Port
from ..spec.service import Task
from .endpoint import Place, compile_endpoint
from .overlay import FORWARDING
from .service import target

MARK = mark_of("ingress")
PREFIX = "ingress-"
PORTS = f"{PREFIX}ports"
_ENTER, _PASS = f"{PREFIX}enter", f"{PREFIX}pass"
OVERLAY_INTERFACE, TASK_INTERFACE = "eth0", "ingress0"
_RAW, _DSTNAT, _FILTER, _SRCNAT = -300, -100, 0, 100
_FAMILIES = {4: "ip", 6: "ip6"}
_LOOK_UP = [{"meta": {"key": "l4proto"}}, {"payload": {"protocol": "th", "field": "dport"}}]
_TRANSLATED: dict[str, Any] = {"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}
_ANSWERS: dict[str, Any] = {
    "match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}
}
_ACCEPT: dict[str, Any] = {"accept": None}
_DROP: dict[str, Any] = {"drop": None}
_MASQUERADE: dict[str, Any] = {"masquerade": None}
Rules = Sequence[Sequence[Mapping[str, Any]]]


class Gate(NamedTuple):
    """Where the sandbox is on the gateway bridge; ``ip`` or ``ip6`` is "" where the bridge has no subnet of that family."""

    bridge: Gwbridge
    ip: str
    ip6: str


def setting_of(bridge: str) -> str:
    """The setting by which the host reaches sandboxes on a bridge from 127.0.0.1."""
    return f"net.ipv4.conf.{bridge.replace('.', '/')}.route_localnet"


def compile_sandbox(ingress: Ingress, mtu: int, bridge_mac: str) -> Iterator[Resource]:
    """The namespace in which connections are handed on, and its interface in the network."""
    yield Netns(SANDBOX, MARK)
    for version, name in zip((4, 6), FORWARDING):
        if version in ingress.versions:
            yield Sysctl(SANDBOX, name, "1")
    end = _endpoint(ingress, SANDBOX, ingress.address, ingress.address6)
    place = Place(SANDBOX, OVERLAY_INTERFACE, mtu, bridge_mac)
    yield from compile_endpoint(end, ingress.network, place)
    yield from _routing(ingress)


def compile_tasks(
    ingress: Ingress, spaces: Mapping[str, str], mtu: int, bridge_mac: str
) -> Iterator[Resource]:
    """The tasks' interfaces in the network; ``spaces`` has the namespace of each leg by its name."""
    led: dict[str, set[tuple[str, int]]] = {}
    for port in ingress.ports:
        for task in port.tasks:
            for text in (task.ip, task.ip6):
                led.setdefault(text, set()).add((port.protocol, port.target))
    for leg in ingress.legs:
        netns = spaces[leg.name]
        end = _endpoint(ingress, leg.name, leg.ip, leg.ip6)
        yield from compile_endpoint(end, ingress.network, Place(netns, TASK_INTERFACE, mtu, bridge_mac))
        opened = {one for text in (leg.ip, leg.ip6) if text for one in led.get(text, ())}
        yield from _shelter(netns, sorted(opened))


def _shelter(netns: str, opened: Iterable[tuple[str, int]]) -> Iterator[Resource]:
    """Nothing opens a connection to a task by its interface but to a port that leads there: in this network services have
    nothing else to do with each other."""
    yield NftMap(netns, "inet", PORTS, ("inet_proto", "inet_service"))
    yield _regular(netns, _PASS, [[_ACCEPT]])
    for protocol, port in opened:
        yield NftElement(netns, "inet", PORTS, key_of(protocol, port), _PASS)
    rules = [
        [_meta("iifname", TASK_INTERFACE, "!="), _ACCEPT],
        [_ANSWERS, _ACCEPT],
        [_verdict()],
        [_meta("l4proto", "icmp"), _ACCEPT],
        [_meta("l4proto", "ipv6-icmp"), _ACCEPT],
        [_DROP],
    ]
    yield _base(netns, "input", "filter", "input", _FILTER, rules)


def compile_host(ingress: Ingress, gate: Gate, local: Mapping[str, Sequence[Task]]) -> Iterator[Resource]:
    """What leads the host's published ports into the sandbox; or, where ``local`` has tasks of this host for a port (its
    ``id``, with the tasks' addresses on the gateway bridge), straight to them, so that they see the client's address."""
    if not ingress.ports:
        return
    if 4 in ingress.versions:
        yield Sysctl(HOST, setting_of(ingress.gwbridge), "1")
    yield NftMap(HOST, "inet", PORTS, ("inet_proto", "inet_service"))
    yield _regular(HOST, _ENTER, _to(ingress, gate))
    for port in ingress.ports:
        near = [task for task in local.get(port.id, ()) if task.weight]
        if near:
            # who comes from the bridge itself would be answered by way of the host all the same
            turned = [_meta("iifname", ingress.gwbridge), {"goto": {"target": _ENTER}}]
            yield _regular(HOST, _chain(port), [turned, *_translations(ingress, port, near)])
        yield NftElement(
            HOST, "inet", PORTS, key_of(port.protocol, port.published), _chain(port) if near else _ENTER
        )
    look_up = [_fib("daddr"), _verdict()]
    apart = _apart() if 6 in ingress.versions else []
    # what only the host itself could have sent, or would see, comes in by no other device than lo
    loopback = [
        [_meta("iifname", "lo", "!="), _from("ip", "127.0.0.0/8", way), _DROP] for way in ("saddr", "daddr")
    ]
    yield _base(HOST, "raw", "filter", "prerouting", _RAW, loopback)
    yield _base(HOST, "prerouting", "nat", "prerouting", _DSTNAT, [*apart, look_up])
    yield _base(HOST, "output", "nat", "output", _DSTNAT, [*apart, look_up])
    # the host itself, and who is led back to the bridge from which it came, are answered by way of the host
    into = [_meta("oifname", ingress.gwbridge), _TRANSLATED]
    senders = [_fib("saddr"), *(_from(_FAMILIES[one.version], one.cidr) for one in gate.bridge.subnets)]
    back = [[*into, sender, _MASQUERADE] for sender in senders]
    yield _base(HOST, "postrouting", "nat", "postrouting", _SRCNAT, back)


def _routing(ingress: Ingress) -> Iterator[Resource]:
    """The sandbox hands on what is meant for a task, and nothing else. For a port without tasks there is no way: the sandbox
    itself has nobody who listens, and refuses the connection at once."""
    yield NftMap(SANDBOX, "inet", PORTS, ("inet_proto", "inet_service"))
    for port in ingress.ports:
        rules = _translations(ingress, port, port.tasks)
        if rules:
            yield _regular(SANDBOX, _chain(port), rules)
            yield NftElement(SANDBOX, "inet", PORTS, key_of(port.protocol, port.published), _chain(port))
    entered = _meta("iifname", GATEWAY_INTERFACE)
    yield _base(SANDBOX, "prerouting", "nat", "prerouting", _DSTNAT, [[entered, _verdict()]])
    # the client's MTU is that of the outside: it is told at once of the smaller one on the way
    narrow: list[dict[str, Any]] = [
        {"match": {"op": "in", "left": {"payload": {"protocol": "tcp", "field": "flags"}}, "right": "syn"}},
        {
            "mangle": {
                "key": {"tcp option": {"name": "maxseg", "field": "size"}},
                "value": {"rt": {"key": "mtu"}},
            }
        },
    ]
    through = [entered, _meta("oifname", OVERLAY_INTERFACE), _TRANSLATED, _ACCEPT]
    rules = [narrow, [_ANSWERS, _ACCEPT], through, [_DROP]]
    yield _base(SANDBOX, "forward", "filter", "forward", _FILTER, rules)
    out = [[_meta("oifname", OVERLAY_INTERFACE), _MASQUERADE]]
    yield _base(SANDBOX, "postrouting", "nat", "postrouting", _SRCNAT, out)


def _endpoint(ingress: Ingress, name: str, ip: str, ip6: str) -> Endpoint:
    vni = ingress.network.subnets[0].vni
    return Endpoint(name, ingress.name, "", 0, "", False, ip, ip6, fields.mac_of(ip or ip6), vni=vni)


def _translations(ingress: Ingress, port: Port, tasks: Iterable[Task]) -> list[list[dict[str, Any]]]:
    """The rules that draw a task for a new connection, one a family that has any."""
    chosen = list(tasks)
    rules = []
    for version in ingress.versions:
        family = _FAMILIES[version]
        address = target(chosen, port.affinity, family)
        if address is not None:
            spoken = _meta("l4proto", port.protocol)
            rules.append([spoken, {"dnat": {"family": family, "addr": address, "port": port.target}}])
    return rules


def _to(ingress: Ingress, gate: Gate) -> Rules:
    addresses = {4: gate.ip, 6: gate.ip6}
    return [
        [{"dnat": {"family": _FAMILIES[version], "addr": addresses[version]}}] for version in ingress.versions
    ]


def _apart() -> Rules:
    """IPv6 that cannot be led anywhere: answers to ::1 come back by lo alone, and a link-local address means nothing on
    another link."""
    return [[_from("ip6", "::1", "daddr"), {"return": None}], [_from("ip6", "fe80::/10"), {"return": None}]]


def _chain(port: Port) -> str:
    return f"{PREFIX}{port.protocol}-{port.published}"


def key_of(protocol: str, port: int) -> str:
    return canonical({"concat": [protocol, port]})


def _verdict() -> dict[str, Any]:
    return {"vmap": {"key": {"concat": _LOOK_UP}, "data": f"@{PORTS}"}}


def _meta(word: str, value: str, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"meta": {"key": word}}, "right": value}}


def _fib(flag: str) -> dict[str, Any]:
    """The packet comes from, or goes to, an address of the host's own."""
    return {"match": {"op": "==", "left": {"fib": {"result": "type", "flags": [flag]}}, "right": "local"}}


def _from(family: str, block: str, field: str = "saddr") -> dict[str, Any]:
    address, _, length = block.partition("/")
    right: Any = {"prefix": {"addr": address, "len": int(length)}} if length else address
    left = {"payload": {"protocol": family, "field": field}}
    return {"match": {"op": "==", "left": left, "right": right}}


def _base(netns: str, name: str, kind: str, hook: str, prio: int, rules: Rules) -> NftChain:
    return NftChain(netns, "inet", PREFIX + name, kind, hook, prio, tuple(map(canonical, rules)))


def _regular(netns: str, name: str, rules: Rules) -> NftChain:
    return NftChain(netns, "inet", name, "", "", 0, tuple(map(canonical, rules)))
