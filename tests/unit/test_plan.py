# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans whose order or extent once mattered: what a kernel takes away by itself is neither deleted nor forgotten."""

from __future__ import annotations

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.plan import Op, plan
from ansible_collections.crosshost.network.plugins.module_utils.resources import (
    HOST,
    ZERO_MAC,
    Address,
    FdbEntry,
    Link,
    Neighbour,
    Netns,
    Peer,
    Resource,
    Route,
    Sysctl,
    key,
    state_of,
)

SPACE, BOX = Netns("xh-a", "crosshost:a"), Netns("box", "crosshost:sandbox")
BRIDGE = Link("xh-a", "br1", "bridge", "crosshost:a", 1450, "5a:00:00:00:00:01")
OTHER = BRIDGE._replace(name="br2")
TUNNEL = Link("xh-a", "vx1", "vxlan", "crosshost:a", 1450, master="br1", attrs=(("id", 1), ("port", 4789)))
PAIR = Link(
    "xh-a",
    "ve1",
    "veth",
    "crosshost:a/b",
    1450,
    master="br1",
    peer=Peer("box", "eth0", "02:42:0a:00:00:05", 1450),
)
ROW = FdbEntry("xh-a", "vx1", "02:42:0a:00:00:02", "10.98.0.2")
NEAR = Neighbour("xh-a", "vx1", "10.0.0.2", "02:42:0a:00:00:02")
PORT_ROW = FdbEntry("xh-a", "ve1", "02:42:0a:00:00:05")
INNER = Address("box", "eth0", "10.0.0.5", 24)
WAY = Route("box", "10.9.0.0/16", "eth0", "10.0.0.1")
EVERYTHING = (SPACE, BOX, BRIDGE, TUNNEL, PAIR, ROW, NEAR, PORT_ROW, INNER, WAY)


def ops(before: tuple[Resource, ...], after: tuple[Resource, ...]) -> list[tuple[str, Resource]]:
    return [(op.verb, op.subject) for op in plan(state_of(before), state_of(after))]


def test_creating_goes_from_the_ground_up() -> None:
    found = [item for _verb, item in ops((), EVERYTHING)]
    order = [BRIDGE, TUNNEL, PAIR, INNER, WAY]
    assert sorted(order, key=found.index) == order
    assert set(found[:2]) == {SPACE, BOX}
    assert {ROW, NEAR, PORT_ROW} <= set(found[5:])


def test_deleting_names_only_what_does_not_go_by_itself() -> None:
    found = ops(EVERYTHING, ())
    assert found[:2] == [("delete", PAIR), ("delete", TUNNEL)]
    assert set(found[2:]) == {("delete", BOX), ("delete", SPACE)}
    assert len(found) == 4


def test_a_row_that_changes_is_replaced_in_place() -> None:
    moved = ROW._replace(dst="10.98.0.3")
    assert ops((SPACE, BRIDGE, TUNNEL, ROW), (SPACE, BRIDGE, TUNNEL, moved)) == [("change", moved)]


def test_flood_rows_are_told_apart_by_their_destination() -> None:
    one, two = (FdbEntry("xh-a", "vx1", ZERO_MAC, f"10.98.0.{number}") for number in (2, 3))
    assert key(one) != key(two)
    assert ops((SPACE, BRIDGE, TUNNEL, one), (SPACE, BRIDGE, TUNNEL, two)) == [
        ("delete", one),
        ("create", two),
    ]


def test_a_tunnel_with_other_attributes_is_made_anew_with_its_rows() -> None:
    again = TUNNEL._replace(attrs=(("id", 1), ("port", 4790)))
    found = ops((SPACE, BRIDGE, TUNNEL, ROW, NEAR), (SPACE, BRIDGE, again, ROW, NEAR))
    assert found == [("delete", TUNNEL), ("create", again), ("create", NEAR), ("create", ROW)]


def test_the_static_rows_of_a_port_stay_behind_when_it_changes_its_bridge() -> None:
    before = (SPACE, BOX, BRIDGE, OTHER, PAIR, PORT_ROW)
    moved = PAIR._replace(master="br2")
    after = (SPACE, BOX, BRIDGE, OTHER, moved, PORT_ROW)
    assert ops(before, after) == [("change", moved), ("create", PORT_ROW)]


def test_ports_of_a_bridge_that_goes_are_taken_up_again() -> None:
    before = (SPACE, BOX, BRIDGE, PAIR, PORT_ROW)
    moved = PAIR._replace(master="br2")
    after = (SPACE, BOX, OTHER, moved, PORT_ROW)
    assert ops(before, after) == [
        ("delete", BRIDGE),
        ("create", OTHER),
        ("change", moved),
        ("create", PORT_ROW),
    ]


@pytest.mark.parametrize("more", [(), (Address("box", "eth0", "fd00::5", 64),)])
def test_routes_go_with_the_last_ipv4_address_and_come_back(more: tuple[Resource, ...]) -> None:
    before, other = (SPACE, BOX, BRIDGE, PAIR, *more), INNER._replace(address="10.0.0.6")
    assert ops((*before, INNER, WAY), (*before, other, WAY)) == [
        ("delete", WAY),
        ("delete", INNER),
        ("create", other),
        ("create", WAY),
    ]


def test_routes_stay_while_another_ipv4_address_is_there() -> None:
    kept = Address("box", "eth0", "10.1.0.5", 24)
    before = (SPACE, BOX, BRIDGE, PAIR, kept)
    assert ops((*before, INNER, WAY), (*before, WAY)) == [("delete", INNER)]


def test_direct_routes_come_before_those_through_a_gateway() -> None:
    near, far = Route("box", "10.7.0.1/32", "eth0"), Route("box", "0.0.0.0/0", "eth0", "10.7.0.1")
    found = ops((SPACE, BOX, BRIDGE, PAIR), (SPACE, BOX, BRIDGE, PAIR, far, near))
    assert found == [("create", near), ("create", far)]


def test_accept_ra_is_set_before_forwarding() -> None:
    """Turning forwarding on drops the routes learned from router advertisements, unless accept_ra is 2 by then."""
    forwarding, advertisements = "net.ipv6.conf.all.forwarding", "net.ipv6.conf.eth0.accept_ra"
    items = (Sysctl(HOST, forwarding, "1"), Sysctl(HOST, advertisements, "2"))
    assert [item.name for _verb, item in ops((), items) if isinstance(item, Sysctl)] == [
        advertisements,
        forwarding,
    ]


def test_a_state_holds_each_object_once() -> None:
    with pytest.raises(ValueError, match="two different resources"):
        state_of([ROW, ROW._replace(dst="10.98.0.3")])
    assert len(state_of([ROW, ROW])) == 1


def test_an_operation_knows_its_verb_and_subject() -> None:
    assert (Op(None, ROW).verb, Op(ROW, None).verb, Op(ROW, ROW).verb) == ("create", "delete", "change")
    assert Op(ROW, None).subject == ROW
