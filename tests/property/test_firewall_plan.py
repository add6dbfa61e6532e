# SPDX-License-Identifier: GPL-3.0-or-later
"""For every backend: a plan from A to B, carried out by a model of its tool, gives B; a second plan is empty."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.firewall import (
    firewalld,
    firewalld_read,
    firewalld_reload,
    iptables,
    nftables,
    ufw,
)
from ansible_collections.crosshost.network.plugins.module_utils.firewall.model import Host, Op
from ansible_collections.crosshost.network.plugins.module_utils.spec import firewall as spec
from hypothesis import assume, given
from hypothesis import strategies as st

RuleSets = dict[str, spec.RuleSet]


@st.composite
def networks(draw: st.DrawFn) -> str:
    # Few bits, so that entries cover and touch each other.
    host = draw(st.integers(0, 31))
    if draw(st.booleans()):
        return str(ipaddress.ip_network((0x0A000000 + host, draw(st.integers(27, 32))), strict=False))
    return str(ipaddress.ip_network(((0xFD << 120) + host, draw(st.integers(123, 128))), strict=False))


ports = st.builds(
    lambda protocol, first, size: spec.Port(protocol, first, first + size),
    st.sampled_from(["tcp", "udp"]),
    st.integers(1, 60),
    st.integers(0, 3),
)


@st.composite
def rule_sets(draw: st.DrawFn) -> RuleSets:
    out = {}
    for name in draw(st.lists(st.sampled_from(["a", "9-b", "crosshost", "z" * 32]), unique=True, max_size=3)):
        esp = draw(st.booleans())
        listed = spec.normalise_ports(draw(st.lists(ports, min_size=0 if esp else 1, max_size=20)))
        world = draw(st.sampled_from([[], [], [], ["0.0.0.0/0"], ["0.0.0.0/0", "::/0"]]))
        sources = spec.normalise_sources([*draw(st.lists(networks(), min_size=1, max_size=6)), *world])
        out[name] = spec.RuleSet(name, listed, esp, sources)
    return {n: out[n] for n in sorted(out)}


# --- models of the tools: they know the tool's words, nothing of the plan


def model_nft(state: nftables.State, ops: list[Op]) -> nftables.State:
    for op in ops:
        if op.argv[:3] == ("nft", "delete", "table"):
            state = state._replace(rules=None, sets={}, exists=False)
        elif op.argv[:1] == ("nft",) and op.text.startswith("table"):
            sets = {
                m[1]: (m[2], frozenset(re.findall(r"[0-9a-f.:/]+", m[3] or "")))
                for m in re.finditer(
                    r"set (\S+) \{\s+type (\S+)\s+flags interval\s+(?:elements = \{(.*?)\})?\s*\}", op.text
                )
            }
            lines = [
                x.strip()
                for x in op.text.partition("policy accept;")[2].splitlines()
                if x.strip() not in ("", "}")
            ]
            state = state._replace(rules=tuple(read_line(x) for x in lines), sets=sets, exists=True)
        elif op.argv[:1] == ("nft",):
            for line in op.text.splitlines():
                words = line.split(None, 4)
                name = words[4].split()[0]
                sets = dict(state.sets)
                held = (
                    frozenset()
                    if words[0] == "flush"
                    else frozenset(re.findall(r"[0-9a-f.:/]+", line.split("{")[1]))
                )
                sets[name] = (sets[name][0], held)
                state = state._replace(sets=sets)
    return state._replace(files=model_files(state.files, ops))


def read_line(line: str) -> nftables.Rule:
    """A rule of the nft language through the JSON that nft would make of it."""
    exprs: list[dict[str, Any]] = []

    def match(left: dict[str, Any], right: Any) -> None:
        exprs.append({"match": {"op": "==", "left": left, "right": right}})

    if "iifname" in line:
        match({"meta": {"key": "iifname"}}, "lo")
    if "ct state" in line:
        match({"ct": {"key": "state"}}, "established")
        match({"ct": {"key": "direction"}}, "reply")
    if found := re.search(r"(ip6?) saddr (@\S+)", line):
        match({"payload": {"protocol": found[1], "field": "saddr"}}, found[2])
    if found := re.search(r"nfproto (\S+)", line):
        match({"meta": {"key": "nfproto"}}, found[1])
    if "l4proto esp" in line:
        match({"meta": {"key": "l4proto"}}, "esp")
    if found := re.search(r"(\w+) dport \{ (.*?) \}", line):
        listed = [[int(n) for n in part.split("-")] for part in found[2].split(", ")]
        values = [v[0] if len(v) == 1 else {"range": v} for v in listed]
        match(
            {"payload": {"protocol": found[1], "field": "dport"}},
            values[0] if len(values) == 1 else {"set": values},
        )
    exprs.append({"accept": None} if " accept" in line else {"drop": None})
    comment = re.search(r'comment "(.*)"', line)
    return nftables.read_rule({"expr": exprs, **({"comment": comment[1]} if comment else {})})


def model_files(files: Any, ops: list[Op]) -> Any:
    for op in ops:
        texts = dict(files.texts)
        if op.kind == "write":
            texts[op.path] = op.text
        elif op.kind == "link":
            files = files._replace(link=True)
        elif op.kind == "remove" and op.path == files.link_path:
            files = files._replace(link=False)
        elif op.kind == "remove":
            del texts[op.path]
        elif op.argv[:2] in (("systemctl", "start"), ("systemctl", "stop")):
            files = files._replace(active=op.argv[1] == "start")
        files = files._replace(texts=texts)
    return files


def model_iptables(state: iptables.State, ops: list[Op]) -> iptables.State:
    tables = dict(state.tables)
    for op in ops:
        if op.argv and op.argv[0].endswith("-restore"):
            family = 6 if op.argv[0].startswith("ip6") else 4
            chains = {n: list(rules) for n, rules in tables[family].chains.items()}
            above = list(tables[family].jumps)
            for line in op.text.splitlines():
                words = line.split()
                if line.startswith(":"):
                    chains[words[0][1:]] = []
                elif line.startswith("-D INPUT"):
                    above.remove("-A" + line[2:])
                elif line.startswith("-I INPUT 1"):
                    above.insert(0, "-A INPUT" + line[len("-I INPUT 1") :])
                elif line.startswith("-X"):
                    name = words[1]
                    assert not chains.pop(name), "only an empty chain can go"
                    assert not any(f"-j {name}" in rule for rules in chains.values() for rule in rules)
                elif line.startswith("-A"):
                    target = words[words.index("-j") + 1]
                    assert target in ("ACCEPT", "DROP", "RETURN") or target in chains
                    chains[words[1]].append(line)
            saved = (
                [f":{n} - [0:0]" for n in chains]
                + above
                + [rule for rules in chains.values() for rule in rules]
            )
            tables[family] = iptables.parse_save("\n".join(saved))
    return state._replace(tables=tables, files=model_files(state.files, ops))


def model_ufw(state: ufw.State, ops: list[Op]) -> ufw.State:
    rules = dict(state.rules)
    for op in ops:
        words = list(op.argv)
        option = dict(zip(words, words[1:], strict=False))
        rule = ufw.Rule(option["proto"], option.get("port", ""), option["from"])
        if "delete" in words:
            del rules[rule]
        else:
            rules[rule] = option["comment"].partition(":")[2]
    return state._replace(rules=frozenset(rules.items()))


def model_firewalld(state: firewalld_read.State, ops: list[Op]) -> firewalld_read.State:
    layers = {True: state.permanent, False: state.runtime}
    spare = set(state.spare)
    for op in ops:
        if op.kind == "reload":
            layers[False], spare = layers[True], set()
            continue
        permanent = "--permanent" in op.argv
        layer = layers[permanent]
        ipsets, rules = dict(layer.ipsets), set(layer.rules)
        option = dict(w[2:].partition("=")[::2] for w in op.argv if w.startswith("--"))
        if "new-ipset" in option:
            assert permanent
            family = 6 if "--option=family=inet6" in op.argv else 4
            ipsets[option["new-ipset"]] = firewalld_read.IpSet(family, "", frozenset())
        elif "delete-ipset" in option:
            assert permanent
            del ipsets[option["delete-ipset"]]
            spare.add(option["delete-ipset"])
        elif "ipset" in option:
            held = ipsets.get(option["ipset"])
            if held is None:  # loaded, but nothing permanent stands behind it
                assert option["ipset"] in spare
                permanent_one = layers[True].ipsets[option["ipset"]]
                held = permanent_one._replace(entries=frozenset())
            if "set-description" in option:
                held = held._replace(owner=option["set-description"].partition(":")[2])
            entries = set(held.entries)
            given_entries = {v for w in op.argv for k, _, v in [w.partition("=")] if k.endswith("-entry")}
            given_entries |= set(op.text.split())
            removing = any(w.startswith("--remove") for w in op.argv)
            entries = entries - given_entries if removing else entries | given_entries
            if not removing:
                nets = [ipaddress.ip_network(e) for e in entries]
                assert not any(
                    a is not b and a.version == b.version and a.overlaps(b) for a in nets for b in nets
                )
            ipsets[option["ipset"]] = held._replace(entries=frozenset(entries))
        for word in op.argv:
            key, _, value = word.partition("=")
            if key == "--add-rich-rule":
                parsed = firewalld_read.parse_rich(value)
                assert parsed and parsed[1] in {*layers[True].ipsets, *ipsets}, "a rule needs its ipset"
                rules.add((option["zone"], value))
            elif key == "--remove-rich-rule":
                rules.remove((option["zone"], value))
        layers[permanent] = firewalld_read.Layer(ipsets, frozenset(rules))
    runtime = layers[False]
    kept = {n: s for n, s in runtime.ipsets.items() if n in layers[True].ipsets or s.entries}
    return state._replace(
        permanent=layers[True], runtime=runtime._replace(ipsets=kept), spare=frozenset(spare)
    )


MODELS: list[tuple[Any, Any]] = [
    (nftables.Nftables, model_nft),
    (iptables.Iptables, model_iptables),
    (ufw.Ufw, model_ufw),
    (firewalld.Firewalld, model_firewalld),
]


def blank(backend: Any) -> Any:
    if isinstance(backend, firewalld.Firewalld):
        nothing = firewalld_read.Layer({}, frozenset())
        return firewalld_read.State(nothing, nothing, "public", ("public",), {})
    return backend.blank()


def meaning(sets: RuleSets) -> dict[str, Any]:
    return {n: (s.ports, s.esp, set(spec.collapse(s.sources))) for n, s in sets.items()}


def representable(backend: Any, sets: RuleSets) -> bool:
    """ufw refuses two sets that hold one rule."""
    try:
        backend.compile(sets, blank(backend))
    except SpecError:
        assert backend.name == "ufw"
        return False
    return True


@given(rule_sets(), rule_sets())
def test_plan_applied_gives_the_goal(first: RuleSets, second: RuleSets) -> None:
    for kind, model in MODELS:
        backend = kind(Host())
        state = blank(backend)
        for sets in (first, second, {}, first):
            if not representable(backend, sets):
                continue
            goal = backend.compile(sets, state)
            state = model(state, backend.plan(state, goal))
            assert backend.plan(state, goal) == [], backend.name
            assert meaning(backend.sets(state)) == meaning(sets), backend.name


@given(rule_sets())
def test_what_is_compiled_is_read_back(sets: RuleSets) -> None:
    for kind, _model in MODELS:
        backend = kind(Host())
        if not representable(backend, sets):
            continue
        read = backend.sets(backend.compile(sets, blank(backend)))
        assert {n: s._replace(zone=None) for n, s in read.items()} == sets, backend.name


@given(rule_sets())
def test_ufw_opens_what_is_asked_and_nothing_else(sets: RuleSets) -> None:
    backend = ufw.Ufw(Host())
    assume(representable(backend, sets))
    state = backend.compile(sets, backend.blank())
    want = {
        (p.protocol, n, s)
        for rs in sets.values()
        for p in rs.ports
        for n in range(p.first, p.last + 1)
        for s in rs.sources
    } | {("esp", 0, s) for rs in sets.values() if rs.esp for s in rs.sources}
    held = set()
    for rule, _name in state.rules:
        for part in rule.ports.split(",") if rule.ports else ["0"]:
            first, _, last = part.partition(":")
            held |= {(rule.protocol, n, rule.source) for n in range(int(first), int(last or first) + 1)}
    assert held == want
    assert meaning(backend.sets(state)) == meaning(sets)


@given(st.lists(networks(), max_size=12))
def test_normalised_sources_cover_the_same_and_never_overlap(sources: list[str]) -> None:
    out = spec.normalise_sources(sources)
    assert spec.collapse(out) == spec.collapse(sources)
    nets = [ipaddress.ip_network(s) for s in out]
    assert not any(a != b and a.version == b.version and a.overlaps(b) for a in nets for b in nets)
    assert spec.normalise_sources(out) == out == spec.normalise_sources(reversed(sources))


@given(st.lists(ports, max_size=12))
def test_normalised_ports_cover_the_same(listed: list[spec.Port]) -> None:
    def each(some: Any) -> set[tuple[str, int]]:
        return {(p.protocol, n) for p in some for n in range(p.first, p.last + 1)}

    out = spec.normalise_ports(listed)
    assert each(out) == each(listed)
    assert spec.normalise_ports(out) == out


zones_of_a_host = st.dictionaries(
    st.sampled_from(["public", "work"]),
    st.sets(
        st.sampled_from(
            [
                ("port", "80/tcp"),
                ("port", "81/tcp"),
                ("service", "ssh"),
                ("masquerade", ""),
                ("rich-rule", 'rule family="ipv4" source address="10.0.0.1" accept'),
            ]
        )
    ),
)


@given(zones_of_a_host, zones_of_a_host)
def test_after_a_reload_the_zones_of_others_are_as_before(before: Any, after: Any) -> None:
    state = {zone: set(content) for zone, content in after.items()}
    for argv in firewalld_reload.commands(before, after):
        zone = argv[1].partition("=")[2]
        stems = set()
        for word in argv[2:]:
            verb, _, rest = word[2:].partition("-")
            stem, _, value = rest.partition("=")
            stems.add(stem)
            (state[zone].add if verb == "add" else state[zone].discard)((stem, value))
        assert len(stems) == 1
    assert all(state[zone] == before[zone] for zone in before if zone in after)


@given(rule_sets(), st.lists(networks(), min_size=1, max_size=4))
def test_merged_adds_and_is_idempotent(observed: RuleSets, sources: list[str]) -> None:
    wanted = spec.parse({"state": "merged", "config": [{"name": "a", "sources": sources}]})
    once = spec.desired_sets(wanted, observed, {})
    assert spec.desired_sets(wanted, once, {}) == once
    assert {n: s for n, s in once.items() if n != "a"} == {n: s for n, s in observed.items() if n != "a"}
    covered = set(spec.collapse([*sources, *(observed["a"].sources if "a" in observed else ())]))
    assert set(spec.collapse(once["a"].sources)) == covered
