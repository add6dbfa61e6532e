# SPDX-License-Identifier: GPL-3.0-or-later
"""Sixteen processes at one pool, some of them killed: what was acknowledged is there once, and nothing else is."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from crosshost_webui.db.engine import Database
from crosshost_webui.ipam import store, store_read
from crosshost_webui.ipam.check import check
from crosshost_webui.ipam.models import Block, Pool
from crosshost_webui.ipam.values import Space
from sqlalchemy import select

from tests.webui.support_ipam import add_numbers, entry

PROCESSES, ALLOCATIONS, KILLED = 16, 10_000, 3
SECONDS = 500
SIZE = 2 * ALLOCATIONS
SPACE = Space("vni", 0, "", 1, 1, SIZE)


def start(function: Callable[[], None]) -> int:
    """The id of a forked process that runs the function."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    return pid


def work(url: str, pool_id: int, worker: int, count: int, told: Path) -> None:
    """Allocate one after the other; what is acknowledged is written down, with the slots. Every tenth is released again at once."""
    database = Database(url)
    with told.open("ab", buffering=0) as file:
        for number in range(count):
            name = f"w{worker}-{number}"
            with database.write() as s:
                found = store.take(s, pool_id, SPACE, number % 2, entry(name))
            assert found is not None
            file.write(f"{name} {found.extent.first} {found.extent.last}\n".encode())
            if number % 10 == 9:
                with database.write() as s:
                    store.give_back(s, found.block_id)
                file.write(f"-{name} 0 0\n".encode())
    database.close()


def kill_three(pids: list[int], files: list[Path], wanted: int) -> None:
    """Kill some of the workers, one by one, while all of them are at it."""
    for turn, pid in enumerate(pids[:KILLED]):
        end = time.monotonic() + SECONDS
        while _lines(files[turn]) < (turn + 1) * wanted // (KILLED + 2):
            assert time.monotonic() < end
            time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def acknowledged(files: list[Path]) -> tuple[dict[str, tuple[int, int]], set[str]]:
    """What was allocated by name, and the names of what was released. A last line that was not written to its end counts as none."""
    taken: dict[str, tuple[int, int]] = {}
    released: set[str] = set()
    for path in files:
        for line in path.read_text().splitlines(keepends=True):
            if not line.endswith("\n"):
                continue
            name, first, last = line.split()
            if name.startswith("-"):
                released.add(name[1:])
            else:
                taken[name] = (int(first), int(last))
    return taken, released


@pytest.mark.slow
def test_many_processes_at_one_pool(database: Database, tmp_path: Path) -> None:
    with database.write() as s:
        pool_id = add_numbers(s, SIZE, first=1)
    url = database.url.render_as_string(hide_password=False)
    database.close()
    each = ALLOCATIONS // PROCESSES
    files = [tmp_path / f"worker-{worker}" for worker in range(PROCESSES)]
    pids = [
        start(lambda worker=worker, path=path: work(url, pool_id, worker, each, path))  # type: ignore[misc]
        for worker, path in enumerate(files)
    ]
    ended: dict[int, int] = {}
    try:
        kill_three(pids, files, each)
        for pid in pids:
            ended[pid] = os.waitpid(pid, 0)[1]
    finally:
        for pid in set(pids) - set(ended):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert [os.WTERMSIG(ended[pid]) for pid in pids[:KILLED]] == [signal.SIGKILL] * KILLED
    assert [ended[pid] for pid in pids[KILLED:]] == [0] * (PROCESSES - KILLED)

    taken, released = acknowledged(files)
    with database.read() as s:
        assert check(s).faults == []
        rows = s.execute(select(Block.name, Block.first, Block.last).order_by(Block.first)).all()
        pool = s.get(Pool, pool_id)
    stored = {name: (first, last) for name, first, last in rows}
    assert all(one.last < other.first for one, other in zip(rows, rows[1:], strict=False))
    # a killed worker may have been told of one less than was stored, or of one release less
    kept = {name: slots for name, slots in taken.items() if name not in released}
    apart = set(kept) ^ set(stored)
    assert {name.partition("-")[0] for name in apart} <= {f"w{worker}" for worker in range(KILLED)}
    assert len(apart) <= KILLED
    assert all(stored[name] == slots for name, slots in kept.items() if name in stored)
    assert len(taken) > ALLOCATIONS // 2
    assert pool is not None
    assert pool.used == sum(last - first + 1 for first, last in stored.values())


@pytest.mark.slow
def test_many_processes_ask_for_the_same(database: Database, tmp_path: Path) -> None:
    """An owner and a name are one allocation, whoever asks at the same time."""
    with database.write() as s:
        pool_id = add_numbers(s, SIZE, first=1)
    url = database.url.render_as_string(hide_password=False)
    database.close()

    def ask(path: Path) -> None:
        own = Database(url)
        for number in range(50):
            with own.write() as s:
                found = store.take(s, pool_id, SPACE, 0, entry(f"n{number}"))
            assert found is not None
            with path.open("a") as file:
                file.write(f"{number} {found.extent.first}\n")
        own.close()

    files = [tmp_path / str(worker) for worker in range(8)]
    pids = [start(lambda path=path: ask(path)) for path in files]  # type: ignore[misc]
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * len(pids)
    assert len({path.read_text() for path in files}) == 1
    with database.read() as s:
        assert check(s).faults == []
        assert len(store_read.blocks(s, pool_id, 1000)) == 50
