# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a function in a forked child, in namespaces of its own, and carrying back what it returned or raised.

The process that runs the tests never changes a namespace itself: it has no way back from a mount namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import select
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Ended(NamedTuple):
    """How a child ended. ``signal`` 0: by itself; then ``value`` is the result, or ``error`` what it raised."""

    signal: int
    value: Any = None
    error: BaseException | None = None


class ChildError(AssertionError):
    """An exception of a child that cannot be carried over as it was; the text is its traceback."""


def system_call(name: str, *args: Any) -> None:
    """A function of the C library that answers 0. OSError with its errno otherwise."""
    if getattr(_libc, name)(*args) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def enter(descriptors: Sequence[tuple[int, int]]) -> None:
    """Move this (single-threaded) process into namespaces, given as (descriptor, CLONE_NEW*)."""
    for descriptor, kind in descriptors:
        system_call("setns", descriptor, kind)


def fork(function: Callable[[], Any], timeout: float = 120.0) -> Ended:
    """Run the function in a forked child. AssertionError when it has not ended after ``timeout`` seconds."""
    return _finish(*_start(function), timeout)


def share(function: Callable[[int, int], Any], workers: int = 4, timeout: float = 400.0) -> list[Any]:
    """Run ``function(worker, workers)`` in so many children at once; their results. Most of a kernel test is waiting for
    the kernel, so more children than cores are of use."""
    started = [_start(partial(function, worker, workers)) for worker in range(workers)]
    ended = [_finish(pid, reader, timeout) for pid, reader in started]
    for one in ended:
        if one.error is not None:
            raise one.error
        if one.signal:
            raise AssertionError(f"a child was ended by signal {one.signal}")
    return [one.value for one in ended]


def _start(function: Callable[[], Any]) -> tuple[int, int]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reader)
            _answer(writer, function)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    return pid, reader


def _finish(pid: int, reader: int, timeout: float) -> Ended:
    data = b""
    late = True
    try:
        data, late = _read(reader, time.monotonic() + timeout)
    finally:
        os.close(reader)
        if late:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _pid, status = os.waitpid(pid, 0)
    if late:
        return Ended(0, None, AssertionError(f"a child did not end within {timeout:.0f} s"))
    if os.WIFSIGNALED(status):
        return Ended(os.WTERMSIG(status))
    value, error = pickle.loads(data) if data else (None, ChildError("the child ended without an answer"))  # noqa: S301
    return Ended(0, value, error)


def call(function: Callable[[], Any], timeout: float = 120.0) -> Any:
    """The function's result from a forked child; what it raises is raised here."""
    ended = fork(function, timeout)
    if ended.signal:
        raise AssertionError(f"a child was ended by signal {ended.signal}")
    if ended.error is not None:
        raise ended.error
    return ended.value


def _answer(writer: int, function: Callable[[], Any]) -> None:
    value, error = None, None
    try:
        value = function()
    except BaseException as raised:
        error = raised
        error.__dict__["child_traceback"] = traceback.format_exc()
    try:
        data = pickle.dumps((value, error))
        pickle.loads(data)  # noqa: S301  (some exceptions can be written but not read back)
    except Exception:
        text = (
            "".join(traceback.format_exception(error)) if error else f"the result {value!r} cannot be carried"
        )
        data = pickle.dumps((None, ChildError(text)))
    with open(writer, "wb") as file:
        file.write(data)


def _read(reader: int, deadline: float) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    while True:
        ready, _w, _x = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return b"".join(parts), True
        part = os.read(reader, 1 << 16)
        if not part:
            return b"".join(parts), False
        parts.append(part)
