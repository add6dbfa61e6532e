# SPDX-License-Identifier: GPL-3.0-or-later
"""A large installation in an embedded database: what the pages are measured on. Declared and allocated by the dashboard's own
services; only what would take hours that way, addresses and results by the million, is written to the tables at once."""

from __future__ import annotations

import ipaddress
import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from crosshost_webui import server
from crosshost_webui.audit.store import Actor
from crosshost_webui.db.base import now
from crosshost_webui.db.engine import WriteSession
from crosshost_webui.inventory import service as inventory
from crosshost_webui.inventory import store as inventory_store
from crosshost_webui.ipam import store as ipam_store
from crosshost_webui.ipam.models import Block, Free, Pool
from crosshost_webui.runs.models import Drift, Event, Plan, Run, RunHost, RunTask, Schedule
from crosshost_webui.settings import Settings
from crosshost_webui.state import State
from sqlalchemy import insert, select, update

T = TypeVar("T")
ACTOR = Actor("seed", "bench")
PART = 20_000  # rows a statement


def batched(items: Iterable[T], count: int) -> Iterator[tuple[T, ...]]:
    rest = iter(items)
    while part := tuple(islice(rest, count)):
        yield part


class Size(NamedTuple):
    """How large. ``addresses`` and ``results``: in all, the declared ones too."""

    hosts: int
    networks: int
    subnets: int
    addresses: int
    runs: int
    results: int

    @property
    def subnets_each(self) -> int:
        return self.subnets // self.networks


FULL = Size(hosts=1_000, networks=1_000, subnets=10_000, addresses=1_000_000, runs=100, results=1_000_000)
QUICK = Size(hosts=100, networks=100, subnets=1_000, addresses=20_000, runs=10, results=20_000)
HOSTS_EACH = 10  # of a network, with an endpoint of it each
MODULES = (
    "firewall_ports",
    "gwbridge",
    "bridge_network",
    "macvlan",
    "overlay_network",
    "endpoint",
    "service",
    "ingress",
)


def seed(data_dir: Path, size: Size, say: Callable[[str], None]) -> None:
    """Fill an empty data directory."""
    state = server.make_state(Settings(data_dir=data_dir, executors=0))
    try:
        for what, part in (
            ("declaration", declare), ("addresses", fill_pools), ("hosts' reports", report), ("runs", add_runs),
            ("drift", add_drift),
        ):  # fmt: skip
            began = time.monotonic()
            part(state, size)
            say(f"seeded {what} in {time.monotonic() - began:.0f} s")
    finally:
        state.close()


def host(number: int) -> str:
    return f"host-{number:04d}"


def declare(state: State, size: Size) -> None:
    """Hosts, networks whose subnets, VNIs and addresses come from the pools, endpoints, and a service for every fifth network;
    then some small changes, so that there is a history."""
    edits = [inventory.Edit("group", "crosshost", {"name": "crosshost"})]
    edits += [
        inventory.Edit("host", host(n), {
            "groups": ["crosshost"], "vtep": str(ipaddress.IPv4Address("192.168.0.0") + n + 1),
            "labels": {"rack": f"r{n // 20}"}, "variables": {"ansible_host": f"{host(n)}.example.net"},
        })
        for n in range(size.hosts)
    ]  # fmt: skip
    for n in range(size.networks):
        members = [host((n * HOSTS_EACH + k) % size.hosts) for k in range(HOSTS_EACH)]
        body: dict[str, Any] = {
            "name": f"net-{n:04d}",
            "subnets": [{} for _ in range(size.subnets_each)],
            "hosts": members,
        }
        edits.append(inventory.Edit("overlay", None, body))
        edits += [
            inventory.Edit("endpoint", None, {"network": body["name"], "host": one, "name": f"web-{k}", "sandbox": f"web-{k}-{n}"})
            for k, one in enumerate(members)
        ]  # fmt: skip
        if n % 5 == 0:
            edits.append(
                inventory.Edit(
                    "service", None, {"network": body["name"], "name": "web", "tasks": ["web-0", "web-1"]}
                )
            )
    lan = {"name": "lan", "parent": "eth1", "subnets": [{"subnet": "198.18.0.0/24", "gateway": "198.18.0.1"}]}
    edits += [
        inventory.Edit("macvlan", None, lan),
        inventory.Edit("bridge", None, {"name": "local", "host": host(1), "subnets": [{}]}),
        inventory.Edit("gwbridge", None, {}),
        inventory.Edit("ingress", None, {"subnets": [{"subnet": "198.19.0.0/16"}]}),
    ]
    with state.db.write() as s:
        inventory.change(s, ACTOR, edits, "the first import", is_admin=True)
    for n in range(3):
        with state.db.write() as s:
            body = dict(inventory.one(s, "host", host(n)).body) | {
                "labels": {"rack": f"r{n // 20}", "turn": str(n)}
            }
            inventory.change(s, ACTOR, [inventory.Edit("host", host(n), body)], f"turn {n}", is_admin=True)


def fill_pools(state: State, size: Size) -> None:
    """Addresses that programs have allocated beside the declaration, the same number in each subnet."""
    with state.db.read() as s:
        pools = s.scalars(
            select(Pool)
            .where(Pool.block_id.is_not(None), Pool.kind == "address", Pool.version == 4)
            .order_by(Pool.id)
        ).all()
        declared = sum(one.used for one in pools)
    each = max(0, size.addresses - declared) // len(pools)
    for part in batched(pools, 500):
        with state.db.write() as s:
            ids = [one.id for one in part]
            rows = list(_blocks(s, part, each))
            s.execute(insert(Block), rows)
            s.execute(update(Pool).where(Pool.id.in_(ids)).values(used=Pool.used + each))
            for pool_id in ids:
                ipam_store.rebuild(s, pool_id)


def _blocks(s: WriteSession, pools: tuple[Pool, ...], each: int) -> Iterator[dict[str, Any]]:
    """``each`` free addresses of each pool, the lowest ones."""
    at = now()
    query = (
        select(Free.pool_id, Free.first, Free.last)
        .where(Free.pool_id.in_([one.id for one in pools]))
        .order_by(Free.first)
    )
    free: dict[int, list[tuple[int, int]]] = {one.id: [] for one in pools}
    for pool_id, first, last in s.execute(query):
        free[pool_id].append((first, last))
    for pool in pools:
        assert pool.base is not None
        base = ipaddress.ip_address(pool.base)
        slots = [slot for first, last in free[pool.id] for slot in range(first, min(last, first + each) + 1)][
            :each
        ]
        assert len(slots) == each, f"pool {pool.name} has room for {len(slots)} addresses only"
        for slot in slots:
            yield {
                "pool_id": pool.id, "first": slot, "last": slot, "value": str(base + slot), "owner_type": "manual",
                "owner_id": f"machine {slot}", "name": "address", "label": f"machine {slot}", "state": "active",
                "automatic": True, "note": "", "who": "seed", "revision_id": None, "created_at": at, "released_at": None,
            }  # fmt: skip


def report(state: State, size: Size) -> None:
    """What each host says of itself, and the addresses that were read back on it."""
    with state.db.read() as s:
        found = inventory.items(s)
    ends: dict[str, list[tuple[str, str, str, str, str]]] = {}
    for (kind, _), item in found.items():
        if kind == "endpoint":
            body = item.resolved
            ends.setdefault(body["host"], []).append(
                (body["network"], body["name"], "ip", "address", body["ip"])
            )
    for part in batched(range(size.hosts), 100):
        with state.db.write() as s:
            for n in part:
                body = {
                    "interfaces": {"eth0": {"mtu": 1500, "addresses": [f"192.168.{(n + 1) >> 8}.{(n + 1) & 255}/16"]}},
                    "default": "eth0", "routes": ["192.168.0.0/16"], "nameservers": ["192.168.255.253"],
                    "kernel": "6.1.0", "python": "3.11.2", "engines": [],
                }  # fmt: skip
                inventory_store.report(s, host(n), 1, body)
                inventory_store.saw(s, host(n), "endpoint", 1, ends.get(host(n), []))


def add_runs(state: State, size: Size) -> None:
    """Runs of all hosts, every second one a check that would change something; each with the same number of results."""
    tasks = size.results // size.runs // size.hosts
    began = now() - timedelta(hours=size.runs)
    for number in range(1, size.runs + 1):
        at = began + timedelta(hours=number - 1)
        is_check = number % 2 == 0
        with state.db.write() as s:
            _add_run(s, number, at, is_check, size, tasks)


def _add_run(s: WriteSession, number: int, at: Any, is_check: bool, size: Size, tasks: int) -> None:
    results = list(_results(number, at, size, tasks))
    counts = {"ok": 0, "changed": 0, "failed": 0, "unreachable": 0, "skipped": 0}
    for one in results:
        counts[one["status"]] += 1
    last = len(results) + 1
    s.execute(insert(Run), [{
        "id": number, "playbook": "site", "origin": "page", "uuid": None, "revision_id": 1, "inventory_digest": "0" * 64,
        "limit": "", "tags": "", "check_mode": is_check, "diff_mode": True, "variables": {}, "secrets": [], "forks": 20,
        "command": ["ansible-playbook", "crosshost.network.site"], "who": "seed", "status": "failed" if counts["failed"] else "ok",
        "explanation": "", "lock_key": "all", "queued_at": at, "started_at": at, "ended_at": at + timedelta(minutes=5),
        "rc": 2 if counts["failed"] else 0, "last_seq": last, "output_bytes": 0, "counts": counts,
    }])  # fmt: skip
    s.execute(insert(RunTask), [
        {
            "run_id": number, "number": task, "name": f"Converge {MODULES[task % len(MODULES)]}",
            "action": f"crosshost.network.{MODULES[task % len(MODULES)]}", "play": "Networks of containers", "started_at": at,
        }
        for task in range(1, tasks + 1)
    ])  # fmt: skip
    by_host: dict[str, dict[str, int]] = {host(n): dict.fromkeys(counts, 0) for n in range(size.hosts)}
    for one in results:
        by_host[one["host"]][one["status"]] += 1
    ended = at + timedelta(minutes=5)
    s.execute(
        insert(RunHost),
        [{"run_id": number, "host": name, "ended_at": ended, **found} for name, found in by_host.items()],
    )
    for part in batched(results, PART):
        s.execute(insert(Event), list(part))
    stats = {"run_id": number, "seq": last, "at": ended, "kind": "stats", "body": _packed({"hosts": {}})}
    s.execute(insert(Event), [{"task": None, "host": None, "status": None, "duration_ms": None, **stats}])
    if is_check:
        plan = {
            "run_id": number,
            "digest": "0" * 64,
            "hosts": {},
            "status": "proposed",
            "created_at": ended,
            "who": "seed",
        }
        s.execute(insert(Plan), [{**plan, "note": ""}])


def _results(number: int, at: Any, size: Size, tasks: int) -> Iterator[dict[str, Any]]:
    """One a task and host: of a hundred about five changed, one failed, ten skipped."""
    changed = _packed(
        {
            "msg": "4 operations", "diff": [{"before": "", "after": "10.0.0.3 dev xb-net\n" * 8}],
            "commands": [f"bridge fdb replace 02:42:0a:00:00:{n:02x} dev vxlan0 dst 192.168.0.{n}" for n in range(4)],
        }
    )  # fmt: skip
    failed = _packed(
        {"msg": "network net-0001: vni 1048577: another device has it; remove that one", "rc": 1}
    )
    seq = 0
    for task in range(1, tasks + 1):
        for n in range(size.hosts):
            seq += 1
            draw = (n * 7919 + task * 104_729 + number * 31) % 100
            status = "changed" if draw < 5 else "failed" if draw == 5 else "skipped" if draw < 16 else "ok"
            yield {
                "run_id": number, "seq": seq, "at": at + timedelta(milliseconds=seq * 20), "kind": "result", "task": task,
                "host": host(n), "status": status, "duration_ms": 300 + draw,
                "body": changed if status == "changed" else failed if status == "failed" else None,
            }  # fmt: skip


def add_drift(state: State, size: Size) -> None:
    at = now()
    rows = [
        {
            "host": host(n), "module": "overlay_network", "subject": f"net-{n:04d}", "commands": ["ip link set xb-net mtu 1450"],
            "since": at - timedelta(days=2), "seen_at": at, "first_run_id": 2, "last_run_id": size.runs,
        }
        for n in range(0, size.hosts, 3)
    ]  # fmt: skip
    with state.db.write() as s:
        s.execute(insert(Drift), rows)
        s.add(
            Schedule(
                name="drift",
                cron="0 6 * * *",
                options={"playbook": "site", "check": True},
                enabled=False,
                created_at=at,
                who="seed",
            )
        )


def _packed(body: dict[str, Any]) -> bytes:
    return zlib.compress(json.dumps(body).encode())
