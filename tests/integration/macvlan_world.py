# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts that are namespaces on one switch, for the tests of macvlan networks: fixtures, and what the tests ask."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.converge import Outcome
from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError

from tests.support import engine, eye
from tests.support.child import CLONE_NEWNET, call, enter
from tests.support.world import Host, World, command, world

Config = list[dict[str, Any]]
LAN: dict[str, Any] = {
    "name": "lan",
    "parent": "eth1",
    "subnets": [{"subnet": "10.98.0.0/24", "gateway": "10.98.0.254", "ip_range": "10.98.0.128/25"}, {"subnet": "fd98::/64"}],
}  # fmt: skip
SHIM = {**LAN, "host_range": ["10.98.0.128/28"], "shim": "10.98.0.128", "shim6": "fd98::128"}
FAR = "203.0.113.1"  # behind the LAN's router


@pytest.fixture(scope="module")
def hosts() -> Iterator[World]:
    engine.warm()
    with world(2) as made:
        on_switch(
            made,
            "addr add 10.98.0.254/24 dev sw0",
            f"addr add {FAR}/32 dev lo",
            "link set lo up",
        )
        yield made


@pytest.fixture
def made(hosts: World) -> Iterator[World]:
    was = {host.name: host.call(eye.snapshot) for host in hosts.hosts}
    yield hosts
    for host in hosts.hosts:
        host.call(engine.endpoints, [], "overridden")
        host.call(engine.macvlans, [], "overridden")
        host.run("ip", "neigh", "flush", "dev", "eth1")  # the next test's addresses have other MACs
        assert host.call(eye.snapshot) == was[host.name], "something is left behind"


def on_switch(made: World, *lines: str) -> None:
    def run() -> None:
        enter([(made.switch, CLONE_NEWNET)])
        for line in lines:
            command(["bridge" if line.startswith("link set dev") else "ip", *line.split()])

    call(run)


def box(sandbox: str, network: str = "lan", **more: Any) -> dict[str, Any]:
    return {"network": network, "sandbox": sandbox, "create": True, **more}


def settled(host: Host, work: Any, config: Config, state: str = "merged") -> Outcome:
    """Check mode tells what the run does, and a second run does nothing."""
    was = host.call(eye.snapshot)
    told = host.call(work, config, state, True)
    assert host.call(eye.snapshot) == was, "check mode wrote something"
    done = host.call(work, config, state)
    assert told == done
    again = host.call(work, config, state)
    assert not again.changed, again.commands
    return done


def pings(host: Host, target: str, sandbox: str = "", tries: int = 3) -> bool:
    inside = ["ip", "netns", "exec", sandbox] if sandbox else []
    return bool(host.call(succeeds, [*inside, "ping", "-c1", "-W1", target], tries))


def silent(host: Host, target: str, sandbox: str = "") -> bool:
    return not pings(host, target, sandbox, tries=1)


def succeeds(argv: list[str], tries: int) -> bool:
    return any(
        subprocess.run(argv, capture_output=True, check=False).returncode == 0 for _try in range(tries)
    )


def links(host: Host, sandbox: str = "") -> dict[str, dict[str, Any]]:
    """The devices as iproute2 shows them, by name."""
    place = ["-n", sandbox] if sandbox else []
    found = json.loads(host.run("ip", *place, "-j", "-d", "link"))
    return {link["ifname"]: link for link in found}


def routes(host: Host) -> dict[str, str]:
    """Destinations with their devices."""
    found = json.loads(host.run("ip", "-j", "route")) + json.loads(host.run("ip", "-6", "-j", "route"))
    return {route["dst"]: route["dev"] for route in found if not route["dst"].startswith("fe80")}


def refused(host: Host, work: Any, config: Config, state: str = "merged") -> str:
    """The line with which it is refused; the host is as it was."""
    was = host.call(eye.snapshot)

    def run() -> str:
        with pytest.raises(CrosshostError) as caught:
            work(config, state)
        return str(caught.value)

    line = str(host.call(run))
    assert host.call(eye.snapshot) == was
    return line
