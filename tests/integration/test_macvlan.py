# SPDX-License-Identifier: GPL-3.0-or-later
"""Macvlan networks on hosts that are namespaces, on one switch: who reaches whom in which mode, the host's own child, what is
shared and undone. What needs VLANs, dummies or ipvlan is in test_vm_networks.py."""

from __future__ import annotations

import pytest
from ansible_collections.crosshost.network.plugins.module_utils import cli
from ansible_collections.crosshost.network.plugins.module_utils.compile.macvlan import shim_name

from tests import checker
from tests.integration.macvlan_world import (  # noqa: F401
    FAR,
    LAN,
    SHIM,
    box,
    hosts,
    links,
    made,
    on_switch,
    pings,
    refused,
    routes,
    settled,
    silent,
)
from tests.support import engine
from tests.support.scenarios import declared
from tests.support.world import Host, World

pytestmark = pytest.mark.root


# -- modes


MODES = {
    # (sandboxes of one host reach each other, likewise when the switch sends frames back)
    "bridge": (True, True),
    "private": (False, False),
    "vepa": (False, True),
}


@pytest.mark.parametrize("mode", MODES)
def test_who_reaches_whom(made: World, mode: str) -> None:
    one, other = made.hosts
    for host in made.hosts:
        settled(host, engine.macvlans, [{**LAN, "mode": mode}])
    settled(one, engine.endpoints, [box("a", ip="10.98.0.21"), box("b", ip="10.98.0.22", ip6="fd98::22")])
    settled(other, engine.endpoints, [box("c", ip="10.98.0.23", ip6="fd98::23")])
    assert links(one, "a")["eth0"]["linkinfo"]["info_data"]["mode"] == mode
    assert pings(one, "10.98.0.23", "a")
    assert pings(one, "fd98::23", "b")
    assert pings(other, "10.98.0.22", "c")
    plain, reflected = ({True: pings, False: silent}[reach] for reach in MODES[mode])
    assert plain(one, "10.98.0.22", "a")
    on_switch(made, "link set dev p1 hairpin on")
    try:
        assert reflected(one, "10.98.0.22", "a")
    finally:
        on_switch(made, "link set dev p1 hairpin off")
    # the kernel passes nothing between the parent and its children
    assert silent(one, "10.98.0.21")
    assert pings(other, "10.98.0.21"), "but other machines on the LAN reach them"


def test_passthru_is_for_one_alone(made: World) -> None:
    one, other = made.hosts
    alone = {**LAN, "mode": "passthru"}
    settled(one, engine.macvlans, [alone])
    settled(one, engine.endpoints, [box("a", ip="10.98.0.21", ip6="fd98::21")])
    assert links(one, "a")["eth0"]["address"] == links(one)["eth1"]["address"]
    assert pings(other, "10.98.0.21") and pings(other, "fd98::21")
    assert "mode passthru" in refused(one, engine.endpoints, [box("b", ip="10.98.0.22")])
    second = {"name": "second", "parent": "eth1", "subnets": [{"subnet": "10.97.0.0/24"}]}
    line = refused(one, engine.macvlans, [second])
    assert "macvlan lan: parent 'eth1'" in line and "passthru" in line and "second" in line


def test_a_bridge_as_parent(made: World) -> None:
    one, other = made.hosts
    one.batch("link add br0 type bridge\nlink set br0 up\nlink set eth1 master br0\n")
    try:
        line = refused(one, engine.macvlans, [LAN])
        assert "parent 'eth1'" in line and "bridge br0" in line and "name br0" in line
        settled(one, engine.macvlans, [{**LAN, "parent": "br0"}])
        settled(one, engine.endpoints, [box("a", ip="10.98.0.21"), box("b", ip="10.98.0.22")])
        assert pings(one, "10.98.0.22", "a") and pings(other, "10.98.0.21")
    finally:
        one.call(engine.endpoints, [], "overridden")
        one.call(engine.macvlans, [], "overridden")
        one.batch("link set eth1 nomaster\nlink del br0\n")


def test_the_gateway_is_the_routers(made: World) -> None:
    one = made[1]
    settled(one, engine.macvlans, [LAN])
    settled(
        one, engine.endpoints, [box("a", ip="10.98.0.21"), box("b", ip="10.98.0.22", default_route=False)]
    )
    assert pings(one, FAR, "a")
    assert silent(one, FAR, "b")
    without = [{"subnet": "10.98.0.0/24", "gateway": "none"}]
    settled(one, engine.macvlans, [{**LAN, "subnets": [*without, LAN["subnets"][1]]}], "replaced")
    settled(one, engine.endpoints, [box("a", ip="10.98.0.21")])
    assert silent(one, FAR, "a")


# -- the host's own child


def test_the_host_and_its_sandboxes_reach_each_other(made: World) -> None:
    one, other = made.hosts
    before = routes(one)
    settled(one, engine.macvlans, [SHIM])
    settled(other, engine.macvlans, [{**SHIM, "host_range": ["10.98.0.144/28"], "shim": "10.98.0.144", "shim6": "fd98::144"}])  # fmt: skip
    settled(one, engine.endpoints, [box("a"), box("b", ip="10.98.0.22", ip6="fd98::22")])
    settled(other, engine.endpoints, [box("c")])
    ends = [box("a"), box("b", ip="10.98.0.22", ip6="fd98::22")]
    assert one.call(checker.check, declared([], ends, macvlan_networks=[SHIM])) == []
    (shim,) = (name for name, link in links(one).items() if link.get("ifalias") == "crosshost:macvlan:lan")
    # the first of this host's part that is free, as the shim has the very first
    for target in ("10.98.0.129", "10.98.0.22", "fd98::22"):
        assert pings(one, target), target
    for target in ("10.98.0.128", "10.98.0.1"):
        assert pings(one, target, "a"), target
    assert pings(one, "fd98::128", "b")
    assert pings(one, "10.98.0.145"), "what other hosts hand out is reached as any machine on the LAN"
    assert pings(other, "10.98.0.145") and pings(other, "10.98.0.144", "c")
    new = {dst: dev for dst, dev in routes(one).items() if dst not in before}
    assert new == dict.fromkeys(["10.98.0.128/28", "10.98.0.22", "fd98::22", "fd98::128"], shim)
    assert {dst: dev for dst, dev in routes(one).items() if dst in before} == before
    # the route to an endpoint outside of the host's part goes with it
    settled(one, engine.endpoints, [{"network": "lan", "sandbox": "b"}], "deleted")
    assert "10.98.0.22" not in routes(one) and "fd98::22" not in routes(one)
    assert pings(one, "10.98.0.129")


def test_a_shim_that_comes_later_finds_who_is_there(made: World) -> None:
    one = made[1]
    settled(one, engine.macvlans, [LAN])
    settled(one, engine.endpoints, [box("a", ip="10.98.0.21")])
    assert silent(one, "10.98.0.21")
    settled(one, engine.macvlans, [{"name": "lan", "shim": "10.98.0.20"}])
    assert pings(one, "10.98.0.21")
    assert not one.call(engine.endpoints, [box("a", ip="10.98.0.21")]).changed
    # something took it away: the next run puts it back, routes and all
    (shim,) = (name for name, link in links(one).items() if link.get("ifalias") == "crosshost:macvlan:lan")
    one.run("ip", "link", "del", shim)
    assert settled(one, engine.macvlans, [LAN]).changed
    assert pings(one, "10.98.0.21")
    settled(one, engine.macvlans, [LAN], "replaced")
    assert shim not in links(one)


def test_a_moved_endpoint_is_reached_where_it_is(made: World) -> None:
    one = made[1]
    settled(one, engine.macvlans, [SHIM])
    settled(one, engine.endpoints, [box("a", ip="10.98.0.21")])
    settled(one, engine.endpoints, [box("a", ip="10.98.0.31")])
    assert pings(one, "10.98.0.31")
    assert "10.98.0.21" not in routes(one)


# -- what is set on the parent


def promiscuous(host: Host) -> bool:
    return "PROMISC" in links(host)["eth1"]["flags"]


def test_promiscuous_goes_with_the_last_that_asked(made: World) -> None:
    one = made[1]
    both = [{**LAN, "promiscuous": True}, {"name": "second", "parent": "eth1", "promiscuous": True, "subnets": [{"subnet": "10.97.0.0/24"}]}]  # fmt: skip
    settled(one, engine.macvlans, both)
    assert promiscuous(one)
    settled(one, engine.macvlans, [{"name": "lan"}], "deleted")
    assert promiscuous(one)
    settled(one, engine.macvlans, [{"name": "second", "promiscuous": False}])
    assert not promiscuous(one)
    settled(one, engine.macvlans, [{"name": "second", "promiscuous": True}])
    one.run("ip", "link", "set", "eth1", "promisc", "off")
    assert settled(one, engine.macvlans, [{"name": "second"}]).changed, "it is put back"
    assert promiscuous(one)


def test_promiscuous_that_somebody_else_set_stays(made: World) -> None:
    one = made[1]
    one.run("ip", "link", "set", "eth1", "promisc", "on")
    try:
        settled(one, engine.macvlans, [{**LAN, "promiscuous": True}])
        settled(one, engine.macvlans, [], "deleted")
        assert promiscuous(one)
    finally:
        one.run("ip", "link", "set", "eth1", "promisc", "off")


# -- states


def recorded(host: Host) -> list[str]:
    return sorted(item["name"] for item in host.call(engine.macvlans, [], "gathered").after)


def test_states(made: World) -> None:
    one = made[1]
    second = {
        "name": "second",
        "parent": "eth1",
        "subnets": [{"subnet": "10.97.0.0/24"}],
        "shim": "10.97.0.9",
    }
    third = {**second, "name": "third", "subnets": [{"subnet": "10.96.0.0/24"}], "shim": "10.96.0.9"}
    settled(one, engine.macvlans, [SHIM, second])
    assert recorded(one) == ["lan", "second"]
    settled(one, engine.macvlans, [{"name": "lan", "mtu": 1400, "labels": {"floor": "2"}}])
    shims = {link["ifalias"]: link for link in links(one).values() if "ifalias" in link}
    assert shims["crosshost:macvlan:lan"]["mtu"] == 1400 and shims["crosshost:macvlan:second"]["mtu"] == 1500
    settled(one, engine.macvlans, [{**second, "shim": "10.97.0.10"}], "replaced")
    assert pings(one, "10.97.0.10") and silent(one, "10.97.0.9")
    settled(one, engine.macvlans, [third], "overridden")
    assert recorded(one) == ["third"]
    assert {link["ifalias"] for link in links(one).values() if "ifalias" in link} == {
        "crosshost:macvlan:third"
    }
    settled(one, engine.macvlans, [{"name": "third"}], "deleted")
    assert recorded(one) == []


def test_children_go_with_their_network(made: World) -> None:
    one, other = made.hosts
    second = {"name": "second", "parent": "eth1", "subnets": [{"subnet": "10.97.0.0/24"}]}
    settled(one, engine.macvlans, [LAN, second])
    settled(one, engine.endpoints, [box("a", ip="10.98.0.21"), box("b", "second", ip="10.97.0.22")])
    settled(one, engine.macvlans, [{"name": "lan"}], "deleted")
    assert "eth0" not in links(one, "a") and "eth0" in links(one, "b")
    # and they come back with it
    settled(one, engine.macvlans, [LAN])
    assert settled(one, engine.endpoints, [box("a", ip="10.98.0.21")]).changed
    assert pings(other, "10.98.0.21")


def test_a_network_that_moves_takes_its_children_along(made: World) -> None:
    one = made[1]
    one.batch("link add up0 type veth peer name up1\nlink set up0 up\nlink set up1 up\n")
    try:
        settled(one, engine.macvlans, [LAN])
        settled(one, engine.endpoints, [box("a", ip="10.98.0.21")])
        settled(one, engine.macvlans, [{"name": "lan", "parent": "up0"}])
        assert "eth0" not in links(one, "a")
        settled(one, engine.endpoints, [box("a", ip="10.98.0.21")])
        assert links(one, "a")["eth0"]["link_index"] == links(one)["up0"]["ifindex"]
        settled(one, engine.macvlans, [{"name": "lan", "mode": "private"}])
        settled(one, engine.endpoints, [box("a", ip="10.98.0.21")])
        assert links(one, "a")["eth0"]["linkinfo"]["info_data"]["mode"] == "private"
    finally:
        one.call(engine.endpoints, [], "overridden")
        one.run("ip", "link", "del", "up0")
        one.call(engine.macvlans, [], "overridden")


def test_at_boot_no_lan_waits_for_another(made: World) -> None:
    one = made[1]
    one.batch("link add up0 type veth peer name up1\nlink set up0 up\n")
    late = {"name": "late", "parent": "up0", "subnets": [{"subnet": "10.97.0.0/24"}], "shim": "10.97.0.9"}
    settled(one, engine.macvlans, [late, SHIM])
    settled(one, engine.endpoints, [box("a", ip="10.98.0.21")])
    one.batch(f"link del up0\nlink del {shim_name('lan')}\nnetns del a\n")
    assert one.call(cli.main, ["restore"]) == 1, "the one whose parent is not there"
    assert pings(one, "10.98.0.21")
    one.batch("link add up0 type veth peer name up1\nlink set up0 up\n")
    assert one.call(cli.main, ["restore"]) == 0
    assert pings(one, "10.97.0.9")
    one.run("ip", "link", "del", "up0")
