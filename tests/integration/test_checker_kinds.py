# SPDX-License-Identifier: GPL-3.0-or-later
"""The independent checker on a host that has one of each kind: it accepts what the engine makes, and of what is changed by hand
it reports that and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tests import checker
from tests.support import engine
from tests.support.scenarios import ENDS, GWBRIDGE, THREE, all_kinds, declared
from tests.support.world import Host, world

pytestmark = pytest.mark.root
FULL = all_kinds()


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    engine.warm()
    with world() as made:
        made[1].call(engine.everything, FULL)
        yield made[1]


def by_alias(alias: str) -> str:
    """A shell word: the host's device with this alias."""
    return f"$(ip -o link | grep -F 'alias {alias}' | sed 's/^[0-9]*: //; s/@.*//')"


def nft(word: str, *parts: str, netns: str = "") -> str:
    """An nft command about our table, as a shell line."""
    inside = f"ip netns exec {netns} " if netns else ""
    return f"{inside}nft '{word} inet crosshost {' '.join(parts)}'"


def element(name: str, key: str, target: str, netns: str = "") -> tuple[str, str]:
    """How it is taken away, and put back."""
    gone = nft("delete element", name, f"{{ {key} }}", netns=netns)
    return gone, nft("add element", name, f"{{ {key} : goto {target} }}", netns=netns)


def rules(chain: str, *lines: str, netns: str = "") -> str:
    """Gives a chain these rules."""
    added = [nft("add rule", chain, line, netns=netns) for line in lines]
    return "; ".join([nft("flush chain", chain, netns=netns), *added])


def swapped(pair: tuple[str, str]) -> tuple[str, str]:
    return pair[1], pair[0]


GATE = "crosshost-ingress"
TENANT, SHIM, GATE_PORT = by_alias("crosshost:tenants/tenant1"), by_alias("crosshost:macvlan:lan"), by_alias("crosshost:xh_gwbridge/xh-:ingress@")  # fmt: skip
ANSWERS = ["ct state established,related accept", "ct status dnat accept", "drop"]
LOOPBACK = ['iifname != "lo" ip saddr 127.0.0.0/8 drop', 'iifname != "lo" ip daddr 127.0.0.0/8 drop']
TO_SHOP = ["meta l4proto tcp dnat ip to 10.70.0.130:80", "meta l4proto tcp dnat ip6 to [fd70::3]:80"]
API, STICKY, IDLE = ("service-web/api-4", "service-front/sticky-4", "service-web/idle-4")
REFUSAL = ["ct state new meta l4proto tcp reject with tcp reset", "ct state new reject"]
TO_GATE = ["dnat ip to 172.30.0.254", "dnat ip6 to fd30::fe"]

# (what is done by hand, how it is undone, what the report has to say, a line each)
BRIDGES = [
    ("ip link set xb-front mtu 1400", "ip link set xb-front mtu 1500", ["host: link xb-front: mtu: is 1400, should be 1500"]),
    ("ip addr del 10.71.0.254/24 dev br-tenants", "ip addr add 10.71.0.254/24 dev br-tenants", ["host: address br-tenants 10.71.0.254/24: missing", "host: route 10.71.0.0/24 br-tenants : missing"]),
    (f"bridge link set dev {TENANT} isolated off", f"bridge link set dev {TENANT} isolated on", ["port isolated: is False, should be True"]),
    (*element("bridge-into", "xb-vault", "bridge-closed"), ["host: nft map bridge-into: element xb-vault: missing, should be: drop"]),
    (*swapped(element("bridge-within", "br-tenants . br-tenants", "bridge-open")), ["host: nft map bridge-within: element br-tenants . br-tenants: unexpected (accept)"]),
    (rules("bridge-filtered", "accept"), rules("bridge-filtered", *ANSWERS), ["host: nft map bridge-into: element br-tenants: is 'accept', should be", "host: nft map bridge-into: element xb-front: is 'accept', should be"]),
    (rules("bridge-nat"), rules("bridge-nat", "iifname . oifname vmap @bridge-staying", "iifname vmap @bridge-leaving"), ["host: nft chain (nat postrouting 100) with ['iifname . oifname", "host: nft chain (nat postrouting 100) with []: unexpected"]),
    ("sysctl -qw net.ipv4.conf.xb-front.route_localnet=0", "sysctl -qw net.ipv4.conf.xb-front.route_localnet=1", ["host: setting net.ipv4.conf.xb-front.route_localnet: is 0, should be 1"]),
]  # fmt: skip
PORTS = [
    (*element("publish-any4", "tcp . 8080", "publish-tcp-8080"), ["host: nft map publish-any4: element tcp . 8080: missing"]),
    (*element("publish-any4", "tcp . 8443", "publish-tcp-8443"), ["host: nft map publish-any4: element tcp . 8443: missing"]),
    (*swapped(element("publish-any4", "tcp . 8444", "publish-tcp-8443")), ["host: nft map publish-any4: element tcp . 8444: unexpected"]),
    (*element("publish-at4", "127.0.0.1 . tcp . 7000", "publish-tcp-127.0.0.1-7000"), ["host: nft map publish-at4: element 127.0.0.1 . tcp . 7000: missing", "host: nft chain publish-tcp-127.0.0.1-7000: unexpected, nothing leads there"]),
    (rules("publish-tcp-8080", "meta l4proto tcp dnat ip to 10.70.0.99:80", TO_SHOP[1]), rules("publish-tcp-8080", *TO_SHOP), ["publish-any4: element tcp . 8080: is", "publish-any6: element tcp . 8080: is"]),
    (nft("add chain", "publish-tcp-9999"), nft("delete chain", "publish-tcp-9999"), ["host: nft chain publish-tcp-9999: unexpected, nothing leads there"]),
    (rules("publish-raw", LOOPBACK[0]), rules("publish-raw", *LOOPBACK), ["host: nft chain (filter prerouting -300) with ['iifname != lo ip saddr == 127.0.0.0/8 drop', 'iifname", "drop']: unexpected"]),
]  # fmt: skip
LANS = [
    ("ip -n desk link set eth0 type macvlan mode private", "ip -n desk link set eth0 type macvlan mode bridge", ["desk: link eth0: mode: is 'private', should be 'bridge'"]),
    ("ip -n desk link set eth0 address 02:00:00:00:00:55", "ip -n desk link set eth0 address 02:42:0a:62:00:16", ["desk: link eth0: mac: is '02:00:00:00:00:55'"]),
    (f"ip route del 10.98.0.22/32 dev {SHIM}", f"ip route add 10.98.0.22/32 dev {SHIM} proto static", ["host: route 10.98.0.22/32 xs"]),
    (f"ip route add 10.98.0.24/32 dev {SHIM}", f"ip route del 10.98.0.24/32 dev {SHIM}", ["host: route 10.98.0.24/32 xs"]),
    (f"ip addr del fd98::128/128 dev {SHIM}", f"ip addr add fd98::128/128 dev {SHIM} nodad", ["host: address xs", "host: route fd98::128/128 xs"]),
    ("ip link set eth1 promisc off", "ip link set eth1 promisc on", ["host: link eth1: it is not promiscuous"]),
    ("touch /run/crosshost/promiscuous/eth9", "rm /run/crosshost/promiscuous/eth9", ["/run/crosshost/promiscuous/eth9: nobody asks for that"]),
    ("ip -n station addr add 10.98.0.140/24 dev eth0", "ip -n station addr del 10.98.0.140/24 dev eth0", ["station: link eth0: addresses ['10.98.0.129', '10.98.0.140']: exactly one", "station: "]),
]  # fmt: skip
MODES = [
    ("ip netns del monitor; ip netns add monitor", "ip netns del monitor; ip netns attach monitor $$", ["namespace monitor: it is not that of host"]),
    ("ip netns del sidecar", "nsenter --net=/run/netns/shop sh -c 'ip netns attach sidecar $$'", ["namespace sidecar: missing"]),
    ("ip -n alone link add stray type bridge", "ip -n alone link del stray", ["alone: link stray: unexpected (bridge"]),
    ("ip -n both route replace default via 10.98.0.254 dev eth0 proto static", "ip -n both route replace default via 10.71.0.254 dev eth1 proto static", ["both: route 0.0.0.0/0 eth1 10.71.0.254: missing", "both: route 0.0.0.0/0 eth0 10.98.0.254: unexpected"]),
    ("ip -n box4 route add 10.77.0.0/16 dev lan0", "ip -n box4 route del 10.77.0.0/16 dev lan0", ["box4: route 10.77.0.0/16 lan0 : unexpected"]),
]  # fmt: skip
SERVICES = [
    (*element("service-vip4", "10.50.0.101", "service-web/idle-4", "box1"), ["box1: nft map service-vip4: element 10.50.0.101: missing", "box1: nft chain service-web/idle-4: unexpected, nothing"]),
    (rules(API, "dnat ip to numgen random mod 2 map { 0 : 10.50.0.21, 1 : 10.50.0.12 }", netns="box1"), rules(API, "dnat ip to numgen random mod 3 map { 0 : 10.50.0.21, 1-2 : 10.50.0.12 }", netns="box1"), ["element 10.50.0.100: is 'dnat ip to 10.50.0.12 1/2, 10.50.0.21 1/2', should be 'dnat ip to 10.50.0.12 2/3, 10.50.0.21 1/3'"]),
    (rules(STICKY, "dnat ip to jhash ip saddr mod 4 seed 0x5e47 map { 0 : 10.70.0.12, 1-3 : 10.70.0.11 }", netns="shop"), rules(STICKY, "dnat ip to jhash ip saddr mod 4 seed 0x5e47 map { 0-2 : 10.70.0.11, 3 : 10.70.0.12 }", netns="shop"), ["shop: nft map service-vip4: element 10.70.0.100: is"]),
    (rules(IDLE, netns="box4"), rules(IDLE, *REFUSAL, netns="box4"), ["box4: nft map service-vip4: element 10.50.0.101: is '', should be 'ct state in new"]),
    (rules("service-output", netns="box4"), rules("service-output", "ip daddr vmap @service-vip4", "ip6 daddr vmap @service-vip6", netns="box4"), ["box4: nft chain (nat output -100) with ['ip daddr", "box4: nft chain (nat output -100) with []: unexpected"]),
    ("ip netns exec desk nft add table inet crosshost", "ip netns exec desk nft delete table inet crosshost", ["desk: nft table inet crosshost: unexpected"]),
]  # fmt: skip
INGRESS = [
    (*element("ingress-ports", "udp . 5353", "ingress-enter"), ["host: nft map ingress-ports: element udp . 5353: missing, should be: dnat ip to 172.30.0.254"]),
    (rules("ingress-enter", "dnat ip to 172.30.0.99", TO_GATE[1]), rules("ingress-enter", *TO_GATE), ["element tcp . 25: is", "element tcp . 8888: is", "element udp . 5353: is"]),
    (*element("ingress-ports", "tcp . 8888", "ingress-tcp-8888", GATE), [f"{GATE}: nft map ingress-ports: element tcp . 8888: missing", f"{GATE}: nft chain ingress-tcp-8888: unexpected"]),
    (rules("ingress-postrouting", netns=GATE), rules("ingress-postrouting", 'oifname "eth0" masquerade', netns=GATE), ["with ['oifname == eth0 masquerade']: missing", "with []: unexpected"]),
    (*swapped(element("ingress-ports", "tcp . 22", "ingress-pass", "box1")), ["box1: nft map ingress-ports: element tcp . 22: unexpected (accept)"]),
    ("ip -n box1 link set ingress0 mtu 1400", "ip -n box1 link set ingress0 mtu 1450", ["box1: link ingress0: mtu: is 1400, should be 1450"]),
    (f"ip netns exec {GATE} sysctl -qw net.ipv4.ip_forward=0", f"ip netns exec {GATE} sysctl -qw net.ipv4.ip_forward=1", [f"{GATE}: setting net.ipv4.ip_forward: is 0, should be 1"]),
    (f"ip -n {GATE} route del default", f"ip -n {GATE} route add default via 172.30.0.1 proto static", [f"{GATE}: route 0.0.0.0/0 gw0 172.30.0.1: missing"]),
    (f"ip -n {GATE} link set lo alias other", f"ip -n {GATE} link set lo alias crosshost:ingress", [f"{GATE}: mark: alias of lo is 'other'"]),
    ("bridge -n xh-ingress fdb del 02:42:0a:ff:00:70 dev vx4096 dst 10.98.0.2 self", "bridge -n xh-ingress fdb replace 02:42:0a:ff:00:70 dev vx4096 dst 10.98.0.2 self permanent", ["xh-ingress: FDB row vx4096 02:42:0a:ff:00:70 10.98.0.2: missing"]),
    (f"bridge link set dev {GATE_PORT} isolated on", f"bridge link set dev {GATE_PORT} isolated off", [f"{GATE}: port vg"]),
]  # fmt: skip
MUTATIONS = [*BRIDGES, *PORTS, *LANS, *MODES, *SERVICES, *INGRESS]


def test_what_the_engine_made_is_as_declared(host: Host) -> None:
    assert host.call(checker.check, FULL) == []


@pytest.mark.parametrize(("harm", "repair", "reports"), MUTATIONS, ids=[row[2][0][:60] for row in MUTATIONS])
def test_what_is_changed_by_hand_is_reported_and_nothing_else(
    host: Host, harm: str, repair: str, reports: Sequence[str]
) -> None:
    try:
        host.run("sh", "-ec", harm)
        found = host.call(checker.check, FULL)
        assert [report for report in reports if not any(report in line for line in found)] == [], found
        assert [line for line in found if not any(report in line for report in reports)] == []
    finally:
        host.run("sh", "-ec", repair)


def test_a_port_has_to_lead_to_the_address_that_the_sandbox_really_has(host: Host) -> None:
    """Another address of the range is as good for the endpoint, but not for what leads to it."""
    move = "ip -n shop addr del 10.70.0.{}/24 dev eth0; ip -n shop addr add 10.70.0.{}/24 dev eth0"
    way = "ip -n shop route replace default via 10.70.0.128 dev eth0 proto static"
    try:
        host.run("sh", "-ec", f"{move.format(130, 140)}; {way}")
        found = host.call(checker.check, FULL)
        assert any("publish-any4: element tcp . 8080" in line and "10.70.0.140" in line for line in found), (
            found
        )
        assert not any("addresses" in line or "another endpoint" in line for line in found), found
        host.run("sh", "-ec", f"{move.format(140, 129)}; {way}")
        found = host.call(checker.check, FULL)
        assert any("address 10.70.0.129 is another endpoint's too" in line for line in found), found
    finally:
        host.run("sh", "-ec", f"{move.format(129, 130)}; {way}")
    assert host.call(checker.check, FULL) == []


def test_what_is_declared_otherwise_is_reported(host: Host) -> None:
    """The same kernel without the new kinds: each is not expected."""
    less = {"bridge_networks": [], "macvlan_networks": [], "services": [], "ingress": []}
    found = host.call(checker.check, {**declared(THREE, ENDS, [GWBRIDGE]), **less})
    for part in (
        "link xb-front: unexpected",
        "nft map bridge-into: unexpected",
        "nft map publish-any4: unexpected",
        "(macvlan, alias 'crosshost:macvlan:lan')",
        "box1: nft map service-vip4: unexpected",
        "namespace crosshost-ingress: unexpected",
        "namespace xh-ingress: unexpected",
        "namespace shop: unexpected",
        "box1: link ingress0: unexpected",
    ):
        assert any(part in line for line in found), (part, found)


def test_everything_goes_again(host: Host) -> None:
    nothing = {
        key: value if key in ("vtep", "underlay", "underlay_mtu") else [] for key, value in FULL.items()
    }
    host.call(engine.everything, nothing)
    assert host.call(checker.check, nothing) == []
