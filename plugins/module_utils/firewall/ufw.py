# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ufw backend: rules through the ufw command, one for each source and protocol, marked by their comment.

Read from ufw's own files, as `ufw show added` would cost 40 ms and leaves out the protocol's order; the kernel's
chain is compared, so that rules which something else has flushed come back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from ..errors import HostError, SpecError
from ..spec.firewall import MODULE, WORLD, RuleSet, normalise_sources
from .model import OWNER, CommandError, Gathering, Host, Op, chunks, parse_ports, run_op

FILES = {4: "/etc/ufw/user.rules", 6: "/etc/ufw/user6.rules"}
CHAINS = {4: ("iptables", "ufw-user-input"), 6: ("ip6tables", "ufw6-user-input")}
_MULTIPORT = 15
_TUPLE = re.compile(r"### tuple ### allow (\S+) (\S+) (\S+) any (\S+) in(?: comment=([0-9a-f]+))?\s*\Z")
_DEFAULTS = "/etc/default/ufw"
NOT_ENABLED = "ufw is not enabled: the rules take effect with `ufw enable`."


class Rule(NamedTuple):
    """`allow` of one source to the ports of one protocol; `ports` as ufw writes them, empty for esp."""

    protocol: str
    ports: str
    source: str


class State(NamedTuple):
    """`rules`: ours, each with its set's name. `foreign`: the operator's own rules of the same kind.

    `missing`: of both, what ufw's files hold and the kernel does not. `active`: ufw is enabled.
    """

    rules: frozenset[tuple[Rule, str]]
    foreign: frozenset[Rule]
    missing: frozenset[Rule]
    active: bool
    ipv6: bool


def parse_rules(text: str) -> list[tuple[Rule, str]]:
    """The plain `allow ... in` tuples of a user.rules file, each with its comment."""
    out = []
    for line in text.splitlines():
        match = _TUPLE.match(line)
        if match and match[3] in WORLD.values():
            protocol, ports, _to, source, comment = match.groups()
            note = (
                bytes.fromhex(comment).decode("utf-8", "replace") if comment and len(comment) % 2 == 0 else ""
            )
            out.append((Rule(protocol, "" if ports == "any" else ports, _canonical(source)), note))
    return out


def _canonical(source: str) -> str:
    try:
        return normalise_sources([source])[0]
    except ValueError:
        return source


def parse_kernel(text: str, family: int) -> frozenset[Rule]:
    """The ACCEPT rules of `iptables -S ufw-user-input`."""
    out = set()
    for line in text.splitlines():
        words = line.split()
        options = dict(zip(words, words[1:]))
        if options.get("-j") == "ACCEPT" and "-d" not in options and "-i" not in options:
            ports = options.get("--dports", options.get("--dport", ""))
            out.add(Rule(options.get("-p", ""), ports, _canonical(options.get("-s", WORLD[family]))))
    return frozenset(out)


def command(rule: Rule, name: str = "", delete: bool = False) -> Op:
    argv = ["ufw", *(["delete"] if delete else []), "allow", "proto", rule.protocol, "from", rule.source]
    argv += ["to", "any", "port", rule.ports] if rule.ports else []
    argv += [] if delete else ["comment", f"{OWNER}{name}"]
    return run_op(*argv)


def enabled(host: Host) -> bool:
    text = host.read("/etc/ufw/ufw.conf") or ""
    return host.has("ufw") and any(line.strip().lower() == "enabled=yes" for line in text.splitlines())


def default_of(host: Host, key: str) -> str:
    for line in (host.read(_DEFAULTS) or "").splitlines():
        if line.startswith(f"{key}="):
            return line.partition("=")[2].strip().strip("\"'").lower()
    return ""


class Ufw:
    name = "ufw"

    def __init__(self, host: Host) -> None:
        self.host = host

    def present(self) -> bool:
        mark = f"comment={OWNER.encode().hex()}"
        return self.host.has("ufw") and any(mark in (self.host.read(path) or "") for path in FILES.values())

    def observe(self) -> State:
        found = [pair for path in FILES.values() for pair in parse_rules(self.host.read(path) or "")]
        ours = frozenset((rule, note[len(OWNER) :]) for rule, note in found if note.startswith(OWNER))
        foreign = frozenset(rule for rule, note in found if not note.startswith(OWNER))
        active = enabled(self.host)
        missing: frozenset[Rule] = frozenset()
        if active:
            held = {rule for rule, _name in ours}
            for family in (4, 6):
                expected = {r for r in held if (":" in r.source) == (family == 6)}
                tool, chain = CHAINS[family]
                # No such chain: nothing of ufw is in the kernel, which the comparison then says.
                loaded = (
                    parse_kernel(self.host.attempt(tool, "-w", "-S", chain)[1], family)
                    if expected
                    else frozenset()
                )
                missing |= expected - loaded
        return State(ours, foreign, missing, active, default_of(self.host, "IPV6") in ("yes", "true", ""))

    def blank(self) -> State:
        return State(frozenset(), frozenset(), frozenset(), True, True)

    def sets(self, state: State) -> dict[str, RuleSet]:
        found = Gathering()
        for rule, name in state.rules:
            found.add(name, parse_ports(rule.protocol, rule.ports), [rule.source], rule.protocol == "esp")
        return found.result()

    def compile(self, sets: Mapping[str, RuleSet], state: State) -> State:
        rules: list[tuple[Rule, str]] = []
        for rs in sets.values():
            if "sctp" in rs.protocols():
                raise SpecError(
                    f"{MODULE} {rs.name}",
                    "ports",
                    [str(p) for p in rs.ports_of("sctp")],
                    "ufw knows no sctp: leave them out, or choose another backend",
                )
            if rs.of_family(6) and not state.ipv6 and not rs.world(6):
                raise HostError(
                    f"{MODULE} {rs.name}: sources has IPv6, but {_DEFAULTS} says IPV6=no: "
                    "set it to yes, or leave them out"
                )
            for source in rs.sources:
                if ":" in source and not state.ipv6:
                    continue
                for protocol in rs.protocols():
                    for part in chunks(rs.ports_of(protocol), _MULTIPORT):
                        ports = ",".join(p.text(":") for p in part)
                        rules.append((Rule(protocol, ports, source), rs.name))
                if rs.esp:
                    rules.append((Rule("esp", "", source), rs.name))
        return state._replace(rules=_one_owner(rules, state.foreign), missing=frozenset())

    def plan(self, now: State, goal: State) -> list[Op]:
        add, gone = goal.rules - now.rules, now.rules - goal.rules
        kept = {rule for rule, _name in goal.rules}
        # A rule that only changes its set is given a new comment by `ufw allow`; deleting it would take it away.
        ops = [command(rule, name) for rule, name in sorted(add)]
        ops += [command(rule, delete=True) for rule, _name in sorted(gone) if rule not in kept]
        lost = {rule for rule, _name in now.rules & goal.rules} & now.missing
        return [*ops, run_op("ufw", "reload")] if lost and now.active else ops

    def describe(self, state: State) -> list[str]:
        return [
            " ".join(command(rule, name).argv) + (" (not in the kernel)" if rule in state.missing else "")
            for rule, name in sorted(state.rules)
        ]

    def warnings(self, sets: Mapping[str, RuleSet], state: State) -> list[str]:
        told = []
        if sets and not state.active:
            told.append(NOT_ENABLED)
        if sets and default_of(self.host, "DEFAULT_INPUT_POLICY") == "accept":
            told.append(
                f"{_DEFAULTS} accepts all input by default, so that everyone reaches these ports: "
                "run `ufw default deny incoming`."
            )
        count = sum(len(rs.sources) for rs in sets.values())
        if count > 100:
            told.append(
                f"ufw takes about 0.1 s for each rule and there are {count} sources: name networks (CIDR)."
            )
        return told

    def execute(self, op: Op) -> None:
        if op.kind == "run" and op.argv[:1] == ("ufw",):
            out = self.host.run(*op.argv)
            # ufw tells of some failures on standard output and still exits with 0.
            if "ERROR" in out or ("Skipping adding existing rule" in out and "comment" not in op.argv):
                raise CommandError(op.argv, 0, out)
            return
        self.host.execute(op)


def _one_owner(rules: list[tuple[Rule, str]], foreign: frozenset[Rule]) -> frozenset[tuple[Rule, str]]:
    """The rules that we have to hold: the operator's own rule stays as it is. Raises SpecError for two of one kind."""
    owner: dict[Rule, str] = {}
    for rule, name in rules:
        if owner.setdefault(rule, name) != name:
            raise SpecError(
                f"{MODULE} {name}",
                "sources",
                rule.source,
                f"the set {owner[rule]} has the same rule, and ufw holds a rule once: join the two sets",
            )
    return frozenset((rule, name) for rule, name in owner.items() if rule not in foreign)
