# SPDX-License-Identifier: GPL-3.0-or-later
"""As test_kill.py, for networks of the other drivers, endpoints in them, services, ingress and names, all on one host: what
is refused at any place leaves everything as it was; what is killed at any place is finished by the next run."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.converge import Outcome
from ansible_collections.crosshost.network.plugins.module_utils.errors import ApplyError
from ansible_collections.crosshost.network.plugins.module_utils.kernel import resolv

from tests.support import engine, eye, faults
from tests.support.child import share
from tests.support.one_of_each import (
    FULL,
    LAN,
    NAMES,
    OTHER,
    RUNS,
    Config,
    Declared,
    bring,
    end,
    names,
    own_system,
    snapshot,
    with_programs,
)
from tests.support.world import Host, world

pytestmark = [pytest.mark.root, pytest.mark.slow]
Breaker = Callable[[int], faults.Places]
# what needs a kind has to wait for it: these come after it, and go before it
NEEDED_BY = {
    "bridge_network": ("endpoint", "service", "ingress", "names"),
    "macvlan": ("endpoint", "service", "ingress", "names"),
    "endpoint": ("service", "ingress", "names"),
}
KINDS = tuple(OTHER)
# sandboxes that ingress has legs in go after it: what it has there is not theirs to put back
GOING = {kind: FULL if kind != "endpoint" else {**FULL, "ingress": []} for kind in KINDS}


def without(kind: str) -> Declared:
    return {one: config for one, config in FULL.items() if one not in (kind, *NEEDED_BY.get(kind, ()))}


class Step:
    """One run of one kind: from a host that is as ``before``, to ``config``."""

    def __init__(self, kind: str, before: Declared, config: Config) -> None:
        self.kind = kind
        self.before = before
        self.config = config

    def run(self) -> Outcome:
        return RUNS[self.kind](self.config, "overridden")


def steps(kind: str) -> list[Step]:
    """It is made, changed and removed."""
    return [
        Step(kind, without(kind), FULL[kind]),
        Step(kind, FULL, OTHER[kind]),
        Step(kind, GOING[kind], []),
    ]


# -- at which places


MOST = 8  # places of one run that are tried, spread evenly: each costs several runs and a look at everything


def chosen(host: Host, step: Step, breaker: Breaker, least: int) -> list[int]:
    """The places of a run to try. The host is then as after it."""

    def count() -> int:
        with_programs()
        places = breaker(-1)
        step.run()
        return places.count

    number: int = host.call(count)
    assert number >= least, f"only {number} places: the harness misses writes"
    return sorted({place * number // MOST for place in range(MOST)} | {number - 1})


def share_out(some: list[Step], work: Callable[[Host, Step], None]) -> None:
    """Do the work for each of the steps, in a world of its own."""
    engine.warm()

    def one(worker: int, _workers: int) -> None:
        with world() as made:
            made[1].call(own_system)
            work(made[1], some[worker])

    share(one, len(some))


def inside(host: Host, function: Callable[..., Any], *args: Any) -> Any:
    def run() -> Any:
        with_programs()
        return function(*args)

    return host.call(run)


# -- refused


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_anywhere_leaves_all_as_it_was(kind: str) -> None:
    """The error names the operation, as the line that the plan has for it."""

    def work(host: Host, step: Step) -> None:
        inside(host, bring, step.before)
        was = inside(host, snapshot)
        targets = chosen(host, step, faults.refuse_at, 3)
        lines = inside(host, planned, step)
        for target in targets:
            error = host.call(refused, step, target)
            assert error, f"place {target} was refused, and nobody noticed"
            assert error.endswith("; everything done before it was undone"), f"place {target}: {error}"
            assert error.isprintable()
            words = error.partition(": ")[2]
            # systemd and the last look have words of their own
            named = (*(f"{line}: " for line in lines), "unit ", "the kernel does not show")
            assert words.startswith(named), f"place {target}: {error}"
            wrong = eye.differences(was, inside(host, snapshot))
            assert not wrong, f"place {target}: {error}: afterwards:\n{wrong}"

    share_out(steps(kind), work)


def planned(step: Step) -> list[str]:
    """The lines of the step's plan; the host is then as before."""
    bring(step.before)
    lines = step.run().commands
    bring(step.before)
    return lines


def refused(step: Step, target: int) -> str:
    """The error's line."""
    with_programs()
    faults.refuse_at(target)
    try:
        step.run()
    except ApplyError as error:
        return str(error)
    return ""


# -- killed


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_killed_anywhere_is_finished_by_the_next_run(kind: str) -> None:
    """As a run in peace would have ended; and the run after that has nothing to do."""

    def work(host: Host, step: Step) -> None:
        inside(host, bring, step.before)
        before = inside(host, snapshot)
        targets = chosen(host, step, faults.kill_at, 5)
        expected = inside(host, snapshot)
        for target in targets:
            inside(host, bring, step.before)
            kill(host, step, target)
            inside(host, step.run)
            wrong = eye.differences(expected, inside(host, snapshot))
            assert not wrong, f"killed at place {target}: after the next run:\n{wrong}"
            again = inside(host, step.run)
            assert not again.changed, f"killed at place {target}: a second run does {again.commands}"
        inside(host, bring, step.before)
        wrong = eye.differences(before, inside(host, snapshot))
        assert not wrong, f"the way back leaves:\n{wrong}"

    share_out(steps(kind), work)


def test_what_is_killed_anywhere_is_removed_by_the_next_run() -> None:
    """Although nothing is recorded of it."""

    def work(host: Host, step: Step) -> None:
        inside(host, bring, step.before)
        before = inside(host, snapshot)
        targets = chosen(host, step, faults.kill_at, 5)
        inside(host, bring, step.before)
        for target in targets:
            kill(host, step, target)
            inside(host, bring, step.before)
            wrong = eye.differences(before, inside(host, snapshot))
            assert not wrong, f"killed at place {target}: after the next run:\n{wrong}"

    share_out([steps(kind)[0] for kind in ("bridge_network", "macvlan", "service")], work)


def kill(host: Host, step: Step, target: int) -> None:
    def child() -> None:
        with_programs()
        faults.kill_at(target)
        step.run()

    ended = host.fork(child)
    assert ended.signal == signal.SIGKILL, f"place {target} was not reached: {ended}"


# -- what these faults brought to light


def test_an_endpoint_that_goes_takes_its_own_way_along_and_no_other() -> None:
    """The host's route to an address outside of the range that is its own."""
    two = [end("lan", "m", ip="10.98.0.150"), end("lan", "n", ip="10.98.0.151")]
    with world() as made:
        host = made[1]
        for state, config in (("deleted", two[:1]), ("overridden", two[1:])):
            host.call(engine.macvlans, [LAN])
            host.call(engine.endpoints, two)
            host.call(engine.endpoints, config, state)
            ways = host.run("ip", "route")
            assert "10.98.0.151 dev" in ways and "10.98.0.150" not in ways, state
            assert not host.call(engine.endpoints, two[1:], "overridden").changed


@pytest.mark.parametrize("replaced", [False, True])
def test_a_program_in_a_named_sandbox_keeps_the_host_s_resolv_conf(replaced: bool) -> None:
    """ip-netns mounts the sandbox's file over it for the program: there is nothing to remove in its place."""
    with world() as made:
        host = made[1]
        host.call(own_system)
        inside(host, bring, FULL)
        argv = ["ip", "netns", "exec", "t1", "sleep", "600"]
        pid = host.call(lambda: subprocess.Popen(argv, start_new_session=True).pid)
        try:
            seen = f"/proc/{pid}/root/etc/resolv.conf"
            deadline = time.monotonic() + 10
            while not host.run("cat", seen).startswith("# crosshost"):
                assert time.monotonic() < deadline
            if replaced:
                host.run("sh", "-ec", "cd /etc/netns/t1; cp resolv.conf other; mv other resolv.conf")

            def run(config: Config) -> list[str]:
                os.environ["PATH"] = f"/run/programs:{os.environ['PATH']}"
                resolv.own_files = functools.partial(_own_files, resolv.own_files, pid)
                return names(config, "overridden").commands

            assert host.call(run, [NAMES]) == []
            assert not [line for line in host.call(run, []) if "/proc/" in line]
            assert host.run("cat", "/etc/resolv.conf")
        finally:
            os.kill(pid, signal.SIGKILL)


def _own_files(real: Callable[[], Iterator[Any]], pid: int) -> Iterator[Any]:
    """Of this process alone: the machine's others are not this host's."""
    listdir = os.listdir
    os.listdir = lambda path: [str(pid)] if path == "/proc" else listdir(path)  # type: ignore[assignment,misc]
    try:
        yield from real()
    finally:
        os.listdir = listdir
