# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The iptables backend: chains of our own, replaced through iptables-restore, one transaction a family.

CROSSHOST-PORTS holds what the nftables backend's chain holds, in the same order. A set's sources are in a chain of
their own, so that they are listed once and only packets to its ports walk them.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..errors import HostError
from ..spec.firewall import WORLD, RuleSet
from . import persist
from .model import OWNER, Gathering, Host, Op, chunks, parse_ports, run_op

MAIN = "CROSSHOST-PORTS"
COMMENT = "crosshost"
_OURS = re.compile(r"CROSSHOST-(?:PORTS|[0-9a-f]{12})\Z")
_MULTIPORT = 15  # the match's own limit
_JUMP = f"-A INPUT -m comment --comment {COMMENT} -j {MAIN}"
# Targets that end a packet's way; whatever else is above our jump (chains of others) lets it come to us.
FINAL = ("ACCEPT", "DROP", "REJECT")


class Table(NamedTuple):
    """The filter table of one family, as far as it is ours: chain to rules in iptables-save's words.

    `jumps`: the rules in INPUT that lead to us, as they stand; `reached`: nothing above decides before us.
    """

    chains: Mapping[str, tuple[str, ...]]
    jumps: tuple[str, ...]
    reached: bool


EMPTY = Table({}, (), True)


class State(NamedTuple):
    """`families`: those that the host has tools for."""

    tables: Mapping[int, Table]
    files: persist.Files
    families: tuple[int, ...]


def source_chain(name: str) -> str:
    # A chain's name may have 28 characters, a set's name 32.
    return f"CROSSHOST-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def program(family: int, suffix: str = "") -> str:
    return f"{'ip6tables' if family == 6 else 'iptables'}{suffix}"


def compile_table(sets: Mapping[str, RuleSet], family: int) -> Table:
    """The chains that hold exactly these sets."""
    accepts: list[str] = []
    drops: list[str] = []
    chains: dict[str, tuple[str, ...]] = {}
    for rs in sets.values():
        note = f'-m comment --comment "{OWNER}{rs.name}"'
        matches = [
            f"-p {p} -m multiport --dports {','.join(port.text(':') for port in part)} {note}"
            for p in rs.protocols()
            for part in chunks(rs.ports_of(p), _MULTIPORT)
        ]
        matches += [f"-p esp {note}"] if rs.esp else []
        sources = rs.of_family(family)
        target = "ACCEPT"
        if sources and not rs.world(family):
            target = source_chain(rs.name)
            chains[target] = tuple(f"-A {target} -s {_with_length(s)} -j ACCEPT" for s in sources)
        if sources:
            accepts += [f"-A {MAIN} {match} -j {target}" for match in matches]
        drops += [f"-A {MAIN} {match} -j DROP" for match in matches]
    replies = f"-A {MAIN} -m conntrack --ctstate ESTABLISHED --ctdir REPLY -j RETURN"
    chains[MAIN] = (f"-A {MAIN} -i lo -j RETURN", *accepts, replies, *drops)
    return Table(chains, (_JUMP,), True)


def _with_length(source: str) -> str:
    return source if "/" in source else f"{source}/{128 if ':' in source else 32}"


def parse_save(text: str) -> Table:
    """Our part of `iptables-save -t filter`."""
    chains: dict[str, list[str]] = {}
    jumps: list[str] = []
    reached, decided = True, False
    for line in (row.strip() for row in text.splitlines()):
        if line.startswith(":"):
            name = line[1:].split()[0]
            if _OURS.match(name):
                chains[name] = []
        elif line.startswith("-A "):
            chain = line.split()[1]
            if chain in chains:
                chains[chain].append(line)
            elif chain == "INPUT":
                target = line.rpartition(" -j ")[2].split()[0] if " -j " in line else ""
                if target == MAIN:
                    jumps.append(line)
                    reached = reached and not decided
                elif target in FINAL and "-i lo " not in line:
                    decided = True
    return Table({n: tuple(rules) for n, rules in chains.items()}, tuple(jumps), reached)


def table_script(now: Table, goal: Table) -> str:
    """What iptables-restore --noflush is given: from one state of our chains to the other, in one transaction."""
    lines = ["*filter", *(f":{n} - [0:0]" for n in sorted({*goal.chains, *now.chains}))]
    lines += [f"-D{jump[2:]}" for jump in now.jumps]
    lines += [f"-I INPUT 1{jump[len('-A INPUT') :]}" for jump in goal.jumps]
    # The sources' chains first: the main chain refers to them.
    for name in sorted(goal.chains, key=lambda n: (n == MAIN, n)):
        lines += goal.chains[name]
    lines += [f"-X {n}" for n in sorted(now.chains, key=lambda n: (n != MAIN, n)) if n not in goal.chains]
    return "\n".join([*lines, "COMMIT", ""])


def read_table(table: Table, family: int, found: Gathering) -> None:
    for line in table.chains.get(MAIN, ()):
        words = shlex.split(line)
        options = dict(zip(words, words[1:]))
        comment, protocol, target = (options.get(k, "") for k in ("--comment", "-p", "-j"))
        if not comment.startswith(OWNER) or not target:
            continue
        ports = parse_ports(protocol, options.get("--dports", options.get("--dport", "")))
        found.add(comment[len(OWNER) :], ports, esp=protocol in ("esp", "50"))
        if target == "ACCEPT":
            found.add(comment[len(OWNER) :], sources=[WORLD[family]])
        for rule in table.chains.get(target, ()):
            source = rule.partition(" -s ")[2].split(" ")[0]
            if source:
                found.add(comment[len(OWNER) :], sources=[source])


class Iptables:
    name = "iptables"

    def __init__(self, host: Host) -> None:
        self.host = host

    def present(self) -> bool:
        if any(self.host.exists(path) for path in persist.IPTABLES_FILES.values()):
            return True
        return any(
            f":{MAIN} " in self.host.attempt(program(f, "-save"), "-t", "filter")[1]
            for f in (4, 6)
            if self.host.has(program(f, "-save"))
        )

    def observe(self) -> State:
        files = persist.observe(self.host, self.name, list(persist.IPTABLES_FILES.values()))
        families = tuple(
            f
            for f in (4, 6)
            if self.host.has(program(f, "-restore"))
            and self.host.has(program(f, "-save"))
            and (f == 4 or self.host.exists("/proc/net/if_inet6"))
        )
        return State(
            {f: parse_save(self.host.run(program(f, "-save"), "-t", "filter")) for f in families},
            files,
            families,
        )

    def blank(self) -> State:
        return State({4: EMPTY, 6: EMPTY}, persist.blank(self.name), (4, 6))

    def sets(self, state: State) -> dict[str, RuleSet]:
        found = Gathering()
        for family, table in state.tables.items():
            read_table(table, family, found)
        return found.result()

    def compile(self, sets: Mapping[str, RuleSet], state: State) -> State:
        if not sets:
            files = persist.goal(state.files, {}, "")
            return state._replace(tables=dict.fromkeys(state.families, EMPTY), files=files)
        for family in (4, 6):
            needing = [rs.name for rs in sets.values() if rs.of_family(family)]
            # A set open to the world means whatever the host speaks; named sources are a demand.
            if family not in state.families and any(not sets[n].world(family) for n in needing):
                raise HostError(
                    f"firewall_ports {needing[0]}: sources has IPv{family}, but this host has no "
                    f"{program(family)} or no IPv{family}: install iptables, or leave them out"
                )
        tables = {f: compile_table(sets, f) for f in state.families}
        rules = {persist.IPTABLES_FILES[f]: table_script(EMPTY, t) for f, t in tables.items()}
        unit = persist.iptables_unit(state.families, MAIN, COMMENT)
        return state._replace(tables=tables, files=persist.goal(state.files, rules, unit))

    def plan(self, now: State, goal: State) -> list[Op]:
        ops: list[Op] = []
        for family in now.families:
            have, want = now.tables.get(family, EMPTY), goal.tables.get(family, EMPTY)
            if have.chains != want.chains or len(have.jumps) != len(want.jumps) or not have.reached:
                argv = (program(family, "-restore"), "--noflush", "-w")
                text = table_script(have, want)
                ops.append(
                    run_op(*argv, text=text, lines=[f"{' '.join(argv)} <<'EOF'", *text.splitlines(), "EOF"])
                )
        return [*ops, *persist.plan(now.files, goal.files)]

    def describe(self, state: State) -> list[str]:
        lines: list[str] = []
        for family, table in sorted(state.tables.items()):
            rules: Sequence[str] = [*table.jumps, *(r for _n, rs in sorted(table.chains.items()) for r in rs)]
            lines += [f"{program(family)} {rule}" for rule in rules]
        return [*lines, *persist.describe(state.files)]

    def warnings(self, sets: Mapping[str, RuleSet], state: State) -> list[str]:
        return persist.warning(state.files) if sets else []

    def execute(self, op: Op) -> None:
        self.host.execute(op)
