# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations of services: what is understood, what is merged, what becomes of them in a sandbox."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.compile import service as compiled
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.kinds.service import ServiceKind
from ansible_collections.crosshost.network.plugins.module_utils.resources import (
    NftChain,
    NftElement,
    NftMap,
    state_of,
)
from ansible_collections.crosshost.network.plugins.module_utils.spec.peers import reserved
from ansible_collections.crosshost.network.plugins.module_utils.spec.service import End, Task, parse_all
from ansible_collections.crosshost.network.plugins.module_utils.spec.subnets import Subnet, parse_subnets


class Network(NamedTuple):
    subnets: tuple[Subnet, ...]
    reserved: dict[str, str]


def network(*blocks: str) -> Network:
    subnets = parse_subnets("overlay_network web", [{"subnet": one, "vni": 7} for one in blocks])
    return Network(subnets, reserved(subnets))


NETWORKS = {"web": network("10.50.0.0/24", "fd50::/64"), "db": network("10.51.0.0/24")}
SHOP: dict[str, Any] = {
    "network": "web",
    "name": "shop",
    "vip": "10.50.0.100",
    "tasks": [{"name": "b", "ip": "10.50.0.12"}, {"name": "a", "ip": "10.50.0.11", "ip6": "FD50:0::11"}],
}


def test_what_is_left_out() -> None:
    (shop,) = parse_all([SHOP], NETWORKS)
    assert (shop.id, shop.mode, shop.vip6, shop.affinity) == ("web/shop", "vip", "", "none")
    assert shop.tasks == (Task("a", "10.50.0.11", "fd50::11", 1), Task("b", "10.50.0.12", "", 1))


def test_a_task_without_a_name_is_called_by_its_address() -> None:
    tasks = [{"ip": "10.50.0.12"}, {"ip6": "fd50::12", "weight": 0}]
    (shop,) = parse_all([{**SHOP, "tasks": tasks}], NETWORKS)
    assert [task.name for task in shop.tasks] == ["10.50.0.12", "fd50::12"]


def test_the_order_of_tasks_means_nothing() -> None:
    (one,) = parse_all([SHOP], NETWORKS)
    (other,) = parse_all([{**SHOP, "tasks": SHOP["tasks"][::-1]}], NETWORKS)
    assert one == other


def test_one_name_and_one_number_in_two_networks() -> None:
    """Names and addresses are those of a network."""
    store = {"network": "db", "name": "shop", "vip": "10.51.0.100"}
    ends = [End("db", "b", "10.50.0.100", ""), End("db", "cart", "", "")]
    cart = {**SHOP, "name": "cart", "vip": "10.50.0.101"}
    assert [one.id for one in parse_all([SHOP, store, cart], NETWORKS, ends)] == [
        "web/shop",
        "db/shop",
        "web/cart",
    ]


@pytest.mark.parametrize(
    ("end", "line"),
    [
        (
            End("web", "shop", "", ""),
            "service web/shop: name 'shop': an endpoint of the network has this name",
        ),
        (
            End("web", "x", "10.50.0.100", ""),
            "service web/shop: vip '10.50.0.100': endpoint web/x has it already",
        ),
        (
            End("web", "", "", "fd50::100"),
            "service web/shop: vip6 'fd50::100': an endpoint on another host has it",
        ),
    ],
)
def test_what_an_endpoint_has(end: End, line: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_all([{**SHOP, "vip6": "fd50:0::100"}], NETWORKS, [end])
    assert str(caught.value).startswith(line)


def test_the_same_address_twice_is_the_second_one_s_fault() -> None:
    with pytest.raises(
        SpecError, match=r"service web/cart: vip '10\.50\.0\.100': service web/shop has it already"
    ):
        parse_all([SHOP, {**SHOP, "name": "cart"}], NETWORKS)
    with pytest.raises(SpecError, match="service web/shop: name 'shop': it is declared twice"):
        parse_all([SHOP, {**SHOP, "vip": "10.50.0.101"}], NETWORKS)


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("service-web/shop-4", "web/shop"),
        ("service-web/shop-4-6", "web/shop-4"),
        ("service-output", ""),
        ("service-vip4", ""),
        ("bridge-web/shop-4", ""),
        ("service-web/shop", ""),
        ("", ""),
    ],
)
def test_whose_chain_it_is(name: str, service: str) -> None:
    assert compiled.service_of(name) == service
    if service:
        version = int(name[-1])
        assert compiled.chain_name(service, version) == name


def test_what_a_sandbox_gets() -> None:
    """One base chain and two maps whatever there is; of each service a chain and an element a family."""
    services = parse_all(
        [{**SHOP, "vip6": "fd50::100"}, {**SHOP, "name": "cart", "vip": "10.50.0.101"}], NETWORKS
    )
    parts = [part for one in services for part in compiled.balancing(one)]
    state = state_of([*compiled.base("box"), *compiled.resources("box", parts)])
    chains = {item.name: item for item in state.values() if isinstance(item, NftChain)}
    assert set(chains) == {"service-output", "service-web/shop-4", "service-web/shop-6", "service-web/cart-4"}
    assert [(c.type, c.hook, c.prio) for c in chains.values() if c.hook] == [("nat", "output", -100)]
    assert len(chains["service-output"].rules) == 2
    assert {item.name for item in state.values() if isinstance(item, NftMap)} == {
        "service-vip4",
        "service-vip6",
    }
    elements = {(item.map, item.key, item.target) for item in state.values() if isinstance(item, NftElement)}
    assert elements == {
        ("service-vip4", '"10.50.0.100"', "service-web/shop-4"),
        ("service-vip6", '"fd50::100"', "service-web/shop-6"),
        ("service-vip4", '"10.50.0.101"', "service-web/cart-4"),
    }
    # only one of the two tasks has an IPv6 address
    assert json.loads(chains["service-web/shop-6"].rules[0]) == [
        {"dnat": {"addr": "fd50::11", "family": "ip6"}}
    ]


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        ({}, {"affinity": "source"}, {"affinity": "source"}),
        ({}, {"tasks": [{"name": "a", "weight": 0}]}, {"tasks": [{"name": "b", "ip": "10.50.0.12"}, {"name": "a", "ip": "10.50.0.11", "ip6": "FD50:0::11", "weight": 0}]}),
        ({}, {"tasks": [{"ip": "10.50.0.13"}]}, {"tasks": [*SHOP["tasks"], {"ip": "10.50.0.13"}]}),
        ({}, {"tasks": []}, {}),
        ({"vip6": "fd50::100"}, {"mode": "dnsrr"}, {"mode": "dnsrr", "vip": None, "vip6": None}),
        ({}, {"mode": "dnsrr", "vip": "10.50.0.9"}, {"mode": "dnsrr", "vip": "10.50.0.9"}),
        ({}, {"tasks": "all"}, {"tasks": "all"}),
    ],
)  # fmt: skip
def test_merging(old: dict[str, Any], new: dict[str, Any], merged: dict[str, Any]) -> None:
    """Tasks by their names; what a mode makes meaningless goes."""
    wanted = {field: value for field, value in {**SHOP, **old, **merged}.items() if value is not None}
    assert ServiceKind().merge({**SHOP, **old}, {"network": "web", "name": "shop", **new}) == wanted
