# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with a firewall of its own that forwards between its neighbours and a sandbox behind a bridge."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.test_firewall_harness import NETS, PEER, PROBE, SERVER, STRANGER, Host, wait_for
from tests.support import child

BRIDGE = "xh_gwbridge"
SANDBOX = "sandbox"
PORT = 8080
ADDRESSES = {
    SANDBOX: ("172.30.0.2", "fd30::2"),
    **{name: (f"{four}.2", f"{six}:2") for name, (four, six) in NETS.items()},
}
OPEN = {
    "sandbox to peer 4": True,
    "sandbox to peer 6": True,
    "peer to sandbox 4": True,
    "peer to sandbox 6": True,
}
SHUT = dict.fromkeys(OPEN, False)
NFT_RULES = """
table inet filter {
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
    }
}
table inet more {
    chain second {
        type filter hook forward priority 5; policy accept;
        jump last
    }
    chain last {
        ct state invalid drop
        counter reject
    }
}
"""


def need(*programs: str) -> None:
    missing = [p for p in (*programs, "unshare", "nsenter", "ip", "nft") if shutil.which(p) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


class Router(Host):
    """A host that forwards between its neighbours and a sandbox behind a bridge; each of them echoes on one port."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        super().__init__(stack)
        pid = self.hold(["unshare", "-n", "sh", "-c", "echo ready; exec sleep 1000"])
        self.pids[SANDBOX] = pid
        self.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        self.run(
            "ip",
            "-batch",
            "-",
            text=f"""
link add {BRIDGE} type bridge
addr add 172.30.0.1/24 dev {BRIDGE}
addr add fd30::1/64 dev {BRIDGE} nodad
link set {BRIDGE} up
link add v0 type veth peer name eth0 netns {pid}
link set v0 master {BRIDGE} up
""",
        )
        self.on(
            SANDBOX,
            "ip",
            "-batch",
            "-",
            text="""
addr add 172.30.0.2/24 dev eth0
addr add fd30::2/64 dev eth0 nodad
link set lo up
link set eth0 up
""",
        )
        for name, (four, six) in {**NETS, SANDBOX: ("172.30.0", "fd30:")}.items():
            routes = f"route add default via {four}.1\n-6 route add default via {six}:1\n"
            for line in routes.splitlines():
                self.on(name, "ip", *line.split())
            self.hold([*self.prefix(name), sys.executable, "-c", SERVER, json.dumps([("tcp", PORT)])])
        self.serve(("tcp", PORT))

    def prefix(self, who: str) -> list[str]:
        return ["nsenter", "-t", str(self.pids[who]), "-n"]

    def on(self, who: str, *argv: str, text: str = "") -> str:
        done = subprocess.run(
            [*self.prefix(who), *argv], input=text, capture_output=True, text=True, check=True
        )
        return done.stdout

    def talk(self, who: str, *targets: str) -> list[bool]:
        asked = json.dumps([(address, "tcp", PORT) for address in targets])
        return list(json.loads(self.on(who, sys.executable, "-c", PROBE, asked)))

    def ways(self) -> dict[str, bool]:
        """Whether new connections pass through the host, both ways, with both versions of IP."""
        answers = [*self.talk(SANDBOX, *ADDRESSES[PEER]), *self.talk(PEER, *ADDRESSES[SANDBOX])]
        return dict(zip(OPEN, answers, strict=True))

    def others(self) -> bool:
        """Whether anything passes between two neighbours that are no bridges of ours."""
        return any(self.talk(STRANGER, *ADDRESSES[PEER]))

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """What `dockerd` needs of a host: a function in its namespaces."""
        kinds = (("mnt", child.CLONE_NEWNS), ("net", child.CLONE_NEWNET))

        def inside() -> Any:
            child.enter([(os.open(f"/proc/{self.pid}/ns/{name}", os.O_RDONLY), kind) for name, kind in kinds])
            return function(*args)

        return child.call(inside)

    def reloaded(self) -> None:
        for how in ("--reload", "--complete-reload"):
            self.run("firewall-cmd", how)
            assert self.ways() == OPEN, how


@contextlib.contextmanager
def router(firewall: str) -> Iterator[Router]:
    """A router whose firewall drops what it forwards; `none` has none."""
    with contextlib.ExitStack() as stack:
        host = Router(stack)
        # Addresses settle; and it is the firewall alone that will keep anything out.
        wait_for(lambda: host.ways() == OPEN, "forwarding")
        if firewall == "firewalld":
            need("firewall-cmd", "firewalld", "dbus-daemon")
            host.start("dbus-daemon", "--system", "--nofork", "--nopidfile")
            host.start_firewalld()
        elif firewall == "ufw":
            need("ufw")
            host.run("ufw", "--force", "enable")
        elif firewall == "nftables":
            host.run("nft", "-f", "-", text=NFT_RULES)
        elif firewall in ("iptables", "iptables by nftables"):
            need("iptables", "ip6tables")
            for program in ("iptables", "ip6tables"):
                host.run(program, "-A", "INPUT", "-i", "lo", "-j", "ACCEPT")
                host.run(program, "-P", "FORWARD", "DROP")
            if firewall == "iptables by nftables":
                host.run("ip6tables", "-P", "FORWARD", "ACCEPT")
                host.run("ip6tables", "-A", "FORWARD", "-j", "REJECT")
        yield host
