# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever ports are declared: weights are exact in every namespace, plans lead from one declaration to any other, and
every error is a line."""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.compile import ingress as compiled
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.plan import apply_to, plan
from ansible_collections.crosshost.network.plugins.module_utils.render import commands
from ansible_collections.crosshost.network.plugins.module_utils.resources import (
    HOST,
    NftChain,
    NftElement,
    State,
    state_of,
)
from ansible_collections.crosshost.network.plugins.module_utils.spec import gwbridge, ingress
from ansible_collections.crosshost.network.plugins.module_utils.spec.service import Task
from hypothesis import given, settings
from hypothesis import strategies as st

BRIDGE = gwbridge.parse({"subnet": "172.30.0.0/16", "subnet6": "fd30::/64"})
BRIDGES = {BRIDGE.name: BRIDGE}
GATE = compiled.Gate(BRIDGE, "172.30.255.254", "fd30::fffe")
MEMBERS = range(1, 6)  # the first two are on this host
weights = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 1000)), max_size=len(MEMBERS))


def address(member: int, families: str) -> dict[str, str]:
    found = {"ip": f"10.255.0.{100 + member}", "ip6": f"fd55::{100 + member}"}
    return {field: text for field, text in found.items() if ("6" if field == "ip6" else "4") in families}


@st.composite
def ports(draw: st.DrawFn) -> list[dict[str, Any]]:
    keys = st.tuples(st.integers(1, 4), st.sampled_from(["tcp", "udp", "sctp"]))
    found = []
    for published, protocol in draw(st.lists(keys, unique=True, max_size=4)):
        tasks = [
            {**address(member, draw(st.sampled_from(["4", "6", "46"]))), "weight": weight}
            for member, weight in zip(MEMBERS, draw(weights))
        ]
        one: dict[str, Any] = {"published": published, "protocol": protocol, "tasks": tasks}
        one["target"] = draw(st.sampled_from([published, 80]))
        one["affinity"] = draw(st.sampled_from(["none", "source"]))
        if draw(st.booleans()):
            local = [{"sandbox": f"s{member}", "weight": draw(st.integers(0, 3))} for member in (1, 2)]
            one.update(keep_client_address=True, local=local[: draw(st.integers(0, 2))])
        found.append(one)
    return found


@st.composite
def items(draw: st.DrawFn) -> dict[str, Any]:
    there = draw(st.sets(st.sampled_from([1, 2])))
    chosen = draw(ports())
    legs = [{"name": f"t{member}", "sandbox": f"s{member}", **address(member, "46")} for member in (1, 2)]
    for one in chosen:
        one["tasks"] = [task for task in one["tasks"] if not _is_of(task, {1, 2} - there)]
    return {
        "name": draw(st.sampled_from(["ingress", "mesh"])),
        "subnets": [{"subnet": "10.255.0.0/24", "vni": 4096}, {"subnet": "fd55::/64"}],
        "address": "10.255.0.11",
        "address6": "fd55::11",
        "endpoints": [{**address(member, "46"), "vtep": "192.0.2.2"} for member in MEMBERS if member > 2],
        "legs": [leg for leg, member in zip(legs, (1, 2)) if member in there],
        "ports": chosen,
    }


def _is_of(task: dict[str, Any], members: set[int]) -> bool:
    return any(task.get(field) == text for member in members for field, text in address(member, "46").items())


def whole(one: ingress.Ingress) -> State:
    spaces = {leg.name: leg.place.word for leg in one.legs}
    near: dict[str, list[Task]] = {}
    for port in one.ports:
        for place, local in enumerate(port.local):
            near.setdefault(port.id, []).append(
                Task(local.place.word, f"172.30.0.{place + 2}", f"fd30::{place + 2}", local.weight)
            )
    return state_of(
        [
            *compiled.compile_sandbox(one, 1450, "5a:00:00:00:00:01"),
            *compiled.compile_tasks(one, spaces, 1450, "5a:00:00:00:00:01"),
            *compiled.compile_host(one, GATE, near),
        ]
    )


def drawn(rule: list[Any]) -> Counter[str]:
    """How often each address is drawn of all numbers that may be, read from the rule's JSON alone."""
    found = rule[-1]["dnat"]["addr"]
    if isinstance(found, str):
        return Counter([found])
    ((_kind, key),) = found["map"]["key"].items()
    counts: Counter[str] = Counter()
    numbers = []
    for number, text in found["map"]["data"]["set"]:
        first, last = number["range"] if isinstance(number, dict) else (number, number)
        numbers += range(first, last + 1)
        counts[text] += last - first + 1
    assert sorted(numbers) == list(range(key["mod"])), "a number leads nowhere, or is never drawn"
    return counts


@given(items())
@settings(max_examples=100)
def test_each_task_is_drawn_by_its_weight(item: dict[str, Any]) -> None:
    one = ingress.parse(item, BRIDGES)
    state = whole(one)
    elements = {(e.netns, e.key): e.target for e in state.values() if isinstance(e, NftElement)}
    chains = {(c.netns, c.name): c for c in state.values() if isinstance(c, NftChain)}
    for port in one.ports:
        key = compiled.key_of(port.protocol, port.published)
        assert (HOST, elements[HOST, key]) in chains
        wanted = {
            family: {
                text: task.weight for task in port.tasks if (text := getattr(task, field)) and task.weight
            }
            for family, field in (("ip", "ip"), ("ip6", "ip6"))
        }
        target = elements.get((ingress.SANDBOX, key))
        found = {}
        for rule in map(json.loads, chains[ingress.SANDBOX, target].rules) if target else ():
            assert rule[0]["match"]["right"] == port.protocol
            assert rule[-1]["dnat"]["port"] == port.target
            found[rule[-1]["dnat"]["family"]] = drawn(rule)
        assert found.keys() == {family for family, shares in wanted.items() if shares}
        for family, counts in found.items():
            total, everything = sum(counts.values()), sum(wanted[family].values())
            assert counts.keys() == wanted[family].keys()
            assert all(counts[ip] * everything == weight * total for ip, weight in wanted[family].items())


@given(items(), items())
@settings(max_examples=100)
def test_a_plan_leads_from_any_declaration_to_any_other(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    one, other = whole(ingress.parse(before, BRIDGES)), whole(ingress.parse(after, BRIDGES))
    ops = plan(one, other)
    assert apply_to(one, ops) == other
    assert (ops == []) == (one == other)
    assert all(line.isprintable() for line in commands(ops))


wild = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 70000), st.text(max_size=5), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["sandbox", "ip", "published", "weight"]), st.integers(), max_size=2),
    st.sampled_from(["10.255.0.11", "10.255.0.101", "fd55::101", "xh_gwbridge", "tcp", "crosshost-ingress"]),
)  # fmt: skip


@given(items(), st.data())
@settings(max_examples=200)
def test_whatever_is_declared_is_understood_or_refused_in_one_line(
    item: dict[str, Any], data: st.DataObject
) -> None:
    broken = copy.deepcopy(item)
    place: Any = broken
    while True:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(wild)
    try:
        ingress.parse(broken, BRIDGES)
    except SpecError as error:
        assert str(error).isprintable()
