# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's declaration: what each mistake is called, and what one host gets to see of the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils import view
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster import parse_cluster
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster_hosts import (
    Declared,
    Facts,
    Interface,
    facts_of,
)

from tests.support.clusters import DB, ENDS, WEB, cluster, end


def test_view_of_a_host() -> None:
    found = view.view_of(
        cluster(each={"h2": {"crosshost_underlay_mtu": "9000", "ansible_host": "10.97.0.2"}}), "h1"
    )
    two, three = {"host": "h2", "vtep": "10.98.0.2", "mtu": 9000}, {"host": "h3", "vtep": "10.98.0.3"}
    far = {"mac": "02:42:0a:00:01:0c", "ip": "10.0.1.12", "vtep": "10.98.0.2"}
    far_db = {"mac": "02:42:0a:00:02:0c", "ip": "10.0.2.12", "vtep": "10.98.0.2"}
    records = [{"name": "a", "addresses": ["10.0.1.11"]}, {"name": "b", "addresses": ["10.0.1.12"]}]
    brief = [WEB, {field: DB[field] for field in ("name", "subnets")}]
    assert found == {
        "host": "h1",
        "networks": [{**WEB, "endpoints": [far]}, {**brief[1], "peers": [two], "endpoints": [far_db]}],
        "networks_brief": brief,
        "peers": [two, three],
        "gwbridges": [{"subnet": "172.30.0.0/16"}],
        "endpoints": [{"network": "web", "sandbox": "a", "ip": "10.0.1.11"}],
        "firewall_sources": ["10.98.0.2", "10.97.0.2", "10.98.0.3"],
        "firewall_ports": ["2377/tcp", "7946/tcp", "7946/udp", "4789/udp"],
        "firewall_forwards": ["xh_gwbridge"],
        "bridge_networks": [],
        "macvlan_networks": [],
        "uses": ["names"],
        "services": [],
        "names": [{"network": "web", "services": [], "records": records}],
        "ingress": [],
        "data_path_address": "10.98.0.1",
        "data_path_interface": None,
        "data_path_port": 4789,
        "data_path_mtu": None,
    }


def test_a_limited_network_is_not_on_other_hosts() -> None:
    assert [item["name"] for item in view.view_of(cluster(), "h3")["networks"]] == ["web"]


def test_hosts_may_be_groups() -> None:
    front = {**DB, "hosts": ["front", "h3"]}
    found = cluster(networks=[front], ends=[])
    assert found.networks["db"].hosts == {"h1", "h3"}


def test_endpoints_in_host_variables_belong_to_that_host() -> None:
    mine = {f"h{n}": {"crosshost_endpoints": [end(None, "web", "x", f"10.0.1.2{n}")]} for n in (1, 2, 3)}
    found = cluster(each=mine)
    assert {host: [item["ip"] for item in items] for host, items in found.local.items()} == {
        "h1": ["10.0.1.21"],
        "h2": ["10.0.1.22"],
        "h3": ["10.0.1.23"],
    }
    assert [row[0] for row in found.networks["web"].rows] == ["h1", "h2", "h3"]


def test_one_list_evaluated_for_each_host_counts_once() -> None:
    copies = {f"h{n}": {"crosshost_endpoints": json.loads(json.dumps(ENDS))} for n in (1, 2, 3)}
    assert cluster(each=copies).local == cluster().local


def test_flooded_networks_have_no_remote_endpoints() -> None:
    found = view.view_of(cluster(networks=[{**WEB, "control_plane": "flood"}], ends=ENDS[:2]), "h1")
    assert "endpoints" not in found["networks"][0]


def test_ports_that_networks_use_are_opened() -> None:
    found = view.view_of(cluster(networks=[WEB, {**DB, "data_path_port": 5000}]), "h1")
    assert found["firewall_ports"][3:] == ["4789/udp", "5000/udp"]
    chosen = view.view_of(cluster(crosshost_firewall_ports=["4789/udp"]), "h1")
    assert chosen["firewall_ports"] == ["4789/udp"]


def test_gateway_bridge_can_be_refused() -> None:
    ends = [{**one, "default_route": False} for one in ENDS]
    assert view.view_of(cluster(ends=ends, crosshost_gwbridge={}), "h1")["gwbridges"] == []


def test_a_misspelt_variable_is_pointed_out() -> None:
    (warning,) = cluster(crosshost_netwroks=[]).warnings
    assert "crosshost_netwroks" in warning and "crosshost_networks" in warning
    assert cluster(crosshost_site_name="x").warnings == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ends": [end("h9", "web", "a", "10.0.1.11")]}, "endpoint web/a: host 'h9': there is no such host"),
        (
            {"ends": [end("h1", "wbe", "a", "10.0.1.11")]},
            "endpoint wbe/a: network 'wbe': there is no such network",
        ),
        (
            {"ends": [end("h3", "db", "a", "10.0.2.11")]},
            "endpoint db/a: host 'h3': network db is not on host h3",
        ),
        (
            {"ends": [*ENDS, end("h3", "web", "c", "10.0.1.12")]},
            "endpoint web/c on host h3: ip '10.0.1.12': endpoint web/b on host h2 has it already",
        ),
        (
            {"ends": [*ENDS, end("h3", "web", "c", "10.0.1.13", mac="02:42:0a:00:02:0c")]},
            "endpoint web/c on host h3: mac '02:42:0a:00:02:0c': endpoint db/b on host h2 has it already",
        ),
        (
            {"ends": [end("h1", "web", "a", "10.0.1.1")]},
            "endpoint web/a on host h1: ip '10.0.1.1': it is the gateway of 10.0.1.0/24",
        ),
        (
            {"ends": [end("h1", "web", "a", "10.0.9.1")]},
            "endpoint web/a on host h1: ip '10.0.9.1': it is in no subnet",
        ),
        ({"ends": [end("h1", "web", "a", "10.0.1.5", sandbx="a")]}, "sandbx 'a': there is no such option"),
        ({"ends": [ENDS[0], ENDS[0]]}, "endpoint web/a on host h1: name 'a': it is declared twice"),
        ({"ends": "all"}, "host h1: crosshost_endpoints 'all': give a list"),
        (
            {"networks": [{**WEB, "host": ["h1"]}]},
            "overlay_network web: host ['h1']: there is no such option",
        ),
        ({"networks": [{**WEB, "peers": []}]}, "overlay_network web: peers []: there is no such option"),
        ({"networks": [WEB, WEB]}, "overlay_network web: name 'web': it is declared twice"),
        ({"networks": [{**WEB, "hosts": ["h9"]}]}, "overlay_network web: hosts 'h9': there is no such host"),
        (
            {"networks": [{**WEB, "hosts": ["empty"]}]},
            "overlay_network web: hosts 'empty': no host of this group",
        ),
        (
            {"networks": [WEB, {**DB, "subnets": [{"subnet": "10.0.2.0/24", "vni": 4101}]}]},
            "overlay_network db: vni 4101: network web uses this VNI",
        ),
        (
            {"networks": [WEB, {**DB, "subnets": [{"subnet": "10.0.1.128/25", "vni": 4102}]}]},
            "overlay_network db: subnet '10.0.1.128/25': it overlaps 10.0.1.0/24 of overlay_network web",
        ),
        (
            {"networks": [{**WEB, "subnets": [{"subnet": "10.98.0.0/16", "vni": 1}]}], "ends": []},
            "overlay_network web: subnet '10.98.0.0/16': the VTEP of host h1, 10.98.0.1, is inside",
        ),
        ({"crosshost_gwbridge": {"subnet": "10.0.1.0/26"}}, "overlaps"),
        ({"crosshost_gwbridge": {"subnet": "10.9.0.0/24", "icq": True}}, "icq True: there is no such option"),
        ({"crosshost_firewall_ports": ["53"]}, "host h1: crosshost_firewall_ports '53': write PORT/PROTOCOL"),
        (
            {"crosshost_firewall_extra_sources": ["0.0.0.0/0"]},
            "host h1: crosshost_firewall_extra_sources '0.0.0.0/0': that is everyone",
        ),
        ({"each": {"h2": {"crosshost_vtep": "10.98.0.1"}}}, "host h2: VTEP '10.98.0.1': host h1 has it too"),
        ({"each": {"h2": {"crosshost_vtep": None}}}, "host h2: crosshost_vtep None: set it"),
        (
            {"each": {"h3": {"crosshost_vtep": None, "crosshost_data_path_interface": "eth1"}}},
            "host h3: crosshost_data_path_interface 'eth1': its address is not known",
        ),
        ({"each": {"h2": {"crosshost_vtep": "fd98::2"}}}, "VTEP of host h2 'fd98::2': host h1 has 10.98.0.1"),
        (
            {"each": {"h2": {"crosshost_data_path_port": 8472}}},
            "host h2: crosshost_data_path_port 8472: host h1 has 4789",
        ),
        (
            {"each": {"h2": {"crosshost_networks": [{**WEB, "mtu": 1400}, DB]}}},
            "overlay_network web: mtu 1400: on host h2, but None on host h1",
        ),
        ({"crosshost_underlay_mtu": "big"}, "host h1: crosshost_underlay_mtu 'big': an MTU in bytes"),
    ],
)
def test_mistakes(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        cluster(**change)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_host_outside_of_the_cluster() -> None:
    with pytest.raises(
        SpecError, match="host h9: crosshost_group None: the host is not in the cluster's group"
    ):
        view.view_of(cluster(), "h9")


GATHERED = {
    "interfaces": ["lo", "eth0", "br-1"],
    "lo": {"ipv4": {"address": "127.0.0.1"}, "mtu": 65536},
    "eth0": {"ipv4": {"address": "10.97.0.1"}, "mtu": 1500},
    "br_1": {
        "ipv6": [{"address": "fe80::1", "scope": "link"}, {"address": "fd98::1", "scope": "global"}],
        "mtu": 9000,
    },
    "default_ipv4": {"address": "10.97.0.1", "interface": "eth0", "mtu": 1500},
    "default_ipv6": {},
}


def test_gathered_facts() -> None:
    found = facts_of(GATHERED)
    assert found.default == ("10.97.0.1",)
    assert found.interfaces["br-1"] == Interface(9000, ("fd98::1",))
    assert facts_of({}) == Facts({}, ())


@pytest.mark.parametrize(
    ("variables", "vtep", "mtu"),
    [
        ({}, "10.97.0.1", 1500),
        ({"crosshost_data_path_interface": "br-1"}, "fd98::1", 9000),
        ({"crosshost_vtep": "fd98::1"}, "fd98::1", 9000),
        ({"crosshost_vtep": "fd98::1", "crosshost_underlay_mtu": 1400}, "fd98::1", 1400),
        ({"crosshost_vtep": "10.1.1.1"}, "10.1.1.1", None),
    ],
)
def test_data_path_from_facts(variables: dict[str, Any], vtep: str, mtu: int | None) -> None:
    found = view.view_of(parse_cluster([Declared("h1", variables, facts_of(GATHERED))], {}), "h1")
    assert (found["data_path_address"], found["data_path_mtu"]) == (vtep, mtu)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"crosshost_data_path_interface": "eth7"}, "it has br-1, eth0, lo"),
        ({"crosshost_vtep": "10.97.0.1", "crosshost_data_path_interface": "br-1"}, "the host has it on eth0"),
    ],
)
def test_data_path_that_facts_contradict(variables: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        parse_cluster([Declared("h1", variables, facts_of(GATHERED))], {})
