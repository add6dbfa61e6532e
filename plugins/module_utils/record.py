# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was last applied on this host, and the lock that keeps two runs apart."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from typing import Any

from .errors import HostError

STATE_DIR = "/var/lib/crosshost"
LOCK = "/run/crosshost.lock"
LOCK_WAIT = 30.0  # seconds: a converge of a thousand networks takes a few


def load(kind: str) -> list[dict[str, Any]]:
    """The declarations of this kind that were last applied; [] when there are none."""
    path = f"{STATE_DIR}/{kind}.json"
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        return _expand(content["config"], content.get("peers", []))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise HostError(
            f"{path}: it cannot be read ({error}); mend it or move it away, then run again"
        ) from None


def save(kind: str, config: list[dict[str, Any]]) -> None:
    """Replace the declarations of this kind, all or nothing."""
    path = f"{STATE_DIR}/{kind}.json"
    if not config:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    os.makedirs(STATE_DIR, mode=0o700, exist_ok=True)
    part = f"{path}.part"
    with open(part, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(json.dumps(_compact(config), separators=(",", ":"), sort_keys=True))
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def sweep() -> None:
    """Remove what a run that was killed while saving left. Call it with the host's lock held."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(STATE_DIR):
            if name.endswith(".json.part"):
                os.unlink(f"{STATE_DIR}/{name}")


def _compact(config: list[dict[str, Any]]) -> dict[str, Any]:
    """A thousand networks have the same thousand peers: each list of peers is kept once."""
    lists: dict[str, int] = {}
    known: dict[int, int] = {}
    items = []
    for item in config:
        peers = item.get("peers")
        if isinstance(peers, list):
            if id(peers) not in known:
                known[id(peers)] = lists.setdefault(json.dumps(peers, sort_keys=True), len(lists))
            items.append({**item, "peers": known[id(peers)]})
        else:
            items.append(item)
    return {"version": 1, "config": items, "peers": [json.loads(text) for text in lists]}


def _expand(config: list[dict[str, Any]], lists: list[Any]) -> list[dict[str, Any]]:
    if not isinstance(config, list) or not all(isinstance(item, dict) for item in config):
        raise ValueError("config is no list of mappings")
    return [{**item, "peers": lists[item["peers"]]} if "peers" in item else item for item in config]


class Canonical:
    """Declarations as strings that do not depend on the order of their fields. Long lists of peers, endpoints
    and names are summed up, once each: what they change in the kernel shows by itself."""

    _LONG = 16

    def __init__(self) -> None:
        self._sums: dict[int, tuple[Any, str]] = {}
        self._equal: dict[tuple[int, int], tuple[Any, Any, bool]] = {}

    def text(self, item: dict[str, Any]) -> str:
        long = self._long(item)
        return self._dump({**item, **{field: self._sum(field, found) for field, found in long.items()}})

    def same(self, one: dict[str, Any], other: dict[str, Any]) -> bool:
        """Whether two declarations have the same text. Their long lists are compared without making text of them."""
        long, others = self._long(one), self._long(other)
        return (
            long.keys() == others.keys()
            and self._dump({**one, **dict.fromkeys(long)}) == self._dump({**other, **dict.fromkeys(others)})
            and all(self._alike(found, others[field]) for field, found in long.items())
        )

    def _long(self, item: dict[str, Any]) -> dict[str, list[Any]]:
        found = ((field, item.get(field)) for field in ("peers", "endpoints", "records", "services"))
        return {field: value for field, value in found if isinstance(value, list) and len(value) > self._LONG}

    @staticmethod
    def _dump(item: dict[str, Any]) -> str:
        return json.dumps(item, separators=(",", ":"), sort_keys=True)

    def _sum(self, field: str, value: list[Any]) -> str:
        if id(value) not in self._sums:
            digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
            self._sums[id(value)] = (value, f"{len(value)} {field}, sha256 {digest}")
        return self._sums[id(value)][1]

    def _alike(self, one: list[Any], other: list[Any]) -> bool:
        pair = (id(one), id(other))
        if pair not in self._equal:
            self._equal[pair] = (one, other, one == other)
        return self._equal[pair][2]


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold the host's lock; HostError when another run keeps it for too long."""
    fd = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + LOCK_WAIT
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
                    raise HostError(
                        f"{LOCK}: process {holder} holds it for more than {LOCK_WAIT:.0f} s; wait for it or end it"
                    ) from None
                time.sleep(0.05)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(fd)
