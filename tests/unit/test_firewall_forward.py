# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose forwarded traffic passes: what is asked, what of the host keeps it out, what is ours; nothing is run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.errors import CollisionError, SpecError
from ansible_collections.crosshost.network.plugins.module_utils.firewall import (
    converge as engine,
)
from ansible_collections.crosshost.network.plugins.module_utils.firewall import (
    forward,
    forward_firewalld,
    forward_iptables,
    forward_nftables,
    forward_ufw,
    persist,
)
from ansible_collections.crosshost.network.plugins.module_utils.spec import firewall as spec

from tests.unit.test_firewall_converge import BUS, DOWN, FakeHost

X = frozenset({"xh_gwbridge"})


def parsed(state: str, forwards: Any = None, *sets: str) -> spec.Spec:
    config = [{"name": name, "sources": ["10.0.0.1"]} for name in sets]
    return spec.parse({"state": state, "config": config, "forward_interfaces": forwards})


@pytest.mark.parametrize(
    ("state", "forwards", "sets", "want"),
    [
        ("merged", ["b"], [], {"a", "b"}),
        ("merged", None, ["s"], {"a"}),
        ("replaced", ["b", "c"], [], {"b", "c"}),
        ("replaced", [], [], set()),
        ("replaced", None, ["s"], {"a"}),
        ("overridden", ["b"], [], {"b"}),
        ("overridden", None, ["s"], set()),
        ("deleted", None, [], set()),
        ("deleted", None, ["s"], {"a"}),
        ("deleted", ["a", "z"], [], set()),
        ("deleted", ["z"], ["s"], {"a"}),
        ("deleted", [], ["s"], {"a"}),
    ],
)
def test_states(state: str, forwards: Any, sets: list[str], want: set[str]) -> None:
    assert spec.desired_forwards(parsed(state, forwards, *sets), frozenset({"a"})) == want


def test_deleted_with_interfaces_alone_leaves_the_sets() -> None:
    held = {"s": spec.RuleSet("s", (spec.Port("tcp", 1, 1),), False, ("10.0.0.1",))}
    assert spec.desired_sets(parsed("deleted", ["a"]), held, {}) == held
    assert spec.desired_sets(parsed("deleted", []), held, {}) == {}
    assert spec.desired_sets(parsed("deleted"), held, {}) == {}


@pytest.mark.parametrize("name", ["", "a" * 16, "a b", "a/b", "-i", "a+", "eth*", '"', "a\n", 7, None])
def test_what_is_no_name_of_an_interface_is_refused(name: Any) -> None:
    with pytest.raises(SpecError, match="firewall_ports: forward_interfaces ") as caught:
        parsed("merged", ["ok", name])
    assert "\n" not in str(caught.value)


def test_a_list_is_wanted() -> None:
    with pytest.raises(SpecError, match="forward_interfaces 'a': give a list"):
        parsed("merged", "a")
    with pytest.raises(SpecError, match="or forward_interfaces"):
        parsed("merged")


def test_a_host_without_any_firewall_needs_nothing() -> None:
    for state in ("merged", "replaced", "rendered", "deleted"):
        host = FakeHost()
        out = engine.converge({"state": state, "forward_interfaces": ["a"]}, False, host)
        assert (out["changed"], out["backend"], out["commands"], host.log) == (False, "none", [], [])


@pytest.mark.parametrize(
    ("backend", "says"),
    [
        ("firewalld", "firewall-cmd --permanent --zone=crosshost --add-interface=a"),
        ("ufw", "ufw route allow in on a comment crosshost:forward"),
        ("iptables", '-A CROSSHOST-FORWARD -i a -m comment --comment "crosshost:forward" -j ACCEPT'),
    ],
)
def test_rendered(backend: str, says: str) -> None:
    host = FakeHost()
    asked = {"backend": backend, "state": "rendered", "forward_interfaces": ["a"]}
    out = engine.converge(asked, False, host)
    assert says in out["commands"] and "a" in out["diff"]["after"].split()
    assert host.log == [] and not out["changed"]
    assert out["forward_interfaces_after"] == ["a"]


def test_the_record_says_what_was_applied() -> None:
    def recorded(text: str) -> Any:
        return engine.recorded_forwards(FakeHost(files={engine.RECORD: text}))

    assert recorded('{"forward_interfaces": ["a", "b"]}') == {"a", "b"}
    assert recorded('{"forward_interfaces": []}') == frozenset()
    for text in (
        "",
        "{",
        "[]",
        '{"config": []}',
        '{"forward_interfaces": ["a/b"]}',
        '{"forward_interfaces": 7}',
    ):
        assert recorded(text) is None


# --- iptables, and a dockerd beside any


def table(*lines: str, policy: str = "ACCEPT") -> forward_iptables.Filter:
    chains = {line.split()[1] for line in lines} - {"FORWARD"}
    heads = [f":FORWARD {policy} [0:0]", *(f":{name} - [0:0]" for name in sorted(chains))]
    return forward_iptables.parse_filter("\n".join(["*filter", *heads, *lines, "COMMIT"]))


@pytest.mark.parametrize(
    ("rules", "policy", "closed"),
    [
        ([], "ACCEPT", False),
        ([], "DROP", True),
        (["-A FORWARD -j REJECT --reject-with icmp-port-unreachable"], "ACCEPT", True),
        (["-A FORWARD -j REJECT"], "ACCEPT", True),
        (["-A FORWARD -j ACCEPT", "-A FORWARD -j DROP"], "DROP", False),
        (["-A FORWARD -s 10.0.0.0/8 -j DROP"], "ACCEPT", False),
        (["-A FORWARD -i eth0 -j DROP"], "ACCEPT", False),
        (["-A FORWARD ! -i lan0 -j DROP"], "ACCEPT", True),
        (["-A FORWARD -m conntrack --ctstate INVALID -j DROP"], "ACCEPT", False),
        (["-A FORWARD -m conntrack --ctstate NEW,INVALID -j DROP"], "ACCEPT", True),
        (['-A FORWARD -m comment --comment "a b" -j mine', "-A mine -j DROP"], "ACCEPT", True),
        (["-A FORWARD -j mine", "-A mine -j RETURN", "-A mine -j DROP"], "ACCEPT", False),
        (["-A FORWARD -g mine", "-A FORWARD -j ACCEPT", "-A mine -p tcp -j ACCEPT"], "DROP", True),
        (["-A FORWARD -j LOG", "-A FORWARD -j DROP"], "ACCEPT", True),
        (["-A FORWARD -j CROSSHOST-FORWARD", "-A CROSSHOST-FORWARD -j DROP"], "ACCEPT", False),
    ],
)
def test_iptables_that_drops_what_it_does_not_know(rules: list[str], policy: str, closed: bool) -> None:
    assert forward_iptables.closed(table(*rules, policy=policy)) is closed


STAGE = "-A DOCKER-ISOLATION-STAGE-1 -j RETURN"
USER = ["-A FORWARD -j DOCKER-USER", "-A DOCKER-USER -j RETURN"]


@pytest.mark.parametrize(
    ("rules", "policy", "want"),
    [
        ([], "ACCEPT", {"always": "FORWARD", "closed": "", "docker": "", "never": ""}),
        ([], "DROP", {"always": "FORWARD", "closed": "FORWARD", "docker": "", "never": ""}),
        (
            [*USER, STAGE],
            "DROP",
            dict.fromkeys(["always", "closed", "docker"], "DOCKER-USER") | {"never": ""},
        ),
        # An older dockerd and IPv6.
        ([STAGE], "DROP", dict.fromkeys(["always", "closed", "docker"], "FORWARD")),
        # What a dockerd that is gone has left: nothing leads there.
        (
            ["-A DOCKER-USER -j RETURN"],
            "DROP",
            {"always": "FORWARD", "closed": "FORWARD", "docker": "DOCKER-USER"},
        ),
    ],
)
def test_the_chain_that_has_to_lead_past(rules: list[str], policy: str, want: dict[str, str]) -> None:
    held = table(*rules, policy=policy)
    assert {mode: forward_iptables.target_of(held, mode) for mode in want} == want


def test_boot_commands_make_dockers_chain_but_not_forward() -> None:
    text = persist.iptables_forward_unit({4: "DOCKER-USER", 6: "FORWARD"}, "CROSSHOST-FORWARD", "crosshost")
    assert "ExecStart=-/usr/sbin/iptables -w -N DOCKER-USER\n" in text and "ip6tables -w -N" not in text


def test_iptables_that_cannot_be_read_is_left_alone() -> None:
    host = FakeHost("iptables-save iptables-restore", answers={"iptables-save": (1, "", "incompatible")})
    passage = forward_iptables.IptablesForward(host, "docker")
    now = passage.observe()
    assert now.tables == {} and passage.plan(now, passage.compile(X, now)) == []


# --- nftables


def meta(key: str, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"meta": {"key": key}}, "right": right}}


def state(right: Any, op: str = "in") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"ct": {"key": "state"}}, "right": right}}


def vmap(**verdicts: str) -> dict[str, Any]:
    data = {"set": [[key, {verdict: None}] for key, verdict in verdicts.items()]}
    return {"vmap": {"key": {"ct": {"key": "state"}}, "data": data}}


DROP: dict[str, Any] = {"drop": None}
ACCEPT: dict[str, Any] = {"accept": None}
COUNTER = {"counter": {"packets": 0, "bytes": 0}}
COMMENT = {"xt": {"type": "match", "name": "comment"}}


@pytest.mark.parametrize(
    ("rules", "policy", "closed"),
    [
        ([], "accept", False),
        ([], "drop", True),
        ([[ACCEPT]], "drop", False),
        ([[COUNTER, {"log": {"prefix": "x"}}, {"reject": {"type": "tcp reset"}}]], "accept", True),
        ([[COMMENT, COUNTER, {"xt": {"type": "target", "name": "REJECT"}}]], "accept", True),
        ([[COUNTER, {"xt": {"type": "target", "name": "LOG"}}]], "accept", False),
        ([[{"xt": {"type": "match", "name": "conntrack"}}, DROP]], "accept", False),
        ([[meta("iifname", "eth0"), DROP]], "accept", False),
        ([[meta("iifname", "lan0", "!="), DROP]], "accept", True),
        ([[meta("nfproto", "ipv6"), DROP]], "accept", True),
        ([[meta("l4proto", "tcp"), DROP]], "accept", False),
        ([[state("invalid"), DROP]], "accept", False),
        ([[state(["established", "related"]), ACCEPT], [state(["new"]), DROP]], "accept", True),
        ([[state({"set": ["established", "related"]}, "!="), DROP]], "accept", True),
        ([[state(["new", "invalid"], "!="), DROP]], "accept", False),
        ([[vmap(established="accept", new="drop")]], "accept", True),
        ([[vmap(established="accept", invalid="drop")]], "accept", False),
        ([[{"vmap": {"key": {"meta": {"key": "iifname"}}, "data": "@zones"}}]], "accept", False),
        ([[{"jump": {"target": "mine"}}]], "accept", True),
        ([[{"goto": {"target": "empty"}}], [ACCEPT]], "drop", True),
        ([[{"jump": {"target": "empty"}}], [ACCEPT]], "drop", False),
        ([[{"jump": {"target": "crosshost-forward"}}]], "drop", True),
        ([[{"limit": {"rate": 3}}, DROP]], "accept", False),
    ],
)
def test_nft_chains_that_drop_what_they_do_not_know(rules: list[Any], policy: str, closed: bool) -> None:
    read = forward_nftables.read_table(
        rows(rules, policy, mine=[[DROP]], **{"crosshost-forward": [[ACCEPT]]})
    )
    assert read.closed == (frozenset({"forward"}) if closed else frozenset())


def rows(rules: list[Any], policy: str, **others: list[Any]) -> list[dict[str, Any]]:
    base = {"name": "forward", "hook": "forward", "policy": policy}
    out = [{"chain": one} for one in (base, *({"name": name} for name in others))]
    listed = [("forward", expr) for expr in rules] + [
        (n, expr) for n, held in others.items() for expr in held
    ]
    return out + [{"rule": {"chain": n, "handle": at, "expr": expr}} for at, (n, expr) in enumerate(listed)]


def test_a_table_of_dockerd_is_told_through_iptables() -> None:
    read = forward_nftables.read_table(rows([], "drop", **{"DOCKER-ISOLATION-STAGE-1": []}))
    assert not read.closed


def test_our_way_has_to_come_before_what_drops() -> None:
    jump = [{"jump": {"target": "crosshost-forward"}}]
    for rules, sound in (([jump], True), ([[DROP], jump], False), ([jump, jump], False), ([], False)):
        read = forward_nftables.read_table(rows(rules, "drop", **{"crosshost-forward": []}))
        assert bool(read.heads) is sound, rules


def test_nft_files_bear_the_tables_name() -> None:
    assert (
        forward_nftables.file_of(("inet", "a/b")) == "/var/lib/crosshost/firewall_ports.forward-inet-a~b.nft"
    )
    host = FakeHost("nft", {"/var/lib/crosshost/firewall_ports.forward-inet-filter.nft": ""})
    assert [way.name for way in forward.leftovers("ufw", host)] == ["nftables"]
    assert forward.leftovers("ufw", FakeHost("nft")) == []


# --- ufw


def test_ufw_route_rules_are_told_apart() -> None:
    mark = "63726f7373686f73743a666f7277617264"
    text = (
        f"### tuple ### route:allow any any 0.0.0.0/0 any 0.0.0.0/0 in_a comment={mark}\n"
        "### tuple ### route:allow any any 0.0.0.0/0 any 0.0.0.0/0 out_b\n"
        "### tuple ### route:allow any any 0.0.0.0/0 any 0.0.0.0/0 in_c!out_d comment={mark}\n"
        "### tuple ### route:allow tcp 80 0.0.0.0/0 any 0.0.0.0/0 in_e comment={mark}\n"
        "### tuple ### route:deny any any 0.0.0.0/0 any 0.0.0.0/0 in_f comment={mark}\n"
        f"### tuple ### allow any any 0.0.0.0/0 any 0.0.0.0/0 in_g comment={mark}\n"
    )
    rule = forward_ufw.Rule
    assert forward_ufw.parse_rules(text) == ({rule("a", "in")}, {rule("b", "out")})
    host = FakeHost("ufw", {"/etc/ufw/user.rules": text, "/etc/ufw/ufw.conf": "ENABLED=yes\n"})
    passage = forward_ufw.UfwForward(host)
    now = passage.observe()
    # Only for IPv4, and not in the kernel.
    assert now.partial == now.missing == now.rules == {rule("a", "in")} and now.foreign == frozenset()
    assert [op.argv[2:5] for op in passage.plan(now, passage.compile(frozenset({"a"}), now))] == [
        ("allow", "in", "on"),
        ("allow", "out", "on"),
    ]
    host.files["/etc/default/ufw"] = "IPV6=no\n"
    now = passage.observe()
    assert not now.partial and now.foreign == {rule("b", "out")}
    assert "ufw route allow out on b" not in " ".join(passage.describe(passage.compile(frozenset("b"), now)))
    assert passage.warnings(passage.compile(X, passage.blank()._replace(active=False)))


# --- firewalld


def around(**changes: Any) -> forward_firewalld.State:
    blank = forward_firewalld.FirewalldForward(FakeHost()).blank()
    return blank._replace(host=blank.host._replace(**changes))


def test_firewalld_before_0_9_has_no_policies() -> None:
    passage = forward_firewalld.FirewalldForward(FakeHost())
    now = around(policies=False)
    commands = [line for op in passage.plan(now, passage.compile(X, now)) for line in op.render()]
    assert not any("policy" in line for line in commands) and commands[-1] == "firewall-cmd --reload"


def test_firewalld_collisions_are_told_before_anything_is_done() -> None:
    passage = forward_firewalld.FirewalldForward(FakeHost())
    with pytest.raises(CollisionError, match="firewalld has it in the zone trusted: take it out there"):
        passage.compile(X, around(elsewhere={"xh_gwbridge": "trusted"}))
    with pytest.raises(CollisionError, match="a policy crosshost-in that is not crosshost's"):
        passage.compile(X, around(taken="policy crosshost-in"))
    taken = around(taken="zone crosshost")
    assert passage.plan(taken, passage.compile(frozenset(), taken)) == []


def test_a_direct_chain_with_rules_of_others_stays() -> None:
    passage = forward_firewalld.FirewalldForward(FakeHost())
    now = around(targets={4: ("DOCKER-USER", "FORWARD"), 6: ()}, shared=frozenset({4}))
    full = passage.compile(X, now)
    assert {(rule.family, rule.chain, rule.way) for rule in full.direct} == {
        (4, chain, way) for chain in ("DOCKER-USER", "FORWARD") for way in ("-i", "-o")
    }
    text = " ".join(
        line for op in passage.plan(full, passage.compile(frozenset(), full)) for line in op.render()
    )
    assert "--remove-rule" in text and "--remove-chain" not in text
    alone = full._replace(host=full.host._replace(shared=frozenset()))
    assert any("--remove-chain" in op.argv for op in passage.plan(alone, passage.compile(frozenset(), alone)))


def test_firewalld_files_are_read() -> None:
    files = {
        "/etc/firewalld/zones/crosshost.xml": '<zone target="ACCEPT"><description>crosshost:forward</description>'
        '<protocol value="icmp"/><service name="ssh"/><interface name="a"/><rule priority="32767"><reject/></rule></zone>',
        "/etc/firewalld/zones/trusted.xml": '<zone><interface name="b"/></zone>',
        "/etc/firewalld/policies/crosshost-in.xml": "<policy><description>mine</description></policy>",
        "/etc/firewalld/direct.xml": '<direct><chain ipv="ipv4" table="filter" chain="DOCKER-USER"/>'
        '<rule ipv="ipv4" table="filter" chain="DOCKER-USER" priority="0">'
        '-i a -m comment --comment "crosshost:forward" -j ACCEPT</rule>'
        '<rule ipv="ipv4" table="filter" chain="DOCKER-USER" priority="0">-s 10.0.0.1 -j DROP</rule></direct>',
    }
    found, shared, taken = forward_firewalld.read_permanent(FakeHost(files=files))
    assert found.interfaces == {"a"} and found.direct == {
        forward_firewalld.Direct(4, "DOCKER-USER", "-i", "a")
    }
    assert (found.chains, shared, taken) == (frozenset({4}), frozenset({4}), "policy crosshost-in")
    assert found.zone == set(forward_firewalld.ZONE_SETTINGS) - {("add-protocol", "ipv6-icmp")}
    assert forward_firewalld.read_permanent(FakeHost()) == (forward_firewalld.NOTHING, frozenset(), "")


def test_a_zone_of_ours_in_a_firewalld_at_rest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.os, "geteuid", lambda: 0)
    files = {forward.FIREWALLD_ZONE: "<zone><description>crosshost:forward</description></zone>"}
    empty = json.dumps({"nftables": []})
    host = FakeHost("firewall-cmd busctl nft", files, answers={BUS: DOWN, "nft -j list chains": empty})
    out = engine.converge({"state": "gathered"}, True, host)
    (told,) = out["warnings"]
    assert told.startswith("firewalld does not run, but its permanent configuration holds rules of crosshost")
