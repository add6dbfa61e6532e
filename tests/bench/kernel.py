# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures 1 to 3: whole converges against iproute2's batch modes, in private mount and network namespaces.

Each measurement is made in a forked process of its own. Python's start is not in it (figure 4 has it), everything else is:
parsing, planning, writing, reading back, and the record, which is synchronised to a real disk.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.crosshost.network.plugins.module_utils import record
from ansible_collections.crosshost.network.plugins.module_utils.converge import converge
from ansible_collections.crosshost.network.plugins.module_utils.kernel.apply import Executor
from ansible_collections.crosshost.network.plugins.module_utils.kinds.overlay import OverlayKind

from tests.support.child import CLONE_NEWNET, call, system_call
from tests.support.world import Host, world

from . import batch
from .figures import BenchError, Figure

_SAMPLE = 20  # networks of a thousand whose final states are compared
_TIMEOUT = 240.0  # seconds a measurement may take before it counts as failed
_MS_BIND = 0x1000


class Spent(NamedTuple):
    """Seconds of a converge, those of them in which the kernel was written to, and whether anything was changed."""

    whole: float
    kernel: float
    changed: bool


@contextmanager
def private_host(folder: Path) -> Iterator[Host]:
    """A host of its own whose records lie on the disk of ``folder``. It is gone when this returns, namespaces and all."""
    with tempfile.TemporaryDirectory(dir=folder) as disk, world(1) as made:

        def mount() -> None:
            os.mkdir(record.STATE_DIR)
            system_call("mount", disk.encode(), record.STATE_DIR.encode(), None, _MS_BIND, None)

        made[1].call(mount)
        yield made[1]
    _wait_until_gone()


def _wait_until_gone() -> None:
    """Wait until the kernel has taken down what was let go: it does so later, and it must not count for the next."""
    call(_probe, _TIMEOUT)


def _probe() -> None:
    # Namespaces go in the order in which they were let go, so one more is let go, and its veth pair watched.
    system_call("unshare", CLONE_NEWNET)
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout
    holder.stdout.readline()
    batch.run(["ip", "link", "add", "probe", "type", "veth", "peer", "name", "far", "netns", str(holder.pid)])
    holder.communicate()
    while "probe:" in Path("/proc/thread-self/net/dev").read_text():
        time.sleep(0.05)


def _converge(declared: list[dict[str, Any]]) -> Spent:
    config = json.loads(json.dumps(declared))  # as a module gets it: in memory of its own
    kernel = 0.0
    run = Executor.run

    def clocked(executor: Executor, ops: Any) -> None:
        nonlocal kernel
        begun = time.perf_counter()
        run(executor, ops)
        kernel += time.perf_counter() - begun

    Executor.run = clocked  # type: ignore[method-assign]  # the process ends right after
    begun = time.perf_counter()
    outcome = converge(OverlayKind({"data_path_address": batch.VTEP}), config, "overridden")
    return Spent(time.perf_counter() - begun, kernel, outcome.changed)


def timed(commands: list[list[str]]) -> float:
    begun = time.perf_counter()
    for argv in commands:
        done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise BenchError(f"{' '.join(argv)}: {done.stderr.decode(errors='replace').strip()[:300]}")
    return time.perf_counter() - begun


def within(host: Host, function: Callable[..., Any], *args: Any) -> Any:
    return host.call(function, *args, timeout=_TIMEOUT)


def _expect(spent: Spent, changed: bool) -> Spent:
    if spent.changed is not changed:
        raise BenchError(f"a converge says changed={spent.changed}, which is wrong here")
    return spent


def networks(folder: Path, count: int, pairs: int) -> list[Figure]:
    """First converges of ``count`` networks, and the same again with nothing to change."""
    config = batch.networks(count)
    firsts, agains, others = [], [], []
    for place in range(pairs):
        for ours in (True, False) if place % 2 == 0 else (False, True):
            with private_host(folder) as host:
                if ours:
                    firsts.append(_expect(within(host, _converge, config), True).whole)
                    agains.append(_expect(within(host, _converge, config), False).whole)
                    mine = within(host, _sample, config)
                else:
                    others.append(within(host, _script, config))
                    theirs = within(host, _sample, config)
        _same(mine, theirs)
    what = f"{count:,} networks"
    return [
        Figure("networks", f"{what}: first converge, and ip -batch", firsts, others, "s", 1.5),
        Figure("networks-again", f"{what}: nothing to change, and the first", agains, firsts, "s", 0.5),
    ]


def _script(config: list[dict[str, Any]]) -> float:
    argv = batch.write_script(config, Path("/run/batch"))
    return timed([argv])


def _sample(config: list[dict[str, Any]]) -> dict[str, Any]:
    names = [
        f"xh-{item['name']}" for item in itertools.islice(config, 0, None, max(1, len(config) // _SAMPLE))
    ]
    return {name: batch.state_of(name) for name in names}


def _same(ours: Any, other: Any) -> None:
    found = batch.first_difference(ours, other)
    if found:
        raise BenchError(f"the two sides did not write the same: {found}")


def rows(folder: Path, count: int, pairs: int) -> list[Figure]:
    """Rows of one network: written by a converge, again with nothing to change, and by the batch tools."""
    network = {"name": "big", "subnets": [{"subnet": "10.100.0.0/16", "vni": 77}]}
    ends = batch.endpoints(count)
    empty, full = [{**network, "endpoints": []}], [{**network, "endpoints": ends}]
    firsts, agains, others = [], [], []
    with private_host(folder) as host:
        within(host, _converge, empty)
        commands = within(host, batch.write_rows, ends, "vx77", Path("/run/rows"))
        for place in range(pairs):
            for ours in (True, False) if place % 2 == 0 else (False, True):
                if ours:
                    firsts.append(_expect(within(host, _converge, full), True))
                    agains.append(_expect(within(host, _converge, full), False))
                    mine = within(host, batch.rows_of, "xh-big")
                else:
                    others.append(within(host, timed, commands))
                    theirs = within(host, batch.rows_of, "xh-big")
                _expect(within(host, _converge, empty), True)
                time.sleep(0.5)
            if len(mine) != 2 * count:
                raise BenchError(f"{2 * count} rows were to be written, the kernel has {len(mine)}")
            _same(mine, theirs)
    what = f"{count:,} FDB and {count:,} neighbour rows"
    whole = [spent.whole for spent in firsts]
    return [
        Figure("rows", f"{what}: whole converge, and the batch tools", whole, others, "s", 1.0),
        Figure(
            "rows-kernel",
            "... of it writing to the kernel",
            [spent.kernel for spent in firsts],
            others,
            "s",
            None,
        ),
        Figure(
            "rows-again",
            f"{what}: nothing to change, and the first",
            [spent.whole for spent in agains],
            whole,
            "s",
            0.5,
        ),
    ]
