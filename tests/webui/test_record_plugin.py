# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback in real runs: what it writes, what it hides, and that it never stands in a run's way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from crosshost_webui.app import create_app
from crosshost_webui.collection import collections_path
from crosshost_webui.runs import events, eventstore, store
from crosshost_webui.state import State

from tests.webui.support_accounts import make_token, make_user
from tests.webui.support_runs import playbook, wait_for

pytestmark = pytest.mark.slow
INVENTORY = "web1 ansible_connection=local\nweb2 ansible_connection=local\n[all:vars]\nansible_python_interpreter=/usr/bin/python3\n"
TASKS = """
- name: Say it
  debug: {msg: "hello {{ inventory_hostname }} <script> \\e[31mred \\x00"}
- name: Hidden
  debug: {msg: supersecret1}
  no_log: true
- name: Loop
  command: "echo {{ item }} password=supersecret2"
  loop: [a, b]
  changed_when: item == 'b'
- name: Hidden loop
  debug: {msg: "{{ item }}"}
  loop: [supersecret3]
  no_log: true
- name: Known
  debug: {msg: "{{ ansible_password }} and {{ db_token }}"}
- name: Skipped
  command: "true"
  when: inventory_hostname == 'nobody'
- name: Ignored
  command: "false"
  ignore_errors: true
- name: Facts
  setup: {gather_subset: [min]}
- name: Ours
  crosshost.network.host_check:
"""


def environment(**more: str) -> dict[str, str]:
    found = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "CROSSHOST_"))
    }
    return {
        **found, "LC_ALL": "C.UTF-8", "ANSIBLE_COLLECTIONS_PATH": str(collections_path()), "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_CALLBACKS_ENABLED": "crosshost.network.record", "ANSIBLE_CONFIG": "/nonexistent", **more,
    }  # fmt: skip


def argv(folder: Path, tasks: str, *options: str) -> list[str]:
    (folder / "inventory").write_text(INVENTORY)
    book = playbook(folder / "site.yml", tasks)
    return [sys.executable, "-m", "ansible", "playbook", "-i", str(folder / "inventory"), *options, str(book)]


def run(folder: Path, tasks: str, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv(folder, tasks, *options), env=environment(**more), cwd=folder, capture_output=True, text=True, timeout=180, check=False
    )  # fmt: skip


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_record(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    secrets = ("-e", "ansible_password=supersecret4", "-e", "db_token=supersecret5")
    done = run(tmp_path, TASKS, "--diff", "--limit", "web1,web2", *secrets, CROSSHOST_RECORD_FILE=str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    found = lines(path)
    assert [one["seq"] for one in found] == list(range(1, len(found) + 1))
    assert "supersecret" not in path.read_text()
    first = found[0]
    assert (first["kind"], first["playbook"], first["diff"], first["check"], first["limit"]) == (
        "start",
        "site.yml",
        True,
        False,
        "web1,web2",
    )
    assert [one["kind"] for one in found[-2:]] == ["stats", "end"]
    assert found[-2]["hosts"]["web1"] == {"ok": 8, "changed": 2, "failed": 0, "unreachable": 0, "skipped": 1}
    tasks = {one["name"]: one for one in found if one["kind"] == "task"}
    assert tasks["Ours"]["action"] == "crosshost.network.host_check" and tasks["Ours"]["play"] == "all"
    of_web1 = {
        name: [
            one
            for one in found
            if one["kind"] == "result" and one["task"] == task["task"] and one["host"] == "web1"
        ]
        for name, task in tasks.items()
    }
    assert of_web1["Say it"][0]["body"]["msg"].startswith("hello web1 <script> \x1b[31mred")
    assert of_web1["Hidden"][0]["body"] == {"censored": True}
    assert [(one.get("item"), one["status"]) for one in of_web1["Loop"]] == [
        ("a", "ok"),
        ("b", "changed"),
        (None, "changed"),
    ]
    assert [one["body"] for one in of_web1["Hidden loop"]] == [{"censored": True}] * 2
    assert of_web1["Known"][0]["body"]["msg"] == "******** and ********"
    assert of_web1["Skipped"][0]["status"] == "skipped"
    assert of_web1["Ignored"][0]["ignored"] is True and of_web1["Ignored"][0]["body"]["rc"] == 1
    assert "body" not in of_web1["Facts"][0] and all(one["ms"] >= 0 for one in of_web1["Facts"])
    (report,) = [one for one in found if one["kind"] == "report" and one["host"] == "web1"]
    assert {"interfaces", "default", "routes", "nameservers", "kernel", "python", "engines"} == report[
        "body"
    ].keys()


def test_an_interrupted_run_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    process = subprocess.Popen(
        argv(tmp_path, "- command: sleep 60\n"), env=environment(CROSSHOST_RECORD_FILE=str(path)), cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: path.exists() and '"kind":"task"' in path.read_text())
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(30)
    kinds = [one["kind"] for one in lines(path)]
    assert kinds[-1] == "end"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "neither file nor url is set"),
        ({"CROSSHOST_RECORD_FILE": "/nonexistent/r.jsonl"}, "/nonexistent/r.jsonl: No such file"),
        ({"CROSSHOST_RECORD_URL": "http://127.0.0.1:1"}, "name a file that has one"),
        ({"CROSSHOST_RECORD_FILE": "site.yml"}, "it holds another record"),
    ],
)
def test_a_run_goes_on_without_a_record(tmp_path: Path, settings: dict[str, str], told: str) -> None:
    done = run(tmp_path, "- debug: {msg: x}\n", **settings)
    assert done.returncode == 0
    assert "this run is not recorded" in " ".join(done.stderr.split()) and told in " ".join(
        done.stderr.split()
    )


@pytest.fixture
def address(state: State) -> Iterator[str]:
    """A dashboard that listens."""
    one = uvicorn.Server(uvicorn.Config(create_app(state), host="127.0.0.1", port=0, log_config=None))
    thread = threading.Thread(target=one.run, daemon=True)
    thread.start()
    wait_for(lambda: one.started, 20)
    yield f"http://127.0.0.1:{one.servers[0].sockets[0].getsockname()[1]}"
    one.should_exit = True
    thread.join(20)


def test_a_run_on_the_command_line_comes_to_the_dashboard(state: State, address: str, tmp_path: Path) -> None:
    """Without a dashboard first: the run is not held up, and its record comes with the next one."""
    make_user(state, "ann", "operator")
    token = tmp_path / "token"
    token.write_text(make_token(state, "ann", ["executor"])["Authorization"].removeprefix("Bearer "))
    spool = tmp_path / "spool"
    sending = {
        "CROSSHOST_RECORD_URL": address,
        "CROSSHOST_RECORD_TOKEN_FILE": str(token),
        "CROSSHOST_RECORD_SPOOL": str(spool),
    }
    left = tmp_path / "left.jsonl"
    run(tmp_path, "- debug: {msg: earlier}\n", CROSSHOST_RECORD_FILE=str(left))
    from ansible_collections.crosshost.network.plugins.plugin_utils import record_start

    os.replace(left, record_start.spooled(str(spool), address, lines(left)[0]["uuid"], None))
    done = run(tmp_path, TASKS, "-e", "ansible_password=x", "-e", "db_token=x", **sending)
    assert done.returncode == 0, done.stdout + done.stderr

    def arrived() -> list[Any] | None:
        with state.db.read() as s:
            found = store.runs(s, store.Filters(status="ok"), 10)
        return list(found) if len(found) == 2 else None

    earlier, mine = sorted(wait_for(arrived, 40), key=lambda one: one.counts["ok"])
    assert (mine.origin, mine.who, mine.playbook, mine.counts["changed"]) == ("cli", "ann", "site.yml", 2)
    with state.db.read() as s:
        assert eventstore.results(s, earlier.id, 1)[0].body is not None
        assert events.unpack(eventstore.results(s, earlier.id, 1)[0].body) == {"msg": "earlier"}
        assert {one.host for one in store.hosts(s, mine.id, 10)} == {"web1", "web2"}
    wait_for(lambda: not list(spool.rglob("*.jsonl*")), 20)
