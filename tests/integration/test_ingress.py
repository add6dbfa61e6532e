# SPDX-License-Identifier: GPL-3.0-or-later
"""The ingress network by traffic: who reaches which task by which host's port, and what the task sees."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections import Counter
from collections.abc import Iterator

import pytest

from tests import checker
from tests.support.mesh import GATEWAYS, SANDBOX, Mesh, address, heard, mesh, port, serving, settle
from tests.support.mesh import WEB as BELOW
from tests.support.scenarios import declared
from tests.support.traffic import REFUSED, SILENCE, TCP, UDP, Place, ask, outside
from tests.support.world import Host

pytestmark = pytest.mark.root
EVERYBODY = {1: 1, 2: 1, 3: 1}
WEB = port(8080, 80, EVERYBODY)
NAMES = port(5353, 80, EVERYBODY, protocol="udp")
KINDS = {"tcp": (TCP, 8080), "udp": (UDP, 5353)}


@pytest.fixture(scope="module")
def net() -> Iterator[Mesh]:
    with mesh() as made:
        yield made


@pytest.fixture(scope="module")
def served(net: Mesh) -> Iterator[dict[int, Place]]:
    with serving(net, 80) as places:
        yield places


@pytest.fixture(autouse=True)
def clean(net: Mesh) -> Iterator[None]:
    yield
    net.clear()


def ready(net: Mesh) -> None:
    for host in net.hosts:
        settle(host, SANDBOX)
        settle(host, f"t{host.number}")


def own(net: Mesh, number: int, version: int) -> str:
    return net.world[number].vtep if version == 4 else net.world[number].vtep6


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", KINDS)
def test_every_hosts_port_leads_to_every_task(net: Mesh, protocol: str, version: int) -> None:
    """From outside, whichever host is asked; the tasks see that host's sandbox."""
    net.publish(WEB, NAMES)
    ready(net)
    kind, number = KINDS[protocol]
    for host in net.numbers:
        found = heard(net.outside, own(net, host, version), number, kind)
        assert found == {f"t{task}": {address(host, version)} for task in net.numbers}, host


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("protocol", KINDS)
def test_a_host_reaches_its_own_port(net: Mesh, protocol: str) -> None:
    """By 127.0.0.1 and by each of its addresses; ::1 is refused at once, as the kernel would take no answer to it."""
    net.publish(WEB, NAMES)
    ready(net)
    kind, number = KINDS[protocol]
    here = outside(net.world[1])
    for target in ("127.0.0.1", "127.1.2.3", net.world[1].vtep, net.world[1].vtep6, "172.30.0.1", "fd30::1"):
        assert heard(here, target, number, kind).keys() == {"t1", "t2", "t3"}, target
    assert ask(here, "::1", number, kind) == REFUSED


@pytest.mark.parametrize("br_netfilter", [True, False])
def test_a_sandbox_reaches_the_port(net: Mesh, served: dict[int, Place], br_netfilter: bool) -> None:
    """Of its own host and of another, whether or not what is bridged passes the host's rules."""
    net.publish(WEB, NAMES, port(9090, 80, EVERYBODY, keep_client_address=True))
    ready(net)
    text = str(int(br_netfilter))
    net.world[1].call(write_settings, {f"net/bridge/bridge-nf-call-ip{six}tables": text for six in ("", "6")})
    for target in ("172.30.0.1", "fd30::1", own(net, 1, 4), own(net, 2, 4)):
        for kind, number in (*KINDS.values(), (TCP, 9090)):
            expected = {"t2"} if (number, target) == (9090, own(net, 2, 4)) else {"t1", "t2", "t3"}
            assert heard(served[1], target, number, kind).keys() == expected, (target, number)


def write_settings(values: dict[str, str]) -> None:
    """In the caller's own namespaces, where /proc is not mounted anew."""
    for name, value in values.items():
        with contextlib.suppress(FileNotFoundError), open(f"/proc/sys/{name}", "w", encoding="ascii") as file:
            file.write(value)


@pytest.mark.usefixtures("served")
def test_clients_addresses_are_kept_where_a_task_is(net: Mesh) -> None:
    kept = port(8080, 80, {1: 1, 2: 1, 3: 0}, keep_client_address=True)
    net.publish(kept, port(8081, 80, EVERYBODY))
    ready(net)
    for one in net.hosts:
        end = {"network": "web", "sandbox": f"t{one.number}", "create": True, "ip": f"10.50.0.1{one.number}"}
        here = net.item(one.number, [kept, port(8081, 80, EVERYBODY)])
        networks = [{**BELOW, "data_path_address": one.vtep}]
        assert one.call(checker.check, declared(networks, [end], [GATEWAYS], ingress=[here])) == []
    client = net.world.hosts[-1]
    for version, seen in ((4, client.vtep), (6, client.vtep6)):
        for host in (1, 2):
            assert heard(net.outside, own(net, host, version), 8080) == {f"t{host}": {seen}}
        # the third host's task drains: the others see the host's sandbox
        found = heard(net.outside, own(net, 3, version), 8080)
        assert found == {"t1": {address(3, version)}, "t2": {address(3, version)}}
        assert heard(net.outside, own(net, 1, version), 8081)["t1"] == {address(1, version)}
    assert heard(outside(net.world[1]), "127.0.0.1", 8080) == {"t1": {"172.30.0.1"}}


@pytest.mark.usefixtures("served")
def test_ports_that_nobody_serves_are_refused_at_once(net: Mesh) -> None:
    net.publish(WEB, port(8081, 80, {}), port(8082, 80, {1: 0}), port(8083, 80, {}, protocol="udp"))
    ready(net)
    for target in (own(net, 1, 4), own(net, 1, 6)):
        for kind, number in ((TCP, 8081), (TCP, 8082), (UDP, 8083), (TCP, 8084)):
            assert ask(net.outside, target, number, kind) == REFUSED, (target, number)


@pytest.mark.usefixtures("served")
def test_the_tasks_share_what_comes(net: Mesh) -> None:
    net.publish(WEB, port(8081, 80, {1: 3, 2: 1, 3: 0}))
    ready(net)
    count = Counter(ask(net.outside, own(net, 2, 4), 8080).split()[0] for _ in range(600))
    assert all(0.2 * 600 < count[f"t{task}"] < 0.47 * 600 for task in net.numbers), count
    count = Counter(ask(net.outside, own(net, 2, 4), 8081).split()[0] for _ in range(300))
    assert set(count) == {"t1", "t2"}
    assert 0.6 * 300 < count["t1"] < 0.9 * 300, count


@pytest.mark.usefixtures("served")
def test_a_client_stays_with_its_task_on_every_host(net: Mesh) -> None:
    net.publish(port(8080, 80, EVERYBODY, affinity="source"))
    ready(net)
    sources = [f"10.98.0.{100 + number}" for number in range(12)]
    net.world.hosts[-1].batch("".join(f"addr add {source}/24 dev eth1\n" for source in sources))
    chosen = {}
    for source in sources:
        found = {
            ask(net.outside, own(net, host, 4), 8080, source=source).split()[0]
            for host in net.numbers
            for _ in range(3)
        }
        assert len(found) == 1, (source, found)
        chosen[source] = found.pop()
    assert len(set(chosen.values())) == 3, chosen


class Held:
    """A connection that goes on, echoed by a task of its own."""

    def __init__(self, net: Mesh, place: Place, target: str, number: int) -> None:
        self._listener = place.socket(socket.AF_INET, TCP)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("", 81))
        self._listener.listen()
        self._listener.settimeout(5)
        self.client = net.outside.socket(socket.AF_INET, TCP)
        self.client.settimeout(5)
        self.client.connect((target, number))
        self.task, _peer = self._listener.accept()

    def passes(self) -> bool:
        try:
            self.client.send(b"there")
            there = self.task.recv(10)
            self.task.send(b"back")
            return (there, self.client.recv(10)) == (b"there", b"back")
        except OSError:
            return False

    def close(self) -> None:
        for one in (self.client, self.task, self._listener):
            one.close()


def test_connections_outlive_drain_and_changes(net: Mesh, served: dict[int, Place]) -> None:
    """A task that drains gets no new ones; a new MTU makes the network's links pass through every change too."""
    net.publish(port(8080, 81, {2: 1}))
    ready(net)
    held = Held(net, served[2], own(net, 1, 4), 8080)
    try:
        assert held.passes()
        net.publish(port(8080, 80, {1: 1, 2: 0, 3: 1}))
        assert held.passes()
        assert heard(net.outside, own(net, 1, 4), 8080).keys() == {"t1", "t3"}
        net.publish(port(8080, 80, {1: 1, 3: 1}), port(9000, 80, {1: 1}))
        assert held.passes()
        net.publish(port(8080, 80, {1: 1, 3: 1}), mtu=1400)
        assert held.passes()
    finally:
        held.close()


@pytest.mark.usefixtures("served")
def test_udp_flows_follow_their_tasks(net: Mesh) -> None:
    """A sender that never falls silent keeps its task while that drains, and gets another once it is gone."""
    net.publish(port(5353, 80, {2: 1}, protocol="udp"))
    ready(net)
    with net.outside.socket(socket.AF_INET, UDP) as sock:
        sock.settimeout(2)
        sock.connect((own(net, 1, 4), 5353))

        def answer() -> str:
            sock.send(b"?")
            return sock.recv(100).decode().split()[0]

        assert answer() == "t2"
        net.publish(port(5353, 80, {2: 0, 3: 1}, protocol="udp"))
        assert {answer() for _ in range(5)} == {"t2"}
        net.publish(port(5353, 80, {3: 1}, protocol="udp"))
        assert {answer() for _ in range(5)} == {"t3"}


@pytest.mark.usefixtures("served")
def test_a_udp_sender_that_was_there_first_is_let_in(net: Mesh) -> None:
    """What it sent before the port was published is no reason to go on sending into nothing."""
    net.publish(WEB)
    with net.outside.socket(socket.AF_INET, UDP) as sock:
        sock.settimeout(2)
        sock.bind(("", 7777))
        for _ in range(3):
            sock.sendto(b"?", (own(net, 1, 4), 5353))
        net.publish(WEB, NAMES)
        ready(net)
        sock.sendto(b"?", (own(net, 1, 4), 5353))
        assert sock.recv(100).decode().split()[0] in ("t1", "t2", "t3")


def test_nothing_but_published_ports_passes(net: Mesh, served: dict[int, Place]) -> None:
    """Not from the network into a task, not out of it by the sandbox, not to the loopback addresses of the host."""
    net.publish(port(8080, 80, {1: 1}))
    ready(net)
    # a task sees others' published ports alone
    assert ask(served[2], address(1, 4, True), 80).split()[0] == "t1"
    assert ask(served[1], address(2, 4, True), 80) == SILENCE
    assert ask(served[1], address(2, 6, True), 80) == SILENCE
    # the sandbox is no router for them
    net.world[1].run("ip", "-n", "t1", "route", "add", net.world.hosts[-1].vtep, "via", address(1, 4))
    with net.outside.socket(socket.AF_INET, UDP) as listener:
        listener.bind(("", 9999))
        listener.settimeout(0.5)
        with served[1].socket(socket.AF_INET, UDP) as sock:
            sock.sendto(b"?", (net.world.hosts[-1].vtep, 9999))
        with pytest.raises(TimeoutError):
            listener.recv(10)
    net.world[1].run("ip", "-n", "t1", "route", "del", net.world.hosts[-1].vtep)


def test_loopback_addresses_stay_the_hosts_own(net: Mesh, served: dict[int, Place]) -> None:
    """The bridge is told to route 127.0.0.0/8; what comes in by it with such an address is dropped all the same."""
    net.publish(WEB)
    host = net.world[1]
    with outside(host).socket(socket.AF_INET, UDP) as listener:
        listener.bind(("127.0.0.1", 9999))
        listener.settimeout(0.5)
        frame = udp_frame(link_mac(host), "172.30.0.9", "127.0.0.1", 9999)
        with served[1].socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind(("gw0", 0))
            sock.send(frame)
            with pytest.raises(TimeoutError):
                listener.recv(10)
            # without the rule it would have come
            host.run("nft", "flush", "chain", "inet", "crosshost", "ingress-raw")
            sock.send(frame)
            assert listener.recv(10) == b"secret"


def link_mac(host: Host) -> str:
    return str(json.loads(host.run("ip", "-j", "link", "show", "xh_gwbridge"))[0]["address"])


def udp_frame(mac: str, source: str, target: str, number: int) -> bytes:
    data = b"secret"
    udp = struct.pack("!HHHH", 1234, number, 8 + len(data), 0) + data
    head = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        20 + len(udp),
        1,
        0,
        64,
        17,
        0,
        socket.inet_aton(source),
        socket.inet_aton(target),
    )
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:]
    return bytes.fromhex(mac.replace(":", "")) + b"\x02\x00\x00\x00\x00\x09\x08\x00" + head + udp


def test_tcp_learns_of_the_smaller_mtu(net: Mesh, served: dict[int, Place]) -> None:
    """Where the hosts' networks differ, the task is told what passes the client's host."""
    net.publish(port(8080, 81, {2: 1}))
    ready(net)
    net.world[2].run("ip", "-n", "t2", "link", "set", "ingress0", "mtu", "9000")
    held = Held(net, served[2], own(net, 1, 4), 8080)
    try:
        most = held.task.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        assert most <= 1450 - 40, most
    finally:
        held.close()


# -- SCTP: this kernel has no sockets for it, so that the test itself says what the two ends say

ASSOCIATION = 0x1234_5678  # the client's verification tag


def sctp(source: int, target: int, tag: int, chunk: int) -> bytes:
    """A packet with one chunk, 1 INIT or 2 INIT ACK, from port to port."""
    body = struct.pack("!BBHIIHHI", chunk, 0, 20, ASSOCIATION, 65536, 1, 1, 1)
    head = struct.pack("!HHI", source, target, tag)
    return head + struct.pack("<I", crc32c(head + bytes(4) + body)) + body


def crc32c(data: bytes) -> int:
    found = 0xFFFF_FFFF
    for byte in data:
        found ^= byte
        for _bit in range(8):
            found = (found >> 1) ^ (0x82F6_3B78 if found & 1 else 0)
    return found ^ 0xFFFF_FFFF


def receive(sock: socket.socket) -> tuple[bytes, str]:
    """An SCTP packet without the IP header, and who sent it."""
    data, peer = sock.recvfrom(200)
    return data[(data[0] & 15) * 4 :], str(peer[0])


def test_sctp(net: Mesh, served: dict[int, Place]) -> None:
    net.publish(port(7000, 70, {2: 1}, protocol="sctp"))
    ready(net)
    with (
        net.outside.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP) as client,
        served[2].socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP) as task,
    ):
        for sock in (client, task):
            sock.settimeout(2)
        client.sendto(sctp(1111, 7000, 0, 1), (own(net, 1, 4), 0))
        packet, sender = receive(task)
        came_from, reached, tag = struct.unpack("!HHI", packet[:8])
        assert (sender, reached, tag, packet[12]) == (address(1, 4), 70, 0, 1)
        task.sendto(sctp(70, came_from, ASSOCIATION, 2), (sender, 0))
        packet, sender = receive(client)
        answered, reached, tag = struct.unpack("!HHI", packet[:8])
        assert (sender, answered, reached, tag, packet[12]) == (own(net, 1, 4), 7000, 1111, ASSOCIATION, 2)
