# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of all drivers together, with the gateway bridges: no two share a name or an address block."""

from __future__ import annotations

import ipaddress
import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Optional, Union

from ..errors import SpecError
from . import gwbridge, overlay
from .bridge import Bridge
from .cluster_bridges import Own, parse_bridges
from .cluster_endpoints import Placed, label
from .cluster_hosts import Declared, Host
from .cluster_ingress import Ground, parse_ground
from .cluster_macvlan import Lan, parse_macvlans
from .cluster_networks import (
    NETWORK_OPTIONS,
    Groups,
    Network,
    Spans,
    collect,
    on_host,
    one_family,
    place,
    refuse_shared_names,
)
from .gwbridge import Gwbridge
from .networks import Network as Joinable
from .overlay import Overlay
from .subnets import Subnet, refuse_overlaps

VARIABLE = "crosshost_networks"


class Networks(NamedTuple):
    """The networks of a cluster: ``placed`` and ``overlays`` are the overlays where they are and what they mean. ``bridges``
    and ``gateways`` are by host. ``ground``: the ingress network."""

    placed: dict[str, Network]
    overlays: dict[str, Overlay]
    lans: dict[str, Lan]
    bridges: dict[str, dict[str, Own]]
    gateways: dict[str, dict[str, Gwbridge]]
    ground: Optional[Ground]

    def names(self) -> dict[str, str]:
        """How errors call the networks that endpoints can join, by name."""
        found = {name: one.obj for name, one in self.overlays.items()}
        found.update((name, lan.parsed.obj) for name, lan in self.lans.items())
        for mine in self.bridges.values():
            found.update((name, own.parsed.obj) for name, own in mine.items())
        return found

    def on(self, name: str, host: str) -> Optional[Joinable]:
        """The network of that name, if it is on the host."""
        if name in self.placed:
            return self.overlays[name] if self.placed[name].on(host) else None
        if name in self.lans:
            return self.lans[name].parsed if host in self.lans[name].items else None
        own = self.bridges[host].get(name)
        return own.parsed if own else None


def parse_networks(
    declared: Sequence[Declared], hosts: Mapping[str, Host], groups: Groups, port: int
) -> Networks:
    """All networks, by themselves and against each other; ``port``: of the overlays without their own."""
    shared = collect(declared, VARIABLE, NETWORK_OPTIONS, overlay.label)
    placed = {name: place(name, one.item, hosts, groups) for name, one in shared.items()}
    for name, network in placed.items():
        one_family(overlay.label(name), [host for host in hosts.values() if network.on(host.name)])
    found = Networks(
        placed=placed,
        overlays={},
        lans=parse_macvlans(declared, hosts, groups),
        bridges=parse_bridges(declared, hosts, groups),
        gateways=_parse_gateways(hosts),
        ground=parse_ground(declared, hosts, port),
    )
    _refuse_shared_names(found)
    found.overlays.update(_parse_overlays(found, hosts, port))
    _refuse_overlaps(found)
    _refuse_underlay_inside(hosts, found)
    return found


def _parse_overlays(found: Networks, hosts: Mapping[str, Host], port: int) -> dict[str, Overlay]:
    """Each overlay by itself and all against each other, with one peer for the check of the underlay's family."""
    items = []
    for network in found.placed.values():
        peers = [{"host": host.name, "vtep": host.vtep} for host in hosts.values() if network.on(host.name)]
        items.append({"data_path_port": port, **network.item, "peers": peers[:1]})
    ground = found.ground
    if ground is not None:
        items.append({"data_path_port": port, **ground.item})
    parsed = {one.name: one for one in overlay.parse_all(items)}
    return {name: one for name, one in parsed.items() if ground is None or name != ground.parsed.name}


def _parse_gateways(hosts: Mapping[str, Host]) -> dict[str, dict[str, Gwbridge]]:
    """The gateway bridges of each host, by name. Equal declarations are parsed once."""
    seen: dict[str, dict[str, Gwbridge]] = {"null": {}}
    found = {}
    for host in hosts.values():
        key = json.dumps(host.gwbridge, sort_keys=True, default=str)
        if key not in seen:
            assert host.gwbridge is not None
            try:
                bridge = gwbridge.parse(host.gwbridge)
            except SpecError as error:
                raise _of_gateway(error, error.obj, host.name) from None
            seen[key] = {bridge.name: bridge}
        found[host.name] = seen[key]
    return found


def _of_gateway(error: SpecError, obj: str, host: str) -> SpecError:
    obj = f"{obj} (crosshost_gwbridge of host {host})"
    return SpecError(obj, error.field, error.value, error.remedy)


def _refuse_shared_names(found: Networks) -> None:
    labels = [(name, overlay.label(name)) for name in found.placed]
    labels += [(name, lan.parsed.obj) for name, lan in found.lans.items()]
    own = {name: one.parsed.obj for mine in found.bridges.values() for name, one in mine.items()}
    labels += own.items()
    if found.ground is not None:
        labels.append((found.ground.parsed.name, found.ground.obj))
    refuse_shared_names(labels)


def _refuse_overlaps(found: Networks) -> None:
    """The networks of the whole cluster with each other; then what is each host's own with these, and by itself."""
    owners = [(one.obj, one.subnets) for one in found.overlays.values()]
    owners += [(lan.parsed.obj, lan.parsed.subnets) for lan in found.lans.values()]
    if found.ground is not None:
        owners.append((found.ground.obj, found.ground.parsed.subnets))
    spans = Spans(owners)
    seen = set()
    for host, mine in found.bridges.items():
        gateways = found.gateways[host]
        if (id(mine), id(gateways)) in seen:
            continue
        seen.add((id(mine), id(gateways)))
        try:
            for bridge in gateways.values():
                spans.refuse(bridge.obj, bridge.subnets)
        except SpecError as error:
            raise _of_gateway(error, error.obj, host) from None
        with on_host(host):
            for own in mine.values():
                spans.refuse(own.parsed.obj, own.parsed.subnets)
                if own.parsed.bridge in gateways:
                    remedy = "it is the host's gateway bridge; take another name"
                    raise SpecError(own.parsed.obj, "bridge", own.parsed.bridge, remedy)
            local = [(one.obj, one.subnets) for one in gateways.values()]
            refuse_overlaps([*local, *((own.parsed.obj, own.parsed.subnets) for own in mine.values())])


def _refuse_underlay_inside(hosts: Mapping[str, Host], found: Networks) -> None:
    """A VTEP inside an overlay would send the tunnel through itself; one inside a bridge would go astray. A macvlan network
    is the LAN, where VTEPs may well be."""
    blocks = [(one.obj, subnet) for one in found.overlays.values() for subnet in one.subnets]
    if found.ground is not None:
        blocks += [(found.ground.obj, subnet) for subnet in found.ground.parsed.subnets]
    bridges: dict[Union[Gwbridge, Bridge], None] = {}
    for gateways in found.gateways.values():
        bridges.update(dict.fromkeys(gateways.values()))
    for mine in found.bridges.values():
        bridges.update((own.parsed, None) for own in mine.values())
    blocks += [(one.obj, subnet) for one in bridges for subnet in one.subnets]
    vteps = sorted((*_number(host.vtep), host.name) for host in hosts.values())
    for obj, subnet in blocks:
        _refuse_inside(obj, "subnet", subnet, vteps, hosts)


def _refuse_inside(
    obj: str, field: str, subnet: Subnet, vteps: Sequence[tuple[int, int, str]], hosts: Mapping[str, Host]
) -> None:
    place = bisect_left(vteps, (subnet.version, subnet.first, ""))
    if place < len(vteps) and vteps[place][:2] <= (subnet.version, subnet.last):
        host = hosts[vteps[place][2]]
        remedy = (
            f"the VTEP of host {host.name}, {host.vtep}, is inside; the underlay needs addresses of its own"
        )
        raise SpecError(obj, field, subnet.cidr, remedy)


def _number(address: str) -> tuple[int, int]:
    parsed = ipaddress.ip_address(address)
    return parsed.version, int(parsed)


def refuse_taken_addresses(
    lans: Mapping[str, Lan], placed: Iterable[Placed], hosts: Mapping[str, Host]
) -> None:
    """SpecError if on a LAN an endpoint has the address of a host, or one that another host may hand out."""
    machines = {
        address: f"host {host.name}" for host in hosts.values() for address in (host.vtep, *host.management)
    }
    held = {name: _held(lan, machines) for name, lan in lans.items()}
    for one in placed:
        lan = lans.get(one.parsed.network)
        if lan is None:
            continue
        obj = label(one.host, one.parsed.network, one.parsed.name)
        for field, text in (("ip", one.parsed.ip), ("ip6", one.parsed.ip6)):
            if text in held[lan.parsed.name]:
                remedy = f"{held[lan.parsed.name][text]} has it; take an address that is free on the LAN"
                raise SpecError(obj, field, text, remedy)
            if text:
                lan.refuse_foreign(obj, field, text, one.host)
        addressed = one.parsed.ip or one.parsed.ip6 or "host_range" in lan.items[one.host]
        if not addressed and len(lan.items) > 1:
            remedy = "the network is on several hosts, and without ip_range none knows what the others give; declare one of the two"
            raise SpecError(obj, "ip", None, remedy)


def _held(lan: Lan, machines: Mapping[str, str]) -> dict[str, str]:
    """The addresses of a LAN that are hosts', by whom."""
    found = dict(machines)
    for host in lan.items:
        for text in lan.shim_on(host):
            if text in machines:
                remedy = f"{machines[text]} has it already; take an address that is free on the LAN"
                raise SpecError(lan.parsed.obj, f"shims.{host}", text, remedy)
            found[text] = f"host {host}'s own child"
    ranges = [ipaddress.ip_network(one.ip_range) for one in lan.parsed.subnets if one.ip_range]
    free = lan.parsed.reserved
    for text, owner in machines.items():
        inside = next((block for block in ranges if ipaddress.ip_address(text) in block), None)
        if inside and text not in free:
            remedy = f"{owner} has {text}, which would be handed out; reserve it in aux_addresses, or take another range"
            raise SpecError(lan.parsed.obj, "ip_range", str(inside), remedy)
    return found
