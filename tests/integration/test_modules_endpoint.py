# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints of every kind of sandbox on a real host: what they get, what they reach, and that nothing is left of them.

The lab's hosts have no container engine: a stand-in for the engines' command line answers for two processes in network
namespaces of their own. Real engines are in test_docker.py and test_podman.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.lab_run import Lab, declare, session_lab, step  # noqa: F401

pytestmark = [pytest.mark.lab, pytest.mark.slow]
OUTSIDE, OUTSIDE6 = "203.0.113.10", "2001:db8:113::10"
GWBRIDGE = {"name": "xh_gwbridge", "subnet": "172.30.0.0/16", "subnet6": "fd30::/64"}
WEB = {"name": "web", "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}, {"subnet": "fd50::/64"}]}
DB = {"name": "db", "internal": True, "subnets": [{"subnet": "10.51.0.0/24", "vni": 5001}]}
APP = {"name": "app", "subnets": [{"subnet": "10.52.0.0/24", "vni": 5002}]}
# What the engine asks of an engine's command line, answered for one container.
STAND_IN = """#!/bin/sh
[ "$1 $2 $3 $4 $5" = "container inspect --format {{.State.Pid}} --" ] || exit 64
case $6 in
  %s) echo %d;;
  stopped) echo 0;;
  *) echo "Error: No such container: $6" >&2; exit 1;;
esac
"""
FOREIGN = """
ip netns add mine
ip -n mine link set lo up
ip -n mine link add eth0 type bridge
ip -n mine link set eth0 up
ip -n mine addr add 192.0.2.1/24 dev eth0
ip -n mine route add 198.51.100.0/24 via 192.0.2.254
"""


def install(lab: Lab, engine: str, container: str, pid: int) -> None:
    """Puts a stand-in for a container engine's command on the host's PATH."""
    path = f"/usr/local/bin/{engine}"
    lab.run("h1", "tee", path, stdin=STAND_IN % (container, pid))
    lab.run("h1", "chmod", "755", path)


class Joined:
    """h1 with one endpoint of each kind, h2 with one to talk to."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        lab.reset()
        lab.script("h1", FOREIGN)
        self.pid = lab.sleeper("h1", "unshare", "-n")
        self.docker, self.podman = lab.sleeper("h1", "unshare", "-n"), lab.sleeper("h1", "unshare", "-n")
        install(lab, "docker", "frontend", self.docker)
        install(lab, "podman", "backend", self.podman)
        self.mine = self.foreign_part()
        web = {"host": "h1", "network": "web"}
        self.ends: list[dict[str, Any]] = [
            {**web, "sandbox": "new", "create": True, "ip": "10.50.0.11", "ip6": "fd50::11"},
            {**web, "sandbox": "mine", "ip": "10.50.0.12"},
            {**web, "pid": self.pid, "name": "probe", "ip": "10.50.0.13", "mac": "02:00:5E:10:00:13"},
            {**web, "container": "frontend", "ip": "10.50.0.14", "ip6": "fd50::14"},
            {**web, "container": "backend", "ip": "10.50.0.15", "interface": "web0", "default_route": False},
            {"host": "h1", "network": "db", "container": "backend", "ip": "10.51.0.15", "interface": "db0"},
            {"host": "h1", "network": "db", "sandbox": "vault", "create": True, "ip": "10.51.0.16"},
            {"host": "h1", "network": "db", "sandbox": "new", "ip": "10.51.0.11"},
            {"host": "h1", "network": "app", "sandbox": "mine", "ip": "10.52.0.12"},
            {
                "host": "h2",
                "network": "web",
                "sandbox": "far",
                "create": True,
                "ip": "10.50.0.21",
                "ip6": "fd50::21",
            },
            {"host": "h2", "network": "db", "sandbox": "far", "ip": "10.51.0.21"},
        ]
        self.hosts = declare([WEB, DB, APP], self.ends, [GWBRIDGE])
        seen = declare([WEB, DB, APP], [self.for_checker(end) for end in self.ends], [GWBRIDGE])
        steps = [
            step(tuple(self.hosts), module, {h: {"config": each[what]} for h, each in self.hosts.items()})
            for module, what in (
                ("overlay_network", "overlay_networks"),
                ("gwbridge", "gwbridges"),
                ("endpoint", "endpoints"),
                ("endpoint", "endpoints"),
            )
        ]
        self.results = lab.play(*steps)
        for found in self.results:
            for host, result in found.items():
                assert not result.get("failed"), f"{host}: {result.get('msg')}"
        lab.check(seen)

    def for_checker(self, end: dict[str, Any]) -> dict[str, Any]:
        """The checker knows no container engines, nor which names others have taken in a sandbox."""
        pids = {"frontend": self.docker, "backend": self.podman}
        if end.get("sandbox") == "mine":
            return {**end, "interface": "eth1" if end["network"] == "web" else "eth2"}
        if "container" not in end:
            return end
        name = end["container"]
        return {**{k: v for k, v in end.items() if k != "container"}, "pid": pids[name], "name": name}

    def foreign_part(self) -> list[str]:
        """What somebody else made in the namespace ``mine``."""
        lines = self.lab.run("h1/mine", "ip", "-4", "-o", "addr", "show", "dev", "eth0").splitlines()
        routes = self.lab.run("h1/mine", "ip", "route", "show", "dev", "eth0").splitlines()
        alias = self.lab.run("h1/mine", "ip", "-o", "link", "show", "lo").splitlines()
        return [*lines, *routes, *alias]

    def place(self, pid: int) -> str:
        """A command's way into a process's namespace."""
        return f"h1/../../proc/{pid}/ns/net"


@pytest.fixture(scope="module")
def joined(session_lab: Lab) -> Iterator[Joined]:
    yield Joined(session_lab)


def links(lab: Lab, place: str) -> dict[str, dict[str, Any]]:
    return {one["ifname"]: one for one in json.loads(lab.run(place, "ip", "-j", "addr"))}


def addresses(link: dict[str, Any]) -> set[str]:
    return {f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"] if one["scope"] == "global"}


def test_all_kinds_of_sandboxes_join_and_a_second_run_changes_nothing(joined: Joined) -> None:
    assert all(found["changed"] for found in joined.results[2].values())
    assert not any(found["changed"] for found in joined.results[3].values())


def test_all_reach_each_other(joined: Joined) -> None:
    lab = joined.lab
    process, frontend, backend = (joined.place(pid) for pid in (joined.pid, joined.docker, joined.podman))
    web = {"h1/new": 11, "h1/mine": 12, process: 13, frontend: 14, backend: 15, "h2/far": 21}
    lab.reach(*[(place, f"10.50.0.{n}") for place, own in web.items() for n in web.values() if n != own])
    lab.reach((frontend, "fd50::11"), (frontend, "fd50::21"), ("h2/far", "fd50::14"))
    db = {"h1/new": 11, backend: 15, "h1/vault": 16, "h2/far": 21}
    lab.reach(*[(place, f"10.51.0.{n}") for place, own in db.items() for n in db.values() if n != own])
    lab.miss(("h1/vault", "10.50.0.15"))  # by the sandbox that is in both


def test_names_and_addresses_of_the_interfaces(joined: Joined) -> None:
    lab = joined.lab
    new = links(lab, "h1/new")
    assert set(new) == {"lo", "eth0", "eth1", "gw0"}
    assert (new["eth0"]["address"], new["eth0"]["mtu"]) == ("02:42:0a:32:00:0b", 1450)
    assert addresses(new["eth0"]) == {"10.50.0.11/24", "fd50::11/64"}
    assert addresses(new["eth1"]) == {"10.51.0.11/24"} and new["eth1"]["address"] == "02:42:0a:33:00:0b"
    assert set(links(lab, "h1/mine")) == {"lo", "eth0", "eth1", "eth2", "gw0"}  # eth0 is somebody else's
    assert addresses(links(lab, "h1/mine")["eth1"]) == {"10.50.0.12/24"}
    assert links(lab, joined.place(joined.pid))["eth0"]["address"] == "02:00:5e:10:00:13"
    assert set(links(lab, joined.place(joined.podman))) == {"lo", "web0", "db0"}


def test_the_way_to_the_outside(joined: Joined) -> None:
    """By a leg to the gateway bridge; none for who has no network that is not internal, or wants no default route."""
    lab = joined.lab
    frontend, backend = joined.place(joined.docker), joined.place(joined.podman)
    with_route = ("h1/new", "h1/mine", joined.place(joined.pid), frontend, "h2/far")
    lab.reach(*[(place, OUTSIDE) for place in with_route], ("h1/new", OUTSIDE6), (frontend, OUTSIDE6))
    for place in ("h1/vault", backend):
        assert "gw0" not in links(lab, place) and "default" not in lab.run(place, "ip", "route")
    lab.miss(("h1/vault", OUTSIDE), (backend, OUTSIDE))
    others = {one.split("/")[0] for one in addresses(links(lab, "h1/mine")["gw0"])}
    assert len(others) == 2
    lab.miss(*[("h1/new", one) for one in others])  # each for itself on the bridge
    assert "default via 172.30.0.1 dev gw0" in lab.run("h1/new", "ip", "route")
    assert "default via fd30::1 dev gw0" in lab.run("h1/new", "ip", "-6", "route")


def test_what_others_made_in_a_sandbox_is_left_alone(joined: Joined) -> None:
    assert joined.foreign_part() == joined.mine


def test_a_new_subnet_of_the_gateway_bridge_keeps_sandboxes_attached(joined: Joined) -> None:
    """The same devices afterwards, with addresses of the new subnet."""
    lab = joined.lab
    before = links(lab, "h1/new")["gw0"]
    moved = {"name": "xh_gwbridge", "subnet": "172.31.0.0/20", "gateway": "172.31.0.9", "mtu": 1400}
    moved["subnet6"] = "fd31::/64"
    own = {"config": joined.hosts["h1"]["endpoints"]}
    steps = [
        step("h1", "gwbridge", {"config": [moved]}),
        step("h1", "endpoint", own),
        step("h1", "endpoint", own),
    ]
    bridge, ends, again = (found["h1"] for found in lab.play(*steps))
    assert bridge["changed"] and ends["changed"] and not again.get("changed", True), (bridge, ends, again)
    after = links(lab, "h1/new")["gw0"]
    assert (after["ifindex"], after["mtu"]) == (before["ifindex"], 1400)
    assert {one[:5] for one in addresses(after)} == {"172.3", "fd31:"} and "172.30." not in str(
        addresses(after)
    )
    assert "default via 172.31.0.9 dev gw0" in lab.run("h1/new", "ip", "route")
    lab.reach(("h1/new", OUTSIDE), ("h1/mine", OUTSIDE), ("h1/new", OUTSIDE6), ("h1/new", "10.50.0.21"))
    declared = declare([WEB, DB, APP], [joined.for_checker(end) for end in joined.ends], [moved])
    lab.check({"h1": declared["h1"]})


def test_a_container_that_restarted_is_joined_anew(joined: Joined) -> None:
    """Its engine names another process now. Nothing of the pair to the old one is left."""
    lab, old = joined.lab, joined.docker
    joined.docker = lab.sleeper("h1", "unshare", "-n")
    install(lab, "docker", "frontend", joined.docker)
    own = step("h1", "endpoint", {"config": joined.hosts["h1"]["endpoints"]})
    done, again = (found["h1"] for found in lab.play(own, own))
    assert done.get("changed") and not again.get("changed", True), (done, again)
    assert set(links(lab, joined.place(old))) == {"lo"}
    assert set(links(lab, joined.place(joined.docker))) == {"lo", "eth0", "gw0"}
    place = joined.place(joined.docker)
    lab.reach((place, "10.50.0.21"), ("h2/far", "10.50.0.14"), ("h1/new", "fd50::14"), (place, OUTSIDE))


def test_disconnecting_leaves_nothing_but_what_others_made(joined: Joined) -> None:
    """Runs last: first two endpoints, then all."""
    lab = joined.lab
    gone = [{"network": "web", "sandbox": "mine"}, {"network": "web", "sandbox": "new"}]
    some = step("h1", "endpoint", {"state": "deleted", "config": gone})
    result = lab.play(some, some)
    assert result[0]["h1"]["changed"] and not result[1]["h1"]["changed"]
    assert set(links(lab, "h1/new")) == {"lo", "eth1"}  # still in db, which is internal
    assert set(links(lab, "h1/mine")) == {"lo", "eth0", "eth2", "gw0"}  # in app, which is not
    assert joined.foreign_part() == joined.mine
    lab.reach(("h1/new", "10.51.0.21"), ("h1/mine", OUTSIDE), ("h1/mine", "10.52.0.1"))
    rest = lab.module("h1", "endpoint", {"state": "deleted"})
    assert rest["changed"] and rest["after"] == []
    assert lab.run("h1", "ip", "-br", "link", "show", "type", "veth", "group", "30840") == ""
    for space in ("xh-web", "xh-db", "xh-app"):
        assert lab.run(f"h1/{space}", "ip", "-br", "link", "show", "type", "veth") == ""
    names = lab.run("h1", "ls", "/run/netns").split()
    assert sorted(names) == ["mine", "xh-app", "xh-db", "xh-web"]
    assert set(links(lab, "h1/mine")) == {"lo", "eth0"}
    assert set(links(lab, joined.place(joined.pid))) == {"lo"}
    assert joined.foreign_part() == joined.mine
    bridges = [
        {**GWBRIDGE, "subnet": "172.31.0.0/20", "gateway": "172.31.0.9", "subnet6": "fd31::/64", "mtu": 1400}
    ]
    lab.check({"h1": {**joined.hosts["h1"], "endpoints": [], "gwbridges": bridges}})
