# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is refused at any place leaves everything as it was; one that is killed at any place is finished by the
next, and nothing is left over."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils import record
from ansible_collections.crosshost.network.plugins.module_utils.errors import ApplyError

from tests import checker
from tests.support import engine, eye, faults
from tests.support.child import Ended, share
from tests.support.scenarios import CHANGED, DEFAULTS, ENDS, ENDS_CHANGED, GWBRIDGE, THREE, declared
from tests.support.world import Host, command, world

pytestmark = [pytest.mark.root, pytest.mark.slow]
NOTHING = declared([])
Config = list[dict[str, Any]]


def overlays(config: Config) -> Callable[[], object]:
    return lambda: engine.overlays(config, "overridden", DEFAULTS)


# -- refused: (before, run) for networks, gateway bridge and endpoints

CREATE = (NOTHING, overlays(THREE))
DELETE = (declared(THREE), lambda: engine.overlays([], "deleted"))
JOIN = (declared(THREE, [], [GWBRIDGE]), lambda: engine.endpoints(ENDS, "overridden"))
MOVE = (declared(THREE, ENDS, [GWBRIDGE]), lambda: engine.endpoints(ENDS_CHANGED, "overridden"))
SHIFT = (declared(THREE, ENDS, [GWBRIDGE]), overlays(CHANGED))
STRAND = (declared(THREE, ENDS, [GWBRIDGE]), lambda: engine.overlays([], "deleted"))
LEAVE = (declared(THREE, ENDS, [GWBRIDGE]), lambda: engine.endpoints([], "deleted"))
BRIDGE = (
    declared(THREE, [], [GWBRIDGE]),
    lambda: engine.gwbridges([{**GWBRIDGE, "icc": True, "mtu": 1400}], "overridden"),
)
UNBRIDGE = (declared(THREE, [], [GWBRIDGE]), lambda: engine.gwbridges([], "deleted"))
STEPS = {"create": CREATE, "delete": DELETE, "join": JOIN, "move": MOVE, "leave": LEAVE, "strand": STRAND, "shift": SHIFT, "bridge": BRIDGE, "unbridge": UNBRIDGE}  # fmt: skip
LEAST = {
    "create": 40,
    "change": 25,
    "delete": 10,
    "join": 30,
    "move": 15,
    "leave": 6,
    "strand": 8,
    "shift": 25,
    "bridge": 2,
    "unbridge": 2,
}


def refused(run: Callable[[], object], target: int) -> tuple[str, int]:
    """The error's line, or "" when the run has fewer places."""
    places = faults.refuse_at(target)
    try:
        run()
    except ApplyError as error:
        return str(error), places.count
    return "", places.count


@pytest.mark.parametrize("name", STEPS)
def test_a_refusal_anywhere_leaves_all_as_it_was(name: str) -> None:
    before, run = STEPS[name]
    engine.warm()

    def work(worker: int, workers: int) -> int:
        with world() as made:
            return refuse_everywhere(made[1], before, run, range(worker, 10_000, workers))

    places = max(share(work))
    assert places >= LEAST[name], f"only {places} places: the harness misses writes"


def refuse_everywhere(
    host: Host, before: dict[str, Any], run: Callable[[], object], targets: Iterable[int]
) -> int:
    """The number of places of the run, each of the targets having been refused once."""
    host.call(engine.everything, before)
    was = host.call(eye.snapshot), host.call(records)
    for target in targets:
        error, count = host.call(refused, run, target)
        if not error:
            assert target >= count, f"place {target} of {count} was refused, and nobody noticed"
            return int(count)
        assert error.endswith("everything done before it was undone"), f"place {target}: {error}"
        assert error.isprintable()
        wrong = eye.differences(was[0], host.call(eye.snapshot))
        assert not wrong, f"place {target}: {error}: afterwards:\n{wrong}"
        assert host.call(records) == was[1]
    raise AssertionError("the run has no end")


def records() -> list[Any]:
    return [record.load(kind) for kind in ("overlay_network", "gwbridge", "endpoint")]


# -- killed


def killed(host: Host, run: Callable[[], object], target: int, breaker: Callable[[int], Any]) -> bool:
    """Run and kill at a place; False when the run came to its end before."""

    def child() -> None:
        breaker(target)
        run()

    ended: Ended = host.fork(child)
    if ended.signal == signal.SIGKILL:
        return True
    assert ended.signal == 0
    if ended.error:
        raise ended.error
    return False


def leftovers() -> list[str]:
    """What nothing may leave: half-made files beside the records, and in an empty host anything at all."""
    listed = command(["find", "/run", "/var/lib", "-mindepth", "1", "-not", "-type", "d", "-printf", "%p\n"])
    known = {
        "/run/crosshost.lock",
        *(f"/var/lib/crosshost/{kind}.json" for kind in ("overlay_network", "gwbridge", "endpoint")),
    }
    spaces = {f"/run/netns/{name}" for name in checker.read_host(all_rules=False).spaces}
    return sorted(set(listed.split()) - known - spaces)


FULL = declared(THREE, ENDS, [GWBRIDGE])
OTHER = declared(CHANGED, ENDS_CHANGED, [{**GWBRIDGE, "icc": True, "mtu": 1400}])
Breaker = Callable[[int], Any]


def finish(target: dict[str, Any]) -> list[str]:
    """The next run, and what is wrong after it."""
    engine.everything(target)
    again = any(engine.everything(target))
    return checker.check(target) + leftovers() + ["a second run changes something"] * again


@pytest.mark.parametrize(
    ("before", "after", "following", "breaker", "step", "least"),
    [
        pytest.param(NOTHING, FULL, FULL, faults.kill_at, 1, 60, id="create"),
        pytest.param(FULL, OTHER, OTHER, faults.kill_at, 1, 60, id="change"),
        pytest.param(FULL, NOTHING, NOTHING, faults.kill_at, 1, 20, id="delete"),
        pytest.param(NOTHING, FULL, NOTHING, faults.kill_at, 3, 60, id="create, then delete"),
        pytest.param(FULL, OTHER, FULL, faults.kill_at, 3, 60, id="change, then back"),
        pytest.param(
            NOTHING, FULL, FULL, faults.kill_between_messages, 7, 100, id="create, message by message"
        ),
        pytest.param(
            FULL, OTHER, OTHER, faults.kill_between_messages, 7, 90, id="change, message by message"
        ),
    ],
)
def test_what_is_killed_anywhere_is_finished_by_the_next_run(
    before: dict[str, Any], after: dict[str, Any], following: dict[str, Any], breaker: Breaker, step: int, least: int
) -> None:  # fmt: skip
    """Networks, gateway bridge and endpoints, killed at every ``step``-th place of the whole run."""
    engine.warm()

    def work(worker: int, workers: int) -> int:
        with world() as made:
            return kill_everywhere(
                made[1], before, after, following, breaker, range(worker * step, 10_000, workers * step)
            )

    places = min(share(work))
    assert places >= least, f"only {places} places: the harness misses writes"


def kill_everywhere(
    host: Host, before: dict[str, Any], after: dict[str, Any], following: dict[str, Any], breaker: Breaker, targets: Iterable[int]
) -> int:  # fmt: skip
    """The first of the targets that the run did not reach; it was killed at all the others."""
    host.call(engine.everything, before)
    for target in targets:
        if not killed(host, lambda: engine.everything(after), target, breaker):
            assert host.call(checker.check, after) == []
            return target
        wrong = host.call(finish, following)
        assert not wrong, f"killed at place {target}: after the next run: {wrong}"
        if following is not before:
            host.call(engine.everything, before)
    raise AssertionError("the run has no end")
