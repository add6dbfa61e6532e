# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a host has to hold, namespace by namespace."""

from __future__ import annotations

from collections.abc import Mapping

from .expect import SANDBOX, Host, Wanted, add_endpoint, add_gwbridge, sandbox_of, wanted_network
from .expect_bridge import add_bridged, add_bridges
from .expect_ingress import add_ingress
from .expect_macvlan import add_child, add_macvlans
from .expect_publish import add_published
from .expect_service import add_services
from .read import Facts
from .settle import End, bridge_device, mode_of, networks_of, own_block, routed, settle, ways_out

_EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


def wanted_host(host: Host, facts: Facts) -> tuple[dict[str, Wanted], list[str]]:
    """Every namespace of ours, and the host's own (""); and what is wrong with what the host chose itself."""
    spaces = {"": Wanted("")}
    for network in host.get("overlay_networks") or []:
        spaces[f"xh-{network['name']}"] = wanted_network(network, host)
    for bridge in host.get("gwbridges") or []:
        add_gwbridge(spaces[""], bridge)
    ends, found = settle(host, facts)
    outs = ways_out(host, ends)
    add_bridges(spaces[""], host)
    add_macvlans(spaces[""], host, ends, facts)
    _endpoints(spaces, host, ends, facts)
    _ways_out(spaces, host, outs)
    found += add_published(spaces[""], host, ends, outs, facts)
    add_services(spaces, host, ends)
    add_ingress(spaces, host, facts)
    bridges = [bridge_device(one) for one in networks_of(host).values() if one["kind"] == "bridge"]
    for name in [*bridges, *(one.get("name") or "xh_gwbridge" for one in host.get("gwbridges") or [])]:
        # where no port of 127.0.0.1 leads
        spaces[""].settings.setdefault(f"net.ipv4.conf.{name.replace('.', '/')}.route_localnet", "0")
    return spaces, found


def _endpoints(spaces: dict[str, Wanted], host: Host, ends: list[End], facts: Facts) -> None:
    networks = networks_of(host)
    for end in host.get("endpoints") or []:
        if mode_of(end) in ("", "none"):
            inner = spaces.setdefault(sandbox_of(end), Wanted(SANDBOX, foreign=True))
            inner.foreign = inner.foreign and not end.get("create")
    for end in ends:
        network, inner = networks[end["network"]], spaces[sandbox_of(end)]
        if network["kind"] == "overlay":
            add_endpoint(spaces[f"xh-{end['network']}"], inner, end, network, host)
        elif network["kind"] == "bridge":
            add_bridged(spaces[""], inner, end, network)
        else:
            add_child(inner, end, network, facts)


def _ways_out(spaces: Mapping[str, Wanted], host: Host, outs: Mapping[str, Mapping[int, End]]) -> None:
    networks = networks_of(host)
    for place, ways in outs.items():
        inner = spaces[place]
        over_leg = []
        for version, end in ways.items():
            network = networks[end["network"]]
            if network["kind"] == "overlay":
                inner.leg = end.get("gwbridge") or "xh_gwbridge"
                over_leg.append(version)
            else:
                _block, gateway = own_block(network, end["ip" if version == 4 else "ip6"])
                way = (_EVERYWHERE[version], end["interface"], "" if routed(network) else gateway)
                inner.routes.add(way)
        inner.routed = tuple(over_leg)
