# SPDX-License-Identifier: GPL-3.0-or-later
"""The ingress network: an overlay of its own, this host's sandbox in it, the tasks' interfaces, and what leads a connection
from the host into the sandbox and on to a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .expect import Host, Wanted, add_endpoint, bridge_blocks, sandbox_of, segments, wanted_network
from .expect_service import draw
from .read import Facts

GATE = "crosshost-ingress"
_LOOK_UP = "l4proto . th dport vmap @ingress-ports"
_TYPES = "inet_proto . inet_service"
_ANSWERS = "ct state in established,related accept"
_FAMILIES = {4: "ip", 6: "ip6"}


def add_ingress(spaces: dict[str, Wanted], host: Host, facts: Facts) -> None:
    """All of it."""
    for item in host.get("ingress") or []:
        network = {"name": "ingress", **item}
        outer = spaces[f"xh-{network['name']}"] = wanted_network(network, host)
        versions = sorted({one["block"].version for one in segments(network)})
        gate = spaces[GATE] = Wanted(
            "crosshost:ingress", leg=network.get("gwbridge") or "xh_gwbridge", gate=True
        )
        for version in versions:
            word = "net.ipv4.ip_forward" if version == 4 else "net.ipv6.conf.all.forwarding"
            gate.settings[word] = "1"
        own = {"ip": network.get("address"), "ip6": network.get("address6"), "name": GATE}
        add_endpoint(outer, gate, {**own, "interface": "eth0"}, network, host)
        _gate_rules(gate, network, versions)
        for leg in network.get("legs") or []:
            inner = spaces.setdefault(sandbox_of(leg), Wanted("", foreign=True))
            add_endpoint(outer, inner, {**leg, "interface": "ingress0"}, network, host)
            _leg_rules(inner, leg, network)
        if network.get("ports"):
            _host_rules(spaces[""], network, versions, host, facts)


def _key(port: Mapping[str, Any], number: Any) -> str:
    return f"{port.get('protocol') or 'tcp'} . {number}"


def _draws(port: Mapping[str, Any], tasks: list[dict[str, Any]], versions: list[int]) -> Iterator[str]:
    for version in versions:
        to = draw(tasks, port.get("affinity"), _FAMILIES[version])
        if to:
            target = port.get("target") or port["published"]
            spoken = f"l4proto == {port.get('protocol') or 'tcp'}"
            yield f"{spoken} dnat {_FAMILIES[version]} to {to} port {target}"


def _gate_rules(gate: Wanted, network: Mapping[str, Any], versions: list[int]) -> None:
    table = gate.table
    elements = table.map("ingress-ports", _TYPES)
    for port in network.get("ports") or []:
        does = "; ".join(_draws(port, port.get("tasks") or [], versions))
        if does:
            elements[_key(port, port["published"])] = ("", does)
    table.base("nat prerouting -100", f"iifname == gw0 {_LOOK_UP}")
    table.base(
        "filter forward 0",
        "tcp flags in syn tcp maxseg size = rt mtu",
        _ANSWERS,
        "iifname == gw0 oifname == eth0 ct status in dnat accept",
        "drop",
    )
    table.base("nat postrouting 100", "oifname == eth0 masquerade")


def _leg_rules(inner: Wanted, leg: Mapping[str, Any], network: Mapping[str, Any]) -> None:
    """Nobody opens a connection to a task by that interface but to a port that leads there."""
    mine = {leg.get("ip"), leg.get("ip6")} - {None, ""}
    elements = inner.table.map("ingress-ports", _TYPES)
    inner.table.spare.add("ingress-pass")
    for port in network.get("ports") or []:
        if any(mine & {task.get("ip"), task.get("ip6")} for task in port.get("tasks") or []):
            elements[_key(port, port.get("target") or port["published"])] = ("", "accept")
    inner.table.base(
        "filter input 0",
        "iifname != ingress0 accept",
        _ANSWERS,
        _LOOK_UP,
        "l4proto == icmp accept",
        "l4proto == ipv6-icmp accept",
        "drop",
    )


def _addresses(space: str, facts: Facts) -> dict[int, str]:
    """Where a sandbox is on the gateway bridge."""
    rows = facts.spaces[space].addresses if space in facts.spaces else set()
    return {6 if ":" in cidr else 4: cidr.split("/")[0] for dev, cidr in rows if dev == "gw0"}


def _host_rules(
    wanted: Wanted, network: Mapping[str, Any], versions: list[int], host: Host, facts: Facts
) -> None:
    table, bridge = wanted.table, network.get("gwbridge") or "xh_gwbridge"
    at = _addresses(GATE, facts)
    enter = "; ".join(f"dnat {_FAMILIES[version]} to {at.get(version, '?')}" for version in versions)
    elements = table.map("ingress-ports", _TYPES)
    table.spare.add("ingress-enter")
    for port in network["ports"]:
        near = []
        for one in (port.get("local") or []) if port.get("keep_client_address") else []:
            there = _addresses(sandbox_of(one), facts)
            near.append({"ip": there.get(4), "ip6": there.get(6), "weight": one.get("weight")})
        straight = list(_draws(port, near, versions))
        turned = f"iifname == {bridge} goto ({enter})"
        elements[_key(port, port["published"])] = ("", "; ".join([turned, *straight]) if straight else enter)
    table.base(
        "filter prerouting -300",
        "iifname != lo ip saddr == 127.0.0.0/8 drop",
        "iifname != lo ip daddr == 127.0.0.0/8 drop",
    )
    apart = ["ip6 daddr == ::1 return", "ip6 saddr == fe80::/10 return"] if 6 in versions else []
    for hook in ("prerouting", "output"):
        table.base(f"nat {hook} -100", *apart, f"fib daddr type == local {_LOOK_UP}")
    into = f"oifname == {bridge} ct status in dnat"
    found = next(one for one in host.get("gwbridges") or [] if (one.get("name") or "xh_gwbridge") == bridge)
    blocks = [f"{_FAMILIES[block.version]} saddr == {block}" for block, _gateway in bridge_blocks(found)]
    senders = ["fib saddr type == local", *blocks]
    table.base("nat postrouting 100", *(f"{into} {sender} masquerade" for sender in senders))
    if 4 in versions:
        wanted.settings[f"net.ipv4.conf.{bridge.replace('.', '/')}.route_localnet"] = "1"
