# SPDX-License-Identifier: GPL-3.0-or-later
"""An Ansible callback that writes when each task began and ended on each host, for tests/bench/hosts.py."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: bench_times
type: aggregate
short_description: Seconds a task and host as JSON lines
description: Seconds a task and host as JSON lines, in the file that the environment variable BENCH_TIMES names.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "bench_times"

    def __init__(self) -> None:
        super().__init__()
        self._begun: dict[tuple[str, str], float] = {}

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._begun[(host.name, task._uuid)] = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        ended = time.monotonic()
        host, task = result.host.name, result.task
        line = {
            "task": task.name,
            "host": host,
            "seconds": ended - self._begun[(host, task._uuid)],
            "changed": bool(result.result.get("changed")),
        }
        with open(os.environ["BENCH_TIMES"], "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
