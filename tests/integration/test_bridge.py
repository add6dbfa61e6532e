# SPDX-License-Identifier: GPL-3.0-or-later
"""Bridge networks by traffic: what gets in, out and across, with and without br_netfilter's hooks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError

from tests import checker
from tests.support import engine
from tests.support.scenarios import declared
from tests.support.traffic import SILENCE, TCP, UDP, Place, ask, named, outside, server
from tests.support.world import Host, World, world

pytestmark = pytest.mark.root

WEB = {
    "name": "web",
    "subnets": [
        {"subnet": "10.70.0.0/24", "aux_addresses": {"printer": "10.70.0.9"}},
        {"subnet": "fd70::/64", "gateway": "fd70::fe", "ip_range": "fd70::/80"},
    ],
    "labels": {"team": "a"},
}
APP = {
    "name": "app",
    "bridge": "br-app",
    "subnets": [{"subnet": "10.71.0.0/24"}, {"subnet": "fd71::/64"}],
    "mtu": 1400,
}
DB = {"name": "db", "subnets": [{"subnet": "10.72.0.0/24"}, {"subnet": "fd72::/64"}], "internal": True}
QUIET = {"name": "quiet", "subnets": [{"subnet": "10.73.0.0/24"}, {"subnet": "fd73::/64"}], "icc": False}
PLAIN = {
    "name": "plain",
    "subnets": [{"subnet": "10.74.0.0/24"}, {"subnet": "fd74::/64"}],
    "ip_masquerade": False,
}
NETWORKS: list[dict[str, Any]] = [WEB, APP, DB, QUIET, PLAIN]
# sandbox: its network and the number in its addresses
SANDBOXES = {"web1": (WEB, 1), "web2": (WEB, 2), "app1": (APP, 1), "db1": (DB, 1), "db2": (DB, 2)}
SANDBOXES |= {"quiet1": (QUIET, 1), "quiet2": (QUIET, 2), "plain1": (PLAIN, 1)}


def at(name: str, version: int) -> str:
    network, number = SANDBOXES[name]
    head = network["subnets"][0 if version == 4 else 1]["subnet"].split("/")[0]
    return f"{head[:-1]}1{number}" if version == 4 else f"{head}1{number}"


def endpoint(name: str) -> dict[str, Any]:
    network, _number = SANDBOXES[name]
    place = {"network": network["name"], "sandbox": name, "create": True}
    return {**place, "ip": at(name, 4), "ip6": at(name, 6)}


@pytest.fixture(scope="module")
def lan() -> Iterator[World]:
    """A host with five bridge networks, and one outside that has routes to all of them."""
    engine.warm()
    with world(2) as made:
        made[1].call(engine.bridges, NETWORKS)
        made[1].call(engine.endpoints, [endpoint(name) for name in SANDBOXES])
        for number in range(70, 75):
            made[2].batch(
                f"route add 10.{number}.0.0/24 via 10.98.0.1\nroute add fd{number}::/64 via fd98::1\n"
            )
        yield made


@pytest.fixture(scope="module")
def places(lan: World) -> Iterator[dict[str, Place]]:
    with named(lan[1], *SANDBOXES) as found:
        yield {**{place.name: place for place in found}, "host": outside(lan[1]), "away": outside(lan[2])}


@pytest.fixture(params=[0, 1], ids=["bridged frames alone", "br_netfilter"])
def hooks(request: pytest.FixtureRequest, lan: World) -> int:
    """Whether bridged frames go through the rules too, as on a host that runs dockerd."""
    for word in ("iptables", "ip6tables"):
        lan[1].run("sysctl", "-qw", f"net.bridge.bridge-nf-call-{word}={request.param}")
    return int(request.param)


def refused(host: Host, function: Callable[..., object], *args: Any) -> str:
    """The line by which a run is refused."""

    def attempt() -> str:
        with pytest.raises(CrosshostError) as raised:
            function(*args)
        return str(raised.value)

    return str(host.call(attempt))


def reaches(places: dict[str, Place], source: str, target: str, version: int, kind: int = TCP) -> str:
    """What comes back from a server in the target sandbox: "" for silence."""
    address = at(target, version)
    with server(places[target], address, 7000, kind):
        said = ask(places[source], address, 7000, kind, timeout=0.4)
    return "" if said == SILENCE else said


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", [TCP, UDP], ids=["tcp", "udp"])
def test_sandboxes_of_a_network_reach_each_other(places: dict[str, Place], version: int, kind: int) -> None:
    assert reaches(places, "web1", "web2", version, kind) == f"web2 {at('web1', version)}"
    assert reaches(places, "db1", "db2", version, kind) == f"db2 {at('db1', version)}"


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize("version", [4, 6])
def test_without_icc_they_do_not_even_by_way_of_the_gateway(
    places: dict[str, Place], lan: World, version: int
) -> None:
    assert reaches(places, "quiet1", "quiet2", version) == ""
    gateway = "10.73.0.1" if version == 4 else "fd73::1"
    length = 32 if version == 4 else 128
    there = f"{at('quiet2', version)}/{length}"
    lan[1].run("ip", "-n", "quiet1", "route", "add", there, "via", gateway)
    try:
        assert reaches(places, "quiet1", "quiet2", version) == ""
    finally:
        lan[1].run("ip", "-n", "quiet1", "route", "del", there)
    assert reaches(places, "host", "quiet2", version) != ""


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", [TCP, UDP], ids=["tcp", "udp"])
def test_networks_are_apart(places: dict[str, Place], version: int, kind: int) -> None:
    for source, target in (("web1", "app1"), ("app1", "web1"), ("web1", "db1"), ("plain1", "quiet1")):
        assert reaches(places, source, target, version, kind) == "", (source, target)


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize("version", [4, 6])
def test_nobody_outside_reaches_a_sandbox_that_publishes_nothing(
    places: dict[str, Place], version: int
) -> None:
    """Direct routing: the host outside has routes to the networks."""
    for target in ("web1", "app1", "db1", "quiet1", "plain1"):
        assert reaches(places, "away", target, version) == "", target


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize("version", [4, 6])
def test_the_host_reaches_its_sandboxes_and_they_the_host(places: dict[str, Place], version: int) -> None:
    for target in ("web1", "db1", "quiet1", "plain1"):
        assert reaches(places, "host", target, version).startswith(target)
    bridges = {"web1": ("10.70.0.1", "fd70::fe"), "db1": ("10.72.0.1", "fd72::1")}
    for source, gateways in bridges.items():
        address = gateways[0 if version == 4 else 1]
        with server(places["host"], address, 7001):
            assert ask(places[source], address, 7001) == f"h1 {at(source, version)}"


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", [TCP, UDP], ids=["tcp", "udp"])
def test_what_leaves_has_the_hosts_address(places: dict[str, Place], version: int, kind: int) -> None:
    away, host = ("10.98.0.2", "10.98.0.1") if version == 4 else ("fd98::2", "fd98::1")
    with server(places["away"], away, 7002, kind):
        assert ask(places["web1"], away, 7002, kind) == f"h2 {host}"
        assert ask(places["app1"], away, 7002, kind) == f"h2 {host}"
        # without masquerading they go out as they are, and the answers come back
        assert ask(places["plain1"], away, 7002, kind) == f"h2 {at('plain1', version)}"
        assert ask(places["db1"], away, 7002, kind) == SILENCE


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize("version", [4, 6])
def test_nothing_leaves_an_internal_network_even_with_a_route(
    places: dict[str, Place], lan: World, version: int
) -> None:
    family, gateway, away = ("-4", "10.72.0.1", "10.98.0.2") if version == 4 else ("-6", "fd72::1", "fd98::2")
    lan[1].run("ip", "-n", "db1", family, "route", "add", "default", "via", gateway)
    try:
        with server(places["away"], away, 7003, UDP), server(places["web1"], at("web1", version), 7003):
            assert ask(places["db1"], away, 7003, UDP) == SILENCE
            assert ask(places["db1"], at("web1", version), 7003) == SILENCE
    finally:
        lan[1].run("ip", "-n", "db1", family, "route", "del", "default")


def test_the_independent_checker_agrees(lan: World) -> None:
    here = declared([], [endpoint(name) for name in SANDBOXES], bridge_networks=NETWORKS)
    assert lan[1].call(checker.check, here) == []


def test_the_bridges_are_as_declared(lan: World) -> None:
    """Seen by iproute2."""
    found = {one["ifname"]: one for one in json.loads(lan[1].run("ip", "-j", "-d", "addr"))}
    addresses = {
        name: {f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"] if one["scope"] == "global"}
        for name, link in found.items()
    }
    assert addresses["xb-web"] == {"10.70.0.1/24", "fd70::fe/64"}
    assert addresses["br-app"] == {"10.71.0.1/24", "fd71::1/64"}
    assert addresses["xb-db"] == {"10.72.0.1/24", "fd72::1/64"}
    assert found["br-app"]["mtu"] == 1400
    assert found["xb-web"]["mtu"] == 1500
    assert found["xb-web"]["ifalias"] == "crosshost:bridge/web"
    isolated = {
        one["ifname"]: one["linkinfo"]["info_slave_data"]["isolated"]
        for one in found.values()
        if one.get("master") in ("xb-web", "xb-quiet")
    }
    masters = {name: found[name]["master"] for name in isolated}
    assert {masters[name] for name, flag in isolated.items() if flag} == {"xb-quiet"}
    assert {masters[name] for name, flag in isolated.items() if not flag} == {"xb-web"}


def test_one_look_up_however_many_networks(lan: World) -> None:
    """The rules of the base chains are as many for one network as for five."""

    def rules(host: Host) -> list[str]:
        listing = json.loads(host.run("nft", "-j", "list", "table", "inet", "crosshost"))["nftables"]
        return sorted(json.dumps(one["rule"]["expr"]) for one in listing if one.get("rule"))

    with world() as other:
        other[1].call(engine.bridges, [WEB])
        assert [rule for rule in rules(lan[1]) if "publish" not in rule] == rules(other[1])


def test_a_second_run_changes_nothing(lan: World) -> None:
    outcome = lan[1].call(engine.bridges, NETWORKS, "overridden")
    assert (outcome.changed, outcome.commands) == (False, [])


def test_everything_can_be_changed_in_place_and_goes_without_a_trace() -> None:
    with world() as made:
        host = made[1]
        before = host.run("nft", "list", "ruleset"), host.run("ip", "-br", "link").split()[::3]
        host.call(engine.bridges, [WEB, QUIET])
        overlapping = {"name": "x", "subnets": [{"subnet": "10.70.0.128/25"}]}
        assert "it overlaps 10.70.0.0/24 of bridge_network web" in refused(
            host, engine.bridges, [overlapping]
        )
        changed = [{"name": "web", "mtu": 1300, "icc": False, "ip_masquerade": False, "internal": True}]
        assert host.call(engine.bridges, changed).changed
        assert not host.call(engine.bridges, changed).changed
        assert host.call(engine.bridges, [], "deleted").changed
        assert (host.run("nft", "list", "ruleset"), host.run("ip", "-br", "link").split()[::3]) == before


@pytest.mark.parametrize("state", ["merged", "deleted"])
def test_what_a_killed_run_left_half_made_is_finished_or_removed(state: str) -> None:
    """A bridge is made with its group, by which it is known for ours, and gets its alias afterwards."""
    with world() as made:
        host = made[1]
        host.batch("link add xb-web group 30840 type bridge\n")
        host.call(engine.bridges, [WEB] if state == "merged" else [{"name": "web"}], state)
        assert ("xb-web" in host.run("ip", "-br", "link")) == (state == "merged")
        if state == "merged":
            assert "crosshost:bridge/web" in host.run("ip", "link", "show", "xb-web")
            assert not host.call(engine.bridges, [WEB]).changed


def test_networks_that_are_not_listed_any_more_go_with_their_endpoints() -> None:
    with world() as made:
        host = made[1]
        host.call(engine.bridges, [WEB, DB])
        host.call(engine.endpoints, [endpoint("web1"), endpoint("db1")])
        host.call(engine.bridges, [DB], "overridden")
        assert "xb-web" not in host.run("ip", "-br", "link")
        assert "eth0" not in host.run("ip", "-n", "web1", "-br", "link")
        assert "eth0" in host.run("ip", "-n", "db1", "-br", "link")


def test_a_network_with_sandboxes_is_not_deleted(lan: World) -> None:
    said = refused(lan[1], engine.bridges, [{"name": "web"}], "deleted")
    assert "bridge_network web: bridge 'xb-web': sandboxes use it (web" in said


def test_what_is_not_ours_is_left_alone() -> None:
    with world() as made:
        host = made[1]
        host.batch("link add xb-web type bridge\nroute add 10.71.0.0/16 via 10.98.0.2\n")
        assert "link xb-web: this host has one already" in refused(host, engine.bridges, [WEB])
        assert "overlaps the host's route 10.71.0.0/16 on eth1" in refused(host, engine.bridges, [APP])
        host.call(engine.gwbridges, [{"name": "br-app", "subnet": "172.30.0.0/16"}])
        host.batch("route del 10.71.0.0/16\n")
        assert "link br-app: it belongs to gwbridge" in refused(host, engine.bridges, [APP])
        overlapping = {"name": "x", "subnets": [{"subnet": "172.30.1.0/24"}]}
        said = refused(host, engine.bridges, [overlapping])
        assert (
            "bridge_network x: subnet '172.30.1.0/24': it overlaps 172.30.0.0/16 of gwbridge br-app" in said
        )
        overlay = {"name": "web", "subnets": [{"subnet": "10.80.0.0/24", "vni": 5000}]}
        host.call(engine.overlays, [{**overlay, "data_path_address": host.vtep}])
        assert "overlay_network web has this name" in refused(host, engine.bridges, [WEB])
