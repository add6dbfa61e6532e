# SPDX-License-Identifier: GPL-3.0-or-later
"""Published ports by traffic: who reaches them from where, and who does not."""

from __future__ import annotations

import json
import socket
import struct

import pytest

from tests.support.published import DEVICES, OWN, address, heard, hooks, lan, places, publish, serving, target
from tests.support.traffic import REFUSED, SILENCE, TCP, UDP, Place, ask, server
from tests.support.world import Host, World

pytestmark = pytest.mark.root
__all__ = ["hooks", "lan", "places"]  # fixtures


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize("kind", [TCP, UDP], ids=["tcp", "udp"])
def test_it_is_reached_from_everywhere(lan: World, places: dict[str, Place], kind: int) -> None:
    """From outside, with the client's own address; from the host, by each of its addresses; from sandboxes of this network
    and of others; and from the sandbox itself."""
    spoken = "tcp" if kind == TCP else "udp"
    publish(lan, target("web1", f"8080:80/{spoken}"))
    with serving(places, "web1", 80, kind):
        for version in (4, 6):
            away = "10.98.0.2" if version == 4 else "fd98::2"
            assert ask(places["away"], OWN[version], 8080, kind) == f"web1 {away}"
            for source in ("app1", "web2", "web1", "quiet1", "mesh1"):
                assert ask(places[source], OWN[version], 8080, kind).startswith("web1 "), (source, version)
            own = ["127.0.0.1", "127.0.0.2", "10.98.0.1", "10.98.0.101", "10.70.0.1", "172.30.0.1"]
            for text in own if version == 4 else ["fd98::1", "fd70::1", "fd71::1"]:
                assert ask(places["host"], text, 8080, kind).startswith("web1 "), text


@pytest.mark.parametrize("kind", [TCP, UDP], ids=["tcp", "udp"])
def test_nothing_else_of_the_sandbox_is_reached(lan: World, places: dict[str, Place], kind: int) -> None:
    """Neither another port of it, nor the published one past the host's address, nor another port of the host."""
    spoken = "tcp" if kind == TCP else "udp"
    publish(lan, target("web1", f"8080:80/{spoken}"))
    with serving(places, "web1", 80, kind), serving(places, "web1", 81, kind):
        for version in (4, 6):
            for source, port in (("away", 81), ("away", 80), ("app1", 80)):
                assert ask(places[source], address("web1", version), port, kind, timeout=0.4) == SILENCE
            assert ask(places["away"], OWN[version], 80, kind) == REFUSED
            assert ask(places["away"], OWN[version], 8081, kind) == REFUSED


@pytest.mark.parametrize("kind", [TCP, UDP], ids=["tcp", "udp"])
def test_each_protocol_is_itself(lan: World, places: dict[str, Place], kind: int) -> None:
    """One port for tcp and another for udp, as `-p 8080:80/tcp -p 8080:81/udp`."""
    publish(lan, target("web1", "8080:80/tcp", "8080:81/udp"))
    with serving(places, "web1", 80, TCP), serving(places, "web1", 81, UDP):
        assert ask(places["away"], OWN[4], 8080, kind) == "web1 10.98.0.2"


@pytest.mark.parametrize(
    ("declared", "open_at", "closed_at"),
    [
        ("0.0.0.0:8080:80", ["10.98.0.1", "127.0.0.1"], ["fd98::1", "::1"]),
        ("[::]:8080:80", ["fd98::1"], ["10.98.0.1", "127.0.0.1", "::1"]),
        ("10.98.0.101:8080:80", ["10.98.0.101"], ["10.98.0.1", "127.0.0.1", "fd98::1"]),
        ("[fd98::1]:8080:80", ["fd98::1"], ["fd70::1", "10.98.0.1"]),
        ("127.0.0.1:8080:80", ["127.0.0.1"], ["127.0.0.2", "10.98.0.1", "fd98::1"]),
        ("8080:80", ["127.0.0.1", "fd98::1"], ["::1"]),
    ],
)
def test_the_address_that_is_declared(
    lan: World, places: dict[str, Place], declared: str, open_at: list[str], closed_at: list[str]
) -> None:
    publish(lan, target("web1", declared))
    with serving(places, "web1", 80):
        for text in open_at:
            assert ask(places["host"], text, 8080).startswith("web1 "), text
        for text in closed_at:
            assert ask(places["host"], text, 8080) == REFUSED, text
        for text in {*open_at, *closed_at} - {"127.0.0.1", "127.0.0.2", "::1", "fd70::1"}:
            assert ask(places["away"], text, 8080).startswith("web1 ") == (text in open_at), text


def test_both_families_at_one_port_of_their_own(lan: World, places: dict[str, Place]) -> None:
    publish(lan, target("web1", "0.0.0.0:8080:80"), target("web2", "[::]:8080:80"))
    with serving(places, "web1", 80), serving(places, "web2", 80):
        assert ask(places["away"], OWN[4], 8080) == "web1 10.98.0.2"
        assert ask(places["away"], OWN[6], 8080) == "web2 fd98::2"


# -- loopback


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data)) if len(data) % 2 == 0 else _checksum(data + b"\0")
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _datagram(source: str, destination: str, port: int, text: bytes) -> bytes:
    """An IPv4 packet with a UDP datagram, whoever the sender claims to be."""
    payload = struct.pack("!HHHH", 4321, port, 8 + len(text), 0) + text
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 7, 0, 64, 17, 0)
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    return head[:-2] + struct.pack("!H", _checksum(head + ends)) + ends + payload


def send_frame(place: Place, device: str, mac: str, packet: bytes) -> None:
    """Put a packet on the wire as it is."""
    with place.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as sock:
        sock.sendto(packet, (device, 0x0800, 0, 0, bytes.fromhex(mac.replace(":", ""))))


def mac_of(host: Host, device: str) -> str:
    return str(json.loads(host.run("ip", "-j", "link", "show", device))[0]["address"])


def _bound(place: Place, text: str, port: int) -> socket.socket:
    sock = place.socket(socket.AF_INET, UDP)
    sock.bind((text, port))
    return sock


def test_a_port_on_loopback_is_not_reached_from_outside(lan: World, places: dict[str, Place]) -> None:
    """A neighbour on the wire can send packets for 127.0.0.1 to the host."""
    publish(lan, target("web1", "127.0.0.1:8053:53/udp"))
    packet = _datagram("10.98.0.2", "127.0.0.1", 8053, b"from outside")
    with _bound(places["web1"], "10.70.0.11", 53) as sock:
        send_frame(places["away"], "eth1", mac_of(lan[1], "eth1"), packet)
        assert heard(sock) == b""
        # the guard is what keeps it out
        lan[1].run("nft", "flush", "chain", "inet", "crosshost", "publish-raw")
        send_frame(places["away"], "eth1", mac_of(lan[1], "eth1"), packet)
        assert heard(sock) == b"from outside"


def test_sandboxes_do_not_reach_what_listens_on_the_hosts_loopback(
    lan: World, places: dict[str, Place]
) -> None:
    """Their bridge takes answers for 127.0.0.1 once a port is published there, but nothing else."""
    publish(lan, target("web1", "127.0.0.1:8080:80"))
    mac = mac_of(lan[1], "xb-web")
    with (
        _bound(places["host"], "127.0.0.1", 9999) as inner,
        _bound(places["host"], "0.0.0.0", 9998) as trusting,
    ):
        attempts = [
            (inner, _datagram("10.70.0.11", "127.0.0.1", 9999, b"to loopback")),
            (trusting, _datagram("127.0.0.1", "10.70.0.1", 9998, b"as if from loopback")),
        ]
        for sock, packet in attempts:
            send_frame(places["web1"], "eth0", mac, packet)
            assert heard(sock) == b""
        lan[1].run("nft", "flush", "chain", "inet", "crosshost", "publish-raw")
        send_frame(places["web1"], "eth0", mac, attempts[0][1])
        assert heard(inner) == b"to loopback"


def test_without_ports_on_loopback_the_bridges_are_as_before(lan: World) -> None:
    def routed() -> list[str]:
        return [lan[1].run("sysctl", "-n", f"net.ipv4.conf.{one}.route_localnet").strip() for one in DEVICES]

    publish(lan, target("web1", "8080:80"), target("app1", "10.98.0.1:8081:80"), target("mesh1", "8082:80"))
    assert routed() == ["1", "0", "0", "1"]
    publish(lan, target("app1", "10.98.0.1:8081:80"))
    assert routed() == ["0"] * 4
    publish(lan)
    assert routed() == ["0"] * 4
    assert "publish" not in lan[1].run("nft", "list", "ruleset")


# -- networks without icc, and overlays


@pytest.mark.usefixtures("hooks")
def test_through_the_gateway_bridge(lan: World, places: dict[str, Place]) -> None:
    """A sandbox of an overlay is reached over its leg."""
    publish(lan, target("mesh1", "8080:80"))
    with serving(places, "mesh1", 80), serving(places, "mesh1", 81):
        for version in (4, 6):
            away = "10.98.0.2" if version == 4 else "fd98::2"
            assert ask(places["away"], OWN[version], 8080) == f"mesh1 {away}"
            assert ask(places["web1"], OWN[version], 8080).startswith("mesh1 ")
            assert ask(places["web1"], address("mesh1", version), 81) == SILENCE
            with server(places["web1"], address("web1", version), 81):
                assert ask(places["mesh1"], address("web1", version), 81) == SILENCE
        assert ask(places["host"], "127.0.0.1", 8080) == "mesh1 172.30.0.1"


@pytest.mark.parametrize(("one", "other"), [("quiet1", "quiet2"), ("mesh1", "mesh2")])
@pytest.mark.parametrize("version", [4, 6])
def test_without_icc_by_the_hosts_address_alone(
    lan: World, places: dict[str, Place], one: str, other: str, version: int
) -> None:
    publish(lan, target(one, "8080:80"))
    with serving(places, one, 80), serving(places, one, 81):
        assert ask(places[other], OWN[version], 8080).startswith(f"{one} ")
        assert ask(places[one], OWN[version], 8080).startswith(f"{one} ")
        assert ask(places[other], address(one, version), 81) == SILENCE
