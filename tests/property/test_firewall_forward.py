# SPDX-License-Identifier: GPL-3.0-or-later
"""For every way past a firewall: a plan from A to B, carried out by a model of its tool, gives B; a second is empty."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.firewall import (
    forward_firewalld,
    forward_iptables,
    forward_nftables,
    forward_ufw,
)
from ansible_collections.crosshost.network.plugins.module_utils.firewall.model import Host, Op
from hypothesis import given
from hypothesis import strategies as st

interfaces = st.frozensets(st.sampled_from(["a", "b0", "xh_gwbridge", "x" * 15]), max_size=3)
journeys = st.lists(interfaces, min_size=1, max_size=4)


def travel(passage: Any, state: Any, model: Any, journey: list[frozenset[str]], passing: Any) -> None:
    """Through all of them and to none; each step is also undone once, and done again."""
    for wanted in [*journey, frozenset()]:
        goal = passage.compile(wanted, state)
        before, state = state, model(state, passage.plan(state, goal))
        back = model(state, passage.plan(state, before))
        assert passage.plan(back, before) == []
        state = model(back, passage.plan(back, goal))
        assert passage.plan(state, goal) == []
        assert passing(state, wanted)
        assert passage.describe(state) == passage.describe(goal)
    assert passage.held(state) == frozenset()


# --- iptables


class Saved:
    """The filter table as iptables-save prints it."""

    def __init__(self, policy: str, chains: dict[str, list[str]]) -> None:
        self.policy, self.chains = policy, chains

    def restore(self, text: str) -> None:
        for line in text.splitlines():
            words = line.split(None, 2)
            if line.startswith(":"):
                self.chains[words[0][1:]] = []
            elif line.startswith("-D "):
                self.chains[words[1]].remove(f"-A {words[1]} {words[2]}")
            elif line.startswith("-I "):
                assert words[2].startswith("1 ") and words[2].split()[-1] in self.chains
                self.chains[words[1]].insert(0, f"-A {words[1]} {words[2][2:]}")
            elif line.startswith("-A "):
                self.chains[words[1]].append(line)
            elif line.startswith("-X "):
                assert not self.chains.pop(words[1])
                assert not any(words[1] in rule for held in self.chains.values() for rule in held)

    def read(self, mode: str) -> forward_iptables.Table:
        heads = [f":{name} {self.policy if name == 'FORWARD' else '-'} [0:0]" for name in self.chains]
        text = "\n".join([*heads, *(rule for held in self.chains.values() for rule in held)])
        return forward_iptables.read_table(forward_iptables.parse_filter(text), mode)


theirs = st.sampled_from(
    [
        {"FORWARD": []},
        {"FORWARD": ["-A FORWARD -j DROP"]},
        {"FORWARD": ["-A FORWARD -j mine"], "mine": ["-A mine -p tcp -j ACCEPT"]},
        {"FORWARD": ["-A FORWARD -j DOCKER-USER"], "DOCKER-USER": ["-A DOCKER-USER -j RETURN"]},
        {"FORWARD": [], "DOCKER-ISOLATION-STAGE-1": []},
    ]
)


@given(
    journeys,
    theirs,
    st.sampled_from(["ACCEPT", "DROP"]),
    st.sampled_from(["always", "closed", "docker", "never"]),
)
def test_iptables(journey: Any, chains: dict[str, list[str]], policy: str, mode: str) -> None:
    saved = Saved(policy, {name: list(rules) for name, rules in chains.items()})
    passage = forward_iptables.IptablesForward(Host(), mode)
    start = passage.blank()._replace(tables={4: saved.read(mode)})
    target = start.tables[4].target

    def model(state: Any, ops: list[Op]) -> Any:
        for op in ops:
            if op.argv[:1] == ("iptables-restore",):
                saved.restore(op.text)
        return state._replace(tables={4: saved.read(mode)}, files=state_files(state, ops))

    def passing(state: Any, wanted: frozenset[str]) -> bool:
        assert {name: rules for name, rules in saved.chains.items() if name in chains and name != target} == {
            name: rules for name, rules in chains.items() if name != target
        }
        return bool(passage.held(state) == (wanted if target else frozenset()))

    travel(passage, start, model, journey, passing)
    assert saved.chains == chains


def state_files(state: Any, ops: list[Op]) -> Any:
    files = state.files
    for op in ops:
        texts = dict(files.texts)
        if op.kind == "write":
            texts[op.path] = op.text
        elif op.kind == "remove" and op.path != files.link_path:
            del texts[op.path]
        elif op.kind in ("link", "remove"):
            files = files._replace(link=op.kind == "link")
        elif op.argv[:2] in (("systemctl", "start"), ("systemctl", "stop")):
            files = files._replace(active=op.argv[1] == "start")
        files = files._replace(texts=texts)
    return files


# --- nftables


class Ruleset:
    """Tables of others; rules as nft's JSON has them."""

    def __init__(self, tables: dict[tuple[str, str], list[dict[str, Any]]]) -> None:
        self.tables = tables
        self.handle = 100

    def load(self, text: str) -> None:
        for line in text.splitlines():
            verb, kind, family, table, chain, *rest = line.split(None, 5)
            rows = self.tables[family, table]
            named = [r for r in rows if r.get("chain", {}).get("name") == chain]
            inside = [r for r in rows if r.get("rule", {}).get("chain") == chain]
            if (verb, kind) == ("add", "chain"):
                rows += [] if named else [{"chain": {"name": chain}}]
            elif kind == "chain":
                assert named and (verb == "flush" or not inside)
                for row in inside if verb == "flush" else named:
                    rows.remove(row)
            elif verb == "delete":
                (row,) = (r for r in inside if f"handle {r['rule']['handle']}" == rest[0])
                rows.remove(row)
            else:
                assert named
                self.handle += 1
                row = {"rule": {"chain": chain, "handle": self.handle, **expressions(rest[0])}}
                rows.insert(rows.index(inside[0]) if verb == "insert" and inside else len(rows), row)

    def read(self) -> dict[tuple[str, str], forward_nftables.Table]:
        return {key: forward_nftables.read_table(rows) for key, rows in self.tables.items()}


def expressions(text: str) -> dict[str, Any]:
    """A rule of the nft language as the JSON that nft would make of it."""
    comment = re.search(r'comment "(.*)"', text)
    noted = {"comment": comment[1]} if comment else {}
    if text.startswith("jump"):
        return {"expr": [{"jump": {"target": text.split()[1]}}], **noted}
    names = re.findall(r'"(.+?)"', text.partition(" accept")[0])
    right = {"set": names} if "{" in text else names[0]
    match = {"match": {"op": "==", "left": {"meta": {"key": text.split()[0]}}, "right": right}}
    return {"expr": [match, {"accept": None}], **noted}


def base(name: str, policy: str, *rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    held = [{"rule": {"chain": name, "handle": n, "expr": expr}} for n, expr in enumerate(rules)]
    return [{"chain": {"name": name, "hook": "forward", "policy": policy}}, *held]


some_tables = st.dictionaries(
    st.sampled_from([("inet", "filter"), ("ip", "filter"), ("ip6", "x/y")]),
    st.sampled_from(
        [
            base("forward", "drop"),
            base("forward", "accept"),
            base("forward", "accept", [{"drop": None}]),
            [*base("one", "drop", [{"counter": None}]), *base("two", "accept", [{"reject": None}])],
            [*base("one", "drop"), *base("two", "accept")],
        ]
    ),
)


@given(journeys, some_tables)
def test_nftables(journey: Any, tables: dict[tuple[str, str], list[dict[str, Any]]]) -> None:
    ruleset = Ruleset({key: [dict(row) for row in rows] for key, rows in tables.items()})
    passage = forward_nftables.NftForward(Host())
    start = passage.blank()._replace(tables=ruleset.read())
    shut = any(table.closed for table in start.tables.values())

    def model(state: Any, ops: list[Op]) -> Any:
        for op in ops:
            if op.argv[:1] == ("nft",):
                ruleset.load(op.text)
        return state._replace(tables=ruleset.read(), files=state_files(state, ops))

    def passing(state: Any, wanted: frozenset[str]) -> bool:
        assert all(
            table.heads == (table.closed if wanted else frozenset()) for table in state.tables.values()
        )
        return bool(passage.held(state) == (wanted if shut else frozenset()))

    travel(passage, start, model, journey, passing)
    assert ruleset.tables == tables


# --- ufw


@given(
    journeys,
    st.frozensets(st.builds(forward_ufw.Rule, st.sampled_from(["a", "b0"]), st.sampled_from(["in", "out"]))),
)
def test_ufw(journey: Any, foreign: frozenset[forward_ufw.Rule]) -> None:
    passage = forward_ufw.UfwForward(Host())

    def model(state: Any, ops: list[Op]) -> Any:
        rules = set(state.rules)
        for op in ops:
            words = [w for w in op.argv if w != "delete"]
            rule = forward_ufw.Rule(words[5], words[3])
            assert words[:3] == ["ufw", "route", "allow"] and words[4] == "on" and rule not in foreign
            (rules.remove if "delete" in op.argv else rules.add)(rule)
        return state._replace(rules=frozenset(rules))

    def passing(state: Any, wanted: frozenset[str]) -> bool:
        return bool({(i, way) for i in wanted for way in ("in", "out")} <= set(state.rules | foreign))

    travel(passage, passage.blank()._replace(foreign=foreign), model, journey, passing)


# --- firewalld

_OBJECTS = {"zone": "crosshost", "policy": "crosshost-in"}


def model_firewalld(state: forward_firewalld.State, ops: list[Op]) -> forward_firewalld.State:
    """What firewall-cmd makes of the calls; `state.permanent` is the files, the rest the daemon."""
    for op in ops:
        if op.kind == "reload":
            files = state.permanent
            loaded = files.zone is not None and (files.policy is not None or not state.host.policies)
            state = state._replace(interfaces=files.interfaces, direct=files.direct, loaded=loaded)
        elif op.argv[0] != "firewall-cmd":
            assert op.argv[1:3] == ("-w", "-I")
            state = state._replace(missing=frozenset())
        elif op.argv[1] == "--permanent":
            state = state._replace(permanent=change(state.permanent, list(op.argv[2:])))
        else:
            assert op.argv[1] == "--direct" or state.loaded, "the zone is there"
            runtime = forward_firewalld.NOTHING._replace(
                zone=frozenset(), interfaces=state.interfaces, direct=state.direct, chains=frozenset({4, 6})
            )
            words = [w.replace("change-interface", "add-interface") for w in op.argv[1:]]
            runtime = change(runtime, words)
            state = state._replace(interfaces=runtime.interfaces, direct=runtime.direct)
    return state


def change(held: forward_firewalld.Permanent, words: list[str]) -> forward_firewalld.Permanent:
    if words[0] == "--direct":
        return change_direct(held, words)
    for kind, name in _OBJECTS.items():
        if words[0] in (f"--new-{kind}={name}", f"--delete-{kind}={name}"):
            new = words[0].startswith("--new")
            assert (getattr(held, kind) is None) is new
            assert kind == "policy" or held.policy is None or new, "the policy refers to the zone"
            kept = held if new or kind == "policy" else held._replace(interfaces=frozenset())
            return kept._replace(**{kind: frozenset() if new else None})
    kind = words[0][2:].partition("=")[0]
    assert words[0] == f"--{kind}={_OBJECTS[kind]}" and getattr(held, kind) is not None
    verbs = {word.partition("=")[0] for word in words[1:]}
    assert len(verbs) == 1, "one kind of option a call"
    settings, names = set(getattr(held, kind)), set(held.interfaces)
    for word in words[1:]:
        option, _, value = word[2:].partition("=")
        if option.endswith("-interface"):
            (names.add if option.startswith("add") else names.remove)(value)
        elif option.startswith("remove-"):
            settings.remove((option.replace("remove-", "add-"), value))
        else:
            settings.add((option, value))
    return held._replace(**{kind: frozenset(settings)}, interfaces=frozenset(names))


def change_direct(held: forward_firewalld.Permanent, words: list[str]) -> forward_firewalld.Permanent:
    verb, family = words[1], int(words[2][-1])
    if verb.endswith("-chain"):
        assert words[3:] == ["filter", "DOCKER-USER"]
        assert not any(r.family == family and r.chain == "DOCKER-USER" for r in held.direct)
        changed = held.chains | {family} if verb == "--add-chain" else held.chains - {family}
        assert changed != held.chains
        return held._replace(chains=changed)
    rule = forward_firewalld.read_direct(words[2:])
    assert rule is not None and (rule.chain == "FORWARD" or family in held.chains), "a reload needs the chain"
    changed_rules = held.direct | {rule} if verb == "--add-rule" else held.direct - {rule}
    assert changed_rules != held.direct
    return held._replace(direct=changed_rules)


targets = st.fixed_dictionaries(
    {
        4: st.sampled_from([(), ("FORWARD",), ("DOCKER-USER", "FORWARD")]),
        6: st.sampled_from([(), ("FORWARD",), ("DOCKER-USER", "FORWARD")]),
    }
)


@given(journeys, targets, st.booleans())
def test_firewalld(journey: Any, where: dict[int, tuple[str, ...]], policies: bool) -> None:
    passage = forward_firewalld.FirewalldForward(Host())
    start = passage.blank()
    start = start._replace(host=start.host._replace(targets=where, policies=policies))

    def passing(state: Any, wanted: frozenset[str]) -> bool:
        directs = {(r.family, r.chain, r.way, r.interface) for r in state.direct}
        want = {
            (f, c, way, i)
            for f, chains in where.items()
            for c in chains
            for way in ("-i", "-o")
            for i in wanted
        }
        assert directs == want and state.permanent.direct == state.direct
        return bool(state.interfaces == state.permanent.interfaces == wanted)

    travel(passage, start, model_firewalld, journey, passing)
