# SPDX-License-Identifier: GPL-3.0-or-later
"""Services in the cluster's declaration: their tasks, their addresses, the names that are served."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError

from tests.support.clusters import DB, ENDS, WEB, cluster, end, seen, service

SHOPS = [end(f"h{n}", "web", "shop", f"10.0.1.2{n}") for n in (1, 2)]
TASK_A = {"name": "a.h1", "ip": "10.0.1.11", "weight": 1}
TASK_B = {"name": "b.h2", "ip": "10.0.1.12", "weight": 1}


def services(*items: Any, **more: Any) -> dict[str, Any]:
    return {"crosshost_services": list(items), **more}


# -- services


def test_a_service_is_where_its_network_has_an_endpoint() -> None:
    declared = services(service(affinity="source"))
    expected = {
        "name": "api",
        "network": "web",
        "vip": "10.0.1.100",
        "affinity": "source",
        "tasks": [TASK_A, TASK_B],
    }
    assert seen("h1", **declared)["services"] == [expected]
    assert seen("h3", **declared)["services"] == []
    assert seen("h1", **declared)["uses"] == ["services", "names"]
    assert seen("h3", **declared)["uses"] == []


def test_a_name_stands_for_the_endpoints_of_all_hosts() -> None:
    (one,) = seen("h1", ends=SHOPS, **services(service(tasks=["shop"])))["services"]
    assert [(task["name"], task["ip"]) for task in one["tasks"]] == [
        ("shop.h1", "10.0.1.21"),
        ("shop.h2", "10.0.1.22"),
    ]


def test_tasks_may_be_of_one_host_and_have_weights() -> None:
    tasks = [
        {"endpoint": "shop", "host": "h2", "weight": 0},
        {"endpoint": "shop", "host": "h1", "weight": "3"},
    ]
    (one,) = seen("h1", ends=SHOPS, **services(service(tasks=tasks)))["services"]
    assert [(task["name"], task["weight"]) for task in one["tasks"]] == [("shop.h2", 0), ("shop.h1", 3)]


def test_both_families_of_a_task_are_told() -> None:
    ends = [
        end("h1", "web", "a", "10.0.1.11", ip6="fd00:1::11"),
        end("h2", "web", "b", None, ip6="fd00:1::12"),
    ]
    (one,) = seen("h1", ends=ends, **services(service(vip6="fd00:1::100")))["services"]
    assert one["tasks"] == [
        {**TASK_A, "ip6": "fd00:1::11"},
        {"name": "b.h2", "ip6": "fd00:1::12", "weight": 1},
    ]


# -- names


def names_on(host: str, network: str = "web", **declared: Any) -> dict[str, Any]:
    found: dict[str, Any] = next(
        item for item in seen(host, **declared)["names"] if item["network"] == network
    )
    return found


def test_names_of_endpoints_and_services() -> None:
    ends = [*SHOPS, end("h1", "web", "cart", "10.0.1.30", ip6="fd00:1::30", aliases=["basket"])]
    round_robin = {"name": "rr", "network": "web", "mode": "dnsrr", "tasks": ["shop"]}
    found = names_on("h1", ends=ends, **services(service(tasks=["shop"], aliases=["www"]), round_robin))
    addresses = ["10.0.1.21", "10.0.1.22"]
    assert found == {
        "network": "web",
        "records": [
            {"name": "shop", "addresses": addresses},
            {"name": "cart", "addresses": ["10.0.1.30", "fd00:1::30"], "aliases": ["basket"]},
        ],
        "services": [
            {"name": "api", "addresses": ["10.0.1.100"], "tasks": addresses, "aliases": ["www"]},
            {"name": "rr", "addresses": addresses, "tasks": addresses},
        ],
    }


def test_a_task_that_is_drained_is_no_answer_to_the_services_name() -> None:
    tasks = [{"endpoint": "a", "weight": 0}, "b"]
    one = {"name": "rr", "network": "web", "mode": "dnsrr", "tasks": tasks}
    (found,) = names_on("h1", **services(one))["services"]
    assert (found["addresses"], found["tasks"]) == (["10.0.1.12"], ["10.0.1.11", "10.0.1.12"])


def test_an_alias_of_one_of_several_namesakes_means_that_one() -> None:
    ends = [{**SHOPS[0], "aliases": ["both", "first", "b"]}, {**SHOPS[1], "aliases": ["both"]}, ENDS[1]]
    records = {one["name"]: one for one in names_on("h1", ends=ends)["records"]}
    assert records["shop"]["aliases"] == ["both"]
    assert records["first"]["addresses"] == ["10.0.1.21"]
    # an alias that is an endpoint's name besides means both
    assert records["b"]["addresses"] == ["10.0.1.12", "10.0.1.21"]


def test_names_are_served_where_somebody_asks() -> None:
    assert [item["network"] for item in seen("h2")["names"]] == ["web", "db"]
    assert seen("h3")["names"] == []
    flooding = {**WEB, "control_plane": "flood"}
    assert [item["network"] for item in seen("h3", networks=[flooding, DB])["names"]] == ["web"]
    bare = {"name": "web", "subnets": [{"subnet": "10.0.1.0/24", "vni": 1, "gateway": "none"}]}
    assert [item["network"] for item in seen("h2", networks=[bare, DB])["names"]] == ["db"]


def test_hosts_have_their_own_name_servers_to_ask() -> None:
    each = {"h2": {"crosshost_dns": {"servers": ["192.0.2.53"]}}, "h1": {"crosshost_dns": {"enabled": False}}}
    gateway = {"name": "xgw", "subnet": "172.31.0.0/16"}
    ends = [{**one, "gwbridge": "xgw"} for one in ENDS]
    found = names_on("h2", ends=ends, each=each, crosshost_gwbridge=gateway)
    assert (found["upstream"], found["gwbridge"]) == (["192.0.2.53"], "xgw")
    assert seen("h1", each=each)["names"] == [] and seen("h1", each=each)["uses"] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            services(service(tasks=["c"])),
            "service web/api: tasks[0] 'c': network web has no endpoint of that",
        ),
        (
            services(service(tasks=[{"endpoint": "a", "host": "h2"}])),
            "service web/api: tasks[0] 'a': network web has no endpoint of that name on host h2",
        ),
        (services(service(tasks=[{"endpoint": "a", "wait": 1}])), "wait 1: there is no such option"),
        (
            services(service(tasks=[{"endpoint": "a", "weight": -1}])),
            "service web/api: tasks[0].weight -1: a weight is a number from 0",
        ),
        (
            services(service(tasks=["a", "a"])),
            "service web/api: tasks[1] 'a': the one on host h1 is there twice",
        ),
        (services(service(network="wbe")), "service wbe/api: network 'wbe': there is no such network"),
        (
            services(
                service(network="back"),
                crosshost_bridge_networks=[{"name": "back", "subnets": [{"subnet": "10.9.0.0/24"}]}],
            ),
            "service back/api: network 'back': services are in overlay networks, and that is bridge_network back",
        ),
        (services(service(vip="10.0.2.100")), "service web/api: vip '10.0.2.100': it is in no subnet"),
        (services(service(vip="10.0.1.1")), "service web/api: vip '10.0.1.1': it is the gateway"),
        (
            services(service(vip="10.0.1.12", tasks=["a"])),
            "service web/api: vip '10.0.1.12': endpoint web/b has it",
        ),
        (
            services(service(), service("two")),
            "service web/two: vip '10.0.1.100': service web/api has it already",
        ),
        (services(service(vip=None)), "service web/api: vip None: give the service a free address"),
        (services(service("b")), "service web/b: name 'b': an endpoint of the network has this name"),
        (
            services(service(), ends=[{**ENDS[0], "aliases": ["API"]}, ENDS[1]]),
            "service web/api: name 'api': endpoint web/a on host h1 has this name",
        ),
        (
            services(service(aliases=["b"])),
            "service web/api: aliases 'b': endpoint web/b on host h2 has this name",
        ),
        (
            services(service(aliases=["x"]), service("x", vip="10.0.1.101")),
            "service web/x: name 'x': service web/api has this name",
        ),
        (services(service(), service()), "service web/api: name 'api': it is declared twice"),
        (services(service(hosts=["h1"])), "service web/api: hosts ['h1']: there is no such option"),
        (
            {"each": {"h1": services(service()), "h2": services(service(affinity="source"))}},
            "service web/api: affinity 'source': on host h2, but None on host h1",
        ),
        ({"crosshost_dns": {"server": []}}, "host h1: crosshost_dns: server []: there is no such option"),
        ({"crosshost_dns": {"servers": ["dns"]}}, "host h1: crosshost_dns.servers 'dns': give one IPv4"),
        (
            {"crosshost_dns": {"servers": ["127.0.0.1"]}},
            "names web on host h1: upstream[0] '127.0.0.1': it is the host's own loopback",
        ),
        (
            {"ends": [end("h1", "web", "a", "10.0.1.11", name="x" * 64)]},
            "names web: records[0].name 'xxx",
        ),
    ],
)
def test_mistakes(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        cluster(**change)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
