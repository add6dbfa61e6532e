# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input, and collisions with what others made: refused with one line that names the object, the value and the remedy, and
nothing on the host is touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from tests.integration.lab_run import Lab, Result, Step, look, picture, session_lab, step  # noqa: F401

pytestmark = [pytest.mark.lab, pytest.mark.slow]
GROUP = 8  # cases between two looks at the host: a look takes as long as a third of a case
PEER = {"host": "h2", "vtep": "10.98.0.2"}
WEB = {
    "name": "web",
    "data_path_interface": "eth1",
    "peers": [PEER],
    "subnets": [
        {"subnet": "10.50.0.0/24", "vni": 5000},
        {"subnet": "fd50::/64"},
        {"subnet": "10.51.0.0/24", "vni": 5001},
    ],
    "endpoints": [{"ip": "10.50.0.12", "vtep": "10.98.0.2"}],
}
ENDS = [{"network": "web", "sandbox": "box", "create": True, "ip": "10.50.0.11"}]
GWBRIDGE = {"subnet": "172.30.0.0/16"}
# What others made on the hosts where crosshost is at home; and on one where it has nothing.
HOMES, EMPTY = ("h1", "h3"), "h2"
BY_HAND = """
ip route add 10.77.0.0/16 via 10.98.0.2
ip link add docker0 type bridge
ip link add xh_second type bridge
ip link add myvx type vxlan id 9001 dstport 4789 dev eth1
ip netns add other
ip link add othervx netns other type vxlan id 9002 dstport 4789 local 10.98.0.1
ip netns add xh-hand
ip netns add mine
ip -n mine link add lan0 type bridge
ip -n mine link set lan0 up
ip -n mine addr add 192.0.2.1/24 dev lan0
ip -n mine route add default via 192.0.2.9
ip -n xh-web link add guest type bridge
"""
DOCKER = '#!/bin/sh\ncase $6 in stopped) echo 0;; *) echo "Error: No such container: $6" >&2; exit 1;; esac\n'
NOT_ROOT = {"become": True, "become_method": "su", "become_user": "nobody", "become_flags": "-s /bin/sh"}
BARE_PYTHON = "/usr/local/bin/python-bare"
NO_PYROUTE2 = {"vars": {"ansible_python_interpreter": BARE_PYTHON}}


class Case(NamedTuple):
    """A task that has to fail, and the words that its message has to have."""

    name: str
    module: str
    args: dict[str, Any]
    words: Sequence[str]
    keywords: Mapping[str, Any] = {}
    host: str = ""  # one of HOMES


def net(name: str, words: Sequence[str], subnets: Any = None, /, **more: Any) -> Case:
    """A network that cannot be; its name is ``net`` unless ``more`` says otherwise."""
    subnets = [{"subnet": "10.60.0.0/24", "vni": 6000}] if subnets is None else subnets
    item = {"name": "net", "data_path_interface": "eth1", "subnets": subnets, **more}
    return Case(f"net-{name}", "overlay_network", {"config": [item]}, words)


def block(subnet: str = "10.60.0.0/24", vni: Any = 6000, **more: Any) -> list[dict[str, Any]]:
    return [{"subnet": subnet, "vni": vni, **more}]


def bridge(name: str, words: Sequence[str], /, **item: Any) -> Case:
    return Case(
        f"gwbridge-{name}",
        "gwbridge",
        {"config": [{"name": "xh_new", "subnet": "172.29.0.0/24", **item}]},
        words,
    )


def end(name: str, words: Sequence[str], /, **item: Any) -> Case:
    """An endpoint that cannot be; a value of None takes the field away."""
    full = {"network": "web", "sandbox": "new", "create": True, "ip": "10.50.0.31", **item}
    given = {field: value for field, value in full.items() if value is not None}
    return Case(f"endpoint-{name}", "endpoint", {"config": [given]}, words)


def names(make: Any, field: str, values: Sequence[str]) -> list[Case]:
    """Names that would be a path, an option or a command somewhere."""
    return [
        make(f"{field}-{number}", [field, repr(value)], **{field: value})
        for number, value in enumerate(values)
    ]


SHELL = ["../../etc", "$(reboot)", "-rf", "a/b", "..", "a;reboot", "a\nb", ""]
NETWORKS = [
    net(
        "overlap-in-one",
        ["overlay_network net", "10.60.5.0/24", "overlaps 10.60.0.0/16"],
        block("10.60.0.0/16") + block("10.60.5.0/24", 6001),
    ),
    net(
        "overlap-in-two",
        ["10.50.0.128/25", "overlaps 10.50.0.0/24 of overlay_network web"],
        block("10.50.0.128/25"),
    ),
    net(
        "overlap-route",
        ["overlay_network net", "10.77.5.0/24", "host's route 10.77.0.0/16 on eth1"],
        block("10.77.5.0/24"),
    ),
    net("overlap-underlay", ["10.98.0.0/16", "host's route 10.98.0.0/24 on eth1"], block("10.98.0.0/16")),
    net("overlap-gwbridge", ["172.30.5.0/24", "172.30.0.0/16 on xh_gwbridge"], block("172.30.5.0/24")),
    net(
        "gateway-outside",
        ["subnets[10.60.0.0/24].gateway '10.61.0.1'", "outside"],
        block(gateway="10.61.0.1"),
    ),
    net("range-outside", ["ip_range '10.61.0.0/25'", "10.60.0.0/24"], block(ip_range="10.61.0.0/25")),
    net(
        "aux-is-gateway",
        ["aux_addresses.router '10.60.0.1'", "gateway"],
        block(aux_addresses={"router": "10.60.0.1"}),
    ),
    net(
        "aux-outside",
        ["aux_addresses.router '10.61.0.9'", "outside"],
        block(aux_addresses={"router": "10.61.0.9"}),
    ),
    net("vni-too-large", ["vni 16777216", "1 to 16777215"], block(vni=1 << 24)),
    net("vni-twice", ["overlay_network net", "vni 5000", "network web uses"], block(vni=5000)),
    net("vni-twice-in-one", ["vni 6000", "10.60.0.0/24 has it"], block() + block("10.61.0.0/24")),
    net("vni-missing", ["vni None", "give the subnet's VNI"], [{"subnet": "10.60.0.0/24"}]),
    net("mtu-ipv6", ["mtu 1279", "IPv6 needs at least 1280"], [*block(), {"subnet": "fd60::/64"}], mtu=1279),
    net("mtu-low", ["mtu 575", "576 to 65535"], mtu=575),
    net("mtu-high", ["mtu 1451", "passes 1500 bytes", "1450"], mtu=1451),
    net(
        "mtu-of-a-peer", ["mtu 1450", "at h2", "1400 bytes", "1350"], mtu=1450, peers=[{**PEER, "mtu": 1400}]
    ),
    net("peer-without-vtep", ["peers[h2].vtep", "crosshost_vtep"], peers=[{"host": "h2"}]),
    net(
        "vtep-of-another-host",
        ["data_path_address '10.98.0.2'", "not an address of this host"],
        data_path_address="10.98.0.2",
    ),
    net(
        "vtep-family",
        ["fd98::2", "10.98.0.1", "one address family"],
        data_path_address="10.98.0.1",
        peers=[{"host": "h2", "vtep": "fd98::2"}],
    ),
    net(
        "interface-that-is-none",
        ["data_path_interface 'eth7'", "no such interface"],
        data_path_interface="eth7",
    ),
    net("port-zero", ["data_path_port 0", "1 to 65535"], data_path_port=0),
    net("group-missing", ["multicast_group", "239.1.1.1"], control_plane="multicast"),
    net(
        "endpoint-ip-twice",
        ["endpoints[1].ip '10.60.0.9'", "another endpoint"],
        endpoints=[{"ip": "10.60.0.9", "vtep": "10.98.0.2"}] * 2,
    ),
    net(
        "endpoint-mac-twice",
        ["endpoints[1].mac '02:42:0a:3c:00:09'", "MACs are unique"],
        endpoints=[
            {"ip": "10.60.0.9", "vtep": "10.98.0.2"},
            {"ip": "10.60.0.8", "mac": "02:42:0A:3C:00:09", "vtep": "10.98.0.2"},
        ],
    ),
    net(
        "endpoint-is-gateway",
        ["endpoints[0].ip '10.60.0.1'", "gateway of 10.60.0.0/24"],
        endpoints=[{"ip": "10.60.0.1", "vtep": "10.98.0.2"}],
    ),
    net("type-mtu", ["mtu", "many", "int"], mtu="many"),
    net("type-subnets", ["dictionary requested"], "10.60.0.0/24"),
    net("type-labels", ["labels", "plain values"], labels={"a": [1]}),
    net("type-address", ["aux_addresses.a 5", "address"], block(aux_addresses={"a": 5})),
    net("option-unknown", ["sub_net"], [{"sub_net": "10.60.0.0/24", "subnet": "10.60.0.0/24"}]),
    *names(net, "name", [*SHELL, "a" * 61]),
    Case("net-type-config", "overlay_network", {"config": "web"}, ["dictionary requested"]),
    Case("net-twice", "overlay_network", {"config": [WEB, WEB]}, ["name 'web'", "declared twice"]),
    Case(
        "net-new-without-subnets",
        "overlay_network",
        {"config": [{"name": "net"}]},
        ["overlay_network net", "subnets None", "declare"],
    ),
    Case(
        "net-replaced-by-nothing",
        "overlay_network",
        {"state": "replaced"},
        ["state replaced needs at least one item"],
    ),
]
BRIDGES = [
    bridge("name-too-long", ["name 'xh_0123456789012'", "16 bytes", "15"], name="xh_0123456789012"),
    bridge("gateway-outside", ["gwbridge xh_new", "gateway '172.28.0.1'", "outside"], gateway="172.28.0.1"),
    bridge("overlap-network", ["10.50.0.0/25", "10.50.0.0/24", "overlay_network web"], subnet="10.50.0.0/25"),
    bridge("overlap-route", ["10.77.0.0/24", "10.77.0.0/16 on eth1"], subnet="10.77.0.0/24"),
    bridge("mtu-ipv6", ["mtu 1279", "1280"], mtu=1279, subnet6="fd29::/64"),
    bridge("gateway6-alone", ["gateway6 'fd29::1'", "subnet6"], gateway6="fd29::1"),
    *names(bridge, "name", SHELL[:4]),
    Case(
        "gwbridge-in-use",
        "gwbridge",
        {"state": "deleted"},
        ["xh_gwbridge", "box", "delete their endpoints first"],
    ),
]
ENDPOINTS = [
    end(
        "network-unknown",
        ["endpoint nope/new", "network 'nope'", "there are: web", "declare it"],
        network="nope",
    ),
    end(
        "sandbox-missing",
        ["endpoint web/new", "sandbox 'new'", "no such namespace", "create: true"],
        create=None,
    ),
    end("sandbox-of-a-network", ["sandbox 'xh-web'", "take another"], sandbox="xh-web"),
    end("pid-missing", ["pid 4194000", "no such process"], sandbox=None, create=None, pid=4194000),
    end("pid-of-the-host", ["pid 1", "host's own network"], sandbox=None, create=None, pid=1),
    end(
        "container-stopped",
        ["container 'stopped'", "not running", "start it"],
        sandbox=None,
        create=None,
        container="stopped",
    ),
    end(
        "container-unknown",
        ["container 'nope'", "No such container", "start it"],
        sandbox=None,
        create=None,
        container="nope",
    ),
    end("two-sandboxes", ["sandbox and pid exclude each other"], pid=1),
    end("no-sandbox", ["give one of sandbox, pid, container"], sandbox=None, create=None),
    end("ip-twice", ["endpoint web/new", "ip '10.50.0.11'", "endpoint web/box has it"], ip="10.50.0.11"),
    end("ip-of-a-remote", ["ip '10.50.0.12'", "an endpoint behind 10.98.0.2 has it"], ip="10.50.0.12"),
    end("ip-outside", ["ip '10.59.0.1'", "in no subnet", "10.50.0.0/24"], ip="10.59.0.1"),
    end("mac-twice", ["mac '02:42:0a:32:00:0b'", "endpoint web/box has it"], mac="02:42:0a:32:00:0b"),
    end("mac-multicast", ["mac '01:00:5e:00:00:01'", "unicast"], mac="01:00:5e:00:00:01"),
    end("segments", ["ip6 'fd50::31'", "10.51.0.31", "one VNI"], ip="10.51.0.31", ip6="fd50::31"),
    end("no-address", ["ip None", "10.50.0.0/24"], ip=None),
    end(
        "interface-too-long", ["interface 'a123456789012345'", "16 bytes", "15"], interface="a123456789012345"
    ),
    end(
        "interface-taken",
        ["lan0", "namespace mine", "not made by crosshost", "another name"],
        sandbox="mine",
        interface="lan0",
    ),
    end(
        "default-route-taken",
        ["sandbox mine", "default route over lan0", "default_route: false"],
        sandbox="mine",
    ),
    end(
        "gwbridge-unknown",
        ["gwbridge 'xh_nope'", "there are: xh_gwbridge", "default_route: false"],
        gwbridge="xh_nope",
    ),
    *names(end, "sandbox", SHELL[:4]),
    *[
        end(f"container-{n}", ["container", repr(value)], sandbox=None, create=None, container=value)
        for n, value in enumerate(["../1", "--help"])
    ],
    Case(
        "endpoint-networks-type",
        "endpoint",
        {
            "config": [{"network": "x", "sandbox": "box", "ip": "10.61.0.9"}],
            "networks": [{"name": "x", "subnets": "10.61.0.0/24"}],
        },
        ["overlay_network x", "subnets '10.61.0.0/24'", "give a list"],
    ),
]
COLLISIONS = [
    Case(
        "hand-made-gwbridge",
        "gwbridge",
        {"config": [GWBRIDGE]},
        ["xh_gwbridge", "bridge, not made by crosshost", "another name"],
        host=EMPTY,
    ),
    bridge("hand-made", ["xh_second", "bridge, not made by crosshost", "another name"], name="xh_second"),
    bridge("dockers", ["gwbridge docker0", "dockerd", "never touches", "xh_gwbridge"], name="docker0"),
    net("hand-made-namespace", ["namespace xh-hand", "crosshost did not make it", "rename"], name="hand"),
    net(
        "hand-made-vni",
        ["VNI 9001 on port 4789", "vx9001 of net", "myvx on the host", "another VNI"],
        block(vni=9001),
    ),
    net(
        "hand-made-vni-elsewhere",
        ["VNI 9002", "vx9002 of net", "othervx in the namespace other"],
        block(vni=9002),
    ),
    Case(
        "guest-in-a-network",
        "overlay_network",
        {"state": "deleted"},
        ["namespace xh-web", "guest", "not made by crosshost"],
    ),
]
HOST = [
    Case(f"{what}-{module}", module, args, words, keywords)
    for what, keywords, words in (
        ("no-root", NOT_ROOT, ["user is not root", "become: true"]),
        ("no-pyroute2", NO_PYROUTE2, ["pyroute2", "python3-pyroute2", "ansible_python_interpreter"]),
    )
    for module, args in (
        ("overlay_network", {"config": [WEB]}),
        ("gwbridge", {"config": [GWBRIDGE]}),
        ("endpoint", {"config": ENDS}),
        ("network_info", {}),
    )
] + [Case("no-root-host_restore", "host_restore", {}, ["user is not root", "become: true"], NOT_ROOT)]
CASES = [*NETWORKS, *BRIDGES, *ENDPOINTS, *COLLISIONS, *HOST]


@pytest.fixture(scope="module")
def refused(session_lab: Lab) -> Iterator[dict[str, Result]]:
    """The result of every case by its name; under ``touched`` the names of the cases between two looks that differ."""
    lab = session_lab
    lab.reset()
    base = lab.play(
        step(HOMES, "overlay_network", {"config": [WEB]}),
        step(HOMES, "gwbridge", {"config": [GWBRIDGE]}),
        step(HOMES, "endpoint", {"config": ENDS}),
    )
    assert all(found[host].get("changed") for found in base for host in HOMES), base
    for host in HOMES:
        lab.script(host, BY_HAND)
        lab.run(host, "tee", "/usr/local/bin/docker", stdin=DOCKER)
        # -S: without the folder of Debian's packages
        lab.run(host, "tee", BARE_PYTHON, stdin='#!/bin/sh\nexec /usr/bin/python3 -S "$@"\n')
        lab.run(host, "chmod", "755", "/usr/local/bin/docker", BARE_PYTHON)
    lab.run(EMPTY, "ip", "link", "add", "xh_gwbridge", "type", "bridge")
    shares = {
        host: [case for case in CASES if not case.host][place :: len(HOMES)]
        for place, host in enumerate(HOMES)
    }
    shares[EMPTY] = [case for case in CASES if case.host]
    with ThreadPoolExecutor(len(shares)) as pool:
        parts = list(pool.map(lambda host: run_all(lab, host, shares[host]), shares))
    yield {name: result for results, _touched in parts for name, result in results.items()} | {
        "touched": {"names": [name for _results, touched in parts for name in touched]}
    }
    for host in HOMES:
        lab.run(host, "rm", BARE_PYTHON)


def run_all(lab: Lab, host: str, cases: Sequence[Case]) -> tuple[dict[str, Result], list[str]]:
    """The results of these cases on a host, and the names of those after which it did not look as before."""
    was = lab.picture(host)
    groups = [cases[start : start + GROUP] for start in range(0, len(cases), GROUP)]
    steps: list[Step] = []
    for group in groups:
        steps += [step(host, case.module, case.args, **case.keywords) for case in group] + [look(host)]
    found = [one[host] for one in lab.play(*steps)]
    results: dict[str, Result] = {}
    touched: list[str] = []
    for group in groups:
        names = [case.name for case in group]
        results.update(zip(names, found))
        if picture(found[len(group)]["stdout"]) != was:
            touched += names
        found = found[len(group) + 1 :]
    return results, touched


def test_the_list_is_as_it_seems() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused(refused: dict[str, Result], case: Case) -> None:
    result = refused[case.name]
    assert result.get("failed") and not result.get("changed"), result
    message = result["msg"]
    assert "\n" not in message and "Module failed" not in message and "Traceback" not in str(result), result
    for word in case.words:
        assert word in message, message


def test_nothing_was_touched(refused: dict[str, Result]) -> None:
    assert refused["touched"]["names"] == []
