# SPDX-License-Identifier: GPL-3.0-or-later
"""Of any cluster: the views of its hosts agree with each other and with the declaration."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils import view, view_slices
from ansible_collections.crosshost.network.plugins.module_utils.spec import endpoint, gwbridge, overlay
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster import Cluster, parse_cluster
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster_hosts import Declared
from hypothesis import given

from tests.support.declarations import declarations


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
def test_the_same_declaration_gives_the_same_views(declared: list[Declared]) -> None:
    copy = [Declared(one.name, json.loads(json.dumps(one.variables))) for one in declared]
    assert json.dumps(views(parse_cluster(declared, {}))) == json.dumps(views(parse_cluster(copy, {})))


def test_a_slice_does_not_grow_with_the_cluster() -> None:
    """A host's own slice is as long among 200 hosts as among 2, whatever the others have."""

    def own(count: int) -> int:
        ends = [
            {"host": f"h{n}", "network": f"n{n}", "sandbox": "s", "ip": f"10.1.{n}.9"} for n in range(count)
        ]
        networks = [
            {"name": f"n{n}", "subnets": [{"subnet": f"10.1.{n}.0/24", "vni": 5 + n}], "hosts": [f"h{n}"]}
            for n in range(count)
        ]
        services = [
            {
                "name": "svc",
                "network": f"n{n}",
                "vip": f"10.1.{n}.99",
                "tasks": ["s"],
                "ports": [f"{8000 + n}"],
            }
            for n in range(count)
        ]
        shared = {
            "crosshost_networks": networks,
            "crosshost_endpoints": ends,
            "crosshost_services": services,
            "crosshost_ingress": {"subnets": [{"subnet": "10.2.0.0/16", "vni": 4}]},
        }
        declared = [
            Declared(f"h{n}", {"crosshost_vtep": f"192.168.0.{n + 1}", **shared}) for n in range(count)
        ]
        found = dict(view_slices.slices(parse_cluster(declared, {})))
        return sum(len(json.dumps(found[name])) for name in ("host h1", "services n1", "names n1"))

    assert own(200) == own(2)
