# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook doctor, on hosts that are this machine: it finds what is wrong, and changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from crosshost_webui.collection import collections_path
from crosshost_webui.executor import command

pytestmark = [pytest.mark.root, pytest.mark.slow]


def doctor(folder: Path, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit status and the record of a run on three hosts, of which one's address is nobody's."""
    hosts = {
        name: {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "crosshost_vtep": vtep,
        }
        for name, vtep in (("a", "192.0.2.91"), ("b", "192.0.2.92"), ("c", "192.0.2.93"))
    }
    (folder / "inventory.json").write_text(json.dumps({"crosshost": {"hosts": hosts}}))
    record = folder / "r.jsonl"
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8", "ANSIBLE_COLLECTIONS_PATH": str(collections_path()),
        "ANSIBLE_CALLBACKS_ENABLED": "crosshost.network.record", "CROSSHOST_RECORD_FILE": str(record),
        "ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.yaml",
    }  # fmt: skip
    argv = [
        sys.executable,
        "-m",
        "ansible",
        "playbook",
        "-i",
        str(folder / "inventory.json"),
        *options,
        str(command.playbook("doctor")),
    ]
    done = subprocess.run(
        argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert record.exists(), done.stdout + done.stderr
    return done.returncode, [json.loads(line) for line in record.read_text().splitlines()]


def told(record: list[dict[str, Any]], status: str) -> dict[str, Any]:
    return {
        one["host"]: one.get("body", {}).get("msg")
        for one in record
        if one["kind"] == "result" and one["status"] == status
    }


def test_it_tells_what_is_wrong(tmp_path: Path) -> None:
    code, record = doctor(tmp_path, "-e", "crosshost_doctor_peers=1")
    assert code == 2
    failed = told(record, "failed")
    assert failed.keys() == {"a", "b", "c"}
    assert any("b: 192.0.2.92 does not answer" in line for line in failed["a"])
    assert any("a: 192.0.2.91 does not answer" in line for line in failed["c"])
    assert told(record, "changed") == {}


def test_parts_by_tags(tmp_path: Path) -> None:
    _code, record = doctor(tmp_path, "--tags", "networks", "--check")
    actions = [one["action"].rpartition(".")[2] for one in record if one["kind"] == "task"]
    assert "network_info" in actions and "underlay_check" not in actions
    assert {one["module"] for one in record if one["kind"] == "seen"} >= {
        "endpoint",
        "overlay_network",
        "service",
    }
