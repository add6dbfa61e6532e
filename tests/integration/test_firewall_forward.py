# SPDX-License-Identifier: GPL-3.0-or-later
"""forward_interfaces against firewalls that drop what they forward, judged by connections through the host."""

from __future__ import annotations

import re
import shutil
import sys
from typing import Any

import pytest

from tests.integration.test_firewall_harness import BUILD, PEER, STRANGER
from tests.integration.test_firewall_router import (
    ADDRESSES,
    BRIDGE,
    NFT_RULES,
    OPEN,
    PORT,
    SANDBOX,
    SHUT,
    Router,
    need,
    router,
)
from tests.support import dockerd

pytestmark = pytest.mark.root

HALF = {way: way.endswith("6") for way in OPEN}  # dockerd says nothing of IPv6 here
ASKED = {"state": "replaced", "forward_interfaces": ["later0", BRIDGE]}
BRIDGED = {**ASKED, "forward_interfaces": [BRIDGE]}


def ok(result: dict[str, Any]) -> dict[str, Any]:
    assert not result.get("failed"), result
    return result


def settled(host: Router, **params: Any) -> dict[str, Any]:
    """A run that must predict itself, and change nothing the second time."""
    predicted = host.module(check=True, **params)
    done = ok(host.module(**params))
    for key in ("changed", "commands", "diff", "forward_interfaces_before", "forward_interfaces_after"):
        assert predicted[key] == done[key], key
    again = ok(host.module(**params))
    assert (again["changed"], again["commands"]) == (False, [])
    assert again["diff"]["before"] == done["diff"]["after"]
    return done


def ruleset(host: Router) -> str:
    """The rules without counters. firewalld leaves the chains of a zone without interfaces behind until a reload; of
    ufw only the chain that takes rules, as with every change it fills others anew in its own way."""
    if host.attempt("firewall-cmd", "--state").returncode == 0:
        host.run("firewall-cmd", "--reload")
    if "ufw-user-forward" in host.run("nft", "list", "chains"):
        return host.run("iptables", "-S", "ufw-user-forward") + host.run(
            "ip6tables", "-S", "ufw6-user-forward"
        )
    return re.sub(r"packets \d+ bytes \d+", "", host.run("nft", "-s", "list", "ruleset"))


FIREWALLS = ["firewalld", "ufw", "nftables", "iptables", "iptables by nftables"]


def extra(firewall: str) -> dict[str, Any]:
    """`iptables by nftables`: a policy of iptables on a host whose backend is nftables."""
    return {"backend": "iptables"} if firewall == "iptables" else {}


DRIFTS: dict[str, list[list[str]]] = {
    "firewalld": [
        ["firewall-cmd", "--zone=public", f"--change-interface={BRIDGE}"],
        ["firewall-cmd", "--permanent", "--delete-policy=crosshost-in"],
    ],
    "ufw": [
        ["ufw", "route", "delete", "allow", "in", "on", BRIDGE],
        ["iptables", "-F", "ufw-user-forward"],
        ["ufw", "route", "allow", "in", "on", "eth2", "comment", "crosshost:forward"],
    ],
    "nftables": [
        ["nft", "flush", "chain", "inet", "filter", "crosshost-forward"],
        ["nft", "insert", "rule", "inet", "filter", "forward", "drop"],
        ["nft", "add", "rule", "inet", "more", "crosshost-forward", "accept"],
        ["sh", "-c", "rm /var/lib/crosshost/*.nft"],
        ["sh", "-c", f"nft flush ruleset; echo '{NFT_RULES}' | nft -f -"],
    ],
    "iptables by nftables": [
        ["iptables", "-F", "FORWARD"],
        ["ip6tables", "-F", "crosshost-forward"],
        ["iptables", "-I", "FORWARD", "-j", "DROP"],
    ],
    "iptables": [
        ["iptables", "-F", "FORWARD"],
        ["ip6tables", "-F", "CROSSHOST-FORWARD"],
        ["iptables", "-I", "FORWARD", "-j", "DROP"],
        [
            "iptables",
            "-A",
            "CROSSHOST-FORWARD",
            "-i",
            "eth2",
            "-m",
            "comment",
            "--comment",
            "crosshost:forward",
            "-j",
            "ACCEPT",
        ],
        ["rm", "/etc/systemd/system/crosshost-ports-forward-iptables.service"],
    ],
}


@pytest.mark.parametrize("firewall", FIREWALLS)
def test_traffic_passes_comes_back_after_drift_and_is_shut_again(firewall: str) -> None:
    with router(firewall) as host:
        untouched = ruleset(host)
        assert host.ways() == SHUT
        asked = {**ASKED, **extra(firewall)}
        check = ok(host.module(check=True, **asked))
        assert check["changed"] and host.ways() == SHUT and ruleset(host) == untouched
        done = settled(host, **asked)
        assert done["backend"] == ("nftables" if "by" in firewall else firewall)
        assert (done["forward_interfaces_before"], done["forward_interfaces_after"]) == (
            [],
            ["later0", BRIDGE],
        )
        assert host.ways() == OPEN and not host.others()
        if firewall != "firewalld":  # there a set of ports takes its time, and another test makes one
            # A run that says nothing of them leaves them.
            other = ok(host.module(config=[{"sources": ["10.98.0.2"]}], **extra(firewall)))
            assert other["forward_interfaces_after"] == ["later0", BRIDGE]
            ok(host.module(state="deleted", config=[{"name": "crosshost"}], **extra(firewall)))
            assert host.ways() == OPEN
        for drift in DRIFTS.get(firewall, []):
            host.run(*drift)
            again = ok(host.module(state="merged", forward_interfaces=[BRIDGE], **extra(firewall)))
            assert again["changed"], drift
            assert host.ways() == OPEN and not host.others(), drift
        host.attempt("iptables", "-D", "FORWARD", "-j", "DROP")
        assert not ok(host.module(**asked))["changed"]
        fewer = settled(host, **{**asked, "forward_interfaces": [BRIDGE]})
        assert fewer["changed"] and host.ways() == OPEN
        gone = settled(host, **{**asked, "forward_interfaces": []})
        assert gone["changed"] and host.ways() == SHUT
        assert host.attempt("ls", "/var/lib/crosshost/firewall_ports.json").returncode != 0
        assert ruleset(host) == untouched


def test_where_nothing_keeps_it_out_nothing_is_done() -> None:
    with router("none") as host:
        host.run(
            "nft",
            "-f",
            "-",
            text=NFT_RULES.replace("policy drop", "policy accept").replace("counter reject", ""),
        )
        before = ruleset(host)
        done = settled(host, **ASKED)
        assert not done["changed"] and host.ways() == OPEN and ruleset(host) == before
        # A dockerd or a policy that comes later is met by the next run, also by one that does not name them.
        host.run("iptables", "-P", "FORWARD", "DROP")
        assert host.ways() == HALF
        assert ok(host.module(config=[{"sources": ["10.98.0.2"]}]))["changed"] and host.ways() == OPEN


# Without busctl the daemon is read through firewall-cmd, with the same result.
NO_BUS = """
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.crosshost.network.plugins.module_utils.firewall import forward_firewalld
from ansible_collections.crosshost.network.plugins.module_utils.firewall.model import Host
host = Host()
one = forward_firewalld.FirewalldForward(host).observe()
host._found["busctl"] = False
assert forward_firewalld.FirewalldForward(host).observe() == one and one.loaded and len(one.interfaces) == 2, one
"""


def test_firewalld_keeps_it_over_reloads_and_the_host_itself_shut() -> None:
    with router("firewalld") as host:
        ok(host.module(**ASKED))
        host.run(sys.executable, "-c", NO_BUS, BUILD)
        host.reloaded()
        gateways = ("172.30.0.1", "fd30::1")
        assert host.talk(SANDBOX, *gateways) == [False, False]
        host.on(SANDBOX, "ping", "-c1", "-W2", gateways[0])
        # What the operator opens in the zone stays open, over runs and over the reload that a new set takes.
        host.run("firewall-cmd", "--permanent", "--zone=crosshost", f"--add-port={PORT}/tcp")
        host.run("firewall-cmd", "--reload")
        ok(host.module(**ASKED, config=[{"sources": ["10.98.0.2"]}]))
        assert host.talk(SANDBOX, *gateways) == [True, True] and host.ways() == OPEN
        ok(host.module(state="deleted"))
        assert host.ways() == SHUT
        # What others have is refused in words that say what to do.
        host.run("firewall-cmd", "--permanent", "--zone=trusted", f"--add-interface={BRIDGE}")
        assert f"--zone=trusted --remove-interface={BRIDGE}" in host.module(**ASKED)["msg"]
        host.run("firewall-cmd", "--permanent", "--zone=trusted", f"--remove-interface={BRIDGE}")
        host.run("firewall-cmd", "--permanent", "--new-zone=crosshost")
        assert "zone crosshost that is not crosshost's" in host.module(**ASKED)["msg"]
        assert not ok(host.module(state="deleted"))["changed"]


@pytest.mark.parametrize("firewall", ["firewalld", "ufw", "none"])
def test_beside_dockerd(firewall: str) -> None:
    if dockerd.missing():
        pytest.skip(dockerd.missing())
    need("iptables")
    with router(firewall) as host:
        ok(host.module(**BRIDGED))
        assert host.ways() == OPEN
        host.run("sysctl", "-qw", "net.ipv4.ip_forward=0")  # else dockerd leaves the policy alone
        with dockerd.running(host):  # type: ignore[arg-type]
            # ufw's own rules are in the table that dockerd shuts.
            assert host.ways() == (OPEN if firewall == "ufw" else HALF)
            assert settled(host, **BRIDGED)["changed"]
            assert host.ways() == OPEN and host.talk(STRANGER, ADDRESSES[PEER][0]) == [False]
            rules = host.run("iptables-save", "-t", "filter")
            assert re.search(rf"-A (DOCKER-USER|CROSSHOST-FORWARD) -i {BRIDGE} .*-j ACCEPT", rules)
            assert re.search(r"-A DOCKER-USER .*(crosshost|CROSSHOST-FORWARD)", rules)
            if firewall == "firewalld":
                host.reloaded()
                host.run("iptables", "-F", "DOCKER-USER")
                assert ok(host.module(**BRIDGED))["changed"]
            assert not ok(host.module(**BRIDGED))["changed"] and host.ways() == OPEN
        with dockerd.running(host):  # type: ignore[arg-type]
            assert host.ways() == OPEN
            assert not ok(host.module(**BRIDGED))["changed"]
            ok(host.module(state="deleted"))
            assert host.ways() == (HALF if firewall == "none" else SHUT)
            assert "rosshost" not in host.run("iptables-save", "-t", "filter")
        if firewall != "none":
            assert "rosshost" not in host.run(
                "sh", "-c", "cat /etc/firewalld/direct.xml /etc/ufw/user*.rules || :"
            )


def test_dockerd_finds_its_chain_filled_at_boot() -> None:
    """The unit's commands on a host that has just booted, before dockerd has started."""
    if dockerd.missing():
        pytest.skip(dockerd.missing())
    with router("none") as host:
        host.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
        with dockerd.running(host):  # type: ignore[arg-type]
            ok(host.module(**ASKED))
        host.run("nft", "flush", "ruleset")
        booted(host, "crosshost-ports-forward-iptables.service")
        host.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
        with dockerd.running(host):  # type: ignore[arg-type]
            assert "FORWARD DROP" in host.run("iptables-save", "-t", "filter")
            assert host.ways() == OPEN
            assert not ok(host.module(**ASKED))["changed"]


def booted(host: Router, unit: str) -> None:
    """What systemd does with a unit, twice: at boot, and when a service that flushes is restarted."""
    text = host.run("cat", f"/etc/systemd/system/{unit}")
    for line in [row.partition("=")[2] for row in text.splitlines() if row.startswith("ExecStart=")] * 2:
        done = host.attempt(*line.lstrip("-").split())
        assert done.returncode == 0 or line.startswith("-"), done.stderr
    if shutil.which("systemd-analyze"):
        verified = host.attempt("systemd-analyze", "verify", f"/etc/systemd/system/{unit}")
        assert "crosshost" not in verified.stdout + verified.stderr, verified.stderr


def test_rules_of_the_operator_that_are_loaded_anew_get_ours_again() -> None:
    with router("nftables") as host:
        ok(host.module(**ASKED))
        sound = ruleset(host)
        host.run("nft", "flush", "ruleset")
        host.run("nft", "-f", "-", text=NFT_RULES)
        assert host.ways() == SHUT
        booted(host, "crosshost-ports-forward-nftables.service")
        assert host.ways() == OPEN and ruleset(host) == sound
        assert not ok(host.module(**ASKED))["changed"]
        # A table that is gone does not keep ours from the others.
        host.run("nft", "flush", "ruleset")
        host.run("nft", "-f", "-", text=NFT_RULES.partition("table inet more")[0])
        booted(host, "crosshost-ports-forward-nftables.service")
        assert host.ways() == OPEN
        assert ok(host.module(**ASKED))["changed"]
        assert host.run("ls", "/var/lib/crosshost").split() == [
            "firewall_ports.forward-inet-filter.nft",
            "firewall_ports.json",
        ]


@pytest.mark.parametrize(
    ("firewall", "program", "condition"),
    [
        ("firewalld", "firewall-cmd", '[ "$1" = --reload ] &&'),
        ("ufw", "ufw", 'case "$*" in *"out on"*) ;; *) false;; esac &&'),
        ("iptables", "ip6tables-restore", ""),
    ],
)
def test_half_way_failure_is_undone(firewall: str, program: str, condition: str) -> None:
    with router(firewall) as host:
        untouched = ruleset(host)
        broken = "{ echo broken on purpose >&2; exit 3; }"
        host.wrap(program, f'{condition} {broken}\nexec {shutil.which(program)} "$@"')
        failed = host.module(**ASKED, **extra(firewall))
        host.unwrap(program)
        assert "broken on purpose" in failed["msg"] and "everything was undone" in failed["msg"], failed
        assert host.ways() == SHUT and ruleset(host) == untouched
        assert ok(host.module(state="gathered", **extra(firewall)))["forward_interfaces_before"] == []


def test_it_moves_when_the_host_changes_its_firewall() -> None:
    with router("nftables") as host:
        need("ufw")
        ok(host.module(**ASKED))
        host.run("ufw", "--force", "enable")
        assert host.ways() == SHUT
        moved = ok(host.module(config=[{"sources": ["10.98.0.2"]}]))
        assert moved["backend"] == "ufw" and moved["forward_interfaces_after"] == ["later0", BRIDGE]
        assert "crosshost-forward" not in host.run("nft", "list", "ruleset")
        host.run("nft", "delete", "table", "inet", "filter")
        host.run("nft", "delete", "table", "inet", "more")
        assert host.ways() == OPEN
        host.run("ufw", "route", "allow", "in", "on", "eth2", "comment", "mine")
        ok(host.module(state="deleted"))
        assert host.ways() == SHUT and "eth2" in host.run("ufw", "show", "added")
