# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster spec of a run on disk, in slices: the workers of a run share no memory, and each needs little of it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils import view
from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster import Cluster


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

    def view(self, host: str, brief: bool = False) -> dict[str, Any]:
        """The host's view; ``brief``: without what view.LONG names. CrosshostError if the declaration has a mistake, or if the host is not in it."""
        try:
            base = self._read("common")
        except FileNotFoundError:
            raise CrosshostError(
                f"host_view: {self.folder} is not there; it lives as long as the run that made it: call host_view again"
            ) from None
        if "error" in base:
            raise CrosshostError(base["error"])
        try:
            own = self._read(f"host {host}")
        except FileNotFoundError:
            return view.view_of(Cluster({}, {}, {}, 0, ()), host)
        if brief:
            found = view.view_of(view.part(base, own, [], {}), host)
            return {name: value for name, value in found.items() if name not in view.LONG}
        networks = {name: self._read(f"network {name}") for name in own["networks"]}
        return view.view_of(view.part(base, own, self._read("hosts"), networks), host)

    def _build(self, build: Callable[[], Cluster]) -> list[str]:
        try:
            cluster = build()
        except CrosshostError as error:
            self._write("common", {"error": str(error)})
            return []
        for host, own in view.host_slices(cluster):
            self._write(f"host {host}", own)
        for name, network in view.network_slices(cluster):
            self._write(f"network {name}", network)
        self._write("hosts", view.host_rows(cluster))
        # last: its presence says that the rest is there
        self._write("common", view.common(cluster))
        return list(cluster.warnings)

    def _is_complete(self) -> bool:
        return os.path.exists(self._path("common"))

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
