# SPDX-License-Identifier: GPL-3.0-or-later
"""A server as a process of its own, for tests of what only a process shows: signals, output, its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread

WEBUI = Path(__file__).parents[2] / "webui"
START_SECONDS = 60
STOP_SECONDS = 30


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process' without settings of the dashboard, for a child that finds the package in the checkout."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("CROSSHOST_WEBUI_")}
    return {**found, "PYTHONPATH": str(WEBUI), "PYTHONUNBUFFERED": "1", **(more or {})}


def command(*argv: str, more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`crosshost-webui ARGV`, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "crosshost_webui.cli", *argv],
        env=environment(more), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


class Server:
    """`crosshost-webui serve` on a free port. ``address`` is its URL without the last slash; ``output`` and ``log`` are the lines
    that it has written to its standard output and error."""

    def __init__(
        self, data_dir: Path, *options: str, more: Mapping[str, str] | None = None, argv: Sequence[str] = ()
    ) -> None:
        self.output: list[str] = []
        self.log: list[str] = []
        self.process = subprocess.Popen(
            [*(argv or (sys.executable, "-m", "crosshost_webui.cli")), "serve", "--data-dir", str(data_dir), "--port", "0", *options],
            env=environment(more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._errors = Thread(target=self._read_log, daemon=True)
        self._errors.start()
        try:
            self.address = self._await()
        except BaseException:
            self.kill()
            raise

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)

    def _await(self) -> str:
        """The address that it prints when it listens. AssertionError with its log if it ends before."""
        found: list[str] = []

        def read() -> None:
            assert self.process.stdout is not None
            for line in self.process.stdout:
                self.output.append(line.rstrip("\n"))
                found.extend(re.findall(r"(?:is at |^)(http://\S+?)/?$", line.strip()))
                if found:
                    return

        reader = Thread(target=read, daemon=True)
        reader.start()
        reader.join(START_SECONDS)
        assert found, f"the server did not start: {self.output} {''.join(self.log)}"
        return found[0]

    @property
    def password(self) -> str:
        """Of the first admin."""
        (found,) = re.findall(r"with the password (\S+)", "\n".join(self.output + self.log))
        return str(found)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop; its exit status."""
        self.process.send_signal(how)
        return self._ended()

    def kill(self) -> int:
        return self.stop(signal.SIGKILL)

    def _ended(self) -> int:
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not stop:\n{''.join(self.log)}") from None
        finally:
            self._errors.join(10)
            for pipe in (self.process.stdout, self.process.stderr):
                assert pipe is not None
                pipe.close()
        return status

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
