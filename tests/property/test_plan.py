# SPDX-License-Identifier: GPL-3.0-or-later
"""Laws of the planner, on thousands of random pairs of states. A failing pair is made small before it is shown."""

from __future__ import annotations

import pytest
from ansible_collections.crosshost.network.plugins.module_utils import render
from ansible_collections.crosshost.network.plugins.module_utils.plan import Op, apply_to, plan
from ansible_collections.crosshost.network.plugins.module_utils.resources import Link, Netns, State

from tests.support.model import Kernel
from tests.support.shrinking import shrink
from tests.support.states import pair

CHUNKS, PER_CHUNK = 12, 250


def broken_law(before: State, after: State) -> str:
    """The first law that the plans between two states break, or ""."""
    ops = plan(before, after)
    if apply_to(before, ops) != after:
        return "the plan does not lead to the desired state"
    if plan(after, after):
        return "a state that is as desired still gets a plan"
    if apply_to(after, plan(after, before)) != before:
        return "the way back does not lead back"
    try:
        if Kernel(before).run(ops) != after:
            return "step by step, the operations lead elsewhere"
        if Kernel(after).run(plan(after, before)) != before:
            return "step by step, the way back leads elsewhere"
    except AssertionError as error:
        return f"a step is refused: {error}"
    if len({(op.verb, op.subject) for op in ops}) != len(ops):
        return "an operation is there twice"
    return "" if bool(ops) == (before != after) else "changed and unchanged are mixed up"


def show(before: State, after: State, law: str) -> str:
    small_before, small_after = shrink((before, after), lambda one, two: bool(broken_law(one, two)))
    ops: list[Op] = plan(small_before, small_after)
    lines = [law, "small pair, now: " + broken_law(small_before, small_after), "before:"]
    lines += [f"  {item}" for item in small_before.values()]
    lines += ["after:", *(f"  {item}" for item in small_after.values()), "plan:"]
    return "\n".join([*lines, *(f"  {line}" for line in render.commands(ops))])


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_plans_lead_there_and_back_in_an_order_that_a_kernel_accepts(chunk: int) -> None:
    for seed in range(chunk * PER_CHUNK, (chunk + 1) * PER_CHUNK):
        before, after = pair(seed, wide=True)
        law = broken_law(before, after)
        assert not law, f"seed {seed}: {show(before, after, law)}"


def test_the_generated_pairs_are_worth_something() -> None:
    """They hold every kind of resource, every verb, and pairs that have much in common."""
    kinds: set[str] = set()
    links: set[str] = set()
    twins: set[bool] = set()
    verbs: set[tuple[str, str]] = set()
    common = sizes = 0
    for seed in range(300):
        before, after = pair(seed, wide=True)
        sizes += len(before)
        common += len([k for k in before if before[k] == after.get(k)])
        kinds |= {type(item).__name__ for item in before.values()}
        links |= {item.kind for item in before.values() if isinstance(item, Link)}
        twins |= {bool(item.of) for item in before.values() if isinstance(item, Netns)}
        verbs |= {(op.verb, type(op.subject).__name__) for op in plan(before, after)}
    assert kinds == {
        "Netns",
        "Link",
        "Address",
        "Route",
        "Neighbour",
        "FdbEntry",
        "Sysctl",
        "NftChain",
        "NftMap",
        "NftElement",
        "File",
        "Record",
    }
    assert links == {"bridge", "vxlan", "veth", "macvlan"}
    assert twins == {False, True}
    changed = {kind for verb, kind in verbs if verb == "change"}
    assert changed == kinds - {"Address", "NftMap"}
    assert sizes / 300 > 15
    assert common > sizes * 0.2
