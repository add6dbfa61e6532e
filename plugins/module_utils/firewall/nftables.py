# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nftables backend: a table of our own, replaced in one transaction.

Chain `input`, in this order: loopback passes; each set accepts its sources; replies to connections that this host
opened pass (their local port may lie in a listed range); the listed ports are dropped. Only replies, not all of an
established connection: a source that is taken out loses its open connections at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network, summarize_address_range
from typing import Any, NamedTuple, Optional

from ..spec.firewall import Port, RuleSet, collapse, in_order, normalise_ports, text_of
from . import persist
from .model import OWNER, CommandError, Gathering, Host, Op, run_op

TABLE = "crosshost_ports"
# Before iptables' and firewalld's filter chains (0 and 10): what we drop need not pass through them.
PRIORITY = -5
_SADDR = {4: "ip", 6: "ip6"}
_TYPE = {4: "ipv4_addr", 6: "ipv6_addr"}


class Rule(NamedTuple):
    """One rule of ours by its meaning. `ports` are of `protocol`; protocol `esp` has none.

    `family` 0: both versions. `source` is the name of a set, or "" for anyone. `foreign`: the JSON of a rule that is
    not ours; then nothing else is set.
    """

    verdict: str = ""
    name: str = ""
    family: int = 0
    source: str = ""
    protocol: str = ""
    ports: tuple[Port, ...] = ()
    foreign: str = ""


LOOPBACK = Rule("accept", protocol="lo")
REPLIES = Rule("accept", protocol="ct")


class State(NamedTuple):
    """`rules` is None while the table or its chain is not as we make them. `sets`: name to (type, elements).

    `circumstances`: the input chains of others that drop what they do not know.
    """

    rules: Optional[tuple[Rule, ...]]
    sets: Mapping[str, tuple[str, frozenset[str]]]
    files: persist.Files
    exists: bool
    circumstances: tuple[str, ...] = ()


def set_name(name: str, family: int) -> str:
    # nft's language wants a letter first, and a rule set's name may begin with a digit.
    return f"ip{family}-{name}"


def ordered(sources: Iterable[str]) -> list[str]:
    """Addresses and blocks in the order of their numbers."""
    return [text_of(n) for n in in_order(ip_network(s) for s in sources)]


def collapsed(sources: Iterable[str]) -> frozenset[str]:
    """The kernel may merge neighbouring intervals, so that two lists are compared by what they cover."""
    return frozenset(text_of(n) for n in collapse(sources))


# --- rules to nft's language and JSON, and back


def rule_text(rule: Rule) -> str:
    if rule.foreign:
        return f"# not ours: {rule.foreign}"
    if rule == LOOPBACK:
        return 'iifname "lo" accept'
    if rule == REPLIES:
        return "ct state established ct direction reply accept"
    words = []
    if rule.source:
        words.append(f"{_SADDR[rule.family]} saddr @{rule.source}")
    elif rule.family:
        words.append(f"meta nfproto ipv{rule.family}")
    if rule.protocol == "esp":
        words.append("meta l4proto esp")
    else:
        words.append(f"{rule.protocol} dport {{ {', '.join(p.text('-') for p in rule.ports)} }}")
    return f'{" ".join(words)} {rule.verdict} comment "{OWNER}{rule.name}"'


def rule_ports(protocol: str, right: Any) -> Optional[tuple[Port, ...]]:
    values = right.get("set", [right]) if isinstance(right, dict) else [right]
    out = []
    for value in values:
        low, high = value["range"] if isinstance(value, dict) and "range" in value else (value, value)
        if not (isinstance(low, int) and isinstance(high, int)):
            return None
        out.append(Port(protocol, low, high))
    return normalise_ports(out)


def _match(rule: Rule, left: Any, right: Any) -> Optional[Rule]:
    """`rule` with one more match taken in, or None where it is not one of ours."""
    ((kind, body),) = left.items() if isinstance(left, dict) and len(left) == 1 else (("", {}),)
    if not isinstance(body, dict):
        return None
    if kind == "payload" and body.get("field") == "saddr" and str(right).startswith("@"):
        family = 6 if body.get("protocol") == "ip6" else 4
        return rule._replace(family=family, source=str(right)[1:])
    if kind == "payload" and body.get("field") == "dport" and body.get("protocol") in ("tcp", "udp", "sctp"):
        ports = rule_ports(body["protocol"], right)
        return None if ports is None else rule._replace(protocol=body["protocol"], ports=ports)
    if kind == "meta" and body.get("key") == "nfproto" and right in ("ipv4", "ipv6"):
        return rule._replace(family=int(right[-1]))
    if kind == "meta" and body.get("key") == "l4proto" and right in ("esp", 50):
        return rule._replace(protocol="esp")
    if kind == "meta" and body.get("key") == "iifname" and right == "lo":
        return rule._replace(protocol="lo")
    # The two halves of REPLIES: only both together make it, in this order.
    if kind == "ct" and body.get("key") == "state" and right in ("established", ["established"]):
        return rule._replace(protocol="ct state") if not rule.protocol else None
    if kind == "ct" and body.get("key") == "direction" and right == "reply" and rule.protocol == "ct state":
        return rule._replace(protocol="ct")
    return None


def read_rule(raw: Mapping[str, Any]) -> Rule:
    """A rule of `nft -j list` by its meaning."""
    comment = str(raw.get("comment", ""))
    exprs: Sequence[Mapping[str, Any]] = raw.get("expr", [])
    foreign = Rule(foreign=json.dumps(exprs, sort_keys=True))
    rule: Optional[Rule] = Rule(name=comment[len(OWNER) :] if comment.startswith(OWNER) else "")
    for expr in exprs:
        if rule is None or rule.verdict:
            return foreign
        if "match" in expr and expr["match"].get("op") in ("==", "in"):
            rule = _match(rule, expr["match"].get("left"), expr["match"].get("right"))
        elif "accept" in expr or "drop" in expr:
            rule = rule._replace(verdict="accept" if "accept" in expr else "drop")
        else:
            return foreign
    return rule if rule and rule.verdict and rule.protocol not in ("", "ct state") else foreign


def read_element(raw: Any) -> list[str]:
    """One element of a listed set as addresses and CIDR blocks."""
    if isinstance(raw, dict) and "elem" in raw:
        raw = raw["elem"].get("val")
    if isinstance(raw, dict) and "prefix" in raw:
        return [f"{raw['prefix']['addr']}/{raw['prefix']['len']}"]
    if isinstance(raw, dict) and "range" in raw:
        low, high = (ip_address(a) for a in raw["range"])
        return [text_of(n) for n in summarize_address_range(low, high)]
    return [str(raw)]


# --- the table as one transaction


def script(rules: Sequence[Rule], sets: Mapping[str, tuple[str, frozenset[str]]]) -> str:
    """An nft script that puts this table in the place of whatever table of that name there is."""
    out = [f"table inet {TABLE} {{ }}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]
    for name in sorted(sets):
        kind, elements = sets[name]
        listed = ", ".join(ordered(elements))
        out += [f"\tset {name} {{", f"\t\ttype {kind}", "\t\tflags interval"]
        out += [f"\t\telements = {{ {listed} }}"] if listed else []
        out += ["\t}"]
    out += ["\tchain input {", f"\t\ttype filter hook input priority {PRIORITY}; policy accept;"]
    out += [f"\t\t{rule_text(rule)}" for rule in rules]
    return "\n".join([*out, "\t}", "}", ""])


def file_text(rules: Sequence[Rule], sets: Mapping[str, tuple[str, frozenset[str]]]) -> str:
    head = "#!/usr/sbin/nft -f\n# Written by crosshost.network.firewall_ports; changes are overwritten.\n"
    return head + script(rules, sets)


def compile_rules(sets: Mapping[str, RuleSet]) -> tuple[Rule, ...]:
    """All accepts before all drops: a port may be in several sets with different sources."""
    accepts: list[Rule] = []
    drops: list[Rule] = []
    for rs in sets.values():
        transports = [(p, rs.ports_of(p)) for p in rs.protocols()]
        transports += [("esp", ())] if rs.esp else []
        for family in (4, 6):
            if rs.of_family(family):
                source = "" if rs.world(family) else set_name(rs.name, family)
                accepts += [Rule("accept", rs.name, family, source, p, ports) for p, ports in transports]
        drops += [Rule("drop", rs.name, 0, "", p, ports) for p, ports in transports]
    return (LOOPBACK, *accepts, REPLIES, *drops)


def _transaction(lines: Sequence[str]) -> Op:
    return run_op("nft", "-f", "-", text="\n".join([*lines, ""]), lines=["nft -f - <<'EOF'", *lines, "EOF"])


class Nftables:
    name = "nftables"

    def __init__(self, host: Host) -> None:
        self.host = host

    def present(self) -> bool:
        if not self.host.has("nft"):
            return False
        rc, out, _err = self.host.attempt("nft", "list", "tables", "inet")
        return (rc == 0 and f"table inet {TABLE}" in out.splitlines()) or self.host.exists(persist.NFT_FILE)

    def observe(self) -> State:
        files = persist.observe(self.host, self.name, [persist.NFT_FILE])
        droppers = self._droppers()
        rc, out, err = self.host.attempt("nft", "-j", "list", "table", "inet", TABLE)
        if rc:
            # The one failure that is an answer: there is no such table.
            if "No such file" not in err:
                raise CommandError(("nft", "-j", "list", "table", "inet", TABLE), rc, err or out)
            return State(None, {}, files, False, droppers)
        sets: dict[str, tuple[str, frozenset[str]]] = {}
        rules: list[Rule] = []
        sound = False
        for row in json.loads(out)["nftables"]:
            if "set" in row:
                elements = [text for raw in row["set"].get("elem", []) for text in read_element(raw)]
                sets[row["set"]["name"]] = (str(row["set"]["type"]), frozenset(elements))
            elif "chain" in row:
                chain = row["chain"]
                if chain["name"] != "input":
                    rules.append(Rule(foreign=json.dumps(chain, sort_keys=True)))
                elif (chain.get("hook"), chain.get("prio"), chain.get("policy")) == (
                    "input",
                    PRIORITY,
                    "accept",
                ):
                    sound = True
            elif "rule" in row:
                rules.append(read_rule(row["rule"]))
        if not sound:
            rules.append(Rule(foreign="chain input is missing or hooked elsewhere"))
        return State(tuple(rules), sets, files, True, droppers)

    def _droppers(self) -> tuple[str, ...]:
        rows = json.loads(self.host.run("nft", "-j", "list", "chains"))["nftables"]
        return tuple(
            f"{c['family']} {c['table']} {c['name']}"
            for c in (r["chain"] for r in rows if "chain" in r)
            if c.get("hook") == "input" and c.get("policy") == "drop" and c["table"] != TABLE
        )

    def blank(self) -> State:
        return State(None, {}, persist.blank(self.name), False)

    def sets(self, state: State) -> dict[str, RuleSet]:
        found = Gathering()
        for rule in state.rules or ():
            if rule.verdict and rule.name:
                found.add(rule.name, rule.ports, esp=rule.protocol == "esp")
                if rule.verdict == "accept":
                    world = ("0.0.0.0/0" if rule.family == 4 else "::/0") if rule.family else ""
                    listed = state.sets.get(rule.source, ("", frozenset()))[1]
                    found.add(rule.name, sources=[world] if not rule.source and world else sorted(listed))
        return found.result()

    def compile(self, sets: Mapping[str, RuleSet], state: State) -> State:
        if not sets:
            return State(None, {}, persist.goal(state.files, {}, ""), False, state.circumstances)
        rules = compile_rules(sets)
        tables = {
            set_name(rs.name, f): (_TYPE[f], frozenset(rs.of_family(f)))
            for rs in sets.values()
            for f in (4, 6)
            if rs.of_family(f) and not rs.world(f)
        }
        files = persist.goal(state.files, {persist.NFT_FILE: file_text(rules, tables)}, persist.nft_unit())
        return State(rules, tables, files, True, state.circumstances)

    def plan(self, now: State, goal: State) -> list[Op]:
        return [*self._table(now, goal), *persist.plan(now.files, goal.files)]

    def _table(self, now: State, goal: State) -> list[Op]:
        if not goal.exists:
            return [run_op("nft", "delete", "table", "inet", TABLE)] if now.exists else []
        if (
            not goal.rules
            or now.rules != goal.rules
            or {n: v[0] for n, v in now.sets.items()} != {n: v[0] for n, v in goal.sets.items()}
        ):
            return [_transaction(script(goal.rules or (), goal.sets).splitlines())]
        # Flushed and filled in one transaction, so that no packet sees the gap: to take out single elements one
        # would have to know into which intervals the kernel has merged them.
        lines: list[str] = []
        for name in sorted(goal.sets):
            want = goal.sets[name][1]
            if collapsed(now.sets[name][1]) != collapsed(want):
                lines += [
                    f"flush set inet {TABLE} {name}",
                    f"add element inet {TABLE} {name} {{ {', '.join(ordered(want))} }}",
                ]
        return [_transaction(lines)] if lines else []

    def describe(self, state: State) -> list[str]:
        table = script(state.rules or (), state.sets).splitlines()[2:] if state.exists else []
        return [*table, *persist.describe(state.files)]

    def warnings(self, sets: Mapping[str, RuleSet], state: State) -> list[str]:
        if not sets:
            return []
        told = [
            f"Chain {chain} drops what it does not know, and an accept in table inet {TABLE} does not override "
            "that: let the ports of crosshost through there as well."
            for chain in state.circumstances
        ]
        return told + persist.warning(state.files)

    def execute(self, op: Op) -> None:
        self.host.execute(op)
