# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs for tests: an inventory of hosts that are this machine, playbooks of a few lines, records as the callback writes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crosshost_webui.audit.store import Actor
from crosshost_webui.inventory import service as inventory
from crosshost_webui.inventory.changing import Edit
from crosshost_webui.runs import service, store
from crosshost_webui.runs.models import ENDED, Run
from crosshost_webui.runs.options import RunOptions
from crosshost_webui.state import State

ANN = Actor("ann")
BOB = Actor("bob")
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
AT = 1_795_200_000_000


def declare(state: State, *names: str, variables: dict[str, Any] | None = None) -> None:
    """Hosts of the cluster that Ansible reaches without SSH."""
    edits = [Edit("group", None, {"name": "crosshost"})]
    for number, name in enumerate(names or ("web1", "web2"), 1):
        body = {
            "name": name, "groups": ["crosshost"], "vtep": f"192.0.2.{number}", "variables": {**LOCAL, **(variables or {})},
        }  # fmt: skip
        edits.append(Edit("host", None, body))
    with state.db.write() as s:
        inventory.change(s, ANN, edits, is_admin=True)


def start(state: State, actor: Actor = ANN, **options: Any) -> int:
    with state.db.write() as s:
        return service.start(s, actor, RunOptions(**{"playbook": "site", **options}), "api").id


def row(state: State, run_id: int) -> Run:
    with state.db.read() as s:
        return service.get(s, run_id)


def wait_for(what: Callable[[], Any], seconds: float = 60) -> Any:
    """The first true value of it."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.05)
    return found


def wait_until_ended(state: State, run_id: int, seconds: float = 90) -> Run:
    def ended() -> Run | None:
        found = row(state, run_id)
        return found if found.status in ENDED else None

    found = wait_for(ended, seconds)
    assert isinstance(found, Run)
    return found


def told(uuid: str = "0b9f2a8e-0001", **more: Any) -> dict[str, Any]:
    """What a recorder registers with."""
    return {
        "uuid": uuid, "playbook": "site.yml", "check": False, "diff": False, "limit": "", "tags": "", "forks": 5,
        "ansible": "2.19.14", "user": "root", "at": None, **more,
    }  # fmt: skip


def recorded(state: State, actor: Actor = ANN, **more: Any) -> int:
    with state.db.write() as s:
        return service.register(s, actor, False, told(**more)).id


def ingest(state: State, run_id: int, events: Sequence[dict[str, Any]]) -> int:
    with state.db.write() as s:
        return service.ingest(s, run_id, events)


class Record:
    """Events with their numbers, as a callback writes them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def add(self, kind: str, **more: Any) -> Record:
        seq = len(self.events) + 1
        self.events.append({"seq": seq, "at": AT + seq, "kind": kind, **more})
        return self

    def task(self, number: int, action: str = "crosshost.network.overlay_network", name: str = "") -> Record:
        return self.add("task", task=number, name=name or f"task {number}", action=action, play="all")

    def result(self, number: int, host: str, status: str = "ok", **more: Any) -> Record:
        return self.add("result", task=number, host=host, status=status, ms=12, **more)

    def end(self, **hosts: dict[str, int]) -> Record:
        return self.add("stats", hosts=hosts).add("end")


def a_record(hosts: Sequence[str] = ("web1", "web2"), tasks: int = 3) -> Record:
    """Of a run in which nothing was to be done."""
    found = Record().add("start", uuid="x", playbook="site.yml").add("play", name="all")
    for number in range(1, tasks + 1):
        found.task(number)
        for host in hosts:
            found.result(number, host)
    return found.end(
        **{host: {"ok": tasks, "changed": 0, "failed": 0, "unreachable": 0, "skipped": 0} for host in hosts}
    )


def check_run(
    state: State, record: Record, actor: Actor = ANN, playbook: str = "site", **options: Any
) -> Run:
    """A check run that an executor has carried out, with this record."""
    from crosshost_webui.runs import ending

    run_id = start(state, actor, playbook=playbook, **{"check": True, **options})
    with state.db.write() as s:
        assert store.swap(s, run_id, ("queued",), {"status": "running", "executor_id": "test"})
        service.ingest(s, run_id, record.events)
        found = store.run_to_change(s, run_id)
        assert found is not None
        s.flush()
        ending.conclude(s, found, "ok", rc=0)
    return row(state, run_id)


def playbook(path: Path, tasks: str, head: str = "") -> Path:
    """A playbook on all hosts of these tasks, in YAML."""
    indented = "".join(f"    {line}\n" for line in tasks.strip("\n").split("\n"))
    path.write_text(f"- hosts: all\n  gather_facts: false\n{head}  tasks:\n{indented}", encoding="utf-8")
    return path
