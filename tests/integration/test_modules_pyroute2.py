# SPDX-License-Identifier: GPL-3.0-or-later
"""The same networks with both releases of pyroute2: Debian 12's on the lab's hosts, and the newest here, on hosts that are
namespaces of this machine."""

from __future__ import annotations

import importlib.metadata
import subprocess

import pytest

from tests import checker
from tests.integration.lab_run import Lab, declare, session_lab  # noqa: F401
from tests.support import engine
from tests.support.world import world

NETWORKS = [
    {"name": "web", "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}, {"subnet": "fd50::/64"}]},
    {"name": "open", "control_plane": "flood", "subnets": [{"subnet": "10.51.0.0/24", "vni": 5001}]},
    {
        "name": "cast",
        "control_plane": "multicast",
        "multicast_group": "239.1.1.1",
        "subnets": [{"subnet": "10.52.0.0/24", "vni": 5002}],
    },
]
ENDS = [
    {"host": host, "network": network, "sandbox": "box", "create": True, "ip": f"{block}.1{host[1:]}", **more}
    for host in ("h1", "h2")
    for network, block, more in (
        ("web", "10.50.0", {"ip6": f"fd50::1{host[1:]}"}),
        ("open", "10.51.0", {}),
        ("cast", "10.52.0", {}),
    )
]
HOSTS = declare(NETWORKS, ENDS, [{"subnet": "172.30.0.0/16", "subnet6": "fd30::/64"}])
TARGETS = ("10.50.0.12", "fd50::12", "10.51.0.12", "10.52.0.12")


@pytest.mark.lab
@pytest.mark.slow
def test_the_labs_hosts_have_debians_release(session_lab: Lab) -> None:
    """All other tests of the modules run with it."""
    ask = "from importlib import metadata; print(metadata.version('pyroute2'))"
    for host in HOSTS:
        assert session_lab.run(host, "/usr/bin/python3", "-c", ask) == "0.7.2\n"


@pytest.mark.root
def test_the_newest_release_on_this_machine() -> None:
    assert importlib.metadata.version("pyroute2").startswith("0.9.")
    engine.warm()
    with world(hosts=2) as made:
        hosts = {"h1": made[1], "h2": made[2]}
        for name, host in hosts.items():
            assert host.call(engine.everything, HOSTS[name]) == [True, True, True]
        for name, host in hosts.items():
            assert host.call(engine.everything, HOSTS[name]) == [False, False, False]
            assert host.call(checker.check, HOSTS[name]) == []
        assert hosts["h1"].call(silent, TARGETS) == []


def silent(targets: tuple[str, ...]) -> list[str]:
    """The targets that do not answer the sandbox ``box`` of the host in which this runs."""
    argv = ["ip", "netns", "exec", "box", "ping", "-c1", "-W3"]
    children = {one: subprocess.Popen([*argv, one], stdout=subprocess.DEVNULL) for one in targets}
    return [one for one, child in children.items() if child.wait(30) != 0]
