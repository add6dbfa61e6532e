# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster spec of a run on disk, in slices: the workers of a run share no memory, and each needs little of it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Collection
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils import view
from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster import Cluster
from ansible_collections.crosshost.network.plugins.module_utils.view_slices import COMMON, part, slices


class Store:
    """One folder for each cluster and task. The first who asks builds; the others wait for it and read their slices."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @classmethod
    def of_task(cls, root: str, key: str) -> Store:
        """The store below ``root`` for a key: two tasks, or two clusters, have different ones."""
        return cls(os.path.join(root, f"crosshost-{_digest(key)}"))

    def prepare(self, build: Callable[[], Cluster]) -> list[str]:
        """Build the store unless it is there. Returns the warnings, if this call has built it. An error of ``build`` is
        kept as well: with a thousand hosts, a thousand attempts would take an hour to say the same."""
        if self._is_complete():
            return []
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        with open(os.path.join(self.folder, "lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return [] if self._is_complete() else self._build(build)

    def view(self, host: str, only: Collection[str] = tuple(view.LONG)) -> dict[str, Any]:
        """The host's view; of what view.LONG names, the values ``only``. CrosshostError if the declaration has a mistake, or
        if the host is not in it."""
        try:
            base = self._read(COMMON)
        except FileNotFoundError:
            raise CrosshostError(
                f"host_view: {self.folder} is not there; it lives as long as the run that made it: call host_view again"
            ) from None
        if "error" in base:
            raise CrosshostError(base["error"])
        try:
            cluster = part(host, self._read, only)
        except FileNotFoundError:
            cluster = Cluster({}, {}, {}, 0, ())
        return view.view_of(cluster, host, only)

    def _build(self, build: Callable[[], Cluster]) -> list[str]:
        try:
            cluster = build()
        except CrosshostError as error:
            self._write(COMMON, {"error": str(error)})
            return []
        # the last one's presence says that the rest is there
        for name, value in slices(cluster):
            self._write(name, value)
        return list(cluster.warnings)

    def _is_complete(self) -> bool:
        return os.path.exists(self._path(COMMON))

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, _digest(name))

    def _read(self, name: str) -> Any:
        with open(self._path(name), encoding="utf-8") as file:
            return json.load(file)

    def _write(self, name: str, value: Any) -> None:
        part = f"{self._path(name)}.part"
        with open(
            part, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)
        ) as file:
            # one string first: json.dump() would not use the C encoder
            file.write(json.dumps(value, separators=(",", ":")))
        os.replace(part, self._path(name))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
