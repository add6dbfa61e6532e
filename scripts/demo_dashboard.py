# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's dashboard: started, given the lab's inventory, told of every run, left running for whoever wants to look."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".lab" / "dashboard"
START_SECONDS = 60
RECORD_SECONDS = 30
STOP_SECONDS = 30
PORT = 8420
_FIRST = re.compile(r"sign in as (\S+) with the password (\S+)")
_READY = re.compile(r"^The dashboard is at (\S+)$", re.MULTILINE)


class DashboardError(Exception):
    """The dashboard does not do what the demo says it does."""


class Dashboard:
    """``address``: its URL; ``user`` and ``password``: the first account, made at this start."""

    def __init__(self) -> None:
        stop()
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True, mode=0o700)
        self._log = FOLDER / "server.log"
        self._token = FOLDER / "token"
        self.address, self.user, self.password = self._start()

    def _start(self) -> tuple[str, str, str]:
        """Serve on the usual port, or on a free one if somebody has that."""
        for port in (PORT, 0):
            with self._log.open("w", encoding="utf-8") as log:
                process = subprocess.Popen(
                    [*_command("serve"), "--port", str(port)],
                    env=_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
            _note(process.pid)
            end = time.monotonic() + START_SECONDS
            while time.monotonic() < end and process.poll() is None:
                told = self._log.read_text(encoding="utf-8")
                ready, first = _READY.search(told), _FIRST.search(told)
                if ready and first:
                    return ready[1], first[1], first[2]
                time.sleep(0.1)
            if process.poll() is None:
                break
        stop()
        raise DashboardError(f"the dashboard does not start: {self._log.read_text(encoding='utf-8')[-500:]}")

    def take(self, inventory: Path) -> str:
        """Give it the inventory; what it says of that."""
        said = _called("import", str(inventory), "--message", "The lab's own inventory")
        token = _called(
            "token", "make", self.user, "the demo", "--days", "1", "--scope", "executor", "--scope", "read"
        )
        with open(os.open(self._token, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(token.split()[-1])
        return said

    def recording(self) -> dict[str, str]:
        """The environment in which ansible-playbook tells the dashboard what it does."""
        return {
            "ANSIBLE_CALLBACKS_ENABLED": "crosshost.network.record",
            "CROSSHOST_RECORD_URL": self.address.rstrip("/"),
            "CROSSHOST_RECORD_TOKEN_FILE": str(self._token),
            "CROSSHOST_RECORD_SPOOL": str(FOLDER / "spool"),
        }

    def runs(self, count: int) -> list[dict[str, Any]]:
        """The newest runs, once ``count`` of them have ended. DashboardError if they do not."""
        end = time.monotonic() + RECORD_SECONDS
        while True:
            found: list[dict[str, Any]] = self.get("/api/v1/runs")["items"]
            if len([run for run in found if run["ended_at"]]) >= count:
                return found
            if time.monotonic() > end:
                states = ", ".join(f"{run['id']} {run['status']}" for run in found) or "none"
                raise DashboardError(f"{count} runs should be recorded and ended, there are: {states}")
            time.sleep(0.2)

    def get(self, path: str) -> Any:
        """What the API answers. DashboardError if it refuses."""
        request = urllib.request.Request(  # noqa: S310 - the address is our own server's
            self.address.rstrip("/") + path,
            headers={"Authorization": f"Bearer {self._token.read_text(encoding='utf-8')}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return json.load(answer)
        except (urllib.error.URLError, ValueError) as error:
            raise DashboardError(f"{path}: {error}") from None


def stop() -> None:
    """End the dashboard that was started last, if it is still that process."""
    try:
        pid, began = map(int, (FOLDER / "pid").read_text(encoding="utf-8").split())
    except (OSError, ValueError):
        return
    if _began(pid) != began:
        return
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + STOP_SECONDS
    while _began(pid) == began:
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.05)


def _note(pid: int) -> None:
    (FOLDER / "pid").write_text(f"{pid} {_began(pid)}\n", encoding="utf-8")


def _began(pid: int) -> int:
    """When the process was started, in ticks since boot: its number may be another's by now. 0: there is none, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


def _command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "crosshost_webui.cli", *argv, "--data-dir", str(FOLDER / "data")]


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CROSSHOST_WEBUI_")}
    return {**kept, "PYTHONPATH": str(ROOT / "webui"), "PYTHONUNBUFFERED": "1"}


def _called(*argv: str) -> str:
    done = subprocess.run(_command(*argv), env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DashboardError(f"{argv[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


if __name__ == "__main__":
    stop()
