# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of ansible-playbook by the executor, on hosts that are this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crosshost_webui.accounts import secrets
from crosshost_webui.executor import command, orphans
from crosshost_webui.executor import worker as working
from crosshost_webui.executor.supervisor import Supervisor
from crosshost_webui.runs import eventstore, service, store
from crosshost_webui.state import State
from sqlalchemy.exc import OperationalError

from tests.webui.support_executor import output, play, ready, results, supervisor  # noqa: F401 - pytest finds fixtures so
from tests.webui.support_runs import (
    ANN,
    BOB,
    row,
    start,
    wait_for,
    wait_until_ended,
)

pytestmark = pytest.mark.slow
FIND = "import os; print(os.getpid())"


def test_a_run_from_start_to_end(ready: State, supervisor: Supervisor, play: Callable[..., Path]) -> None:
    play(
        "- name: Say it\n  debug: {msg: 'hello {{ inventory_hostname }} {{ crosshost_state | default(1) }}'}\n- command: 'true'\n"
    )
    run_id = start(ready, variables={"crosshost_state": "merged"})
    supervisor.wake()
    run = wait_until_ended(ready, run_id)
    assert (run.status, run.rc, run.explanation) == ("ok", 0, "")
    assert run.counts == {"ok": 2, "changed": 2} and run.command[-2:][0] == "--"
    assert run.started_at is not None and run.pid is None and run.output_bytes > 100
    assert ("web1", "ok", {"msg": "hello web1 merged"}) in results(ready, run_id)
    assert "hello web2 merged" in output(ready, run_id)
    wait_for(lambda: os.listdir(ready.settings.runs_dir / str(run_id)) == ["output.log"], 10)
    with ready.db.read() as s:
        assert [one.host for one in store.hosts(s, run_id, 10) if one.ended_at] == ["web1", "web2"]


def test_limit_and_failure(ready: State, supervisor: Supervisor, play: Callable[..., Path]) -> None:
    play("- fail: {msg: 'broken <script>'}\n")
    run_id = start(ready, limit="web2")
    supervisor.wake()
    run = wait_until_ended(ready, run_id)
    assert (run.status, run.rc, run.counts) == ("failed", 2, {"failed": 1})
    assert "the results say why" in run.explanation
    assert results(ready, run_id)[0][::2] == ("web2", {"msg": "broken <script>"})


def test_a_playbook_that_cannot_begin(
    ready: State, supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.yml").write_text("- hosts: all\n  tasks: [nonsense\n")
    monkeypatch.setattr(command, "playbook", lambda _name: tmp_path / "bad.yml")
    run_id = start(ready)
    supervisor.wake()
    run = wait_until_ended(ready, run_id)
    assert run.status == "failed" and "the end of the output says why" in run.explanation
    assert "ERROR" in output(ready, run_id)


def sleeper(tmp_path: Path) -> str:
    """A task that writes down the number of its process, and sleeps."""
    script = tmp_path / "sleeper.py"
    script.write_text(
        f"import os, time\nopen(f'{tmp_path}/pid-{{os.getpid()}}', 'w').close()\ntime.sleep(300)\n"
    )
    return f"- command: {{argv: [{sys.executable}, {script}]}}\n"


def sleeping(
    ready: State, supervisor: Supervisor, play: Callable[..., Path], tmp_path: Path
) -> tuple[int, list[int]]:
    """A run whose hosts sleep, in processes whose numbers are known."""
    play(sleeper(tmp_path))
    run_id = start(ready)
    supervisor.wake()
    found = wait_for(lambda: len(list(tmp_path.glob("pid-*"))) == 2 and list(tmp_path.glob("pid-*")))
    return run_id, [int(path.name[4:]) for path in found]


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_cancel_ends_all_processes(
    ready: State, supervisor: Supervisor, play: Callable[..., Path], tmp_path: Path
) -> None:
    run_id, pids = sleeping(ready, supervisor, play, tmp_path)
    assert row(ready, run_id).status == "running" and all(map(is_there, pids))
    with ready.db.write() as s:
        service.cancel(s, BOB, run_id)
    supervisor.wake()
    run = wait_until_ended(ready, run_id, 30)
    assert run.status == "cancelled" and "cancelled by bob" in run.explanation
    assert not any(map(is_there, pids))


def test_a_server_that_stops_says_so(ready: State, play: Callable[..., Path], tmp_path: Path) -> None:
    supervisor = Supervisor(ready)
    supervisor.start()
    run_id, pids = sleeping(ready, supervisor, play, tmp_path)
    supervisor.stop()
    run = row(ready, run_id)
    assert run.status == "lost" and "the server was stopped" in run.explanation
    assert not any(map(is_there, pids))


def test_one_run_of_the_cluster_at_a_time(
    ready: State, supervisor: Supervisor, play: Callable[..., Path], tmp_path: Path
) -> None:
    first, _ = sleeping(ready, supervisor, play, tmp_path)
    second, doctor = start(ready), start(ready, playbook="doctor")
    supervisor.wake()
    wait_for(lambda: row(ready, doctor).status == "running")
    assert row(ready, second).status == "queued"
    for run_id in (first, second, doctor):
        with ready.db.write() as s:
            service.cancel(s, BOB, run_id)
    supervisor.wake()
    assert [wait_until_ended(ready, run_id, 30).status for run_id in (first, second, doctor)] == [
        "cancelled"
    ] * 3


def test_kill_9_of_the_shim(
    ready: State, supervisor: Supervisor, play: Callable[..., Path], tmp_path: Path
) -> None:
    run_id, pids = sleeping(ready, supervisor, play, tmp_path)
    os.kill(row(ready, run_id).pid or 0, signal.SIGKILL)
    run = wait_until_ended(ready, run_id, 60)
    assert run.status == "lost" and "was killed" in run.explanation
    wait_for(lambda: not any(map(is_there, pids)), 20)


def test_secrets_reach_the_run_and_nothing_else(
    ready: State, supervisor: Supervisor, play: Callable[..., Path], tmp_path: Path
) -> None:
    """The vault password opens a file, the password for becoming root is known to Ansible, and neither is seen anywhere."""
    vault, become = "vault-pw-8261", "become-pw-9913"
    (tmp_path / "pw").write_text(vault)
    (tmp_path / "plain.yml").write_text("opened: 'the vault is open'\n")
    subprocess.run(
        [str(Path(sys.executable).with_name("ansible-vault")), "encrypt", "--vault-password-file", tmp_path / "pw", tmp_path / "plain.yml"],
        check=True, capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    (tmp_path / "pw").unlink()
    play(
        f"- include_vars: {tmp_path}/plain.yml\n- debug: {{msg: '{{{{ opened }}}} {vault} {become}'}}\n"
        f"- command: echo {become}\n- debug: {{msg: hidden}}\n  no_log: true\n"
    )
    with ready.db.write() as s:
        ids = [
            secrets.create(s, ready.keys, ANN, "vault_password", "v", vault).id,
            secrets.create(s, ready.keys, ANN, "become_password", "b", become).id,
        ]
    run_id = start(ready, secrets=ids, limit="web1")
    supervisor.wake()
    run = wait_until_ended(ready, run_id)
    assert run.status == "ok", output(ready, run_id)
    found = results(ready, run_id)
    assert ("web1", "ok", {"msg": "the vault is open ******** ********"}) in found
    assert found[-1][2] == {"censored": True}
    everywhere = output(ready, run_id) + repr(found) + repr(run.command)
    assert vault not in everywhere and become not in everywhere


def test_the_database_is_away_for_a_while(
    ready: State, supervisor: Supervisor, play: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was recorded meanwhile is stored in the end."""
    play("- debug: {msg: '{{ item }}'}\n  loop: '{{ range(30) | list }}'\n- command: sleep 0.5\n")
    real, failures = service.ingest, []

    def failing(s: Any, run_id: int, found: Any) -> int:
        if len(failures) < 4:
            failures.append(1)
            real(s, run_id, found)
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))
        return real(s, run_id, found)

    monkeypatch.setattr(working, "RETRY", 0.2)
    monkeypatch.setattr(service, "ingest", failing)
    run_id = start(ready)
    supervisor.wake()
    run = wait_until_ended(ready, run_id)
    assert len(failures) == 4 and run.status == "ok"
    with ready.db.read() as s:
        assert len(eventstore.results(s, run_id, 1000)) == 2 * 30 + 4


def test_a_disk_without_room_says_so(
    ready: State, play: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    play("- debug: {msg: x}\n")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "/data/runs/1")

    monkeypatch.setattr(working.Folder, "make", full)
    run_id = start(ready)
    supervisor = Supervisor(ready)
    supervisor.start()
    run = wait_until_ended(ready, run_id)
    supervisor.stop()
    assert run.status == "failed" and "No space left on device" in run.explanation


def test_a_run_that_another_server_has_ended_is_let_go(
    ready: State, supervisor: Supervisor, play: Callable[..., Path], tmp_path: Path
) -> None:
    """Its lease had run out, as this server was stopped for a while: the processes are ended, and the row stays as it is."""
    run_id, pids = sleeping(ready, supervisor, play, tmp_path)
    with ready.db.write() as s:
        store.swap(s, run_id, ("running",), {"status": "lost", "explanation": "by another"})
    wait_for(lambda: not any(map(is_there, pids)), 30)
    wait_for(lambda: not any(one.thread.is_alive() for one in supervisor.workers.values()), 30)
    assert row(ready, run_id).explanation == "by another"


SERVER = """
import sys, time
sys.path[:0] = {path!r}
from pathlib import Path
from crosshost_webui import server
from crosshost_webui.executor import command, launch
from crosshost_webui.executor.supervisor import Supervisor
from crosshost_webui.settings import Settings
command.playbook = lambda _name: Path({play!r})
launch.GRACE = 2.0
state = server.make_state(Settings(data_dir=Path({data!r}), executors=2))
supervisor = Supervisor(state)
supervisor.start()
time.sleep(600)
"""


def run_elsewhere(ready: State, path: Path, tmp_path: Path) -> subprocess.Popen[bytes]:
    """Another server on the same data, to be killed."""
    script = SERVER.format(path=sys.path, play=str(path), data=str(ready.settings.data_dir))
    return subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)


def test_kill_9_of_the_server_is_a_lost_run_at_its_next_start(
    ready: State, play: Callable[..., Path], tmp_path: Path
) -> None:
    """All processes of the run end, what was recorded is there, and the page says what happened."""
    path = play("- debug: {msg: before}\n" + sleeper(tmp_path))
    run_id = start(ready)
    other = run_elsewhere(ready, path, tmp_path)
    try:
        found = wait_for(lambda: len(list(tmp_path.glob("pid-*"))) == 2 and list(tmp_path.glob("pid-*")))
    finally:
        other.kill()
        other.wait()
    pids = [int(one.name[4:]) for one in found]
    wait_for(lambda: not any(map(is_there, pids)), 30)
    assert row(ready, run_id).status == "running"
    supervisor = Supervisor(ready)
    supervisor.start()
    run = wait_until_ended(ready, run_id)
    supervisor.stop()
    assert run.status == "lost" and "stopped or killed while it was under way" in run.explanation
    assert [one[2] for one in results(ready, run_id)] == [{"msg": "before"}] * 2
    assert run.output_bytes == len(output(ready, run_id).encode())


def test_a_run_that_ended_while_nobody_looked_is_what_it_is(
    ready: State, play: Callable[..., Path], tmp_path: Path
) -> None:
    """The server dies after the playbook has ended, and before it has taken note: the shim has said how it went."""
    path = play("- command: sleep 1\n- debug: {msg: after}\n")
    run_id = start(ready)
    other = run_elsewhere(ready, path, tmp_path)
    status = ready.settings.runs_dir / str(run_id) / "run.status.json"
    try:
        wait_for(lambda: row(ready, run_id).status == "running")
        os.kill(other.pid, signal.SIGSTOP)
        wait_for(lambda: status.exists() and status.read_text().strip())
    finally:
        other.kill()
        other.wait()
    supervisor = Supervisor(ready)
    supervisor.start()
    run = wait_until_ended(ready, run_id)
    supervisor.stop()
    assert (run.status, run.rc) == ("ok", 0)
    assert len(results(ready, run_id)) == 4


def test_runs_of_a_living_server_are_left_alone(
    ready: State, supervisor: Supervisor, play: Callable[..., Path], tmp_path: Path
) -> None:
    run_id, pids = sleeping(ready, supervisor, play, tmp_path)
    other = Supervisor(ready)
    other.start()
    wait_for(other._thread.is_alive)
    threading.Event().wait(1.5)
    assert row(ready, run_id).status == "running" and all(map(is_there, pids))
    other.stop()
    assert row(ready, run_id).status == "running"


def test_nothing_is_left_of_a_run(ready: State, supervisor: Supervisor, play: Callable[..., Path]) -> None:
    """No process, no socket folder."""
    play("- debug: {msg: x}\n")
    key = ready.settings.data_dir / "k"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with ready.db.write() as s:
        secret = secrets.create(s, ready.keys, ANN, "ssh_key", "k", key.read_text()).id
    before = set(Path("/tmp").glob("xh-run-*"))
    run_id = start(ready, secrets=[secret])
    supervisor.wake()
    assert wait_until_ended(ready, run_id).status == "ok", output(ready, run_id)
    assert set(Path("/tmp").glob("xh-run-*")) == before
    assert not orphans.lives(row(ready, run_id).pid, row(ready, run_id).pid_start)
    assert shutil.which("ssh-agent")
