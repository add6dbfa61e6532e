# SPDX-License-Identifier: GPL-3.0-or-later
"""A dashboard with something in it: a small cluster, the people who work with it, and runs in every state. For pictures of the
pages and for the browser tests. Everything goes through the services, so what is shown is what they make of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from crosshost_webui.accounts import passwords, tokens, users
from crosshost_webui.accounts import secrets as secret_service
from crosshost_webui.audit.store import Actor
from crosshost_webui.db.base import now
from crosshost_webui.inventory import service as inventory
from crosshost_webui.runs import ending, eventstore, output, plans, schedules, service, store
from crosshost_webui.runs.models import Run
from crosshost_webui.runs.options import RunOptions
from crosshost_webui.state import State
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.dashboard_record import (
    HOSTS,
    changes,
    checked,
    doctor,
    drifting,
    failing,
    lines_of,
    record,
)

PASSWORD = "lantern-orbit-plum-42"
ANN, OLI = Actor("ann", address="192.0.2.100"), Actor("oli", address="192.0.2.101")


class Seeded(NamedTuple):
    """Ids of what tests and pictures open. ``running``: a run that goes on. ``changed``: a result of ``drifted``; ``failure``: one
    of ``failed``."""

    applied: int
    failed: int
    running: int
    plan: int
    drifted: int
    changed: int
    failure: int


def seed(state: State) -> Seeded:
    """Fill a state that has nothing but what every server has."""
    _people(state)
    _declare(state)
    planned = _run(state, ANN, RunOptions(playbook="site", check=True), checked(HOSTS), "ok")
    with state.db.write() as s:
        plan = store.plan_of_run(s, planned)
        assert plan is not None
        plans.decide(s, OLI, plans.to_change(s, plan.id), True, "as discussed")
    applied = _apply(state, plan.id)
    _run(state, OLI, RunOptions(playbook="doctor"), doctor(HOSTS), "ok")
    failed = _run(state, OLI, RunOptions(playbook="site", limit="rack_b"), failing(), "failed", rc=2)
    _cancelled(state)
    _lost(state)
    _recorded(state)
    later = _edit(
        state, OLI, "More room for the shop", ("overlay", "web", {"mtu": 1400, "labels": {"team": "shop"}})
    )
    assert later
    drifted = _run(state, ANN, RunOptions(playbook="site", check=True, limit="alpha,beta"), drifting(), "ok")
    with state.db.write() as s:
        plan = store.plan_of_run(s, drifted)
        schedules.save(
            s, OLI, None, "Drift, each morning", "0 6 * * *", RunOptions(playbook="site", check=True), True
        )
    assert plan is not None
    with state.db.read() as s:
        changed = eventstore.results(s, drifted, 1, statuses=("changed",))[0].seq
        failure = eventstore.results(s, failed, 1, statuses=("failed",))[0].seq
    return Seeded(applied, failed, _running(state), plan.id, drifted, changed, failure)


def _people(state: State) -> None:
    stored = passwords.hashed(PASSWORD, "everybody")
    key = (
        Ed25519PrivateKey.generate()
        .private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        .decode()
    )
    with state.db.write() as s:
        for name, role, full in (
            ("ann", "admin", "Ann Lee"),
            ("oli", "operator", "Oli Gold"),
            ("vic", "viewer", "Vic Day"),
        ):
            users.create(s, Actor("command line"), name, role, stored, full)
        secret_service.create(s, state.keys, ANN, "ssh_key", "key of the lab", key)
        secret_service.create(
            s, state.keys, ANN, "vault_password", "vault of the shop", "correct horse battery"
        )
        user = users.get(s, 1)
        tokens.create(s, state.keys, ANN, user, "ansible inventory", ["read"], 365)
        tokens.create(s, state.keys, ANN, user, "recorder on the jump host", ["executor"], 90)


def _declare(state: State) -> None:
    with state.db.write() as s:
        groups: list[inventory.Edit] = [
            inventory.Edit("group", None, {"name": "crosshost", "children": ["rack_a", "rack_b"]}),
            *(inventory.Edit("group", None, {"name": name}) for name in ("rack_a", "rack_b")),
        ]
        hosts = [
            inventory.Edit(
                "host", None,
                {
                    "name": name, "groups": [rack], "vtep": vtep, "labels": {"site": "north"},
                    "variables": {"ansible_host": address, "ansible_user": "root"},
                },
            )
            for name, (rack, address, vtep) in HOSTS.items()
        ]  # fmt: skip
        inventory.change(s, ANN, [*groups, *hosts], "The machines of both racks", is_admin=True)
    networks: list[tuple[str, str, dict[str, Any]]] = [
        ("overlay", "web", {"subnets": [{}, {"version": 6}], "labels": {"team": "shop"}}),
        ("overlay", "db", {"subnets": [{"length": 26}], "hosts": ["alpha", "beta", "delta"]}),
        ("overlay", "metrics", {"control_plane": "flood", "hosts": ["rack_a"]}),
        ("bridge", "front", {"hosts": ["alpha"], "subnets": [{"subnet": "10.30.0.0/24"}]}),
        ("macvlan", "lan", {
            "parent": "eth0", "hosts": ["rack_b"],
            "subnets": [{"subnet": "192.168.1.0/24", "gateway": "192.168.1.1", "ip_range": "192.168.1.128/25"}],
        }),
        ("ingress", "ingress", {}),
    ]  # fmt: skip
    with state.db.write() as s:
        edits = [inventory.Edit(kind, None, {"name": name, **body}) for kind, name, body in networks]
        inventory.change(s, ANN, edits, "Networks of the shop")
    members: list[tuple[str, dict[str, Any]]] = [
        *(("endpoint", {"host": host, "network": "web", "container": "shop"}) for host in HOSTS),
        ("endpoint", {"host": "alpha", "network": "db", "container": "postgres", "aliases": ["pg"]}),
        ("endpoint", {"host": "beta", "network": "db", "container": "postgres"}),
        ("endpoint", {"host": "alpha", "network": "metrics", "container": "prometheus", "ip": "10.0.2.50"}),
        ("endpoint", {"host": "alpha", "network": "front", "container": "proxy", "publish": ["8443:443"]}),
        ("endpoint", {"host": "delta", "network": "lan", "container": "printer", "ip": "192.168.1.200"}),
    ]  # fmt: skip
    with state.db.write() as s:
        found = inventory.items(s)
        metrics = found["overlay", "metrics"].resolved["subnets"][0]["subnet"]
        members[7][1]["ip"] = metrics.replace("0/24", "50")
        inventory.change(
            s, OLI, [inventory.Edit(kind, None, body) for kind, body in members], "Containers of the shop"
        )
    services: list[dict[str, Any]] = [
        {"name": "www", "network": "web", "tasks": ["shop"], "ports": ["8080:80", {"target": 443}]},
        {"name": "sql", "network": "db", "mode": "dnsrr", "tasks": ["postgres"], "ports": [{"published": 5432, "mode": "host"}]},
    ]  # fmt: skip
    with state.db.write() as s:
        inventory.change(
            s, OLI, [inventory.Edit("service", None, body) for body in services], "Names for both"
        )


def _edit(state: State, who: Actor, message: str, *changes: tuple[str, str, dict[str, Any]]) -> int:
    with state.db.write() as s:
        edits = [
            inventory.Edit(kind, name, {**inventory.one(s, kind, name).body, **more})
            for kind, name, more in changes
        ]
        return inventory.change(s, who, edits, message).id


# ---- runs


def _run(
    state: State, who: Actor, options: RunOptions, done: Sequence[dict[str, Any]], status: str, rc: int = 0
) -> int:
    """A run from its start to its end."""
    with state.db.write() as s:
        run = service.start(s, who, options, "page")
    begin(state, run.id)
    feed(state, run.id, done)
    finish(state, run.id, status, rc)
    return run.id


def start(state: State, who: str, limit: str = "") -> int:
    """A run that waits; its id."""
    with state.db.write() as s:
        return service.start(s, Actor(who), RunOptions(playbook="site", limit=limit), "page").id


def begin(state: State, run_id: int) -> None:
    with state.db.write() as s:
        run = service.get(s, run_id)
        run.status, run.started_at, run.executor_id = "running", now(), "seed"
        run.lease_until = now() + timedelta(days=1)
        run.command = [
            "ansible-playbook", "-i", "inventory.json", f"crosshost.network.{run.playbook}",
            *(["--check"] if run.check_mode else []), *(["--diff"] if run.diff_mode else []),
            *([f"--limit={run.limit}"] if run.limit else []), "--forks=20",
        ]  # fmt: skip
        service.announce(state, s, run_id)


def feed(state: State, run_id: int, done: Sequence[dict[str, Any]]) -> None:
    """Store what a run did, and the output that it would have had."""
    with state.db.write() as s:
        run = service.get(s, run_id)
        first = run.last_seq
        moment = int(now().timestamp() * 1000)
        rows = [{"seq": first + n, "at": moment + 20 * n, **one} for n, one in enumerate(done, 1)]
        service.ingest(s, run_id, rows)
        if run.origin != "cli":
            _write(state, run, list(lines_of(done)))
        service.announce(state, s, run_id)


def write(state: State, run_id: int, lines: Sequence[str]) -> None:
    """Add lines to the output."""
    with state.db.write() as s:
        _write(state, service.get(s, run_id), lines)
        service.announce(state, s, run_id)


def finish(state: State, run_id: int, status: str, rc: int = 0) -> None:
    with state.db.write() as s:
        run = service.get(s, run_id)
        told = "tasks failed on some hosts; the results say why" if status == "failed" else ""
        ending.conclude(s, run, status, told, rc)
        service.announce(state, s, run_id)


def _write(state: State, run: Run, lines: Sequence[str]) -> None:
    path = output.path_of(state.settings, run)
    text = "".join(f"{line}\n" for line in lines).encode()
    run.output_bytes = output.append(path, output.size_of(path), text)


def _apply(state: State, plan_id: int) -> int:
    with state.db.write() as s:
        run = service.apply(s, ANN, plan_id)
    begin(state, run.id)
    feed(state, run.id, record(HOSTS, changes(HOSTS)))
    saw(state, run.id)
    finish(state, run.id, "ok")
    with state.db.write() as s:
        plans.to_change(s, plan_id).status = "applied"
    return run.id


def saw(state: State, run_id: int) -> None:
    """What the modules read back."""
    with state.db.read() as s:
        found = inventory.items(s)
    record: list[dict[str, Any]] = []
    for host in HOSTS:
        rows = [
            ["web", "shop", option, "address", one.resolved[option]]
            for (kind, _), one in found.items() if kind == "endpoint" and one.body["host"] == host
            for option in ("ip", "ip6") if option in one.resolved and one.body["network"] == "web"
        ]  # fmt: skip
        if ("overlay", "web") not in found:
            continue
        for place, subnet in enumerate(found["overlay", "web"].resolved["subnets"]):
            rows.append(["web", f"subnet {place}", "subnet", "subnet", subnet["subnet"]])
            if "vni" in subnet:
                rows.append(["web", f"subnet {place}", "vni", "vni", str(subnet["vni"])])
        record.append({"kind": "seen", "host": host, "module": "overlay_network", "items": rows})
    feed(state, run_id, record)


def _cancelled(state: State) -> None:
    with state.db.write() as s:
        run = service.start(s, OLI, RunOptions(playbook="teardown", check=True), "page")
        service.cancel(s, OLI, run.id)


def _lost(state: State) -> None:
    with state.db.write() as s:
        run = service.start(s, OLI, RunOptions(playbook="site", tags="overlay"), "api")
    begin(state, run.id)
    feed(state, run.id, checked(HOSTS)[:30])
    with state.db.write() as s:
        service.get(s, run.id).lease_until = now() - timedelta(minutes=1)
    with state.db.write() as s:
        service.reap(s)


def _recorded(state: State) -> None:
    told = {
        "uuid": "0b9f2a8e-3c55-4a6f-9a39-2f4c5d3f0a11", "playbook": "site.yml", "check": False, "diff": True, "limit": "",
        "tags": "", "forks": 5, "ansible": "2.19.14", "user": "oli", "at": None,
    }  # fmt: skip
    with state.db.write() as s:
        run = service.register(s, Actor("oli", "token recorder"), False, told)
    feed(state, run.id, record(("alpha", "beta", "gamma"), {}))


def _running(state: State) -> int:
    """A run that is half done, and one that waits for it."""
    with state.db.write() as s:
        run = service.start(s, ANN, RunOptions(playbook="site"), "page")
    begin(state, run.id)
    feed(state, run.id, record(HOSTS, changes(HOSTS))[:34])
    with state.db.write() as s:
        service.start(s, OLI, RunOptions(playbook="site", check=True, limit="gamma"), "page")
    return run.id
