# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sandboxes that are in no network: in the host's namespace, with a loopback device alone, or in another sandbox's.

What makes a sandbox is its namespace. A named one gets it here: for ``host`` and ``container:<other>`` the name stands for a
namespace that exists. A container's or process's was chosen when it was started; here it is only checked.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import CollisionError, HostError, SpecError
from ..kernel import containers, observe
from ..kernel import netns as _netns
from ..kernel.session import Session
from ..plan import Op
from ..resources import Netns, Resource, State
from ..spec import endpoint
from ..spec.endpoint import HOST, NONE, SHARED, Endpoint
from .places import Places

HOST_PATH = "/proc/self/ns/net"


def resources(session: Session, one: Endpoint, places: Places) -> Iterator[Resource]:
    """What has to be there for an endpoint in a mode; HostError if its container or process was started otherwise."""
    if not one.sandbox:
        _check(one, places)
    elif one.mode == NONE:
        if not places.is_foreign(session, places.of(one)):
            yield Netns(one.sandbox, observe.SANDBOX_MARK)
    else:
        target = HOST_PATH if one.mode == HOST else _other(one, places)
        if not one.create and not _netns.exists(one.sandbox):
            remedy = "there is no such namespace on this host; make it, or set create: true"
            raise SpecError(one.obj, "sandbox", one.sandbox, remedy)
        yield Netns(one.sandbox, "", target)


def _other(one: Endpoint, places: Places) -> str:
    """The namespace of the sandbox whose network this one shares: a named one, or else a container's."""
    name = one.mode[len(SHARED) :]
    if name == one.sandbox:
        raise SpecError(one.obj, "network", one.network, "that is the sandbox itself; name another")
    if _netns.exists(name) or places.makes(name):
        return _netns.path_of(name)
    return containers.namespace_of(one.obj, containers.pid_of(one.obj, name))


def _check(one: Endpoint, places: Places) -> None:
    pid = one.pid or containers.pid_of(one.obj, one.container)
    path = f"/proc/{pid}/ns/net"
    if not os.path.exists(path):
        raise HostError(f"{one.obj}: pid {pid}: there is no such process; give that of a running one")
    shown = one.container or f"pid {pid}"
    if one.mode == HOST:
        if not _same(path, HOST_PATH):
            raise HostError(
                f"{one.obj}: {shown} has a network of its own; start it in the host's (--network host)"
            )
    elif one.mode == NONE:
        if _same(path, HOST_PATH):
            raise HostError(f"{one.obj}: {shown} shares the host's own network; start it with --network none")
    elif not _same(path, _other(one, places)):
        raise HostError(
            f"{one.obj}: {shown} does not share that network; start it with --network {one.network}"
        )


def _same(one: str, other: str) -> bool:
    try:
        return os.stat(one).st_ino == os.stat(other).st_ino
    except OSError:
        return False


def observed(session: Session, recorded: Iterable[Mapping[str, Any]], desired: State) -> Iterator[Resource]:
    """The names of other namespaces that are there: those that are to be, and those that were recorded."""
    wanted = {item.name: item.of for item in desired.values() if isinstance(item, Netns) and item.of}
    for item in recorded:
        at = endpoint.where(item)
        if at.sandbox and endpoint.is_mode(at.network):
            wanted.setdefault(at.sandbox, "")
    own = observe.sandbox_names(session) if wanted else []
    for name, target in wanted.items():
        if name in own:
            yield Netns(name, observe.SANDBOX_MARK)
        elif _netns.exists(name):
            same = target and _same(_netns.path_of(name), target)
            yield Netns(name, "", target if same else _meaning(session, name))


def _meaning(session: Session, name: str) -> str:
    """A path by which the namespace can be found again that a name stands for."""
    path = _netns.path_of(name)
    others = [_netns.path_of(other) for other in session.netns_names() if other != name]
    processes = (f"/proc/{pid}/ns/net" for pid in os.listdir("/proc") if pid.isdigit())
    return next((one for one in itertools.chain([HOST_PATH], others, processes) if _same(path, one)), path)


def guard(ops: Sequence[Op], recorded: Iterable[Mapping[str, Any]]) -> None:
    """A name that crosshost did not give is not taken away, nor given another meaning."""
    ours = {endpoint.where(item).sandbox for item in recorded}
    for op in ops:
        item = op.before
        if isinstance(item, Netns) and item.of and item.name not in ours:
            raise CollisionError(
                f"namespace {item.name}: it exists already and crosshost did not make it; rename the sandbox or remove it"
            )
