# SPDX-License-Identifier: GPL-3.0-or-later
"""Published ports on a host that runs firewalld, through its reloads."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_firewall_harness import BUILD, SERVER, STRANGER, Host, firewalled_host, wait_for

pytestmark = pytest.mark.root
ROOT = str(Path(__file__).resolve().parents[2])
PORTS = (("tcp", 9080), ("udp", 5353))
TASK = {"ip": "10.255.0.101", "ip6": "fd55::101"}
# the host of the harness answers on 4789
UNDERLAY = {"data_path_address": "10.98.0.1", "data_path_port": 4790}
STEPS: list[tuple[str, dict[str, Any]]] = [
    ("gwbridges", {"subnet": "172.30.0.0/16", "subnet6": "fd30::/64"}),
    (
        "overlays",
        {
            "name": "web",
            "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}],
            **UNDERLAY,
        },
    ),
    ("endpoints", {"network": "web", "sandbox": "box", "create": True, "ip": "10.50.0.11"}),
    (
        "ingress",
        {
            "subnets": [{"subnet": "10.255.0.0/24", "vni": 4096}, {"subnet": "fd55::/64"}],
            "address": "10.255.0.11",
            "address6": "fd55::11",
            **UNDERLAY,
            "legs": [{"sandbox": "box", **TASK}],
            "ports": [
                {"published": number, "target": 80, "protocol": protocol, "tasks": [TASK]}
                for protocol, number in PORTS
            ],
        },
    ),
]
RUN = """
import json, sys
sys.path[:0] = sys.argv[1:]
from tests.support import engine
print(json.dumps([getattr(engine, name)([item]).changed for name, item in json.load(sys.stdin)]))
"""


def converge(host: Host) -> list[bool]:
    """Which of the steps changed anything."""
    found: list[bool] = json.loads(host.run(sys.executable, "-c", RUN, BUILD, ROOT, text=json.dumps(STEPS)))
    return found


def test_ports_answer_through_reloads_of_firewalld() -> None:
    absent = [one for one in ("firewalld", "firewall-cmd", "dbus-daemon", "nft") if shutil.which(one) is None]
    if absent:
        pytest.skip(f"needs {', '.join(absent)}")
    with firewalled_host() as host:
        host.start("dbus-daemon", "--system", "--nofork", "--nopidfile")
        host.start_firewalld()
        assert converge(host) == [True] * 4
        inside = ("ip", "netns", "exec", "box", sys.executable, "-c", SERVER)
        host.hold(host._inside((*inside, json.dumps([["tcp", 80], ["udp", 80]]))))
        open_ = {f"{version} {protocol} {number}": True for version in (4, 6) for protocol, number in PORTS}
        # a new link has no use of IPv6 for a second
        wait_for(lambda: host.reach(STRANGER, *PORTS) == open_, "the ports")
        for how in ("--reload", "--complete-reload"):
            host.run("firewall-cmd", how)
            assert host.reach(STRANGER, *PORTS) == open_, how
        assert converge(host) == [False] * 4
        # and what firewalld keeps closed stays so
        assert not any(host.reach(STRANGER, ("tcp", 30050)).values())
