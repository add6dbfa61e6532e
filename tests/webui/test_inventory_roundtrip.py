# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories out and in again: the same items, however they are placed."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster_hosts import Declared
from crosshost_webui.inventory import emit, foreign, importing, transfer
from crosshost_webui.inventory.emit import Group, Inventory
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.declarations import clusters
from tests.webui.test_inventory_declared import entries


def from_declared(declared: list[Declared]) -> Inventory:
    """What the engine's tests draw, as an inventory: lists that all hosts share in the group."""
    own: dict[str, dict[str, Any]] = {one.name: {} for one in declared}
    shared: dict[str, Any] = {}
    for variable in {name for one in declared for name in one.variables}:
        values = [one.variables.get(variable) for one in declared]
        if all(value is values[0] for value in values) and variable.startswith("crosshost_"):
            shared[variable] = values[0]
        else:
            for one, value in zip(declared, values, strict=True):
                own[one.name][variable] = value
    return Inventory({"all": Group([], [], {}), "crosshost": Group(list(own), [], shared)}, own)


def items_of(inventory: Inventory) -> dict[tuple[str, str], Any]:
    return importing.bodies(transfer.understood(inventory, {}))


@settings(max_examples=150)
@given(clusters())
def test_items_and_inventory_mean_the_same(declared: list[Declared]) -> None:
    """The engine sees the same cluster before and after, and the items come back."""
    before = transfer.understood(from_declared(declared), {})
    bodies = importing.bodies(before)
    rows = entries([(key[0], body) for key, body in bodies.items()])
    again = emit.inventory(rows)
    after = transfer.understood(again, {})
    for field in before.cluster._fields:
        if field not in ("networks", "names", "services", "mesh", "local", "macvlans", "bridges"):
            assert getattr(after.cluster, field) == getattr(before.cluster, field), field
    for field in ("local", "macvlans", "bridges", "services"):
        assert _sorted(getattr(after.cluster, field)) == _sorted(getattr(before.cluster, field)), field
    assert importing.bodies(after) == bodies


def _sorted(found: Any) -> Any:
    return {key: sorted(map(repr, map(_keys, items))) for key, items in found.items()}


def _keys(item: Any) -> Any:
    return dict(sorted(item.items())) if isinstance(item, dict) else item


NAMES = st.sampled_from(["front", "back"])
SUBNETS = st.sampled_from(["10.30.0.0/24", "10.31.0.0/24", "10.32.0.0/24"])


@st.composite
def placed(draw: st.DrawFn) -> list[tuple[str, dict[str, Any]]]:
    """Items that can be on some hosts, on all, or be one host's or group's own, with variables of all sorts."""
    rack = draw(st.lists(st.sampled_from(["h1", "h2", "h3"]), unique=True, min_size=1))
    found: list[tuple[str, dict[str, Any]]] = [
        ("group", {"name": "crosshost"}),
        ("group", {"name": "rack", "children": []}),
        ("group", {"name": "void"}),
    ]
    values = (
        st.none()
        | st.booleans()
        | st.integers(-5, 5)
        | st.text(alphabet="ab {}:#'\"\n\t-é\u2028yno0", max_size=6).filter(
            lambda text: "{{" not in text and "{#" not in text
        )
    )
    variables = st.dictionaries(
        st.sampled_from(["a", "b", "c_d"]),
        values | st.lists(values, max_size=2) | st.dictionaries(st.sampled_from(["x", "y"]), values),
        max_size=3,
    )
    for_all = draw(variables)
    if for_all:
        found.append(("group", {"name": "all", "variables": for_all}))
    for number in (1, 2, 3):
        groups = ["crosshost", *(["rack"] if f"h{number}" in rack else [])]
        body: dict[str, Any] = {
            "name": f"h{number}",
            "groups": groups,
            "vtep": f"10.98.0.{number}",
            "variables": draw(variables),
        }
        if draw(st.booleans()):
            body["labels"] = {"rack": str(number)}
        found.append(("host", body))
    for name, subnet in zip(("front", "back"), ("10.30.0.0/24", "10.31.0.0/24"), strict=True):
        where = draw(st.sampled_from(["none", "all", "hosts", "group", "own", "two"]))
        base = {"name": name, "subnets": [{"subnet": subnet}]}
        some = draw(st.lists(st.sampled_from(["h1", "h2", "h3"]), unique=True, min_size=1, max_size=2))
        more: dict[str, list[dict[str, Any]]] = {
            "none": [], "all": [base], "hosts": [{**base, "hosts": some}], "group": [{**base, "hosts": ["rack"]}],
            "own": [{**base, "host": some[0]}], "two": [{**base, "host": "h1"}, {**base, "host": "h2", "icc": False}],
        }  # fmt: skip
        found += [("bridge", one) for one in more[where]]
    for place in draw(st.lists(st.sampled_from(["", "h1", "h3", "rack"]), unique=True)):
        body = (
            {"subnet": "172.30.0.0/16", "mtu": 1400 + len(place)}
            if draw(st.booleans())
            else {"enabled": False}
        )
        found.append(
            ("gwbridge", {**body, **({} if not place else {"group" if place == "rack" else "host": place})})
        )
    if draw(st.booleans()):
        lan: dict[str, Any] = {
            "name": "lan",
            "parent": "eth0",
            "subnets": [{"subnet": "192.168.1.0/24", "ip_range": "192.168.1.128/25"}],
        }
        own = draw(st.dictionaries(st.sampled_from(["h2", "h3"]), st.sampled_from(["eth1", "eth2"])))
        found.append(("macvlan", {**lan, "parents": own} if own else lan))
    return found


@settings(max_examples=150)
@given(placed())
def test_items_come_back_wherever_they_are_placed(bodies: list[tuple[str, dict[str, Any]]]) -> None:
    rows = entries(bodies)
    listing = emit.inventory(rows).listing()
    back = foreign._inventory("x", json.loads(json.dumps(listing)))
    assert items_of(back) == {key: one.body for key, one in rows.items()}


@settings(max_examples=12)
@given(placed())
def test_items_come_back_through_ansible_itself(bodies: list[tuple[str, dict[str, Any]]]) -> None:
    """Out as YAML, and in by Ansible's own parser."""
    rows = entries(bodies)
    text = transfer.dump(emit.inventory(rows))
    assert items_of(foreign.read_bytes("x.yml", text.encode()).inventory) == {
        key: one.body for key, one in rows.items()
    }
