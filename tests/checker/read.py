# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's network state as its own tools print it, namespace by namespace."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Runner = Callable[[Sequence[str]], str]
GROUP = 30840
HOST = ""


@dataclass(frozen=True)
class Device:
    """A link. ``data`` are its kind's attributes, ``port`` those of its bridge membership, as iproute2 names them."""

    name: str
    index: int
    kind: str
    alias: str
    group: str
    mtu: int
    mac: str
    master: str
    up: bool
    data: dict[str, Any]
    port: dict[str, Any]
    lower: (
        str  # the name that iproute2 prints for a tunnel's device, which it looks up in the wrong namespace
    )
    promiscuous: bool = False


@dataclass
class Space:
    """One namespace. Rows are tuples: addresses (device, CIDR), routes (destination, device, gateway, protocol),
    neighbours (device, address, MAC), forwarding entries (device, MAC, destination or "", state)."""

    devices: dict[str, Device] = field(default_factory=dict)
    addresses: set[tuple[str, str]] = field(default_factory=set)
    routes: set[tuple[str, str, str, str]] = field(default_factory=set)
    neighbours: set[tuple[str, str, str]] = field(default_factory=set)
    fdb: list[tuple[str, str, str, str]] = field(default_factory=list)
    nft: list[dict[str, Any]] = field(default_factory=list)

    @property
    def mark(self) -> str:
        lo = self.devices.get("lo")
        return lo.alias if lo else ""


@dataclass
class Facts:
    """A host. ``spaces`` by name, "" is the host's own; ``dead`` are names in /run/netns that are no namespaces."""

    spaces: dict[str, Space]
    dead: list[str]
    run: Runner
    nodes: dict[str, str] = field(default_factory=dict)

    def node(self, netns: str) -> str:
        """What tells a namespace from others, whatever its names; "" for one that is not there."""
        if netns and not netns.startswith("pid:"):
            return self.nodes.get(netns, "")
        return self.run(["stat", "-Lc", "%i", f"/proc/{netns[4:] or 'self'}/ns/net"]).strip()

    def setting(self, netns: str, name: str) -> str:
        """The value of a setting below /proc/sys; "missing" where there is no such thing, as of a device that is not there."""
        path = "/proc/sys/" + name.translate(str.maketrans("./", "/."))
        try:
            return self.run([*_entering(netns), "cat", path]).strip()
        except RuntimeError:
            return "missing"


def local_runner(argv: Sequence[str]) -> str:
    """Runs a command here. RuntimeError with its words when it fails."""
    done = subprocess.run(list(argv), capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def prefixed_runner(prefix: Sequence[str]) -> Runner:
    """Runs a command through another one, such as ``lab/lab exec h1``."""
    return lambda argv: local_runner([*prefix, *argv])


def read_host(run: Runner = local_runner, extra: Sequence[str] = (), all_rules: bool = True) -> Facts:
    """Everything that is compared. ``extra`` are pids whose namespaces are read as well, under the name ``pid:N``.
    Without ``all_rules``, nft is asked on the host alone."""
    nodes, dead = _names(run)
    names = [HOST, *sorted(nodes), *(f"pid:{pid}" for pid in extra)]
    return Facts({name: _space(run, name, all_rules or not name) for name in names}, dead, run, nodes)


def _names(run: Runner) -> tuple[dict[str, str], list[str]]:
    """The named namespaces with their inodes, and the names that are none."""
    listed = run(["find", "/run/netns", "-mindepth", "1", "-maxdepth", "1", "-printf", "%F %i %f\n"])
    rows = [line.split(" ", 2) for line in listed.splitlines()]
    alive = {name: node for kind, node, name in rows if kind == "nsfs"}
    return alive, sorted(name for kind, _node, name in rows if kind != "nsfs")


def _entering(netns: str) -> list[str]:
    """The words before a command that is to run in a namespace."""
    if not netns:
        return []
    place = ["--target", netns[4:], "--net"] if netns.startswith("pid:") else [f"--net=/run/netns/{netns}"]
    return ["nsenter", *place]


def _tool(netns: str, name: str, *words: str) -> list[str]:
    """ip or bridge in a namespace: they can go there themselves, which costs one process less."""
    if not netns or netns.startswith("pid:"):
        return [*_entering(netns), name, *words]
    return [name, "-n", netns, *words]


def _json(run: Runner, argv: Sequence[str]) -> list[dict[str, Any]]:
    text = run(argv)
    return [entry for entry in json.loads(text) if entry] if text.strip() else []


def _space(run: Runner, netns: str, rules: bool) -> Space:
    space = Space()
    for entry in _json(run, _tool(netns, "ip", "-d", "-j", "addr", "show")):
        _device(space, entry)
    for entry in _json(run, _tool(netns, "ip", "-j", "route", "show", "table", "all")):
        _route(space, entry)
    for entry in _json(run, _tool(netns, "ip", "-j", "neigh", "show", "nud", "permanent")):
        space.neighbours.add((entry["dev"], entry["dst"], entry.get("lladdr", "")))
    for entry in _json(run, _tool(netns, "bridge", "-j", "fdb", "show")):
        state = "self " if "self" in entry.get("flags", []) else ""
        row = (entry["ifname"], entry["mac"], entry.get("dst", ""), state + entry.get("state", "learned"))
        space.fdb.append(row)
    if rules:
        space.nft = json.loads(run([*_entering(netns), "nft", "-j", "list", "ruleset"]))["nftables"]
    return space


def _device(space: Space, entry: dict[str, Any]) -> None:
    info = entry.get("linkinfo", {})
    data = info.get("info_data", {})
    name = entry["ifname"]
    space.devices[name] = Device(
        name=name,
        index=entry["ifindex"],
        kind=info.get("info_kind", ""),
        alias=entry.get("ifalias", ""),
        group=str(entry.get("group", "")),
        mtu=entry["mtu"],
        mac=entry.get("address", ""),
        master=entry.get("master", ""),
        up="UP" in entry["flags"],
        data=data,
        port=info.get("info_slave_data", {}),
        lower=_lower(entry, info),
        promiscuous="PROMISC" in entry["flags"],
    )
    for one in entry.get("addr_info", []):
        if "local" in one and not one["local"].startswith("fe80:"):
            space.addresses.add((name, f"{one['local']}/{one['prefixlen']}"))


def _lower(entry: dict[str, Any], info: dict[str, Any]) -> str:
    """A tunnel's device is among its data; a child's parent is not, and has but a number when it is elsewhere."""
    if info.get("info_kind") in ("macvlan", "ipvlan", "vlan"):
        number = f"if{entry['link_index']}" if "link_index" in entry else ""
        return str(entry.get("link", number))
    return str(info.get("info_data", {}).get("link", ""))


def _route(space: Space, entry: dict[str, Any]) -> None:
    if entry.get("table", "main") == "local" or entry["dst"].startswith(("fe80:", "ff00:")):
        return
    target = entry["dst"]
    six = ":" in target or ":" in entry.get("gateway", "") or "pref" in entry
    if target == "default":
        target = "::/0" if six else "0.0.0.0/0"
    elif "/" not in target:
        target += "/128" if six else "/32"
    table = entry.get("table", "main")
    protocol = entry.get("protocol", "") + ("" if table == "main" else f" table {table}")
    space.routes.add((target, entry.get("dev", entry.get("type", "")), entry.get("gateway", ""), protocol))
