# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of two hosts with names, for the tests of them."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.lab_run import _RESET, Lab, Result, declare, step

HOSTS = ("h1", "h2")
OUTSIDE, OUTSIDE6 = "203.0.113.10", "2001:db8:113::10"
GWBRIDGE = {"name": "xh_gwbridge", "subnet": "172.30.0.0/16", "subnet6": "fd30::/64"}
NETWORKS: list[dict[str, Any]] = [
    {"name": "web", "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}, {"subnet": "fd50::/64"}]},
    {"name": "db", "internal": True, "subnets": [{"subnet": "10.51.0.0/26", "vni": 5001}]},
    {"name": "six", "subnets": [{"subnet": "fd52::/60", "vni": 5002}]},
]
ENDPOINTS: list[dict[str, Any]] = [
    {
        "host": "h1",
        "network": "web",
        "sandbox": "shop",
        "create": True,
        "ip": "10.50.0.11",
        "ip6": "fd50::11",
    },
    {"host": "h1", "network": "web", "sandbox": "both", "create": True, "ip": "10.50.0.12"},
    {"host": "h1", "network": "db", "sandbox": "both", "ip": "10.51.0.12"},
    {"host": "h1", "network": "six", "sandbox": "lone", "create": True, "ip6": "fd52::13"},
    {"host": "h1", "network": "web", "container": "ctr", "ip": "10.50.0.14"},
    {"host": "h1", "network": "web", "pid": 0, "name": "plain", "ip": "10.50.0.15"},
    {"host": "h1", "network": "web", "container": "bare", "ip": "10.50.0.17"},
    {"host": "h1", "network": "web", "sandbox": "left", "create": True, "ip": "10.50.0.16", "dns": False},
    {
        "host": "h2",
        "network": "web",
        "sandbox": "cart",
        "create": True,
        "ip": "10.50.0.21",
        "ip6": "fd50::21",
    },
    {"host": "h2", "network": "db", "sandbox": "vault", "create": True, "ip": "10.51.0.21"},
]
TASKS = ["10.50.0.11", "10.50.0.12", "10.50.0.21"]
NAMES: list[dict[str, Any]] = [
    {
        "network": "web",
        "upstream": [OUTSIDE, OUTSIDE6],
        "records": [
            {"name": "shop", "aliases": ["front"], "addresses": ["10.50.0.11", "fd50::11"]},
            {"name": "both", "addresses": ["10.50.0.12"]},
            {"name": "Cart", "aliases": ["front"], "addresses": ["10.50.0.21", "fd50::21"]},
        ],
        "services": [
            {"name": "api", "aliases": ["gate"], "addresses": ["10.50.0.100"], "tasks": TASKS},
            {"name": "rr", "addresses": TASKS, "tasks": TASKS},
        ],
    },
    {
        "network": "db",
        "records": [
            {"name": "both", "addresses": ["10.51.0.12"]},
            {"name": "vault", "addresses": ["10.51.0.21"]},
        ],
    },
    {"network": "six", "upstream": [OUTSIDE6], "records": [{"name": "lone", "addresses": ["fd52::13"]}]},
]
STAND_IN = "#!/bin/sh\ncase $6 in ctr) echo %d;; bare) echo %d;; *) exit 1;; esac\n"
FORMER = "# of the engine\nsearch corp.example\nnameserver 192.0.2.1"  # without a last line feed
# A container's resolv.conf is a file that the engine mounts there; or there is none in the container's own folder.
CONTAINER = 'mount --bind "$1" "$2"; shift 2; exec "$@"\n'
WEB, WEB6 = "10.50.0.1", "fd50::1"


class NamesLab(Lab):
    """A lab of two hosts."""

    name = "t-dns"

    def up(self) -> None:
        self.program("up", "--hosts", str(len(HOSTS)), "--mtu", "1500")
        self.find()

    def reset(self) -> None:
        with ThreadPoolExecutor(len(HOSTS)) as pool:
            list(pool.map(lambda host: self.script(host, _RESET, check=False), HOSTS))

    def dig(self, place: str, *words: str) -> tuple[str, list[str]]:
        """The status of a look-up, and the answers, sorted."""
        text = self.run(place, "dig", "+time=2", "+tries=1", *words, check=False)
        status = re.search(r"status: ([A-Z]+)", text)
        rows = [line.split() for line in text.splitlines() if line and not line.startswith(";")]
        return status.group(1) if status else "", sorted(row[4] for row in rows)

    def short(self, place: str, *words: str) -> list[str]:
        """The answers alone, sorted."""
        return self.dig(place, *words)[1]

    def network_part(self, host: str) -> str:
        """What a test compares of what is not ours."""
        return self.script(host, "cat /etc/resolv.conf; ls -1 /run/systemd/system 2>/dev/null; true")

    def pid(self, host: str, instance: str) -> int:
        """The process of a name server; 0 when there is none."""
        unit = f"crosshost-dns@{instance}.service"
        return int(self.run(host, "systemctl", "show", "--property=MainPID", "--value", unit).strip() or 0)

    def names(self, host: str, args: dict[str, Any], **keywords: Any) -> Result:
        return self.module(host, "names", args, **keywords)

    @contextlib.contextmanager
    def upstream(self) -> Iterator[list[str]]:
        """A name server outside, which knows everything; the questions that it got, when the block ends."""
        asked: list[str] = []
        options = ["-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file="]
        options += [
            "--log-queries",
            "--log-facility=-",
            "--address=/#/192.0.2.99",
            "--address=/#/2001:db8::99",
        ]
        with self.running("outside", "dnsmasq", *options, ready="started") as child:
            yield asked
            time.sleep(0.2)
            child.terminate()
            assert child.stdout is not None
            asked += re.findall(r"query\[\w+\] (\S+) from", child.stdout.read())


class Named:
    """Both hosts with everything."""

    def __init__(self, lab: NamesLab) -> None:
        self.lab = lab
        lab.reset()
        for host in HOSTS:
            lab.script(host, "[ -e /etc/resolv.conf ] || : > /etc/resolv.conf")
        lab.run("h1", "tee", "/run/t-ctr", stdin=CONTAINER)
        lab.run("h1", "tee", "/run/t-resolv", stdin=FORMER)
        lab.script("h1", "rm -rf /run/t-etc; mkdir /run/t-etc")
        own = ["unshare", "-n", "-m", "sh", "/run/t-ctr"]
        self.container = lab.sleeper("h1", *own, "/run/t-resolv", "/etc/resolv.conf")
        self.bare = lab.sleeper("h1", *own, "/run/t-etc", "/etc")
        self.plain = lab.sleeper("h1", "unshare", "-n", "-m")
        lab.run("h1", "tee", "/usr/local/bin/docker", stdin=STAND_IN % (self.container, self.bare))
        lab.run("h1", "chmod", "755", "/usr/local/bin/docker")
        ends = [{**end, "pid": self.plain} if "pid" in end else end for end in ENDPOINTS]
        self.hosts = declare(NETWORKS, ends, [GWBRIDGE])
        pids = {"ctr": self.container, "bare": self.bare}  # the checker knows no engines
        seen = [
            {
                **{k: v for k, v in end.items() if k != "container"},
                "pid": pids[end["container"]],
                "name": end["container"],
            }
            if "container" in end
            else end
            for end in ends
        ]
        self.seen = declare(NETWORKS, seen, [GWBRIDGE])
        self.before = {host: lab.network_part(host) for host in HOSTS}
        steps = [
            step(HOSTS, module, {h: {"config": each[what]} for h, each in self.hosts.items()})
            for module, what in (
                ("overlay_network", "overlay_networks"),
                ("gwbridge", "gwbridges"),
                ("endpoint", "endpoints"),
            )
        ]
        names = {"config": NAMES, "state": "overridden"}
        steps += [
            step(HOSTS, "names", names, check_mode=True),
            step(HOSTS, "names", names),
            step(HOSTS, "names", names),
        ]
        self.results = lab.play(*steps)
        for found in self.results:
            for host, result in found.items():
                assert not result.get("failed"), f"{host}: {result}"


@pytest.fixture(scope="module")
def named() -> Iterator[Named]:
    lab = NamesLab()
    lab.program("down")
    try:
        lab.up()
        yield Named(lab)
    finally:
        lab.program("down")
