# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations as the lines that an expert would type (iproute2, nft), and states as lines to compare."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Optional

from . import render_nft
from .plan import Op
from .resources import (
    GROUP,
    NFT_TABLE,
    ZERO_MAC,
    Address,
    FdbEntry,
    File,
    Link,
    Neighbour,
    Netns,
    Nft,
    NftChain,
    NftElement,
    Promiscuous,
    Record,
    Resource,
    Route,
    Sysctl,
    Unit,
    first_name,
)

ROWS_SHOWN = (
    200  # rows of one device and kind that are shown one by one; ten thousand would drown what matters
)
_Group = tuple[str, str, str]  # what they are, the namespace, the device or what else they are in


def commands(ops: Iterable[Op]) -> list[str]:
    """One or more lines an operation; the rows beyond the first 200 of a device are counted instead, and so are the chains
    and elements of an nft table."""
    lines: list[str] = []
    counts: dict[tuple[str, _Group], int] = {}
    for op in ops:
        group = _group(op.subject)
        if group:
            counted = (op.verb, group)
            counts[counted] = counts.get(counted, 0) + 1
            if counts[counted] > ROWS_SHOWN:
                continue
        lines += _op(op)
    return lines + [
        f"# and {count - ROWS_SHOWN} more {what} to {verb} {_where(place)} in {netns or 'the host'}, {count} in all"
        for (verb, (what, netns, place)), count in counts.items()
        if count > ROWS_SHOWN
    ]


def _group(item: Resource) -> Optional[_Group]:
    """Where there may be thousands of its kind."""
    if isinstance(item, FdbEntry):
        return ("FDB rows", item.netns, item.dev)
    if isinstance(item, Neighbour):
        return ("neighbour rows", item.netns, item.dev)
    if isinstance(item, NftElement):
        return ("elements", item.netns, f"nft map {item.map}")
    if isinstance(item, NftChain) and not item.hook:
        return ("chains", item.netns, f"nft table {NFT_TABLE}")
    return None


def _where(place: str) -> str:
    return f"in {place}" if place.startswith("nft ") else f"on {place}"


def listing(items: Iterable[Resource]) -> str:
    """Resources as text, a line each, sorted: the two sides of a diff."""
    counts: dict[_Group, int] = {}
    lines = []
    for item in items:
        group = _group(item)
        if group:
            counts[group] = counts.get(group, 0) + 1
            if counts[group] > ROWS_SHOWN:
                continue
        lines += _describe(item)
    lines += [
        f"{netns or 'host'}: {place}: {count - ROWS_SHOWN} more {what}"
        for (what, netns, place), count in counts.items()
        if count > ROWS_SHOWN
    ]
    return "".join(f"{line}\n" for line in sorted(lines))


def _ip(netns: str, tool: str = "ip") -> str:
    if not netns:
        return tool
    if "/" in netns:
        return f"nsenter --net={netns} {tool}"
    return f"{tool} -n {netns}"


def _six(address: str) -> str:
    return " -6" if ":" in address else ""


def _op(op: Op) -> list[str]:
    item = op.subject
    if isinstance(item, Netns):
        return _netns(op, item)
    if isinstance(item, Link):
        return _link(op)
    if isinstance(item, Nft):
        return [_inside(item.netns, line) for line in render_nft.lines(op)]
    if isinstance(item, Promiscuous):
        return [f"{_ip(item.netns)} link set {item.dev} promisc {'off' if op.after is None else 'on'}"]
    if isinstance(item, Sysctl):
        return [_inside(item.netns, f"sysctl -w {item.name}={item.value}")]
    if isinstance(item, File):
        return _file(op, item)
    if isinstance(item, Unit):
        return _unit(op, item)
    if isinstance(item, (Address, Route, Neighbour, FdbEntry)):
        return [_row(op, item)]
    return [f"# {'forget' if op.after is None else 'record'} {item.kind} {item.name}"]


def _inside(netns: str, line: str) -> str:
    """A command that works in the namespace it is called in."""
    if "/" in netns:
        return f"nsenter --net={netns} {line}"
    return f"ip netns exec {netns} {line}" if netns else line


def _file(op: Op, item: File) -> list[str]:
    if op.after is None:
        return [f"rm {item.path}"]
    return [f"install -m {item.mode:o} /dev/stdin {item.path} # {len(item.content.splitlines())} lines"]


def _unit(op: Op, item: Unit) -> list[str]:
    if op.after is None:
        return [f"systemctl stop {item.name}"]
    if op.before is None:
        return ["systemctl daemon-reload", f"systemctl start {item.name}"]
    assert isinstance(op.before, Unit)
    return [f"systemctl {'reload' if op.before.config == item.config else 'restart'} {item.name}"]


def _netns(op: Op, item: Netns) -> list[str]:
    if op.verb == "delete":
        return [f"ip netns del {item.name}"]
    if item.of:
        return [f"touch /run/netns/{item.name}", f"mount --bind {item.of} /run/netns/{item.name}"]
    label = f"ip -n {item.name} link set lo alias {item.mark} up"
    return [label] if op.verb == "change" else [f"ip netns add {item.name}", label]


def _row(op: Op, item: Resource) -> str:
    delete = op.after is None
    if isinstance(item, Address):
        tail = " nodad" if ":" in item.address and not delete else ""
        return f"{_ip(item.netns)} addr {'del' if delete else 'add'} {item.address}/{item.prefixlen} dev {item.dev}{tail}"
    if isinstance(item, Route):
        verb = "del" if delete else ("replace" if op.before is not None else "add")
        via = f" via {item.gateway}" if item.gateway else ""
        return f"{_ip(item.netns)}{_six(item.dst)} route {verb} {item.dst}{via} dev {item.dev} proto static"
    if isinstance(item, Neighbour):
        verb, tail = ("del", "") if delete else ("replace", " nud permanent")
        return f"{_ip(item.netns)} neigh {verb} {item.address} lladdr {item.mac} dev {item.dev}{tail}"
    assert isinstance(item, FdbEntry)
    bridge = _ip(item.netns, "bridge")
    if not item.dst:
        return f"{bridge} fdb {'del' if delete else 'replace'} {item.mac} dev {item.dev} master{'' if delete else ' static'}"
    verb = "del" if delete else ("append" if item.mac == ZERO_MAC else "replace")
    return (
        f"{bridge} fdb {verb} {item.mac} dev {item.dev} dst {item.dst} self{'' if delete else ' permanent'}"
    )


def _link(op: Op) -> list[str]:
    if op.after is None:
        item = op.before
        assert isinstance(item, Link)
        return [f"{_ip(item.netns)} link del {item.name}"]
    link = op.after
    assert isinstance(link, Link)
    before = op.before if isinstance(op.before, Link) else None
    lines = _create(link) if before is None else []
    return lines + _settle(link, before) + _settle_peer(link, before)


def _create(link: Link) -> list[str]:
    head = f"{_ip(link.netns)} link add {link.name}"
    values = dict(link.attrs)
    if link.kind == "vxlan":
        target = f" netns {link.netns}" if link.netns else ""
        words = f"id {values['id']}"
        words += f" group {values['group']}" if "group" in values else ""
        words += f" dev {values['dev']}" if "dev" in values else ""
        words += f" local {values['local']}" if "local" in values else ""
        words += f" dstport {values['port']}{'' if values['learning'] else ' nolearning'}"
        words += " proxy" if values["proxy"] else ""
        return [f"ip link add {link.name}{target} group {GROUP} type vxlan {words}"]
    if link.kind == "veth":
        assert link.peer is not None
        mac = f" address {link.peer.mac}" if link.peer.mac else ""
        place = _peer_place(link.peer.netns)
        peer = f"name {link.peer.name} group {GROUP} mtu {link.peer.mtu}{mac}{place}"
        return [f"{head} group {GROUP} mtu {link.mtu} type veth peer {peer}"]
    if "link" in values:
        return _create_upper(link, values)
    mac = f" address {link.mac}" if link.mac else ""
    return [f"{head}{mac} group {GROUP} type {link.kind}{_bridge_words(values)}"]


def _create_upper(link: Link, values: dict[str, Any]) -> list[str]:
    """On a parent, which is in the host's namespace."""
    mac = f" address {link.mac}" if link.mac else ""
    words = f"id {values['id']}" if link.kind == "vlan" else f"mode {values['mode']}"
    place = _peer_place(link.netns) if link.netns else ""
    name = first_name(link)
    line = f"ip link add link {values['link']} name {name} group {GROUP}{mac}{place} type {link.kind} {words}"
    return [line] if name == link.name else [line, f"{_ip(link.netns)} link set {name} name {link.name}"]


def _peer_place(netns: str) -> str:
    if not netns:
        return " netns 1"
    if netns.startswith("/proc/"):
        return f" netns {netns.split('/')[2]}"
    return f" netns {netns}"


def _bridge_words(values: dict[str, Any]) -> str:
    words = {"default_pvid": "vlan_default_pvid", "mcast_snooping": "mcast_snooping"}
    return "".join(f" {words[name]} {value}" for name, value in values.items())


def _settle(link: Link, before: Optional[Link]) -> list[str]:
    words = ""
    if before is None or before.alias != link.alias:
        words += f" alias {link.alias}"
    if (before is None and link.kind != "veth") or (before is not None and before.mtu != link.mtu):
        words += f" mtu {link.mtu}"
    if link.mac and before is not None and before.mac != link.mac:
        words += f" address {link.mac}"
    if link.master and (before is None or before.master != link.master):
        words += f" master {link.master}"
    elif before is not None and before.master and not link.master:
        words += " nomaster"
    lines = [f"{_ip(link.netns)} link set {link.name}{words}"] if words else []
    if before is not None and link.kind == "bridge" and before.attrs != link.attrs:
        lines.append(f"{_ip(link.netns)} link set {link.name} type bridge{_bridge_words(dict(link.attrs))}")
    old = before.port if before is not None and before.master == link.master else ()
    if link.master and old != link.port:
        lines.append(f"{_ip(link.netns, 'bridge')} link set dev {link.name}{_port_words(old, link.port)}")
    if before is None or before.up != link.up:
        lines.append(f"{_ip(link.netns)} link set {link.name} {'up' if link.up else 'down'}")
    return lines


def _port_words(old: Iterable[tuple[str, Any]], new: Iterable[tuple[str, Any]]) -> str:
    defaults = {"learning": 1, "flood": 1, "neigh_suppress": 0, "isolated": 0, "hairpin": 0}
    before, after = {**defaults, **dict(old)}, {**defaults, **dict(new)}
    return "".join(
        f" {name} {'on' if after[name] else 'off'}" for name in defaults if before[name] != after[name]
    )


def _settle_peer(link: Link, before: Optional[Link]) -> list[str]:
    if link.peer is None:
        return []
    inner = Link(
        link.peer.netns, link.peer.name, "veth", link.alias, link.peer.mtu, link.peer.mac, up=link.up
    )
    if before is None or before.peer is None:
        earlier: Optional[Link] = inner._replace(alias="", up=False)
    else:
        earlier = inner._replace(alias=before.alias, mtu=before.peer.mtu, mac=before.peer.mac, up=before.up)
    return _settle(inner, earlier)


def _describe(item: Resource) -> list[str]:
    if isinstance(item, Netns):
        return [f"namespace {item.name}" + (f" is that of {item.of}" if item.of else "")]
    if isinstance(item, Nft):
        return [f"{item.netns or 'host'}: {line}" for line in render_nft.describe(item)]
    if isinstance(item, File):
        return [
            f"{item.path}: mode {item.mode:o}",
            *(f"{item.path}: {line}" for line in item.content.splitlines()),
        ]
    if isinstance(item, Unit):
        return [f"unit {item.name}: runs with {item.config}, has read {item.data}"]
    if isinstance(item, Promiscuous):
        return [f"{item.netns or 'host'}: {item.dev}: promiscuous"]
    if isinstance(item, Sysctl):
        return [f"{item.netns or 'host'}: {item.name} = {item.value}"]
    if isinstance(item, Address):
        return [f"{item.netns or 'host'}: {item.dev}: address {item.address}/{item.prefixlen}"]
    if isinstance(item, Route):
        via = f" via {item.gateway}" if item.gateway else ""
        return [f"{item.netns or 'host'}: route {item.dst}{via} dev {item.dev}"]
    if isinstance(item, Neighbour):
        return [f"{item.netns or 'host'}: {item.dev}: neighbour {item.address} is {item.mac}"]
    if isinstance(item, FdbEntry):
        where = f"behind {item.dst}" if item.dst else "on this port"
        return [f"{item.netns or 'host'}: {item.dev}: {item.mac} {where}"]
    if isinstance(item, Link):
        return _describe_link(item)
    assert isinstance(item, Record)
    return [f"record {item.kind} {item.name}: {part}" for part in _fields(item.config)]


def _fields(config: str) -> list[str]:
    return [f"{name} = {json.dumps(value)[:200]}" for name, value in sorted(json.loads(config).items())]


def _describe_link(link: Link) -> list[str]:
    head = f"{link.netns or 'host'}: {link.kind} {link.name}"
    values: list[tuple[str, Any]] = [("mtu", link.mtu), ("state", "up" if link.up else "down")]
    values += [(name, text) for name, text in (("mac", link.mac), ("master", link.master)) if text]
    values += [*link.attrs, *((f"port {name}", value) for name, value in link.port)]
    if link.peer:
        values.append(
            ("peer", f"{link.peer.netns or 'host'}/{link.peer.name} mac {link.peer.mac} mtu {link.peer.mtu}")
        )
    return [f"{head}: alias {link.alias}", *(f"{head}: {name} {value}" for name, value in values)]
