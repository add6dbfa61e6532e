# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands between an executor and the program that it runs, so that nothing of it outlives the executor.

A process of its own, with nothing but Python's library. On its standard input it gets one line of JSON (what to run) and then
words: `cancel`. When that pipe closes, because the executor has closed it or is dead, it ends all that it has started. Its children
are in a process group of their own, and what leaves that group (connections that stay open, background jobs) becomes its own child
all the same. SSH keys go through memory into an agent that lives as long as the run. The program's output goes through here into a
file: known secrets are hidden on the way, and a full disk does not hold the program up.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

GRACE = 10.0  # seconds between SIGTERM and SIGKILL
AGENT_SECONDS = 10.0
STATUS_SIZE = 4096  # bytes, reserved at the start: the last word has room on a full disk
HIDDEN = b"********"
HELD_MOST = 256 * 1024  # bytes of a line that is not ended, before it is written all the same
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)


class Output:
    """The file that the program's output goes to, without known secrets. What the disk does not take is counted."""

    def __init__(self, path: str, most: int, secrets: list[str]) -> None:
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.left = most - os.fstat(self.descriptor).st_size
        self.lost = 0
        parts = {line.strip() for text in secrets for line in (text, *text.splitlines())}
        found = sorted((one.encode() for one in parts if len(one) >= 4), key=len, reverse=True)
        self.pattern = re.compile(b"|".join(map(re.escape, found))) if found else None
        self.held = b""

    def add(self, content: bytes) -> None:
        """Whole lines are written at once; the rest waits, as a secret may go on in it."""
        content = self.held + content
        cut = content.rfind(b"\n") + 1
        if len(content) - cut > HELD_MOST:
            cut = len(content)
        self.held = content[cut:]
        self._write(content[:cut])

    def flush(self) -> None:
        content, self.held = self.held, b""
        self._write(content)

    def _write(self, content: bytes) -> None:
        if self.pattern is not None:
            content = self.pattern.sub(HIDDEN, content)
        if len(content) > self.left:
            self.lost += len(content) - max(self.left, 0)
            content = content[: max(self.left, 0)]
        try:
            while content:
                written = os.write(self.descriptor, content)
                self.left -= written
                content = content[written:]
        except OSError:
            self.lost += len(content)


class Shim:
    def __init__(self, told: dict[str, Any], status: int, control: bytes = b"") -> None:
        self.told = told
        self.status = status
        self.output = Output(told["output"], told["output_most"], told["secrets"])
        self.sockets = ""
        self.child: subprocess.Popen[bytes] | None = None
        self.reason = "ended"
        self.deadline = 0.0  # of the program, once it was told to end
        self.control = control  # words that are not acted on yet

    def run(self) -> None:
        """All of it; the status file says what came of it."""
        detail = ""
        try:
            environment = dict(self.told["env"])
            if self.told["ssh_keys"]:
                environment["SSH_AUTH_SOCK"] = self._agent(self.told["ssh_keys"])
            self._start(environment)
            self._heed()
            self._watch()
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            self.reason, detail = "not started", str(error)
        self.output.flush()
        self._sweep()
        if self.sockets:
            shutil.rmtree(self.sockets, ignore_errors=True)
        self._say(detail)

    def _agent(self, keys: list[str]) -> str:
        """Start an agent with these keys; its socket. RuntimeError if it does not take one."""
        self.sockets = tempfile.mkdtemp(prefix="xh-run-")
        self._note()
        path = os.path.join(self.sockets, "agent")
        bound: dict[str, Any] = {**dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL), **_BOUND}
        subprocess.Popen(["ssh-agent", "-D", "-a", path], **bound)
        end = time.monotonic() + AGENT_SECONDS
        while not os.path.exists(path):
            if time.monotonic() > end:
                raise RuntimeError("ssh-agent does not start")
            time.sleep(0.02)
        environment = {"SSH_AUTH_SOCK": path, "PATH": self.told["env"].get("PATH", os.defpath)}
        for number, key in enumerate(keys, 1):
            done = subprocess.run(
                ["ssh-add", "-q", "-"], input=key.encode(), env=environment, capture_output=True, timeout=AGENT_SECONDS, check=False
            )  # fmt: skip
            if done.returncode != 0:
                reason = done.stderr.decode(errors="replace").strip().splitlines()
                raise RuntimeError(
                    f"SSH key {number} of {len(keys)}: ssh-add does not take it: {' '.join(reason[:1])}"
                )
        return path

    def _start(self, environment: dict[str, str]) -> None:
        told = self.told
        self.child = subprocess.Popen(
            told["argv"], env=environment, cwd=told["cwd"], pass_fds=told["fds"], start_new_session=True, **_BOUND,
            stdin=subprocess.DEVNULL if told["stdin"] is None else told["stdin"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        for descriptor in {*told["fds"], *([told["stdin"]] if told["stdin"] is not None else [])}:
            os.close(descriptor)
        self._note()

    def _note(self) -> None:
        """Who is who, for an executor that comes later and finds them."""
        whole: dict[str, Any] = {"pid": os.getpid(), "start": start_of(os.getpid()), "sockets": self.sockets}
        if self.child is not None:
            whole |= {"child": self.child.pid, "child_start": start_of(self.child.pid)}
        with contextlib.suppress(OSError):
            draft = f"{self.told['note']}.new"
            with open(
                os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
            ) as file:
                json.dump(whole, file)
            os.replace(draft, self.told["note"])

    def _watch(self) -> None:
        child = self.child
        assert child is not None and child.stdout is not None
        os.set_blocking(child.stdout.fileno(), False)
        ended = os.pidfd_open(child.pid)
        with selectors.DefaultSelector() as ready:
            for one in (0, child.stdout.fileno(), ended, _woken):
                ready.register(one, selectors.EVENT_READ)
            while True:
                events = {key.fd for key, _ in ready.select(self._patience())}
                if child.stdout.fileno() in events and not self._read_output(child.stdout.fileno()):
                    ready.unregister(child.stdout.fileno())
                if 0 in events and not self._read_control():
                    ready.unregister(0)
                if _woken in events:
                    os.read(_woken, 64)
                    self._end("stopped")
                if not events:
                    self.output.flush()
                if self.deadline and time.monotonic() > self.deadline:
                    _signal_group(child.pid, signal.SIGKILL)
                if ended in events:
                    break
        child.wait()
        self._drain(child.stdout.fileno())
        os.close(ended)

    def _patience(self) -> float:
        return 0.5 if not self.deadline else max(0.05, min(0.5, self.deadline - time.monotonic()))

    def _read_output(self, descriptor: int) -> bool:
        """False at the end."""
        try:
            content = os.read(descriptor, 256 * 1024)
        except BlockingIOError:
            return True
        self.output.add(content)
        return bool(content)

    def _drain(self, descriptor: int) -> None:
        """What the program had written before it ended. A process that it has left behind may hold the pipe open for ever."""
        with contextlib.suppress(BlockingIOError):
            while content := os.read(descriptor, 256 * 1024):
                self.output.add(content)

    def _read_control(self) -> bool:
        """False at the end."""
        content = os.read(0, 4096)
        if not content:
            self._end("executor gone")
            return False
        self.control += content
        self._heed()
        return True

    def _heed(self) -> None:
        while b"\n" in self.control:
            word, _, self.control = self.control.partition(b"\n")
            if word in (b"cancel", b"stop"):
                self._end("cancelled" if word == b"cancel" else "stopped")

    def _end(self, reason: str) -> None:
        """Tell the program to end; after the grace it is made to."""
        if not self.deadline and self.child is not None:
            self.reason = reason
            self.deadline = time.monotonic() + float(self.told.get("grace", GRACE))
            _signal_group(self.child.pid, signal.SIGTERM)

    def _sweep(self) -> None:
        """End what is left: the group, and every process that came down to this one."""
        if self.child is not None:
            _signal_group(self.child.pid, signal.SIGTERM if self.reason == "ended" else signal.SIGKILL)
        began = time.monotonic()
        while True:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            left = list(_children(os.getpid()))
            if not left or time.monotonic() - began > 2 * GRACE:
                return
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if time.monotonic() - began > 1 else signal.SIGTERM)
            time.sleep(0.05)

    def _say(self, detail: str) -> None:
        code = self.child.returncode if self.child is not None else None
        whole = {"rc": code, "reason": self.reason, "detail": detail[:1000], "output_lost": self.output.lost}
        os.pwrite(self.status, json.dumps(whole).encode().ljust(STATUS_SIZE), 0)


def start_of(pid: int) -> int:
    """When a process began, in clock ticks since boot: with its number it names it, for numbers are used again."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])


def _children(parent: int) -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
                if int(fields[1]) == parent:
                    yield int(name)


def _signal_group(leader: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _die_with_me() -> None:
    """In the child, before it becomes its program: it gets SIGTERM when the shim dies, however that comes."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


_BOUND: dict[str, Any] = {"preexec_fn": _die_with_me}  # there are no threads here


def _read_first() -> tuple[bytes, bytes]:
    """The first line, and what came behind it already."""
    found = b""
    while b"\n" not in found:
        content = os.read(0, 65536)
        if not content:
            return b"", b""
        found += content
    line, _, rest = found.partition(b"\n")
    return line, rest


def main() -> None:
    """Exits with 0 once the status file says all."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    line, rest = _read_first()
    if not line:
        return
    told = json.loads(line)
    status = os.open(told["status"], os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with contextlib.suppress(OSError):
        os.pwrite(status, b" " * STATUS_SIZE, 0)
    Shim(told, status, rest).run()


_woken, _wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

if __name__ == "__main__":
    for _number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(_number, lambda *_: os.write(_wake, b"."))
    main()
    sys.exit(0)
