# SPDX-License-Identifier: GPL-3.0-or-later
"""Published ports of services in the cluster's declaration, and the ingress network that brings them to every host."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.spec import fields

from tests.support.clusters import ENDS, INGRESS, WEB, cluster, end, seen, service

SHOPS = [end(f"h{n}", "web", "shop", f"10.0.1.2{n}") for n in (1, 2)]


def services(*items: Any, **more: Any) -> dict[str, Any]:
    return {"crosshost_services": list(items), **more}


def published(*ports: Any, **more: Any) -> dict[str, Any]:
    """A service with these ports, in a cluster with an ingress network."""
    return services(service(ports=list(ports)), crosshost_ingress=INGRESS, **more)


def test_ports_on_every_host() -> None:
    declared = published("8080:80", "9000-9001:90-91/udp", {"published": 443, "keep_client_address": True})
    views = {host: seen(host, **declared)["ingress"][0] for host in ("h1", "h2", "h3")}
    legs = {host: one["legs"] for host, one in views.items()}
    (first,), (second,), none = legs.values()
    assert none == []
    assert (first["name"], first["sandbox"], second["sandbox"]) == ("web.a", "a", "b")
    tasks = [{"ip": leg["ip"], "weight": 1} for leg in (first, second)]
    common = {"service": "web/api", "tasks": tasks}
    assert views["h1"]["ports"] == [
        {"published": 8080, "target": 80, "protocol": "tcp", **common},
        {"published": 9000, "target": 90, "protocol": "udp", **common},
        {"published": 9001, "target": 91, "protocol": "udp", **common},
        {
            "published": 443,
            "target": 443,
            "protocol": "tcp",
            "keep_client_address": True,
            "local": [{"sandbox": "a", "weight": 1}],
            **common,
        },
    ]
    assert views["h3"]["ports"][-1]["local"] == []
    assert seen("h3", **declared)["uses"] == ["ingress"]


def test_the_ingress_network_of_a_host() -> None:
    subnets = [*INGRESS["subnets"], {"subnet": "fd00:255::/64"}]
    ingress = {"name": "mesh", "subnets": subnets, "mtu": "1400", "addresses": {"h1": "10.255.0.9"}}
    gateway = {"subnet": "172.30.0.0/16", "subnet6": "fd00:172::/64", "name": "xgw"}
    ends = [{**one, "gwbridge": "xgw"} for one in ENDS]
    declared = {
        **published("8080:80", ends=ends),
        "crosshost_ingress": ingress,
        "crosshost_gwbridge": gateway,
    }
    views = {host: seen(host, **declared)["ingress"][0] for host in ("h1", "h2", "h3")}
    one = views["h1"]
    assert {field: one[field] for field in ("name", "subnets", "mtu", "gwbridge", "address")} == {
        "name": "mesh",
        "subnets": subnets,
        "mtu": 1400,
        "gwbridge": "xgw",
        "address": "10.255.0.9",
    }
    far = {row["ip"]: row for row in one["endpoints"]}
    assert set(far) == {views["h2"]["address"], views["h3"]["address"], views["h2"]["legs"][0]["ip"]}
    assert far[views["h3"]["address"]] == {
        "ip": views["h3"]["address"],
        "ip6": views["h3"]["address6"],
        "mac": fields.mac_of(views["h3"]["address"]),
        "vtep": "10.98.0.3",
    }


def test_a_sandbox_with_several_tasks_has_one_leg() -> None:
    ends = [*ENDS, end("h1", "db", "a", "10.0.2.11")]
    other = {"name": "sql", "network": "db", "vip": "10.0.2.100", "tasks": ["a"], "ports": ["5432"]}
    declared = services(service(ports=["80"]), other, crosshost_ingress=INGRESS, ends=ends)
    (one,) = seen("h1", **declared)["ingress"]
    assert [leg["name"] for leg in one["legs"]] == ["db.a"]
    assert one["ports"][1]["tasks"] == [one["ports"][0]["tasks"][0]]


def test_ports_on_the_hosts_of_their_tasks() -> None:
    ports = [{"published": "8080", "target": 80, "mode": "host"}, "published=53,protocol=udp,mode=host"]
    ends = [{**ENDS[0], "publish": ["22:22"]}, *ENDS[1:]]
    declared = services(service(mode="dnsrr", vip=None, ports=ports), ends=ends)
    assert seen("h1", **declared)["endpoints"][0]["publish"] == ["22:22", "8080:80/tcp", "53:53/udp"]
    mine, other = seen("h2", **declared)["endpoints"]
    assert mine["publish"] == ["8080:80/tcp", "53:53/udp"] and "publish" not in other
    assert seen("h1", **declared)["ingress"] == []


def test_an_empty_ingress_is_none() -> None:
    assert seen("h1", crosshost_ingress={})["ingress"] == []
    (one,) = seen("h3", crosshost_ingress=INGRESS)["ingress"]
    assert (one["name"], one["legs"], one["ports"]) == ("ingress", [], [])


HOST_PORT = {"published": 8080, "target": 80, "mode": "host"}
TWICE = [end("h1", "web", "a", "10.0.1.11"), end("h1", "web", "b", "10.0.1.12")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            services(service(ports=["8080:80"])),
            "service web/api: ports '8080:80/tcp': a port on every host takes an ingress network",
        ),
        (
            published("8080:80", "8080:81"),
            "service web/api: ports '8080:81/tcp': service web/api has port 8080/tcp",
        ),
        (
            published("8000-8002:80-81"),
            "service web/api: ports[0] '8000-8002:80-81': 3 host ports and 2 container ports",
        ),
        (published("8000-8002:80"), "3 published ports and one target port: give ranges of one length"),
        (published("127.0.0.1:8080:80"), "a service's port is on all addresses; leave the address out"),
        (published(":80"), "service web/api: ports[0] ':80': say which port of the hosts it is"),
        (published("0:80"), "service web/api: ports[0]"),
        (published("8080:80/icmp"), "protocol 'icmp': use one of tcp, udp, sctp"),
        (published(8080), "service web/api: ports[0] 8080: give a mapping"),
        (published({"published": 80, "port": 80}), "port 80: there is no such option"),
        (
            published({**HOST_PORT, "mode": "all"}),
            "service web/api: ports[0].mode 'all': use one of ingress, host",
        ),
        (
            published({**HOST_PORT, "keep_client_address": True}),
            "ports[0].keep_client_address True: a port of mode host keeps the client's address always",
        ),
        (
            services(service(mode="dnsrr", vip=None, ports=["80"]), crosshost_ingress=INGRESS),
            "service web/api: ports '80:80/tcp': a service in mode dnsrr has no address",
        ),
        (
            services(service(ports=[HOST_PORT]), ends=TWICE),
            "service web/api: task b on host h1: ports '8080:80/tcp': service web/api: task a on host h1 has port",
        ),
        (
            services(
                service(ports=[HOST_PORT]), ends=[{**ENDS[0], "publish": ["127.0.0.1:8080:1"]}, ENDS[1]]
            ),
            "service web/api: task a on host h1: ports '8080:80/tcp': endpoint web/a on host h1 has port 8080/tcp",
        ),
        (
            published("8080:80", ends=[{**ENDS[0], "publish": ["127.0.0.1:8080:1"]}, ENDS[1]]),
            "endpoint web/a on host h1: publish '127.0.0.1:8080:1/tcp': service web/api publishes port 8080/tcp on",
        ),
        (
            services(
                service(network="web", ports=[HOST_PORT]), networks=[{**WEB, "internal": True}], ends=ENDS[:2]
            ),
            "endpoint web/a on host h1: publish",
        ),
        (
            published("80", each={"h2": {"crosshost_ingress": {**INGRESS, "mtu": 1400}}}),
            "host h2: crosshost_ingress {'subnets'",
        ),
        (
            {"crosshost_ingress": {**INGRESS, "name": "web"}},
            "ingress web: name 'web': overlay_network web has it",
        ),
        ({"crosshost_ingress": {"name": "x"}}, "ingress x: subnets None: declare at least one"),
        ({"crosshost_ingress": {**INGRESS, "attachable": True}}, "attachable True: there is no such option"),
        (
            {"crosshost_ingress": {"subnets": [{"subnet": "10.0.1.0/25", "vni": 9}]}},
            "overlay_network web: subnet '10.0.1.0/24': it overlaps 10.0.1.0/25",
        ),
        (
            {"crosshost_ingress": {"subnets": [{"subnet": "172.30.0.0/24", "vni": 9}]}},
            "it overlaps 172.30.0.0/24 of ingress ingress",
        ),
        (
            {"crosshost_ingress": {"subnets": [{"subnet": "10.98.0.0/24", "vni": 9}]}},
            "ingress ingress: subnet '10.98.0.0/24': the VTEP of host h1, 10.98.0.1, is inside",
        ),
        ({"crosshost_ingress": {"subnets": [{"subnet": "10.3.0.0/24", "vni": 4101}]}}, "vni 4101: network"),
        (
            services(
                service(tasks=["shop", "a", "b"], ports=["80"]),
                crosshost_ingress={"subnets": [{"subnet": "10.255.0.0/29", "vni": 9}]},
                ends=[*SHOPS, *TWICE],
            ),
            "ingress ingress: subnet '10.255.0.0/29': 3 hosts and 4 tasks need an address each",
        ),
        (
            {"crosshost_ingress": {**INGRESS, "addresses": {"h1": "10.254.0.1"}}},
            "ingress ingress: addresses.h1 '10.254.0.1': it is in no IPv4 subnet",
        ),
        (
            {"crosshost_ingress": {**INGRESS, "addresses": {"h1": "10.255.0.1"}}},
            "ingress ingress: addresses.h1 '10.255.0.1': it is the gateway",
        ),
        (
            {"crosshost_ingress": {**INGRESS, "addresses": {"h1": "10.255.0.5", "h2": "10.255.0.5"}}},
            "ingress ingress: addresses.h2 '10.255.0.5': host h1 has it already",
        ),
        (
            {"crosshost_ingress": {**INGRESS, "addresses": {"h9": "10.255.0.5"}}},
            "ingress ingress: addresses 'h9': there is no such host",
        ),
        (
            {"crosshost_ingress": INGRESS, "crosshost_gwbridge": {}, "ends": []},
            "ingress ingress on host h1: gwbridge 'xh_gwbridge': there is no such gateway bridge",
        ),
        (
            {"crosshost_ingress": {"subnets": [{"subnet": "fd00:255::/64", "vni": 9}]}},
            "ingress ingress on host h1: gwbridge 'xh_gwbridge': it has no IPv6 subnet",
        ),
    ],
)
def test_mistakes(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        cluster(**change)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
