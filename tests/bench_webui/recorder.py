# SPDX-License-Identifier: GPL-3.0-or-later
"""What recording a run costs: the processor time of a playbook of 2,000 results with the callback `record`, without, and with ARA.

All three run in a virtualenv of the benchmark's own, by the same Python and the same ansible-core. The runs of a pair follow each
other, in turns the one or the other first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path

from tests.bench.figures import BenchError, Figure

CHECKOUT = Path(__file__).resolve().parents[2]
VENV = CHECKOUT / ".build" / "bench-ara"
ARA = "1.8"
TASKS, FORKS = 20, 10
COST_MOST, OF_ARA_MOST = 1.03, 0.6
RUN_SECONDS = 900


def measure(folder: Path, full: int) -> list[Figure]:
    """Both figures; ``full`` 0: a fifth of the hosts, and fewer pairs."""
    hosts, pairs, of_ara = (100, 9, 2) if full else (20, 3, 1)
    bench = Bench(folder, hosts, _python())
    bench.warm_up()
    ours: list[float] = []
    bare: list[float] = []
    for number in range(pairs):
        turns = [(ours, bench.recorded), (bare, bench.bare)]
        for samples, run in turns if number % 2 else reversed(turns):
            samples.append(run())
    again: list[float] = []
    ara: list[float] = []
    for _ in range(of_ara):
        again.append(bench.recorded())
        ara.append(bench.with_ara())
    results = hosts * TASKS
    return [
        Figure(
            "recorder", f"processor time of {results} results, recorded against not recorded", ours, bare, "s", COST_MOST
        ),
        Figure("recorder-ara", f"the same against ARA {ARA}", again, ara, "s", OF_ARA_MOST),
    ]  # fmt: skip


class Bench:
    """Runs of one playbook on hosts that are this machine."""

    def __init__(self, folder: Path, hosts: int, python: Path) -> None:
        self.folder = folder / "recorder"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.hosts = hosts
        self.python = python
        self._count = 0
        names = "".join(f"h{number} ansible_connection=local\n" for number in range(hosts))
        (self.folder / "inventory").write_text(names)
        tasks = "".join(
            f"    - name: task {number}\n      debug: {{msg: 'hello {number}'}}\n" for number in range(TASKS)
        )
        (self.folder / "play.yml").write_text(f"- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}")
        told = subprocess.run(
            [python, "-m", "ara.setup.callback_plugins"], capture_output=True, text=True, check=True, env=_environment()
        )  # fmt: skip
        self._ara_plugins = told.stdout.strip()

    def warm_up(self) -> None:
        """What the first run of each kind alone has to do: compile Python, make ARA's database."""
        for run in (self.bare, self.recorded, self.with_ara):
            run(only="h0")

    def bare(self, only: str = "") -> float:
        return self._seconds({}, only)

    def recorded(self, only: str = "") -> float:
        """BenchError if the record is not whole: a recorder that records nothing is cheap."""
        self._count += 1
        path = self.folder / f"record-{self._count}.jsonl"
        more = {"ANSIBLE_CALLBACKS_ENABLED": "crosshost.network.record", "CROSSHOST_RECORD_FILE": str(path)}
        seconds = self._seconds(more, only)
        with path.open(encoding="utf-8") as file:
            kinds = [json.loads(line)["kind"] for line in file]
        wanted = TASKS * (1 if only else self.hosts)
        if kinds.count("result") != wanted or kinds[-1] != "end":
            raise BenchError(f"recorder: {kinds.count('result')} results are recorded, not {wanted}")
        return seconds

    def with_ara(self, only: str = "") -> float:
        more = {
            "ANSIBLE_CALLBACK_PLUGINS": self._ara_plugins, "ARA_API_CLIENT": "offline", "ARA_BASE_DIR": str(self.folder / "ara"),
        }  # fmt: skip
        return self._seconds(more, only)

    def _seconds(self, more: Mapping[str, str], only: str) -> float:
        """Processor time of a run with all its processes, user and system."""
        argv = [
            str(self.python),
            "-m",
            "ansible",
            "playbook",
            "-i",
            "inventory",
            "--forks",
            str(FORKS),
            "play.yml",
        ]
        argv += ["--limit", only] if only else []
        process = subprocess.Popen(
            argv, cwd=self.folder, env=_environment(more), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        errors = process.stderr.read()
        _pid, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stderr.close()
        if process.returncode != 0:
            raise BenchError(
                f"recorder: ansible-playbook ended with {process.returncode}: {errors.decode()[-300:]}"
            )
        return used.ru_utime + used.ru_stime


def _environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {
        **kept, "LC_ALL": "C.UTF-8", "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".build"), "ANSIBLE_CONFIG": "/nonexistent",
        "ANSIBLE_LOCALHOST_WARNING": "0", "ANSIBLE_PYTHON_INTERPRETER": sys.executable, **(more or {}),
    }  # fmt: skip


def _python() -> Path:
    """The virtualenv's Python. Made at the first call, which downloads ARA. BenchError if that fails."""
    python = VENV / "bin" / "python"
    wanted = [f"ara[server]=={ARA}.*", f"ansible-core=={version('ansible-core')}"]
    marker = VENV / "holds"
    if marker.is_file() and marker.read_text() == " ".join(wanted):
        return python
    try:
        run = partial(subprocess.run, check=True, capture_output=True, timeout=RUN_SECONDS)
        run([sys.executable, "-m", "venv", "--clear", VENV])
        run([python, "-m", "pip", "install", "--quiet", *wanted])
    except subprocess.SubprocessError as error:
        told = getattr(error, "stderr", b"") or b""
        raise BenchError(f"recorder: ARA cannot be installed: {told.decode()[-300:] or error}") from None
    marker.write_text(" ".join(wanted))
    return python
