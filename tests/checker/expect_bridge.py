# SPDX-License-Identifier: GPL-3.0-or-later
"""Bridge networks: the devices on the host, who gets in, out and across, and their endpoints."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from .expect import Host, Wanted, default_mac
from .settle import bridge_device, name_of, networks_of, own_block
from .tables import Table

_INTO = "ct state in established,related accept; ct status in dnat accept; drop"


def add_bridges(wanted: Wanted, host: Host) -> None:
    """The networks' part of the host's own namespace."""
    networks = [one for one in networks_of(host).values() if one["kind"] == "bridge"]
    for network in networks:
        name = bridge_device(network)
        wanted.links[name] = {
            "kind": "bridge",
            "alias": f"crosshost:bridge/{network['name']}",
            "mtu": int(network.get("mtu") or 1500),
            "up": True,
            "group": "30840",
            "local_mac": True,
            "master": "",
        }
        wanted.learns.add(name)
        for block, gateway in network["blocks"]:
            if gateway:
                wanted.addresses.add((name, f"{gateway}/{block.prefixlen}"))
            if not network.get("internal"):
                word = "net.ipv4.ip_forward" if block.version == 4 else "net.ipv6.conf.all.forwarding"
                wanted.settings[word] = "1"
    if networks:
        _rules(wanted.table, networks)


def _rules(table: Table, networks: list[dict[str, Any]]) -> None:
    table.base(
        "filter forward 0",
        "iifname . oifname vmap @bridge-within",
        "iifname vmap @bridge-out-of",
        "oifname vmap @bridge-into",
    )
    within = table.map("bridge-within", "ifname . ifname")
    out_of, into = table.map("bridge-out-of", "ifname"), table.map("bridge-into", "ifname")
    table.spare |= {"bridge-open", "bridge-closed", "bridge-filtered"}
    for network in networks:
        name, internal = bridge_device(network), network.get("internal")
        if network.get("icc", True):
            within[f"{name} . {name}"] = ("", "accept")
        if internal:
            out_of[name] = ("", "drop")
        into[name] = ("", "drop" if internal else _INTO)
    leaving_by = [one for one in networks if one.get("ip_masquerade", True) and not one.get("internal")]
    if leaving_by:
        table.base(
            "nat postrouting 100", "iifname . oifname vmap @bridge-staying", "iifname vmap @bridge-leaving"
        )
        staying, leaving = (
            table.map("bridge-staying", "ifname . ifname"),
            table.map("bridge-leaving", "ifname"),
        )
        for name in map(bridge_device, leaving_by):
            staying[f"{name} . {name}"] = ("", "")
            leaving[name] = ("", "masquerade")


def add_bridged(outer: Wanted, inner: Wanted, end: Mapping[str, Any], network: Mapping[str, Any]) -> None:
    """Both ends of an endpoint."""
    alias = f"crosshost:{network['name']}/{name_of(end)}"
    mtu, icc = int(network.get("mtu") or 1500), bool(network.get("icc", True))
    common = {"kind": "veth", "alias": alias, "mtu": mtu, "up": True, "group": "30840"}
    outer.links[f"@{alias}"] = {
        **common,
        "pattern": r"ve[0-9a-f]{10}",
        "master": bridge_device(network),
        "port isolated": not icc,
        "port hairpin": icc,
        "port flood": True,
        "port learning": True,
    }
    addresses = [end[name] for name in ("ip", "ip6") if end.get(name)]
    mac = str(end.get("mac") or default_mac(addresses[0])).lower()
    inner.links[end["interface"]] = {**common, "mac": mac, "master": ""}
    add_addresses(inner, end, network)


def add_addresses(inner: Wanted, end: Mapping[str, Any], network: Mapping[str, Any]) -> None:
    """The endpoint's addresses, and its routes to the other subnets on the same wire."""
    for text in [end[name] for name in ("ip", "ip6") if end.get(name)]:
        own, _gateway = own_block(network, text)
        inner.addresses.add((end["interface"], f"{ipaddress.ip_address(text)}/{own.prefixlen}"))
        for other, _its_gateway in network["blocks"]:
            if other.version == own.version and other != own:
                inner.routes.add((str(other), end["interface"], ""))
