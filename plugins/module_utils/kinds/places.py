# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where sandboxes are, and what their interfaces are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from .. import record
from ..compile.endpoint import endpoint_alias
from ..errors import HostError, SpecError
from ..kernel import containers
from ..kernel import netns as _netns
from ..kernel.session import Session
from ..resources import OWNER
from ..spec import endpoint
from ..spec.endpoint import Endpoint

NAME = "endpoint"


def known_path(item: Mapping[str, Any]) -> str:
    """Where a recorded endpoint's sandbox is; "" when it is gone, and its end of the pair with it, or if it has none of its
    own."""
    at = endpoint.where(item)
    if endpoint.is_mode(at.network):
        return ""
    if at.sandbox:
        return at.sandbox
    try:
        return containers.namespace_of(NAME, at.pid or containers.pid_of(NAME, at.container))
    except HostError:
        return ""


def sandboxes() -> set[str]:
    """The namespaces of all endpoints that are recorded on this host and still there."""
    return {path for path in map(known_path, record.load(NAME)) if path}


class Places:
    """The sandboxes of these endpoints (by id); each is looked for once a run."""

    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._endpoints = endpoints
        self._found: dict[str, str] = {}
        self._taken: dict[str, set[str]] = {}
        self._interfaces: dict[str, str] = {}
        self._named: Optional[set[str]] = None

    def of(self, one: Endpoint) -> str:
        """The namespace of an endpoint's sandbox. SpecError or HostError when there is none."""
        if one.place not in self._found:
            self._found[one.place] = self._find(one)
        return self._found[one.place]

    def all(self, session: Session) -> dict[str, str]:
        """The namespace of each endpoint that is in a network, "" where it is gone."""
        found = {}
        for name, one in self._endpoints.items():
            if not one.mode:
                try:
                    path = self.of(one)
                except (HostError, SpecError):
                    path = ""
                found[name] = path if path and session.view(path) is not None else ""
        return found

    def is_joined(self, session: Session, one: Endpoint) -> bool:
        """True if the endpoint is in its sandbox now."""
        try:
            view = session.view(self.of(one))
        except (HostError, SpecError):
            return False
        return view is not None and any(info.alias == endpoint_alias(one.id) for info in view.links)

    def makes(self, name: str) -> bool:
        """True if an endpoint asks for a sandbox of this name to be made."""
        return any(one.create and one.sandbox == name for one in self._endpoints.values())

    def _find(self, one: Endpoint) -> str:
        if one.sandbox:
            # several endpoints may share a sandbox that only one of them asks to create
            asked = any(other.create for other in self._endpoints.values() if other.sandbox == one.sandbox)
            if not asked and not _netns.exists(one.sandbox):
                remedy = "there is no such namespace on this host; make it, or set create: true"
                raise SpecError(one.obj, "sandbox", one.sandbox, remedy)
            return one.sandbox
        return containers.namespace_of(one.obj, one.pid or containers.pid_of(one.obj, one.container))

    def interface(self, session: Session, one: Endpoint, netns: str) -> str:
        """The declared name; else the one that the endpoint has already; else the first free eth<n>."""
        if one.interface:
            return one.interface
        if one.id not in self._interfaces:
            self._interfaces[one.id] = self._free(session, one, netns)
        return self._interfaces[one.id]

    def _free(self, session: Session, one: Endpoint, netns: str) -> str:
        view = session.view(netns)
        used = self._taken.setdefault(
            netns, {other.interface for other in self._endpoints.values() if other.place == one.place}
        )
        alias = endpoint_alias(one.id)
        others = set()
        for info in view.links if view else ():
            if info.alias == alias and info.name not in used:
                used.add(info.name)
                return info.name
            # half made by a run that was killed, it has no alias yet: this run makes it anew
            if not info.owned or info.alias not in ("", alias):
                others.add(info.name)
        number = 0
        while f"eth{number}" in used | others:
            number += 1
        used.add(f"eth{number}")
        return f"eth{number}"

    def is_foreign(self, session: Session, netns: str) -> bool:
        """True for a namespace that exists and that crosshost did not make. One that it gave a further name is not meant by
        that name: the name is crosshost's."""
        view = session.view(netns)
        if view is None or view.mark.startswith(f"{OWNER}:"):
            return False
        if self._named is None:
            recorded = [endpoint.where(item) for item in record.load(NAME)]
            self._named = {at.sandbox for at in recorded if at.sandbox and endpoint.is_mode(at.network)}
        return netns not in self._named
