# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations of overlay networks that cannot be right: one line that names the object, the field, the value and what
would be right."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.spec.overlay import parse, parse_all

GOOD: dict[str, Any] = {
    "name": "web",
    "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}, {"subnet": "fd50::/64"}],
    "endpoints": [{"ip": "10.50.0.12", "ip6": "fd50::12", "vtep": "10.98.0.2"}],
    "peers": [{"host": "h2", "vtep": "10.98.0.2"}],
}


def subnet(**change: Any) -> dict[str, Any]:
    return {"subnets": [{"subnet": "10.50.0.0/24", "vni": 5000, **change}], "endpoints": []}


def end(**change: Any) -> dict[str, Any]:
    return {"endpoints": [{"ip": "10.50.0.12", "vtep": "10.98.0.2", **change}]}


def ends(*members: dict[str, Any]) -> dict[str, Any]:
    return {"endpoints": [{"vtep": "10.98.0.2", **member} for member in members]}


def subnets(*members: dict[str, Any]) -> dict[str, Any]:
    return {"subnets": list(members), "endpoints": []}


# (what differs from GOOD, what the line has to name)
BAD: list[tuple[dict[str, Any], list[str]]] = [
    # subnets
    (subnets({"subnet": "10.50.0.0/24", "vni": 1}, {"subnet": "10.50.0.128/25", "vni": 2}), ["10.50.0.128/25", "overlaps 10.50.0.0/24"]),
    (subnets({"subnet": "10.50.0.0/24", "vni": 1}, {"subnet": "10.0.0.0/8", "vni": 2}), ["overlaps", "10.0.0.0/8"]),
    (subnets({"subnet": "10.50.0.0/24", "vni": 1}, {"subnet": "10.50.0.0/24", "vni": 2}), ["overlaps"]),
    (subnets({"subnet": "fd50::/48", "vni": 1}, {"subnet": "fd50::/64", "vni": 2}), ["overlaps", "fd50::/48"]),
    (subnets(), ["subnets", "declare at least one"]),
    (subnet(subnet="10.50.0.1/24"), ["10.50.0.1/24", "host bits", "10.50.0.0/24"]),
    (subnet(subnet="10.50.0.0"), ["10.50.0.0", "ADDRESS/LENGTH"]),
    (subnet(subnet="10.50.0.0/33"), ["10.50.0.0/33"]),
    (subnet(subnet="10.50.0.0/31"), ["10.50.0.0/31", "room for two"]),
    (subnet(subnet="224.0.0.0/24"), ["224.0.0.0/24", "unicast"]),
    (subnet(subnet="127.0.0.0/24"), ["127.0.0.0/24"]),
    (subnet(subnet="ff05::/64"), ["ff05::/64"]),
    (subnet(subnet="fe80::/64"), ["fe80::/64", "link-local"]),
    (subnet(subnet="fd50::%eth0/64"), ["fd50::%eth0/64"]),
    (subnet(subnet=["10.50.0.0/24"]), ["subnet"]),
    (subnet(subnet=None), ["subnet", "None"]),
    (subnet(subnett="x"), ["subnett", "no such option"]),
    # gateway, range, reserved addresses
    (subnet(gateway="10.51.0.1"), ["gateway", "10.51.0.1", "outside 10.50.0.0/24"]),
    (subnet(gateway="10.50.0.0"), ["gateway", "10.50.0.0", "network or broadcast"]),
    (subnet(gateway="10.50.0.255"), ["gateway", "10.50.0.255"]),
    (subnet(gateway="fd50::1"), ["gateway", "fd50::1"]),
    (subnet(gateway="10.50.0.1/24"), ["gateway", "without a prefix length"]),
    (subnet(gateway=""), ["gateway"]),
    (subnet(gateway=False), ["gateway", "False"]),
    (subnet(ip_range="10.51.0.0/25"), ["ip_range", "outside 10.50.0.0/24"]),
    (subnet(ip_range="10.0.0.0/8"), ["ip_range", "outside"]),
    (subnet(ip_range="10.50.0.3/25"), ["ip_range", "host bits"]),
    (subnet(ip_range="fd50::/80"), ["ip_range", "outside"]),
    (subnet(ip_range="10.50.0.255/32"), ["10.50.0.255", "network or broadcast"]),
    (subnet(aux_addresses={"a": "10.50.0.1"}), ["aux_addresses.a", "10.50.0.1", "gateway"]),
    (subnet(gateway="10.50.0.9", aux_addresses={"a": "10.50.0.9"}), ["aux_addresses.a", "gateway"]),
    (subnet(aux_addresses={"a": "10.50.0.7", "b": "10.50.0.7"}), ["aux_addresses.b", "10.50.0.7", "a has it"]),
    (subnet(aux_addresses={"a": "10.9.0.7"}), ["aux_addresses.a", "outside"]),
    (subnet(aux_addresses={"a b": "10.50.0.7"}), ["aux_addresses", "letters"]),
    (subnet(aux_addresses=["10.50.0.7"]), ["aux_addresses", "mapping"]),
    # VNI
    (subnet(vni=1 << 24), ["vni", str(1 << 24), str((1 << 24) - 1)]),
    (subnet(vni=0), ["vni", "0"]),
    (subnet(vni=-1), ["vni", "-1"]),
    (subnet(vni="5000"), ["vni", "'5000'"]),
    (subnet(vni=True), ["vni", "True"]),
    (subnet(vni=1.5), ["vni", "1.5"]),
    (subnet(vni=None), ["vni", "10.50.0.0/24"]),
    (subnets({"subnet": "10.50.0.0/24", "vni": 1}, {"subnet": "10.51.0.0/24", "vni": 1}), ["vni", "10.50.0.0/24 has it"]),
    (subnets({"subnet": "fd50::/64"}), ["vni", "fd50::/64"]),
    # MTU
    ({"mtu": 1279}, ["mtu", "1279", "1280"]),
    ({**subnet(), "mtu": 575}, ["mtu", "575", "576"]),
    ({"mtu": 65536}, ["mtu", "65536"]),
    ({"mtu": "1450"}, ["mtu", "'1450'"]),
    ({"mtu": True}, ["mtu", "True"]),
    # endpoints
    (ends({"ip": "10.50.0.12"}, {"ip": "10.50.0.12", "mac": "02:00:00:00:00:01"}), ["endpoints[1].ip", "10.50.0.12"]),
    (ends({"ip6": "fd50::12"}, {"ip6": "fd50:0::12"}), ["endpoints[1].ip6"]),
    (ends({"ip": "10.50.0.12"}, {"ip": "10.50.0.13", "mac": "02:42:0A:32:00:0C"}), ["endpoints[1].mac", "02:42:0a:32:00:0c"]),
    (end(mac="01:00:5e:00:00:01"), ["endpoints[0].mac", "unicast"]),
    (end(mac="02:42"), ["endpoints[0].mac", "six pairs"]),
    (end(mac=7), ["endpoints[0].mac", "7"]),
    (end(mac=0), ["endpoints[0].mac", "0"]),
    (end(ip="10.51.0.1"), ["endpoints[0].ip", "10.51.0.1", "no subnet"]),
    (end(ip="10.50.0.1"), ["endpoints[0].ip", "gateway"]),
    (end(ip="10.50.0.255"), ["endpoints[0].ip", "broadcast"]),
    (end(ip="fd50::1"), ["endpoints[0].ip", "IPv4"]),
    (end(ip6="10.50.0.7"), ["endpoints[0].ip6", "IPv6"]),
    (end(ip=None), ["endpoints[0].ip"]),
    (end(ip="010.50.0.12"), ["endpoints[0].ip"]),
    (end(vtep=None), ["endpoints[0].vtep"]),
    (end(vtep="0.0.0.0"), ["endpoints[0].vtep", "0.0.0.0"]),
    (end(vtep="fd98::2"), ["fd98::2", "one address family"]),
    (end(color="red"), ["color", "no such option"]),
    ({"endpoints": {"ip": "10.50.0.12"}}, ["endpoints", "list"]),
    ({"endpoints": ["10.50.0.12"]}, ["endpoints[0]", "mapping"]),
    # peers and the data path
    ({"peers": [{"host": "h2"}]}, ["peers[h2].vtep", "crosshost_vtep"]),
    ({"peers": [{"host": "h2", "vtep": ""}]}, ["peers[h2].vtep"]),
    ({"peers": [{"vtep": "h2.example"}]}, ["peers[0].vtep", "h2.example"]),
    ({"peers": [{"vtep": "239.1.1.1"}]}, ["peers[0].vtep", "multicast"]),
    ({"peers": [{"host": "a", "vtep": "10.98.0.2"}, {"host": "b", "vtep": "10.98.0.2"}]}, ["peers[b].vtep", "a has it"]),
    ({"peers": [{"host": "a", "vtep": "10.98.0.2", "mtu": 100}]}, ["peers[a].mtu", "100"]),
    ({"peers": [{"host": 7, "vtep": "10.98.0.2"}]}, ["peers[0].host", "7"]),
    ({"peers": "10.98.0.2"}, ["peers", "list"]),
    ({"peers": [{"vtep": "fd98::2"}]}, ["one address family"]),
    ({"data_path_address": "fd98::1"}, ["one address family"]),
    ({"data_path_address": "127.0.0.1"}, ["data_path_address", "127.0.0.1"]),
    ({"data_path_address": 0}, ["data_path_address", "0"]),
    ({"data_path_address": []}, ["data_path_address", "[]"]),
    ({"data_path_interface": "eth0; reboot"}, ["data_path_interface", "eth0; reboot"]),
    ({"data_path_interface": "a-name-of-sixteen"}, ["data_path_interface", "15"]),
    ({"data_path_interface": {}}, ["data_path_interface", "{}"]),
    ({"data_path_port": 0}, ["data_path_port", "0"]),
    ({"data_path_port": 65536}, ["data_path_port", "65536"]),
    ({"data_path_port": "4789"}, ["data_path_port", "'4789'"]),
    # control plane and the rest
    ({"control_plane": "evil"}, ["control_plane", "evil", "static, flood, multicast"]),
    ({"control_plane": ["static"]}, ["control_plane"]),
    ({"control_plane": "multicast"}, ["multicast_group", "239.1.1.1"]),
    ({"control_plane": "multicast", "multicast_group": "10.0.0.1"}, ["multicast_group", "10.0.0.1"]),
    ({"multicast_group": "239.1.1.1"}, ["multicast_group", "control_plane: multicast"]),
    ({"internal": "yes"}, ["internal", "'yes'"]),
    ({"attachable": 1}, ["attachable", "1"]),
    ({"labels": ["a"]}, ["labels", "mapping"]),
    ({"labels": {"a": {}}}, ["labels"]),
    ({"encrypt": True}, ["encrypt", "no such option"]),
    ({"bad\noption": True}, ["no such option"]),
    (subnet(aux_addresses={"a\nb": "10.50.0.7"}), ["aux_addresses"]),
    ({"peers": [{"host": "a\nb", "vtep": "nowhere"}]}, ["nowhere"]),
    *[({"name": name}, ["name", "letters"]) for name in ("a/b", "../x", "a..b", ".", "", "a b", "$(x)", "a;b", "-a", "a\n", "ä", 7, None, [])],
    ({"name": "n" * 61}, ["61", "60"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "parts"), BAD, ids=[str(change)[:70] for change, _parts in BAD])
def test_what_cannot_be_right_is_refused_in_one_line(change: dict[str, Any], parts: list[str]) -> None:
    item = {**copy.deepcopy(GOOD), **change}
    with pytest.raises(SpecError) as caught:
        parse(item)
    line = str(caught.value)
    assert line.startswith("overlay_network ")
    assert line.isprintable(), "one line, nothing that moves a terminal's cursor"
    assert [part for part in parts if part not in line] == [], line


def test_the_good_one_is_good() -> None:
    network = parse(GOOD)
    assert [(one.cidr, one.vni, one.gateway) for one in network.subnets] == [
        ("10.50.0.0/24", 5000, "10.50.0.1"),
        ("fd50::/64", 5000, "fd50::1"),
    ]
    assert network.endpoints[0].mac == "02:42:0a:32:00:0c"


ACROSS: list[tuple[list[dict[str, Any]], list[str]]] = [
    ([GOOD, {"name": "db", "subnets": [{"subnet": "10.50.0.128/25", "vni": 5}]}], ["db", "overlaps 10.50.0.0/24", "web"]),
    ([GOOD, {"name": "db", "subnets": [{"subnet": "10.60.0.0/24", "vni": 5000}]}], ["db", "vni", "5000", "web"]),
    ([GOOD, {"name": "web", "subnets": [{"subnet": "10.60.0.0/24", "vni": 6}]}], ["web", "declared twice"]),
]  # fmt: skip


@pytest.mark.parametrize(("items", "parts"), ACROSS)
def test_networks_are_checked_against_each_other(items: list[dict[str, Any]], parts: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        parse_all(items)
    assert [part for part in parts if part not in str(caught.value)] == [], str(caught.value)


def test_one_vni_on_two_ports_is_two_tunnels() -> None:
    other = {"name": "db", "subnets": [{"subnet": "10.60.0.0/24", "vni": 5000}], "data_path_port": 4790}
    assert len(parse_all([GOOD, other])) == 2


@pytest.mark.parametrize(
    ("change", "gateway"),
    [
        ({}, "10.50.0.1"),
        ({"gateway": "none"}, ""),
        ({"gateway": "10.50.0.254"}, "10.50.0.254"),
        ({"ip_range": "10.50.0.128/25"}, "10.50.0.128"),
        ({"ip_range": "10.50.0.0/25"}, "10.50.0.1"),
        ({"subnet": "fd50::/64"}, "fd50::1"),
        ({"subnet": "fd50:0:0::/64", "gateway": "FD50::0:2"}, "fd50::2"),
    ],
)
def test_gateways(change: dict[str, Any], gateway: str) -> None:
    assert parse({**GOOD, **subnet(**change)}).subnets[0].gateway == gateway
