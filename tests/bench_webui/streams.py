# SPDX-License-Identifier: GPL-3.0-or-later
"""From an event of a run to the browsers that watch it."""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from crosshost_webui.app import API
from crosshost_webui.executor.worker import ROUND

from tests.bench.figures import BenchError, Figure
from tests.bench_webui.load import percentile
from tests.bench_webui.pages import credentials
from tests.webui.support_server import Server

HOSTS = 100
WAIT_SECONDS = 30


class Browser(threading.Thread):
    """Watches a run. ``arrived``: when it has had each event, by its number."""

    def __init__(self, address: str, path: str, headers: Mapping[str, str]) -> None:
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=WAIT_SECONDS)
        self.path, self.headers = path, headers
        self.watching = threading.Event()
        self.arrived: dict[int, float] = {}

    def run(self) -> None:
        try:
            self.connection.request("GET", self.path, headers=dict(self.headers))
            response = self.connection.getresponse()
            name = ""
            for line in response:
                self.watching.set()
                field, _, value = line.decode().strip().partition(": ")
                if field == "event":
                    name = value
                elif field == "data" and name == "results":
                    at = time.monotonic()
                    for one in json.loads(value)["results"]:
                        self.arrived[one["seq"]] = at
                elif field == "data" and name == "end":
                    return
        finally:
            self.connection.close()


def streams(running: Server, data_dir: Path, browsers: int, rate: int, seconds: int) -> list[Figure]:
    """``browsers`` on one run into which ``rate`` results a second come, handed over as an executor does: every ROUND seconds what
    there is. A result counts from its own beginning, in every browser."""
    _, program = credentials(data_dir)
    with httpx.Client(base_url=f"{running.address}{API}", headers=program, timeout=WAIT_SECONDS) as http:
        run_id = _post(http, "/runs/record", {"uuid": str(uuid.uuid4()), "playbook": "bench.yml"})["id"]
        watching = [Browser(running.address, f"{API}/runs/{run_id}/stream", program) for _ in range(browsers)]
        for one in watching:
            one.start()
        for one in watching:
            if not one.watching.wait(WAIT_SECONDS):
                raise BenchError(
                    f"only {sum(b.watching.is_set() for b in watching)} of {browsers} streams came open"
                )
        began = _send(http, run_id, rate, seconds)
        for one in watching:
            one.join(WAIT_SECONDS)
    missing = sum(len(began) - len(one.arrived) for one in watching)
    if missing:
        raise BenchError(f"{missing} of {len(began) * browsers} results have not arrived")
    late = [(one.arrived[seq] - at) * 1000 for one in watching for seq, at in began.items()]
    told = f"from a result to {browsers} browsers at {rate} results/s, p95"
    return [Figure("streams", told, [percentile(late, 0.95)], [], "ms", 300.0)]


def _send(http: httpx.Client, run_id: int, rate: int, seconds: int) -> dict[int, float]:
    """When each result was, by its number."""
    now_ms = round(time.time() * 1000)
    head: list[dict[str, Any]] = [
        {"seq": 1, "at": now_ms, "kind": "play", "name": "bench"},
        {
            "seq": 2,
            "at": now_ms,
            "kind": "task",
            "task": 1,
            "name": "bench",
            "action": "debug",
            "play": "bench",
        },
    ]
    path = f"/runs/{run_id}/events"
    _post(http, path, {"events": head})
    began: dict[int, float] = {}
    start = time.monotonic()
    seq = 2
    while len(began) < rate * seconds:
        time.sleep(max(0.0, ROUND - (time.monotonic() - start) % ROUND))
        due = min(rate * seconds, int((time.monotonic() - start) * rate))
        batch = []
        for number in range(len(began), due):
            seq += 1
            began[seq] = start + number / rate
            batch.append(
                {
                    "seq": seq, "at": now_ms + round(number * 1000 / rate), "kind": "result", "task": 1,
                    "host": f"host-{number % HOSTS:04d}", "status": "ok", "ms": 10,
                }
            )  # fmt: skip
        _post(http, path, {"events": batch})
    end = [
        {"seq": seq + 1, "at": now_ms, "kind": "stats", "hosts": {}},
        {"seq": seq + 2, "at": now_ms, "kind": "end"},
    ]
    _post(http, path, {"events": end})
    return began


def _post(http: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = http.post(path, json=body)
    if answer.is_error:
        raise BenchError(f"POST {path}: {answer.status_code} {answer.text[:300]}")
    found: dict[str, Any] = answer.json()
    return found
