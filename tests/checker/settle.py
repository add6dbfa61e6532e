# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host chose for its endpoints where the declarations leave it to the host, read from the host and held against what
it may choose: addresses, names of interfaces. And who gives a sandbox its way out, which the declarations alone say."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from .expect import Host, bridge_blocks, gateway_of, sandbox_of
from .read import Facts

End = dict[str, Any]
_KINDS = {"overlay": "overlay_networks", "bridge": "bridge_networks", "macvlan": "macvlan_networks"}
_FIELDS = {4: "ip", 6: "ip6"}


def networks_of(host: Host) -> dict[str, dict[str, Any]]:
    """All networks by name, each with its ``kind`` and its ``blocks``, (block, gateway) pairs."""
    found = {}
    for kind, option in _KINDS.items():
        for item in host.get(option) or []:
            blocks = []
            for subnet in item["subnets"]:
                block = ipaddress.ip_network(subnet["subnet"])
                silent = kind == "macvlan" and not subnet.get("gateway")
                blocks.append((block, "" if silent else gateway_of(subnet, block)))
            found[item["name"]] = {**item, "kind": kind, "blocks": blocks}
    return found


def mode_of(end: Mapping[str, Any]) -> str:
    """host, none or container:<other>; "" for an endpoint of a network."""
    name = str(end["network"])
    return name if name in ("host", "none") or name.startswith("container:") else ""


def bridge_device(network: Mapping[str, Any]) -> str:
    """The device of a bridge network."""
    text = f"xb-{network['name']}"
    digest = hashlib.sha256(network["name"].encode()).hexdigest()[:12]
    return str(network.get("bridge") or (text if len(text) <= 15 else f"xb-{digest}"))


def name_of(end: Mapping[str, Any]) -> str:
    return str(end.get("name") or end.get("sandbox") or f"pid-{end['pid']}")


def own_block(network: Mapping[str, Any], text: str) -> tuple[Any, str]:
    """The subnet with this address, and its gateway."""
    address = ipaddress.ip_address(text)
    same = (one for one in network["blocks"] if one[0].version == address.version)
    block, gateway = next(one for one in same if address in one[0])
    return block, str(gateway)


def settle(host: Host, facts: Facts) -> tuple[list[End], list[str]]:
    """The endpoints of networks with their interfaces and addresses, and what is wrong with those that the host chose."""
    networks = networks_of(host)
    ends = [dict(end) for end in host.get("endpoints") or [] if not mode_of(end)]
    used: dict[str, set[str]] = {}
    for end in ends:
        used.setdefault(sandbox_of(end), set()).add(end.get("interface") or "")
    found: list[str] = []
    for end in ends:
        place = sandbox_of(end)
        free = (f"eth{n}" for n in range(1000) if f"eth{n}" not in used[place])
        end["interface"] = end.get("interface") or next(free)
        used[place].add(end["interface"])
    for end in ends:
        others = {other.get(name) for other in ends if other is not end for name in ("ip", "ip6")}
        network = networks[end["network"]]
        for version in _chosen(end, network):
            blocks = _ranges(network, version)
            text, wrong = _address(end, network, blocks, facts, others)
            found += [f"{sandbox_of(end)}: link {end['interface']}: {line}" for line in wrong]
            if text:
                end[_FIELDS[version]] = text
    return [end for end in ends if end.get("ip") or end.get("ip6")], found


def _chosen(end: End, network: Mapping[str, Any]) -> list[int]:
    """The families in which the host chooses the address."""
    if network["kind"] == "overlay" or (network["kind"] == "macvlan" and (end.get("ip") or end.get("ip6"))):
        return []
    return [version for version in (4, 6) if not end.get(_FIELDS[version]) and _ranges(network, version)]


def _ranges(network: Mapping[str, Any], version: int) -> list[Any]:
    own = [ipaddress.ip_network(text) for text in network.get("host_range") or []]
    mine = [block for block in own if block.version == version]
    some = [one.get("ip_range") or one["subnet"] for one in network["subnets"] if _hands_out(network, one)]
    return mine or [block for block in map(ipaddress.ip_network, some) if block.version == version]


def _hands_out(network: Mapping[str, Any], subnet: Mapping[str, Any]) -> bool:
    return bool(subnet.get("ip_range")) or network["kind"] == "bridge"


def _address(
    end: End, network: Mapping[str, Any], blocks: list[Any], facts: Facts, others: set[Any]
) -> tuple[str, list[str]]:
    """The address that the endpoint's interface has, and what is wrong with it."""
    space = facts.spaces.get(sandbox_of(end))
    rows = space.addresses if space else set()
    there = [row[1].split("/")[0] for row in rows if row[0] == end["interface"]]
    mine = sorted(one for one in there if any(ipaddress.ip_address(one) in block for block in blocks))
    where = ", ".join(map(str, blocks))
    if len(mine) != 1:
        return "", [f"addresses {sorted(there)}: exactly one of {where} is needed"]
    reserved = {gateway for _block, gateway in network["blocks"]}
    reserved |= {
        text for subnet in network["subnets"] for text in (subnet.get("aux_addresses") or {}).values()
    }
    reserved |= {network.get("shim"), network.get("shim6")}
    block, _gateway = own_block(network, mine[0])
    reserved |= {str(block.network_address)} | (
        {str(block.broadcast_address)} if block.version == 4 else set()
    )
    if mine[0] in reserved:
        return mine[0], [f"address {mine[0]} is reserved"]
    return mine[0], [f"address {mine[0]} is another endpoint's too"] if mine[0] in others else []


def ways_out(host: Host, ends: list[End]) -> dict[str, dict[int, End]]:
    """Sandbox by sandbox, the endpoints over whose networks IPv4 and IPv6 leave."""
    networks = networks_of(host)
    found: dict[str, dict[int, End]] = {}
    for version in (4, 6):
        able: dict[str, list[End]] = {}
        for end in ends:
            if version in _families(host, networks[end["network"]], end):
                able.setdefault(sandbox_of(end), []).append(end)
        for place, some in able.items():
            found.setdefault(place, {})[version] = min(
                some, key=lambda end: _rank(host, networks[end["network"]], end)
            )
    return found


def _rank(host: Host, network: Mapping[str, Any], end: End) -> tuple[Any, ...]:
    single = len(_families(host, network, end)) < 2
    return (
        -int(end.get("gw_priority") or 0),
        network["kind"] == "overlay",
        single,
        end["network"],
        name_of(end),
    )


def _families(host: Host, network: Mapping[str, Any], end: End) -> set[int]:
    if not end.get("default_route", True) or network.get("internal"):
        return set()
    if network["kind"] == "overlay":
        name = end.get("gwbridge") or "xh_gwbridge"
        bridges = [one for one in host.get("gwbridges") or [] if (one.get("name") or "xh_gwbridge") == name]
        return {block.version for one in bridges for block, _gateway in bridge_blocks(one)} or {4, 6}
    found = [own_block(network, end[name]) for name in ("ip", "ip6") if end.get(name)]
    return {block.version for block, gateway in found if gateway or routed(network)}


def routed(network: Mapping[str, Any]) -> bool:
    """True where the host routes for its sandboxes, without a gateway."""
    return (
        network.get("driver") == "ipvlan"
        and network.get("mode") in ("l3", "l3s")
        and bool(network.get("parent"))
    )


def wrong_modes(host: Host, facts: Facts) -> Iterator[str]:
    """Sandboxes that are not in the namespace that they are to share."""
    for end in host.get("endpoints") or []:
        mode, place = mode_of(end), sandbox_of(end)
        if not mode:
            continue
        at = facts.node(place)
        if not at:
            if mode != "none":
                yield f"namespace {place}: missing"
        elif mode == "none":
            if at == facts.node(""):
                yield f"namespace {place}: it is the host's, should be one of its own"
        elif at != facts.node("" if mode == "host" else mode.partition(":")[2]):
            yield f"namespace {place}: it is not that of {mode}"


def shared_names(host: Host) -> set[str]:
    """Names of namespaces that are others' too."""
    return {sandbox_of(end) for end in host.get("endpoints") or [] if mode_of(end) not in ("", "none")}
