# SPDX-License-Identifier: GPL-3.0-or-later
"""Published ports over time: which are chosen, which are refused, and what happens to who uses them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable

import pytest
from ansible_collections.crosshost.network.plugins.module_utils import cli, info
from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError

from tests.support import engine
from tests.support.published import (
    NETWORKS,
    OWN,
    Target,
    address,
    ends,
    heard,
    lan,
    places,
    publish,
    serving,
    target,
)
from tests.support.traffic import REFUSED, SILENCE, TCP, UDP, Place, ask, server, until
from tests.support.world import Host, World, world

pytestmark = pytest.mark.root
__all__ = ["lan", "places"]  # fixtures


# -- ranges and chosen ports


def test_equal_ranges(lan: World, places: dict[str, Place]) -> None:
    publish(lan, target("web1", "8000-8002:90-92"))
    for place in range(3):
        with serving(places, "web1", 90 + place):
            assert ask(places["away"], OWN[4], 8000 + place) == "web1 10.98.0.2"


def test_chosen_ports_are_free_ones_and_stay(lan: World, places: dict[str, Place]) -> None:
    """Of a range the lowest that nobody has; else one of the kernel's range for local ports."""
    publish(lan)
    low, high = map(int, lan[1].run("sysctl", "-n", "net.ipv4.ip_local_port_range").split())
    wanted = [target("web1", "80", "81/udp", "8000-8003:82"), target("web2", "8001:80", "8000-8003:81")]
    with server(places["host"], "127.0.0.1", 8000):
        first = publish(lan, *wanted)
    assert first["web1", "tcp", 82] == 8002  # 8000 is a process's, 8001 is declared
    assert first["web2", "tcp", 81] == 8003
    chosen = [first["web1", "tcp", 80], first["web1", "udp", 81]]
    assert all(low <= port <= high for port in chosen)
    with serving(places, "web1", 80):
        assert ask(places["away"], OWN[4], chosen[0]) == "web1 10.98.0.2"
    # the process is gone, another endpoint comes, the order changes: those that have a port keep it
    again = publish(lan, target("app1", "8000-8003:80"), *reversed(wanted))
    assert again.pop(("app1", "tcp", 80)) == 8000
    assert again == first
    # after a reboot nothing is left to read, and the host chooses alike
    publish(lan)
    anew = publish(lan, *wanted)
    assert [anew["web1", "tcp", 80], anew["web1", "udp", 81]] == chosen


def test_reserved_ports_are_not_chosen(lan: World) -> None:
    settings = {"ip_local_port_range": "40000 40003", "ip_local_reserved_ports": "40000,40002-40003"}
    publish(lan)
    before = {name: lan[1].run("sysctl", "-n", f"net.ipv4.{name}").strip() for name in settings}
    try:
        for name, value in settings.items():
            lan[1].run("sysctl", "-qw", f"net.ipv4.{name}={value}")
        assert publish(lan, target("web1", "80")) == {("web1", "tcp", 80): 40001}
        assert "no port from 40000 to 40003 is free" in refused(lan[1], target("web1", "80", "81"))
        too_many = target("web1", "40001:80", "40001-40002:81", "40001-40002:82")
        assert "no port from 40001 to 40002 is free" in refused(lan[1], too_many)
    finally:
        for name, value in before.items():
            lan[1].run("sysctl", "-qw", f"net.ipv4.{name}={value}")


# -- what is refused


def refused(host: Host, *targets: Target) -> str:
    """The line by which publishing is refused, where nothing is published; nothing has changed then."""

    def attempt() -> str:
        with pytest.raises(CrosshostError) as raised:
            engine.endpoints(ends(targets), "overridden")
        return str(raised.value)

    host.call(engine.endpoints, ends(), "overridden")
    before = host.run("nft", "list", "ruleset")
    said = str(host.call(attempt))
    assert host.run("nft", "list", "ruleset") == before
    return said


@pytest.mark.parametrize(
    ("listens", "declared"),
    [
        (("127.0.0.1", TCP), "8080:80"),
        (("0.0.0.0", TCP), "10.98.0.1:8080:80"),
        (("::", TCP), "[fd98::1]:8080:80"),
        (("10.98.0.1", UDP), "0.0.0.0:8080:80/udp"),
    ],
)
def test_a_port_that_is_taken_is_refused_naming_its_owner(
    lan: World, places: dict[str, Place], listens: tuple[str, int], declared: str
) -> None:
    text, kind = listens
    with server(places["host"], text, 8080, kind):
        said = refused(lan[1], target("web1", declared))
        name = open("/proc/self/comm", encoding="utf-8").read().strip()  # noqa: SIM115
        assert said.startswith(f"endpoint web/web1: publish {declared.removesuffix('/udp')}")
        assert f"process {os.getpid()} ({name}) listens on {text} port 8080" in said
        # a port beside it, or of the other protocol, is free
        other = "udp" if kind == TCP else "tcp"
        publish(lan, target("web1", f"8080:80/{other}", "8081:80"))


def test_who_listens_later_does_not_disturb(lan: World, places: dict[str, Place]) -> None:
    publish(lan, target("web1", "8080:80"))
    with server(places["host"], "0.0.0.0", 8080):
        publish(lan, target("web1", "8080:80"), target("web2", "8081:80"))


def test_an_address_that_the_host_does_not_have_is_refused(lan: World) -> None:
    said = refused(lan[1], target("web1", "192.0.2.9:8080:80"))
    assert said.startswith("endpoint web/web1: publish 192.0.2.9:8080:80/tcp: this host does not have")


# -- over time


def test_a_udp_sender_follows_the_port(lan: World, places: dict[str, Place]) -> None:
    """To another sandbox, to none, and from none: it sends from one port all the time, and never falls silent for long."""
    with contextlib.ExitStack() as stack:
        for name in ("web1", "app1"):
            stack.enter_context(serving(places, name, 53, UDP))
        sock = stack.enter_context(places["away"].socket(socket.AF_INET, UDP))
        sock.settimeout(0.3)
        sock.connect((OWN[4], 8053))

        def send() -> str:
            try:
                sock.send(b"?")
                return sock.recv(100).decode().split()[0]
            except ConnectionRefusedError:
                return REFUSED
            except OSError:
                return SILENCE

        publish(lan)
        assert until(REFUSED, send) == REFUSED
        publish(lan, target("web1", "8053:53/udp"))
        assert until("web1", send, seconds=2) == "web1"
        publish(lan, target("app1", "8053:53/udp"))
        assert until("app1", send, seconds=2) == "app1"
        # while only others change, the flow is not even looked for anew
        flow = f"src=10.98.0.2 dst=10.98.0.1 sport={sock.getsockname()[1]} dport=8053"
        assert flow in lan[1].run("conntrack", "-L", "-p", "udp")
        publish(lan, target("app1", "8053:53/udp"), target("web2", "8054:53/udp"))
        assert flow in lan[1].run("conntrack", "-L", "-p", "udp")
        publish(lan, target("web2", "8054:53/udp"))
        assert until(REFUSED, send, seconds=2) == REFUSED


def test_a_connection_survives_changes_of_other_ports(lan: World, places: dict[str, Place]) -> None:
    publish(lan, target("web1", "8080:80"))
    listener = places["web1"].call(socket.create_server, (address("web1", 4), 80))
    with listener, places["away"].socket(socket.AF_INET, TCP) as client:
        client.settimeout(3)
        client.connect((OWN[4], 8080))
        served, _peer = listener.accept()
        with served:
            served.settimeout(3)
            changes: list[tuple[Target, ...]] = [
                (target("web1", "8080:80"), target("app1", "8081:80")),
                (target("web1", "8080:80"),),
                (),  # even its own: what is connected stays, new connections are refused
            ]
            for targets in changes:
                publish(lan, *targets)
                client.sendall(b"still there")
                assert served.recv(100) == b"still there"
                served.sendall(b"yes")
                assert client.recv(100) == b"yes"
            assert ask(places["away"], OWN[4], 8080) == REFUSED


def test_after_a_reboot_they_are_where_they_were() -> None:
    """All that the kernel held is gone; what was recorded comes back, chosen ports too."""
    with world() as made:
        host = made[1]
        host.call(engine.bridges, NETWORKS[:2])
        config = [
            {
                "network": "web",
                "sandbox": "one",
                "create": True,
                "publish": ["80", "8080:81", "9000-9009:82"],
            },
            {"network": "app", "sandbox": "two", "create": True, "publish": ["80/udp", "127.0.0.1:8081:81"]},
        ]
        host.call(engine.endpoints, config)
        before = host.run("nft", "-s", "list", "table", "inet", "crosshost")
        host.run("nft", "delete", "table", "inet", "crosshost")
        host.batch("link del xb-web\nlink del xb-app\n")
        for name in ("one", "two"):
            host.run("ip", "netns", "del", name)
        assert host.call(cli.restore_all, 0.0) == 0
        assert sorted(host.run("nft", "-s", "list", "table", "inet", "crosshost").split()) == sorted(
            before.split()
        )
        assert host.call(info.gather, ["bridge_networks", "endpoints"])["drifted"] is False


# -- SCTP


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_sctp(lan: World, places: dict[str, Place]) -> None:
    """This machine's kernel need not have SCTP: the first packet of an association, as it arrives in the sandbox."""
    publish(lan, target("web1", "8080:38412/sctp"))
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 0x1234, 65535, 1, 1, 1)  # INIT
    plain = struct.pack("!HHII", 5555, 8080, 0, 0) + chunk
    packet = plain[:8] + struct.pack("<I", _crc32c(plain)) + plain[12:]
    with places["web1"].socket(socket.AF_INET, socket.SOCK_RAW, 132) as sandbox:
        for kind, text in ((socket.AF_INET, OWN[4]),):
            with places["away"].socket(kind, socket.SOCK_RAW, 132) as sender:
                sender.sendto(packet, (text, 0))
            arrived = heard(sandbox)[20:]
            assert struct.unpack("!HH", arrived[:4]) == (5555, 38412)
            assert arrived[12:] == chunk
            zeroed = arrived[:8] + bytes(4) + arrived[12:]
            assert arrived[8:12] == struct.pack("<I", _crc32c(zeroed))
        with places["away"].socket(socket.AF_INET, socket.SOCK_RAW, 132) as sender:
            other = plain[:2] + struct.pack("!H", 8081) + plain[4:]
            sender.sendto(other[:8] + struct.pack("<I", _crc32c(other)) + other[12:], (OWN[4], 0))
        assert heard(sandbox) == b""


def test_a_second_run_changes_nothing(lan: World) -> None:
    targets = [target("web1", "80", "8000-8003:81", "[::]:8080:80/udp"), target("mesh1", "127.0.0.1::82")]
    publish(lan, *targets)
    again = lan[1].call(engine.endpoints, ends(targets), "overridden")
    assert (again.changed, again.commands) == (False, [])


def test_a_host_without_names_of_protocols() -> None:
    """nft knows tcp by its number alone where /etc/protocols is missing, as in a minimal system."""
    with world() as made:
        host = made[1]
        host.run("mount", "--bind", "/dev/null", "/etc/protocols")
        host.call(engine.bridges, NETWORKS[:1])
        config = [{"network": "web", "sandbox": "one", "create": True, "publish": ["8080:80", "8080:80/udp"]}]
        assert host.call(engine.endpoints, config).changed
        assert "6 . 8080 : goto publish-tcp-8080" in host.run("nft", "list", "ruleset")
        assert not host.call(engine.endpoints, config).changed
        assert host.call(engine.endpoints, [], "deleted").changed
        assert "publish" not in host.run("nft", "list", "ruleset")


def test_the_rules_do_not_grow_with_the_ports(lan: World) -> None:
    """Only the maps and the ports' own chains do."""

    def rules(function: Callable[[], object]) -> list[str]:
        function()
        listing = json.loads(lan[1].run("nft", "-j", "list", "table", "inet", "crosshost"))["nftables"]
        own = [one["rule"] for one in listing if one.get("rule")]
        return sorted(
            json.dumps(one["expr"])
            for one in own
            if not one["chain"].startswith(("publish-tcp", "publish-udp"))
        )

    few = rules(lambda: publish(lan, target("web1", "8080:80")))
    many = rules(
        lambda: publish(lan, target("web1", "8000-8199:8000-8199"), target("app1", "9000-9009:80-89/udp"))
    )
    assert many == few
