# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's hosts for figures 4 to 7: running commands and playbooks on them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from .figures import BenchError

CHECKOUT = Path(__file__).resolve().parents[2]
NAME = "bench"
HOSTS = ("h1", "h2", "h3")
_CALL = re.compile(r"<10\.97\.0\.([0-9]+)> SSH: EXEC ")
Tasks = Sequence[Mapping[str, Any]]


class Times(NamedTuple):
    """How long a task took on a host, as the controller sees it, and whether it changed anything."""

    task: str
    host: str
    seconds: float
    changed: bool


class Lab:
    """A running lab. ``folder`` is for files of this run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = 0

    def on(self, host: str, *argv: str, stdin: str = "") -> str:
        """The output of a command on a host. BenchError when it fails."""
        return _run([*_lab(), "exec", host, *argv], stdin=stdin)

    def script(self, host: str, text: str) -> str:
        return self.on(host, "sh", "-e", stdin=text)

    def begin(self, host: str, text: str, output: Path) -> subprocess.Popen[bytes]:
        """A script on a host that runs while other work is done; what it says goes to the file."""
        with output.open("wb") as file:
            argv = [*_lab(), "exec", host, "sh", "-ec", text]
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=CHECKOUT)

    def play(self, hosts: str, tasks: Tasks) -> list[Times]:
        """Run tasks on hosts; the times of all of them, in their order."""
        play = {"name": "Bench", "hosts": hosts, "gather_facts": False, "tasks": list(tasks)}
        path = self.file(".yml", yaml.safe_dump([play], sort_keys=False))
        times = self.file(".times", "")
        self.playbook(str(path), {"BENCH_TIMES": str(times)})
        return [Times(**json.loads(line)) for line in times.read_text(encoding="utf-8").splitlines()]

    def playbook(
        self,
        playbook: str,
        environment: Mapping[str, str],
        inventory: Path | None = None,
        verbose: bool = False,
        tags: str = "",
    ) -> str:
        """The output of ansible-playbook, run as from the checkout. BenchError when it fails."""
        own = CHECKOUT / "tests/bench/callback"
        settings = {
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".build"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_PLUGINS": str(own),
        }
        if "BENCH_TIMES" in environment:
            settings["ANSIBLE_CALLBACKS_ENABLED"] = "bench_times"
        program = Path(sys.executable).with_name("ansible-playbook")
        inventories = ["-i", str(CHECKOUT / ".lab" / NAME / "inventory.yml")]
        if inventory:
            inventories += ["-i", str(inventory)]
        chosen = ["--tags", tags] if tags else []
        argv = [str(program), *inventories, *chosen, *(["-vvv"] if verbose else []), playbook]
        return _run(argv, {**os.environ, **settings, **environment})

    def file(self, suffix: str, text: str) -> Path:
        """A file of this run with that text."""
        self._files += 1
        path = self._folder / f"{self._files}{suffix}"
        path.write_text(text, encoding="utf-8")
        return path


def executions(text: str) -> Counter[str]:
    """Commands that a verbose run executed on each host. With pipelining a module is one such command, and an action that
    runs no module on the host is none."""
    return Counter(f"h{number}" for number in _CALL.findall(text))


def _lab() -> list[str]:
    return [str(CHECKOUT / "lab" / "lab"), "--name", NAME]


def _run(argv: list[str], env: Mapping[str, str] | None = None, stdin: str = "") -> str:
    done = subprocess.run(
        argv, input=stdin, env=env, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=400
    )
    if done.returncode != 0:
        said = " ".join((done.stderr.strip() or done.stdout.strip()).split())
        raise BenchError(f"{' '.join(argv)[:200]}: ended with {done.returncode}: {said[-600:]}")
    return done.stdout


@contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """Three fresh hosts; they are removed also when the block fails."""
    _run([*_lab(), "down"])
    try:
        _run([*_lab(), "up", "--hosts", str(len(HOSTS))])
        yield Lab(folder)
    finally:
        _run([*_lab(), "down"])
