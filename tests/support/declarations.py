# SPDX-License-Identifier: GPL-3.0-or-later
"""Any cluster, as Hypothesis draws it: what its hosts' variables declare, all of it right."""

from __future__ import annotations

from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster_hosts import Declared
from hypothesis import strategies as st

Item = dict[str, Any]


@st.composite
def declarations(draw: st.DrawFn) -> list[Declared]:
    """Up to 6 hosts and 4 overlays, on all hosts or some, with endpoints in them, listed for the group or by host."""
    hosts = _hosts(draw)
    networks, ends = _overlays(draw, hosts)
    return _declared(draw, hosts, ends, {"crosshost_networks": networks})


@st.composite
def clusters(draw: st.DrawFn) -> list[Declared]:
    """The same with networks of the other drivers, services, published ports and an ingress network."""
    hosts = _hosts(draw)
    networks, ends = _overlays(draw, hosts)
    gateways = {"subnet": "172.30.0.0/16", "subnet6": "fd00:172::/64"}
    shared: dict[str, Any] = {"crosshost_networks": networks, "crosshost_gwbridge": gateways}
    shared["crosshost_bridge_networks"] = _bridges(draw, hosts, ends)
    shared["crosshost_macvlan_networks"] = _lans(draw, hosts, ends)
    if draw(st.booleans()):
        subnets: list[Item] = [{"subnet": "10.255.0.0/24", "vni": 4999}, {"subnet": "fd00:255::/64"}]
        keep = draw(st.sampled_from([slice(0, 1), slice(0, 2)]))
        shared["crosshost_ingress"] = {"subnets": subnets[keep]}
        if draw(st.booleans()):
            shared["crosshost_ingress"]["addresses"] = {hosts[0]: "10.255.0.77"}
    shared["crosshost_services"] = _services(draw, ends, "crosshost_ingress" in shared)
    return _declared(draw, hosts, ends, shared)


def _hosts(draw: st.DrawFn) -> list[str]:
    return [f"h{n}" for n in range(draw(st.integers(1, 6)))]


def _declared(
    draw: st.DrawFn, hosts: list[str], ends: list[Item], variables: dict[str, Any]
) -> list[Declared]:
    """The hosts, with their endpoints in one list of the group or in a list each."""
    together = draw(st.booleans())
    return [
        Declared(
            host,
            {
                "crosshost_vtep": f"192.168.0.{n + 1}",
                "ansible_host": f"172.16.0.{n + 1}",
                **variables,
                "crosshost_endpoints": ends
                if together
                else [{k: v for k, v in one.items() if k != "host"} for one in ends if one["host"] == host],
            },
        )
        for n, host in enumerate(hosts)
    ]


def _somewhere(draw: st.DrawFn, hosts: list[str], network: Item) -> list[str]:
    """All hosts, or some, which the network then says."""
    if draw(st.booleans()):
        network["hosts"] = draw(st.lists(st.sampled_from(hosts), min_size=1, unique=True))
        return list(network["hosts"])
    return hosts


def _overlays(draw: st.DrawFn, hosts: list[str]) -> tuple[list[Item], list[Item]]:
    networks, ends = [], []
    for n in range(draw(st.integers(0, 4))):
        subnets: list[Item] = [{"subnet": f"10.0.{n}.0/24", "vni": 5000 + n}]
        six = draw(st.booleans())
        if six:
            subnets.append({"subnet": f"fd00:{n + 1}::/64"})
        network: Item = {"name": f"n{n}", "subnets": subnets}
        plane = draw(st.sampled_from([None, "static", "flood"]))
        if plane:
            network["control_plane"] = plane
        here = _somewhere(draw, hosts, network)
        networks.append(network)
        for k in range(draw(st.integers(0, 5))):
            item: Item = {"host": draw(st.sampled_from(here)), "network": f"n{n}", "sandbox": f"s{k}"}
            which = draw(st.sampled_from(["ip", "both", "ip6"] if six else ["ip"]))
            if which != "ip6":
                item["ip"] = f"10.0.{n}.{k + 10}"
            if which != "ip":
                item["ip6"] = f"fd00:{n + 1}::{k + 10}"
            if draw(st.booleans()):
                item["mac"] = f"02:00:00:00:{n:02x}:{k:02x}"
            ends.append(item)
    return networks, ends


def _bridges(draw: st.DrawFn, hosts: list[str], ends: list[Item]) -> list[Item]:
    found: list[Item] = []
    for n in range(draw(st.integers(0, 2))):
        network: Item = {"name": f"b{n}", "subnets": [{"subnet": f"10.1.{n}.0/24"}]}
        found.append(network)
        # each host's own: the same addresses on all of them
        ends += [
            {"host": host, "network": f"b{n}", "sandbox": f"b{n}s", "ip": f"10.1.{n}.9"}
            for host in _somewhere(draw, hosts, network)
        ]
    return found


def _lans(draw: st.DrawFn, hosts: list[str], ends: list[Item]) -> list[Item]:
    found: list[Item] = []
    for n in range(draw(st.integers(0, 2))):
        subnets: list[Item] = [
            {"subnet": f"10.2.{n}.0/24", "ip_range": f"10.2.{n}.128/25"},
            {"subnet": f"fd02:{n}::/64", "ip_range": f"fd02:{n}::/72"},
        ]
        network: Item = {"name": f"l{n}", "parent": f"eth{n}", "shim": draw(st.booleans())}
        network["subnets"] = subnets[: draw(st.integers(1, 2))]
        network["host_prefix"] = draw(st.integers(28, 31))
        ends += [
            {"host": host, "network": f"l{n}", "sandbox": f"l{n}s"}
            for host in _somewhere(draw, hosts, network)
        ]
        found.append(network)
    return found


def _services(draw: st.DrawFn, ends: list[Item], meshed: bool) -> list[Item]:
    overlays = sorted({one["network"] for one in ends if one["network"].startswith("n")})
    found: list[Item] = []
    for n in range(draw(st.integers(0, 4)) if overlays else 0):
        network = draw(st.sampled_from(overlays))
        mine = [one for one in ends if one["network"] == network]
        chosen = draw(st.lists(st.sampled_from(mine), max_size=4, unique_by=lambda one: one["sandbox"]))
        tasks: list[Any] = [one["sandbox"] for one in chosen]
        if draw(st.booleans()):
            tasks = [
                {"endpoint": one["sandbox"], "host": one["host"], "weight": draw(st.integers(0, 3))}
                for one in chosen
            ]
        item: Item = {"name": f"svc{n}", "network": network, "tasks": tasks}
        item["mode"] = draw(st.sampled_from(["vip", "dnsrr"]))
        if item["mode"] == "vip":
            item["vip"] = f"10.0.{network[1:]}.{200 + n}"
        if meshed and item["mode"] == "vip":
            keep = draw(st.booleans())
            item["ports"] = [f"{8000 + n}:80", {"published": 9000 + n, "keep_client_address": keep}]
            item["affinity"] = draw(st.sampled_from(["none", "source"]))
        if draw(st.booleans()) and len({one["host"] for one in chosen}) == len(chosen):
            item.setdefault("ports", []).append({"published": 7000 + n, "target": 70, "mode": "host"})
        found.append(item)
    return found
