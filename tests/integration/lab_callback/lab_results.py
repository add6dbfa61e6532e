# SPDX-License-Identifier: GPL-3.0-or-later
"""An Ansible callback that writes each task's result as one JSON line into the file LAB_RESULTS, for lab_run.py."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: lab_results
type: stdout
short_description: Results as JSON lines
description: Results as JSON lines, in the file that the environment variable LAB_RESULTS names.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "lab_results"

    def _write(self, result: Any, **more: Any) -> None:
        line = {"task": result.task.name, "host": result.host.name, "result": {**result.result, **more}}
        with open(os.environ["LAB_RESULTS"], "a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        self._write(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        del ignore_errors
        self._write(result, failed=True)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._write(result, unreachable=True)
