# SPDX-License-Identifier: GPL-3.0-or-later
"""The ingress network on hosts that are namespaces: states, refusals, what is missing, what is undone."""

from __future__ import annotations

import os
import random
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils import cli, info, record
from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError

from tests.support import engine, eye
from tests.support.mesh import (
    GATEWAYS,
    OTHERS,
    SANDBOX,
    Mesh,
    address,
    heard,
    mesh,
    pair,
    port,
    serving,
    settle,
)
from tests.support.traffic import TCP, UDP, outside
from tests.support.world import Host, container

pytestmark = pytest.mark.root
WEB = port(8080, 80, {1: 1, 2: 1})
NAMES = port(5353, 80, {1: 1, 2: 1}, protocol="udp")
KEPT = port(9090, 80, {1: 1, 2: 1}, keep_client_address=True)
FULL = [WEB, NAMES, KEPT]
Config = list[dict[str, Any]]


@pytest.fixture(scope="module")
def net() -> Iterator[Mesh]:
    with mesh(2) as made:
        yield made


@pytest.fixture
def host(net: Mesh) -> Iterator[Host]:
    """The first host, with nothing of an ingress network."""
    was = net.world[1].call(eye.snapshot)
    yield net.world[1]
    net.clear()
    wrong = eye.differences(was, net.world[1].call(eye.snapshot))
    assert not wrong, f"left over:\n{wrong}"


def attempt(config: Config, state: str = "merged", check: bool = False) -> tuple[str, str]:
    """The type and line of the error that converging ends with."""
    try:
        engine.ingress(config, state, check)
    except CrosshostError as error:
        return type(error).__name__, str(error)
    return "", ""


def refused(host: Host, config: Config, state: str, *parts: str) -> None:
    """Both modes refuse with one line that has these parts, and nothing is touched."""
    was = host.call(eye.snapshot), host.call(record.load, "ingress")
    for check in (True, False):
        name, line = host.call(attempt, config, state, check)
        assert name, f"check {check}: it was not refused"
        assert "\n" not in line
        assert [part for part in parts if part not in line] == [], line
        assert not eye.differences(was[0], host.call(eye.snapshot))
    assert host.call(record.load, "ingress") == was[1]


def test_converging_twice_changes_once_and_check_mode_tells_the_truth(net: Mesh, host: Host) -> None:
    was = host.call(eye.snapshot)
    item = net.item(1, FULL)
    checked = host.call(engine.ingress, [item], "merged", True)
    assert host.call(eye.snapshot) == was, "check mode wrote something"
    done = host.call(engine.ingress, [item])
    # where the task is on the bridge is known before, as its endpoint is there
    assert (checked.commands, checked.diff) == (done.commands, done.diff)
    again = host.call(engine.ingress, [item])
    assert (again.changed, again.commands) == (False, [])
    assert host.call(engine.ingress, [], "gathered").after == done.after


def test_the_plan_typed_by_hand_has_the_same_effect(net: Mesh, host: Host) -> None:
    item = net.item(1, FULL)
    lines = host.call(engine.ingress, [item], "rendered").commands

    def type_them() -> tuple[int, str]:
        done = subprocess.run(
            ["sh", "-e"], input="\n".join(lines), capture_output=True, text=True, check=False
        )
        return done.returncode, done.stderr

    assert host.call(type_them) == (0, "")
    typed = host.call(eye.snapshot)
    done = host.call(engine.ingress, [item])
    assert [line for line in done.commands if not line.startswith("# record")] == []
    assert host.call(eye.snapshot) == typed


def test_states_do_what_they_say(net: Mesh, host: Host) -> None:
    def ports(config: Config, state: str) -> list[str]:
        engine.ingress(config, state)
        with_facts = info.gather(["ingress"])["ingress"]
        return [*with_facts[0]["ports"], *with_facts[0]["legs"]] if with_facts else []

    assert host.call(ports, [net.item(1, [WEB])], "merged") == ["8080/tcp", "web.t1"]
    # what an item does not say stays
    assert host.call(ports, [{"ports": [NAMES]}], "merged") == ["5353/udp", "8080/tcp", "web.t1"]
    done = host.call(engine.ingress, [{"ports": [{"published": 8080, "target": 81}]}], "merged")
    assert [one["target"] for one in done.after[0]["ports"]] == [81, 80]
    assert done.after[0]["ports"][0]["tasks"] == WEB["tasks"]
    assert host.call(ports, [net.item(1, [KEPT])], "replaced") == ["9090/tcp", "web.t1"]
    assert (
        host.call(ports, [net.item(1, [], name="mesh", legs=[], subnets=OTHERS, **other(1))], "overridden")
        == []
    )
    assert host.run("ls", "/run/netns").split() == [SANDBOX, "t1", "xh-mesh", "xh-web"]
    assert host.call(ports, [], "deleted") == []
    assert host.run("ls", "/run/netns").split() == ["t1", "xh-web"]


def other(number: int) -> dict[str, Any]:
    """The host's part of a network with the other subnets."""
    return {
        "endpoints": [],
        "address": address(number, 4, subnets=OTHERS),
        "address6": address(number, 6, subnets=OTHERS),
    }


HARMS = {
    "flushed": "nft flush ruleset",
    "rules": f"""
nft delete element inet crosshost ingress-ports '{{ tcp . 8080 }}'
nft flush chain inet crosshost ingress-raw
ip netns exec {SANDBOX} nft flush chain inet crosshost ingress-forward
ip netns exec t1 nft flush ruleset
""",
    "links": f"""
ip -n {SANDBOX} link del eth0
for end in $(ip -o link show master xh_gwbridge | grep xh-: | cut -d: -f2 | cut -d@ -f1); do ip link del $end; done
ip -n t1 link del ingress0
""",
    "settings": f"""
ip -n {SANDBOX} route del default
ip netns exec {SANDBOX} sysctl -qw net.ipv4.ip_forward=0
sysctl -qw net.ipv4.conf.xh_gwbridge.route_localnet=0
ip -n t1 addr flush dev ingress0
ip -n xh-ingress neigh del 10.255.0.12 dev vx4096
""",
    "sandbox": f"ip netns del {SANDBOX}; sleep 0.3",
    "network": "ip netns del xh-ingress; sleep 0.3",
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_what_is_broken_by_hand_is_mended_by_the_next_run(net: Mesh, host: Host, harm: str) -> None:
    item = net.item(1, FULL)
    host.call(engine.ingress, [item])
    sound = snapshot(host)
    host.run("sh", "-ec", harm)
    facts = host.call(info.gather, ["ingress"])
    assert facts["drifted"] and facts["drift"]["ingress"], facts
    host.call(engine.gwbridges, [GATEWAYS])
    host.call(engine.ingress, [item])
    wrong = eye.differences(sound, snapshot(host))
    assert not wrong, wrong


def snapshot(host: Host) -> set[eye.Fact]:
    """With the setting by which the host reaches the sandbox from 127.0.0.1."""
    name = "net.ipv4.conf.xh_gwbridge.route_localnet"
    return {*host.call(eye.snapshot), ("setting", "", name, host.run("sysctl", "-n", name).strip())}


def test_a_second_one_and_the_names_of_others_are_refused(net: Mesh, host: Host) -> None:
    item = net.item(1, [WEB])
    host.call(engine.ingress, [item])
    for state in ("merged", "replaced"):
        second = {**item, "name": "mesh", "subnets": [{"subnet": "10.253.0.0/24", "vni": 4097}]}
        refused(host, [second], state, "ingress mesh", "ingress ingress already", "a cluster has one")
    refused(host, [item, {**item, "name": "mesh"}], "overridden", "ingress mesh", "a cluster has one")
    refused(host, [{**item, "name": "web"}], "overridden", "overlay_network web has it")
    far = [{"subnet": "10.50.0.0/16", "vni": 4099}]
    refused(host, [{**item, "subnets": far, "ports": [], "legs": [], **other(1)}], "replaced", "10.254.0.11")
    taken = {
        **item,
        "name": "ingress",
        "subnets": [{"subnet": "10.50.0.0/24", "vni": 4099}],
        "ports": [],
        "legs": [],
    }
    taken.update(endpoints=[], address="10.50.0.9")
    del taken["address6"]
    refused(host, [taken], "replaced", "10.50.0.0/24", "overlaps", "overlay_network web")
    # and the other way round
    network = {
        "name": "ingress",
        "subnets": [{"subnet": "10.60.0.0/24", "vni": 6000}],
        "data_path_address": host.vtep,
    }
    with pytest.raises(
        AssertionError, match="overlay_network ingress: name 'ingress': the ingress network has"
    ):
        host.call(engine.overlays, [network])
    assert not host.call(
        engine.overlays, [{**WEB_NETWORK, "data_path_address": host.vtep}], "overridden"
    ).changed
    assert not host.call(engine.endpoints, [T1], "overridden").changed


WEB_NETWORK = {"name": "web", "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}]}
T1 = {"network": "web", "sandbox": "t1", "create": True, "ip": "10.50.0.11"}


def test_ports_are_not_lost_by_accident(net: Mesh, host: Host) -> None:
    item = net.item(1, FULL)
    host.call(engine.ingress, [item])
    silent = {field: value for field, value in item.items() if field != "ports"}
    for change in ({"mtu": 1300}, {"subnets": OTHERS, "legs": [], **other(1)}):
        for state in ("replaced", "overridden"):
            refused(
                host, [{**silent, **change}], state, "made anew", "8080/tcp, 5353/udp, 9090/tcp", "ports: []"
            )
    refused(host, [], "deleted", "ingress ingress", "8080/tcp", "withdraw them first", "overridden")
    refused(host, [{"name": "ingress"}], "deleted", "withdraw them first")
    host.call(engine.ingress, [{**item, "ports": []}], "replaced")
    assert "ingress" not in host.run("nft", "list", "ruleset")
    assert host.run("sysctl", "-n", "net.ipv4.conf.xh_gwbridge.route_localnet").strip() == "0"
    host.call(engine.ingress, [], "deleted")


def test_a_port_that_somebody_has_is_not_taken(net: Mesh, host: Host) -> None:
    item = net.item(1, FULL)
    for kind, target, number in ((TCP, "0.0.0.0", 8080), (TCP, "::1", 9090), (UDP, host.vtep, 5353)):
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        with outside(host).socket(family, kind) as sock:
            sock.bind((target, number))
            if kind == TCP:
                sock.listen()
            shown = f"port {number}/{'tcp' if kind == TCP else 'udp'}: process {os.getpid()} ("
            refused(host, [item], "merged", shown, f"listens on {target} port {number}", "stop that")
    end = {**T1, "publish": ["10.98.0.1:8080:80"]}
    host.call(engine.endpoints, [end], "overridden")
    try:
        refused(host, [item], "merged", "port 8080/tcp", "an endpoint of this host publishes it on 10.98.0.1")
    finally:
        host.call(engine.endpoints, [T1], "overridden")
    host.call(engine.ingress, [item])
    # and the other way round; a port that crosshost chooses is another one
    try:
        name, line = host.call(attempt_publish, "8080:80")
        assert name == "CollisionError", line
        assert "endpoint web/t1: publish 8080:80/tcp: the ingress network publishes port 8080" in line
        assert host.call(attempt_publish, "10.98.0.1:8080-8081:81") == ("", "")
        assert "publish-tcp-10.98.0.1-8081" in host.run("nft", "list", "table", "inet", "crosshost")
        # neither takes the way from 127.0.0.1 from the other
        assert host.run("sysctl", "-n", "net.ipv4.conf.xh_gwbridge.route_localnet").strip() == "1"
        assert not host.call(engine.ingress, [item]).changed
        assert host.call(attempt_publish, "8082:80") == ("", "")
        host.call(engine.ingress, [], "overridden")
        assert host.run("sysctl", "-n", "net.ipv4.conf.xh_gwbridge.route_localnet").strip() == "1"
    finally:
        host.call(engine.endpoints, [T1], "overridden")


def attempt_publish(text: str) -> tuple[str, str]:
    try:
        engine.endpoints([{**T1, "publish": [text]}], "overridden")
    except CrosshostError as error:
        return type(error).__name__, str(error)
    return "", ""


def test_a_task_that_is_gone_does_not_hold_up_the_rest(net: Mesh, host: Host) -> None:
    item = net.item(1, [WEB, KEPT])
    item["legs"].append({"name": "web.gone", "sandbox": "gone", "ip": "10.255.0.201", "ip6": "fd55::201"})
    item["ports"][0] = {**WEB, "tasks": [*WEB["tasks"], {"ip": "10.255.0.201", "ip6": "fd55::201"}]}
    item["ports"][1]["local"].append({"sandbox": "gone"})
    net.world[2].call(engine.ingress, [net.item(2, [WEB])])
    with serving(net, 80):
        for _ in range(2):
            name, line = host.call(attempt, [item], "merged")
            assert name == "HostError", line
            assert "leg web.gone: sandbox 'gone'" in line
        assert heard(outside(host), "127.0.0.1", 8080, TCP).keys() == {"t1", "t2"}
        facts = host.call(info.gather, ["ingress"])
        assert "web.gone" in facts["errors"]["ingress"]
        assert host.call(cli.restore_all, 0.0) == 1
    host.run("ip", "netns", "add", "gone")
    try:
        name, line = host.call(attempt, [item], "merged")
        assert "port 9090/tcp: sandbox gone has no leg to xh_gwbridge" in line
        assert "10.255.0.201" in host.run("ip", "-n", "gone", "addr", "show", "ingress0")
        item["ports"][1]["local"].pop()
        assert host.call(attempt, [item], "replaced") == ("", "")
    finally:
        host.run("ip", "netns", "del", "gone")


def test_a_task_in_a_process(net: Mesh, host: Host) -> None:
    """By its process id; a namespace that has a name too is one sandbox all the same."""
    with container(host) as pid:
        item = net.item(1, [port(8080, 80, {1: 1})], legs=[{"pid": pid, **pair(1, True)}])
        host.call(engine.ingress, [item])
        assert not host.call(engine.ingress, [item]).changed
        assert "10.255.0.101/24" in host.run("nsenter", f"--net=/proc/{pid}/ns/net", "ip", "addr")
        host.call(engine.ingress, [{**item, "legs": [], "ports": []}], "replaced")
        assert "ingress0" not in host.run("nsenter", f"--net=/proc/{pid}/ns/net", "ip", "addr")
        assert "ingress" not in host.run("nsenter", f"--net=/proc/{pid}/ns/net", "nft", "list", "ruleset")
        host.run("ip", "netns", "attach", "named", str(pid))
        try:
            both = [{"name": "t", "pid": pid, **pair(1, True)}, {"sandbox": "named", "ip": "10.255.0.201"}]
            item = net.item(1, [port(8080, 80, {1: 1})], legs=both)
            refused_line(host, [item], "two of them are in one sandbox")
            host.call(engine.ingress, [{**item, "legs": both[:1]}])
            done = host.call(
                engine.ingress,
                [{**item, "legs": [{"name": "t", "sandbox": "named", **pair(1, True)}]}],
                "replaced",
            )
            assert [line for line in done.commands if not line.startswith("# record")] == []
        finally:
            host.call(engine.ingress, [], "overridden")
            host.run("ip", "netns", "del", "named")


def refused_line(host: Host, config: Config, part: str) -> None:
    name, line = host.call(attempt, config)
    assert name and part in line, line


def test_every_draw_is_listed_as_it_was_written(net: Mesh, host: Host) -> None:
    """Otherwise each run would find a difference: lists of weights of every length and kind."""
    chance = random.Random(8)  # noqa: S311
    far = [{"ip": f"10.255.0.{n}", "ip6": f"fd55::{n}", "vtep": net.world[2].vtep} for n in range(30, 50)]
    ports = []
    for number in range(1000, 1060):
        chosen = chance.sample(far, chance.randrange(len(far)))
        most = chance.choice([1, 3, 1000])
        shares = [{"ip": one["ip"], "ip6": one["ip6"], "weight": chance.randint(0, most)} for one in chosen]
        affinity = chance.choice(["none", "source"])
        protocol = chance.choice(["tcp", "udp", "sctp"])
        ports.append({"published": number, "protocol": protocol, "tasks": shares, "affinity": affinity})
    item = net.item(1, ports, endpoints=far, legs=[])
    host.call(engine.ingress, [item])
    assert not host.call(engine.ingress, [item]).changed


def moved(net: Mesh, number: int) -> dict[str, Any]:
    """The host's declaration with another subnet and MTU, and the ports with it."""
    ports = [
        port(8080, 80, {1: 1, 2: 1}, subnets=OTHERS),
        port(5353, 80, {1: 1}, subnets=OTHERS, protocol="udp"),
    ]
    return net.item(number, ports, subnets=OTHERS, mtu=1300)


def test_another_subnet_and_mtu_come_with_the_ports(net: Mesh, host: Host) -> None:
    with serving(net, 80):
        net.publish(WEB)
        settle(host, SANDBOX)
        assert heard(net.outside, host.vtep, 8080) == {f"t{n}": {address(1, 4)} for n in (1, 2)}
        for one in net.hosts:
            one.call(engine.ingress, [moved(net, one.number)], "replaced")
        settle(host, SANDBOX)
        found = heard(net.outside, host.vtep, 8080)
        assert found == {f"t{n}": {address(1, 4, subnets=OTHERS)} for n in (1, 2)}
        assert heard(net.outside, host.vtep6, 8080).keys() == {"t1", "t2"}
    assert "mtu 1300" in host.run("ip", "-n", SANDBOX, "link", "show", "eth0")
