# SPDX-License-Identifier: GPL-3.0-or-later
"""Overlay networks as resources."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.compile.overlay import (
    bridge_mac,
    compile_overlay,
)
from ansible_collections.crosshost.network.plugins.module_utils.resources import (
    ZERO_MAC,
    Address,
    FdbEntry,
    Link,
    Neighbour,
    Netns,
    Resource,
    Sysctl,
)
from ansible_collections.crosshost.network.plugins.module_utils.spec.overlay import parse

VTEP = "10.98.0.1"


def compiled(**change: Any) -> list[Resource]:
    item = {
        "name": "web",
        "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}, {"subnet": "fd50::/64"}],
        "peers": [{"vtep": VTEP}, {"vtep": "10.98.0.2"}, {"vtep": "10.98.0.3"}],
        "endpoints": [
            {"ip": "10.50.0.12", "ip6": "fd50::12", "vtep": "10.98.0.2"},
            {"ip": "10.50.0.11", "vtep": VTEP},
            {"ip6": "fd50::13", "vtep": "10.98.0.3"},
        ],
        **change,
    }
    return list(compile_overlay(parse(item), VTEP, "eth1", 1450))


def of(items: list[Resource], kind: type) -> list[Any]:
    return [item for item in items if isinstance(item, kind)]


def attributes(items: list[Resource], name: str) -> dict[str, Any]:
    return next(dict(link.attrs) for link in of(items, Link) if link.name == name)


def test_a_static_network_knows_every_endpoint_elsewhere_and_floods_nothing() -> None:
    items = compiled()
    assert of(items, Netns) == [Netns("xh-web", "crosshost:web")]
    assert of(items, FdbEntry) == [
        FdbEntry("xh-web", "vx5000", "02:42:0a:32:00:0c", "10.98.0.2"),
        FdbEntry("xh-web", "vx5000", "02:43:00:00:00:13", "10.98.0.3"),
    ]
    assert of(items, Neighbour) == [
        Neighbour("xh-web", "vx5000", "10.50.0.12", "02:42:0a:32:00:0c"),
        Neighbour("xh-web", "vx5000", "fd50::12", "02:42:0a:32:00:0c"),
        Neighbour("xh-web", "vx5000", "fd50::13", "02:43:00:00:00:13"),
    ]
    assert attributes(items, "vx5000") == {"id": 5000, "learning": 0, "local": VTEP, "port": 4789, "proxy": 1}
    assert [link.port for link in of(items, Link) if link.name == "vx5000"] == [(("learning", 0),)]
    assert of(items, Address) == [
        Address("xh-web", "br5000", "10.50.0.1", 24),
        Address("xh-web", "br5000", "fd50::1", 64),
    ]


def test_a_flood_network_sends_to_its_peers_but_not_to_itself() -> None:
    items = compiled(control_plane="flood")
    assert of(items, FdbEntry) == [
        FdbEntry("xh-web", "vx5000", ZERO_MAC, f"10.98.0.{number}") for number in (2, 3)
    ]
    assert of(items, Neighbour) == []
    assert attributes(items, "vx5000")["learning"] == 1


@pytest.mark.parametrize(("gateway", "port"), [(None, (("neigh_suppress", 1),)), ("none", ())])
def test_each_host_answers_for_the_gateway_itself(gateway: str | None, port: tuple[Any, ...]) -> None:
    subnets = [{"subnet": "10.50.0.0/24", "vni": 5000, "gateway": gateway}]
    items = compiled(
        control_plane="flood", subnets=[{k: v for k, v in subnets[0].items() if v}], endpoints=[]
    )
    assert [link.port for link in of(items, Link) if link.kind == "vxlan"] == [port]
    assert len(of(items, Address)) == (0 if gateway else 1)


def test_a_multicast_network_has_a_group_and_its_device() -> None:
    items = compiled(control_plane="multicast", multicast_group="239.1.1.1")
    assert of(items, FdbEntry) == []
    found = attributes(items, "vx5000")
    assert (found["group"], found["dev"]) == ("239.1.1.1", "eth1")


@pytest.mark.parametrize(
    ("subnets", "settings"),
    [
        (["10.50.0.0/24"], []),
        (["10.50.0.0/24", "fd50::/64"], []),
        (["10.50.0.0/24", "10.51.0.0/24"], ["net.ipv4.ip_forward"]),
        (["fd50::/64", "fd51::/64"], ["net.ipv6.conf.all.forwarding"]),
    ],
)
def test_subnets_of_one_family_reach_each_other(subnets: list[str], settings: list[str]) -> None:
    items = compiled(
        subnets=[{"subnet": cidr, "vni": 5000 + n} for n, cidr in enumerate(subnets)], endpoints=[]
    )
    assert [(item.name, item.value) for item in of(items, Sysctl)] == [(name, "1") for name in settings]


def test_every_link_is_marked_and_a_segment_has_one_bridge_and_one_tunnel() -> None:
    links = of(
        compiled(
            subnets=[{"subnet": "10.50.0.0/24", "vni": 1}, {"subnet": "10.51.0.0/24", "vni": 2}], endpoints=[]
        ),
        Link,
    )
    assert sorted(link.name for link in links) == ["br1", "br2", "vx1", "vx2"]
    assert {(link.alias, link.mtu, link.up, link.netns) for link in links} == {
        ("crosshost:web", 1450, True, "xh-web")
    }


def test_bridges_have_macs_of_their_own() -> None:
    macs = {bridge_mac(f"10.98.0.{host}", vni) for host in range(1, 30) for vni in range(1, 30)}
    assert len(macs) == 29 * 29
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs), "locally administered, unicast"
