# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to a server under measurement, several at a time, and what the server itself says that each took."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.bench.figures import BenchError
from tests.webui.support_server import Server

LOG_SECONDS = 20  # for the lines of requests that were answered already


class Answer(NamedTuple):
    """``request_id``: as the server's log has it."""

    status: int
    size: int
    request_id: str
    headers: Mapping[str, str]


@contextmanager
def serving(data_dir: Path, *options: str) -> Iterator[Server]:
    """The server on a seeded data directory, as a process of its own."""
    with Server(data_dir, "--log-format", "json", "--executors", "0", *options) as server:
        yield server
        status = server.stop()
    if status != 0:
        raise BenchError(f"the server ended with {status}: {''.join(server.log[-5:])}")


def ask(
    server: Server, path: str, headers: Mapping[str, str], count: int, at_once: int, name: str
) -> list[Answer]:
    """``count`` GET requests, ``at_once`` at a time, each of these over a connection of its own. BenchError if one fails to come
    back with 200 or 304."""
    found: list[Answer] = []
    failures: list[str] = []
    numbers = iter(range(count))
    lock = threading.Lock()

    def work() -> None:
        connection = http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=60)
        try:
            while not failures:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                request_id = f"{name}-{number}"
                connection.request("GET", path, headers={**headers, "X-Request-Id": request_id})
                response = connection.getresponse()
                body = response.read()
                if response.status not in (200, 304):
                    failures.append(f"GET {path}: {response.status} {body[:300].decode(errors='replace')}")
                    return
                with lock:
                    found.append(Answer(response.status, len(body), request_id, dict(response.getheaders())))
        except OSError as error:
            failures.append(f"GET {path}: {error}")
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    if failures:
        raise BenchError(failures[0])
    return found


def server_times(server: Server, answers: Sequence[Answer]) -> list[float]:
    """Milliseconds that the server took for each of these, by its own log. BenchError if a line is missing."""
    wanted = {one.request_id for one in answers}
    end = time.monotonic() + LOG_SECONDS
    while True:
        lines = (json.loads(line) for line in server.log[:] if '"ms"' in line)
        found = {line["request_id"]: float(line["ms"]) for line in lines if line.get("request_id") in wanted}
        if len(found) == len(wanted):
            server.log.clear()
            return [found[one.request_id] for one in answers]
        if time.monotonic() > end:
            raise BenchError(f"{len(wanted) - len(found)} requests are not in the server's log")
        time.sleep(0.02)


def percentile(samples: Sequence[float], part: float) -> float:
    """The sample below or at which this part of them is: nearest rank."""
    ordered = sorted(samples)
    return ordered[max(0, -(-len(ordered) * round(part * 1000) // 1000) - 1)]


def peak_memory(server: Server) -> float:
    """The greatest resident size that the server has had, in MiB."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise BenchError("the kernel does not tell the size of the server")
