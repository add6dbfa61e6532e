# SPDX-License-Identifier: GPL-3.0-or-later
"""Macvlan and ipvlan networks: what they stand on, the host's own child with its routes, and the sandboxes' devices."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from .expect import Host, Wanted, default_mac
from .expect_bridge import add_addresses
from .read import HOST, Facts
from .settle import End, name_of, networks_of


def add_macvlans(wanted: Wanted, host: Host, ends: list[End], facts: Facts) -> None:
    """Their part of the host's own namespace."""
    for network in networks_of(host).values():
        if network["kind"] != "macvlan":
            continue
        alias, parent = f"crosshost:macvlan:{network['name']}", str(network.get("parent") or "")
        common = {"up": True, "group": "30840"}
        there = facts.spaces[HOST].devices.get(parent)
        if not parent:
            wanted.links[f"@{alias}#dummy"] = {
                **common,
                "kind": "dummy",
                "alias": alias,
                "pattern": "xd[0-9a-f]{10}",
            }
        elif "." in parent and (there is None or there.alias.startswith("crosshost:")):
            below, _, number = parent.rpartition(".")
            made = {"kind": "vlan", "alias": "crosshost:macvlan", "id": int(number), "parent": below}
            wanted.links[parent] = {**common, **made}
        if network.get("shim") or network.get("shim6"):
            _shim(wanted, network, alias, ends, facts)


def _shim(wanted: Wanted, network: Mapping[str, Any], alias: str, ends: list[End], facts: Facts) -> None:
    own = [str(ipaddress.ip_address(network[name])) for name in ("shim", "shim6") if network.get(name)]
    versions = {ipaddress.ip_address(text).version for text in own}
    mac = {"mac": default_mac(own[0])} if network.get("driver", "macvlan") == "macvlan" else {}
    label = f"@{alias}#{network.get('driver') or 'macvlan'}"
    wanted.links[label] = {**_child(network, facts), **mac, "alias": alias, "pattern": "xs[0-9a-f]{10}"}
    devices = facts.spaces[HOST].devices.values()
    kind = network.get("driver") or "macvlan"
    name = next((one.name for one in devices if one.alias == alias and one.kind == kind), "the shim")
    wanted.addresses |= {(name, f"{text}/{128 if ':' in text else 32}") for text in own}
    blocks = [ipaddress.ip_network(text) for text in network.get("host_range") or []]
    blocks = [block for block in blocks if block.version in versions]
    wanted.routes |= {(str(block), name, "") for block in blocks}
    for end in ends:
        for text in [end[field] for field in ("ip", "ip6") if end.get(field)]:
            address = ipaddress.ip_address(text)
            if end["network"] != network["name"] or address.version not in versions:
                continue
            if not any(address in block for block in blocks):
                wanted.routes.add((f"{address}/{address.max_prefixlen}", name, ""))


def _child(network: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    driver, base = network.get("driver") or "macvlan", _parent(network, facts)
    there = facts.spaces[HOST].devices.get(base)
    return {
        "kind": driver,
        "mode": network.get("mode") or ("bridge" if driver == "macvlan" else "l2"),
        "mtu": int(network.get("mtu") or (there.mtu if there else 1500)),
        "parent": base,
        "up": True,
        "group": "30840",
        "master": "",
    }


def _parent(network: Mapping[str, Any], facts: Facts) -> str:
    if network.get("parent"):
        return str(network["parent"])
    alias = f"crosshost:macvlan:{network['name']}"
    devices = facts.spaces[HOST].devices.values()
    return next((one.name for one in devices if one.alias == alias and one.kind == "dummy"), "the dummy")


def add_child(inner: Wanted, end: Mapping[str, Any], network: Mapping[str, Any], facts: Facts) -> None:
    """A sandbox's device."""
    child = _child(network, facts)
    below = facts.spaces[HOST].devices.get(child["parent"])
    addresses = [end[name] for name in ("ip", "ip6") if end.get(name)]
    mac = str(end.get("mac") or default_mac(addresses[0])).lower()
    if below and (child["kind"] == "ipvlan" or child["mode"] == "passthru"):
        mac = below.mac
    alias = f"crosshost:{network['name']}/{name_of(end)}"
    inner.links[end["interface"]] = {**child, "alias": alias, "mac": mac}
    add_addresses(inner, end, network)


def promiscuous(host: Host, facts: Facts) -> Iterator[str]:
    """The flag of the parents, and the files that say whose it is."""
    networks = [one for one in networks_of(host).values() if one["kind"] == "macvlan"]
    asked = {str(one["parent"]) for one in networks if one.get("promiscuous")}
    for name in sorted(asked):
        device = facts.spaces[HOST].devices.get(name)
        if device is None or not device.promiscuous:
            yield f"host: link {name}: it is not promiscuous"
    folder = "/run/crosshost/promiscuous"
    words = [
        "find",
        "/run",
        "-maxdepth",
        "3",
        "-path",
        "/run/user",
        "-prune",
        "-o",
        "-path",
        f"{folder}/*",
        "-print",
    ]
    if networks:
        for path in facts.run(words).split():
            if path.rpartition("/")[2] not in asked:
                yield f"host: {path}: nobody asks for that"
