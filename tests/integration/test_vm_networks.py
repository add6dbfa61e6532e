# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks for which the kernel of the machine that runs the tests may lack the parts: VLANs, dummies, ipvlan. On two virtual
machines with Debian's own kernel."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from tests import checker
from tests.support.scenarios import declared
from tests.support.vms.machine import Machine

pytestmark = [pytest.mark.root, pytest.mark.slow]
Config = list[dict[str, Any]]
TEN: dict[str, Any] = {
    "name": "ten",
    "parent": "eth1.10",
    "subnets": [{"subnet": "10.10.0.0/24"}, {"subnet": "fd10::/64"}],
}
_TAGGED, _IPV4 = 0x8100, 0x0800


def settled(machine: Machine, kind: str, config: Config, state: str = "merged") -> list[str]:
    """Check mode tells what the run does, and a second run does nothing. The commands."""
    told = machine.converge(kind, config, state, check=True)
    done = machine.converge(kind, config, state)
    assert told == done
    again = machine.converge(kind, config, state)
    assert not again["changed"], again["commands"]
    commands: list[str] = done["commands"]
    return commands


def refused(machine: Machine, kind: str, config: Config) -> str:
    was = machine.ok("ip", "-d", "addr")
    line = str(machine.attempt(kind, config).get("error", "it was accepted"))
    assert machine.ok("ip", "-d", "addr") == was
    return line


def box(sandbox: str, network: str, ip: str, **more: Any) -> dict[str, Any]:
    return {"network": network, "sandbox": sandbox, "create": True, "ip": ip, **more}


def pings(machine: Machine, target: str, sandbox: str = "") -> bool:
    inside = ["ip", "netns", "exec", sandbox] if sandbox else []
    return any(machine.run(*inside, "ping", "-c1", "-W2", target)[0] == 0 for _try in range(3))


def silent(machine: Machine, target: str, sandbox: str = "") -> bool:
    inside = ["ip", "netns", "exec", sandbox] if sandbox else []
    return machine.run(*inside, "ping", "-c1", "-W1", target)[0] != 0


def link(machine: Machine, name: str, sandbox: str = "") -> dict[str, Any]:
    """A device as iproute2 shows it; {} when there is none."""
    place = ["-n", sandbox] if sandbox else []
    found = json.loads(machine.ok("ip", *place, "-j", "-d", "link"))
    return next((one for one in found if one["ifname"] == name), {})


def test_a_vlan_is_made_and_goes_with_its_last_network(machines: list[Machine]) -> None:
    one, other = machines
    second = {
        "name": "second",
        "parent": "eth1.10",
        "subnets": [{"subnet": "10.11.0.0/24"}],
        "promiscuous": True,
    }
    shim = {"host_range": ["10.10.0.128/28"], "shim": "10.10.0.128"}
    commands = settled(one, "macvlan", [{**TEN, **shim}, second])
    assert "ip link add link eth1 name eth1.10 group 30840 type vlan id 10" in commands
    assert link(one, "eth1.10")["linkinfo"]["info_data"]["id"] == 10
    assert "PROMISC" in link(one, "eth1.10")["flags"] and "PROMISC" not in link(one, "eth1")["flags"]
    settled(
        other,
        "macvlan",
        [TEN, {"name": "else", "parent": "eth1.20", "subnets": [{"subnet": "10.20.0.0/24"}]}],
    )
    settled(one, "endpoint", [box("a", "ten", "10.10.0.21", ip6="fd10::21")])
    settled(
        other, "endpoint", [box("b", "ten", "10.10.0.22", ip6="fd10::22"), box("c", "else", "10.20.0.23")]
    )

    capture = one.start("tcpdump", "-lnei", "eth1", "icmp or (vlan and icmp)")
    one.shell("until [ $(wc -l </proc/net/packet) -gt 1 ]; do sleep 0.1; done")  # it listens
    one.wire.listen()
    assert pings(one, "10.10.0.22", "a") and pings(one, "fd10::22", "a")
    _code, shown, _err = one.finish(capture, timeout=1)
    asked = [row for row in shown.splitlines() if "10.10.0.21 > 10.10.0.22: ICMP echo request" in row]
    assert asked and all("vlan 10, p 0, ethertype IPv4" in row for row in asked), shown
    assert {tag(frame) for frame in one.wire.frames if is_ping(frame)} == {10}
    # the same addresses in another VLAN are somewhere else
    other.ok("ip", "-n", "c", "addr", "add", "10.10.0.99/24", "dev", "eth0")
    assert silent(one, "10.10.0.99", "a")
    # the host itself, over its own child
    assert pings(one, "10.10.0.21") and pings(one, "10.10.0.128", "a")

    settled(one, "macvlan", [{"name": "second"}], "deleted")
    assert link(one, "eth1.10"), "a network is still on it"
    assert "PROMISC" not in link(one, "eth1.10")["flags"]
    settled(one, "macvlan", [{"name": "ten"}], "deleted")
    assert not link(one, "eth1.10") and not link(one, "eth0", "a")


def test_the_independent_checker_agrees_and_sees_changes(machines: list[Machine]) -> None:
    one = machines[0]
    networks = [
        {**TEN, "shim": "10.10.0.5", "promiscuous": True},
        {"name": "inside", "subnets": [{"subnet": "10.13.0.0/24"}], "mtu": 1400},
        {
            "name": "far",
            "driver": "ipvlan",
            "mode": "l3",
            "parent": "eth1.20",
            "subnets": [{"subnet": "10.20.0.0/24"}],
        },
    ]
    ends = [box("a", "ten", "10.10.0.21"), box("b", "inside", "10.13.0.21"), box("c", "far", "10.20.0.21")]
    settled(one, "macvlan", networks)
    settled(one, "endpoint", ends)
    here = declared([], ends, macvlan_networks=networks)

    def found() -> list[str]:
        return checker.check(here, lambda argv: one.ok(*argv))

    assert found() == []
    one.shell(
        "ip link set eth1.20 alias other; ip link set $(ip -br link show type dummy | cut -d' ' -f1) down; "
        "ip -n c link set eth0 type ipvlan mode l2; ip link set eth1.10 promisc off"
    )
    reports = [
        "link eth1.20: unexpected",
        "up: is False",
        "c: link eth0: mode: is 'l2'",
        "eth1.10: it is not promiscuous",
    ]
    lines = found()
    assert len(lines) == len(reports), lines
    assert [one for one in reports if not any(one in line for line in lines)] == [], lines


def tag(frame: bytes) -> int:
    """The VLAN id of a frame on the wire, 0 without one."""
    ethertype, control = struct.unpack_from("!HH", frame, 12)
    return int(control & 0xFFF) if ethertype == _TAGGED else 0


def is_ping(frame: bytes) -> bool:
    start = 18 if tag(frame) else 14
    (ethertype,) = struct.unpack_from("!H", frame, start - 2)
    return ethertype == _IPV4 and frame[start + 9] == 1


def test_a_vlan_that_was_there_stays(machines: list[Machine]) -> None:
    one = machines[0]
    one.shell("ip link add link eth1 name eth1.10 type vlan id 10; ip link set eth1.10 up")
    assert not any("link add" in line for line in settled(one, "macvlan", [TEN]))
    settled(one, "macvlan", [], "deleted")
    assert link(one, "eth1.10")
    # by another name it is named; by its own name it must be what it says
    line = refused(one, "macvlan", [{**TEN, "parent": "eth1.010"}])
    assert "leading zeros" in line
    one.shell("ip link set eth1.10 down; ip link set eth1.10 name ten; ip link set ten up")
    line = refused(one, "macvlan", [TEN])
    assert "parent 'eth1.10'" in line and "ten carries VLAN 10 of eth1 already" in line
    one.shell("ip link set ten down; ip link set ten name eth1.30; ip link set eth1.30 up")
    assert "it carries VLAN 10 in spite of its name" in refused(
        one, "macvlan", [{**TEN, "parent": "eth1.30"}]
    )


def test_a_parent_that_went_comes_back_with_what_is_on_it(machines: list[Machine]) -> None:
    one = machines[0]
    ends = [box("a", "ten", "10.10.0.21"), box("b", "ten", "10.10.0.22")]
    settled(one, "macvlan", [{**TEN, "shim": "10.10.0.5"}])
    settled(one, "endpoint", ends)
    one.ok("ip", "link", "del", "eth1.10")
    assert not link(one, "eth0", "a")
    assert "eth1.10" in str(one.attempt("endpoint", ends).get("error"))
    assert one.converge("macvlan", [TEN])["changed"] and one.converge("endpoint", ends)["changed"]
    assert pings(one, "10.10.0.22", "a") and pings(one, "10.10.0.21")


def test_an_internal_network_leads_nowhere(machines: list[Machine]) -> None:
    one, other = machines
    inside = {"name": "inside", "subnets": [{"subnet": "10.13.0.0/24"}], "mtu": 1400}
    for machine in machines:
        settled(machine, "macvlan", [inside])
    settled(one, "endpoint", [box("a", "inside", "10.13.0.21"), box("b", "inside", "10.13.0.22")])
    settled(other, "endpoint", [box("c", "inside", "10.13.0.23")])
    assert pings(one, "10.13.0.22", "a")
    assert silent(one, "10.13.0.23", "a")
    assert link(one, "eth0", "a")["mtu"] == 1400
    assert "default" not in one.ok("ip", "-n", "a", "route")
    settled(one, "macvlan", [], "deleted")
    assert "dummy" not in one.ok("ip", "-d", "link") and not link(one, "eth0", "a")


def test_ipvlan_on_the_lan(machines: list[Machine]) -> None:
    one, other = machines
    lan = {"name": "lan", "driver": "ipvlan", "parent": "eth1", "subnets": [{"subnet": "10.9.0.0/24"}]}
    settled(one, "macvlan", [{**lan, "shim": "10.9.0.20"}])
    settled(other, "macvlan", [lan])
    settled(one, "endpoint", [box("a", "lan", "10.9.0.21"), box("b", "lan", "10.9.0.22")])
    settled(other, "endpoint", [box("c", "lan", "10.9.0.23")])
    assert link(one, "eth0", "a")["address"] == link(one, "eth1")["address"]
    assert link(one, "eth0", "a")["linkinfo"]["info_data"]["mode"] == "l2"
    assert pings(one, "10.9.0.22", "a") and pings(one, "10.9.0.23", "a") and pings(other, "10.9.0.22", "c")
    assert pings(one, "10.9.0.21") and pings(one, "10.9.0.20", "b"), "by the host's own child"
    line = refused(one, "macvlan", [{**lan, "name": "more", "subnets": [{"subnet": "10.8.0.0/24"}]}])
    assert "macvlan more: parent 'eth1'" in line and "one ipvlan network" in line


@pytest.mark.parametrize("mode", ["l3", "l3s"])
def test_ipvlan_that_the_host_routes(machines: list[Machine], mode: str) -> None:
    one, other = machines
    one.ok("ip", "addr", "add", "10.9.0.1/24", "dev", "eth1")
    other.ok("ip", "addr", "add", "10.9.0.2/24", "dev", "eth1")
    other.ok("ip", "route", "add", "10.12.0.0/24", "via", "10.9.0.1")
    lan = {
        "name": "far",
        "driver": "ipvlan",
        "mode": mode,
        "parent": "eth1",
        "subnets": [{"subnet": "10.12.0.0/24"}],
    }
    settled(one, "macvlan", [lan])
    settled(one, "endpoint", [box("a", "far", "10.12.0.21"), box("b", "far", "10.12.0.22")])
    assert json.loads(one.ok("ip", "-n", "a", "-j", "route", "show", "default")) == [
        {"dst": "default", "dev": "eth0", "protocol": "static", "scope": "link", "flags": []}
    ]
    assert pings(one, "10.12.0.22", "a")
    assert pings(one, "10.9.0.2", "a") and pings(other, "10.12.0.21")


def test_macvlan_and_ipvlan_on_one_device(machines: list[Machine]) -> None:
    one = machines[0]
    lan = {"name": "lan", "parent": "eth1", "subnets": [{"subnet": "10.9.0.0/24"}]}
    other = {"name": "other", "driver": "ipvlan", "parent": "eth1", "subnets": [{"subnet": "10.8.0.0/24"}]}
    line = refused(one, "macvlan", [lan, other])
    assert "macvlan other: driver 'ipvlan'" in line and "macvlan lan" in line and "eth1" in line
    one.ok("ip", "link", "add", "iv0", "link", "eth1", "type", "ipvlan", "mode", "l3")
    line = refused(one, "macvlan", [lan])
    assert "iv0 on the host is ipvlan in mode l3" in line and "driver ipvlan" in line
    assert "take mode l3" in refused(one, "macvlan", [other])
    # where nobody sees it, the kernel's word comes with ours
    hidden = one.start("unshare", "--net", "sleep", "60")
    one.shell(
        f"until [ $(readlink /proc/{hidden}/ns/net) != $(readlink /proc/self/ns/net) ]; do sleep 0.1; done"
    )
    one.ok("ip", "link", "set", "iv0", "netns", str(hidden))
    line = refused(one, "macvlan", [{**lan, "shim": "10.9.0.20"}])
    assert "something else holds eth1" in line and "everything done before it was undone" in line
    one.finish(hidden)


MODULES = ("8021q", "dummy", "ipvlan", "macvlan", "nft_hash", "nft_numgen", "sctp", "vxlan")
SCTP_SERVER = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP) as sock:
    sock.bind((sys.argv[1], 9000))
    sock.listen()
    connection, peer = sock.accept()
    print(peer[0], connection.recv(100).decode())
"""
SCTP_CLIENT = """
import socket, sys, time
for _try in range(50):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP) as sock:
        try:
            sock.connect((sys.argv[1], int(sys.argv[2])))
            sock.send(b"hello")
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
"""


def test_the_kernel_is_a_distributions_own(machines: list[Machine]) -> None:
    """What other tests take for granted: the modules that the engine may ask for."""
    for machine in machines:
        assert machine.ok("uname", "-r").strip().endswith("-cloud-amd64")
        machine.ok("modprobe", "--all", "--dry-run", *MODULES)


def test_the_machines_speak_sctp(machines: list[Machine]) -> None:
    """What other tests take for granted: a kernel with SCTP, by which the two reach each other."""
    one, other = machines
    one.ok("checksctp")
    one.ok("ip", "addr", "add", "10.9.0.1/24", "dev", "eth1")
    other.ok("ip", "addr", "add", "10.9.0.2/24", "dev", "eth1")
    serving = other.start("python3", "-c", SCTP_SERVER, "10.9.0.2")
    one.ok("python3", "-c", SCTP_CLIENT, "10.9.0.2", "9000")
    assert other.finish(serving, timeout=10) == (0, "10.9.0.1 hello\n", "")


def test_a_published_sctp_port_leads_to_the_sandbox(machines: list[Machine]) -> None:
    """A whole association, from another machine and from the host itself; the sandbox sees the client's own address."""
    one, other = machines
    one.ok("ip", "addr", "add", "10.9.0.1/24", "dev", "eth1")
    other.ok("ip", "addr", "add", "10.9.0.2/24", "dev", "eth1")
    settled(one, "bridge_network", [{"name": "front", "subnets": [{"subnet": "10.30.0.0/24"}]}])
    settled(one, "endpoint", [box("s", "front", "10.30.0.5", publish=["9132:9000/sctp"])])
    inside = ("ip", "netns", "exec", "s", "python3", "-c", SCTP_SERVER, "10.30.0.5")
    for machine, seen in ((other, "10.9.0.2"), (one, "10.30.0.1")):
        serving = one.start(*inside)
        machine.ok("python3", "-c", SCTP_CLIENT, "10.9.0.1", "9132")
        assert one.finish(serving, timeout=10) == (0, f"{seen} hello\n", "")


def test_a_bridge_keeps_its_own_mac_beside_udev(machines: list[Machine]) -> None:
    """systemd-udevd gives a MAC of its choice to each device of the host's namespace that comes with a random one."""
    for round_ in range(3):
        settled(machines[0], "gwbridge", [{"subnet": "172.31.0.0/24"}])
        assert link(machines[0], "xh_gwbridge")["address"].startswith("5a:"), round_
        settled(machines[0], "gwbridge", [], "deleted")
