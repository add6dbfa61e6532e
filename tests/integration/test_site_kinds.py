# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks with networks of every driver, services, names and the ingress network: there, gone, and never in between."""

from __future__ import annotations

import difflib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.lab_run import HOSTS
from tests.integration.labs import SiteLab, site_lab, site_session  # noqa: F401 - fixtures

pytestmark = [pytest.mark.lab, pytest.mark.slow]
NUMBER = "{{ inventory_hostname[1:] }}"
FEW: dict[str, Any] = {
    "crosshost_networks": [
        {"name": "web", "subnets": [{"subnet": "10.20.1.0/24", "vni": 7101}, {"subnet": "fd20:1::/64"}]}
    ],
    "crosshost_gwbridge": {"subnet": "172.30.0.0/16", "subnet6": "fd30::/64"},
    "crosshost_dns": {"enabled": False},
    "crosshost_endpoints": [
        {
            "network": "web",
            "sandbox": "app",
            "create": True,
            "ip": f"10.20.1.1{NUMBER}",
            "ip6": f"fd20:1::1{NUMBER}",
        }
    ],
}
ALL: dict[str, Any] = {
    **FEW,
    "crosshost_dns": {},
    "crosshost_bridge_networks": [{"name": "front", "subnets": [{"subnet": "10.30.0.0/24"}]}],
    # the data path's LAN is one as well as any
    "crosshost_macvlan_networks": [
        {
            "name": "lan",
            "parent": "eth1",
            "subnets": [{"subnet": "10.98.0.0/24", "ip_range": "10.98.0.128/25"}],
            "shim": True,
        }
    ],
    "crosshost_endpoints": [
        *FEW["crosshost_endpoints"],
        {"host": "h1", "network": "front", "sandbox": "box", "create": True, "publish": ["8081:80"]},
        {"host": "h2", "network": "lan", "sandbox": "cam", "create": True},
        {"host": "h3", "network": "lan", "sandbox": "cam", "create": True},
    ],
    "crosshost_services": [
        {"name": "api", "network": "web", "vip": "10.20.1.100", "tasks": ["app"], "ports": ["8080:80"]},
        {
            "name": "near",
            "network": "web",
            "mode": "dnsrr",
            "tasks": ["app"],
            "ports": [{"published": 8090, "target": 80, "mode": "host"}],
        },
    ],
    "crosshost_ingress": {"subnets": [{"subnet": "10.99.0.0/24", "vni": 7000}, {"subnet": "fd99::/64"}]},
}
# host_check, host_restore, firewall_ports, gwbridge, overlay_network, endpoint; and those of every other kind
CALLS_FEW, CALLS_ALL = 6, 11
SERVE = """
nohup ip netns exec app python3 -c 'import socket
s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(("0.0.0.0", 80)); s.listen(50)
while True:
    c, a = s.accept(); c.send(b"%s " + a[0].encode()); c.close()' >/dev/null 2>&1 </dev/null &
echo $! >> /run/t-pids
"""
ASK = """
import socket, sys
for _ in range(int(sys.argv[3])):
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as s:
        print(s.recv(99).decode())
"""


def asked(lab: SiteLab, place: str, address: str, port: int, times: int = 20) -> list[list[str]]:
    """Who answers, and whom it saw, each time."""
    host, _, sandbox = place.partition("/")
    argv = ["ip", "netns", "exec", sandbox] if sandbox else []
    said = lab.program("exec", host, *argv, "python3", "-c", ASK, address, str(port), str(times))
    return [line.split() for line in said.splitlines()]


def differences(before: Any, after: Any) -> list[str]:
    """Lines that only one of two pictures has."""
    sides = (json.dumps(side, indent=0).splitlines() for side in (before, after))
    return [line for line in difflib.ndiff(*sides) if line[:1] in ("+", "-")]


def left(lab: SiteLab, host: str) -> str:
    """What every kind but those of FEW leaves on a host."""
    return lab.script(
        host,
        "set +e; ls /run/netns | grep -v -e '^app$' -e '^xh-web$';"
        "ls /sys/class/net | grep -E '^(xb-|xs|vl)';"
        "nft list ruleset | grep -oE '(chain|map) (bridge|publish|service|ingress|names)[^ ]*';"
        "ls /etc/netns /run/crosshost/dns 2>/dev/null; systemctl list-units --no-legend 'crosshost-dns*'; true",
    )


def test_every_kind_is_made_and_taken_away_again(site_lab: SiteLab, tmp_path: Path) -> None:
    clean = [site_lab.picture(host) for host in HOSTS]
    first = site_lab.playbook("site.yml", ALL, tmp_path)
    assert first.code == 0, first.text
    second = site_lab.playbook("site.yml", ALL, tmp_path, "-vvv")
    assert second.changed() == dict.fromkeys(HOSTS, 0), second.text
    assert dict(second.calls) == dict.fromkeys(HOSTS, CALLS_ALL)
    for host in HOSTS:
        site_lab.script(host, SERVE % host)
    assert {host for host, _seen in asked(site_lab, "h1/app", "10.20.1.100", 80)} == set(HOSTS)
    assert {host for host, _seen in asked(site_lab, "outside", "10.97.0.2", 8080)} == set(HOSTS)
    assert asked(site_lab, "outside", "10.97.0.3", 8090, times=1) == [["h3", "203.0.113.10"]]
    for host in HOSTS:
        site_lab.script(host, "kill $(cat /run/t-pids); rm /run/t-pids")
    before = [site_lab.picture(host) for host in HOSTS]
    shown = site_lab.playbook("teardown.yml", ALL, tmp_path, "--check")
    assert shown.code == 0, shown.text
    assert differences(before, [site_lab.picture(host) for host in HOSTS]) == []
    done = site_lab.playbook("teardown.yml", ALL, tmp_path)
    assert done.code == 0, done.text
    assert shown.changed() == done.changed()
    for host in HOSTS:
        site_lab.script(
            host, "echo 0 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv6/conf/all/forwarding"
        )
    deadline = time.monotonic() + 20  # the kernel takes namespaces down in its own time
    while differences(clean, now := [site_lab.picture(host) for host in HOSTS]):
        assert time.monotonic() < deadline, differences(clean, now)
        time.sleep(1)


def test_what_is_declared_no_more_goes_and_then_costs_no_call(site_lab: SiteLab, tmp_path: Path) -> None:
    assert site_lab.playbook("site.yml", ALL, tmp_path).code == 0
    assert all(left(site_lab, host) for host in HOSTS)
    run = site_lab.playbook("site.yml", FEW, tmp_path)
    assert run.code == 0, run.text
    assert [left(site_lab, host) for host in HOSTS] == [""] * 3
    again = site_lab.playbook("site.yml", FEW, tmp_path, "-vvv")
    assert again.changed() == dict.fromkeys(HOSTS, 0), again.text
    assert dict(again.calls) == dict.fromkeys(HOSTS, CALLS_FEW)
    site_lab.reach(("h1/app", "10.20.1.12"), ("h3/app", "fd20:1::11"))
