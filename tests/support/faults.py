# SPDX-License-Identifier: GPL-3.0-or-later
"""Breaking a run at a chosen place: every call of the engine that writes something passes here and is counted.

A place is one netlink message, one system call on namespaces, one setting, one nft transaction, one step of writing a file,
one order to systemd, or one step of saving the record. Use it in a forked child only: what is replaced is not put back.
"""

from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils import record
from ansible_collections.crosshost.network.plugins.module_utils.kernel import (
    files,
    netlink,
    netns,
    nft,
    sysctl,
    units,
)
from ansible_collections.crosshost.network.plugins.module_utils.kernel.netlink import Message

_NO_SUCH_LINK = Message(netlink.RTM_DELLINK, 0, struct.pack("=BxHiII", 0, 0, 0x7FFFFFF0, 0, 0))
_WRITERS = ("unshare", "mount", "umount2")
_UNANSWERED = ("show", "reset-failed")  # the engine does without an answer
_ON_FILES = ("mkdir", "chmod", "write", "ftruncate", "fchmod", "replace", "unlink")


class Places:
    """Counts the places of a run. ``hit`` is called with (place, what) before each."""

    def __init__(self, hit: Callable[[int, str], None]) -> None:
        self.count = 0
        self._hit = hit

    def reach(self, what: str) -> None:
        place, self.count = self.count, self.count + 1
        self._hit(place, what)


def _wrapped(places: Places, name: str, real: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        places.reach(name)
        return real(*args, **kwargs)

    return call


def _module_with(real: Any, **replaced: Any) -> Any:
    names = {name: getattr(real, name) for name in dir(real) if not name.startswith("__")}
    return SimpleNamespace(**{**names, **replaced})


def watch_namespaces(places: Places) -> None:
    """Count the writing system calls of netns, the settings and the nft transactions."""
    libc = netns._libc
    calls = {name: _wrapped(places, name, getattr(libc, name)) for name in _WRITERS}
    netns._libc = SimpleNamespace(setns=libc.setns, **calls)  # type: ignore[assignment]
    replaced = {name: _wrapped(places, name, getattr(os, name)) for name in ("link", "unlink")}
    netns.os = _module_with(os, **replaced)  # type: ignore[assignment]
    sysctl.write = _wrapped(places, "sysctl", sysctl.write)
    call = nft.Call

    def called(space: str, document: str) -> nft.Call:
        if '"list"' in document:
            return call(space, document)
        places.reach("nft")
        begun = call(space, document)
        begun.wait()  # it must not go on after this process was killed
        return begun

    nft.Call = called  # type: ignore[assignment,misc]


def watch_system(places: Places) -> None:
    """Count the steps of writing files, and what systemd is told."""
    replaced = {name: _wrapped(places, f"file {name}", getattr(os, name)) for name in (*_ON_FILES, "rmdir")}
    files.os = _module_with(os, **replaced)  # type: ignore[assignment]
    files.subprocess = _module_with(  # type: ignore[assignment]
        subprocess, run=_wrapped(places, "daemon-reload", subprocess.run)
    )
    systemctl = units._systemctl

    def told(verb: str, *words: str) -> Any:
        if verb != "show":
            places.reach(f"systemctl {verb}")
        return systemctl(verb, *words)

    units._systemctl = told


def watch_record(places: Places) -> None:
    """Count the steps of saving the record."""
    replaced = {
        name: _wrapped(places, f"record {name}", getattr(os, name))
        for name in ("makedirs", "fsync", "replace", "open", "unlink")
    }
    record.os = _module_with(os, **replaced)  # type: ignore[assignment]


def kill_at(target: int) -> Places:
    """End this process by SIGKILL right before the place ``target``. The state there is the one right after the place
    before it: nothing that lasts happens between two places. A batch of messages is one place: the kernel works
    through it within the one system call, whatever signals are pending."""

    def hit(place: int, _what: str) -> None:
        if place == target:
            os.kill(os.getpid(), signal.SIGKILL)

    places = Places(hit)
    watch_namespaces(places)
    watch_system(places)
    watch_record(places)
    netlink.Socket.send = _wrapped(places, "send", netlink.Socket.send)  # type: ignore[method-assign]
    return places


def kill_between_messages(target: int) -> Places:
    """As :func:`kill_at`, with each message sent alone: stricter than what the engine does."""
    places = kill_at(target)
    counted = netlink.Socket.send

    def one_by_one(self: netlink.Socket, messages: Sequence[Message]) -> None:
        for place, message in enumerate(messages):
            try:
                counted(self, [message])
            except netlink.NetlinkError as error:
                raise netlink.NetlinkError(error.errno or 0, error.reason, place) from None

    netlink.Socket.send = one_by_one  # type: ignore[method-assign]
    return places


def refuse_at(target: int) -> Places:
    """Make the place ``target`` fail, once: a netlink message is replaced by one that the kernel refuses, while the rest
    of its batch stays; a system call ends with EPERM; nft refuses, and so does systemd."""
    places = Places(lambda _place, _what: None)

    def refused(what: str) -> bool:
        place = places.count
        places.reach(what)
        return place == target

    _refuse_messages(refused)
    _refuse_calls(refused)
    _refuse_orders(refused)
    return places


def _refuse_messages(refused: Callable[[str], bool]) -> None:
    send = netlink.Socket.send

    def broken(self: netlink.Socket, messages: Sequence[Message]) -> None:
        send(self, [_NO_SUCH_LINK if refused("message") else message for message in messages])

    netlink.Socket.send = broken  # type: ignore[method-assign]


def _refuse_calls(refused: Callable[[str], bool]) -> None:
    def denied(name: str, real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if refused(name):
                raise OSError(errno.EPERM, f"{name}: {os.strerror(errno.EPERM)}")
            return real(*args, **kwargs)

        return call

    on_files = {name: denied(name, getattr(os, name)) for name in _ON_FILES}
    files.os = _module_with(os, **on_files)  # type: ignore[assignment]
    libc = netns._libc
    calls = {name: denied(name, getattr(libc, name)) for name in _WRITERS}
    netns._libc = SimpleNamespace(setns=libc.setns, **calls)  # type: ignore[assignment]
    replaced = {name: denied(name, getattr(os, name)) for name in ("link", "unlink")}
    netns.os = _module_with(os, **replaced)  # type: ignore[assignment]
    sysctl.write = denied("sysctl", sysctl.write)
    transact = nft.transact

    def refusing(*args: Any, **kwargs: Any) -> nft.Call:
        if refused("nft"):
            raise nft.NftError("Operation not permitted")
        return transact(*args, **kwargs)

    nft.transact = refusing


def _refuse_orders(refused: Callable[[str], bool]) -> None:
    systemctl = units._systemctl

    def told(verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        if verb not in _UNANSWERED and refused(f"systemctl {verb}"):
            return subprocess.CompletedProcess([verb, *words], 1, "", "refused")
        return systemctl(verb, *words)

    units._systemctl = told
