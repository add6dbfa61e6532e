# SPDX-License-Identifier: GPL-3.0-or-later
"""firewall_ports against the real firewalld, ufw, nft and iptables, judged by traffic and by the firewall's own tools."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.test_firewall_harness import PEER, STRANGER, Host, firewalled_host

pytestmark = pytest.mark.root

NEEDS = {
    "firewalld": ["firewall-cmd", "firewalld", "dbus-daemon"],
    "ufw": ["ufw"],
    "nftables": ["nft"],
    "iptables": ["iptables-restore", "ip6tables-restore"],
}
BACKENDS = list(NEEDS)
SOURCES = ["10.98.0.0/24", "fd98::2"]
OPEN = [("tcp", 2377), ("tcp", 7946), ("udp", 7946), ("udp", 4789)]


def backend_host(backend: str) -> Iterator[Host]:
    missing = [p for p in [*NEEDS[backend], "unshare", "nsenter", "ip"] if shutil.which(p) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    with firewalled_host() as host:
        if backend == "firewalld":
            host.start("dbus-daemon", "--system", "--nofork", "--nopidfile")
            host.start_firewalld()
        elif backend == "ufw":
            host.run("ufw", "--force", "enable")
        elif backend == "iptables":
            for program in (
                "iptables",
                "ip6tables",
            ):  # makes the filter table itself, as on any host that uses it
                host.run(program, "-A", "INPUT", "-i", "lo", "-j", "ACCEPT")
        yield host


@pytest.fixture(scope="module", params=BACKENDS)
def firewall(request: pytest.FixtureRequest) -> Iterator[tuple[str, Host]]:
    for host in backend_host(request.param):
        yield request.param, host


def kernel(host: Host, backend: str) -> str:
    """The rule set without what counts or is numbered.

    firewalld's emptied ipsets stay until a reload; of ufw only the chains that take rules, as with every change it
    fills others anew in its own way.
    """
    if backend == "ufw":
        return host.run("iptables", "-S", "ufw-user-input") + host.run("ip6tables", "-S", "ufw6-user-input")
    text = host.run("nft", "-s", "list", "ruleset")
    return re.sub(r"\tset xh[46]-\S+ \{.*?\n\t\}\n\n?", "", text, flags=re.S)


def converged(host: Host, backend: str, **params: Any) -> dict[str, Any]:
    """A run that must predict itself, change something, and change nothing the second time."""
    predicted = host.module(check=True, backend=backend, **params)
    done = host.module(backend=backend, **params)
    assert not done.get("failed"), done
    for key in ("changed", "commands", "before", "after", "diff"):
        assert predicted[key] == done[key], key
    again = host.module(backend=backend, **params)
    assert (again["changed"], again["commands"]) == (False, [])
    assert again["before"] == again["after"] == done["after"]
    assert done["diff"]["after"] == again["diff"]["before"]
    return done


def applied(host: Host, backend: str, **params: Any) -> dict[str, Any]:
    """A run that must not fail, and change nothing the second time."""
    done = host.module(backend=backend, **params)
    assert not done.get("failed"), done
    assert host.module(backend=backend, **params)["commands"] == []
    return done


def test_peer_gets_in_and_stranger_does_not(firewall: tuple[str, Host]) -> None:
    backend, host = firewall
    untouched, policy = kernel(host, backend), host.reach(STRANGER, ("tcp", 8080))
    check = host.module(check=True, backend=backend, config=[{"sources": SOURCES}])
    assert check["changed"] and kernel(host, backend) == untouched
    done = converged(host, backend, config=[{"sources": SOURCES}])
    assert done["changed"] and done["backend"] == backend
    assert set(host.reach(PEER, *OPEN).values()) == {True}
    assert host.reach(STRANGER, *OPEN, ("tcp", 8080)) == {
        **dict.fromkeys((f"{v} {proto} {port}" for v in (4, 6) for proto, port in OPEN), False),
        **policy,
    }
    for address in ("127.0.0.1", "::1"):
        host.run(
            "python3", "-c", "import socket,sys; socket.create_connection((sys.argv[1], 2377), 2)", address
        )
    deleted = converged(host, backend, state="deleted", config=[{"name": "crosshost"}])
    assert deleted["changed"]
    assert kernel(host, backend) == untouched


def test_drift_is_repaired(firewall: tuple[str, Host]) -> None:
    backend, host = firewall
    applied(host, backend, state="overridden", config=[{"sources": ["10.98.0.2"]}])
    sound = kernel(host, backend)
    drifts: dict[str, list[list[str]]] = {
        "nftables": [
            ["nft", "flush", "chain", "inet", "crosshost_ports", "input"],
            ["nft", "add", "element", "inet", "crosshost_ports", "ip4-crosshost", "{ 10.99.0.0/24 }"],
            ["rm", "/var/lib/crosshost/firewall_ports.nft"],
            ["nft", "flush", "ruleset"],
        ],
        "iptables": [
            ["iptables", "-D", "INPUT", "1"],
            ["ip6tables", "-F", "CROSSHOST-PORTS"],
            ["iptables", "-I", "INPUT", "1", "-p", "udp", "-j", "DROP"],
            ["iptables", "-I", "CROSSHOST-PORTS", "1", "-s", "10.99.0.0/24", "-j", "ACCEPT"],
            ["rm", "/etc/systemd/system/crosshost-ports-iptables.service"],
        ],
        "ufw": [
            ["ufw", "delete", "allow", "proto", "udp", "from", "10.98.0.2", "to", "any", "port", "4789,7946"],
            ["iptables", "-F", "ufw-user-input"],
            [
                "ufw",
                "allow",
                "proto",
                "tcp",
                "from",
                "10.99.0.2",
                "to",
                "any",
                "port",
                "2377,7946",
                "comment",
                "crosshost:crosshost",
            ],
        ],
        "firewalld": [
            ["firewall-cmd", "--ipset=xh4-crosshost", "--add-entry=10.99.0.0/24"],
            ["firewall-cmd", "--permanent", "--ipset=xh4-crosshost", "--remove-entry=10.98.0.2"],
            [
                "firewall-cmd",
                "--remove-rich-rule",
                'rule family="ipv4" source ipset="xh4-crosshost" port port="4789" protocol="udp" accept',
            ],
        ],
    }
    for drift in drifts[backend]:
        host.run(*drift)
        again = host.module(backend=backend, config=[{"sources": ["10.98.0.2"]}])
        assert again.get("changed"), (drift, again)
        assert host.reach(PEER, ("udp", 4789), ("tcp", 2377))["4 udp 4789"], drift
        assert not host.reach(STRANGER, ("udp", 4789), ("tcp", 2377))["4 tcp 2377"], drift
        if backend == "iptables" and drift[1:3] == ["-I", "INPUT"]:
            host.run("iptables", "-D", "INPUT", "-p", "udp", "-j", "DROP")
    assert not host.module(backend=backend, config=[{"sources": ["10.98.0.2"]}])["changed"]
    if backend in ("ufw", "firewalld"):
        assert kernel(host, backend).count("accept") == sound.count("accept")


def test_states_replaced_overridden_and_several_sets(firewall: tuple[str, Host]) -> None:
    backend, host = firewall
    applied(
        host,
        backend,
        state="overridden",
        config=[
            {"sources": SOURCES},
            {"name": "web-1", "ports": ["8080/tcp", "30000-30100/tcp"], "open_to_world": True},
        ],
    )
    assert set(host.reach(STRANGER, ("tcp", 8080), ("tcp", 30050)).values()) == {True}
    # merged adds a source and leaves the other set alone
    applied(host, backend, config=[{"sources": ["10.99.0.2"]}])
    assert host.reach(STRANGER, ("udp", 4789)) == {"4 udp 4789": True, "6 udp 4789": False}
    # replaced takes it out again
    applied(host, backend, state="replaced", config=[{"sources": SOURCES}])
    assert host.reach(STRANGER, ("udp", 4789)) == {"4 udp 4789": False, "6 udp 4789": False}
    assert set(host.reach(STRANGER, ("tcp", 8080)).values()) == {True}
    done = converged(
        host,
        backend,
        state="overridden",
        config=[{"name": "only", "ports": ["4789/udp"], "esp": True, "sources": ["10.98.0.2", "10.98.0.3"]}],
    )
    assert [s["name"] for s in done["after"]] == ["only"]
    assert done["after"][0]["esp"] and done["after"][0]["sources"] == ["10.98.0.2", "10.98.0.3"]
    assert host.reach(PEER, ("udp", 4789))["4 udp 4789"]
    gathered = host.module(backend=backend, state="gathered")
    assert gathered["before"] == done["after"] and not gathered["changed"]


def test_a_name_of_full_length_and_many_ports(firewall: tuple[str, Host]) -> None:
    backend, host = firewall
    ports = [f"{n}/tcp" for n in range(2377, 2457, 2)]
    done = applied(
        host,
        backend,
        state="overridden",
        config=[{"name": "9-" + "x" * 30, "ports": ports, "sources": ["fd98::/64"]}],
    )
    assert done["after"][0]["ports"] == ports
    assert host.reach(PEER, ("tcp", 2377))["6 tcp 2377"]


def test_half_way_failure_is_undone(firewall: tuple[str, Host]) -> None:
    backend, host = firewall
    applied(host, backend, state="overridden", config=[{"sources": ["10.98.0.2"]}])
    before, sound = host.module(backend=backend, state="gathered")["before"], kernel(host, backend)
    # The last or a later step of each plan fails, everything else works.
    real = {"iptables": "ip6tables-restore", "ufw": "ufw", "firewalld": "firewall-cmd"}
    if backend == "nftables":
        host.run("mount", "-t", "tmpfs", "-o", "ro", "t", "/var/lib/crosshost")
        said = "firewall_ports.nft"
    else:
        conditions = {
            "iptables": "exit 3",
            "ufw": 'case "$*" in *"allow proto udp from fd98::2"*) exit 3;; esac',
            "firewalld": '[ "$1" = --reload ] && exit 3',
        }
        body = f"{conditions[backend].replace('exit 3', '{ echo broken on purpose >&2; exit 3; }')}"
        host.wrap(real[backend], f'{body}\nexec {shutil.which(real[backend])} "$@"')
        said = "broken on purpose"
    try:
        failed = host.module(backend=backend, config=[{"sources": ["10.99.0.2", "fd98::2"]}])
    finally:
        if backend == "nftables":
            host.run("umount", "/var/lib/crosshost")
        else:
            host.unwrap(real[backend])
    assert failed.get("failed") and said in failed["msg"] and "everything was undone" in failed["msg"], failed
    assert "\n" not in failed["msg"]
    assert host.module(backend=backend, state="gathered")["before"] == before
    if backend != "firewalld":
        assert kernel(host, backend) == sound
    assert set(host.reach(STRANGER, *OPEN).values()) == {False}


# not with ufw: it takes 0.1 s for each rule, as the documentation and a warning of the module say
@pytest.mark.parametrize("firewall", ["firewalld", "nftables", "iptables"], indirect=True)
def test_a_thousand_peers(firewall: tuple[str, Host]) -> None:
    backend, host = firewall
    peers = ["10.98.0.2", *(f"10.{100 + i // 250}.{i % 250}.1" for i in range(1000))]
    applied(host, backend, state="overridden", config=[{"sources": peers}])
    done = applied(host, backend, state="replaced", config=[{"sources": peers[:-1]}])
    assert len(done["after"][0]["sources"]) == 1000
    assert host.reach(PEER, ("udp", 4789))["4 udp 4789"]
    # A rule a port, not one for each peer.
    if backend != "iptables":
        assert len(host.run("nft", "-t", "-s", "list", "ruleset").splitlines()) < 1000
