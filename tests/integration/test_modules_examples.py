# SPDX-License-Identifier: GPL-3.0-or-later
"""What people build with Docker's own examples, built with the modules on three hosts and proved by traffic."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.lab_run import Lab, declare, lab, session_lab, step  # noqa: F401

pytestmark = [pytest.mark.lab, pytest.mark.slow]
GWBRIDGE = {"subnet": "172.30.0.0/16"}
OUTSIDE = "203.0.113.10"
ECHO = """
import socket, sys
server = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("ready", flush=True)
link, _ = server.accept()
while data := link.recv(4096):
    link.sendall(data)
"""


def box(host: str, network: str, sandbox: str, ip: str, **more: Any) -> dict[str, Any]:
    return {"host": host, "network": network, "sandbox": sandbox, "create": True, "ip": ip, **more}


def test_subnets_with_gateways_range_and_auxiliary_addresses(lab: Lab) -> None:
    """docker network create -d overlay --subnet=192.168.0.0/16 --subnet=192.170.0.0/16 --gateway.. --ip-range.. --aux-address.."""
    wide = {
        "name": "wide",
        "subnets": [
            {
                "subnet": "192.168.0.0/16",
                "vni": 4110,
                "gateway": "192.168.0.100",
                "ip_range": "192.168.1.0/24",
                "aux_addresses": {"my-router": "192.168.1.5", "my-switch": "192.168.1.16"},
            },
            {"subnet": "192.170.0.0/16", "vni": 4111, "gateway": "192.170.0.100"},
        ],
    }
    ends = [
        box("h1", "wide", "a", "192.168.1.10"),
        box("h2", "wide", "b", "192.170.0.10"),
        box("h3", "wide", "c", "192.168.1.11"),
    ]
    lab.converge(declare([wide], ends, [GWBRIDGE], ("h1", "h2", "h3")), again=True)
    lab.reach(
        ("h1/a", "192.168.1.11"),
        ("h1/a", "192.170.0.10"),  # from subnet to subnet, on two hosts
        ("h2/b", "192.168.1.10"),
        ("h3/c", "192.170.0.10"),
        ("h1/a", "192.168.0.100"),
        ("h2/b", "192.170.0.100"),
        ("h2/b", OUTSIDE),
    )
    before = lab.picture()
    refused = [
        step("h1", "endpoint", {"config": [{"network": "wide", "sandbox": "d", "create": True, "ip": ip}]})
        for ip in ("192.168.1.5", "192.168.1.16", "192.168.0.100")
    ]
    words = ["aux address my-router", "aux address my-switch", "the gateway of 192.168.0.0/16"]
    for word, result in zip(words, lab.play(*refused)):
        assert result["h1"]["failed"] and word in result["h1"]["msg"]
    assert lab.picture() == before


def test_a_declared_mtu_is_the_mtu(lab: Lab) -> None:
    """docker network create -d overlay --subnet=10.11.0.0/16 --gateway=10.11.0.2 --opt com.docker.network.driver.mtu=1200"""
    net = {
        "name": "my",
        "subnets": [{"subnet": "10.11.0.0/16", "vni": 4120, "gateway": "10.11.0.2"}],
        "mtu": 1200,
    }
    ends = [box("h1", "my", "a", "10.11.0.11"), box("h2", "my", "b", "10.11.0.12")]
    lab.converge(declare([net], ends, [GWBRIDGE]))
    lab.reach(("h1/a", "10.11.0.12"), options=["-M", "do", "-s", "1172"])
    lab.miss(("h1/a", "10.11.0.12"), options=["-M", "do", "-s", "1173"])
    lab.reach(("h1/a", "10.11.0.12"), options=["-s", "4000"])  # in fragments


def test_gateway_bridge_named_as_dockers(lab: Lab) -> None:
    """docker network create --subnet 10.11.0.0/16 --opt com.docker.network.bridge.name=docker_gwbridge --opt ..enable_icc=false
    --opt ..enable_ip_masquerade=true docker_gwbridge"""
    bridge = {"name": "docker_gwbridge", "subnet": "10.11.0.0/16", "icc": False, "ip_masquerade": True}
    net = {"name": "web", "subnets": [{"subnet": "10.12.0.0/24", "vni": 4130}]}
    ends = [
        box("h1", "web", name, f"10.12.0.{number}", gwbridge="docker_gwbridge")
        for name, number in (("a", 11), ("b", 12))
    ]
    lab.converge(declare([net], ends, [bridge], ("h1",)), again=True)
    with lab.capture("outside", "icmp") as seen:
        lab.reach(("h1/a", OUTSIDE), ("h1/b", OUTSIDE))
    # by the host's address: there is no way back to 10.11
    assert seen and all("10.97.0.1" in line for line in seen)
    first, second = (leg_address(lab, name) for name in ("a", "b"))
    with lab.running("h1/b", "python3", "-c", ECHO, "7000", ready="ready"), echo_over(lab, "h1/a") as talk:
        talk("before")
        filter_bridged(lab, False)
        lab.miss(("h1/a", second), ("h1/b", first))
        assert not lab.connects("h1/a", second, 7000)
        # not by way of the host either
        lab.run("h1/a", "ip", "route", "add", f"{second}/32", "via", "10.11.0.1")
        lab.miss(("h1/a", second))
        lab.run("h1/a", "ip", "route", "del", f"{second}/32")
        assert_unreachable_from_outside(lab, second)
        toggle(lab, bridge, True)
        talk("with icc")
        lab.reach(("h1/a", second), ("h1/b", first))
        filter_bridged(lab, True)
        lab.reach(("h1/a", second), ("h1/b", first))
        assert_unreachable_from_outside(lab, second)
        assert lab.connects("h1/a", second, 7000)
        toggle(lab, bridge, False)
        talk("without icc")
        lab.miss(("h1/a", second))


def filter_bridged(lab: Lab, on: bool) -> None:
    """Whether h1 sends what it bridges through the rules for what it routes (br_netfilter): nothing may depend on it."""
    setting = "/proc/sys/net/bridge/bridge-nf-call-iptables"
    lab.script("h1", f"[ ! -e {setting} ] || echo {int(on)} > {setting}")


def leg_address(lab: Lab, sandbox: str) -> str:
    return lab.run(f"h1/{sandbox}", "ip", "-4", "-o", "addr", "show", "dev", "gw0").split()[3].split("/")[0]


def assert_unreachable_from_outside(lab: Lab, target: str) -> None:
    """From beyond the host's router and from the next host, with routes, and the way itself proved by the host's own
    address on the bridge."""
    ways = [("outside", "via", "203.0.113.1"), ("switch", "via", "10.97.0.1"), ("h2", "via", "10.98.0.1")]
    for place, *way in ways:
        lab.run(place, "ip", "route", "add", "10.11.0.0/16", *way)
    try:
        lab.reach(("outside", "10.11.0.1"), ("h2", "10.11.0.1"))
        with ThreadPoolExecutor(2) as pool:
            opened = pool.map(lambda place: lab.connects(place, target, 7000), ("outside", "h2"))
            lab.miss(("outside", target), ("h2", target))
            assert not any(opened)
    finally:
        for place, *way in ways:
            lab.run(place, "ip", "route", "del", "10.11.0.0/16", *way)


def toggle(lab: Lab, bridge: dict[str, Any], icc: bool) -> None:
    """Changes the bridge in place: the same device afterwards, with the same ports."""
    before = lab.run("h1", "ip", "-o", "link", "show", "master", "docker_gwbridge")
    result = lab.module("h1", "gwbridge", {"config": [{**bridge, "icc": icc}]})
    assert result["changed"], result
    after = lab.run("h1", "ip", "-o", "link", "show", "master", "docker_gwbridge")
    assert [line.split()[1] for line in before.splitlines()] == [
        line.split()[1] for line in after.splitlines()
    ]


class echo_over:  # noqa: N801  (used as a function)
    """An established TCP connection from a place to an echo server outside; called, it sends a line and awaits it back."""

    def __init__(self, lab: Lab, place: str) -> None:
        self._server = lab.running("outside", "python3", "-c", ECHO, "7001", ready="ready")
        self._client = lab.running(place, "nc", OUTSIDE, "7001")

    def __enter__(self) -> Any:
        self._server.__enter__()
        self._nc = self._client.__enter__()
        return self._talk

    def _talk(self, text: str) -> None:
        assert self._nc.stdin and self._nc.stdout
        self._nc.stdin.write(text + "\n")
        self._nc.stdin.flush()
        assert self._nc.stdout.readline() == text + "\n"

    def __exit__(self, *exc: Any) -> None:
        self._client.__exit__(*exc)
        self._server.__exit__(*exc)


def test_overlay_that_others_make_by_hand(lab: Lab) -> None:
    """VNI 100 on port 4789 with 1.1.1.1/24 and 1.1.1.2/24 on two hosts, and a third that iproute2 alone has set up."""
    hand = {
        "name": "hand",
        "internal": True,
        "subnets": [{"subnet": "1.1.1.0/24", "vni": 100, "gateway": "none"}],
        "endpoints": [{"ip": "1.1.1.3", "mac": "02:42:01:01:01:03", "vtep": "10.98.0.3"}],
    }
    ends = [box("h1", "hand", "a", "1.1.1.1"), box("h2", "hand", "b", "1.1.1.2")]
    lab.converge(declare([hand], ends))
    lab.script(
        "h3",
        """ip netns add c
        ip link add vx100 address 02:42:01:01:01:03 netns c type vxlan id 100 dstport 4789 local 10.98.0.3 nolearning
        ip -n c addr add 1.1.1.3/24 dev vx100
        ip -n c link set vx100 mtu 1450 up
        bridge -n c fdb append 02:42:01:01:01:01 dev vx100 dst 10.98.0.1
        bridge -n c fdb append 02:42:01:01:01:02 dev vx100 dst 10.98.0.2
        ip -n c neigh add 1.1.1.1 lladdr 02:42:01:01:01:01 dev vx100
        ip -n c neigh add 1.1.1.2 lladdr 02:42:01:01:01:02 dev vx100""",
    )
    everyone = {"h1/a": "1.1.1.1", "h2/b": "1.1.1.2", "h3/c": "1.1.1.3"}
    lab.reach(*[(place, ip) for place, own in everyone.items() for ip in everyone.values() if ip != own])
    lab.reach(("h1/a", "1.1.1.3"), options=["-M", "do", "-s", "1422"])
    assert lab.run("h1/xh-hand", "ip", "-4", "-o", "addr", "show", "dev", "br100") == ""


def test_data_path_separate_from_management(lab: Lab) -> None:
    """docker swarm init --advertise-addr eth0 --data-path-addr eth1: what sandboxes say goes over eth1 alone."""
    net = {"name": "web", "internal": True, "subnets": [{"subnet": "10.12.0.0/24", "vni": 4140}]}
    ends = [box("h1", "web", "a", "10.12.0.11"), box("h2", "web", "b", "10.12.0.12")]
    lab.converge(declare([net], ends))
    with (
        lab.capture("data", "udp", "port", "4789") as data,
        lab.capture("mgmt", "udp", "port", "4789") as mgmt,
    ):
        lab.reach(("h1/a", "10.12.0.12"))
    assert any(
        "10.98.0.1" in line and "> 10.98.0.2.4789: VXLAN" in line and "vni 4140" in line for line in data
    )
    assert any("> 10.98.0.1.4789: VXLAN" in line and "vni 4140" in line for line in data)
    assert mgmt == []
    # the same by the interface's name: nothing to change on the host, the words alone are recorded
    by_name = {**net, "data_path_interface": "eth1", "peers": [{"host": "h2", "vtep": "10.98.0.2"}]}
    by_name["endpoints"] = [{"ip": "10.12.0.12", "vtep": "10.98.0.2"}]
    result = lab.module("h1", "overlay_network", {"state": "replaced", "config": [by_name]})
    assert result["commands"] == ["# record overlay_network web"], result
