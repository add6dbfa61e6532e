# SPDX-License-Identifier: GPL-3.0-or-later
"""firewall_ports on hosts with a life of their own: reloads, restarts, others' rules, a change of firewall."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.integration.test_firewall_harness import (
    BUILD,
    DEVICES,
    NETS,
    PEER,
    STRANGER,
    Host,
    firewalled_host,
)

pytestmark = pytest.mark.root

VXLAN = ("udp", 4789)
CONFIG = [{"sources": ["10.98.0.2", "fd98::/64"]}]
IN, OUT = {"4 udp 4789": True, "6 udp 4789": True}, {"4 udp 4789": False, "6 udp 4789": False}


def need(*programs: str) -> None:
    missing = [p for p in (*programs, "unshare", "nsenter", "ip") if shutil.which(p) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


@pytest.fixture
def host() -> Iterator[Host]:
    need("nft")
    with firewalled_host() as made:
        yield made


def ok(result: dict[str, object]) -> dict[str, object]:
    assert not result.get("failed"), result
    return result


def test_firewalld_reload_restart_and_runtime_rules_of_others(host: Host) -> None:
    need("firewall-cmd", "firewalld", "dbus-daemon")
    host.start("dbus-daemon", "--system", "--nofork", "--nopidfile")
    daemon = host.start_firewalld()
    # What the operator has at runtime only outlives the reload that a new ipset takes.
    host.run("firewall-cmd", "--zone=public", "--add-port=8080/tcp")
    host.run(
        "firewall-cmd",
        "--zone=public",
        '--add-rich-rule=rule family="ipv4" source address="10.99.0.2" accept',
    )
    host.run("firewall-cmd", "--zone=public", "--remove-service=dhcpv6-client")
    host.run(
        "firewall-cmd",
        "--zone=public",
        '--remove-rich-rule=rule family="ipv4" source address="10.99.0.2" accept',
    )
    theirs = host.run("firewall-cmd", "--zone=public", "--list-all").split("rich rules:")[0]
    done = ok(host.module(config=CONFIG))
    assert done["backend"] == "firewalld" and "firewall-cmd --reload" in str(done["commands"])
    assert host.run("firewall-cmd", "--zone=public", "--list-all").split("rich rules:")[0] == theirs
    assert host.reach(STRANGER, ("tcp", 8080), VXLAN) == {**OUT, "4 tcp 8080": True, "6 tcp 8080": True}
    rule = 'rule family="ipv4" source ipset="xh4-crosshost" port port="4789" protocol="udp" accept'
    for how in ([], ["--permanent"]):
        assert rule in host.run("firewall-cmd", *how, "--zone=public", "--list-all")
        assert host.run("firewall-cmd", *how, "--ipset=xh4-crosshost", "--get-entries").split() == [
            "10.98.0.2"
        ]
    host.run("firewall-cmd", "--reload")
    assert (host.reach(PEER, VXLAN), host.reach(STRANGER, VXLAN)) == (IN, OUT)
    daemon.terminate()
    daemon.wait()
    host.start_firewalld()
    assert (host.reach(PEER, VXLAN), host.reach(STRANGER, VXLAN)) == (IN, OUT)
    assert not ok(host.module(config=CONFIG))["changed"]
    # The zone of an interface, and back; a second run in the same names needs no reload.
    host.run("firewall-cmd", "--zone=internal", f"--add-interface={DEVICES[PEER]}")
    assert host.reach(PEER, VXLAN) == OUT
    moved = ok(host.module(state="replaced", config=[{**CONFIG[0], "interface": DEVICES[PEER]}]))
    assert moved["after"][0]["zone"] == "internal" and "--reload" not in str(moved["commands"])  # type: ignore[index]
    assert host.reach(PEER, VXLAN) == IN
    bad = host.module(config=[{**CONFIG[0], "zone": "nosuch"}])
    assert bad["failed"] and "zone 'nosuch': firewalld has no such zone" in bad["msg"]
    # Without busctl the daemon is read through firewall-cmd, with the same result.
    no_bus = (
        "import sys,json; sys.path.insert(0, sys.argv[1])\n"
        "from ansible_collections.crosshost.network.plugins.module_utils.firewall import firewalld_read as r\n"
        "from ansible_collections.crosshost.network.plugins.module_utils.firewall.model import Host\n"
        "h = Host(); one = r.observe(h); h._found['busctl'] = False; two = r.observe(h)\n"
        "assert one == two and one.runtime.rules, (one, two)"
    )
    host.run(sys.executable, "-c", no_bus, BUILD)


def test_firewalld_leaves_ipsets_and_rules_of_others(host: Host) -> None:
    need("firewall-cmd", "firewalld", "dbus-daemon")
    host.start("dbus-daemon", "--system", "--nofork", "--nopidfile")
    host.run(
        "sh",
        "-c",
        "mkdir -p /etc/firewalld/ipsets /etc/firewalld/zones; cat > /etc/firewalld/ipsets/xh4-mine.xml",
        text='<ipset type="hash:net"><entry>10.99.0.2</entry></ipset>',
    )
    host.run(
        "sh",
        "-c",
        "cat > /etc/firewalld/zones/public.xml",
        text='<zone><rule family="ipv4"><source ipset="xh4-mine"/><port port="8080" protocol="tcp"/><accept/></rule>'
        "</zone>",
    )
    host.start_firewalld()
    ok(host.module(config=CONFIG))
    assert [s["name"] for s in host.module(state="gathered")["before"]] == ["crosshost"]
    ok(host.module(state="deleted"))
    assert host.reach(STRANGER, ("tcp", 8080))["4 tcp 8080"]
    assert "xh4-mine" in host.run("firewall-cmd", "--permanent", "--zone=public", "--list-all")


def test_ufw_leaves_the_operators_rules(host: Host) -> None:
    need("ufw")
    host.run("ufw", "--force", "enable")
    # The very rule that we would write, and another one with a comment of its own.
    host.run("ufw", "allow", "proto", "udp", "from", "10.98.0.2", "to", "any", "port", "4789,7946")
    host.run("ufw", "allow", "8080/tcp", "comment", "mine")
    added = host.run("ufw", "show", "added")
    done = ok(host.module(config=CONFIG))
    assert done["backend"] == "ufw" and done["changed"]
    assert (host.reach(PEER, VXLAN), host.reach(STRANGER, VXLAN)) == (IN, OUT)
    assert not ok(host.module(config=CONFIG))["changed"]
    ok(host.module(state="deleted"))
    assert host.run("ufw", "show", "added") == added
    assert "sctp" in host.module(config=[{**CONFIG[0], "ports": ["77/sctp"]}])["msg"]


def test_rules_move_when_the_host_changes_its_firewall(host: Host) -> None:
    need("ufw", "iptables-restore")
    for backend, other in (("nftables", "iptables"), ("iptables", "nftables")):
        ok(host.module(backend=backend, config=CONFIG))
        ok(host.module(backend=other, state="gathered"))
    assert "crosshost_ports" not in host.run("nft", "list", "tables")
    ok(
        host.module(
            backend="nftables", config=[{"name": "kept", "ports": ["8080/tcp"], "sources": ["10.98.0.2"]}]
        )
    )
    host.run("ufw", "--force", "enable")
    assert "nftables" in str(ok(host.module(state="gathered"))["warnings"])
    moved = ok(host.module(config=[{"sources": ["10.99.0.2"]}]))
    assert moved["backend"] == "ufw"
    assert [s["name"] for s in moved["after"]] == ["crosshost", "kept"]  # type: ignore[attr-defined]
    # The table's drop would have kept out a peer that only ufw knows.
    assert "crosshost_ports" not in host.run("nft", "list", "tables")
    assert host.reach(STRANGER, VXLAN)["4 udp 4789"] and host.reach(PEER, ("tcp", 8080))["4 tcp 8080"]
    assert host.attempt("ls", "/var/lib/crosshost/firewall_ports.nft").returncode != 0
    assert not ok(host.module(config=[{"sources": ["10.99.0.2"]}]))["changed"]


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_boot_files_load_and_load_again(host: Host, backend: str) -> None:
    need("iptables-restore")
    host.run("iptables", "-A", "INPUT", "-i", "lo", "-j", "ACCEPT")
    host.run("ip6tables", "-A", "INPUT", "-i", "lo", "-j", "ACCEPT")
    ok(host.module(backend=backend, config=CONFIG))
    listing = [["nft", "-s", "list", "ruleset"]]
    sound = [host.run(*argv) for argv in listing]
    unit = f"/etc/systemd/system/crosshost-ports-{backend}.service"
    text = host.run("cat", unit)
    starts = [line.partition("=")[2] for line in text.splitlines() if line.startswith("ExecStart=")]
    host.run("nft", "flush", "ruleset")
    host.run("iptables", "-A", "INPUT", "-i", "lo", "-j", "ACCEPT")
    host.run("ip6tables", "-A", "INPUT", "-i", "lo", "-j", "ACCEPT")
    for _twice in range(2):
        for line in starts:
            done = host.attempt(*line.lstrip("-").split())
            assert done.returncode == 0 or line.startswith("-"), done.stderr
    loaded = host.module(check=True, backend=backend, config=CONFIG)
    assert not ok(loaded)["changed"], loaded["commands"]
    assert sorted(host.run(*listing[0]).splitlines()) == sorted(sound[0].splitlines())
    if shutil.which("systemd-analyze"):
        done = host.attempt("systemd-analyze", "verify", unit)
        assert "crosshost" not in done.stdout + done.stderr, done.stderr


def test_a_drop_of_others_is_told(host: Host) -> None:
    host.run(
        "nft",
        "-f",
        "-",
        text="table inet theirs { chain input { type filter hook input priority 0; policy drop; }; }",
    )
    done = ok(host.module(config=CONFIG))
    assert "inet theirs input" in str(done["warnings"])
    theirs = host.run("nft", "list", "table", "inet", "theirs")
    ok(host.module(state="deleted"))
    assert host.run("nft", "list", "table", "inet", "theirs") == theirs


def test_a_source_that_leaves_loses_its_connection(host: Host) -> None:
    ok(host.module(backend="nftables", config=CONFIG))
    talk = (
        "import socket, sys\ns = socket.create_connection((sys.argv[1], 2377), 2); s.settimeout(0.5)\n"
        "for line in sys.stdin:\n    s.send(b'x')\n    try: print(s.recv(1) == b'x', flush=True)\n"
        "    except OSError: print(False, flush=True)\n"
    )
    peer = subprocess.Popen(
        ["nsenter", "-t", str(host.pids[PEER]), "-n", sys.executable, "-c", talk, NETS[PEER][0] + ".1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert peer.stdin is not None and peer.stdout is not None
        answers = []
        for sources in (["10.98.0.2"], ["10.99.0.2"]):
            ok(host.module(backend="nftables", state="replaced", config=[{"sources": sources}]))
            peer.stdin.write("go\n")
            peer.stdin.flush()
            answers.append(peer.stdout.readline().strip())
        assert answers == ["True", "False"]
    finally:
        peer.kill()
        peer.communicate()


def test_through_ansible_with_check_and_diff(host: Host) -> None:
    need("ansible")
    args = {"config": [{"sources": ["10.98.0.0/24"]}], "backend": "nftables"}
    env = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": BUILD,
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_HOME": "/run/ansible",
        "ANSIBLE_NOCOLOR": "1",
    }
    base = [
        "nsenter",
        "-t",
        str(host.pid),
        "-n",
        "-m",
        "ansible",
        "localhost",
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
        "-m",
        "crosshost.network.firewall_ports",
    ]

    def run(args: dict[str, object], *more: str) -> str:
        return subprocess.run(
            [*base, "-a", json.dumps(args), *more], env=env, capture_output=True, text=True, check=False
        ).stdout

    checked = run(args, "--check", "--diff")
    assert "CHANGED" in checked and "+table inet crosshost_ports" in checked, checked
    assert "crosshost_ports" not in host.run("nft", "list", "tables")
    assert "CHANGED" in run(args)
    bad = run({"config": [{"sources": ["10.98.0.1/24"]}]})
    assert "host bits are set: write the network 10.98.0.0/24" in bad and "Traceback" not in bad
