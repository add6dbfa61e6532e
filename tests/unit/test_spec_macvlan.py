# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations of macvlan and ipvlan networks: what is accepted, and what is refused by one line that names the object, the
field, the value and what would be right."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.spec.macvlan import MODES, parse, parse_all

LAN: dict[str, Any] = {
    "name": "lan",
    "parent": "eth0",
    "subnets": [
        {"subnet": "192.168.1.0/24", "gateway": "192.168.1.1", "ip_range": "192.168.1.128/25"},
        {"subnet": "fd01::/64"},
    ],
}
PLAIN = [{"subnet": "192.168.1.0/24"}]

# (what differs from LAN, what the line has to name)
BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"name": "a/b"}, ["name", "'a/b'"]),
    ({"driver": "bridge"}, ["driver", "'bridge'", "macvlan, ipvlan"]),
    ({"mode": "l2"}, ["mode", "'l2'", "bridge, private, vepa, passthru"]),
    ({"mode": "source"}, ["mode", "'source'"]),
    ({"driver": "ipvlan", "mode": "bridge"}, ["mode", "'bridge'", "l2, l3, l3s"]),
    ({"color": "red"}, ["color", "no such option"]),
    # the parent
    ({"parent": "lo"}, ["parent", "'lo'", "eth0"]),
    ({"parent": "lo.10"}, ["parent", "'lo.10'"]),
    ({"parent": "eth0.0"}, ["parent", "'eth0.0'", "1 to 4094"]),
    ({"parent": "eth0.4095"}, ["parent", "'eth0.4095'", "1 to 4094"]),
    ({"parent": "eth0.010"}, ["parent", "leading zeros"]),
    ({"parent": "eth0.-1"}, ["parent", "'eth0.-1'"]),
    ({"parent": "eth0.x"}, ["parent", "'eth0.x'", "VLAN id"]),
    ({"parent": "eth0.\u0661"}, ["parent"]),
    ({"parent": "eth0."}, ["parent", "'eth0.'"]),
    ({"parent": ".10"}, ["parent", "'.10'"]),
    ({"parent": "eth0.10.20"}, ["parent", "two dots", "eth0.10"]),
    ({"parent": "eth0..10"}, ["parent", "single dots"]),
    ({"parent": "a-long-interface"}, ["parent", "16 bytes", "15"]),
    ({"parent": "longinterf.4094"[:16] + "4"}, ["parent", "15"]),
    ({"parent": "eth 0"}, ["parent", "'eth 0'"]),
    ({"parent": 7}, ["parent", "7"]),
    # internal
    ({"internal": True}, ["internal", "eth0", "drop one"]),
    ({"parent": None, "internal": False}, ["parent", "internal: true"]),
    ({"parent": None}, ["subnets[192.168.1.0/24].gateway", "192.168.1.1", "internal"]),
    ({"internal": "yes"}, ["internal", "true or false"]),
    # subnets
    ({"subnets": []}, ["subnets", "192.168.1.0/24"]),
    ({"subnets": [{"subnet": "192.168.1.0/24", "vni": 7}]}, ["vni", "no such option"]),
    ({"subnets": [*PLAIN, {"subnet": "192.168.1.128/25"}]}, ["192.168.1.128/25", "overlaps"]),
    ({"subnets": [{"subnet": "192.168.1.0/24", "gateway": "192.168.2.1"}]}, ["gateway", "192.168.2.1", "outside 192.168.1.0/24"]),
    ({"subnets": [{"subnet": "192.168.1.0/24", "gateway": "192.168.1.255"}]}, ["gateway", "broadcast"]),
    ({"subnets": [{"subnet": "192.168.1.0/24", "ip_range": "192.168.2.0/25"}]}, ["ip_range", "outside"]),
    ({"driver": "ipvlan", "mode": "l3"}, ["gateway", "192.168.1.1", "mode l3", "drop"]),
    ({"driver": "ipvlan", "mode": "l3s"}, ["gateway", "mode l3s"]),
    # the host's part
    ({"host_range": "192.168.1.0/26"}, ["host_range", "'192.168.1.0/26'", "192.168.1.128/25"]),
    ({"host_range": "192.168.1.0/24"}, ["host_range", "outside"]),
    ({"host_range": "10.0.0.0/26"}, ["host_range", "outside"]),
    ({"host_range": "fd01::/48"}, ["host_range", "outside"]),
    ({"host_range": ["192.168.1.128/27", "192.168.1.160/27"]}, ["host_range", "192.168.1.160/27", "one a subnet"]),
    ({"host_range": "192.168.1.129/27"}, ["host_range", "host bits"]),
    ({"host_range": 5}, ["host_range", "list"]),
    # the shim
    ({"shim": "192.168.2.5"}, ["shim", "192.168.2.5", "no subnet", "192.168.1.0/24"]),
    ({"shim": "192.168.1.5/32"}, ["shim", "without a prefix"]),
    ({"shim": "192.168.1.1"}, ["shim", "gateway"]),
    ({"shim": "192.168.1.0"}, ["shim", "network or broadcast"]),
    ({"shim": "fd01::5"}, ["shim", "IPv4"]),
    ({"shim6": "192.168.1.5"}, ["shim6", "IPv6"]),
    ({"shim": True}, ["shim", "True"]),
    ({"shim": "192.168.1.5", "mode": "private"}, ["shim", "private"]),
    ({"shim": "192.168.1.5", "mode": "passthru"}, ["shim", "passthru"]),
    ({"shim": "192.168.1.5", "driver": "ipvlan", "mode": "l3", "subnets": PLAIN}, ["shim", "mode l3"]),
    ({"shim": "192.168.1.5", "driver": "ipvlan", "mode": "l3s", "subnets": PLAIN}, ["shim", "mode l3s"]),
    # the rest
    ({"promiscuous": "yes"}, ["promiscuous", "true or false"]),
    ({"promiscuous": True, "driver": "ipvlan"}, ["promiscuous", "ipvlan"]),
    ({"promiscuous": True, "parent": None, "subnets": PLAIN}, ["promiscuous", "no parent"]),
    ({"mtu": 1279}, ["mtu", "1280"]),
    ({"mtu": 575, "subnets": PLAIN}, ["mtu", "576"]),
    ({"mtu": "1500"}, ["mtu", "'1500'"]),
    ({"labels": ["a"]}, ["labels", "mapping"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), BAD)
def test_refused(change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        parse({**LAN, **change})
    line = str(caught.value)
    assert line.startswith("macvlan ") and line.isprintable()
    for word in words:
        assert word in line, line


def test_defaults() -> None:
    network = parse(LAN)
    assert (network.driver, network.mode, network.parent, network.base, network.vlan) == ("macvlan", "bridge", "eth0", "eth0", 0)  # fmt: skip
    assert [subnet.gateway for subnet in network.subnets] == ["192.168.1.1", ""]
    assert (network.internal, network.promiscuous, network.mtu, network.shim) == (False, False, None, ())
    assert parse({**LAN, "driver": "ipvlan"}).mode == "l2"


def test_a_vlan_as_parent() -> None:
    for parent, vlan in (("eth0.1", 1), ("eth0.4094", 4094), ("longinterf.4094", 4094)):
        network = parse({**LAN, "parent": parent})
        assert (network.parent, network.base, network.vlan) == (parent, parent.partition(".")[0], vlan)


def test_without_parent_it_is_internal() -> None:
    for given in ({}, {"internal": True}, {"parent": ""}):
        network = parse({"name": "alone", "subnets": PLAIN, **given})
        assert network.internal and not network.parent


def test_the_shim_may_have_an_address_that_was_set_aside_for_it() -> None:
    aside = {"subnet": "192.168.1.0/24", "aux_addresses": {"host": "192.168.1.5"}}
    network = parse(
        {**LAN, "subnets": [aside, {"subnet": "fd01::/64"}], "shim": "192.168.1.5", "shim6": "fd01:0::5"}
    )
    assert network.shim == ("192.168.1.5", "fd01::5")
    assert "192.168.1.5" in network.reserved and "fd01::5" in network.reserved


def test_host_ranges_are_parts_of_the_ranges() -> None:
    assert parse({**LAN, "host_range": "192.168.1.128/27"}).host_range == ("192.168.1.128/27",)
    both = parse({**LAN, "host_range": ["192.168.1.192/26", "fd01::1000/116"]})
    assert both.host_range == ("192.168.1.192/26", "fd01::1000/116")


def on(parent: str, number: int, **more: Any) -> dict[str, Any]:
    return {"name": f"n{number}", "parent": parent, "subnets": [{"subnet": f"10.0.{number}.0/24"}], **more}


def test_one_parent_for_several_macvlan_networks() -> None:
    modes = ("bridge", "private", "vepa")
    assert len(parse_all([on("eth0", number, mode=mode) for number, mode in enumerate(modes)])) == 3


TOGETHER: list[tuple[list[dict[str, Any]], list[str]]] = [
    ([on("eth0", 1), on("eth0", 2, driver="ipvlan")], ["macvlan n2", "driver 'ipvlan'", "macvlan n1", "eth0"]),
    ([on("eth0", 1, driver="ipvlan"), on("eth0", 2)], ["macvlan n2", "driver 'macvlan'", "n1 is ipvlan"]),
    ([on("eth0", 1, driver="ipvlan"), on("eth0", 2, driver="ipvlan")], ["macvlan n2", "parent 'eth0'", "n1 has it"]),
    ([on("eth0.7", 1, driver="ipvlan"), on("eth0.7", 2, driver="ipvlan")], ["parent 'eth0.7'"]),
    ([on("eth0", 1, mode="passthru"), on("eth0", 2)], ["macvlan n1", "parent 'eth0'", "passthru", "n2"]),
    ([on("eth0", 1), on("eth0", 2, mode="passthru")], ["macvlan n2", "parent 'eth0'", "passthru", "n1"]),
    ([on("eth0", 1, mode="passthru"), on("eth0", 2, mode="passthru")], ["passthru"]),
    ([on("eth0", 1), on("eth1", 1)], ["n1", "declared twice"]),
    ([on("eth0", 1), {**on("eth1", 1), "name": "n2"}], ["n2", "10.0.1.0/24", "overlaps"]),
]  # fmt: skip


@pytest.mark.parametrize(("items", "words"), TOGETHER)
def test_refused_together(items: list[dict[str, Any]], words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        parse_all(items)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_what_may_stand_side_by_side() -> None:
    items = [
        on("eth0", 1, mode="passthru"),
        on("eth0.1", 2, driver="ipvlan"),
        on("eth0.2", 3, driver="ipvlan", mode="l3"),
        on("eth1", 4),
        {"name": "a", "subnets": [{"subnet": "10.1.0.0/24"}], "mode": "passthru"},
        {"name": "b", "subnets": [{"subnet": "10.2.0.0/24"}], "driver": "ipvlan"},
    ]
    assert len(parse_all(items)) == len(items)


def test_modes_are_those_of_the_kernel() -> None:
    for driver, modes in MODES.items():
        for mode in modes:
            item = {"name": "n", "parent": "eth0", "subnets": PLAIN, "driver": driver, "mode": mode}
            network = parse(item)
            assert network.alone == (mode == "passthru") and network.routed == (mode in ("l3", "l3s"))
