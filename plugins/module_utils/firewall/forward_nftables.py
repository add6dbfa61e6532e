# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forwarded traffic past nftables rules of others: a chain of our own in each of their tables that drops by default.

A drop is final and an accept is not, so that the rule has to stand in the chain that would drop. What drops by default is
a base chain of the hook forward whose policy, or whose last word to a new packet, is drop or reject.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

from . import persist
from .forward import COMMENT, NFT_CHAIN, NFT_FILES, OF_DOCKERD, Step, fate
from .model import STATE_DIR, Host, Op, run_op

_FAMILIES = ("inet", "ip", "ip6")
_OURS = ("crosshost", "crosshost_ports")
_WAYS = ("iifname", "oifname")
# Statements that neither decide nor depend on the packet.
_ASIDE = frozenset({"counter", "log", "mangle", "notrack"})


class Table(NamedTuple):
    """What of a table of others is ours. `rules`: those of our chain, None without one. `heads`: base chains that lead to
    it by one rule, before they drop. `jumps`: every rule that leads to it, as chain and handle. `closed`: the base chains
    that drop by default."""

    rules: Optional[tuple[str, ...]]
    heads: frozenset[str]
    jumps: tuple[tuple[str, int], ...]
    closed: frozenset[str]


class State(NamedTuple):
    """`tables`: by family and name."""

    tables: Mapping[tuple[str, str], Table]
    files: persist.Files


# --- what is there


def step_of(exprs: Sequence[Mapping[str, Any]]) -> Optional[Step]:
    """What a rule does with every new packet, or None where it has a condition. "Not this interface" counts as none, as
    do the version of IP and a match of the connection's state that takes new ones."""
    for expr in exprs:
        ((kind, body),) = expr.items()
        if kind == "match":
            if not _takes_new(body):
                return None
        elif kind == "vmap":
            return _step_of_map(body)
        elif kind not in _ASIDE and (kind, body.get("name") if body else "") != ("xt", "comment"):
            return _verdict(expr)
    return None


def _verdict(expr: Mapping[str, Any]) -> Optional[Step]:
    ((kind, body),) = expr.items()
    if kind in ("accept", "drop", "return"):
        return Step(kind)
    if kind == "reject" or (kind == "xt" and body.get("name") == "REJECT"):
        return Step("drop")
    return Step(kind, body["target"]) if kind in ("jump", "goto") else None


def _takes_new(match: Mapping[str, Any]) -> bool:
    left, other = match.get("left"), match.get("op") == "!="
    ((kind, body),) = left.items() if isinstance(left, dict) and len(left) == 1 else (("", {}),)
    key = body.get("key") if isinstance(body, dict) else ""
    if kind == "ct" and key == "state":
        return ("new" in _values(match.get("right"))) is not other
    return kind == "meta" and (key == "nfproto" or (other and key in ("iif", "oif", *_WAYS)))


def _values(right: Any) -> list[Any]:
    listed = right.get("set", []) if isinstance(right, dict) else right
    return listed if isinstance(listed, list) else [listed]


def _step_of_map(vmap: Mapping[str, Any]) -> Optional[Step]:
    """Only a map from the connection's state says what becomes of every new one."""
    data = vmap.get("data")
    if vmap.get("key") != {"ct": {"key": "state"}} or not isinstance(data, dict):
        return None
    return next((_verdict(verdict) for key, verdict in data.get("set", []) if "new" in _values(key)), None)


def rule_text(way: str, interfaces: Sequence[str]) -> str:
    listed = ", ".join(f'"{i}"' for i in sorted(interfaces))
    match = listed if len(interfaces) == 1 else f"{{ {listed} }}"
    return f'{way} {match} accept comment "{COMMENT}"'


def rules_of(key: tuple[str, str], interfaces: frozenset[str]) -> tuple[str, ...]:
    """A look-up each way. In iptables' own table a rule for each interface, as iptables cannot read sets."""
    alone = key in (("ip", "filter"), ("ip6", "filter"))
    listed = [[i] for i in sorted(interfaces)] if alone else [sorted(interfaces)]
    return tuple(rule_text(way, names) for way in _WAYS for names in listed)


def read_rule(raw: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    """A rule of our chain in our own words, and the interfaces that it names; no interfaces for any other rule."""
    exprs = raw.get("expr", [])
    match = exprs[0].get("match", {}) if exprs else {}
    for way in _WAYS:
        if (match.get("op"), match.get("left")) == ("==", {"meta": {"key": way}}) and len(exprs) == 2:
            names = frozenset(map(str, _values(match.get("right"))))
            if "accept" in exprs[1] and raw.get("comment") == COMMENT:
                return rule_text(way, sorted(names)), names
    return f"# not ours: {json.dumps(exprs, sort_keys=True)}", frozenset()


def read_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """`rows`: the objects of `nft -j list table`."""
    chains = {row["chain"]["name"]: row["chain"] for row in rows if "chain" in row}
    rules: dict[str, list[Mapping[str, Any]]] = {}
    for raw in (row["rule"] for row in rows if "rule" in row):
        rules.setdefault(raw["chain"], []).append(raw)
    theirs = {name: held for name, held in rules.items() if name != NFT_CHAIN}
    steps = {name: [s for s in (step_of(r["expr"]) for r in held) if s] for name, held in theirs.items()}
    jumps = [(name, raw["handle"]) for name, held in rules.items() for raw in held if _leads_to_us(raw)]
    bases = [name for name, chain in chains.items() if chain.get("hook") == "forward"]
    # What a dockerd shuts it lets others open by its own chain, which is told through iptables.
    bases = [] if OF_DOCKERD & set(chains) else bases
    heads = set()
    for name in bases:
        at = [index for index, raw in enumerate(rules.get(name, ())) if _leads_to_us(raw)]
        above = [s for s in (step_of(raw["expr"]) for raw in rules.get(name, ())[: at[0]]) if s] if at else []
        if len(at) == 1 and not fate({**steps, name: above}, name):
            heads.add(name)
    ours = tuple(read_rule(raw)[0] for raw in rules.get(NFT_CHAIN, ()))
    return Table(
        ours if NFT_CHAIN in chains else None,
        frozenset(heads),
        tuple(jumps),
        frozenset(name for name in bases if _closed(steps, name, chains[name].get("policy"))),
    )


def _leads_to_us(raw: Mapping[str, Any]) -> bool:
    return bool(raw["expr"] == [{"jump": {"target": NFT_CHAIN}}])


def _closed(steps: Mapping[str, Sequence[Step]], chain: str, policy: Optional[str]) -> bool:
    found = fate(steps, chain)
    return policy == "drop" if found is None else found


# --- what shall be there


def create_script(key: tuple[str, str], table: Table, verb: str = "create") -> list[str]:
    """Our chain in a table of others, and the way to it. A second `create` is refused as a whole, so that the file that
    is loaded at boot never loads twice."""
    where = f"{key[0]} {key[1]}"
    lines = [
        f"{verb} chain {where} {NFT_CHAIN}",
        *([f"flush chain {where} {NFT_CHAIN}"] if verb == "add" else []),
    ]
    lines += [f"add rule {where} {NFT_CHAIN} {rule}" for rule in table.rules or ()]
    head = f'jump {NFT_CHAIN} comment "{COMMENT}"'
    return [*lines, *(f"insert rule {where} {chain} {head}" for chain in sorted(table.heads))]


def table_script(key: tuple[str, str], now: Table, goal: Table) -> list[str]:
    where = f"{key[0]} {key[1]}"
    lines = [f"delete rule {where} {chain} handle {handle}" for chain, handle in now.jumps]
    if goal.rules is not None:
        return [*lines, *create_script(key, goal, "add")]
    return [*lines, f"flush chain {where} {NFT_CHAIN}", f"delete chain {where} {NFT_CHAIN}"]


def file_of(key: tuple[str, str]) -> str:
    # A name may hold a slash, but no tilde.
    return f"{STATE_DIR}/{NFT_FILES}{key[0]}-{key[1].replace('/', '~')}.nft"


def file_text(key: tuple[str, str], table: Table) -> str:
    head = "#!/usr/sbin/nft -f\n# Written by crosshost.network.firewall_ports; changes are overwritten.\n"
    return head + "\n".join([*create_script(key, table), ""])


class NftForward:
    name = "nftables"

    def __init__(self, host: Host) -> None:
        self.host = host

    def observe(self) -> State:
        paths = [f"{STATE_DIR}/{e}" for e in self.host.listdir(STATE_DIR) if e.startswith(NFT_FILES)]
        files = persist.observe(self.host, "forward-nftables", paths)
        rows = json.loads(self.host.run("nft", "-j", "list", "chains"))["nftables"]
        chains = [c for c in (r["chain"] for r in rows if "chain" in r) if c["family"] in _FAMILIES]
        concerned = [c for c in chains if c.get("hook") == "forward" or c["name"] == NFT_CHAIN]
        tables = {}
        for key in sorted({(c["family"], c["table"]) for c in concerned if c["table"] not in _OURS}):
            # Terse: the elements of sets are many and say nothing here.
            text = self.host.run("nft", "-t", "-j", "list", "table", *key)
            tables[key] = read_table(json.loads(text)["nftables"])
        return State(tables, files)

    def blank(self) -> State:
        return State({}, persist.blank("forward-nftables"))

    def held(self, state: State) -> frozenset[str]:
        rules = (rule for table in state.tables.values() for rule in table.rules or () if rule[0] != "#")
        return frozenset(name for rule in rules for name in re.findall(r'"(.+?)"', rule.split(" accept")[0]))

    def compile(self, interfaces: frozenset[str], state: State) -> State:
        tables = {
            key: Table(rules_of(key, interfaces), table.closed, (), table.closed)
            if interfaces and table.closed
            else Table(None, frozenset(), (), table.closed)
            for key, table in state.tables.items()
        }
        texts = {file_of(key): file_text(key, t) for key, t in tables.items() if t.rules is not None}
        unit = persist.nft_forward_unit(sorted(texts))
        return State(tables, persist.goal(state.files, texts, unit))

    def plan(self, now: State, goal: State) -> list[Op]:
        lines: list[str] = []
        for key, have in sorted(now.tables.items()):
            want = goal.tables.get(key, Table(None, frozenset(), (), have.closed))
            if (have.rules, have.heads, len(have.jumps)) != (want.rules, want.heads, len(want.heads)):
                lines += table_script(key, have, want)
        ops = []
        if lines:
            text = "\n".join([*lines, ""])
            ops = [run_op("nft", "-f", "-", text=text, lines=["nft -f - <<'EOF'", *lines, "EOF"])]
        return [*ops, *persist.plan(now.files, goal.files)]

    def describe(self, state: State) -> list[str]:
        full = ((key, t) for key, t in sorted(state.tables.items()) if t.rules is not None)
        lines = [line for key, table in full for line in create_script(key, table, "add")]
        return [*lines, *persist.describe(state.files)]

    def warnings(self, goal: State) -> list[str]:
        return persist.warning(goal.files) if goal.files.texts else []

    def execute(self, op: Op) -> None:
        self.host.execute(op)
