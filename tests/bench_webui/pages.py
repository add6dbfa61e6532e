# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the server takes for every page and every GET of the API, on a seeded database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from crosshost_webui import server
from crosshost_webui.accounts import secrets
from crosshost_webui.accounts import store as accounts
from crosshost_webui.app import API, create_app
from crosshost_webui.audit.models import AuditEntry
from crosshost_webui.audit.store import Actor
from crosshost_webui.inventory.models import Change
from crosshost_webui.ipam.models import Block, Pool, Scope
from crosshost_webui.runs.models import Event, Plan, Run, Schedule
from crosshost_webui.settings import Settings
from crosshost_webui.state import State
from crosshost_webui.web import access
from sqlalchemy import func, select

from tests.bench.figures import BenchError, Figure
from tests.bench_webui.load import ask, peak_memory, percentile, server_times
from tests.webui.support_accounts import make_token, make_user, sign_in
from tests.webui.support_server import Server

AT_ONCE = 8
TARGET_MS = 60.0
MEMORY_MIB = 250.0
# Streams have no end; the way in and out is no page to look at; and a check of all pools reads every row, as it says.
# What has to be asked for.
QUERIES = {
    "/ipam/find": "?q=10.0.0.9", "/runs/{run_id}/output/search": "?q=changed", "/schedules/times": "?cron=0+6+*+*+*",
}  # fmt: skip
LEFT_OUT = re.compile(r"/stream$|^/sign-(in|out)|^/oidc/|^/metrics$|/ipam/check$")


class Target(NamedTuple):
    """A route, and an address of it. ``is_api``: to be asked with a token, and not with a session."""

    route: str
    path: str

    @property
    def is_api(self) -> bool:
        return self.route.startswith(API)


def targets(data_dir: Path) -> list[Target]:
    """All routes that answer GET, each with an address that there is. BenchError names a parameter that nothing is known for."""
    state = server.make_state(Settings(data_dir=data_dir, executors=0))
    try:
        known = _known(state)
        return [Target(route, _address(route, known)) for route in _routes(state)]
    finally:
        state.close()


def credentials(data_dir: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The headers of an admin's browser, and of a program with a token."""
    state = server.make_state(Settings(data_dir=data_dir, executors=0))
    try:
        with state.db.read() as s:
            is_new = accounts.user_by_name(s, "bench") is None
        if is_new:
            make_user(state, "bench", "admin")
            with state.db.write() as s:
                secrets.create(s, state.keys, Actor("bench"), "vault_password", "bench", "of the bench")
        return sign_in(state, "bench"), make_token(state, "bench", ("admin", "read"))
    finally:
        state.close()


def _routes(state: State) -> Iterator[str]:
    for route, _ in access.rules(create_app(state)):
        path = str(route.path)
        if "GET" in (route.methods or ()) and not LEFT_OUT.search(path):
            yield path


def _known(state: State) -> dict[str, str]:
    """Values for the parameters of paths: by `PATH PARAMETER` as far as it matters, else by the parameter's name. Of everything
    the largest: the pool with the most blocks, the last run."""
    with state.db.read() as s:
        pool = s.scalars(select(Pool.id).where(Pool.purpose == "network4")).first()
        block = s.scalars(
            select(Block.id).where(Block.owner_type == "item").order_by(Block.id.desc())
        ).first()
        run = s.scalar(select(func.max(Run.id)).where(Run.who == "seed"))
        seq = s.scalars(
            select(Event.seq).where(Event.run_id == run, Event.body.is_not(None)).order_by(Event.seq)
        ).first()
        ids = {
            "user_id": 1, "token_id": 1, "pool_id": pool, "block_id": block, "run_id": run, "seq": seq,
            "secret_id": 1, "plan_id": s.scalar(select(func.max(Plan.id))), "schedule_id": s.scalar(select(func.max(Schedule.id))),
            "entry_id": s.scalar(select(func.max(AuditEntry.id))), "scope_id": s.scalar(select(func.min(Scope.id))),
            "revision_id": s.scalar(select(func.max(Change.revision_id))),
        }  # fmt: skip
    found = {name: str(value) for name, value in ids.items() if value is not None}
    host = "host-0001"
    return {
        **found,
        "kind": "overlay", "host": host, "network": "net-0000", "task": "1", "name": "net-0000",
        "/networks/bridge/{name} name": f"{host}/local", "/networks/macvlan/{name} name": "lan",
        "/gwbridge/{name} name": "xh_gwbridge", "/ingress/{name} name": "ingress",
        "/hosts/{name} name": host, "/groups/{name} name": "crosshost", "/endpoints/{name} name": f"{host}/net-0000/web-1",
        "/services/{name} name": "net-0000/web",
    }  # fmt: skip


def _address(route: str, known: dict[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1]
        before = route[: found.end()].removeprefix(API).replace(":path}", "}")
        try:
            return known.get(f"{before} {name}") or known[name]
        except KeyError:
            raise BenchError(
                f"route {route}: no value is known for {name}; add one to tests/bench_webui/pages.py"
            ) from None

    return re.sub(r"\{(\w+)(?::\w+)?\}", value, route) + QUERIES.get(route.removeprefix(API), "")


def pages(running: Server, data_dir: Path, count: int) -> list[Figure]:
    """The 95th percentile of each page and each GET of the API, eight at a time. A first request of each is not counted: templates
    are compiled by it."""
    browser, program = credentials(data_dir)
    times: dict[str, float] = {}
    for number, target in enumerate(targets(data_dir)):
        headers = program if target.is_api else browser
        ask(running, target.path, headers, 1, 1, f"w{number}")
        answers = ask(running, target.path, headers, count, AT_ONCE, f"p{number}")
        times[target.route] = percentile(server_times(running, answers), 0.95)
    return [*_figures("page", "pages", times, False), *_figures("api", "GETs of the API", times, True)]


def _figures(name: str, what: str, times: dict[str, float], is_api: bool) -> list[Figure]:
    """All in one figure, whose value is the worst; those above the target also each in its own."""
    ours = {route: value for route, value in times.items() if route.startswith(API) == is_api}
    slowest = max(ours, key=lambda route: ours[route])
    told = f"{len(ours)} {what}, {AT_ONCE} at a time, p95 of the slowest ({slowest.removeprefix(API)})"
    found = [Figure(name, told, list(ours.values()), [], "ms", TARGET_MS)]
    slow = {route: value for route, value in ours.items() if value > TARGET_MS and route != slowest}
    found += [
        Figure(name, f"- GET {route}", [value], [], "ms", TARGET_MS) for route, value in sorted(slow.items())
    ]
    return found


def dynamic_inventory(running: Server, data_dir: Path, count: int) -> list[Figure]:
    """What the inventory plugin asks for: all hosts with their variables, and whether they have changed."""
    _, program = credentials(data_dir)
    path = f"{API}/inventory"
    first = ask(running, path, program, count, 1, "i")
    tag = {name.lower(): value for name, value in first[0].headers.items()}["etag"]
    whole = server_times(running, first)
    again = ask(running, path, {**program, "If-None-Match": tag}, count, 1, "n")
    if {one.status for one in again} != {304}:
        raise BenchError(f"GET {path} with If-None-Match: {again[0].status}, not 304")
    same = server_times(running, again)
    return [
        Figure("inventory", f"dynamic inventory, {first[0].size / 2**20:.1f} MiB", whole, [], "ms", 300.0),
        Figure("inventory", "the same again, unchanged: 304", same, [], "ms", 10.0),
    ]


def memory(running: Server, _data_dir: Path) -> list[Figure]:
    """To be asked last: what all of the others have needed."""
    return [
        Figure(
            "memory",
            "memory of the server, the most in all of this",
            [peak_memory(running)],
            [],
            "MiB",
            MEMORY_MIB,
        )
    ]
