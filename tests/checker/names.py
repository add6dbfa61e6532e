# SPDX-License-Identifier: GPL-3.0-or-later
"""Names: the rules around a network's name server, what it answers, and the sandboxes' resolv.conf.

A host's ``names`` are the items of the module ``names`` with their defaults filled in by this file.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .expect import Host, Wanted, segment_of, segments
from .read import Facts, Space
from .rules import rule_words


def add_legs(spaces: Mapping[str, Wanted], host: Host) -> None:
    """The networks whose name servers ask others get a way out."""
    bridges = {one.get("name") or "xh_gwbridge" for one in host.get("gwbridges") or []}
    for item, network in _served(host):
        bridge = item.get("gwbridge") or "xh_gwbridge"
        if item.get("forward", not network.get("internal")) and bridge in bridges:
            spaces[f"xh-{network['name']}"].leg = bridge


def compare_names(spaces: Mapping[str, Wanted], host: Host, facts: Facts) -> Iterator[str]:
    for item, network in _served(host):
        name = f"xh-{network['name']}"
        if name in facts.spaces:
            wanted = _chains(host, network, bool(spaces[name].leg))
            found = _words(facts.spaces[name])
            yield from (f"{name}: nft chain {one}: missing" for one in sorted(wanted - found))
            yield from (f"{name}: nft chain {one}: unexpected" for one in sorted(found - wanted))
            yield from (f"{name}: {line}" for line in _unit(name, facts))
            yield from (f"{name}: {line}" for line in _answers(item, network, facts))
    for sandbox, ends in _by_sandbox(host).items():
        names = facts.run(["cat", f"/etc/netns/{sandbox}/resolv.conf"]).splitlines()
        servers = {_gateway(network, end) for end, network in ends}
        if not {f"nameserver {server}" for server in servers} & set(names):
            yield f"{sandbox}: resolv.conf {names}: should name one of {sorted(servers)}"


def serves(host: Host, space: str) -> bool:
    """True for the namespace of a network that has names."""
    return any(space == f"xh-{network['name']}" for _item, network in _served(host))


def _served(host: Host) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    networks = {one["name"]: one for one in host.get("overlay_networks") or []}
    yield from ((item, networks[item["network"]]) for item in host.get("names") or [])


def _gateways(network: Mapping[str, Any]) -> list[str]:
    return [one["gateway"] for one in segments(network) if one["gateway"]]


def _gateway(network: Mapping[str, Any], end: Mapping[str, Any]) -> str:
    addresses = [end[field] for field in ("ip", "ip6") if end.get(field)]
    return next(filter(None, (segment_of(one, segments(network))["gateway"] for one in addresses)), "")


def _by_sandbox(host: Host) -> dict[str, list[tuple[Mapping[str, Any], Mapping[str, Any]]]]:
    """The endpoints of named sandboxes in networks with names."""
    served = {network["name"]: network for _item, network in _served(host)}
    found: dict[str, list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
    for end in host.get("endpoints") or []:
        network = served.get(end["network"])
        if network and end.get("sandbox") and end.get("dns", True) and _gateway(network, end):
            found.setdefault(end["sandbox"], []).append((end, network))
    return found


def _chains(host: Host, network: Mapping[str, Any], leads_out: bool) -> set[str]:
    """Hook and rules of the chains. Ports of the servers of several networks are told by no declaration: P."""
    found = set()
    if leads_out:
        family = {4: "ip", 6: "ip6"}
        gateways = [(family[ipaddress.ip_address(one).version], one) for one in _gateways(network)]
        found.add("input 0: " + "; ".join(f"iifname == gw0 {ip} daddr == {one} drop" for ip, one in gateways))
        found.add("forward 0: iifname == gw0 drop; oifname == gw0 drop")
    return found | _detours(host, network)


def _detours(host: Host, network: Mapping[str, Any]) -> set[str]:
    """The sandboxes of several networks that ask in this one: the first by name of those that lead out, else of all."""
    closed: list[str] = []
    there: list[str] = []
    back: list[str] = []
    for ends in _by_sandbox(host).values():
        networks = {one["name"]: one for _end, one in ends}
        ranks = {one["name"]: -int(end.get("gw_priority") or 0) for end, one in ends}
        first = min(
            networks.values(), key=lambda one: (bool(one.get("internal")), ranks[one["name"]], one["name"])
        )
        if len(networks) < 2 or first["name"] != network["name"]:
            continue
        mine = [end for end, one in ends if one["name"] == network["name"]]
        closed = ["udp dport == P drop", "tcp dport == P drop"]
        for protocol in ("udp", "tcp"):
            for end in mine:
                for ip, address in ((("ip"), end.get("ip")), (("ip6"), end.get("ip6"))):
                    if address:
                        there.append(f"{ip} saddr == {address} {protocol} dport == 53 mangle")
                        back.append(f"{ip} daddr == {address} {protocol} sport == P mangle")
    return (
        {f"prerouting -300: {'; '.join(closed + there)}", f"output -300: {'; '.join(back)}"}
        if there
        else set()
    )


def _words(space: Space) -> set[str]:
    rules: dict[str, list[str]] = {}
    for entry in space.nft:
        if "rule" in entry:
            words = re.sub(r"(?<=port == )\d{5}\b", "P", rule_words(entry["rule"]["expr"]))
            if words not in rules.setdefault(entry["rule"]["chain"], []):
                rules[entry["rule"]["chain"]].append(words)
    chains = [entry["chain"] for entry in space.nft if "chain" in entry]
    return {f"{one.get('hook')} {one.get('prio')}: {'; '.join(rules.get(one['name'], []))}" for one in chains}


def _unit(space: str, facts: Facts) -> Iterator[str]:
    """The name server's unit runs, and in the network's namespace."""
    unit = f"crosshost-dns@{space[len('xh-') :]}.service"
    words = facts.run(["systemctl", "show", "--value", "--property=ActiveState,MainPID", unit]).split()
    state, pid = sorted(words, key=str.isdigit)
    if state != "active" or pid == "0":
        yield f"unit {unit}: it is {state}"
    elif facts.node(f"pid:{pid}") != facts.node(space):
        yield f"unit {unit}: process {pid} is in another namespace"


def _answers(item: Mapping[str, Any], network: Mapping[str, Any], facts: Facts) -> Iterator[str]:
    """Every name, asked of every gateway."""
    wanted: dict[str, set[str]] = {}
    for one in [*(item.get("records") or []), *(item.get("services") or [])]:
        for name in (one["name"], *(one.get("aliases") or ())):
            _add(wanted, name, network, one.get("addresses") or ())
            _add(wanted, f"tasks.{name}", network, one.get("tasks") or ())
    questions = [word for name in wanted for kind in ("A", "AAAA") for word in (name, kind)]
    for gateway in _gateways(network) if questions else []:
        enter = ["nsenter", f"--net=/run/netns/xh-{network['name']}"]
        asked = [*enter, "dig", "+noall", "+answer", "+time=2", "+tries=1", f"@{gateway}", *questions]
        found: dict[str, set[str]] = {name: set() for name in wanted}
        try:
            said = facts.run(asked)
        except RuntimeError:
            yield f"{gateway} says nothing"
            continue
        for row in map(str.split, said.splitlines()):
            found.setdefault(row[0].rstrip(".").lower(), set()).add(row[4])
        for name, addresses in wanted.items():
            if found[name] != addresses:
                yield f"{gateway} says that {name} is {sorted(found[name])}, should be {sorted(addresses)}"


def _add(wanted: dict[str, set[str]], name: str, network: Mapping[str, Any], addresses: Any) -> None:
    for text in (name.lower(), f"{name}.{network['name']}".lower()):
        if addresses:
            wanted.setdefault(text, set()).update(str(ipaddress.ip_address(one)) for one in addresses)
