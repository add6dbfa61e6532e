# SPDX-License-Identifier: GPL-3.0-or-later
"""Macvlan networks on hosts that are namespaces, on one switch: who reaches whom in which mode, the host's own child, what is
shared and undone, what is refused. What needs VLANs, dummies or ipvlan is in test_vm_networks.py."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.converge import Outcome
from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError

from tests.support import engine, eye
from tests.support.child import CLONE_NEWNET, call, enter
from tests.support.world import Host, World, command, container, world

pytestmark = pytest.mark.root
Config = list[dict[str, Any]]
LAN: dict[str, Any] = {
    "name": "lan",
    "parent": "eth1",
    "subnets": [{"subnet": "10.98.0.0/24", "gateway": "10.98.0.254", "ip_range": "10.98.0.128/25"}, {"subnet": "fd98::/64"}],
}  # fmt: skip
SHIM = {**LAN, "host_range": ["10.98.0.128/28"], "shim": "10.98.0.128", "shim6": "fd98::128"}
FAR = "203.0.113.1"  # behind the LAN's router


@pytest.fixture(scope="module")
def hosts() -> Iterator[World]:
    engine.warm()
    with world(2) as made:
        on_switch(
            made,
            "addr add 10.98.0.254/24 dev sw0",
            f"addr add {FAR}/32 dev lo",
            "link set lo up",
        )
        yield made


@pytest.fixture
def made(hosts: World) -> Iterator[World]:
    was = {host.name: host.call(eye.snapshot) for host in hosts.hosts}
    yield hosts
    for host in hosts.hosts:
        host.call(engine.endpoints, [], "overridden")
        host.call(engine.macvlans, [], "overridden")
        host.run("ip", "neigh", "flush", "dev", "eth1")  # the next test's addresses have other MACs
        assert host.call(eye.snapshot) == was[host.name], "something is left behind"


def on_switch(made: World, *lines: str) -> None:
    def run() -> None:
        enter([(made.switch, CLONE_NEWNET)])
        for line in lines:
            command(["bridge" if line.startswith("link set dev") else "ip", *line.split()])

    call(run)


def box(sandbox: str, network: str = "lan", **more: Any) -> dict[str, Any]:
    return {"network": network, "sandbox": sandbox, "create": True, **more}


def settled(host: Host, work: Any, config: Config, state: str = "merged") -> Outcome:
    """Check mode tells what the run does, and a second run does nothing."""
    was = host.call(eye.snapshot)
    told = host.call(work, config, state, True)
    assert host.call(eye.snapshot) == was, "check mode wrote something"
    done = host.call(work, config, state)
    assert told == done
    again = host.call(work, config, state)
    assert not again.changed, again.commands
    return done


def pings(host: Host, target: str, sandbox: str = "", tries: int = 3) -> bool:
    inside = ["ip", "netns", "exec", sandbox] if sandbox else []
    return bool(host.call(_succeeds, [*inside, "ping", "-c1", "-W1", target], tries))


def silent(host: Host, target: str, sandbox: str = "") -> bool:
    return not pings(host, target, sandbox, tries=1)


def _succeeds(argv: list[str], tries: int) -> bool:
    return any(
        subprocess.run(argv, capture_output=True, check=False).returncode == 0 for _try in range(tries)
    )


def links(host: Host, sandbox: str = "") -> dict[str, dict[str, Any]]:
    """The devices as iproute2 shows them, by name."""
    place = ["-n", sandbox] if sandbox else []
    found = json.loads(host.run("ip", *place, "-j", "-d", "link"))
    return {link["ifname"]: link for link in found}


def routes(host: Host) -> dict[str, str]:
    """Destinations with their devices."""
    found = json.loads(host.run("ip", "-j", "route")) + json.loads(host.run("ip", "-6", "-j", "route"))
    return {route["dst"]: route["dev"] for route in found if not route["dst"].startswith("fe80")}


def refused(host: Host, work: Any, config: Config, state: str = "merged") -> str:
    """The line with which it is refused; the host is as it was."""
    was = host.call(eye.snapshot)

    def run() -> str:
        with pytest.raises(CrosshostError) as caught:
            work(config, state)
        return str(caught.value)

    line = str(host.call(run))
    assert host.call(eye.snapshot) == was
    return line


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


# -- refusals


def test_parents_that_cannot_carry_a_network(made: World) -> None:
    one = made[1]
    one.batch(
        "link add down0 type veth peer name down1\nlink add mv0 link eth1 type macvlan mode bridge\nlink set mv0 up\n"
    )
    try:
        for change, words in (
            ({"parent": "eth9"}, ["macvlan lan", "parent 'eth9'", "no interface eth9"]),
            ({"parent": "eth9.10"}, ["parent 'eth9.10'", "no interface eth9"]),
            ({"parent": "down0"}, ["parent 'down0'", "down", "ip link set down0 up"]),
            ({"parent": "down0.10"}, ["parent 'down0.10'", "down0 is down"]),
            ({"parent": "mv0"}, ["parent 'mv0'", "macvlan itself", "name eth1"]),
            ({"mtu": 1501}, ["mtu 1501", "eth1 passes 1500"]),
            ({"driver": "ipvlan"}, ["parent 'eth1'", "mv0 on the host is macvlan", "driver macvlan"]),
            ({"mode": "passthru"}, ["parent 'eth1'", "mv0 on the host", "passthru needs the device"]),
        ):
            line = refused(one, engine.macvlans, [{**LAN, **change}])
            for word in words:
                assert word in line, line
    finally:
        one.batch("link del down0\nlink del mv0\n")


def test_other_peoples_children_in_other_namespaces(made: World) -> None:
    one = made[1]
    one.run("ip", "netns", "add", "theirs")
    one.run(
        "ip", "link", "add", "mv0", "link", "eth1", "netns", "theirs", "type", "macvlan", "mode", "passthru"
    )
    try:
        line = refused(one, engine.macvlans, [LAN])
        assert "mv0 in the namespace theirs is macvlan in mode passthru" in line
        # one on a device of that namespace that happens to have the same number is none of ours
        one.run("ip", "-n", "theirs", "link", "del", "mv0")
        index = links(one)["eth1"]["ifindex"]
        one.run(
            "ip",
            "-n",
            "theirs",
            "link",
            "add",
            "v0",
            "index",
            str(index),
            "type",
            "veth",
            "peer",
            "name",
            "v1",
        )
        one.run(
            "ip", "-n", "theirs", "link", "add", "mv0", "link", "v0", "type", "macvlan", "mode", "passthru"
        )
        settled(one, engine.macvlans, [LAN])
        one.call(engine.macvlans, [], "deleted")
    finally:
        one.run("ip", "netns", "del", "theirs")


def test_what_nobody_sees_is_undone(made: World) -> None:
    """A child in a namespace without a name: only the kernel knows, and says so too late."""
    one = made[1]
    with container(one) as pid:
        one.run(
            "ip",
            "link",
            "add",
            "mv0",
            "link",
            "eth1",
            "netns",
            str(pid),
            "type",
            "macvlan",
            "mode",
            "passthru",
        )
        line = refused(one, engine.macvlans, [SHIM])
        assert "something else holds eth1" in line and "everything done before it was undone" in line
        settled(one, engine.macvlans, [LAN])
        line = refused(one, engine.endpoints, [box("a", ip="10.98.0.21")])
        assert "something else holds eth1" in line
        one.call(engine.macvlans, [], "deleted")
        one.run("nsenter", f"--net=/proc/{pid}/ns/net", "ip", "link", "del", "mv0")


KINDS = {
    "8021q": ({**LAN, "parent": "eth1.10"}, ("link", "eth1", "name", "probe", "type", "vlan", "id", "7")),
    "dummy": ({"name": "lan", "subnets": [{"subnet": "10.97.0.0/24"}]}, ("name", "probe", "type", "dummy")),
    "ipvlan": ({**LAN, "driver": "ipvlan", "shim": "10.98.0.9"}, ("link", "eth1", "name", "probe", "type", "ipvlan")),
}  # fmt: skip


@pytest.mark.parametrize("module", KINDS)
def test_a_kernel_that_lacks_a_module(made: World, module: str) -> None:
    one = made[1]
    declared, words = KINDS[module]
    if one.call(_succeeds, ["ip", "link", "add", *words], 1):
        one.run("ip", "link", "del", "probe")
        pytest.skip(f"this machine's kernel has {module}; test_vm_networks.py uses it")
    line = refused(one, engine.macvlans, [declared])
    assert f"this host's kernel lacks the module {module}" in line
    assert "everything done before it was undone" in line


def test_names_and_addresses_that_are_taken(made: World) -> None:
    one = made[1]
    one.call(engine.overlays, [{"name": "web", "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}]}], "merged", {"data_path_interface": "eth1"})  # fmt: skip
    try:
        for change, words in (
            ({"name": "web"}, ["macvlan web", "overlay_network web", "share their names"]),
            ({"subnets": [{"subnet": "10.50.0.0/16"}]}, ["10.50.0.0/24", "overlaps"]),
            ({"shim": "10.98.0.1"}, ["shim '10.98.0.1'", "eth1 of this host has that address"]),
            ({"shim": "10.98.0.9", "host_range": "10.98.0.0/24", "subnets": [{"subnet": "10.98.0.0/24"}]}, ["host_range '10.98.0.0/24'", "route over eth1"]),
        ):  # fmt: skip
            line = refused(one, engine.macvlans, [{**LAN, **change}])
            for word in words:
                assert word in line, line
        settled(one, engine.macvlans, [LAN])
        settled(one, engine.endpoints, [box("a", ip="10.98.0.21")])
        line = refused(one, engine.macvlans, [{"name": "lan", "shim": "10.98.0.21"}])
        assert "an endpoint of the network has that address" in line
        settled(one, engine.macvlans, [{"name": "lan", "shim": "10.98.0.20"}])
        assert "shim" in refused(one, engine.endpoints, [box("b", ip="10.98.0.20")])
    finally:
        one.call(engine.endpoints, [], "overridden")
        one.call(engine.macvlans, [], "overridden")
        one.call(engine.overlays, [], "overridden")
