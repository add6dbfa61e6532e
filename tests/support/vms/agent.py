# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a virtual machine: commands and the engine's modules, asked for by lines of JSON. Python and pyroute2 are loaded
once, which saves seconds a call on an emulated processor.

Each line of the standard input is {"call": NAME, "args": {...}}; the answer is {"result": ...} or {"error": TEXT}.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import traceback
from typing import Any

sys.path.insert(0, "/opt")

_running: dict[int, subprocess.Popen[str]] = {}


def run(argv: list[str], given: str = "", timeout: float = 60) -> list[Any]:
    """[exit code, output, errors]; the code is None when the time was up."""
    try:
        done = subprocess.run(argv, input=given, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        return [None, _text(error.stdout), _text(error.stderr)]
    return [done.returncode, done.stdout, done.stderr]


def _text(found: Any) -> str:
    return found.decode(errors="replace") if isinstance(found, bytes) else found or ""


def start(argv: list[str]) -> int:
    """Starts a program and returns its number, for `finish`."""
    child = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _running[child.pid] = child
    return child.pid


def finish(pid: int, timeout: float = 0) -> list[Any]:
    """Waits for a started program, then ends it: [exit code, output, errors]."""
    child = _running.pop(pid)
    try:
        out, err = child.communicate(timeout=timeout or None)
    except subprocess.TimeoutExpired:
        child.terminate()
        out, err = child.communicate()
    return [child.returncode, out, err]


def converge(kind: str, config: list[dict[str, Any]], state: str, check: bool) -> dict[str, Any]:
    """A module's work: what it returns, or {"error": its one line}."""
    from ansible_collections.crosshost.network.plugins.module_utils import info
    from ansible_collections.crosshost.network.plugins.module_utils.converge import converge as run_kind
    from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError

    makers = dict(info.KINDS.values())
    try:
        return run_kind(makers[kind](), config, state, check)._asdict()
    except CrosshostError as error:
        return {"error": str(error)}


def reset() -> None:
    """The machine as it was after its start: no namespaces, no devices but its own, no rules, no records."""
    for child in list(_running):
        _running[child].terminate()
        finish(child)
    for name in subprocess.run(
        ["ip", "netns"], capture_output=True, text=True, check=True
    ).stdout.splitlines():
        subprocess.run(["ip", "netns", "del", name.split()[0]], check=True)
    for link in json.loads(subprocess.check_output(["ip", "-j", "link"])):
        if link["ifname"] not in ("lo", "eth0", "eth1"):
            subprocess.run(["ip", "link", "del", link["ifname"]], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["ip", "link", "set", "eth1", "promisc", "off"], check=True)
    subprocess.run(["ip", "addr", "flush", "dev", "eth1"], check=True)
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    for folder in ("/var/lib/crosshost", "/run/crosshost"):
        shutil.rmtree(folder, ignore_errors=True)


CALLS = {"run": run, "start": start, "finish": finish, "converge": converge, "reset": reset}


def main() -> None:
    # what the engine or a child may print must not end up among the answers
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer: dict[str, Any] = {"result": CALLS[request["call"]](**request["args"])}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
