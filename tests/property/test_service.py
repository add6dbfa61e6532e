# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever services are declared: weights are exact, plans lead from one set to any other, and every error is a line."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.compile import service as compiled
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.plan import apply_to, plan
from ansible_collections.crosshost.network.plugins.module_utils.render import commands
from ansible_collections.crosshost.network.plugins.module_utils.resources import State, state_of
from ansible_collections.crosshost.network.plugins.module_utils.spec.peers import reserved
from ansible_collections.crosshost.network.plugins.module_utils.spec.service import (
    OPTIONS,
    Bounds,
    Service,
    Task,
    parse_all,
)
from ansible_collections.crosshost.network.plugins.module_utils.spec.subnets import parse_subnets
from hypothesis import given, settings
from hypothesis import strategies as st

SUBNETS = parse_subnets(
    "overlay_network web", [{"subnet": "10.50.0.0/24", "vni": 7}, {"subnet": "fd50::/64"}]
)
NETWORKS = {"web": Bounds(SUBNETS, reserved(SUBNETS))}

weights = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 1000)), max_size=6)
affinities = st.sampled_from(["none", "source"])


@st.composite
def tasks(draw: st.DrawFn) -> tuple[Task, ...]:
    """Tasks with addresses of one family or both."""
    found = []
    for number, weight in enumerate(draw(weights)):
        families = draw(st.sampled_from(["4", "6", "46"]))
        ip, ip6 = f"10.50.0.{number + 10}", f"fd50::{number + 10}"
        found.append(
            Task(f"t{number}", ip if "4" in families else "", ip6 if "6" in families else "", weight)
        )
    return tuple(found)


@st.composite
def services(draw: st.DrawFn) -> list[Service]:
    names = draw(st.lists(st.sampled_from("abcde"), unique=True))
    numbers = draw(st.permutations(range(5)))  # an address may go from one service to another
    return [
        Service(
            name, "web", "vip",
            f"10.50.0.{100 + numbers[place]}", draw(st.sampled_from(["", f"fd50::{100 + numbers[place]}"])),
            draw(tasks()), draw(affinities),
        )
        for place, name in enumerate(names)
    ]  # fmt: skip


def drawn(rule: str) -> Iterator[str]:
    """Where a rule sends each number that may be drawn, read from its JSON alone."""
    (statement,) = json.loads(rule)
    address = statement["dnat"]["addr"]
    if isinstance(address, str):
        yield address
        return
    ((_kind, key),) = address["map"]["key"].items()
    members = {}
    for number, target in address["map"]["data"]["set"]:
        first, last = number["range"] if isinstance(number, dict) else (number, number)
        assert first <= last and (isinstance(number, int) or first < last), "not as nft shows it"
        for one in range(first, last + 1):
            assert one not in members
            members[one] = target
    assert sorted(members) == list(range(key["mod"])), "a number leads nowhere, or is never drawn"
    yield from members.values()


@given(tasks(), affinities)
@settings(max_examples=100)
def test_each_task_is_drawn_by_its_weight(found: tuple[Task, ...], affinity: str) -> None:
    service = Service("s", "web", "vip", "10.50.0.100", "fd50::100", found, affinity)
    for part, own in zip(compiled.balancing(service), (lambda t: t.ip, lambda t: t.ip6), strict=True):
        wanted = {own(task): task.weight for task in found if own(task) and task.weight}
        if not wanted:
            assert [list(rule[-1]) for rule in map(json.loads, part.rules)] == [["reject"], ["reject"]]
            continue
        (rule,) = part.rules
        counts = Counter(drawn(rule))
        assert counts.keys() == wanted.keys()
        total, everything = sum(counts.values()), sum(wanted.values())
        assert all(counts[ip] * everything == weight * total for ip, weight in wanted.items())


def whole(found: list[Service], sandboxes: list[str]) -> State:
    parts = [part for one in found for part in compiled.balancing(one)]
    items = [
        item for box in sandboxes if parts for item in (*compiled.base(box), *compiled.resources(box, parts))
    ]
    return state_of(items)


@given(services(), services(), st.lists(st.sampled_from(["box", "/proc/7/ns/net"]), unique=True, min_size=1))
@settings(max_examples=100)
def test_a_plan_leads_from_any_services_to_any_others(
    before: list[Service], after: list[Service], sandboxes: list[str]
) -> None:
    one, other = whole(before, sandboxes), whole(after, sandboxes)
    ops = plan(one, other)
    assert apply_to(one, ops) == other
    assert (ops == []) == (one == other)
    assert all(line.isprintable() for line in commands(ops))
    assert plan(other, other) == []


FULL: dict[str, Any] = {
    "network": "web",
    "name": "shop",
    "mode": "vip",
    "vip": "10.50.0.100",
    "vip6": "fd50::100",
    "tasks": [{"name": "a", "ip": "10.50.0.11", "ip6": "fd50::11", "weight": 1}, {"ip": "10.50.0.12"}],
    "affinity": "source",
}
words = st.one_of(
    st.text(max_size=10),
    st.ip_addresses().map(str),
    st.sampled_from(
        ["10.50.0.1", "10.50.0.100", "fd50::11", "vip", "dnsrr", "web", "..", "a/b", "\n", "\x1b[2J"]
    ),
)
plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words)
anything = st.recursive(
    plain,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=6,
)
TASK = ("name", "ip", "ip6", "weight")
places = st.one_of(
    st.tuples(st.sampled_from(OPTIONS)), st.tuples(st.just("tasks"), st.integers(0, 1), st.sampled_from(TASK))
)


def outcome(items: list[Any]) -> None:
    try:
        parsed = parse_all(items, NETWORKS)
    except SpecError as error:
        assert str(error).isprintable()
        assert str(error).startswith("service ")
        return
    for resource in whole(parsed, ["box"]).values():
        assert repr(resource).isprintable()


@given(st.lists(st.tuples(places, anything), min_size=1, max_size=3), st.booleans())
@settings(max_examples=400)
def test_a_good_declaration_with_some_values_replaced(
    changes: list[tuple[tuple[Any, ...], Any]], beside: bool
) -> None:
    item = copy.deepcopy(FULL)
    for path, value in changes:
        parent: Any = item
        try:
            for step in path[:-1]:
                parent = parent[step]
            parent[path[-1]] = value
        except (TypeError, KeyError, IndexError):
            continue  # an earlier change took this place away
    outcome([item, FULL] if beside else [item])


@given(st.dictionaries(st.one_of(st.sampled_from(OPTIONS), words), anything, max_size=6))
def test_any_mapping(item: dict[str, Any]) -> None:
    outcome([item])
