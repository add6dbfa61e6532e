# SPDX-License-Identifier: GPL-3.0-or-later
"""The three control planes over an IPv4 and over an IPv6 underlay, IPv4 and IPv6 inside: who reaches whom, and what is on
the wire. And the MTU that is left inside."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.lab_run import HOSTS, Lab, declare, lab, session_lab, step, vtep  # noqa: F401

pytestmark = [pytest.mark.lab, pytest.mark.slow]
NETWORKS = {"static": 60, "flood": 62, "multicast": 64}


def network(plane: str, second: int, six: bool) -> dict[str, Any]:
    """Two segments: the first with both families, the second with IPv4 alone."""
    found: dict[str, Any] = {
        "name": plane,
        "control_plane": plane,
        "internal": True,
        "subnets": [
            {"subnet": f"10.{second}.0.0/24", "vni": second * 100},
            {"subnet": f"fd{second}::/64"},
            {"subnet": f"10.{second + 1}.0.0/24", "vni": second * 100 + 1},
        ],
    }
    if plane == "multicast":
        found["multicast_group"] = "ff05::239:1" if six else "239.1.1.1"
    return found


def endpoints() -> list[dict[str, Any]]:
    """On each host the sandbox ``box`` in all networks; and in the static one's second subnet ``solo``, alone."""
    found = []
    for host, (plane, second) in itertools.product(HOSTS, NETWORKS.items()):
        number = f"1{host[1:]}"
        found.append(
            {
                "host": host,
                "network": plane,
                "sandbox": "box",
                "create": True,
                "ip": f"10.{second}.0.{number}",
            }
        )
        found[-1]["ip6"] = f"fd{second}::{number}"
    for host in HOSTS[:2]:
        found.append(
            {
                "host": host,
                "network": "static",
                "sandbox": "solo",
                "create": True,
                "ip": f"10.61.0.1{host[1:]}",
            }
        )
        found.append(
            {"host": host, "network": "flood", "sandbox": "duo", "create": True, "ip": f"10.63.0.1{host[1:]}"}
        )
    return found


class Cluster:
    """Three hosts with the networks of all planes over one underlay."""

    def __init__(self, lab: Lab, six: bool) -> None:
        self.lab, self.six = lab, six
        self.mtu = 1430 if six else 1450
        self.filter = ("ip6" if six else "ip", "and", "udp", "port", "4789")
        lab.reset()
        networks = [network(plane, second, six) for plane, second in NETWORKS.items()]
        lab.converge(declare(networks, endpoints(), hosts=HOSTS, six=six))

    def far(self, second: int) -> list[tuple[str, str]]:
        """From every host's box to all boxes on other hosts, in both families."""
        pairs = itertools.permutations(HOSTS, 2)
        return [
            (f"{one}/box", target)
            for one, other in pairs
            for target in (f"10.{second}.0.1{other[1:]}", f"fd{second}::1{other[1:]}")
        ]


@pytest.fixture(scope="module", params=[False, True], ids=["underlay4", "underlay6"])
def cluster(request: pytest.FixtureRequest, session_lab: Lab) -> Iterator[Cluster]:
    yield Cluster(session_lab, request.param)


@pytest.mark.parametrize("plane", NETWORKS)
def test_everybody_reaches_everybody_in_a_network(cluster: Cluster, plane: str) -> None:
    """In flood and multicast nobody was told where the others are."""
    with cluster.lab.capture("data", *cluster.filter) as seen:
        cluster.lab.reach(*cluster.far(NETWORKS[plane]))
    tunnelled = "\n".join(seen)
    assert f"vni {NETWORKS[plane] * 100}" in tunnelled and "ICMP6, echo reply" in tunnelled
    if plane == "multicast":
        assert ("ff05::239:1.4789" if cluster.six else "239.1.1.1.4789") in tunnelled


def test_static_puts_nothing_on_the_wire_for_what_was_not_declared(cluster: Cluster) -> None:
    lab = cluster.lab
    lab.script("h1/box", "ip neigh flush dev eth0; ip neigh flush dev eth1", check=False)
    with lab.capture("data", *cluster.filter) as seen:
        lab.miss(
            ("h1/box", "10.60.0.99"),
            ("h1/box", "fd60::99"),
            ("h1/solo", "10.61.0.99"),
            ("h1/solo", "10.60.0.98"),  # through the gateway
        )
        everybody = ("-b", "-I", "10.60.0.11")
        lab.miss(("h1/box", "10.60.0.255"), options=everybody)
        lab.pings([("h1/box", f"ff02::1%{device(lab, 'fd60::11')}")], (), 0.2)  # who is on this host answers
    assert [line for line in seen if "vni 600" in line or "10.60." in line or "10.61." in line] == []
    with lab.capture("data", *cluster.filter) as seen:
        lab.reach(("h1/box", "10.60.0.12"), ("h1/solo", "10.61.0.12"))
    assert any("10.60.0.11 > 10.60.0.12: ICMP" in line for line in seen)
    assert not any("ARP" in line for line in seen)  # answered on the host itself


def device(lab: Lab, address: str, place: str = "h1/box") -> str:
    """The interface that has an address."""
    for link in json.loads(lab.run(place, "ip", "-j", "addr")):
        if any(one.get("local") == address for one in link.get("addr_info", ())):
            return str(link["ifname"])
    raise AssertionError(f"{place} has no {address}")


def test_subnets_of_one_network_reach_each_other(cluster: Cluster) -> None:
    cluster.lab.reach(
        ("h1/box", "10.61.0.12"),
        ("h2/solo", "10.60.0.11"),
        ("h2/solo", "10.60.0.13"),
        ("h1/box", "10.63.0.12"),
        ("h2/duo", "10.62.0.11"),
        ("h2/duo", "10.62.0.13"),
    )


def test_questions_for_a_gateway_never_cross_hosts(cluster: Cluster) -> None:
    """Every host's bridge bears the gateway's address, with a MAC of its own: each sandbox has to find that of its host."""
    lab = cluster.lab
    everyone = [
        (f"{host}/box", target)
        for host in HOSTS
        for target in ("10.62.0.1", "fd62::1", "10.64.0.1", "fd64::1")
    ]
    forget(lab)
    with lab.capture("data", *cluster.filter) as seen:
        lab.reach(*everyone, ("h1/duo", "10.63.0.1"))
        lab.run("h1/box", "ping", "-c1", "-W1", "10.62.0.99", check=False)
    gateways = ("10.62.0.1", "10.63.0.1", "10.64.0.1", "fd62::1", "fd64::1")
    wrong = [
        text.format(one)
        for one in gateways
        for text in ("who-has {} ", "who has {},", "Reply {} ", "tgt is {},")
    ]
    assert any("who-has 10.62.0.99" in line for line in seen)  # other questions do cross
    assert [line for line in seen if any(word in line for word in wrong)] == []
    macs = [gateway_mac(lab, host) for host in HOSTS]
    assert len(set(macs)) == len(HOSTS)
    for host, mac in zip(HOSTS, macs):
        assert mac in lab.run(f"{host}/box", "ip", "neigh", "show", "10.62.0.1")


def test_a_sandbox_keeps_to_the_gateway_of_its_own_host(cluster: Cluster) -> None:
    """Also after the gateway of another host has asked for it: else its traffic makes a detour over that host."""
    lab = cluster.lab
    forget(lab)
    lab.reach(("h2/duo", "10.63.0.1"), ("h2/box", "10.62.0.1"))
    lab.reach(("h1/box", "10.63.0.12"), ("h1/duo", "10.62.0.12"))
    with lab.capture("data", *cluster.filter) as seen:
        lab.reach(("h2/duo", "10.62.0.12"))
    assert [line for line in seen if "10.63.0.12 > 10.62.0.12" in line] == []


def forget(lab: Lab) -> None:
    """Empties the neighbour tables of the flood and multicast networks and of their sandboxes."""
    for host in HOSTS:
        for space in ("box", "xh-flood", "xh-multicast", *(["duo"] if host != "h3" else [])):
            lab.run(f"{host}/{space}", "ip", "neigh", "flush", "all", check=False)


def gateway_mac(lab: Lab, host: str) -> str:
    return str(json.loads(lab.run(f"{host}/xh-flood", "ip", "-j", "link", "show", "br6200"))[0]["address"])


def test_networks_are_kept_apart(cluster: Cluster) -> None:
    """Neither by the sandbox that is in both, nor by its host, nor with routes that a sandbox makes itself."""
    lab = cluster.lab
    lab.miss(
        ("h1/solo", "10.62.0.12"), ("h1/solo", "10.64.0.12"), ("h1/duo", "10.60.0.12"), ("h1", "10.60.0.11")
    )
    for gateway in ("10.61.0.1", "10.60.0.11"):
        lab.run("h1/solo", "ip", "route", "replace", "10.62.0.0/16", "via", gateway, "onlink", "dev", "eth0")
        lab.miss(("h1/solo", "10.62.0.12"), ("h1/solo", "10.62.0.11"))
    lab.run("h1/solo", "ip", "route", "del", "10.62.0.0/16")
    lab.miss(("h1/solo", "203.0.113.10"), ("h1/box", "203.0.113.10"))  # internal


def test_the_mtu_is_what_the_underlay_leaves(cluster: Cluster) -> None:
    """Links, and packets that must not be fragmented: one byte more does not pass."""
    lab, mtu = cluster.lab, cluster.mtu
    links = json.loads(lab.run("h1/box", "ip", "-j", "link"))
    assert {link["ifname"]: link["mtu"] for link in links if link["ifname"] != "lo"} == dict.fromkeys(
        ("eth0", "eth1", "eth2"), mtu
    )
    four = [("h1/box", target) for target in ("10.60.0.12", "10.62.0.13", "10.64.0.12")]
    for pairs, header in ((four, 28), ([("h1/box", "fd60::12")], 48)):
        lab.reach(*pairs, options=["-M", "do", "-s", str(mtu - header)])
        lab.miss(*pairs, options=["-M", "do", "-s", str(mtu - header + 1)])


def test_the_narrowest_way_to_a_peer_decides(lab: Lab) -> None:
    """A peer's smaller MTU, then a route's, then neither; the sandbox follows the network."""
    web = {
        "name": "web",
        "data_path_address": vtep("h1"),
        "internal": True,
        "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}],
    }
    narrow = [{"host": "h2", "vtep": vtep("h2"), "mtu": 1400}, {"host": "h3", "vtep": vtep("h3")}]
    wide = [{"host": "h2", "vtep": vtep("h2")}, {"host": "h3", "vtep": vtep("h3")}]
    end = [{"network": "web", "sandbox": "a", "create": True, "ip": "10.50.0.11"}]

    def mtus(peers: list[dict[str, Any]]) -> list[int]:
        results = lab.play(
            step("h1", "overlay_network", {"state": "overridden", "config": [{**web, "peers": peers}]}),
            step("h1", "endpoint", {"state": "overridden", "config": end}),
        )
        for found in results:
            assert not found["h1"].get("failed"), found["h1"]
        inside = json.loads(lab.run("h1/a", "ip", "-j", "link", "show", "eth0"))
        outside = json.loads(lab.run("h1/xh-web", "ip", "-j", "link"))
        return [one["mtu"] for one in [*inside, *outside] if one["ifname"] != "lo"]

    assert set(mtus(narrow)) == {1350}
    lab.run("h1", "ip", "route", "add", "10.98.0.3/32", "dev", "eth1", "mtu", "1300")
    try:
        assert set(mtus(wide)) == {1250}
    finally:
        lab.run("h1", "ip", "route", "del", "10.98.0.3/32", "dev", "eth1")
    assert set(mtus(wide)) == {1450}


def test_an_endpoint_that_moves_is_found_at_its_new_host(lab: Lab) -> None:
    """Nothing of where it was is left in any table; nobody waits for anything to age. Likewise when the segment changes."""
    web = {"name": "web", "internal": True, "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}]}
    moved = {**web, "subnets": [{"subnet": "10.50.0.0/24", "vni": 5007}]}
    asker = {"host": "h3", "network": "web", "sandbox": "asker", "create": True, "ip": "10.50.0.13"}
    mover = {"network": "web", "sandbox": "mover", "create": True, "ip": "10.50.0.20"}
    for network, host in ((web, "h1"), (web, "h2"), (moved, "h2")):
        lab.converge(declare([network], [asker, {**mover, "host": host}], hosts=HOSTS))
        lab.reach(("h3/asker", "10.50.0.20"), (f"{host}/mover", "10.50.0.13"))
