# SPDX-License-Identifier: GPL-3.0-or-later
"""Published ports of endpoints: maps by address or for any, and a chain a port. Where the host chose the port, the one counts
that leads to the right place."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .expect import Host, Wanted, sandbox_of
from .read import HOST, Facts
from .settle import End, bridge_device, networks_of
from .tables import Lead, Table, read_table

_ANY = {"0.0.0.0": 4, "::": 6}  # all addresses of a family


class Port(NamedTuple):
    """``host_ip`` "" stands for all addresses of both families; ``low`` 0 for any port of the host."""

    host_ip: str
    low: int
    high: int
    target: int
    protocol: str


def ports_of(end: Mapping[str, Any], network: Mapping[str, Any]) -> Iterator[Port]:
    """What an endpoint publishes, port by port."""
    default = str(network.get("host_ip") or "").replace(
        "0.0.0.0", ""
    )  # as a default, it is all of both families
    for item in end.get("publish") or []:
        address, host, inner, protocol = (
            _long(item) if not isinstance(item, str) or "=" in item else _short(item)
        )
        address = str(ipaddress.ip_address(address.strip("[]"))) if address else default
        first, last = _range(inner)
        low, high = _range(host) if host else (0, 0)
        many = last - first + 1
        for place in range(many):
            apart = many > 1 and low
            start, end_ = (low + place, low + place) if apart else (low, high)
            yield Port(address, start, end_, first + place, protocol.lower() or "tcp")


def _short(text: str) -> tuple[str, str, str, str]:
    rest, _, protocol = text.partition("/")
    head, _, inner = rest.rpartition(":")
    address, _, host = head.rpartition(":")
    return address, host, inner, protocol


def _long(item: Any) -> tuple[str, str, str, str]:
    found = dict(pair.split("=", 1) for pair in item.split(",")) if isinstance(item, str) else item
    return tuple(str(found.get(name) or "") for name in ("host_ip", "published", "target", "protocol"))  # type: ignore[return-value]


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def add_published(
    wanted: Wanted, host: Host, ends: list[End], outs: Mapping[str, Mapping[int, End]], facts: Facts
) -> list[str]:
    """Their part of the host's own namespace. What cannot be found out."""
    networks = networks_of(host)
    there = read_table(facts.spaces[HOST])
    found: list[str] = []
    waiting: list[tuple[Port, dict[int, str]]] = []
    devices: set[str] = set()
    near: set[str] = set()
    pairs: set[str] = set()
    table = wanted.table
    taken: set[tuple[int, str, str]] = set()
    for end in ends:
        network = networks[end["network"]]
        for port in ports_of(end, network):
            out = outs.get(sandbox_of(end), {})
            targets = {version: _target(version, end, network, out, networks, facts) for version in (4, 6)}
            targets = {version: text for version, text in targets.items() if text}
            device = bridge_device(network) if network["kind"] == "bridge" else _gwbridge(out)
            devices.add(device)
            pairs |= set(targets.values())
            if 4 in targets and (port.host_ip in ("", *list(_ANY)[:1]) or port.host_ip.startswith("127.")):
                near.add(device)
            if port.low == port.high != 0:
                _place(table, port, port.low, targets, taken)
            else:
                waiting.append((port, targets))
    if not devices:
        return found
    _bases(table)
    for version in (4, 6):
        address = f"ipv{version}_addr"
        table.map(f"publish-at{version}", f"{address} . inet_proto . inet_service")
        table.map(f"publish-any{version}", "inet_proto . inet_service")
        own = table.map(f"publish-own{version}", f"{address} . {address}")
        own.update({f"{one} . {one}": ("", "masquerade") for one in pairs if (":" in one) == (version == 6)})
    turned, bridges = table.map("publish-hairpin", "ifname . ifname"), table.map("publish-bridges", "ifname")
    for device in devices:
        turned[f"{device} . {device}"] = bridges[device] = ("", "masquerade")
    for device in near:
        wanted.settings[f"net.ipv4.conf.{device.replace('.', '/')}.route_localnet"] = "1"
    for port, targets in waiting:
        number = _chosen(port, targets, there, taken)
        if number:
            _place(table, port, number, targets, taken)
        else:
            found.append(
                f"no port of the host leads to {port.target}/{port.protocol} of {sorted(targets.values())}"
            )
    return found


def _gwbridge(out: Mapping[int, End]) -> str:
    return str(next((one.get("gwbridge") for one in out.values()), None) or "xh_gwbridge")


def _target(
    version: int,
    end: End,
    network: Mapping[str, Any],
    out: Mapping[int, End],
    networks: Mapping[str, Any],
    facts: Facts,
) -> str:
    """Where the host reaches the sandbox: at its own address, or that of its leg."""
    way = out.get(version)
    if way is None:
        return ""
    if network["kind"] == "overlay" and networks[way["network"]]["kind"] == "overlay":
        space = facts.spaces.get(sandbox_of(end))
        legs = [row[1].split("/")[0] for row in (space.addresses if space else ()) if row[0] == "gw0"]
        return next((one for one in legs if (":" in one) == (version == 6)), "")
    mine = way["network"] == end["network"] and way["interface"] == end["interface"]
    return str(ipaddress.ip_address(end["ip" if version == 4 else "ip6"])) if mine else ""


def _keys(port: Port, number: int, targets: Mapping[int, str]) -> dict[str, str]:
    """Map by map, the key that leads to the port."""
    if port.host_ip and port.host_ip not in _ANY:
        version = 6 if ":" in port.host_ip else 4
        return {f"publish-at{version}": f"{port.host_ip} . {port.protocol} . {number}"}
    versions = [_ANY[port.host_ip]] if port.host_ip else list(targets)
    return {f"publish-any{version}": f"{port.protocol} . {number}" for version in versions}


def _lead(port: Port, number: int, targets: Mapping[int, str]) -> Lead:
    versions = [int(name[-1]) for name in _keys(port, number, targets)]
    rules = [
        f"l4proto == {port.protocol} dnat {'ip' if version == 4 else 'ip6'} to {targets.get(version, '?')} port {port.target}"
        for version in versions
    ]
    at = f"{port.host_ip.replace(':', '_')}-" if port.host_ip else ""
    return f"publish-{port.protocol}-{at}{number}", "; ".join(rules)


def _place(table: Table, port: Port, number: int, targets: Mapping[int, str], taken: set[Any]) -> None:
    for name, key in _keys(port, number, targets).items():
        table.maps.setdefault(name, {})[key] = _lead(port, number, targets)
        taken.add((name, key))


def _chosen(port: Port, targets: Mapping[int, str], there: Table, taken: set[Any]) -> int:
    """The lowest port of the host, of those that were left to it, that leads there and is nobody else's; else 0."""
    numbers = set()
    for name in _keys(port, 0, targets):
        for key, (_chain, does) in there.maps.get(name, {}).items():
            number = int(key.rpartition(" ")[2])
            allowed = not port.low or port.low <= number <= port.high
            mine = key == _keys(port, number, targets)[name] and (name, key) not in taken
            if allowed and mine and does == _lead(port, number, targets)[1]:
                numbers.add(number)
    return min(numbers, default=0)


def _bases(table: Table) -> None:
    table.base(
        "filter prerouting -300",
        "iifname != lo ip saddr == 127.0.0.0/8 drop",
        "iifname != lo ip daddr == 127.0.0.0/8 drop",
    )
    look_ups = []
    for version, family in ((4, "ip"), (6, "ip6")):
        look_ups += [
            f"{family} daddr . l4proto . th dport vmap @publish-at{version}",
            f"nfproto == ipv{version} fib daddr type == local l4proto . th dport vmap @publish-any{version}",
        ]
    near = "ip6 saddr == fe80::/10 return"
    table.base("nat prerouting -100", near, *look_ups)
    table.base("nat output -100", near, "ip6 daddr == ::1 return", *look_ups)
    table.base(
        "nat postrouting 100",
        "ct status in dnat iifname . oifname vmap @publish-hairpin",
        "ct status in dnat ip saddr . ip daddr vmap @publish-own4",
        "ct status in dnat ip6 saddr . ip6 daddr vmap @publish-own6",
        "ct status in dnat fib saddr type == local oifname vmap @publish-bridges",
    )
