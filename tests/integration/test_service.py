# SPDX-License-Identifier: GPL-3.0-or-later
"""Services by traffic, in private namespaces: who answers at a virtual address, whom the task sees, and what happens to
connections when tasks come, drain and go."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.kernel import nft

from tests import checker
from tests.support import engine
from tests.support.scenarios import declared
from tests.support.shops import (  # noqa: F401
    DATA_PATH,
    DB,
    NETWORKS,
    PORT,
    STORE,
    VIP,
    VIP6,
    WEB,
    Talk,
    at,
    draw,
    endpoint,
    host,
    places,
    shared,
    shop,
    table,
)
from tests.support.traffic import REFUSED, SILENCE, TCP, UDP, Place, ask, named, server
from tests.support.world import Host, world

pytestmark = pytest.mark.root


def test_three_tasks_get_a_third_each(host: Host, places: dict[str, Place]) -> None:
    host.call(engine.services, [shop(a=1, b=1, c=1)])
    for address, count in ((VIP, 3000), (VIP6, 600)):
        found = draw(places["caller"], address, count)
        assert set(found) == {"a", "b", "c"}
        assert all(0.20 * count <= number <= 0.47 * count for number in found.values()), found


def test_weights_are_shares(host: Host, places: dict[str, Place]) -> None:
    host.call(engine.services, [shop(a=700, b=250, c=50)])
    found = draw(places["caller"], VIP, 2000)
    assert 1300 <= found["a"] <= 1500 and 420 <= found["b"] <= 580 and 60 <= found["c"] <= 145, found
    host.call(engine.services, [shop(a=0, b=3, c=0)])
    assert set(draw(places["caller"], VIP, 100)) == {"b"}
    assert set(draw(places["caller"], VIP6, 100)) == {"b"}


def test_every_protocol_and_the_caller_s_own_address(host: Host, places: dict[str, Place]) -> None:
    host.call(engine.services, [shop(a=1)])
    for version, vip in ((4, VIP), (6, VIP6)):
        for name in ("caller", "b"):
            for kind in (TCP, UDP):
                assert ask(places[name], vip, PORT, kind) == f"a {at('web', name, version)}"
        host.run("ip", "netns", "exec", "caller", "ping", "-c2", "-i0.2", "-W1", "-q", vip)


def test_a_task_calls_its_own_service(host: Host, places: dict[str, Place]) -> None:
    """It may draw itself; whoever it draws sees its address."""
    host.call(engine.services, [shop(a=1, b=1)])
    for version, vip in ((4, VIP), (6, VIP6)):
        for kind in (TCP, UDP):
            found = {ask(places["a"], vip, PORT, kind) for _ in range(40)}
            assert found == {f"a {at('web', 'a', version)}", f"b {at('web', 'a', version)}"}


def test_affinity_by_source_address(host: Host, places: dict[str, Place]) -> None:
    """Who calls twice reaches the same task; not all callers the same one."""
    host.call(engine.services, [{**shop(a=1, b=1, c=1), "affinity": "source"}])
    for vip in (VIP, VIP6):
        drawn = {name: draw(places[name], vip, 30) for name in WEB}
        assert all(len(found) == 1 for found in drawn.values()), drawn
        assert len({next(iter(found)) for found in drawn.values()}) > 1


def test_draining_keeps_what_is_established(host: Host, places: dict[str, Place]) -> None:
    host.call(engine.services, [shop(a=1)])
    with Talk(places["caller"], VIP) as four, Talk(places["caller"], VIP6) as six:
        assert (four.say(), six.say()) == ("a", "a")
        host.call(engine.services, [shop(a=0, b=1)])
        assert (four.say(), six.say()) == ("a", "a")
        assert set(draw(places["caller"], VIP, 50)) == set(draw(places["caller"], VIP6, 50)) == {"b"}
        host.call(engine.services, [shop(a=0, b=0)])
        begun = time.monotonic()
        for vip in (VIP, VIP6):
            assert ask(places["caller"], vip, PORT) == REFUSED
            assert ask(places["caller"], vip, PORT, UDP) == SILENCE  # the kernel does not even send it
        assert time.monotonic() - begun < 0.6, "refusing has to be at once"
        assert (four.say(), six.say()) == ("a", "a")


def test_a_service_without_tasks_refuses_also_where_it_is_the_only_one(
    host: Host, places: dict[str, Place]
) -> None:
    host.call(engine.services, [{**shop(), "tasks": []}])
    assert ask(places["caller"], VIP, PORT) == ask(places["caller"], VIP6, PORT) == REFUSED


def test_a_family_in_which_no_task_has_an_address_refuses(host: Host, places: dict[str, Place]) -> None:
    plain = {"name": "a", "ip": at("web", "a")}
    host.call(engine.services, [{**shop(), "tasks": [plain]}])
    assert ask(places["caller"], VIP, PORT).startswith("a ")
    assert ask(places["caller"], VIP6, PORT) == REFUSED


def test_a_flow_of_datagrams_follows_its_task_while_it_drains_and_not_when_it_has_gone(
    host: Host, places: dict[str, Place]
) -> None:
    host.call(engine.services, [shop(a=1)])
    with Talk(places["caller"], VIP, PORT, UDP) as four, Talk(places["caller"], VIP6, PORT, UDP) as six:
        assert (four.say(), six.say()) == ("a", "a")
        host.call(engine.services, [shop(a=0, b=1)])
        assert (four.say(), six.say()) == ("a", "a")
        # no rule changes with that: a task that drains is in none
        host.call(engine.services, [shop(b=1)], "replaced")
        assert (four.say(), six.say()) == ("b", "b")
        moved = {**shop(b=1), "vip": "10.50.0.101"}
        host.call(engine.services, [moved], "replaced")
        with pytest.raises(OSError, match="timed out"):
            four.say()
        assert six.say() == "b"


def test_what_is_established_survives_unrelated_changes(host: Host, places: dict[str, Place]) -> None:
    """Other services, other weights, a run that changes nothing, an endpoint of somebody else: nothing is reset."""
    host.call(engine.services, [shop(a=1)])
    with Talk(places["caller"], VIP) as four, Talk(places["caller"], VIP6) as six:
        (four.say(), six.say())
        more = [
            {**shop(b=1), "name": f"s{n}", "vip": f"10.50.0.{110 + n}", "vip6": f"fd50::{110 + n}"}
            for n in range(20)
        ]
        for config, state in (
            ([*more, STORE], "merged"),
            ([shop(a=1, b=5, c=9)], "merged"),
            ([{**shop(a=1, c=2), "affinity": "source"}], "replaced"),
            ([{**shop(a=1, c=2), "affinity": "source"}, more[0]], "overridden"),
        ):
            assert host.call(engine.services, config, state).changed
            assert (four.say(), six.say()) == ("a", "a")
        assert not host.call(engine.services, [{"network": "web", "name": "shop"}]).changed
        host.call(engine.endpoints, [{**endpoint("db", "other")}])
        host.call(engine.endpoints, [endpoint("db", "other")], "deleted")
        assert (four.say(), six.say()) == ("a", "a")
        # even the service itself may go while others are there: who is connected stays connected
        host.call(engine.services, [{"network": "web", "name": "shop"}], "deleted")
        assert (four.say(), six.say()) == ("a", "a")


def test_a_sandbox_in_two_networks_has_the_services_of_both(host: Host, places: dict[str, Place]) -> None:
    """And one in a single network those of that one."""
    host.call(engine.services, [shop(a=1), STORE])
    ends = [*(endpoint("web", name) for name in WEB), *(endpoint("db", name) for name in DB)]
    assert host.call(checker.check, declared(NETWORKS, ends, services=[shop(a=1), STORE])) == []
    assert ask(places["caller"], VIP, PORT).startswith("a ")
    assert set(draw(places["caller"], "10.51.0.100", 60)) == {"d", "e"}
    assert set(draw(places["d"], "fd51::100", 60)) == {"d", "e"}
    assert "store" in table(host, "caller") and "store" not in table(host, "a")
    assert "shop" not in table(host, "d") and ask(places["d"], VIP, PORT) == SILENCE
    host.call(engine.services, [{"network": "web", "name": "shop"}], "deleted")
    assert set(draw(places["caller"], "10.51.0.100", 60)) == {"d", "e"}
    assert table(host, "a") == "" and "shop" not in table(host, "caller")


def test_tasks_on_another_host() -> None:
    """The draw is made where the caller is; the network carries the rest."""
    with world(2) as made, contextlib.ExitStack() as stack:
        rows = {"h1": "caller", "h2": "b"}
        for host, other in ((made[1], made[2]), (made[2], made[1])):
            far = {
                "ip": at("web", rows[other.name]),
                "ip6": at("web", rows[other.name], 6),
                "vtep": other.vtep,
            }
            path = {"data_path_address": host.vtep, "peers": [{"host": other.name, "vtep": other.vtep}]}
            host.call(engine.overlays, [{**NETWORKS[0], "endpoints": [far]}], "merged", path)
            host.call(engine.endpoints, [endpoint("web", rows[host.name])])
        stack.enter_context(named(made[2], "b"))
        (caller,), (b,) = (stack.enter_context(named(host, rows[host.name])) for host in made.hosts)
        made[1].call(engine.services, [shop(b=1)])
        for version, vip in ((4, VIP), (6, VIP6)):
            for kind in (TCP, UDP):
                stack.enter_context(server(b, at("web", "b", version), PORT, kind))
                assert ask(caller, vip, PORT, kind) == f"b {at('web', 'caller', version)}"


def test_a_hundred_services(host: Host, places: dict[str, Place]) -> None:
    """Each sandbox has them all; a run that changes nothing asks nft once a sandbox."""
    config = [
        {**shop(a=1, b=1, c=n), "name": f"s{n}", "vip": f"10.50.0.{100 + n}", "vip6": f"fd50::{100 + n}"}
        for n in range(100)
    ]
    host.call(engine.services, config)
    calls = []

    def again() -> bool:
        begin = nft.listing
        nft.listing = lambda netns: (calls.append(netns), begin(netns))[1]  # type: ignore[func-returns-value]
        nft.transact = None  # type: ignore[assignment]
        return engine.services(config).changed or sorted(calls) != sorted(WEB)

    assert not host.call(again)
    listing = json.loads(host.run("ip", "netns", "exec", "other", "nft", "-j", "list", "ruleset"))["nftables"]
    maps = {one["map"]["name"]: len(one["map"]["elem"]) for one in listing if "map" in one}
    assert maps == {"service-vip4": 100, "service-vip6": 100}
    assert sum("chain" in one for one in listing) == 201
    assert set(draw(places["caller"], "10.50.0.100", 40)) == {"a", "b"}
    assert draw(places["caller"], "10.50.0.199", 200)["c"] > 180
    assert host.call(engine.services, config[1:], "overridden").changed
    assert ask(places["caller"], "10.50.0.100", PORT) == SILENCE
