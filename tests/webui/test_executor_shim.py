# SPDX-License-Identifier: GPL-3.0-or-later
"""The shim: nothing that it has started outlives it or its executor, and its status file says how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from crosshost_webui.executor import launch as launching
from crosshost_webui.executor import orphans
from crosshost_webui.executor.folder import Folder, Phase
from crosshost_webui.executor.launch import Ended, Launched, Pipes, Secrets, launch
from crosshost_webui.executor.shim import start_of

from tests.webui.support_runs import wait_for

ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
# A program with a child in its group, one that has left the group, and one that is deaf to SIGTERM.
FAMILY = """
import os, signal, subprocess, sys, time
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
children = [
    subprocess.Popen(["sleep", "600"]),
    subprocess.Popen(["sleep", "600"], start_new_session=True),
    subprocess.Popen([sys.executable, "-c", deaf]),
    subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True),
]
print("pids", os.getpid(), *(one.pid for one in children), flush=True)
if len(sys.argv) > 1:
    sys.exit(int(sys.argv[1]))
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    found = Folder(tmp_path, 1)
    found.make()
    return found


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "GRACE", 1.0)


@pytest.fixture
def started() -> Iterator[list[Launched]]:
    found: list[Launched] = []
    yield found
    for one in found:
        one.abandon()
        one.process.wait(30)


def run(folder: Folder, argv: list[str], secrets: Secrets | None = None) -> Launched:
    chosen = secrets or Secrets()
    return launch(folder, folder.phase("run"), argv, ENVIRONMENT, chosen, Pipes(chosen))


def ended(one: Launched, seconds: float = 30) -> Ended:
    found = wait_for(one.ended, seconds)
    assert isinstance(found, Ended)
    return found


def family(folder: Folder, *arguments: str) -> tuple[Launched, list[tuple[int, int]]]:
    """A family under way, and all its members by number and start time."""
    one = run(folder, [sys.executable, "-c", FAMILY, *arguments])
    line = wait_for(
        lambda: (
            folder.output.exists()
            and folder.output.read_text().startswith("pids")
            and folder.output.read_text()
        )
    )
    pids = [int(word) for word in line.split("\n")[0].split()[1:]]
    return one, [(pid, _start(pid)) for pid in pids]


def _start(pid: int) -> int:
    try:
        return start_of(pid)
    except FileNotFoundError:
        return 0


def living(pids: list[tuple[int, int]]) -> list[int]:
    return [pid for pid, start in pids if orphans.lives(pid, start) and not _is_zombie(pid)]


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_program_that_ends(folder: Folder) -> None:
    one = run(folder, ["sh", "-c", "echo hello; echo sorry >&2; exit 3"])
    assert ended(one) == Ended("ended", 3, "", 0)
    assert sorted(folder.output.read_text().split()) == ["hello", "sorry"]
    for path in folder.path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_program_that_is_not_there(folder: Folder) -> None:
    found = ended(run(folder, ["/no/such/program"]))
    assert found.reason == "not started" and "/no/such/program" in found.detail


def test_what_a_program_leaves_behind_is_ended(folder: Folder) -> None:
    one, pids = family(folder, "4")
    assert ended(one)[:2] == ("ended", 4)
    assert living(pids) == []


@pytest.mark.parametrize(("word", "reason"), [("cancel", "cancelled"), ("stop", "stopped")])
def test_cancel_ends_the_whole_family(folder: Folder, word: str, reason: str) -> None:
    one, pids = family(folder)
    assert len(living(pids)) == 5
    one.say(word)
    assert ended(one).reason == reason
    assert living(pids) == []


def test_a_cancel_that_comes_at_once(folder: Folder) -> None:
    one = run(folder, ["sleep", "600"])
    one.say("cancel")
    assert ended(one).reason == "cancelled"


def test_the_end_of_the_executor_ends_the_family(folder: Folder) -> None:
    """Its pipe closes, however it died."""
    one, pids = family(folder)
    one.abandon()
    one.process.wait(30)
    assert launching.ended_of(folder.phase("run")) == Ended("executor gone", -signal.SIGTERM, "", 0)
    assert living(pids) == []


def test_kill_9_of_the_executor_ends_the_family(folder: Folder, tmp_path: Path) -> None:
    """A real executor process, which starts a shim and is killed."""
    script = tmp_path / "executor.py"
    script.write_text(
        f"import sys, time\nsys.path[:0] = {sys.path!r}\n"
        "from pathlib import Path\n"
        "from crosshost_webui.executor import launch as l\n"
        "from crosshost_webui.executor.folder import Folder\n"
        f"l.GRACE = 1.0\nfolder = Folder(Path({str(tmp_path)!r}), 1)\n"
        f"l.launch(folder, folder.phase('run'), [sys.executable, '-c', {FAMILY!r}], {ENVIRONMENT!r}, l.Secrets(), l.Pipes(l.Secrets()))\n"
        "time.sleep(600)\n"
    )
    executor = subprocess.Popen([sys.executable, script])
    try:
        line = wait_for(
            lambda: folder.output.exists() and "\n" in folder.output.read_text() and folder.output.read_text()
        )
        pids = [(int(word), start_of(int(word))) for word in line.split("\n")[0].split()[1:]]
        note = folder.phase("run").started() or {}
    finally:
        executor.kill()
        executor.wait()
    wait_for(lambda: not living(pids), 20)
    wait_for(lambda: not orphans.lives(note["pid"], note["start"]), 20)
    ended_as = launching.ended_of(folder.phase("run"))
    assert ended_as is not None and ended_as.reason == "executor gone"


def test_kill_9_of_the_shim_is_cleared_up(folder: Folder) -> None:
    """The program gets SIGTERM from the kernel; what is deaf to it, `orphans` ends."""
    deaf = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('pids', flush=True); time.sleep(600)"
    )
    one = run(folder, [sys.executable, "-c", deaf])
    phase = folder.phase("run")
    wait_for(lambda: folder.output.exists() and folder.output.read_text())
    note = phase.started() or {}
    one.process.kill()
    assert ended(one) == Ended("killed", None, "", 0)
    assert orphans.lives(note["child"], note["child_start"])
    assert orphans.end(phase)
    assert not orphans.lives(note["child"], note["child_start"])
    assert not orphans.end(phase)


def test_a_number_that_is_used_again_is_not_killed(folder: Folder) -> None:
    """The noted process is gone, and another has its number: start times tell them apart."""
    other = subprocess.Popen(["sleep", "600"])
    try:
        phase = folder.phase("run")
        note = {
            "pid": other.pid,
            "start": start_of(other.pid) - 1,
            "child": other.pid,
            "child_start": start_of(other.pid) + 1,
        }
        phase.note.write_text(json.dumps(note))
        assert not orphans.end(phase, other.pid, 5)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_known_secrets_are_hidden_in_the_output(folder: Folder) -> None:
    secrets = Secrets(vault_passwords=["hunter2 hunter2"], become_password="s3cr3t")
    program = "import sys, time\nfor part in ('my s3c', 'r3t is', ' hunter2 hun', 'ter2!\\n', 'end s3cr3t'):\n sys.stdout.write(part)\n sys.stdout.flush()\n time.sleep(0.05)"
    assert ended(run(folder, [sys.executable, "-c", program], secrets)).rc == 0
    assert folder.output.read_text() == "my ******** is ********!\nend ********"


def test_secrets_come_by_pipes_alone(folder: Folder) -> None:
    """Not by arguments, the environment, or a file."""
    secrets = Secrets(vault_passwords=["vault-one"], become_password="become-one")
    pipes = Pipes(secrets)
    assert pipes.mask is not None
    program = (
        "import os, sys, json, glob\n"
        "told = [sys.stdin.read(), open('/dev/fd/' + sys.argv[1]).read(), json.load(open('/dev/fd/' + sys.argv[2]))]\n"
        "everywhere = open('/proc/self/cmdline').read() + open('/proc/self/environ').read()\n"
        "everywhere += open(f'/proc/{os.getppid()}/cmdline').read() + open(f'/proc/{os.getppid()}/environ').read()\n"
        "everywhere += ''.join(open(path).read() for path in glob.glob('**', recursive=True) if os.path.isfile(path))\n"
        "ok = told == ['become-' + 'one', 'vault-' + 'one', ['vault-' + 'one', 'become-' + 'one']]\n"
        "sys.exit(0 if ok and 'vault-' + 'one' not in everywhere and 'become-' + 'one' not in everywhere else 1)\n"
    )
    argv = [sys.executable, "-c", program, str(pipes.vaults[0]), str(pipes.mask)]
    one = launch(folder, folder.phase("run"), argv, ENVIRONMENT, secrets, pipes)
    assert ended(one).rc == 0, folder.output.read_text()


def make_key(folder: Path) -> str:
    path = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "of a test", "-f", path], check=True)
    return path.read_text()


def test_ssh_keys_live_in_an_agent_as_long_as_the_run(folder: Folder, tmp_path: Path) -> None:
    key = make_key(tmp_path)
    one = run(
        folder,
        ["sh", "-c", "ssh-add -l; echo $SSH_AUTH_SOCK; ps -o pid= -C ssh-agent"],
        Secrets(ssh_keys=[key]),
    )
    assert ended(one).rc == 0
    listed, socket, *_ = folder.output.read_text().split("\n")
    assert "of a test (ED25519)" in listed
    assert not Path(socket).exists() and not Path(socket).parent.exists()
    for path in folder.path.rglob("*"):
        assert not path.is_file() or key.split("\n")[2] not in path.read_text(), path


def test_a_key_that_is_none_is_told(folder: Folder) -> None:
    found = ended(run(folder, ["true"], Secrets(ssh_keys=["nonsense"])))
    assert found.reason == "not started" and "SSH key 1 of 1" in found.detail


def test_output_has_a_bound(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "OUTPUT_MOST", 1000)
    found = ended(run(folder, ["sh", "-c", "for i in 1 2 3 4 5; do head -c 400 /dev/zero; echo; done"]))
    assert (found.rc, found.lost) == (0, 5 * 401 - 1000)
    assert folder.output.stat().st_size == 1000


def full_disk(where: Path) -> Iterator[Path]:
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", where], check=True)
    yield where
    subprocess.run(["umount", "-l", where], check=True)


@pytest.mark.root
def test_a_full_disk_holds_nothing_up(tmp_path: Path) -> None:
    """The program runs to its end, and the status file, which was made before, says how."""
    for where in full_disk(tmp_path / "small"):
        folder = Folder(where, 1)
        folder.make()
        one = run(folder, ["sh", "-c", "head -c 200000 /dev/zero | tr '\\0' x; exit 7"])
        found = ended(one)
        assert (found.reason, found.rc) == ("ended", 7) and found.lost > 100_000
        one.process.wait(10)


def test_the_pipe_is_nobody_elses(folder: Folder, started: list[Launched]) -> None:
    """A process that is started meanwhile must not hold the pipe open."""
    one = run(folder, ["sleep", "600"])
    started.append(one)
    other = subprocess.Popen(["sleep", "5"])
    one.abandon()
    one.process.wait(20)
    assert other.poll() is None
    other.kill()
    other.wait()


def test_phase_files_that_are_no_json(tmp_path: Path) -> None:
    phase = Phase(tmp_path, "run")
    assert phase.ended() is None and phase.started() is None
    for text in ("", " " * 100, "[1]", "{"):
        phase.status.write_text(text)
        assert phase.ended() is None
