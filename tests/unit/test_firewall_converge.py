# SPDX-License-Identifier: GPL-3.0-or-later
"""Choosing the firewall, refusing, moving, and what is shown: on a host that exists in memory only."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.errors import (
    HostError,
    SpecError,
)
from ansible_collections.crosshost.network.plugins.module_utils.firewall import converge as engine
from ansible_collections.crosshost.network.plugins.module_utils.firewall import (
    detect,
    firewalld,
    firewalld_read,
    firewalld_reload,
    iptables,
    nftables,
    ufw,
)
from ansible_collections.crosshost.network.plugins.module_utils.firewall.model import CommandError, Host
from ansible_collections.crosshost.network.plugins.module_utils.spec import firewall as spec

CONFIG = [{"sources": ["10.98.0.2", "fd98::/64"]}]


class FakeHost(Host):
    """Programs by name, files by path, answers by the start of the command line. Everything done is in `log`."""

    def __init__(self, programs: str = "", files: dict[str, str] | None = None, **answers: Any) -> None:
        super().__init__()
        self.programs, self.files, self.log = set(programs.split()), dict(files or {}), []
        self.answers = answers.get("answers", {})

    def has(self, program: str) -> bool:
        return program in self.programs

    def attempt(self, *argv: str, text: str = "") -> tuple[int, str, str]:
        self.log.append((" ".join(argv), text))
        for start, answer in self.answers.items():
            if " ".join(argv).startswith(start):
                return answer if isinstance(answer, tuple) else (0, answer, "")
        return 1, "", "No such file or directory"

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def listdir(self, path: str) -> list[str]:
        return [p.rpartition("/")[2] for p in self.files if p.rpartition("/")[0] == path]

    def exists(self, path: str) -> bool:
        return path in self.files


BUS = "busctl --json=short call org.freedesktop.DBus"
UP, DOWN = '{"type":"b","data":[true]}', '{"type":"b","data":[false]}'
ALL = "firewall-cmd busctl ufw nft iptables-restore"


@pytest.mark.parametrize(
    ("programs", "files", "bus", "want"),
    [
        (ALL, {"/etc/ufw/ufw.conf": "ENABLED=yes\n"}, UP, "firewalld"),
        (ALL, {"/etc/ufw/ufw.conf": "# x\nENABLED=yes\n"}, DOWN, "ufw"),
        (ALL, {"/etc/ufw/ufw.conf": "ENABLED=no\n"}, DOWN, "nftables"),
        ("iptables-restore", {"/etc/ufw/ufw.conf": "ENABLED=yes\n"}, DOWN, "iptables"),
    ],
)
def test_auto_takes_what_the_host_runs(programs: str, files: dict[str, str], bus: str, want: str) -> None:
    assert detect.choose(FakeHost(programs, files, answers={BUS: bus}), "auto") == want


def test_without_busctl_firewall_cmd_is_asked() -> None:
    assert (
        detect.choose(FakeHost("firewall-cmd nft", answers={"firewall-cmd --state": "running"}), "auto")
        == "firewalld"
    )
    assert detect.choose(FakeHost("firewall-cmd nft"), "auto") == "nftables"


def test_no_firewall_names_the_packages() -> None:
    with pytest.raises(
        HostError, match=r"install the package nftables \(or one of firewalld, ufw, iptables\)"
    ):
        detect.choose(FakeHost(), "auto")


@pytest.mark.parametrize("backend", spec.BACKENDS)
def test_a_backend_that_is_not_there(backend: str) -> None:
    with pytest.raises(HostError, match=f"backend '{backend}': this host has no .*: install the package"):
        detect.choose(FakeHost(), backend)


def test_firewalld_that_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.os, "geteuid", lambda: 0)
    with pytest.raises(HostError, match="the daemon does not run"):
        engine.converge({"backend": "firewalld", "config": CONFIG}, True, FakeHost(ALL, answers={BUS: DOWN}))


def test_only_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.os, "geteuid", lambda: 1000)
    host = FakeHost(ALL)
    with pytest.raises(HostError, match=r"user 1000: only root .*become: true"):
        engine.converge({"config": CONFIG}, True, host)
    assert host.log == []


@pytest.mark.parametrize("backend", spec.BACKENDS)
def test_rendered_touches_nothing_and_needs_no_root(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.os, "geteuid", lambda: 1000)
    host = FakeHost(files={"/etc/firewalld/firewalld.conf": "DefaultZone=work\n"})
    out = engine.converge({"backend": backend, "state": "rendered", "config": CONFIG}, False, host)
    assert not out["changed"] and host.log == []
    text = "\n".join(out["commands"])
    assert "10.98.0.2" in text and "fd98::/64" in text and "4789" in text
    if backend == "firewalld":
        assert "--zone=work" in text and text.endswith("firewall-cmd --reload")


def test_firewalld_at_rest_with_rules_of_ours_is_told() -> None:
    files = {
        "/etc/firewalld/ipsets/xh4-a.xml": '<ipset type="hash:net"><description>crosshost:a</description></ipset>'
    }
    found, warnings = detect.leftovers(
        FakeHost("firewall-cmd busctl nft", files, answers={BUS: DOWN}), "nftables"
    )
    assert found == [] and "firewalld does not run" in warnings[0]
    theirs = {
        "/etc/firewalld/ipsets/xh4-a.xml": '<ipset type="hash:net"><description>mine</description></ipset>'
    }
    assert detect.leftovers(FakeHost("firewall-cmd busctl", theirs, answers={BUS: DOWN}), "nftables") == (
        [],
        [],
    )


def test_a_broken_xml_file_is_nobodys() -> None:
    host = FakeHost(
        files={
            "/etc/firewalld/ipsets/xh4-a.xml": "<ipset",
            "/etc/firewalld/zones/public.xml": '<zone ipset="xh',
        }
    )
    assert firewalld_read.permanent(host) == firewalld_read.Layer({}, frozenset())


def test_a_failed_command_is_one_line() -> None:
    told = str(CommandError(["nft", "-f", "-", "x" * 500], 1, "Error:\n  syntax\n error"))
    assert "\n" not in told and "Error: syntax error" in told and len(told) < 900
    rc, _out, err = Host().attempt("/nonexistent/program")
    assert rc == 127 and "No such file" in err


def test_ufw_refusals() -> None:
    sets = {"a": spec.RuleSet("a", (spec.Port("tcp", 1, 1),), False, ("fd00::1",))}
    backend = ufw.Ufw(FakeHost("ufw", {"/etc/default/ufw": "IPV6=no\n"}))
    with pytest.raises(HostError, match="IPV6=no"):
        backend.compile(sets, backend.observe())
    sets["a"] = sets["a"]._replace(ports=(spec.Port("sctp", 1, 1),))
    with pytest.raises(SpecError, match="ufw knows no sctp"):
        backend.compile(sets, backend.blank())
    one = spec.RuleSet("a", (spec.Port("tcp", 1, 1),), False, ("10.0.0.1",))
    with pytest.raises(SpecError, match="the set a has the same rule"):
        backend.compile({"a": one, "b": one._replace(name="b")}, backend.blank())


def test_ufw_warns_of_an_open_policy_and_of_many_sources() -> None:
    backend = ufw.Ufw(FakeHost("ufw", {"/etc/default/ufw": 'DEFAULT_INPUT_POLICY="ACCEPT"\n'}))
    many = spec.RuleSet("a", (spec.Port("tcp", 1, 1),), False, tuple(f"10.0.0.{i}" for i in range(150)))
    told = " ".join(backend.warnings({"a": many}, backend.observe()))
    assert "not enabled" in told and "default deny incoming" in told and "150 sources" in told


def test_ufw_reads_rules_of_others_as_theirs() -> None:
    text = (
        "### tuple ### allow udp 4789 0.0.0.0/0 any 10.0.0.1 in comment=63726f7373686f73743a61\n"
        "### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n"
        "### tuple ### deny udp 4789 0.0.0.0/0 any 10.0.0.2 in comment=63726f7373686f73743a61\n"
        "### tuple ### allow udp 53 10.0.0.9 any 10.0.0.1 in_eth0 comment=zz\n"
    )
    state = ufw.Ufw(FakeHost("ufw", {"/etc/ufw/user.rules": text})).observe()
    assert state.rules == {(ufw.Rule("udp", "4789", "10.0.0.1"), "a")}
    assert state.foreign == {ufw.Rule("tcp", "22", "0.0.0.0/0")}


def test_iptables_needs_the_family_of_its_sources() -> None:
    backend = iptables.Iptables(
        FakeHost("iptables-restore iptables-save", answers={"iptables-save": "*filter\n"})
    )
    sets = {"a": spec.RuleSet("a", (spec.Port("tcp", 1, 1),), False, ("fd00::1",))}
    with pytest.raises(HostError, match="no ip6tables"):
        backend.compile(sets, backend.observe())
    world = {"a": sets["a"]._replace(sources=("0.0.0.0/0", "::/0"))}
    assert set(backend.compile(world, backend.observe()).tables) == {4}


@pytest.mark.parametrize(
    ("above", "reached"),
    [
        ("-A INPUT -j f2b-sshd", True),
        ("-A INPUT -i lo -j ACCEPT", True),
        ("-A INPUT -p tcp -j ACCEPT", False),
        ("-A INPUT -j REJECT --reject-with icmp-port-unreachable", False),
        ("-A INPUT -p udp -j DROP", False),
        ("-A INPUT -s 10.0.0.1/32", True),
    ],
)
def test_iptables_what_may_stand_above_the_jump(above: str, reached: bool) -> None:
    text = f":CROSSHOST-PORTS - [0:0]\n{above}\n-A INPUT -m comment --comment crosshost -j CROSSHOST-PORTS\n"
    assert iptables.parse_save(text).reached is reached


@pytest.mark.parametrize(
    "exprs",
    [
        [{"counter": {"packets": 1, "bytes": 1}}, {"accept": None}],
        [{"accept": None}],
        [{"match": {"op": "!=", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}, {"accept": None}],
        [{"match": {"op": "==", "left": {"ct": {"key": "state"}}, "right": "established"}}, {"accept": None}],
        [
            {
                "match": {
                    "op": "==",
                    "left": {"payload": {"protocol": "ip", "field": "saddr"}},
                    "right": "10.0.0.1",
                }
            },
            {"drop": None},
        ],
        [
            {
                "match": {
                    "op": "==",
                    "left": {"payload": {"protocol": "udp", "field": "dport"}},
                    "right": "@x",
                }
            },
            {"drop": None},
        ],
    ],
)
def test_nft_rules_of_others_are_foreign(exprs: list[dict[str, Any]]) -> None:
    rule = nftables.read_rule({"expr": exprs, "comment": "crosshost:a"})
    assert rule.foreign and not rule.verdict


def test_nft_elements_in_all_shapes() -> None:
    assert nftables.read_element({"range": ["10.0.0.1", "10.0.0.2"]}) == ["10.0.0.1", "10.0.0.2"]
    assert nftables.read_element({"prefix": {"addr": "fd00::", "len": 64}}) == ["fd00::/64"]
    assert nftables.read_element({"elem": {"val": "10.0.0.1", "comment": "x"}}) == ["10.0.0.1"]


def test_nft_that_fails_for_another_reason_is_no_empty_table() -> None:
    answers = {
        "nft -j list table": (1, "", "Operation not permitted"),
        "nft -j list chains": '{"nftables": []}',
    }
    with pytest.raises(CommandError, match="Operation not permitted"):
        nftables.Nftables(FakeHost("nft", answers=answers)).observe()


def test_two_long_names_never_share_an_ipset() -> None:
    names = {firewalld.ipset_name("x" * 28 + tail, 4) for tail in ("aaaa", "aaab", "")}
    assert len(names) == 3 and all(len(n) <= 31 for n in names)


def test_firewalld_zones() -> None:
    nothing = firewalld_read.Layer({}, frozenset())
    state = firewalld_read.State(nothing, nothing, "public", ("public", "work"), {"eth1": "work"})

    def zone(**item: Any) -> str:
        return firewalld.zone_of(spec.Wanted("a", **item), state)

    assert [zone(), zone(zone="work"), zone(interface="eth1"), zone(interface="eth9")] == [
        "public",
        "work",
        "work",
        "public",
    ]
    with pytest.raises(SpecError, match="zone 'nosuch': firewalld has no such zone; it has public, work"):
        zone(zone="nosuch")


def test_list_all_zones_is_read() -> None:
    text = (
        "public (active)\n  target: default\n  icmp-block-inversion: no\n  interfaces: eth0\n  sources: \n"
        "  services: ssh dhcpv6-client\n  ports: 80/tcp\n  forward: yes\n  masquerade: no\n  forward-ports: \n"
        '\tport=1:proto=tcp:toport=2:toaddr=\n  rich rules: \n\trule family="ipv4" source address="1.2.3.4" accept\n\nwork\n'
        "  services: \n"
    )
    assert firewalld_reload.parse_zones(text) == {
        "public": {
            ("service", "ssh"),
            ("service", "dhcpv6-client"),
            ("port", "80/tcp"),
            ("forward", ""),
            ("forward-port", "port=1:proto=tcp:toport=2:toaddr="),
            ("rich-rule", 'rule family="ipv4" source address="1.2.3.4" accept'),
        },
        "work": set(),
    }


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"config": 7}', '{"config": [{"name": "../x"}]}'])
def test_a_broken_record_counts_for_nothing(text: str) -> None:
    assert engine.recorded(FakeHost(files={engine.RECORD: text})) == {}


def test_the_record_is_read_back() -> None:
    sets = {"a": spec.RuleSet("a", (spec.Port("udp", 4789, 4789),), True, ("0.0.0.0/0", "fd00::/64"), "work")}
    text = json.dumps({"backend": "nftables", "config": [s.as_dict() for s in sets.values()]})
    assert engine.recorded(FakeHost(files={engine.RECORD: text})) == sets
