# SPDX-License-Identifier: GPL-3.0-or-later
"""Published ports by traffic: who reaches them from where, who does not, and what happens to them over time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError

from tests.support import engine
from tests.support.traffic import REFUSED, SILENCE, TCP, UDP, Place, ask, named, outside, server, until
from tests.support.world import Host, World, world

pytestmark = pytest.mark.root

NETWORKS: list[dict[str, Any]] = [
    {"name": "web", "subnets": [{"subnet": "10.70.0.0/24"}, {"subnet": "fd70::/64"}]},
    {"name": "app", "subnets": [{"subnet": "10.71.0.0/24"}, {"subnet": "fd71::/64"}]},
    {"name": "quiet", "subnets": [{"subnet": "10.73.0.0/24"}, {"subnet": "fd73::/64"}], "icc": False},
]
OVERLAY = {
    "name": "mesh",
    "subnets": [{"subnet": "10.75.0.0/24", "vni": 5000}, {"subnet": "fd75::/64"}],
    "data_path_address": "10.98.0.1",
}
GATEWAYS = {"subnet": "172.30.0.0/16", "subnet6": "fd30::/64"}
BRIDGED = {"web1": (70, 11), "web2": (70, 12), "app1": (71, 11), "quiet1": (73, 11), "quiet2": (73, 12)}
MESHED = {"mesh1": (75, 11), "mesh2": (75, 12)}
DEVICES = ["xb-web", "xb-app", "xb-quiet", "xh_gwbridge"]
OWN = {4: "10.98.0.1", 6: "fd98::1"}


Chosen = dict[tuple[str, str, int], int]  # (sandbox, protocol, its port): the host's port
Target = tuple[str, tuple[Any, ...]]


def address(name: str, version: int) -> str:
    """Where the host reaches a sandbox."""
    number, last = {**BRIDGED, **MESHED}[name]
    if name in MESHED:
        return f"172.30.0.{last - 9}" if version == 4 else f"fd30::{last - 9}"
    return f"10.{number}.0.{last}" if version == 4 else f"fd{number}::{last}"


def target(name: str, *ports: Any) -> Target:
    """A sandbox with what it publishes."""
    return name, ports


def ends(targets: Sequence[Target] = ()) -> list[dict[str, Any]]:
    """All endpoints, those that publish first and in the order in which they are given."""
    published = dict(targets)
    found = []
    for name in (*published, *(one for one in {**BRIDGED, **MESHED} if one not in published)):
        number, last = {**BRIDGED, **MESHED}[name]
        end = {"network": name.rstrip("12"), "sandbox": name, "create": True}
        found.append({**end, "ip": f"10.{number}.0.{last}", "ip6": f"fd{number}::{last}"})
        if name in published:
            found[-1]["publish"] = list(published[name])
    return found


@pytest.fixture(scope="module")
def lan() -> Iterator[World]:
    """A host with sandboxes in bridge networks and in an overlay, and one outside."""
    engine.warm()
    with world(2) as made:
        host = made[1]
        host.call(engine.bridges, NETWORKS)
        host.call(engine.overlays, [OVERLAY])
        host.call(engine.gwbridges, [GATEWAYS])
        host.call(engine.endpoints, ends())
        host.batch("addr add 10.98.0.101/24 dev eth1\n")
        _settle(host)
        made[2].batch("route add 10.70.0.0/24 via 10.98.0.1\nroute add fd70::/64 via fd98::1\n")
        yield made


def _settle(host: Host) -> None:
    """A new link has no use of IPv6 for a second: duplicate address detection of its link-local address."""
    deadline = time.monotonic() + 5
    while host.run("ip", "-6", "addr", "show", "tentative") and time.monotonic() < deadline:
        time.sleep(0.1)


@pytest.fixture(scope="module")
def places(lan: World) -> Iterator[dict[str, Place]]:
    with named(lan[1], *BRIDGED, *MESHED) as found:
        yield {**{place.name: place for place in found}, "host": outside(lan[1]), "away": outside(lan[2])}


def publish(lan: World, *targets: Target) -> Chosen:
    """Let exactly these sandboxes publish. Where each port is then, as nft shows it."""
    lan[1].call(engine.endpoints, ends(targets), "overridden")
    names = {address(name, version): name for name in {**BRIDGED, **MESHED} for version in (4, 6)}
    found: Chosen = {}
    for line in lan[1].run("nft", "-n", "list", "table", "inet", "crosshost").splitlines():
        words = line.split()
        if words[:1] == ["chain"] and words[1].startswith(("publish-tcp-", "publish-udp-", "publish-sctp-")):
            protocol, port = words[1].split("-")[1], int(words[1].rpartition("-")[2])
        if "dnat" in words:
            sandbox, _, inner = words[-1].rpartition(":")
            found[names[sandbox.strip("[]")], protocol, int(inner)] = port
    return found


@pytest.fixture(params=[0, 1], ids=["bridged frames alone", "br_netfilter"])
def hooks(request: pytest.FixtureRequest, lan: World) -> Iterator[int]:
    """Whether bridged frames go through the rules too, as on a host that runs dockerd."""
    for word in ("iptables", "ip6tables"):
        lan[1].run("sysctl", "-qw", f"net.bridge.bridge-nf-call-{word}={request.param}")
    yield int(request.param)
    for word in ("iptables", "ip6tables"):
        lan[1].run("sysctl", "-qw", f"net.bridge.bridge-nf-call-{word}=0")


@contextlib.contextmanager
def serving(places: dict[str, Place], name: str, port: int, kind: int = TCP) -> Iterator[None]:
    """A server in a sandbox, on both its addresses."""
    with contextlib.ExitStack() as stack:
        for version in (4, 6):
            stack.enter_context(server(places[name], address(name, version), port, kind))
        yield


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


def heard(sock: socket.socket) -> bytes:
    sock.settimeout(0.4)
    try:
        return sock.recv(100)
    except TimeoutError:
        return b""


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
