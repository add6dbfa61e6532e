# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forwarded traffic past ufw: its own route rules, marked by their comment, read as the ports' rules are."""

from __future__ import annotations

import re
from typing import NamedTuple

from .forward import COMMENT
from .model import Host, Op, run_op
from .ufw import FILES, NOT_ENABLED, Ufw, default_of, enabled

CHAINS = {4: ("iptables", "ufw-user-forward"), 6: ("ip6tables", "ufw6-user-forward")}
_TUPLE = re.compile(
    r"### tuple ### route:allow any any (0\.0\.0\.0/0|::/0) any \1 (in|out)_([^\s!]+)(?: comment=([0-9a-f]+))?\s*\Z"
)
_MARK = COMMENT.encode().hex()


class Rule(NamedTuple):
    """`ufw route allow` of what comes `in` or goes `out` on an interface, whatever it is."""

    interface: str
    way: str


class State(NamedTuple):
    """`rules`: ours. `partial`: of these, what is not there for both versions of IP. `foreign`: the operator's own of the
    same kind. `missing`: of ours, what the kernel lacks. `active`: ufw is enabled."""

    rules: frozenset[Rule]
    partial: frozenset[Rule]
    foreign: frozenset[Rule]
    missing: frozenset[Rule]
    active: bool


def parse_rules(text: str) -> tuple[frozenset[Rule], frozenset[Rule]]:
    """The route rules of a user.rules file that let all of an interface through: ours, and those of others."""
    ours: set[Rule] = set()
    foreign: set[Rule] = set()
    for line in text.splitlines():
        match = _TUPLE.match(line)
        if match:
            (ours if match[4] == _MARK else foreign).add(Rule(match[3], match[2]))
    return frozenset(ours), frozenset(foreign)


def parse_kernel(text: str) -> frozenset[Rule]:
    """The rules of that kind in `iptables -S ufw-user-forward`."""
    ways = {"-i": "in", "-o": "out"}
    rows = (line.split() for line in text.splitlines())
    return frozenset(
        Rule(w[3], ways[w[2]]) for w in rows if len(w) == 6 and w[2] in ways and w[4:] == ["-j", "ACCEPT"]
    )


def command(rule: Rule, delete: bool = False) -> Op:
    note = () if delete else ("comment", COMMENT)
    return run_op(
        "ufw", "route", *(["delete"] if delete else []), "allow", rule.way, "on", rule.interface, *note
    )


class UfwForward:
    name = "ufw"

    def __init__(self, host: Host) -> None:
        self.host = host

    def present(self) -> bool:
        return any(parse_rules(self.host.read(path) or "")[0] for path in FILES.values())

    def observe(self) -> State:
        ipv6 = default_of(self.host, "IPV6") in ("yes", "true", "")
        found = [parse_rules(self.host.read(FILES[f]) or "") for f in ((4, 6) if ipv6 else (4,))]
        ours = frozenset(rule for one, _others in found for rule in one)
        whole = frozenset.intersection(*(one for one, _others in found))
        foreign = frozenset.intersection(*(others for _one, others in found))
        missing: frozenset[Rule] = frozenset()
        active = enabled(self.host)
        if active and ours:
            for tool, chain in (CHAINS[f] for f in ((4, 6) if ipv6 else (4,))):
                missing |= ours - parse_kernel(self.host.attempt(tool, "-w", "-S", chain)[1])
        return State(ours, ours - whole, foreign, missing, active)

    def blank(self) -> State:
        return State(frozenset(), frozenset(), frozenset(), frozenset(), True)

    def held(self, state: State) -> frozenset[str]:
        return frozenset(rule.interface for rule in state.rules)

    def compile(self, interfaces: frozenset[str], state: State) -> State:
        wanted = frozenset(Rule(i, way) for i in interfaces for way in ("in", "out"))
        # The operator's own rule stays as it is: ufw would hang our comment on it.
        return state._replace(rules=wanted - state.foreign, partial=frozenset(), missing=frozenset())

    def plan(self, now: State, goal: State) -> list[Op]:
        whole = now.rules - now.partial
        ops = [command(rule) for rule in sorted(goal.rules - whole)]
        ops += [command(rule, delete=True) for rule in sorted(now.rules - goal.rules)]
        lost = whole & goal.rules & now.missing
        return [*ops, run_op("ufw", "reload")] if lost and now.active else ops

    def describe(self, state: State) -> list[str]:
        return [
            " ".join(command(rule).argv)
            + (" (not for both versions of IP)" if rule in state.partial else "")
            + (" (not in the kernel)" if rule in state.missing else "")
            for rule in sorted(state.rules)
        ]

    def warnings(self, goal: State) -> list[str]:
        return [NOT_ENABLED] if goal.rules and not goal.active else []

    def execute(self, op: Op) -> None:
        Ufw(self.host).execute(op)
