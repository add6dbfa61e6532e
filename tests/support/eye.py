# SPDX-License-Identifier: GPL-3.0-or-later
"""What other tools see of a kernel, and what a planned state says they should: both as sets of facts, to be compared.
Also snapshots, to tell whether anything at all has changed."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.resources import (
    Address,
    FdbEntry,
    Link,
    Neighbour,
    Netns,
    Nft,
    NftChain,
    NftElement,
    NftMap,
    Record,
    Route,
    State,
    Sysctl,
)

from tests.checker.read import GROUP, HOST, Device, Facts, Space, read_host

Fact = tuple[Any, ...]
UNDERLAY = ("lo", "eth1")
_CHILDREN = ("macvlan", "ipvlan")
_FLAGS = {"learning": True, "flood": True, "neigh_suppress": False, "isolated": False, "hairpin": False}


def declared(state: State) -> set[Fact]:
    """A state of the engine as facts."""
    found: set[Fact] = set()
    for item in state.values():
        if isinstance(item, Netns):
            found.add(("namespace", item.name, item.mark, "up"))
        elif isinstance(item, Link):
            found |= _link(item)
        elif isinstance(item, Address):
            found.add(("address", item.netns, item.dev, f"{item.address}/{item.prefixlen}"))
        elif isinstance(item, Route):
            found.add(("route", item.netns, item.dst, item.dev, item.gateway, "static"))
        elif isinstance(item, Neighbour):
            found.add(("neighbour", item.netns, item.dev, item.address, item.mac))
        elif isinstance(item, FdbEntry):
            found.add(("row", item.netns, item.dev, item.mac, item.dst))
        elif isinstance(item, NftChain):
            base = (item.type, item.hook, item.prio, item.policy) if item.hook else (None,) * 4
            found.add(("chain", item.netns, item.family, item.name, *base, item.rules))
        elif isinstance(item, NftMap):
            found.add(("map", item.netns, item.family, item.name, item.keys))
        elif isinstance(item, NftElement):
            found.add(("element", item.netns, item.family, item.map, item.key, f"goto {item.target}"))
        else:
            assert isinstance(item, (Sysctl, Record))
    return found


def _link(link: Link) -> set[Fact]:
    mac = link.mac if link.kind in ("bridge", "macvlan") else ""
    flags = {**_FLAGS, **{name: bool(value) for name, value in link.port}} if link.master else {}
    attrs = dict(link.attrs)
    if link.kind == "bridge":
        attrs.pop("default_pvid", None)  # iproute2 shows it only where VLAN filtering is on
    head = (
        "link",
        link.netns,
        link.name,
        link.kind,
        link.alias,
        str(GROUP),
        link.mtu,
        mac,
        link.master,
        link.up,
    )
    facts: set[Fact] = {(*head, tuple(sorted(attrs.items())), tuple(sorted(flags.items())))}
    if link.peer:
        peer = link.peer
        facts.add(
            (
                "link",
                peer.netns,
                peer.name,
                "veth",
                link.alias,
                str(GROUP),
                peer.mtu,
                peer.mac,
                "",
                link.up,
                (),
                (),
            )
        )
    return facts


def seen(facts: Facts, skip: tuple[str, ...] = UNDERLAY) -> set[Fact]:
    """What iproute2 and nft show, in the same form. Devices named in ``skip`` are left out on the host."""
    found: set[Fact] = {("dead name", name) for name in facts.dead}
    for netns, space in facts.spaces.items():
        hidden = skip if netns == HOST else ("lo",)
        if netns != HOST:
            lo = space.devices["lo"]
            found.add(("namespace", netns, lo.alias, "up" if lo.up else "down"))
        host = facts.spaces[HOST]
        for device in space.devices.values():
            if device.name not in hidden:
                found.add(_device(netns, device, space, host))
        found |= {("address", netns, *row) for row in space.addresses if row[0] not in hidden}
        found |= {
            ("route", netns, *row) for row in space.routes if row[1] not in hidden and row[3] != "kernel"
        }
        found |= {("neighbour", netns, *row) for row in space.neighbours if row[0] not in hidden}
        for dev, mac, dst, state in space.fdb:
            if dev not in hidden and (
                state == "static" or (state == "self permanent" and dst and not _group(dst))
            ):
                found.add(("row", netns, dev, mac, dst))
        found |= _chains(netns, space)
    return found


def _group(address: str) -> bool:
    return address.startswith("ff") if ":" in address else int(address.split(".")[0]) >= 224


def _device(netns: str, device: Device, space: Space, host: Space) -> Fact:
    data = device.data
    attrs: dict[str, Any] = {}
    if device.kind == "bridge":
        attrs = {"mcast_snooping": data["mcast_snooping"]}
    elif device.kind == "vxlan":
        attrs = {
            "id": data["id"],
            "learning": int(data["learning"]),
            "local": data.get("local", data.get("local6")),
            "port": data["port"],
            "proxy": int(data.get("proxy", False)),
        }
        group = data.get("group", data.get("group6"))
        if group:
            attrs.update(group=group, dev=lower_name(device, space, host))
    elif device.kind in _CHILDREN:
        attrs = {"link": lower_name(device, space, host), "mode": data["mode"]}
    flags = (
        {name: device.port.get(name, default) for name, default in _FLAGS.items()} if device.master else {}
    )
    shown = device.kind in ("bridge", "macvlan") or (device.kind == "veth" and not device.master)
    head = ("link", netns, device.name, device.kind, device.alias, device.group, device.mtu)
    return (
        *head,
        device.mac if shown else "",
        device.master,
        device.up,
        tuple(sorted(attrs.items())),
        tuple(sorted(flags.items())),
    )


def lower_name(device: Device, space: Space, host: Space) -> str:
    """The host's device of a tunnel. iproute2 looks the number up in the namespace where the tunnel is."""
    text = device.lower
    number = (
        int(text[2:]) if text.startswith("if") and text not in space.devices else space.devices[text].index
    )
    return next((one.name for one in host.devices.values() if one.index == number), text)


def _chains(netns: str, space: Space) -> set[Fact]:
    rules: dict[tuple[str, str], list[str]] = {}
    for entry in space.nft:
        if "rule" in entry:
            rule = entry["rule"]
            text = json.dumps(rule["expr"], sort_keys=True, separators=(",", ":"))
            rules.setdefault((rule["family"], rule["chain"]), []).append(text)
    found: set[Fact] = set()
    for entry in space.nft:
        if "table" in entry:
            found.add(("table", netns, entry["table"]["family"], entry["table"]["name"]))
        if "map" in entry:
            found |= _map(netns, entry["map"])
        if "chain" in entry:
            one = entry["chain"]
            lines = tuple(rules.get((one["family"], one["name"]), ()))
            base = (one.get("type"), one.get("hook"), one.get("prio"), one.get("policy"))
            found.add(("chain", netns, one["family"], one["name"], *base, lines))
    return found


def _map(netns: str, entry: dict[str, Any]) -> set[Fact]:
    keys = entry["type"] if isinstance(entry["type"], list) else [entry["type"]]
    found: set[Fact] = {("map", netns, entry["family"], entry["name"], tuple(keys))}
    for key, verdict in entry.get("elem", []):
        text = json.dumps(key, sort_keys=True, separators=(",", ":"))
        target = f"goto {verdict['goto']['target']}"
        found.add(("element", netns, entry["family"], entry["name"], text, target))
    return found


def tables(state: State) -> set[Fact]:
    """The nft tables that the chains and maps of a state need."""
    return {
        ("table", item.netns, item.family, "crosshost") for item in state.values() if isinstance(item, Nft)
    }


def look() -> set[Fact]:
    """All facts of the host in which the caller is."""
    return seen(read_host(all_rules=False))


def snapshot() -> set[Fact]:
    """All facts, the host's own devices included, and the settings that crosshost may write."""
    facts = read_host()
    found = seen(facts, skip=())
    for netns in facts.spaces:
        for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            found.add(("setting", netns, name, facts.setting(netns, name)))
    return found


def differences(expected: set[Fact], found: set[Fact]) -> str:
    """ "" when both are the same; else a line a fact."""
    lines = [f"missing: {fact}" for fact in sorted(expected - found, key=str)]
    return "\n".join(lines + [f"unexpected: {fact}" for fact in sorted(found - expected, key=str)])
