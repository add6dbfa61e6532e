# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forwarded traffic of our bridges past the firewall that the host runs.

An accept in our own table does not override a drop in a chain of others, so that each firewall is told in its own way.
A `Passage` is one such way; beside any backend a dockerd may run, whose FORWARD policy is to drop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional, Protocol

from .model import OWNER, STATE_DIR, Host, Op

COMMENT = f"{OWNER}forward"
NFT_CHAIN = "crosshost-forward"
# Chains that a dockerd keeps in iptables' tables; DOCKER-USER outlives it, and older ones have none with IPv6.
OF_DOCKERD = frozenset({"DOCKER-ISOLATION-STAGE-1", "DOCKER-FORWARD"})
FIREWALLD_ZONE = "/etc/firewalld/zones/crosshost.xml"
NFT_FILES = "firewall_ports.forward-"  # what the names of these files in STATE_DIR begin with


class Passage(Protocol):
    """One way past a firewall. Its State holds all that is ours in it, and what of the host's matters to it."""

    name: str

    def observe(self) -> Any:
        """The State."""

    def blank(self) -> Any:
        """The State of a host that holds nothing of ours, without asking it."""

    def held(self, state: Any) -> frozenset[str]:
        """The interfaces that a State lets through, also where that is only partly so."""

    def compile(self, interfaces: frozenset[str], state: Any) -> Any:
        """The State that lets exactly these through; nothing where the host does not keep them out."""

    def plan(self, now: Any, goal: Any) -> list[Op]:
        """The steps from one State to the other; empty when they mean the same."""

    def describe(self, state: Any) -> list[str]:
        """Lines for the diff."""

    def warnings(self, goal: Any) -> list[str]:
        """What keeps the goal from meaning what it says on this host."""

    def execute(self, op: Op) -> None:
        """Do one step; raises ApplyError."""


class Ways(NamedTuple):
    """The passages of the host's backend and those that are left of others, with their States; the interfaces that any
    of them lets through."""

    own: list[tuple[Passage, Any]]
    left: list[tuple[Passage, Any]]
    held: frozenset[str]

    def warnings(self, interfaces: frozenset[str]) -> list[str]:
        return [told for way, state in self.own for told in way.warnings(way.compile(interfaces, state))]


def observe(backend: str, host: Host) -> Ways:
    here = [(way, way.observe()) for way in own(backend, host)]
    left = [(way, way.observe()) for way in leftovers(backend, host)]
    held = frozenset(i for way, state in (*here, *left) for i in way.held(state))
    return Ways(here, left, held)


def own(backend: str, host: Host) -> list[Passage]:
    """The ways that belong to a backend."""
    from .forward_iptables import IptablesForward

    if backend == "firewalld":
        from .forward_firewalld import FirewalldForward

        return [FirewalldForward(host)]
    if backend == "ufw":
        from .forward_ufw import UfwForward

        return [UfwForward(host), IptablesForward(host, "docker")]
    if backend == "nftables":
        from .forward_nftables import NftForward

        return [NftForward(host), IptablesForward(host, "closed")]
    return [IptablesForward(host, "always")]


def leftovers(backend: str, host: Host) -> list[Passage]:
    """The ways of the other backends in which something of ours is left, cheaply told."""
    found: list[Passage] = []
    if backend == "firewalld" and _iptables_left(host):
        from .forward_iptables import IptablesForward

        found.append(IptablesForward(host, "never"))
    if backend != "firewalld" and host.has("firewall-cmd") and forwards_left(host):
        from .firewalld_read import Daemon
        from .forward_firewalld import FirewalldForward

        found += [FirewalldForward(host)] if Daemon(host).running() else []
    if backend != "ufw" and host.has("ufw"):
        from .forward_ufw import UfwForward

        ufw = UfwForward(host)
        found += [ufw] if ufw.present() else []
    if backend != "nftables" and host.has("nft") and _nft_left(host):
        from .forward_nftables import NftForward

        found.append(NftForward(host))
    return found


def forwards_left(host: Host) -> bool:
    """Whether firewalld's zone of that name is ours."""
    return COMMENT in (host.read(FIREWALLD_ZONE) or "")


def _iptables_left(host: Host) -> bool:
    from .forward_iptables import CHAIN
    from .persist import FORWARD_FILES

    return any(host.exists(path) for path in FORWARD_FILES.values()) or any(
        f":{CHAIN} " in host.attempt(f"{program}-save", "-t", "filter")[1]
        for program in ("iptables", "ip6tables")
    )


def _nft_left(host: Host) -> bool:
    if any(entry.startswith(NFT_FILES) for entry in host.listdir(STATE_DIR)):
        return True
    return f"chain {NFT_CHAIN} " in host.attempt("nft", "list", "chains")[1]


# --- does a chain of others drop what nothing in it knows?


class Step(NamedTuple):
    """What a rule does with every new packet: accept, drop, return, jump or goto (with `target`)."""

    verdict: str
    target: str = ""


def fate(chains: Mapping[str, Sequence[Step]], chain: str) -> Optional[bool]:
    """Whether a new packet that no rule with a condition takes is dropped (True), accepted (False) or comes back (None).

    `chains` holds the rules without a condition.
    """
    for step in chains.get(chain, ()):
        if step.verdict in ("accept", "drop"):
            return step.verdict == "drop"
        if step.verdict == "return":
            return None
        found = fate(chains, step.target)
        if found is not None or step.verdict == "goto":
            return found
    return None
