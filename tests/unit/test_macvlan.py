# SPDX-License-Identifier: GPL-3.0-or-later
"""Macvlan networks as resources, their plan and its words, without a kernel."""

from __future__ import annotations

from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.compile.macvlan import (
    MARK,
    Parent,
    compile_child,
    compile_macvlan,
    dummy_name,
    memory_of,
    name_of,
    parent_of,
    routed,
    routes_to,
    shim_name,
)
from ansible_collections.crosshost.network.plugins.module_utils.plan import apply_to, plan
from ansible_collections.crosshost.network.plugins.module_utils.render import commands, listing
from ansible_collections.crosshost.network.plugins.module_utils.resources import (
    HOST,
    Address,
    Link,
    Promiscuous,
    Resource,
    Route,
    Sysctl,
    state_of,
)
from ansible_collections.crosshost.network.plugins.module_utils.spec.macvlan import Macvlan, parse

SUBNETS = [{"subnet": "10.9.0.0/24", "ip_range": "10.9.0.128/25"}, {"subnet": "fd09::/64"}]
FULL: dict[str, Any] = {
    "name": "lan",
    "parent": "eth0.10",
    "subnets": SUBNETS,
    "host_range": ["10.9.0.128/28", "fd09::1000/116"],
    "shim": "10.9.0.128",
}
SHIM, DUMMY = shim_name("lan"), dummy_name("lan")


def network(**change: Any) -> Macvlan:
    return parse({**FULL, **change})


def made(mtu: int = 1400) -> Parent:
    return Parent("eth0.10", True, mtu, 1500)


def test_a_vlan_and_the_hosts_own_child() -> None:
    found = list(compile_macvlan(network(), made()))
    assert found == [
        Link(HOST, "eth0.10", "vlan", MARK, 1500, attrs=(("id", 10), ("link", "eth0"))),
        Link(HOST, SHIM, "macvlan", "crosshost:macvlan:lan", 1400, mac="02:42:0a:09:00:80", attrs=(("link", "eth0.10"), ("mode", "bridge"))),
        Address(HOST, SHIM, "10.9.0.128", 32),
        Route(HOST, "10.9.0.128/28", SHIM),
    ]  # fmt: skip
    assert len(SHIM) <= 15 and name_of("crosshost:macvlan:lan") == "lan" and name_of("crosshost:lan/a") == ""


def test_both_families_on_request() -> None:
    found = list(compile_macvlan(network(shim6="fd09::5"), made()))
    assert Sysctl(HOST, f"net.ipv6.conf.{SHIM}.disable_ipv6", "0") in found
    assert Address(HOST, SHIM, "fd09::5", 128) in found and Route(HOST, "fd09::1000/116", SHIM) in found


def test_what_was_there_is_not_made() -> None:
    assert list(compile_macvlan(network(shim=None), Parent("eth0.10", False, 1500, 1500))) == []


def test_an_internal_network_is_on_a_dummy() -> None:
    inside = network(parent=None, shim=None)
    assert list(compile_macvlan(inside, Parent(DUMMY, True, 1400, 1400))) == [
        Link(HOST, DUMMY, "dummy", "crosshost:macvlan:lan", 1400)
    ]
    assert parent_of(inside) == DUMMY


def test_children_have_a_mac_where_it_is_their_own() -> None:
    mac = "02:00:00:00:00:01"
    child = compile_child(network(), "box", "eth0", mac, 1400)
    assert (child.netns, child.name, child.kind, child.mac, child.mtu) == (
        "box",
        "eth0",
        "macvlan",
        mac,
        1400,
    )
    assert dict(child.attrs) == {"link": "eth0.10", "mode": "bridge"}
    for other in (network(mode="passthru", shim=None), network(driver="ipvlan", shim=None)):
        assert compile_child(other, "box", "eth0", mac, 1400).mac == ""


def test_routes_to_single_endpoints_are_those_that_no_block_covers() -> None:
    both = network(shim6="fd09::5")
    assert list(routed(both)) == ["10.9.0.128/28", "fd09::1000/116"]
    assert list(routes_to(both, ["10.9.0.129", "10.9.0.7", "fd09::1001", "fd09::7", "192.0.2.1"])) == [
        Route(HOST, "10.9.0.7/32", SHIM),
        Route(HOST, "fd09::7/128", SHIM),
    ]
    assert list(routes_to(network(), ["fd09::7"])) == [], "the shim has no address of that family"
    assert list(routes_to(network(shim=None), ["10.9.0.7"])) == []


def whole() -> list[Resource]:
    found = [*compile_macvlan(network(), made()), memory_of("eth0", 7), Promiscuous(HOST, "eth0")]
    child = compile_child(network(), "box", "eth0", "02:00:00:00:00:01", 1400)
    return [*found, child._replace(alias="crosshost:lan/box"), Address("box", "eth0", "10.9.0.7", 24)]


def test_the_order_of_a_plan() -> None:
    """Parents before what is on them, the other way round on the way back; who set a flag is written down before it is set,
    and forgotten after it is undone."""
    state = state_of(whole())
    ops = plan({}, state)
    there = [type(op.subject).__name__ + " " + getattr(op.subject, "name", "") for op in ops]
    assert there == ["Link eth0.10", f"Link {SHIM}", "Link eth0", "Address ", "Route ", "Address ", "File ", "Promiscuous "]  # fmt: skip
    assert apply_to({}, ops) == state
    back = plan(state, {})
    gone = [type(op.subject).__name__ + " " + getattr(op.subject, "name", "") for op in back]
    assert gone == ["Promiscuous ", "File ", f"Link {SHIM}", "Link eth0", "Link eth0.10"]
    assert apply_to(state, back) == {}


def test_a_flag_goes_with_its_device() -> None:
    flag = Promiscuous(HOST, "eth0.10")
    vlan = next(compile_macvlan(network(), made()))
    assert [op.subject for op in plan(state_of([vlan, flag]), {})] == [vlan]


def test_the_plan_in_words() -> None:
    lines = commands(plan({}, state_of(whole())))
    assert "ip link add link eth0 name eth0.10 group 30840 type vlan id 10" in lines
    assert f"ip link add link eth0.10 name {SHIM} group 30840 address 02:42:0a:09:00:80 type macvlan mode bridge" in lines  # fmt: skip
    assert "ip link set eth0 promisc on" in lines
    # by another name first: the host has an eth0 too, and some kernels look there
    (place,) = (n for n, line in enumerate(lines) if line.endswith("netns box type macvlan mode bridge"))
    name = lines[place].split()[6]
    assert lines[place + 1] == f"ip -n box link set {name} name eth0" and len(name) <= 15
    assert commands(plan(state_of(whole()), {}))[0] == "ip link set eth0 promisc off"
    assert "host: eth0: promiscuous\n" in listing(whole())
