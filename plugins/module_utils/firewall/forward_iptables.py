# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forwarded traffic past iptables and past a dockerd: a chain of our own, to which DOCKER-USER or FORWARD leads first.

DOCKER-USER is the chain that dockerd keeps for others and never empties. With IPv6 older ones have none, though they
drop by policy; there FORWARD leads to ours.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

from . import persist
from .forward import COMMENT, OF_DOCKERD, Step, fate
from .iptables import COMMENT as JUMP_COMMENT
from .iptables import FINAL, program
from .model import Host, Op, run_op

CHAIN = "CROSSHOST-FORWARD"
DOCKER = "DOCKER-USER"
_MATCHES = ("comment", "conntrack", "state")
_PLAIN_TARGETS = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "drop", "RETURN": "return"}


class Filter(NamedTuple):
    """The filter table of one family as iptables-save prints it: chain to policy, chain to rules."""

    policies: Mapping[str, str]
    rules: Mapping[str, Sequence[str]]


class Table(NamedTuple):
    """What of a filter table is ours. `rules`: those of our chain, None without one. `jumps`: all rules that lead to it.

    `target`: the chain that has to lead to ours, "" where nothing is needed. `reached`: nothing in it decides before.
    """

    rules: Optional[tuple[str, ...]]
    jumps: tuple[str, ...]
    reached: bool
    target: str


class State(NamedTuple):
    tables: Mapping[int, Table]
    files: persist.Files


def parse_filter(text: str) -> Filter:
    policies: dict[str, str] = {}
    rules: dict[str, list[str]] = {}
    for line in (row.strip() for row in text.splitlines()):
        words = line.split(None, 2)
        if line.startswith(":"):
            policies[words[0][1:]] = words[1]
        elif line.startswith("-A ") and len(words) == 3:
            rules.setdefault(words[1], []).append(line)
    return Filter(policies, rules)


def step_of(rule: str) -> Optional[Step]:
    """What a rule does with every new packet, or None where it has a condition. "Not this interface" counts as none,
    as does a match of the connection's state that takes new ones."""
    words = shlex.split(rule)[2:]
    at = 0
    while at < len(words):
        word, value = words[at], words[at + 1] if at + 1 < len(words) else ""
        if word in ("-j", "-g"):
            if value in _PLAIN_TARGETS:
                return Step(_PLAIN_TARGETS[value])
            return Step("goto" if word == "-g" else "jump", value)
        takes_new = word in ("--ctstate", "--state") and "NEW" in value.split(",")
        if word == "!" and value in ("-i", "-o"):
            at += 3
        elif takes_new or word == "--comment" or (word == "-m" and value in _MATCHES):
            at += 2
        else:
            return None
    return None


def closed(table: Filter) -> bool:
    """Whether FORWARD drops what it does not know."""
    theirs = {name: rules for name, rules in table.rules.items() if name != CHAIN}
    steps = {name: [s for s in map(step_of, rules) if s] for name, rules in theirs.items()}
    found = fate(steps, "FORWARD")
    return table.policies.get("FORWARD") == "DROP" if found is None else found


def of_dockerd(table: Filter) -> bool:
    """Whether a dockerd keeps chains here."""
    return bool(OF_DOCKERD & set(table.policies))


def target_of(table: Filter, mode: str) -> str:
    """The chain that has to lead past the firewall. `mode`: `always`; `closed`, where FORWARD drops what it does not
    know; `docker`, where a dockerd is the reason; `never`."""
    if mode == "never":
        return ""
    docker = of_dockerd(table)
    needed = docker or mode == "always" or (mode == "closed" and closed(table))
    led = any(shlex.split(rule)[-2:] == ["-j", DOCKER] for rule in table.rules.get("FORWARD", ()))
    # What is left of a dockerd that is gone leads nowhere; before it has started, nothing leads there yet.
    if DOCKER in table.policies and (led or docker or not needed):
        return DOCKER
    return "FORWARD" if needed else ""


def read_table(table: Filter, mode: str) -> Table:
    target = target_of(table, mode)
    rules = tuple(table.rules.get(CHAIN, ())) if CHAIN in table.policies else None
    jumps: list[str] = []
    reached = True
    for name, held in table.rules.items():
        decided = False
        for rule in held:
            to = rule.rpartition(" -j ")[2].split()[0] if " -j " in rule else ""
            if to == CHAIN:
                jumps.append(rule)
                reached = reached and not (decided and name == target)
            decided = decided or (to in FINAL and "-i lo " not in rule)
    return Table(rules, tuple(jumps), reached, target)


def jump(target: str) -> str:
    return f"-A {target} -m comment --comment {JUMP_COMMENT} -j {CHAIN}"


def accepts(chain: str, interfaces: frozenset[str]) -> tuple[str, ...]:
    """The rules in iptables-save's words."""
    note = f'-m comment --comment "{COMMENT}"'
    return tuple(f"-A {chain} {way} {i} {note} -j ACCEPT" for way in ("-i", "-o") for i in sorted(interfaces))


def interfaces_of(rules: Sequence[str]) -> frozenset[str]:
    """The interfaces that such rules let through."""
    out = set()
    for rule in rules:
        words = shlex.split(rule)
        options = dict(zip(words, words[1:]))
        if options.get("-j") == "ACCEPT" and options.get("--comment") == COMMENT:
            out |= {options[way] for way in ("-i", "-o") if way in options}
    return frozenset(out)


def table_script(now: Table, goal: Table) -> str:
    """What iptables-restore --noflush is given: from one to the other in one transaction."""
    lines = ["*filter", f":{CHAIN} - [0:0]", *(f"-D{rule[2:]}" for rule in now.jumps)]
    lines += [f"-I {rule.split()[1]} 1 {rule.split(None, 2)[2]}" for rule in goal.jumps]
    lines += goal.rules or ()
    lines += [f"-X {CHAIN}"] if goal.rules is None else []
    return "\n".join([*lines, "COMMIT", ""])


class IptablesForward:
    def __init__(self, host: Host, mode: str) -> None:
        self.name, self.host, self.mode = "iptables", host, mode

    def observe(self) -> State:
        files = persist.observe(self.host, "forward-iptables", list(persist.FORWARD_FILES.values()))
        mode = self.mode
        if mode == "closed" and "(nf_tables)" in self.host.attempt("iptables", "--version")[1]:
            # nft sees these tables, and more of them than iptables, which takes a set in a rule for no condition.
            mode = "docker"
        return State({f: read_table(t, mode) for f, t in filters(self.host).items()}, files)

    def blank(self) -> State:
        target = "FORWARD" if self.mode == "always" else ""
        tables = dict.fromkeys((4, 6), Table(None, (), True, target))
        return State(tables, persist.blank("forward-iptables"))

    def held(self, state: State) -> frozenset[str]:
        return frozenset(i for table in state.tables.values() for i in interfaces_of(table.rules or ()))

    def compile(self, interfaces: frozenset[str], state: State) -> State:
        tables: dict[int, Table] = {}
        for family, table in state.tables.items():
            tables[family] = Table(None, (), True, table.target)
            if interfaces and table.target:
                tables[family] = Table(accepts(CHAIN, interfaces), (jump(table.target),), True, table.target)
        full = {f: t for f, t in tables.items() if t.rules is not None}
        rules = {
            persist.FORWARD_FILES[f]: table_script(Table(None, (), True, ""), t) for f, t in full.items()
        }
        unit = persist.iptables_forward_unit({f: t.target for f, t in full.items()}, CHAIN, JUMP_COMMENT)
        return State(tables, persist.goal(state.files, rules, unit))

    def plan(self, now: State, goal: State) -> list[Op]:
        ops: list[Op] = []
        for family, have in sorted(now.tables.items()):
            want = goal.tables.get(family, Table(None, (), True, ""))
            if (have.rules, have.jumps) != (want.rules, want.jumps) or not have.reached:
                argv = (program(family, "-restore"), "--noflush", "-w")
                text = table_script(have, want)
                lines = [f"{' '.join(argv)} <<'EOF'", *text.splitlines(), "EOF"]
                ops.append(run_op(*argv, text=text, lines=lines))
        return [*ops, *persist.plan(now.files, goal.files)]

    def describe(self, state: State) -> list[str]:
        lines = [
            f"{program(family)} {rule}"
            for family, table in sorted(state.tables.items())
            for rule in (*table.jumps, *(table.rules or ()))
        ]
        return [*lines, *persist.describe(state.files)]

    def warnings(self, goal: State) -> list[str]:
        return persist.warning(goal.files) if goal.files.texts else []

    def execute(self, op: Op) -> None:
        self.host.execute(op)


def filters(host: Host) -> dict[int, Filter]:
    """The filter tables of the families that the host has tools for and that can be read."""
    found: dict[int, Filter] = {}
    for family in (4, 6):
        usable = host.has(program(family, "-restore")) and host.has(program(family, "-save"))
        if usable and (family == 4 or host.exists("/proc/net/if_inet6")):
            rc, text, _err = host.attempt(program(family, "-save"), "-t", "filter")
            if rc == 0:
                found[family] = parse_filter(text)
    return found
