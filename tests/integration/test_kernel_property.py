# SPDX-License-Identifier: GPL-3.0-or-later
"""Random states in a real kernel: planned, carried out, and looked at by the engine and by other tools."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from ansible_collections.crosshost.network.plugins.module_utils import render
from ansible_collections.crosshost.network.plugins.module_utils.plan import plan
from ansible_collections.crosshost.network.plugins.module_utils.resources import State

from tests.support import engine, eye
from tests.support.child import share
from tests.support.states import pair
from tests.support.world import world

pytestmark = pytest.mark.root
PAIRS, RENDERED = 200, 52
FIRST = "nothing to the first state"


def move(
    before: State, after: State, where: str, allowed: frozenset[eye.Fact] | set[eye.Fact] = frozenset()
) -> None:
    """Carry out the plan between two states; then both eyes must see the second."""
    try:
        engine.execute(plan(before, after))
    except Exception as error:
        reason = getattr(error, "reason", error)
        raise AssertionError(f"{where}: {getattr(error, 'op', '')}: {reason}") from None
    found = engine.observed(after)
    rest = render.commands(plan(found, after))
    assert found == after, f"{where}: the engine sees something else; to do: {rest}"
    if not where.endswith(FIRST):  # where the third move leads again, by a harder way
        compare(after, where, allowed)


def compare(state: State, where: str, allowed: frozenset[eye.Fact] | set[eye.Fact] = frozenset()) -> None:
    found = eye.look()
    wrong = eye.differences(eye.declared(state) | eye.tables(state) | (found & allowed), found)
    assert not wrong, f"{where}: iproute2 and nft see something else:\n{wrong}"


def there_and_back(first: int, count: int) -> None:
    for seed in range(first, first + count):
        one, two = pair(seed, wide=False)
        move({}, one, f"seed {seed}: {FIRST}")
        move(one, two, f"seed {seed}: first to second")
        move(two, one, f"seed {seed}: second to first")
        move(one, {}, f"seed {seed}: first to nothing")


def test_random_states_there_and_back() -> None:
    shared(there_and_back, 10_000, PAIRS)


def shared(function: Callable[[int, int], None], first: int, count: int) -> None:
    """Run the function on shares of these seeds, each in a world of its own."""
    engine.warm()

    def work(worker: int, workers: int) -> None:
        with world() as made:
            made[1].call(function, first + worker * (count // workers), count // workers, timeout=300.0)

    share(work)


def rendered(first: int, count: int) -> None:
    for seed in range(first, first + count):
        one, two = pair(seed, wide=False)
        shell(render.commands(plan({}, one)))
        compare(one, f"seed {seed}: the rendered commands in an empty world")
        assert engine.observed(one) == one
        shell(render.commands(plan(one, two)))
        # the engine also removes its table with the last chain; as a line to type, that would depend on other chains
        compare(two, f"seed {seed}: the rendered change", {("table", "", "inet", "crosshost")})
        move(two, {}, f"seed {seed}: to nothing", {("table", "", "inet", "crosshost")})
        subprocess.run(["nft", "flush", "ruleset"], check=True)


def shell(lines: list[str]) -> None:
    """Every line that is no comment is typed into a shell; none may fail."""
    done = subprocess.run(
        ["sh", "-e"], input="\n".join(lines) + "\n", capture_output=True, text=True, check=False
    )
    if done.returncode:
        traced = subprocess.run(
            ["sh", "-ex"], input="\n".join(lines), capture_output=True, text=True, check=False
        )
        raise AssertionError(f"{done.stderr}\n(again: {traced.stderr[-300:]})\n" + "\n".join(lines))


def test_the_rendered_commands_do_what_the_engine_does() -> None:
    shared(rendered, 20_000, RENDERED)
