# SPDX-License-Identifier: GPL-3.0-or-later
"""Calling the engine inside a private world."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils import record
from ansible_collections.crosshost.network.plugins.module_utils.compile import resolver
from ansible_collections.crosshost.network.plugins.module_utils.converge import Outcome, converge
from ansible_collections.crosshost.network.plugins.module_utils.kernel import encode, files, observe, resolv
from ansible_collections.crosshost.network.plugins.module_utils.kernel.apply import Executor
from ansible_collections.crosshost.network.plugins.module_utils.kernel.session import Session
from ansible_collections.crosshost.network.plugins.module_utils.kinds.bridge import BridgeKind
from ansible_collections.crosshost.network.plugins.module_utils.kinds.endpoint import EndpointKind
from ansible_collections.crosshost.network.plugins.module_utils.kinds.gwbridge import GwbridgeKind
from ansible_collections.crosshost.network.plugins.module_utils.kinds.ingress import IngressKind
from ansible_collections.crosshost.network.plugins.module_utils.kinds.macvlan import MacvlanKind
from ansible_collections.crosshost.network.plugins.module_utils.kinds.overlay import OverlayKind
from ansible_collections.crosshost.network.plugins.module_utils.kinds.service import ServiceKind
from ansible_collections.crosshost.network.plugins.module_utils.plan import Op
from ansible_collections.crosshost.network.plugins.module_utils.resources import (
    HOST,
    File,
    NftChain,
    State,
    Sysctl,
    state_of,
)

from .states import NETWORKS, SANDBOXES

Config = list[dict[str, Any]]


def warm() -> None:
    """Import pyroute2 now, so that forked children need not: it takes longer than all they do."""
    encode._pyroute2("rtmsg")


def overlays(
    config: Config, state: str = "merged", defaults: dict[str, Any] | None = None, check: bool = False
) -> Outcome:
    """The overlay module's work, in the namespaces of the caller."""
    return converge(OverlayKind(defaults or {}), config, state, check)


def gwbridges(config: Config, state: str = "merged", check: bool = False) -> Outcome:
    """The gwbridge module's work."""
    return converge(GwbridgeKind(), config, state, check)


def endpoints(config: Config, state: str = "merged", check: bool = False) -> Outcome:
    """The endpoint module's work, against what is recorded."""
    return converge(EndpointKind(), config, state, check)


def bridges(config: Config, state: str = "merged", check: bool = False) -> Outcome:
    """The bridge_network module's work."""
    return converge(BridgeKind(with_endpoints=state == "overridden"), config, state, check)


def services(config: Config, state: str = "merged", check: bool = False) -> Outcome:
    """The service module's work, against what is recorded."""
    return converge(ServiceKind(planned=check), config, state, check)


def macvlans(config: Config, state: str = "merged", check: bool = False) -> Outcome:
    """The macvlan module's work."""
    return converge(MacvlanKind(), config, state, check)


def ingress(config: Config, state: str = "merged", check: bool = False) -> Outcome:
    """The ingress module's work, against what is recorded."""
    return converge(IngressKind(withdraw=state == "overridden", planned=check), config, state, check)


def everything(host: dict[str, Any]) -> list[bool]:
    """Bring a host to exactly what is declared for it (as the checker takes it), in the roles' order. Which steps
    changed anything. Kinds of which the declaration says nothing are left alone."""
    done = [
        work([], "overridden").changed
        for option, work in (("ingress", ingress), ("services", services))
        if host.get(option) == []
    ]
    if not host["endpoints"]:
        done.append(endpoints([], "overridden").changed)
    if host["gwbridges"]:
        done.append(gwbridges(host["gwbridges"], "overridden").changed)
    for option, work in (("bridge_networks", bridges), ("macvlan_networks", macvlans)):
        if option in host:
            done.append(work(host[option], "overridden").changed)
    done.append(overlays(host["overlay_networks"], "overridden").changed)
    if host["endpoints"]:
        done.append(endpoints(host["endpoints"], "overridden").changed)
    if not host["gwbridges"]:
        done.append(gwbridges([], "overridden").changed)
    for option, work in (("services", services), ("ingress", ingress)):
        if host.get(option):
            done.append(work(host[option], "overridden").changed)
    return done


def execute(ops: Sequence[Op]) -> None:
    """Carry operations out, in the namespaces of the caller."""
    with record.locked(), Session() as session:
        Executor(session).run(list(ops))


def observed(wanted: State) -> State:
    """All that the engine sees of its own: every network, sandbox, pair and gateway bridge that the random states have.
    Settings are those of ``wanted``."""
    settings = [item for item in wanted.values() if isinstance(item, Sysctl)]
    with Session() as session:
        found = dict(observe.overlays(session, NETWORKS, settings))
        found.update(state_of(observe.sysctls(session, [item for item in settings if item.netns == HOST])))
        found.update(observe.endpoints(session, SANDBOXES, lambda _link: True, SANDBOXES))
        found.update(state_of(observe.bridge(session, "gwb")))
        found.update(state_of(_normal(item) for item in session.nft(HOST)))
    return found


def _normal(chain: Any) -> Any:
    if not isinstance(chain, NftChain):
        return chain
    rules = tuple(json.dumps(json.loads(rule), sort_keys=True, separators=(",", ":")) for rule in chain.rules)
    return chain._replace(rules=rules)


def resolv_conf(pid: int, server: str) -> str:
    """Point a process's own resolv.conf to a name server, or put it back without one. Why that cannot be, or ""."""
    path = resolv.own_path(pid)
    assert path, "no file of its own"
    there, reason = files.read(path), files.writable(path)
    former = resolver.former(there.content) if there else None
    content = resolver.resolv_conf(["web"], server, former) if server else former
    if not reason:
        mode = there.mode if there else 0o644
        files.apply(Op(there, File(path, content, mode) if content is not None else None))
    return reason
