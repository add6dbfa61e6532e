# SPDX-License-Identifier: GPL-3.0-or-later
"""From a host's declarations to what its namespaces have to hold.

A host is a mapping: ``vtep``, ``underlay`` (device), ``underlay_mtu``, and the modules' config lists
``overlay_networks`` (with their defaults filled in), ``gwbridges``, ``bridge_networks``, ``macvlan_networks``,
``endpoints``, ``services``, ``names`` and ``ingress``. The other files of this folder have a kind each.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .tables import Table

ZERO_MAC = "00:00:00:00:00:00"
SANDBOX = "crosshost:sandbox"
Host = Mapping[str, Any]


@dataclass
class Wanted:
    """What one namespace has to hold. ``links`` map a device's name (or ``@alias`` where only the alias is declared) to
    the attributes that it must have; a neighbour's MAC may be that of a device, ``@namespace/device``; ``legs`` are sandboxes' ways out, whose addresses are handed out on the host."""

    mark: str
    links: dict[str, dict[str, Any]] = field(default_factory=dict)
    addresses: set[tuple[str, str]] = field(default_factory=set)
    routes: set[tuple[str, str, str]] = field(default_factory=set)
    neighbours: set[tuple[str, str, str]] = field(default_factory=set)
    rows: set[tuple[str, str, str]] = field(default_factory=set)
    port_rows: set[tuple[str, str]] = field(default_factory=set)
    learns: set[str] = field(default_factory=set)
    settings: dict[str, str] = field(default_factory=dict)
    table: Table = field(default_factory=Table)
    leg: str = ""  # the gateway bridge
    routed: tuple[int, ...] = (4, 6)  # the families that leave by it
    gate: bool = False  # isolated from no other port of that bridge
    foreign: bool = False  # a sandbox that somebody else made: only our part of it is compared


def overlay_mtu(network: Mapping[str, Any], host: Host) -> int:
    """The MTU inside: as declared, or what the narrowest underlay leaves."""
    if network.get("mtu"):
        return int(network["mtu"])
    widths = [int(host.get("underlay_mtu", 1500))]
    widths += [int(peer["mtu"]) for peer in network.get("peers") or [] if peer.get("mtu")]
    return min(widths) - (70 if ":" in vtep_of(network, host) else 50)


def vtep_of(network: Mapping[str, Any], host: Host) -> str:
    return str(network.get("data_path_address") or host["vtep"])


def segments(network: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The subnets, each with its VNI and gateway: an IPv6 one without VNI joins the first IPv4 one that has none yet."""
    found = []
    for item in network["subnets"]:
        block = ipaddress.ip_network(item["subnet"])
        found.append({"block": block, "vni": item.get("vni"), "gateway": gateway_of(item, block)})
    for one in found:
        if one["vni"] is None:
            taken = {other["vni"] for other in found if other["block"].version == 6}
            four = [other["vni"] for other in found if other["block"].version == 4]
            one["vni"] = next(vni for vni in four if vni not in taken)
    return found


def gateway_of(item: Mapping[str, Any], block: Any) -> str:
    """The gateway of an overlay's or a bridge network's subnet, "" for none."""
    declared = item.get("gateway")
    if declared == "none":
        return ""
    if declared:
        return str(ipaddress.ip_address(declared))
    base = ipaddress.ip_network(item["ip_range"]) if item.get("ip_range") else block
    first = base.network_address
    return str(first + 1 if first == block.network_address else first)


def wanted_network(network: Mapping[str, Any], host: Host) -> Wanted:
    """The namespace of an overlay network, without this host's endpoints."""
    plane = network.get("control_plane") or "static"
    static = plane == "static"
    vtep, mtu = vtep_of(network, host), overlay_mtu(network, host)
    alias = f"crosshost:{network['name']}"
    wanted = Wanted(alias)
    subnets = segments(network)
    for vni in {one["vni"] for one in subnets}:
        gateways = [one for one in subnets if one["vni"] == vni and one["gateway"]]
        bridge, tunnel = f"br{vni}", f"vx{vni}"
        common = {"alias": alias, "mtu": mtu, "up": True, "group": "30840"}
        wanted.links[bridge] = {
            **common,
            "kind": "bridge",
            "mcast_snooping": 0,
            "local_mac": True,
            "master": "",
        }
        wanted.addresses |= {(bridge, f"{one['gateway']}/{one['block'].prefixlen}") for one in gateways}
        wanted.links[tunnel] = {
            **common,
            "kind": "vxlan",
            "master": bridge,
            "id": vni,
            "port": int(network.get("data_path_port") or 4789),
            "local": vtep,
            "learning": not static,
            "proxy": static,
            "multicast": network.get("multicast_group") or "",
            "port learning": not static,
            "port neigh_suppress": bool(gateways) and not static,
            "port isolated": False,
            "port flood": True,
            "port hairpin": False,
        }
        if not static:
            wanted.learns.add(tunnel)
            wanted.learns.add(bridge)
        if plane == "flood":
            peers = {peer["vtep"] for peer in network.get("peers") or []} - {vtep}
            wanted.rows |= {(tunnel, ZERO_MAC, peer) for peer in peers}
        if plane == "multicast":
            wanted.rows.add((tunnel, ZERO_MAC, network["multicast_group"]))
    if static:
        _remote(wanted, network, subnets, vtep)
    _forwarding(wanted, subnets)
    return wanted


def _remote(wanted: Wanted, network: Mapping[str, Any], subnets: list[dict[str, Any]], vtep: str) -> None:
    for end in network.get("endpoints") or []:
        if end["vtep"] == vtep:
            continue
        addresses = [end[name] for name in ("ip", "ip6") if end.get(name)]
        mac = str(end.get("mac") or default_mac(addresses[0])).lower()
        for text in addresses:
            tunnel = f"vx{segment_of(text, subnets)['vni']}"
            wanted.rows.add((tunnel, mac, end["vtep"]))
            wanted.neighbours.add((tunnel, str(ipaddress.ip_address(text)), mac))


def _forwarding(wanted: Wanted, subnets: list[dict[str, Any]]) -> None:
    for version, name in ((4, "net.ipv4.ip_forward"), (6, "net.ipv6.conf.all.forwarding")):
        if len([one for one in subnets if one["block"].version == version]) > 1:
            wanted.settings[name] = "1"


def segment_of(text: str, subnets: list[dict[str, Any]]) -> dict[str, Any]:
    address = ipaddress.ip_address(text)
    return next(one for one in subnets if one["block"].version == address.version and address in one["block"])


def default_mac(text: str) -> str:
    packed = ipaddress.ip_address(text).packed
    return ":".join(
        f"{byte:02x}" for byte in (b"\x02\x42" if len(packed) == 4 else b"\x02\x43") + packed[-4:]
    )


def sandbox_of(end: Mapping[str, Any]) -> str:
    """The namespace of an endpoint, as the reader names it."""
    return str(end["sandbox"]) if end.get("sandbox") else f"pid:{end['pid']}"


def add_endpoint(
    outer: Wanted, inner: Wanted, end: Mapping[str, Any], network: Mapping[str, Any], host: Host
) -> None:
    """Both ends of an overlay's endpoint."""
    subnets = segments(network)
    addresses = [end[name] for name in ("ip", "ip6") if end.get(name)]
    mac = str(end.get("mac") or default_mac(addresses[0])).lower()
    name = end.get("name") or end.get("sandbox") or f"pid-{end['pid']}"
    alias = f"crosshost:{network['name']}/{name}"
    static = (network.get("control_plane") or "static") == "static"
    common = {"kind": "veth", "alias": alias, "mtu": overlay_mtu(network, host), "up": True, "group": "30840"}
    outer.links[f"@{alias}"] = {
        **common,
        "pattern": r"ve[0-9a-f]{10}",
        "master": f"br{segment_of(addresses[0], subnets)['vni']}",
        "port learning": not static,
        "port flood": not static,
        "port isolated": False,
        "port neigh_suppress": False,
    }
    outer.port_rows.add((f"@{alias}", mac))
    interface = end["interface"]
    inner.links[interface] = {**common, "mac": mac, "master": ""}
    for text in addresses:
        own = segment_of(text, subnets)
        inner.addresses.add((interface, f"{ipaddress.ip_address(text)}/{own['block'].prefixlen}"))
        if own["gateway"] and own["block"].version == 4 and not static:
            nearest = f"@xh-{network['name']}/br{own['vni']}"
            inner.neighbours.add((interface, str(own["gateway"]), nearest))
        for other in subnets:
            if own["gateway"] and other is not own and other["block"].version == own["block"].version:
                inner.routes.add((str(other["block"]), interface, own["gateway"]))


def bridge_blocks(bridge: Mapping[str, Any]) -> list[tuple[Any, str]]:
    """(block, gateway) of a gateway bridge, IPv4 before IPv6."""
    found = []
    for suffix in ("", "6"):
        if bridge.get(f"subnet{suffix}"):
            block = ipaddress.ip_network(bridge[f"subnet{suffix}"])
            found.append((block, str(bridge.get(f"gateway{suffix}") or block.network_address + 1)))
    return found


def add_gwbridge(wanted: Wanted, bridge: Mapping[str, Any]) -> None:
    name = bridge.get("name") or "xh_gwbridge"
    wanted.links[name] = {
        "kind": "bridge",
        "alias": "crosshost:gwbridge",
        "mtu": int(bridge.get("mtu") or 1500),
        "up": True,
        "group": "30840",
        "local_mac": True,
        "master": "",
    }
    for block, gateway in bridge_blocks(bridge):
        wanted.addresses.add((name, f"{gateway}/{block.prefixlen}"))
        forwarding = "net.ipv4.ip_forward" if block.version == 4 else "net.ipv6.conf.all.forwarding"
        wanted.settings[forwarding] = "1"
    _chains(wanted.table, bridge)


def _chains(table: Table, bridge: Mapping[str, Any]) -> None:
    name = bridge.get("name") or "xh_gwbridge"
    if bridge.get("ip_masquerade", True):
        rules = [
            f"{'ip' if block.version == 4 else 'ip6'} saddr == {block} oifname != {name} masquerade"
            for block, _gateway in bridge_blocks(bridge)
        ]
        table.base("nat postrouting 100", *rules)
    between = [f"iifname == {name} oifname == {name} accept"] if bridge.get("icc") else []
    answers = f"oifname == {name} ct state in established,related accept"
    published = f"oifname == {name} ct status in dnat accept"
    table.base("filter forward 0", answers, published, *between, f"oifname == {name} drop")
