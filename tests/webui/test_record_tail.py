# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that sends records: nothing is lost or doubled, whatever happens to the dashboard, the run, or itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.plugin_utils import record_start, record_tail
from ansible_collections.crosshost.network.plugins.plugin_utils.record_file import RecordFile

from tests.webui.support_runs import wait_for

TOKEN = "xh_key.secret"


class Dashboard(ThreadingHTTPServer):
    """A dashboard of two routes. ``failures``: statuses to answer with first; ``deaf``: store, and let the answer be lost."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.stored: dict[str, list[int]] = {}
        self.failures: list[int] = []
        self.deaf = 0
        self.batches: list[int] = []
        self.tokens: set[str] = set()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def take(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path.endswith("/record"):
            seqs = self.stored.setdefault(body["uuid"], [])
            return {"id": list(self.stored).index(body["uuid"]) + 1, "last_seq": len(seqs)}
        seqs = list(self.stored.values())[int(path.split("/")[-2]) - 1]
        self.batches.append(len(body["events"]))
        for event in body["events"]:
            if event["seq"] == len(seqs) + 1:
                seqs.append(event["seq"])
        return {"last_seq": len(seqs)}


class Handler(BaseHTTPRequestHandler):
    server: Dashboard

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.tokens.add(self.headers["Authorization"])
        if self.server.failures:
            self.send_error(self.server.failures.pop(0))
            return
        found = json.dumps(self.server.take(self.path, body)).encode()
        if self.server.deaf:
            self.server.deaf -= 1
            self.connection.close()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    found = Dashboard()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return str(path)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_tail, "ROUND", 0.02)
    monkeypatch.setattr(record_tail, "SLOWEST", 0.1)


def record(folder: Path, uuid: str, events: int = 500, end: bool = True) -> str:
    """A record that a run has left."""
    folder.mkdir(exist_ok=True)
    file = RecordFile(str(folder / f"{uuid}.jsonl"))
    file.add({"kind": "start", "uuid": uuid, "playbook": "site.yml"})
    for number in range(events):
        file.add({"kind": "warning", "text": f"{number}"})
    if end:
        file.add({"kind": "end"})
    file.close()
    return file.path


def send(path: str, dashboard: Dashboard, token_file: str, patience: float = 0.5) -> None:
    record_tail.run(path, record_tail.Dashboard(dashboard.url, token_file), patience)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_record_is_sent_in_batches_and_removed(
    dashboard: Dashboard, token_file: str, tmp_path: Path
) -> None:
    path = record(tmp_path / "spool", "one")
    send(path, dashboard, token_file)
    assert dashboard.stored == {"one": list(range(1, 503))}
    assert max(dashboard.batches) == 200 and names(tmp_path / "spool") == []
    assert dashboard.tokens == {f"Bearer {TOKEN}"}


def test_lost_answers_and_errors_lose_nothing(dashboard: Dashboard, token_file: str, tmp_path: Path) -> None:
    path = record(tmp_path / "spool", "one")
    dashboard.failures = [503, 500, 401, 429]
    dashboard.deaf = 3
    send(path, dashboard, token_file, patience=20)
    assert dashboard.stored == {"one": list(range(1, 503))}


def test_a_dashboard_that_is_away_and_comes_back(token_file: str, tmp_path: Path) -> None:
    """The first run finds nobody and leaves its record; the next one sends both."""
    first = Dashboard()
    port = first.server_address[1]
    first.shutdown()
    first.server_close()
    spool = tmp_path / "spool"
    path = record(spool, "one")
    send(path, first, token_file, patience=0.2)
    assert names(spool) == ["one.jsonl", "one.jsonl.lock"]
    back = Dashboard(port)
    try:
        send(record(spool, "two"), back, token_file)
        assert back.stored == {"two": list(range(1, 503)), "one": list(range(1, 503))}
        assert names(spool) == []
    finally:
        back.shutdown()
        back.server_close()


def test_it_follows_a_run_and_waits_for_the_dashboard(token_file: str, tmp_path: Path) -> None:
    """As long as the run goes on, there is no end to its patience."""
    spool = tmp_path / "spool"
    spool.mkdir()
    file = RecordFile(str(spool / "one.jsonl"))
    file.add({"kind": "start", "uuid": "one", "playbook": "site.yml"})
    away = Dashboard()
    port = away.server_address[1]
    away.shutdown()
    away.server_close()
    thread = threading.Thread(target=send, args=(file.path, away, token_file, 0.1))
    thread.start()
    time.sleep(0.5)
    assert thread.is_alive()
    back = Dashboard(port)
    try:
        for number in range(100):
            file.add({"kind": "warning", "text": str(number)})
        wait_for(lambda: len(back.stored.get("one", ())) == 101, 10)
        file.add({"kind": "end"})
        file.close()
        thread.join(10)
        assert not thread.is_alive() and back.stored == {"one": list(range(1, 103))}
    finally:
        back.shutdown()
        back.server_close()


def test_a_run_that_was_killed_is_ended(dashboard: Dashboard, token_file: str, tmp_path: Path) -> None:
    """Half a line at the end is no event; in its place comes the end."""
    path = record(tmp_path / "spool", "one", events=3, end=False)
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"seq":5,"at":17')
    send(path, dashboard, token_file)
    assert dashboard.stored == {"one": [1, 2, 3, 4, 5]}


def test_a_result_that_looks_like_the_end_is_none(
    dashboard: Dashboard, token_file: str, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    file = RecordFile(str(spool / "one.jsonl"))
    file.add({"kind": "start", "uuid": "one", "playbook": "site.yml"})
    file.add({"kind": "result", "body": {"kind": "end", "x": {"seq": 9, "kind": "end"}}})
    thread = threading.Thread(target=send, args=(file.path, dashboard, token_file))
    thread.start()
    wait_for(lambda: dashboard.stored.get("one") == [1, 2], 10)
    file.add({"kind": "end"})
    file.close()
    thread.join(10)
    assert dashboard.stored == {"one": [1, 2, 3]} and names(spool) == []


def test_two_that_send_the_same_record(dashboard: Dashboard, token_file: str, tmp_path: Path) -> None:
    """One does it; the other leaves it."""
    path = record(tmp_path / "spool", "one", events=5000)
    threads = [threading.Thread(target=send, args=(path, dashboard, token_file)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert dashboard.stored == {"one": list(range(1, 5003))} and sum(dashboard.batches) == 5002


def test_what_the_dashboard_refuses_is_set_aside(
    dashboard: Dashboard, token_file: str, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    path = record(spool, "one", events=3)
    dashboard.failures = [422]
    send(path, dashboard, token_file)
    assert names(spool) == ["one.jsonl.reason", "one.jsonl.refused"]
    assert "422" in (spool / "one.jsonl.reason").read_text()
    send(record(spool, "two", events=3), dashboard, token_file)
    assert dashboard.stored.keys() == {"two"}


def test_records_of_runs_under_way_are_theirs(dashboard: Dashboard, token_file: str, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    other = RecordFile(str(spool / "other.jsonl"))
    other.add({"kind": "start", "uuid": "other", "playbook": "site.yml"})
    send(record(spool, "one", events=3), dashboard, token_file)
    assert dashboard.stored.keys() == {"one"} and (spool / "other.jsonl").exists()
    other.close()


def test_a_record_elsewhere_is_kept(dashboard: Dashboard, token_file: str, tmp_path: Path) -> None:
    """The operator has named a file: the spool has a link to it, and the file stays."""
    path = record(tmp_path / "mine", "one", events=3)
    link = record_start.spooled(str(tmp_path / "spool"), "http://x", "one", path)
    assert os.path.islink(link)
    send(link, dashboard, token_file)
    assert dashboard.stored["one"] == [1, 2, 3, 4, 5]
    assert Path(path).exists() and not os.path.lexists(link)


def test_each_dashboard_has_its_own_spool(tmp_path: Path) -> None:
    one = record_start.spooled(str(tmp_path), "http://a/", "u", None)
    assert one == record_start.spooled(str(tmp_path), "http://a", "u", None)
    assert os.path.dirname(one) != os.path.dirname(record_start.spooled(str(tmp_path), "http://b", "u", None))
    assert os.stat(os.path.dirname(one)).st_mode & 0o077 == 0


def test_a_token_is_not_sent_elsewhere(dashboard: Dashboard, token_file: str) -> None:
    """A redirect is an error."""
    dashboard.failures = [307]
    with pytest.raises(record_tail.AwayError, match="307"):
        record_tail.Dashboard(dashboard.url, token_file).post("/record", b"{}")


def test_the_token_is_in_no_argument(dashboard: Dashboard, token_file: str, tmp_path: Path) -> None:
    """The process itself, as the callback starts it: of a session of its own."""
    spool = tmp_path / "spool"
    spool.mkdir()
    file = RecordFile(str(spool / "one.jsonl"))
    file.add({"kind": "start", "uuid": "one", "playbook": "site.yml"})
    before = set(_tailers(token_file))
    record_start.tailer(file.path, dashboard.url, token_file)
    wait_for(lambda: dashboard.stored.get("one") == [1], 20)
    (pid,) = set(_tailers(token_file)) - before
    seen = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    assert TOKEN.encode() not in seen and os.getsid(pid) == pid
    file.add({"kind": "end"})
    file.close()
    wait_for(lambda: dashboard.stored["one"] == [1, 2], 20)
    os.waitpid(pid, 0)


def _tailers(token_file: str) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if token_file.encode() in path.read_bytes():
                yield int(path.parent.name)
        except OSError:
            continue


def test_it_needs_nothing_but_python() -> None:
    program = record_tail.__file__
    subprocess.run([sys.executable, "-I", "-S", program, "--help"], check=True, capture_output=True)
