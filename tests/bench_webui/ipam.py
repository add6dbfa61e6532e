# SPDX-License-Identifier: GPL-3.0-or-later
"""Allocation: how long one takes and how many there are a second, on SQLite and on PostgreSQL with one client and with eight, and
against NetBox's way, a difference of sets. Each allocation is a transaction of its own and has its entry in the audit log."""

from __future__ import annotations

import ipaddress
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import netaddr
from crosshost_webui.audit.store import Actor
from crosshost_webui.db.base import now
from crosshost_webui.db.engine import Database
from crosshost_webui.ipam import service, store, store_scopes
from crosshost_webui.ipam.check import check
from crosshost_webui.ipam.defaults import address_pool
from crosshost_webui.ipam.models import Block
from crosshost_webui.ipam.service import Allocation
from crosshost_webui.ipam.store import Entry
from sqlalchemy import insert

from tests.bench.figures import BenchError, Figure
from tests.support.postgres import Postgres, programs

ACTOR = Actor("bench")
P99_MS, RATE_LEAST = 5.0, 1500.0
CLIENTS, CLIENTS_LEAST = 8, 1.5
NETADDR_LEAST = 100.0
NETADDR_USED = 10_000
NETADDR_CIDR = "10.96.0.0/16"
LARGE_CIDR = "10.0.0.0/11"
PART = 20_000  # rows a statement


def measure(folder: Path, full: int) -> list[Figure]:
    """All figures; ``full`` 0: with a smaller database and fewer samples."""
    samples, used = (5, 1_000_000) if full else (3, 20_000)
    return [
        *on_sqlite(folder, samples, used, 2_000 if full else 500),
        on_postgresql(samples, 300 if full else 100),
        against_netaddr(folder, 3 if full else 1),
    ]


def on_sqlite(folder: Path, samples: int, used: int, count: int) -> list[Figure]:
    """Next free address of a pool that has so many used, a tenth of them released at random again."""
    with sqlite(folder / "rate.db") as database:
        pool_id = add_pool(database, LARGE_CIDR)
        chance = random.Random(1)  # noqa: S311
        fill(database, pool_id, LARGE_CIDR, sorted(chance.sample(range(int(used * 1.1)), used)))
        times = [allocate(database, pool_id, f"sample {number}", count) for number in range(samples + 1)]
        refuse_faults(database)
    del times[0]  # statements are compiled and the file's pages read
    return [
        Figure(
            "allocate", f"one allocation on SQLite, 99th percentile, of a pool with {used} used",
            [percentile(one, 0.99) * 1000 for one in times], [], "ms", P99_MS,
        ),
        Figure("allocate p50", "the same, median", [percentile(one, 0.5) * 1000 for one in times], [], "ms", None),
        Figure(
            "allocate rate", "allocations on SQLite, one after the other", [len(one) / sum(one) for one in times], [], "/s",
            RATE_LEAST, at_least=True,
        ),
    ]  # fmt: skip


def on_postgresql(samples: int, count: int) -> Figure:
    """Eight processes with a pool each against one process alone, each with ``count`` allocations."""
    if programs() is None:
        raise BenchError("PostgreSQL's programs are not installed (make setup)")
    server = Postgres()
    try:
        url = server.fresh()
        database = Database(url)
        database.create()
        pools = [add_pool(database, f"10.{number}.0.0/16") for number in range(CLIENTS)]
        eight, one = [], []
        for number in range(samples + 1):
            one.append(together(url, pools[:1], count, f"one {number}"))
            eight.append(together(url, pools, count, f"eight {number}"))
        refuse_faults(database)
        database.close()
    finally:
        server.stop()
    return Figure(
        "allocate clients", f"allocations on PostgreSQL, {CLIENTS} clients on {CLIENTS} pools against one client",
        eight[1:], one[1:], "/s", CLIENTS_LEAST, at_least=True,
    )  # fmt: skip


def against_netaddr(folder: Path, samples: int) -> Figure:
    """Next free address of a /16 with 10,000 used at random: a whole allocation of ours, and of the other way the difference of
    sets alone, without the queries that bring the addresses."""
    block = netaddr.IPNetwork(NETADDR_CIDR)
    slots = sorted(random.Random(2).sample(range(1, 65_535), NETADDR_USED))  # noqa: S311
    used = [netaddr.IPAddress(block.first + slot) for slot in slots]
    ours, other = [], []
    with sqlite(folder / "netaddr.db") as database:
        pool_id = add_pool(database, NETADDR_CIDR)
        fill(database, pool_id, NETADDR_CIDR, slots)
        allocate(database, pool_id, "first", 20)
        for number in range(samples):
            began = time.perf_counter()
            found = next(iter((netaddr.IPSet([block]) - netaddr.IPSet(used)).iter_cidrs()))
            other.append(1 / (time.perf_counter() - began))
            if found.first in {int(one) for one in used}:
                raise BenchError(f"netaddr gave {found}, which is used")
            ours.append(1 / percentile(allocate(database, pool_id, f"sample {number}", 100), 0.5))
        refuse_faults(database)
    return Figure(
        "allocate sets", f"allocations against netaddr's difference of sets, {NETADDR_USED} used", ours, other, "/s",
        NETADDR_LEAST, at_least=True,
    )  # fmt: skip


@contextmanager
def sqlite(path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{path}")
    database.create()
    try:
        yield database
    finally:
        database.close()
        for left in path.parent.glob(f"{path.name}*"):
            left.unlink()


def add_pool(database: Database, cidr: str) -> int:
    """A pool of addresses that is all free; its id."""
    with database.write() as s:
        return store.add_pool(s, address_pool(store_scopes.add_scope(s, "cluster"), cidr, cidr, None)).id


def fill(database: Database, pool_id: int, cidr: str, slots: Sequence[int]) -> None:
    """Use these slots, each for itself."""
    base = ipaddress.ip_network(cidr).network_address
    at = now()
    for begin in range(0, len(slots), PART):
        rows = [
            {
                **Entry("manual", "fill", str(slot))._asdict(), "pool_id": pool_id, "first": slot, "last": slot,
                "value": str(base + slot), "created_at": at,
            }
            for slot in slots[begin : begin + PART]
        ]  # fmt: skip
        with database.write() as s:
            s.execute(insert(Block.__table__), rows)  # type: ignore[arg-type]
    with database.write() as s:
        store.rebuild(s, pool_id)


def allocate(database: Database, pool_id: int, owner: str, count: int) -> list[float]:
    """So many allocations; the seconds of each."""
    found = []
    for number in range(count):
        wanted = Allocation(owner=owner, name=str(number), pool_id=pool_id)
        began = time.perf_counter()
        with database.write() as s:
            service.allocate(s, ACTOR, wanted)
        found.append(time.perf_counter() - began)
    return found


def together(url: str, pools: Sequence[int], count: int, owner: str) -> float:
    """A process for each pool, all at the same time; allocations a second, of all of them."""
    ready, starts = os.pipe()
    told, tell = os.pipe()
    pids = [
        fork(partial(client, url, pool_id, count, f"{owner} {pool_id}", ready, tell, starts))
        for pool_id in pools
    ]
    try:
        for _ in pids:
            if os.read(told, 1) != b"r":
                raise BenchError("a client of PostgreSQL did not start")
        began = time.perf_counter()
        os.write(starts, b"s" * len(pids))
        states = [os.waitpid(pid, 0)[1] for pid in pids]
        took = time.perf_counter() - began
    finally:
        for end in (ready, starts, told, tell):
            os.close(end)
    if any(states):
        raise BenchError("a client of PostgreSQL failed")
    return len(pids) * count / took


def client(url: str, pool_id: int, count: int, owner: str, ready: int, tell: int, starts: int) -> None:
    """In a process of its own: connect, wait until all have, allocate."""
    os.close(starts)
    database = Database(url)
    allocate(database, pool_id, f"{owner} before", 5)
    os.write(tell, b"r")
    os.read(ready, 1)
    allocate(database, pool_id, owner, count)


def fork(function: Callable[[], Any]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    return pid


def refuse_faults(database: Database) -> None:
    with database.read() as s:
        faults = check(s).faults
    if faults:
        raise BenchError(faults[0].text)


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that so many are not above."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
