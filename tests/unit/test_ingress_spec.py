# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations of the ingress network: what is understood, what is refused, what is merged, what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.compile import ingress as compiled
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.kinds import ingress_refusals as refusals
from ansible_collections.crosshost.network.plugins.module_utils.kinds.ingress import IngressKind
from ansible_collections.crosshost.network.plugins.module_utils.resources import (
    HOST,
    Link,
    NftChain,
    NftElement,
    Resource,
    Sysctl,
    state_of,
)
from ansible_collections.crosshost.network.plugins.module_utils.spec import gwbridge, ingress
from ansible_collections.crosshost.network.plugins.module_utils.spec.service import Task

from tests.support.clusters import INGRESS, end, seen, service

BRIDGES = {
    "xh_gwbridge": gwbridge.parse({"subnet": "172.30.0.0/16", "subnet6": "fd30::/64"}),
    "four": gwbridge.parse({"name": "four", "subnet": "172.31.0.0/16"}),
}
SUBNETS = [{"subnet": "10.255.0.0/24", "vni": 4096}, {"subnet": "fd55::/64"}]
ITEM: dict[str, Any] = {
    "subnets": SUBNETS,
    "address": "10.255.0.11",
    "address6": "FD55:0::11",
    "endpoints": [{"ip": "10.255.0.102", "ip6": "fd55::102", "vtep": "192.0.2.2"}],
    "legs": [{"name": "shop1", "sandbox": "shop", "ip": "10.255.0.101", "ip6": "fd55::101"}],
    "ports": [
        {
            "published": 8080,
            "target": 80,
            "tasks": [{"ip": "10.255.0.102", "ip6": "fd55::102", "weight": 0}, {"ip": "10.255.0.101"}],
        }
    ],
}
PORT = ITEM["ports"][0]


def parse(**change: Any) -> ingress.Ingress:
    return ingress.parse({**ITEM, **change}, BRIDGES)


def test_what_is_left_out() -> None:
    one = parse(ports=[{"published": 443}])
    assert (one.name, one.obj, one.gwbridge, one.versions) == (
        "ingress",
        "ingress ingress",
        "xh_gwbridge",
        (4, 6),
    )
    assert one.address6 == "fd55::11"
    assert one.ports == (ingress.Port(443, 443, "tcp", "", "none", False, (), ()),)
    assert (one.network.control_plane, one.network.attachable) == ("static", False)
    assert parse(legs=[{"container": "a", "ip": "10.255.0.101"}, {"pid": 7, "ip": "10.255.0.103"}]).legs == (
        ingress.Leg("a", ingress.Place("", 0, "a"), "10.255.0.101", ""),
        ingress.Leg("pid-7", ingress.Place("", 7, ""), "10.255.0.103", ""),
    )


def test_the_order_of_tasks_means_nothing() -> None:
    """All hosts choose alike, whatever the order in which they name the tasks."""
    assert parse() == parse(ports=[{**PORT, "tasks": PORT["tasks"][::-1]}])
    assert [task.ip for task in parse().ports[0].tasks] == ["10.255.0.101", "10.255.0.102"]
    assert [task.weight for task in parse().ports[0].tasks] == [1, 0]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"name": "a b"}, "ingress 'a b': name 'a b': use letters"),
    ({"prots": []}, "ingress ingress: prots []: there is no such option"),
    ({"subnets": []}, "ingress ingress: subnets []: declare at least one"),
    ({"subnets": [*SUBNETS, {"subnet": "10.254.0.0/24", "vni": 4097}]}, "declare one IPv4 subnet"),
    ({"subnets": [SUBNETS[0], {"subnet": "fd55::/64", "vni": 4097}]}, "give both subnets one VNI"),
    ({"mtu": 1000}, "ingress ingress: mtu 1000: IPv6 needs at least 1280"),
    ({"address": None}, "ingress ingress: address None: give this host's sandbox an address of 10.255.0.0/24"),
    ({"address6": ""}, "address6 None: give this host's sandbox an address of fd55::/64"),
    ({"address": "10.255.1.1"}, "address '10.255.1.1': it is in no subnet of the network"),
    ({"address": "10.255.0.1"}, "address '10.255.0.1': it is the gateway of 10.255.0.0/24"),
    ({"address": "10.255.0.102"}, "address '10.255.0.102': an endpoint behind 192.0.2.2 has it already"),
    ({"gwbridge": "none0"}, "gwbridge 'none0': there is no such gateway bridge on this host (there are: four, xh_"),
    ({"gwbridge": "four"}, "gwbridge 'four': it has no IPv6 subnet, by which ports would lead into fd55::/64"),
    ({"data_path_port": 0}, "ingress ingress: data_path_port 0"),
    ({"legs": [{"name": "a", "ip": "10.255.0.101"}]}, "legs[0].sandbox None: nothing says which"),
    ({"legs": [{"sandbox": "a", "pid": 7, "ip": "10.255.0.101"}]}, "sandbox and pid exclude each other"),
    ({"legs": [{"sandbox": "xh-web", "ip": "10.255.0.101"}]}, "the networks' own namespaces"),
    ({"legs": [{"sandbox": "crosshost-ingress", "ip": "10.255.0.101"}]}, "that is where ports come in"),
    ({"legs": [{"sandbox": "a"}]}, "legs[0].ip None: give an address of the network (10.255.0.0/24, fd55::/64)"),
    ({"legs": [{"sandbox": "a", "ip": "10.255.0.11"}]}, "the host's own sandbox has it already"),
    ({"legs": [*ITEM["legs"], {"name": "b", "sandbox": "shop", "ip": "10.255.0.103"}]}, "leg shop1 is in the same sandbox"),
    ({"legs": [*ITEM["legs"], {"name": "shop1", "sandbox": "b", "ip": "10.255.0.103"}]}, "give each leg its own name"),
    ({"ports": [{}]}, "ports[0].published None: a port is a number from 1 to 65535"),
    ({"ports": [{**PORT, "target": 0}]}, "ports[8080/tcp].target 0: a port is a number"),
    ({"ports": [{**PORT, "protocol": "icmp"}]}, "ports[0].protocol 'icmp': use one of tcp, udp, sctp"),
    ({"ports": [{**PORT, "affinity": "cookie"}]}, "affinity 'cookie': use one of none, source"),
    ({"ports": [{**PORT, "service": "web/a"}, PORT]}, "ports '8080/tcp': service web/a publishes it already"),
    ({"ports": [{**PORT, "tasks": [{"ip": "10.255.0.9"}]}]}, "tasks[0].ip '10.255.0.9': no task has this address"),
    ({"ports": [{**PORT, "tasks": [{"ip": "10.255.0.11"}]}]}, "'10.255.0.11': no task has this address"),
    ({"ports": [{**PORT, "tasks": [{"ip": "10.255.0.101"}] * 2}]}, "'10.255.0.101': it is there twice"),
    ({"ports": [{**PORT, "tasks": [{"ip": "10.255.0.101", "weight": 1001}]}]}, "weight 1001: a weight is a number"),
    ({"ports": [{**PORT, "local": [{"sandbox": "shop"}]}]}, "it needs keep_client_address: true"),
    ({"ports": [{**PORT, "keep_client_address": True, "local": [{"sandbox": "a"}] * 2}]}, "local[1] 'a': it is there twice"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "line"), REFUSED)
def test_what_cannot_be_right_is_refused_in_one_line(change: dict[str, Any], line: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(**change)
    assert line in str(caught.value)
    assert str(caught.value).isprintable()


def test_the_view_of_a_cluster_is_understood() -> None:
    """What the view derives for each host is what the module takes."""
    more = {
        "affinity": "source",
        "ports": ["8080:80", "53:53/udp", {"published": 443, "keep_client_address": True}],
    }
    ends = [end(f"h{n}", "web", f"s{n}", f"10.0.1.1{n}") for n in (1, 2)]
    declared = {
        "ends": ends,
        "crosshost_gwbridge": {"subnet": "172.30.0.0/16", "subnet6": "fd30::/64"},
        "crosshost_services": [service(tasks=["s1", {"endpoint": "s2", "weight": 0}], **more)],
        "crosshost_ingress": {**INGRESS, "subnets": [*INGRESS["subnets"], {"subnet": "fd00:255::/64"}]},
    }
    found = [ingress.parse(seen(host, **declared)["ingress"][0], BRIDGES) for host in ("h1", "h2", "h3")]
    assert [len(one.legs) for one in found] == [1, 1, 0]
    assert len({one.address for one in found}) == 3
    assert found[0].ports[0].tasks == found[1].ports[0].tasks == found[2].ports[0].tasks
    assert [[local.place.word for local in one.ports[2].local] for one in found] == [["s1"], ["s2"], []]


# -- merging, and what is not lost


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> IngressKind:
    recorded = {"gwbridge": [{"name": "xh_gwbridge", "subnet": "172.30.0.0/16", "subnet6": "fd30::/64"}]}
    name = "ansible_collections.crosshost.network.plugins.module_utils.record.load"
    monkeypatch.setattr(name, lambda what: recorded.get(what, []))
    return IngressKind({"data_path_address": "192.0.2.1"})


def test_merging(kind: IngressKind) -> None:
    old = kind.complete(ITEM)
    assert (old["name"], old["data_path_address"]) == ("ingress", "192.0.2.1")
    change = {
        "mtu": 1400,
        "legs": [{"sandbox": "cart", "ip": "10.255.0.103"}, {"name": "shop1", "sandbox": "new"}],
        "ports": [
            {"published": 8080, "protocol": "tcp", "target": 81},
            {"published": 8080, "protocol": "udp"},
        ],
    }
    merged = kind.merge(old, kind.complete(change))
    assert (merged["mtu"], merged["address"], merged["subnets"]) == (1400, "10.255.0.11", SUBNETS)
    assert [(leg["sandbox"], leg["ip"]) for leg in merged["legs"]] == [
        ("new", "10.255.0.101"),
        ("cart", "10.255.0.103"),
    ]
    first, second = merged["ports"]
    assert (first["target"], first["tasks"], second) == (81, PORT["tasks"], change["ports"][1])


def test_one_is_enough(kind: IngressKind) -> None:
    second = {**ITEM, "name": "mesh"}
    with pytest.raises(
        SpecError, match="ingress mesh: name 'mesh': there is ingress ingress already, and a cluster has one"
    ):
        kind.check([kind.complete(ITEM), kind.complete(second)])
    kind.check([kind.complete(ITEM)])


def test_ports_are_not_lost_by_silence() -> None:
    old = {**ITEM, "name": "ingress"}
    silent = {field: value for field, value in old.items() if field != "ports"}
    refusals.refuse_silence(old, silent)
    refusals.refuse_silence({**old, "ports": []}, {**silent, "mtu": 1300})
    refusals.refuse_silence(old, {**silent, "mtu": 1300, "ports": []})
    for field, value in (("mtu", 1300), ("subnets", SUBNETS[:1]), ("name", "mesh")):
        with pytest.raises(
            SpecError, match=r"made anew, which would withdraw the ports 8080/tcp; .*\(ports: \[\]"
        ):
            refusals.refuse_silence(old, {**silent, field: value})
    many = [{"published": number, "protocol": "udp"} for number in range(1, 8)]
    with pytest.raises(
        SpecError, match=r"it publishes the ports 1/udp, 2/udp, 3/udp, 4/udp, 5/udp, \.\.\.; withdraw"
    ):
        refusals.refuse_loss({**old, "ports": many})
    refusals.refuse_loss({**old, "ports": []})


# -- what becomes of it


def rules(found: list[Resource], netns: str, name: str) -> list[Any]:
    return [
        json.loads(rule)
        for item in found
        if isinstance(item, NftChain) and (item.netns, item.name) == (netns, name)
        for rule in item.rules
    ]


def targets(found: list[Resource], netns: str) -> dict[str, str]:
    return {item.key: item.target for item in found if isinstance(item, NftElement) and item.netns == netns}


def whole(one: ingress.Ingress, local: dict[str, list[Task]] | None = None) -> list[Resource]:
    gate = compiled.Gate(BRIDGES["xh_gwbridge"], "172.30.255.254", "fd30::fffe")
    spaces = {leg.name: leg.place.word for leg in one.legs}
    found = [
        *compiled.compile_sandbox(one, 1450, "5a:00:00:00:00:01"),
        *compiled.compile_tasks(one, spaces, 1450, "5a:00:00:00:00:01"),
        *compiled.compile_host(one, gate, local or {}),
    ]
    state_of(found)  # no two with one identity
    return found


TCP_8080 = '{"concat":["tcp",8080]}'


def test_a_drained_task_is_not_drawn() -> None:
    found = whole(parse())
    drawn = rules(found, ingress.SANDBOX, "ingress-tcp-8080")
    assert [rule[-1]["dnat"] for rule in drawn] == [{"family": "ip", "addr": "10.255.0.101", "port": 80}]


def test_a_port_without_tasks_is_led_in_and_nowhere_further() -> None:
    found = whole(parse(ports=[{"published": 8080}]))
    assert targets(found, HOST) == {TCP_8080: "ingress-enter"}
    assert targets(found, ingress.SANDBOX) == {}


def test_a_task_lets_in_what_leads_there() -> None:
    ports = [
        PORT,
        {"published": 53, "protocol": "udp", "tasks": [{"ip6": "fd55::101"}]},
        {**PORT, "published": 81},
    ]
    found = whole(parse(ports=[*ports, {"published": 25, "tasks": [{"ip": "10.255.0.102"}]}]))
    assert sorted(targets(found, "shop")) == ['{"concat":["tcp",80]}', '{"concat":["udp",53]}']


def test_tasks_of_this_host_are_reached_directly_unless_all_drain() -> None:
    one = parse(ports=[{**PORT, "keep_client_address": True}])
    task = Task("shop", "172.30.0.2", "fd30::2", 1)
    found = whole(one, {"8080/tcp": [task, Task("b", "172.30.0.3", "fd30::3", 0)]})
    assert targets(found, HOST) == {TCP_8080: "ingress-tcp-8080"}
    turned, four, six = rules(found, HOST, "ingress-tcp-8080")
    assert turned[-1] == {"goto": {"target": "ingress-enter"}}
    assert (four[-1]["dnat"]["addr"], six[-1]["dnat"]["addr"]) == ("172.30.0.2", "fd30::2")
    drained = whole(one, {"8080/tcp": [task._replace(weight=0)]})
    assert targets(drained, HOST) == {TCP_8080: "ingress-enter"}


def test_a_host_that_publishes_nothing_has_no_rules() -> None:
    found = whole(parse(ports=[]))
    assert not [item for item in found if getattr(item, "netns", "?") == HOST]
    assert rules(found, ingress.SANDBOX, "ingress-forward")[-1] == [{"drop": None}]


def test_one_family() -> None:
    found = whole(
        parse(
            subnets=SUBNETS[:1],
            address6=None,
            endpoints=[],
            legs=[],
            ports=[{"published": 8080}],
            gwbridge="four",
        )
    )
    assert [item.name for item in found if isinstance(item, Sysctl) and item.netns == ingress.SANDBOX] == [
        "net.ipv4.ip_forward"
    ]
    (entering,) = rules(found, HOST, "ingress-enter")
    assert entering[0]["dnat"]["family"] == "ip"
    assert len(rules(found, HOST, "ingress-prerouting")) == 1
    six = whole(
        parse(
            subnets=[{"subnet": "fd55::/64", "vni": 4096}],
            address=None,
            endpoints=[],
            legs=[],
            ports=[{"published": 80}],
        )
    )
    assert not [item for item in six if isinstance(item, Sysctl) and item.netns == HOST]


def test_names_of_both_ends() -> None:
    links = {
        (item.netns, item.peer.netns, item.peer.name): item
        for item in whole(parse())
        if isinstance(item, Link) and item.peer
    }
    assert links.keys() == {("xh-ingress", "crosshost-ingress", "eth0"), ("xh-ingress", "shop", "ingress0")}
    assert {link.alias for link in links.values()} == {
        "crosshost:ingress/crosshost-ingress",
        "crosshost:ingress/shop1",
    }
