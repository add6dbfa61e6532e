# SPDX-License-Identifier: GPL-3.0-or-later
"""Beside a real dockerd: its containers join our networks, and nothing of its own is touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.errors import CollisionError, HostError

from tests.support import dockerd, engine
from tests.support.world import Host, world

pytestmark = [pytest.mark.root, pytest.mark.slow]
NETWORK = {"name": "web", "subnets": [{"subnet": "10.0.1.0/24", "vni": 4101}, {"subnet": "fd00:0:1::/64"}]}
BRIDGE = {"subnet": "172.30.0.0/16"}


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    reason = dockerd.missing()
    if reason:
        pytest.skip(reason)
    engine.warm()
    with world() as made, dockerd.running(made[1]):
        made[1].call(engine.overlays, [NETWORK], "merged", {"data_path_address": made[1].vtep})
        made[1].call(engine.gwbridges, [BRIDGE])
        yield made[1]


def dockers_own(host: Host) -> Any:
    """Links and nft or iptables rules that dockerd made."""
    links = [link for link in json.loads(host.run("ip", "-j", "link")) if link["ifname"].startswith("docker")]
    for link in links:
        link.pop("operstate", None)
        link["flags"] = sorted(set(link["flags"]) - {"LOWER_UP", "NO-CARRIER"})
    rules = [
        line.split(" [")[0] for line in host.run("iptables-save").splitlines() if not line.startswith("#")
    ]
    return links, rules


def run(host: Host, name: str, *options: str) -> None:
    host.run("docker", "run", "-d", "--name", name, *options, dockerd.IMAGE)


def addresses(host: Host, name: str) -> list[str]:
    return [
        word
        for word in host.run("docker", "exec", name, "ip", "addr").split()
        if "/" in word and word[0].isalnum() and not word.startswith("link/")
    ]


def test_container_joins_and_leaves(host: Host) -> None:
    run(host, "alone", "--network", "none")
    before = dockers_own(host)
    item = {"network": "web", "container": "alone", "ip": "10.0.1.20", "ip6": "fd00:0:1::20"}
    assert host.call(engine.endpoints, [item]).changed
    assert not host.call(engine.endpoints, [item]).changed
    assert {"10.0.1.20/24", "fd00:0:1::20/64", "172.30.0.2/16"} <= set(addresses(host, "alone"))
    for target in ("10.0.1.1", "fd00:0:1::1", host.vtep):
        assert " 0% packet loss" in host.run("docker", "exec", "alone", "ping", "-c1", "-W2", target)
    assert host.call(engine.endpoints, [item], "deleted").changed
    assert [one for one in addresses(host, "alone") if not one.startswith(("127.", "::1"))] == []
    assert "ve" not in host.run("ip", "-n", "xh-web", "-br", "link", "show", "type", "veth")
    assert dockers_own(host) == before


def test_container_that_starts_again_is_joined_again(host: Host) -> None:
    run(host, "again", "--network", "none")
    item = {"network": "web", "container": "again", "ip": "10.0.1.21"}
    host.call(engine.endpoints, [item])
    host.run("docker", "restart", "-t", "0", "again")
    assert host.call(engine.endpoints, [item]).changed
    assert "10.0.1.21/24" in addresses(host, "again")
    assert not host.call(engine.endpoints, [item]).changed
    host.call(engine.endpoints, [item], "deleted")


def test_container_on_dockers_bridge_keeps_its_default_route(host: Host) -> None:
    run(host, "bridged")
    own = dockerd_default(host, "bridged")
    item = {"network": "web", "container": "bridged", "ip": "10.0.1.22"}
    with pytest.raises(CollisionError, match=r"default route over eth0 .* default_route: false"):
        host.call(engine.endpoints, [item])
    item["default_route"] = False  # type: ignore[assignment]
    host.call(engine.endpoints, [item])
    assert "eth1" in host.run("docker", "exec", "bridged", "ip", "-o", "addr", "show", "to", "10.0.1.22")
    assert dockerd_default(host, "bridged") == own
    host.call(engine.endpoints, [item], "deleted")


def dockerd_default(host: Host, name: str) -> str:
    routes = host.run("docker", "exec", name, "ip", "route").splitlines()
    return next(line for line in routes if line.startswith("default"))


def test_container_that_cannot_be_joined(host: Host) -> None:
    run(host, "stopped", "--network", "none")
    host.run("docker", "stop", "-t", "0", "stopped")
    run(host, "shares", "--network", "host")
    for name, reason in (
        ("stopped", "not running"),
        ("nowhere", "start it first"),
        ("shares", "shares the host's own"),
    ):
        with pytest.raises(HostError, match=reason) as caught:
            host.call(engine.endpoints, [{"network": "web", "container": name, "ip": "10.0.1.23"}])
        assert "\n" not in str(caught.value)


def test_a_containers_resolv_conf_is_written_in_place_and_comes_back(host: Host) -> None:
    """The engine goes on to use the same file; one that is mounted read-only is seen beforehand."""
    run(host, "asks", "--network", "none", "--dns", "192.0.2.1", "--dns-search", "corp.example")
    before = host.run("docker", "exec", "asks", "cat", "/etc/resolv.conf")
    pid = int(host.run("docker", "inspect", "--format", "{{.State.Pid}}", "asks"))
    assert host.call(engine.resolv_conf, pid, "10.0.1.1") == ""
    told = host.run("docker", "exec", "asks", "cat", "/etc/resolv.conf")
    assert "\nsearch corp.example\nnameserver 10.0.1.1\noptions ndots:0\n" in told
    assert host.call(engine.resolv_conf, pid, "") == ""
    assert host.run("docker", "exec", "asks", "cat", "/etc/resolv.conf") == before
    run(host, "firm", "--network", "none", "--read-only", "--dns", "192.0.2.1")
    pid = int(host.run("docker", "inspect", "--format", "{{.State.Pid}}", "firm"))
    assert "Read-only" in host.call(engine.resolv_conf, pid, "10.0.1.1")


@pytest.mark.parametrize("name", ["docker0", "docker_gwbridge"])
def test_bridge_that_dockerd_made_is_refused(host: Host, name: str) -> None:
    if name == "docker_gwbridge":
        option = f"com.docker.network.bridge.name={name}"
        host.run("docker", "network", "create", "-o", option, "--subnet", "172.29.0.0/16", name)
    before = dockers_own(host)
    with pytest.raises(CollisionError, match=rf"gwbridge {name}: .*dockerd made"):
        host.call(engine.gwbridges, [{"name": name, "subnet": "10.11.0.0/16"}])
    assert dockers_own(host) == before
