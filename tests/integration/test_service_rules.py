# SPDX-License-Identifier: GPL-3.0-or-later
"""Services as rules, in private namespaces: what is written, mended, left alone and refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils import cli, info
from ansible_collections.crosshost.network.plugins.module_utils.converge import converge
from ansible_collections.crosshost.network.plugins.module_utils.errors import ApplyError, SpecError
from ansible_collections.crosshost.network.plugins.module_utils.kernel.apply import Executor
from ansible_collections.crosshost.network.plugins.module_utils.kernel.session import Session
from ansible_collections.crosshost.network.plugins.module_utils.kinds.service import ServiceKind, leftovers
from ansible_collections.crosshost.network.plugins.module_utils.plan import plan
from ansible_collections.crosshost.network.plugins.module_utils.resources import state_of

from tests.support import engine
from tests.support.shops import (  # noqa: F401
    DATA_PATH,
    DB,
    NETWORKS,
    STORE,
    VIP,
    VIP6,
    WEB,
    endpoint,
    host,
    shared,
    shop,
    table,
    tables,
    task,
)
from tests.support.world import Host, world

pytestmark = pytest.mark.root

GOLDEN = """table inet crosshost {
	map service-vip4 {
		type ipv4_addr : verdict
		elements = { 10.50.0.100 : goto service-web/shop-4 }
	}

	map service-vip6 {
		type ipv6_addr : verdict
		elements = { fd50::100 : goto service-web/shop-6 }
	}

	chain service-output {
		type nat hook output priority -100; policy accept;
		ip daddr vmap @service-vip4
		ip6 daddr vmap @service-vip6
	}

	chain service-web/shop-4 {
		%s
	}

	chain service-web/shop-6 {
		%s
	}
}
"""
REFUSAL = "ct state new meta l4proto tcp reject with tcp reset\n\t\tct state new reject"
WRITTEN = [
    (shop(a=1), "dnat ip to 10.50.0.10", "dnat ip6 to fd50::10"),
    (
        shop(a=2, b=2),
        "dnat ip to numgen random mod 2 map { 0 : 10.50.0.10, 1 : 10.50.0.11 }",
        "dnat ip6 to numgen random mod 2 map { 0 : fd50::10, 1 : fd50::11 }",
    ),
    (
        {**shop(a=4, b=2, c=0), "affinity": "source"},
        "dnat ip to jhash ip saddr mod 3 seed 0x5e47 map { 0-1 : 10.50.0.10, 2 : 10.50.0.11 }",
        "dnat ip6 to jhash ip6 saddr mod 3 seed 0x5e47 map { 0-1 : fd50::10, 2 : fd50::11 }",
    ),
    (
        shop(a=1000, b=999),
        "dnat ip to numgen random mod 1999 map { 0-999 : 10.50.0.10, 1000-1998 : 10.50.0.11 }",
        "dnat ip6 to numgen random mod 1999 map { 0-999 : fd50::10, 1000-1998 : fd50::11 }",
    ),
    (shop(a=0), REFUSAL, REFUSAL),
]


@pytest.mark.parametrize(("config", "four", "six"), WRITTEN)
def test_the_rules_as_nft_shows_them(host: Host, config: dict[str, Any], four: str, six: str) -> None:
    host.call(engine.services, [config])
    assert chains(table(host, "a")) == chains(GOLDEN % (four, six))
    again = host.call(engine.services, [config])
    assert (again.changed, again.commands) == (False, [])


def chains(listing: str) -> list[str]:
    """The parts of a listing, in whichever order they were made."""
    return sorted(
        part.strip()
        for part in listing.removeprefix("table inet crosshost {").removesuffix("}\n").split("\n\n")
    )


def test_states_and_check_mode(host: Host) -> None:
    """Check mode tells the very commands and touches nothing; a second run changes nothing."""
    cart = {"network": "web", "name": "cart", "vip": "10.50.0.101", "tasks": [task("web", "a")]}
    found = {"network": "web", "name": "found", "mode": "dnsrr", "tasks": [task("web", "b")]}
    more = {
        "network": "web",
        "name": "cart",
        "vip6": "fd50::101",
        "tasks": [{"name": "a", "weight": 0}, task("web", "b")],
    }
    cart_more = {**cart, "vip6": "fd50::101", "tasks": [task("web", "a", 0), task("web", "b")]}
    nameless = {"network": "web", "name": "cart", "mode": "dnsrr"}
    runs = [
        ("merged", [shop(a=1), cart, found], [shop(a=1), cart, found]),
        ("merged", [more], [shop(a=1), cart_more, found]),
        ("replaced", [cart], [shop(a=1), cart, found]),
        ("merged", [nameless], [shop(a=1), {**nameless, "tasks": cart["tasks"]}, found]),
        ("overridden", [cart, STORE], [cart, STORE]),
        ("deleted", [{"network": "db", "name": "store"}], [cart]),
        ("deleted", [], []),
    ]  # fmt: skip
    for state, config, after in runs:
        was = tables(host)
        checked = host.call(engine.services, config, state, True)
        assert tables(host) == was
        done = host.call(engine.services, config, state)
        assert checked == done and done.changed and done.commands
        again = host.call(engine.services, config, state)
        assert (again.changed, again.commands, again.diff) == (False, [], {"before": "", "after": ""})
        gathered = host.call(engine.services, [], "gathered").after
        assert by_name(again.after) == by_name(gathered) == by_name(after)
    assert not any(tables(host).values())


def by_name(config: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(config, key=lambda item: (item["network"], item["name"]))


def test_a_service_by_its_name_alone_has_no_rules(host: Host) -> None:
    done = host.call(engine.services, [{**shop(a=1), "mode": "dnsrr", "vip": None, "vip6": None}])
    assert done.commands == ["# record service web/shop"]
    assert not any(tables(host).values())


@pytest.mark.usefixtures("shared")
def test_check_mode_on_a_host_that_has_nothing_yet() -> None:
    """With everything declared it tells what the run will do after the networks and endpoints have been made."""
    ends = [endpoint("web", name) for name in ("a", "b")]
    bare = {k: v for k, v in NETWORKS[0].items() if v is not None}
    with world() as made:
        fresh = made[1]
        args = ({"overlay_network": [bare]}, ends, True)
        checked = fresh.call(lambda: converge(ServiceKind(*args), [shop(a=1, b=1)], "merged", True))
        rendered = fresh.call(lambda: converge(ServiceKind(*args), [shop(a=1, b=1)], "rendered"))
        fresh.call(engine.overlays, [bare], "merged", DATA_PATH)
        fresh.call(engine.endpoints, ends)
        done = fresh.call(lambda: converge(ServiceKind(), [shop(a=1, b=1)], "merged"))
    assert checked == done
    assert rendered.commands == done.commands


HARMS = (
    "nft flush chain inet crosshost service-output",
    "nft delete table inet crosshost",
    "nft flush chain inet crosshost service-web/shop-4",
    "nft add rule inet crosshost service-web/shop-6 drop",
    "nft delete element inet crosshost service-vip4 '{ 10.50.0.100 }'",
    "nft add chain inet crosshost other; nft add element inet crosshost service-vip4 '{ 10.50.0.99 : goto other }'",
    "nft 'delete element inet crosshost service-vip6 { fd50::100 }; add element inet crosshost service-vip6 { fd50::100 : goto service-web/shop-4 }'",
)


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_broken_by_hand_is_mended_by_the_next_run(host: Host, harm: str) -> None:
    host.call(engine.services, [shop(a=1, b=1)])
    right = table(host, "a")
    host.run("ip", "netns", "exec", "a", "sh", "-ec", harm)
    assert host.call(engine.services, [shop(a=1, b=1)]).changed
    mended = [part for part in chains(table(host, "a")) if "chain other" not in part]
    assert mended == chains(right)
    host.run("ip", "netns", "exec", "a", "nft", "flush", "ruleset")


def test_an_endpoint_that_leaves_leaves_no_rules(host: Host) -> None:
    """The sandbox lives on in another network, with that one's services."""
    host.call(engine.services, [shop(a=1), STORE])

    def leave(network: str) -> tuple[int, int]:
        with Session() as session:
            items = leftovers(session, "caller", network)
            everything = state_of(session.nft("caller"))
            left = {k: item for k, item in everything.items() if item not in items}
            Executor(session).run(plan(everything, left))
        return len(items), len(left)

    assert host.call(leave, "none") == (0, 11)
    assert host.call(leave, "web") == (4, 7)
    assert "shop" not in table(host, "caller") and "store" in table(host, "caller")
    assert host.call(leave, "db") == (7, 0)
    assert table(host, "caller") == ""


BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"vip": "10.60.0.1"}, ["vip '10.60.0.1'", "in no subnet of the network (10.50.0.0/24, fd50::/64)"]),
    ({"vip": "fd50::1"}, ["vip 'fd50::1'", "give an IPv4 address"]),
    ({"vip": "10.50.0.1"}, ["vip '10.50.0.1'", "gateway of 10.50.0.0/24"]),
    ({"vip": "10.50.0.255"}, ["vip '10.50.0.255'", "network or broadcast address"]),
    ({"vip": "10.50.0.11"}, ["vip '10.50.0.11'", "endpoint web/b-1 has it already"]),
    ({"vip6": "fd50:0:0:1::b"}, ["vip6 'fd50:0:0:1::b'", "in no subnet"]),
    ({"vip6": "fd50:0:0::10"}, ["vip6 'fd50::10'", "endpoint web/a-1 has it already"]),
    ({"vip": "10.50.0.200"}, ["vip '10.50.0.200'", "an endpoint on another host has it already"]),
    ({"vip": "10.50.0.150"}, ["vip '10.50.0.150'", "service web/taken has it already"]),
    ({"vip": None, "vip6": None}, ["vip None", "give the service a free address of its network", "mode: dnsrr"]),
    ({"mode": "dnsrr"}, ["vip '10.50.0.100'", "mode dnsrr has no virtual address"]),
    ({"mode": "both"}, ["mode 'both'", "use one of vip, dnsrr"]),
    ({"name": "b-1"}, ["service web/b-1: name 'b-1'", "an endpoint of the network has this name"]),
    ({"name": "a/b"}, ["name 'a/b'", "use letters"]),
    ({"network": "lan"}, ["network 'lan'", "there are: db, web"]),
    ({"affinity": "cookie"}, ["affinity 'cookie'", "none, source"]),
    ({"tasks": [task("web", "a", 1001)]}, ["tasks[0].weight 1001", "from 0 to 1000"]),
    ({"tasks": [task("web", "a", -1)]}, ["tasks[0].weight -1", "from 0 to 1000"]),
    ({"tasks": [task("web", "a"), task("web", "a")]}, ["tasks[1].name 'a'", "it is there twice"]),
    ({"tasks": [task("web", "a"), {"name": "x", "ip": "10.50.0.10"}]}, ["tasks[x].ip '10.50.0.10'", "task a has it already"]),
    ({"tasks": [task("db", "d")]}, ["tasks[0].ip '10.51.0.15'", "in no subnet"]),
    ({"tasks": [{"name": "x"}]}, ["tasks[0].ip None", "give the address of one of the network's endpoints"]),
    ({"tasks": [{"ip": "10.50.0.100"}]}, ["tasks[10.50.0.100].ip", "virtual address of service web/shop"]),
    ({"tasks": [{"ip": "10.50.0.1"}]}, ["tasks[0].ip '10.50.0.1'", "gateway"]),
    ({"tasks": ["a"]}, ["tasks[0] 'a'", "give a mapping"]),
    ({"port": 80}, ["port 80", "no such option"]),
]  # fmt: skip


def test_bad_input_is_refused_and_touches_nothing(host: Host) -> None:
    """One line each, naming object, field, value and remedy."""
    far = {"name": "web", "endpoints": [{"ip": "10.50.0.200", "vtep": "10.98.0.9"}]}
    host.call(engine.overlays, [far], "merged", DATA_PATH)
    taken = {"network": "web", "name": "taken", "vip": "10.50.0.150", "tasks": [task("web", "b")]}
    host.call(engine.services, [taken])
    was = tables(host)

    def attempt() -> list[str]:
        found = []
        for change, _parts in BAD:
            try:
                engine.services([{**shop(a=1), **change}])
                found.append("accepted")
            except SpecError as error:
                found.append(str(error))
        return found

    lines = host.call(attempt)
    wrong = [
        (change, line)
        for (change, parts), line in zip(BAD, lines, strict=True)
        if not line.startswith("service ") or [part for part in parts if part not in line] or "\n" in line
    ]
    assert wrong == []
    assert tables(host) == was
    assert host.call(engine.services, [], "gathered").after == [taken]


def test_facts_drift_and_restore(host: Host) -> None:
    """What the command crosshost shows of services, and that it brings them back."""
    found = {"network": "web", "name": "found", "mode": "dnsrr", "tasks": [task("web", "b")]}
    host.call(engine.services, [shop(a=1), STORE, found])

    def facts() -> dict[str, tuple[bool, list[str], list[str]]]:
        gathered = info.gather(["services"])
        assert gathered["drifted"] == any(not one["present"] for one in gathered["services"])
        return {one["id"]: (one["present"], one["vips"], one["sandboxes"]) for one in gathered["services"]}

    right = {
        "web/shop": (True, [VIP, VIP6], sorted(WEB)),
        "db/store": (True, [STORE["vip"], STORE["vip6"]], sorted(DB)),
        "web/found": (True, [], []),
    }
    assert host.call(facts) == right
    was = tables(host)
    for name in ("a", "caller"):
        host.run("ip", "netns", "exec", name, "nft", "flush", "ruleset")
    assert host.call(facts) == {
        "web/shop": (False, [VIP, VIP6], ["b", "c", "other"]),
        "db/store": (False, [STORE["vip"], STORE["vip6"]], ["d", "e"]),
        "web/found": (True, [], []),
    }
    assert host.call(cli._restore_once) == []
    assert host.call(facts) == right
    assert {name: chains(text) for name, text in tables(host).items()} == {
        name: chains(text) for name, text in was.items()
    }


def test_what_nft_refuses_in_one_sandbox_is_undone_in_all(host: Host) -> None:
    """Tables are written a few at a time; none of them stays."""
    host.run(
        "ip",
        "netns",
        "exec",
        "c",
        "nft",
        "add table inet crosshost; add set inet crosshost service-vip4 { type mark; }",
    )
    try:
        was = tables(host)
        with pytest.raises(ApplyError, match="everything done before it was undone") as caught:
            host.call(engine.services, [shop(a=1)])
        assert "service: ip netns exec c nft " in str(caught.value)
        assert tables(host) == was
        assert host.call(engine.services, [], "gathered").after == []
    finally:
        host.run("ip", "netns", "exec", "c", "nft", "flush", "ruleset")
