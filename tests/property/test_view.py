# SPDX-License-Identifier: GPL-3.0-or-later
"""Of any cluster: the views of its hosts agree with each other and with the declaration."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils import view
from ansible_collections.crosshost.network.plugins.module_utils.spec import endpoint, gwbridge, overlay
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster import Cluster, parse_cluster
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster_hosts import Declared
from hypothesis import given
from hypothesis import strategies as st


@st.composite
def declarations(draw: st.DrawFn) -> list[Declared]:
    """Up to 6 hosts and 4 networks, on all hosts or some, with endpoints in them, listed for the group or by host."""
    hosts = [f"h{n}" for n in range(draw(st.integers(1, 6)))]
    networks, ends = [], []
    for n in range(draw(st.integers(0, 4))):
        subnets: list[dict[str, Any]] = [{"subnet": f"10.0.{n}.0/24", "vni": 5000 + n}]
        six = draw(st.booleans())
        if six:
            subnets.append({"subnet": f"fd00:{n + 1}::/64"})
        network: dict[str, Any] = {"name": f"n{n}", "subnets": subnets}
        plane = draw(st.sampled_from([None, "static", "flood"]))
        if plane:
            network["control_plane"] = plane
        here = hosts
        if draw(st.booleans()):
            here = draw(st.lists(st.sampled_from(hosts), min_size=1, unique=True))
            network["hosts"] = here
        networks.append(network)
        for k in range(draw(st.integers(0, 5))):
            item = {"host": draw(st.sampled_from(here)), "network": f"n{n}", "sandbox": f"s{k}"}
            which = draw(st.sampled_from(["ip", "both", "ip6"] if six else ["ip"]))
            if which != "ip6":
                item["ip"] = f"10.0.{n}.{k + 10}"
            if which != "ip":
                item["ip6"] = f"fd00:{n + 1}::{k + 10}"
            if draw(st.booleans()):
                item["mac"] = f"02:00:00:00:{n:02x}:{k:02x}"
            ends.append(item)
    shared = draw(st.booleans())
    return [
        Declared(
            host,
            {
                "crosshost_vtep": f"192.168.0.{n + 1}",
                "ansible_host": f"172.16.0.{n + 1}",
                "crosshost_networks": networks,
                "crosshost_endpoints": ends
                if shared
                else [{k: v for k, v in one.items() if k != "host"} for one in ends if one["host"] == host],
            },
        )
        for n, host in enumerate(hosts)
    ]


def views(cluster: Cluster) -> dict[str, dict[str, Any]]:
    return {host: view.view_of(cluster, host) for host in cluster.hosts}


def identity(network: str, item: dict[str, Any]) -> tuple[str, str, str]:
    return network, item.get("ip", ""), item.get("ip6", "")


@given(declarations())
def test_an_endpoint_is_local_once_and_remote_on_the_other_hosts_of_its_network(
    declared: list[Declared],
) -> None:
    cluster = parse_cluster(declared, {})
    found = views(cluster)
    local = {
        identity(item["network"], item): (host, item)
        for host, one in found.items()
        for item in one["endpoints"]
    }
    assert len(local) == sum(len(one["endpoints"]) for one in found.values())
    for host, one in found.items():
        remote = {
            identity(net["name"], far): far for net in one["networks"] for far in net.get("endpoints", [])
        }
        static = {net["name"] for net in one["networks"] if net.get("control_plane", "static") == "static"}
        assert set(remote) == {
            key for key, (holder, _item) in local.items() if holder != host and key[0] in static
        }
        for key, far in remote.items():
            holder, item = local[key]
            assert far["vtep"] == cluster.hosts[holder].vtep
            assert far["mac"] == item.get("mac", far["mac"])
        assert {item["network"] for item in one["endpoints"]} <= {net["name"] for net in one["networks"]}


@given(declarations())
def test_hosts_see_each_other_alike(declared: list[Declared]) -> None:
    found = views(parse_cluster(declared, {}))
    for host, one in found.items():
        assert {peer["host"] for peer in one["peers"]} == set(found) - {host}
        assert len(one["firewall_sources"]) == 2 * len(one["peers"])
        for peer in one["peers"]:
            assert peer["vtep"] == found[peer["host"]]["data_path_address"]
        for net in one["networks"]:
            others = {
                other
                for other in found
                if any(net["name"] == far["name"] for far in found[other]["networks"])
            }
            if "peers" in net:
                assert {peer["host"] for peer in net["peers"]} == others - {host}
            else:
                assert others == set(found)


@given(declarations())
def test_views_pass_the_modules_own_checks(declared: list[Declared]) -> None:
    for one in views(parse_cluster(declared, {})).values():
        defaults = {"peers": one["peers"], "data_path_address": one["data_path_address"]}
        networks = {
            net.name: net for net in overlay.parse_all([{**defaults, **net} for net in one["networks"]])
        }
        bridges = {bridge.name: bridge for bridge in gwbridge.parse_all(one["gwbridges"])}
        for own in endpoint.parse_all(one["endpoints"], networks, bridges):
            # what the others are told of it is what the module makes
            assert all(own.mac != far.mac for far in networks[own.network].endpoints)


@given(declarations())
def test_the_mac_that_others_know_is_the_one_that_the_host_gives(declared: list[Declared]) -> None:
    cluster = parse_cluster(declared, {})
    for host, items in cluster.local.items():
        for item in items:
            network = cluster.networks[item["network"]]
            rows = [row for row in network.rows if row[0] == host and row[1:3] == identity("", item)[1:]]
            parsed = overlay.parse(network.item)
            bridges = {"xh_gwbridge": gwbridge.parse({"subnet": "172.30.0.0/16"})}
            expected = endpoint.parse(item, {parsed.name: parsed}, bridges).mac
            static = parsed.control_plane == "static"
            assert [row[3] for row in rows] == ([expected] if static else [])


@given(declarations())
def test_slices_give_the_same_view(declared: list[Declared]) -> None:
    cluster = parse_cluster(declared, {})
    base, rows = json.loads(json.dumps([view.common(cluster), view.host_rows(cluster)]))
    networks = json.loads(json.dumps(dict(view.network_slices(cluster))))
    for host, own in json.loads(json.dumps(list(view.host_slices(cluster)))):
        mine = {name: networks[name] for name in own["networks"]}
        whole = view.view_of(cluster, host)
        assert view.view_of(view.part(base, own, rows, mine), host) == whole
        brief = view.view_of(view.part(base, own, [], {}), host)
        assert {k: v for k, v in brief.items() if k not in view.LONG} == {
            k: v for k, v in whole.items() if k not in view.LONG
        }


@given(declarations())
def test_the_same_declaration_gives_the_same_views(declared: list[Declared]) -> None:
    copy = [Declared(one.name, json.loads(json.dumps(one.variables))) for one in declared]
    assert json.dumps(views(parse_cluster(declared, {}))) == json.dumps(views(parse_cluster(copy, {})))


def test_a_slice_does_not_grow_with_the_cluster() -> None:
    """A host's own slice is as long among 200 hosts as among 2."""

    def own(count: int) -> int:
        ends = [{"host": f"h{n}", "network": "n", "sandbox": "s", "ip": f"10.1.{n}.9"} for n in range(count)]
        networks = [{"name": "n", "subnets": [{"subnet": "10.1.0.0/16", "vni": 5}]}]
        shared = {"crosshost_networks": networks, "crosshost_endpoints": ends}
        declared = [
            Declared(f"h{n}", {"crosshost_vtep": f"192.168.0.{n + 1}", **shared}) for n in range(count)
        ]
        return len(json.dumps(dict(view.host_slices(parse_cluster(declared, {})))["h1"]))

    assert own(200) == own(2)
