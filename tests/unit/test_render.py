# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations and states as text."""

from __future__ import annotations

import json

import pytest
from ansible_collections.crosshost.network.plugins.module_utils import render
from ansible_collections.crosshost.network.plugins.module_utils.plan import Op, plan
from ansible_collections.crosshost.network.plugins.module_utils.resources import (
    Address,
    FdbEntry,
    Link,
    Neighbour,
    Netns,
    NftChain,
    NftElement,
    Peer,
    Record,
    Resource,
    Route,
    Sysctl,
    state_of,
)

BRIDGE = Link(
    "xh-a",
    "br1",
    "bridge",
    "crosshost:a",
    1450,
    "5a:00:00:00:00:01",
    attrs=(("default_pvid", 0), ("mcast_snooping", 0)),
)
TUNNEL = Link(
    "xh-a",
    "vx1",
    "vxlan",
    "crosshost:a",
    1450,
    master="br1",
    attrs=(("id", 1), ("learning", 0), ("local", "10.98.0.1"), ("port", 4789), ("proxy", 1)),
    port=(("learning", 0),),
)
PAIR = Link(
    "",
    "vg1",
    "veth",
    "crosshost:g/b",
    1500,
    master="gw",
    peer=Peer("box", "gw0", "02:42:ac:1e:00:02", 1500),
    port=(("isolated", 1),),
)
RULE = json.dumps(
    [{"match": {"op": "!=", "left": {"meta": {"key": "oifname"}}, "right": "gw"}}, {"masquerade": None}]
)
CHAIN = NftChain("", "inet", "gw-nat", "nat", "postrouting", 100, (RULE,))

CREATED: list[tuple[Resource, list[str]]] = [
    (Netns("xh-a", "crosshost:a"), ["ip netns add xh-a", "ip -n xh-a link set lo alias crosshost:a up"]),
    (BRIDGE, [
        "ip -n xh-a link add br1 address 5a:00:00:00:00:01 group 30840 type bridge vlan_default_pvid 0 mcast_snooping 0",
        "ip -n xh-a link set br1 alias crosshost:a mtu 1450",
        "ip -n xh-a link set br1 up",
    ]),
    (TUNNEL, [
        "ip link add vx1 netns xh-a group 30840 type vxlan id 1 local 10.98.0.1 dstport 4789 nolearning proxy",
        "ip -n xh-a link set vx1 alias crosshost:a mtu 1450 master br1",
        "bridge -n xh-a link set dev vx1 learning off",
        "ip -n xh-a link set vx1 up",
    ]),
    (PAIR, [
        "ip link add vg1 group 30840 mtu 1500 type veth peer name gw0 group 30840 mtu 1500 address 02:42:ac:1e:00:02 netns box",
        "ip link set vg1 alias crosshost:g/b master gw",
        "bridge link set dev vg1 isolated on",
        "ip link set vg1 up",
        "ip -n box link set gw0 alias crosshost:g/b",
        "ip -n box link set gw0 up",
    ]),
    (Address("xh-a", "br1", "fd00::1", 64), ["ip -n xh-a addr add fd00::1/64 dev br1 nodad"]),
    (Address("/proc/7/ns/net", "eth0", "10.0.0.1", 24), ["nsenter --net=/proc/7/ns/net ip addr add 10.0.0.1/24 dev eth0"]),
    (Route("box", "::/0", "gw0", "fd00::1"), ["ip -n box -6 route add ::/0 via fd00::1 dev gw0 proto static"]),
    (Neighbour("xh-a", "vx1", "10.0.0.2", "02:42:0a:00:00:02"), ["ip -n xh-a neigh replace 10.0.0.2 lladdr 02:42:0a:00:00:02 dev vx1 nud permanent"]),
    (FdbEntry("xh-a", "vx1", "02:42:0a:00:00:02", "10.98.0.2"), ["bridge -n xh-a fdb replace 02:42:0a:00:00:02 dev vx1 dst 10.98.0.2 self permanent"]),
    (FdbEntry("xh-a", "vx1", "00:00:00:00:00:00", "10.98.0.2"), ["bridge -n xh-a fdb append 00:00:00:00:00:00 dev vx1 dst 10.98.0.2 self permanent"]),
    (FdbEntry("xh-a", "ve1", "02:42:0a:00:00:05"), ["bridge -n xh-a fdb replace 02:42:0a:00:00:05 dev ve1 master static"]),
    (Sysctl("", "net.ipv4.ip_forward", "1"), ["sysctl -w net.ipv4.ip_forward=1"]),
    (Sysctl("xh-a", "net.ipv4.ip_forward", "1"), ["ip netns exec xh-a sysctl -w net.ipv4.ip_forward=1"]),
    (CHAIN, [
        "nft add table inet crosshost",
        "nft add chain inet crosshost gw-nat '{ type nat hook postrouting priority 100; policy accept; }'",
        "nft add rule inet crosshost gw-nat meta oifname != gw masquerade",
    ]),
    (Record("overlay_network", "a", "{}"), ["# record overlay_network a"]),
]  # fmt: skip


@pytest.mark.parametrize(("item", "lines"), CREATED, ids=[type(item).__name__ for item, _lines in CREATED])
def test_creating(item: Resource, lines: list[str]) -> None:
    assert render.commands([Op(None, item)]) == lines


CHANGED: list[tuple[Resource, Resource, list[str]]] = [
    (BRIDGE, BRIDGE._replace(mtu=1400, up=False), ["ip -n xh-a link set br1 mtu 1400", "ip -n xh-a link set br1 down"]),
    (TUNNEL, TUNNEL._replace(port=()), ["bridge -n xh-a link set dev vx1 learning on"]),
    (TUNNEL, TUNNEL._replace(master="", port=()), ["ip -n xh-a link set vx1 nomaster"]),
    (TUNNEL._replace(master="br0"), TUNNEL, ["ip -n xh-a link set vx1 master br1", "bridge -n xh-a link set dev vx1 learning off"]),
    (Route("box", "10.0.0.0/8", "eth0"), Route("box", "10.0.0.0/8", "eth0", "10.1.0.1"), ["ip -n box route replace 10.0.0.0/8 via 10.1.0.1 dev eth0 proto static"]),
    (Netns("xh-a", ""), Netns("xh-a", "crosshost:a"), ["ip -n xh-a link set lo alias crosshost:a up"]),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "lines"), CHANGED)
def test_changing(before: Resource, after: Resource, lines: list[str]) -> None:
    assert render.commands([Op(before, after)]) == lines


def test_deleting() -> None:
    items: list[Resource] = [Netns("xh-a", "crosshost:a"), TUNNEL, CHAIN, FdbEntry("xh-a", "vx1", "02:42:0a:00:00:02", "10.98.0.2"), Record("gwbridge", "g", "{}")]  # fmt: skip
    assert render.commands([Op(item, None) for item in items]) == [
        "ip netns del xh-a",
        "ip -n xh-a link del vx1",
        "nft flush chain inet crosshost gw-nat",
        "nft delete chain inet crosshost gw-nat",
        "bridge -n xh-a fdb del 02:42:0a:00:00:02 dev vx1 dst 10.98.0.2 self",
        "# forget gwbridge g",
    ]


def test_rows_beyond_the_first_two_hundred_of_a_device_are_counted() -> None:
    rows: list[Resource] = [
        FdbEntry("xh-a", "vx1", f"02:00:00:00:{n // 256:02x}:{n % 256:02x}", "10.98.0.2") for n in range(250)
    ]
    more: list[Resource] = [FdbEntry("xh-a", "vx2", "02:00:00:00:00:01", "10.98.0.2")]
    lines = render.commands([Op(None, item) for item in rows + more])
    assert len(lines) == 200 + 1 + 1
    assert lines[-1] == "# and 50 more FDB rows to create on vx1 in xh-a, 250 in all"
    text = render.listing(rows + more)
    assert "xh-a: vx1: 50 more FDB rows" in text
    assert len(text.splitlines()) == 202


def test_chains_and_elements_beyond_the_first_two_hundred_of_a_table_are_counted() -> None:
    found: list[Resource] = [NftChain("box", "inet", "base", "nat", "output", -100, ())]
    for n in range(230):
        found.append(NftChain("box", "inet", f"service-web/s{n}-4", "", "", 0, ('[{"accept":null}]',)))
        found.append(NftElement("box", "inet", "vip4", f'"10.0.1.{n}"', f"service-web/s{n}-4"))
    lines = render.commands([Op(item, None) for item in found])
    assert lines[-2:] == [
        "# and 30 more chains to delete in nft table crosshost in box, 230 in all",
        "# and 30 more elements to delete in nft map vip4 in box, 230 in all",
    ]
    assert sum("service-web/s199-4" in line for line in lines) == 2 + 1
    assert "service-web/s200-4" not in "".join(lines)
    assert "box: nft map vip4: 30 more elements\n" in render.listing(found)


def test_a_listing_is_sorted_and_says_everything_that_can_differ() -> None:
    state = state_of([item for item, _lines in CREATED])
    lines = render.listing(state.values()).splitlines()
    assert lines == sorted(lines)
    assert "xh-a: vxlan vx1: local 10.98.0.1" in lines
    assert "host: veth vg1: port isolated 1" in lines
    for item, change in ((TUNNEL, {"mtu": 1}), (TUNNEL, {"up": False}), (TUNNEL, {"port": ()}), (PAIR, {"master": ""}), (BRIDGE, {"mac": ""})):  # fmt: skip
        assert render.listing([item]) != render.listing([item._replace(**change)])


def test_no_plan_no_text() -> None:
    state = state_of([item for item, _lines in CREATED])
    assert render.commands(plan(state, state)) == []
    assert render.listing([]) == ""
