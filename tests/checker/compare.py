# SPDX-License-Identifier: GPL-3.0-or-later
"""The differences between what a host has to hold and what it holds, one readable line each."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from . import names
from .expect import SANDBOX, ZERO_MAC, Host, Wanted, bridge_blocks
from .expect_macvlan import promiscuous
from .read import HOST, Device, Facts, Runner, Space, local_runner, read_host
from .settle import shared_names, wrong_modes
from .tables import TABLE, compare_table, tables
from .whole import wanted_host

_GROUP = "30840"
_PARENTS = ("vlan", "dummy")  # what they list are the MAC addresses of their children


def check(host: Host, run: Runner = local_runner) -> list[str]:
    """Read a host's kernel through ``run`` and compare it with the host's declarations. [] when all is as declared."""
    networks = host.get("ingress") or []
    joined = [*(host.get("endpoints") or []), *(leg for one in networks for leg in one.get("legs") or [])]
    pids = {str(end["pid"]) for end in joined if end.get("pid")}
    return compare(host, read_host(run, sorted(pids)))


def compare(host: Host, facts: Facts) -> list[str]:
    found = [f"/run/netns/{name}: a dead name, no namespace" for name in facts.dead]
    found += wrong_modes(host, facts)
    shared = shared_names(host)
    facts = replace(facts, spaces={name: one for name, one in facts.spaces.items() if name not in shared})
    spaces, wrong = wanted_host(host, facts)
    names.add_legs(spaces, host)
    found += wrong
    for name, wanted in spaces.items():
        space = facts.spaces.get(name)
        if space is None:
            found.append(f"namespace {name}: missing")
            continue
        found += [f"{name or 'host'}: {line}" for line in _space(name, wanted, space, facts)]
        if not names.serves(host, name):
            found += [f"{name or 'host'}: {line}" for line in _rules(name, wanted, space)]
    for name, space in facts.spaces.items():
        ours = name.startswith("xh-") or space.mark.startswith("crosshost:")
        if name not in spaces and ours:
            found.append(f"namespace {name}: unexpected (marked {space.mark!r})")
    for name, wanted in spaces.items():
        if wanted.leg and name in facts.spaces:
            found += [f"{name}: {line}" for line in _leg(name, wanted, host, facts)]
    found += _tunnel_sockets(host, facts)
    found += promiscuous(host, facts)
    found += names.compare_names(spaces, host, facts)
    return found + _legs_of_nobody(spaces, facts)


def _rules(name: str, wanted: Wanted, space: Space) -> Iterator[str]:
    yield from compare_table(wanted.table, space)
    for family, table in tables(space):
        if name and not wanted.foreign and (family, table) != ("inet", TABLE):
            yield f"nft table {family} {table}: unexpected"


def _space(name: str, wanted: Wanted, space: Space, facts: Facts) -> Iterator[str]:
    whole = bool(name) and not wanted.foreign  # of the host and of foreign sandboxes, only our part counts
    if whole:
        yield from _loopback(wanted, space)
    ours: dict[str, str] = {}
    for label, attributes in wanted.links.items():
        device = _find(label, attributes, space)
        if device is None:
            yield f"link {label}: missing"
            continue
        ours[label] = device.name
        yield from (f"link {device.name}: {line}" for line in _link(attributes, device, space, facts))
    skipped = {"lo", "gw0"} if wanted.leg else {"lo"}
    for device in space.devices.values():
        if device.name in skipped or device.name in ours.values():
            continue
        leg = not name and device.alias.startswith("crosshost:") and "@" in device.alias  # compared by _leg
        if whole or ((device.alias.startswith("crosshost:") or device.group == _GROUP) and not leg):
            yield f"link {device.name}: unexpected ({device.kind or 'device'}, alias {device.alias!r})"
    looked_at = set(space.devices) - skipped if whole else set(ours.values())
    near = {(dev, address, _mac_of(mac, facts)) for dev, address, mac in wanted.neighbours}
    wanted = replace(wanted, neighbours=near)
    yield from _tables(wanted, space, ours, looked_at)
    for setting, value in wanted.settings.items():
        present = facts.setting(name, setting)
        if present != value:
            yield f"setting {setting}: is {present}, should be {value}"


def _loopback(wanted: Wanted, space: Space) -> Iterator[str]:
    lo = space.devices["lo"]
    if lo.alias != wanted.mark:
        yield f"mark: alias of lo is {lo.alias!r}, should be {wanted.mark!r}"
    if not lo.up:
        yield "link lo: is down"
    extra = {row for row in space.addresses if row[0] == "lo"} - {("lo", "127.0.0.1/8"), ("lo", "::1/128")}
    yield from (f"address {address} on lo: unexpected" for _lo, address in sorted(extra))


def _mac_of(text: str, facts: Facts) -> str:
    """A MAC, or that of a device: ``@namespace/device``."""
    if not text.startswith("@"):
        return text
    netns, _, name = text[1:].partition("/")
    device = facts.spaces[netns].devices.get(name) if netns in facts.spaces else None
    return device.mac if device else f"that of {text[1:]}"


def _find(label: str, wanted: Mapping[str, Any], space: Space) -> Device | None:
    """By its name, or by its alias (``@alias#kind`` where several kinds have it)."""
    if not label.startswith("@"):
        return space.devices.get(label)
    alias, _, kind = label[1:].partition("#")
    some = (one for one in space.devices.values() if one.alias == alias)
    return next((one for one in some if not kind or one.kind == wanted["kind"]), None)


def _link(wanted: Mapping[str, Any], device: Device, space: Space, facts: Facts) -> Iterator[str]:
    present = {
        "kind": device.kind,
        "alias": device.alias,
        "group": device.group,
        "mtu": device.mtu,
        "mac": device.mac,
        "up": device.up,
        "master": device.master,
        "mcast_snooping": device.data.get("mcast_snooping"),
        "id": device.data.get("id"),
        "port": device.data.get("port"),
        "local": device.data.get("local", device.data.get("local6")),
        "learning": device.data.get("learning"),
        "proxy": device.data.get("proxy", False),
        "multicast": device.data.get("group", device.data.get("group6", "")),
        "mode": device.data.get("mode"),
        "parent": _lower(device, space, facts.spaces[HOST]),
        "local_mac": bool(device.mac and int(device.mac[:2], 16) & 2),
    }
    for field, value in wanted.items():
        if field == "pattern":
            if not re.fullmatch(value, device.name):
                yield f"name: should match {value}"
            continue
        found = device.port.get(field[5:]) if field.startswith("port ") else present[field]
        if found != value:
            yield f"{field}: is {found!r}, should be {value!r}"
    if wanted.get("kind") == "vxlan" and device.lower:
        lower = _lower(device, space, facts.spaces[HOST])
        if lower not in facts.spaces[HOST].devices:
            yield f"lower device: {lower} is none of the host's"


def _lower(device: Device, space: Space, host: Space) -> str:
    text = device.lower
    if text in space.devices:
        number = space.devices[text].index  # iproute2 took the host's number for one of this namespace
    elif text.startswith("if"):
        number = int(text[2:])
    else:
        return text
    return next((one.name for one in host.devices.values() if one.index == number), text)


def _tables(wanted: Wanted, space: Space, ours: Mapping[str, str], looked_at: set[str]) -> Iterator[str]:
    present = {row for row in space.addresses if row[0] in looked_at}
    yield from _sets("address", wanted.addresses, present)
    connected = {
        (str(ipaddress.ip_interface(address).network), dev, "")
        for dev, address in wanted.addresses
        if not address.endswith("/32")  # which leads to itself alone
    }
    routes = {
        row for row in space.routes if row[1] in looked_at or (looked_at and row[1] not in space.devices)
    }
    yield from _sets("route", connected | wanted.routes, {row[:3] for row in routes})
    for target, dev, _gateway, protocol in sorted(routes):
        if " table " in protocol:
            yield f"route {target} on {dev}: it is in another table than main ({protocol})"
    near = {row for row in space.neighbours if row[0] in looked_at}
    yield from _sets("neighbour", wanted.neighbours, near)
    yield from _forwarding(wanted, space, ours, looked_at)


def _forwarding(wanted: Wanted, space: Space, ours: Mapping[str, str], looked_at: set[str]) -> Iterator[str]:
    rows: set[tuple[str, ...]] = set()
    port_rows: set[tuple[str, ...]] = set()
    macs = {device.mac for device in space.devices.values()}
    for dev, mac, dst, state in space.fdb:
        if dev not in looked_at or space.devices[dev].kind in _PARENTS:
            continue
        if state == "static":
            port_rows.add((dev, mac))
        elif dst and state == "self permanent":
            rows.add((dev, mac, dst))
        elif state.endswith("permanent"):
            if mac not in macs and not int(mac[:2], 16) & 1:
                yield f"FDB row {mac} on {dev}: unexpected ({state})"
        elif dev not in wanted.learns and space.devices[dev].port.get("learning") is not True:
            yield f"FDB row {mac} on {dev} {dst}: learned where nothing should be ({state})"
    yield from _sets("FDB row", wanted.rows, rows)
    yield from _sets("FDB row", {(ours.get(label, label), mac) for label, mac in wanted.port_rows}, port_rows)


def _sets(what: str, wanted: Iterable[tuple[str, ...]], present: Iterable[tuple[str, ...]]) -> Iterator[str]:
    should, found = set(wanted), set(present)
    yield from (f"{what} {' '.join(row)}: missing" for row in sorted(should - found))
    yield from (f"{what} {' '.join(row)}: unexpected" for row in sorted(found - should))


def _leg(name: str, wanted: Wanted, host: Host, facts: Facts) -> Iterator[str]:
    """A sandbox's way out: gw0 inside, a port of the gateway bridge outside."""
    bridge = next((b for b in host["gwbridges"] if (b.get("name") or "xh_gwbridge") == wanted.leg), None)
    inner = facts.spaces[name].devices.get("gw0")
    if bridge is None or inner is None:
        yield f"link gw0: missing, the way to the gateway bridge {wanted.leg}"
        return
    outer = [one for one in facts.spaces[HOST].devices.values() if one.alias == inner.alias]
    if not inner.alias.startswith(f"crosshost:{wanted.leg}/") or len(outer) != 1:
        yield f"link gw0: alias {inner.alias!r} does not lead to one port of {wanted.leg}"
        return
    port = outer[0]
    mtu = int(bridge.get("mtu") or 1500)
    common = {"kind": "veth", "mtu": mtu, "up": True, "group": _GROUP}
    shown = {
        **common,
        "master": wanted.leg,
        "pattern": "vg[0-9a-f]{10}",
        "port isolated": not bridge.get("icc") and not wanted.gate,
        "port hairpin": bool(bridge.get("icc")),
    }
    yield from (
        f"link gw0: {line}" for line in _link({**common, "master": ""}, inner, facts.spaces[name], facts)
    )
    yield from (f"port {port.name}: {line}" for line in _link(shown, port, facts.spaces[HOST], facts))
    yield from _leg_addresses(name, wanted, bridge, facts)


def _leg_addresses(name: str, leg: Wanted, bridge: Mapping[str, Any], facts: Facts) -> Iterator[str]:
    space = facts.spaces[name]
    present = {address for dev, address in space.addresses if dev == "gw0"}
    routes = {row[:3] for row in space.routes if row[1] == "gw0"}
    wanted = set()
    for block, gateway in bridge_blocks(bridge):
        mine = [one for one in present if ipaddress.ip_interface(one).network == block]
        if len(mine) != 1 or mine[0].split("/")[0] == gateway:
            yield f"link gw0: addresses {sorted(present)}: one of {block} is needed, not the gateway's"
        others = {
            address
            for other, one in facts.spaces.items()
            for _dev, address in one.addresses
            if other != name and address in mine
        }
        if others:
            yield f"link gw0: address {', '.join(others)} is in another namespace too"
        wanted.add((str(block), "gw0", ""))
        if block.version in leg.routed:
            wanted.add(("0.0.0.0/0" if block.version == 4 else "::/0", "gw0", gateway))
    if len(present) != len(bridge_blocks(bridge)):
        yield f"link gw0: {len(present)} addresses, should be {len(bridge_blocks(bridge))}"
    yield from _sets("route", wanted, routes)


def _legs_of_nobody(spaces: Mapping[str, Wanted], facts: Facts) -> list[str]:
    used = {
        facts.spaces[name].devices["gw0"].alias
        for name, wanted in spaces.items()
        if wanted.leg and name in facts.spaces and "gw0" in facts.spaces[name].devices
    }
    return [
        f"host: link {device.name}: unexpected leg ({device.alias})"
        for device in facts.spaces[HOST].devices.values()
        if device.alias.startswith("crosshost:") and "@" in device.alias and device.alias not in used
    ]


def _tunnel_sockets(host: Host, facts: Facts) -> Iterator[str]:
    """Tunnels receive on a socket of the host's namespace: made anywhere else, they would be deaf."""
    ports = {int(one.get("data_path_port") or 4789) for one in host.get("overlay_networks") or []}
    if not ports:
        return
    listening = facts.run(["ss", "-Huln"])
    for port in sorted(ports):
        if not re.search(rf":{port}\s", listening):
            yield f"host: no UDP socket on port {port} for the tunnels"


__all__ = ["SANDBOX", "ZERO_MAC", "check", "compare"]
