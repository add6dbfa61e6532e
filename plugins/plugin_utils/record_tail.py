# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends a record to a dashboard while its run goes on, then those that earlier runs have left in the same folder.

A program of its own (``record_start`` starts it), with nothing but Python's library. The file is the buffer: how far the dashboard
is, it says itself when the run is registered, so that nothing is lost or doubled whoever of the two is started anew.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import http.client
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, BinaryIO, Optional

ROUND = 0.25  # seconds
BATCH = 200  # events
BATCH_BYTES = 4 * 2**20
HEARTBEAT = 15.0  # seconds without an event, after which the dashboard is told that the run is alive
PATIENCE = 300.0  # seconds after the end of the run in which an absent dashboard is waited for
SLOWEST = 30.0  # seconds between attempts
REGISTER = "/record"
# how every line begins; further on, whatever a module returns may look like it
_HEAD = re.compile(rb'\{"seq":(\d+),"at":\d+,"kind":"(\w+)"')


class RefusedError(Exception):
    """The dashboard does not take it, and would not do so later."""


class AwayError(Exception):
    """It cannot be reached, or cannot take it now."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token goes where it was sent, and nowhere else."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


class Dashboard:
    def __init__(self, url: str, token_file: str) -> None:
        self.base = f"{url.rstrip('/')}/api/v1/runs"
        self.token_file = token_file
        self.opener = urllib.request.build_opener(_NoRedirect())

    def post(self, path: str, body: bytes) -> dict[str, Any]:
        try:
            with open(self.token_file, encoding="utf-8") as file:
                token = file.read().strip()
            request = urllib.request.Request(  # noqa: S310 - the operator's own address
                f"{self.base}{path}", body, {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
            )  # fmt: skip
            with self.opener.open(request, timeout=30) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read(2000).decode(errors="replace")
            # an address without a dashboard behind it answers 404 as well, until there is one
            if error.code in (400, 409, 410, 413, 422) or (error.code == 404 and path != REGISTER):
                raise RefusedError(f"{error.code}: {reason}") from None
            raise AwayError(f"{error.code}: {reason}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise AwayError(str(error)) from None
        if not isinstance(found, dict):
            raise AwayError(f"{self.base}{path}: the answer is not a dashboard's")
        return found


class Record:
    """A record on its way. ``sent``: the number of the last event that the dashboard has."""

    def __init__(self, path: str, dashboard: Dashboard) -> None:
        self.path = path
        self.dashboard = dashboard
        self.run_id: Optional[int] = None
        self.sent = 0
        self.read = 0  # the number of the last event that was read
        self.ended = False  # the event that says so was read
        self._waiting: list[bytes] = []
        self._file: BinaryIO = open(path, "rb")  # noqa: SIM115 - closed in close()

    def close(self) -> None:
        self._file.close()

    @property
    def is_delivered(self) -> bool:
        return self.ended and not self._waiting and self.sent >= self.read

    def pull(self) -> bool:
        """Read what is there, up to a batch; whether that was all. A line that is not whole yet stays in the file."""
        size = sum(map(len, self._waiting))
        while len(self._waiting) < BATCH and size < BATCH_BYTES:
            place = self._file.tell()
            line = self._file.readline()
            if not line.endswith(b"\n"):
                self._file.seek(place)
                return True
            found = _HEAD.match(line)
            if found is None:
                continue
            self.read = int(found[1])
            self.ended = self.ended or found[2] == b"end"
            if self.read > self.sent:
                self._waiting.append(line.rstrip(b"\n"))
                size += len(line)
        return False

    def push(self, heartbeat: bool = False) -> None:
        """Send what was read. RefusedError, AwayError."""
        if self.run_id is None:
            self._register()
        if not self._waiting and not heartbeat:
            return
        body = b'{"events":[' + b",".join(self._waiting) + b"]}"
        answer = self.dashboard.post(f"/{self.run_id}/events", body)
        self._acknowledged(int(answer["last_seq"]))

    def finish(self) -> None:
        """The writer is gone and has not said that it ends: say it instead."""
        if not self.ended:
            event = {"seq": self.read + 1, "at": time.time_ns() // 1_000_000, "kind": "end"}
            self.read += 1
            self.ended = True
            self._waiting.append(json.dumps(event, separators=(",", ":")).encode())

    def _register(self) -> None:
        with open(self.path, "rb") as file:
            first = file.readline()
        try:
            start = json.loads(first)
        except ValueError:
            raise RefusedError(f"{self.path}: it does not begin as a record does") from None
        keys = ("uuid", "playbook", "check", "diff", "limit", "tags", "forks", "ansible", "user", "at")
        answer = self.dashboard.post(
            REGISTER, json.dumps({key: start[key] for key in keys if key in start}).encode()
        )
        self.run_id = int(answer["id"])
        self._acknowledged(int(answer.get("last_seq", 0)))

    def _acknowledged(self, seq: int) -> None:
        self.sent = max(self.sent, seq)
        self._waiting = [line for line in self._waiting if _seq_of(line) > self.sent]


def _seq_of(line: bytes) -> int:
    found = _HEAD.match(line)
    return int(found[1]) if found else 0


@contextlib.contextmanager
def locked(path: str) -> Iterator[bool]:
    """Whether nobody else is sending this record."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def has_writer(path: str) -> bool:
    """Whether the run that writes the record is still there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def deliver(path: str, dashboard: Dashboard, patience: float) -> bool:
    """Send a record until its end. False if the dashboard stayed away; the record is then left for later. One that is refused
    is kept under another name, with the reason beside it."""
    record = Record(path, dashboard)
    try:
        _follow(record, patience)
    except RefusedError as error:
        _set_aside(path, str(error))
        return True
    except AwayError:
        return False
    finally:
        record.close()
    _remove(path)
    return True


def _follow(record: Record, patience: float) -> None:
    pause, last, gone_since = ROUND, time.monotonic(), 0.0
    while not record.is_delivered:
        alive = has_writer(record.path)
        before = record.read
        if record.pull() and not alive:
            record.finish()
        beat = time.monotonic() - last > HEARTBEAT
        try:
            record.push(beat)
        except AwayError:
            gone_since = gone_since or time.monotonic()
            if not alive and time.monotonic() - gone_since > patience:
                raise
            pause = min(pause * 2, SLOWEST)
        else:
            gone_since, pause = 0.0, ROUND
            if beat or record.read > before:
                last = time.monotonic()
        if not gone_since and record.read - before >= (BATCH if alive else 1):
            continue  # there may be more, and nothing to wait for
        if not record.is_delivered:
            time.sleep(min(pause, patience) if not alive else pause)


def _set_aside(path: str, reason: str) -> None:
    with contextlib.suppress(OSError):
        with open(f"{path}.reason", "w", encoding="utf-8") as file:
            file.write(f"{reason}\n")
        os.replace(path, f"{path}.refused")
        os.unlink(f"{path}.lock")


def _remove(path: str) -> None:
    for one in (path, f"{path}.lock"):
        with contextlib.suppress(OSError):
            os.unlink(one)


def left_over(folder: str, own: str) -> list[str]:
    """The records of earlier runs, oldest first."""
    found = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".jsonl")]
    return sorted((path for path in found if path != own and os.path.exists(path)), key=os.path.getmtime)


def run(path: str, dashboard: Dashboard, patience: float) -> None:
    with locked(path) as mine:
        if not mine or not deliver(path, dashboard, patience):
            return
    for other in left_over(os.path.dirname(path), path):
        with contextlib.suppress(FileNotFoundError), locked(other) as mine:
            # a writer that lives has a process such as this one
            waits = mine and os.path.exists(other) and not has_writer(other)
            if waits and not deliver(other, dashboard, patience):
                return


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Sends a record to a dashboard.")
    parser.add_argument("--record", required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token-file", required=True)
    parser.add_argument("--patience", type=float, default=PATIENCE)
    given = parser.parse_args(argv)
    run(given.record, Dashboard(given.url, given.token_file), given.patience)


if __name__ == "__main__":
    main(sys.argv[1:])
