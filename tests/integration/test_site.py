# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks against three hosts: from an inventory to traffic, and back to nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.integration.lab_run import HOSTS
from tests.integration.labs import SiteLab, site_lab, site_session  # noqa: F401 - fixtures

pytestmark = [pytest.mark.lab, pytest.mark.slow]
CLUSTER: dict[str, Any] = {
    "crosshost_networks": [
        {"name": "web", "subnets": [{"subnet": "10.20.1.0/24", "vni": 7101}, {"subnet": "fd20:1::/64"}]},
        {
            "name": "db",
            "subnets": [{"subnet": "10.20.2.0/24", "vni": 7102}],
            "internal": True,
            "hosts": ["h1", "h2"],
        },
    ],
    "crosshost_gwbridge": {"subnet": "172.30.0.0/16", "subnet6": "fd30::/64"},
    "crosshost_endpoints": [
        # one for each host, as the list is the group's
        {
            "network": "web",
            "sandbox": "app",
            "create": True,
            "ip": "10.20.1.1{{ inventory_hostname[1:] }}",
            "ip6": "fd20:1::1{{ inventory_hostname[1:] }}",
        },
        {"host": "h1", "network": "db", "sandbox": "app", "ip": "10.20.2.11", "interface": "db0"},
        {"host": "h2", "network": "db", "sandbox": "app", "ip": "10.20.2.12", "interface": "db0"},
    ],
}
MOST_CALLS = 8
OUTSIDE = ("203.0.113.10", "2001:db8:113::10")


def pictures(lab: SiteLab) -> list[Any]:
    return [lab.picture(host) for host in HOSTS]


def test_site_carries_traffic_and_a_second_run_changes_nothing(site_lab: SiteLab, tmp_path: Path) -> None:
    first = site_lab.playbook("site.yml", CLUSTER, tmp_path)
    assert first.code == 0, first.text
    assert all(count == 6 for count in first.changed().values()), first.text
    site_lab.reach(
        ("h1/app", "10.20.1.12"),
        ("h2/app", "10.20.1.13"),
        ("h3/app", "10.20.1.11"),
        ("h1/app", "fd20:1::12"),
        ("h2/app", "fd20:1::13"),
        ("h3/app", "fd20:1::11"),
        ("h1/app", "10.20.2.12"),
        *((f"{host}/app", address) for host in HOSTS for address in OUTSIDE),
    )
    assert "xh-db" not in site_lab.script("h3", "ls /run/netns").split()
    before = pictures(site_lab)
    second = site_lab.playbook("crosshost.network.site", CLUSTER, tmp_path, "-vvv")
    assert second.code == 0, second.text
    assert second.changed() == dict.fromkeys(HOSTS, 0), second.text
    assert set(second.calls) == set(HOSTS)
    assert max(second.calls.values()) <= MOST_CALLS
    assert pictures(site_lab) == before


def test_check_mode_shows_an_edit_and_alters_nothing(site_lab: SiteLab, tmp_path: Path) -> None:
    assert site_lab.playbook("site.yml", CLUSTER, tmp_path).code == 0
    before = pictures(site_lab)
    edited = copy.deepcopy(CLUSTER)
    edited["crosshost_endpoints"][1]["ip"] = "10.20.2.99"
    shown = site_lab.playbook("site.yml", edited, tmp_path, "--check", "--diff")
    assert shown.code == 0, shown.text
    assert "+xh-db: vx7102: neighbour 10.20.2.99 is 02:42:0a:14:02:63" in shown.text
    assert "-app: db0: address 10.20.2.11/24" in shown.text
    assert shown.changed() == {"h1": 2, "h2": 2, "h3": 0}
    assert pictures(site_lab) == before
    done = site_lab.playbook("site.yml", edited, tmp_path, "--diff")
    assert done.changed() == {"h1": 2, "h2": 2, "h3": 0}, done.text
    site_lab.reach(("h2/app", "10.20.2.99"))


def test_check_mode_on_new_hosts_predicts_what_the_run_does(site_lab: SiteLab, tmp_path: Path) -> None:
    before = pictures(site_lab)
    shown = site_lab.playbook("site.yml", CLUSTER, tmp_path, "--check", "--diff")
    assert shown.code == 0, shown.text
    assert pictures(site_lab) == before
    done = site_lab.playbook("site.yml", CLUSTER, tmp_path, "--diff")
    assert shown.changed() == done.changed() == dict.fromkeys(HOSTS, 5)
    lines = [
        sorted(line for line in run.text.splitlines() if line[:1] in ("+", "-")) for run in (shown, done)
    ]
    assert lines[0] == lines[1]


def test_a_mistake_is_found_before_any_host_is_touched(site_lab: SiteLab, tmp_path: Path) -> None:
    before = pictures(site_lab)
    wrong = copy.deepcopy(CLUSTER)
    wrong["crosshost_endpoints"][2]["ip"] = "10.20.2.11"
    run = site_lab.playbook("site.yml", wrong, tmp_path)
    assert run.code != 0
    assert run.changed() == dict.fromkeys(HOSTS, 0)
    assert "endpoint db/app on host h2" in " ".join(run.text.split())
    assert pictures(site_lab) == before


def test_one_host_alone_knows_all_peers(site_lab: SiteLab, tmp_path: Path) -> None:
    run = site_lab.playbook("site.yml", CLUSTER, tmp_path, "--limit", "h1")
    assert run.code == 0, run.text
    assert set(run.recap) == {"h1"}
    rows = site_lab.script("h1", "bridge -n xh-web fdb show dev vx7101")
    assert "dst 10.98.0.2" in rows and "dst 10.98.0.3" in rows
    assert site_lab.script("h2", "ls /run/netns 2>/dev/null || true") == ""


def test_addresses_are_found_by_the_interface(site_lab: SiteLab, tmp_path: Path) -> None:
    found = {**CLUSTER, "crosshost_data_path_interface": "eth1"}
    run = site_lab.playbook("site.yml", found, tmp_path, "-e", '{"crosshost_vtep": null}')
    assert run.code == 0, run.text
    site_lab.reach(("h1/app", "10.20.1.12"), ("h3/app", "fd20:1::11"))
    alone = site_lab.playbook("site.yml", found, tmp_path, "-e", '{"crosshost_vtep": null}', "--limit", "h1")
    assert alone.code != 0
    assert "set crosshost_vtep" in " ".join(alone.text.split())


def test_a_host_that_lacks_a_program_is_told_so(site_lab: SiteLab, tmp_path: Path) -> None:
    site_lab.script("h2", "mv /usr/sbin/nft /usr/sbin/nft.away")
    try:
        run = site_lab.playbook("site.yml", CLUSTER, tmp_path, "-e", "crosshost_install_packages=false")
        assert run.recap["h2"]["failed"] == 1 and run.recap["h2"]["changed"] == 0, run.text
        assert "install nftables" in " ".join(run.text.split())
        assert run.recap["h1"]["failed"] == 0
        checked = site_lab.playbook("site.yml", CLUSTER, tmp_path, "--check", "--limit", "h2")
        assert checked.code == 0, checked.text
        assert "once these packages are there" in " ".join(checked.text.split())
    finally:
        site_lab.script("h2", "mv /usr/sbin/nft.away /usr/sbin/nft")


def test_teardown_leaves_nothing(site_lab: SiteLab, tmp_path: Path) -> None:
    before = pictures(site_lab)
    assert site_lab.playbook("site.yml", CLUSTER, tmp_path).code == 0
    run = site_lab.playbook("teardown.yml", CLUSTER, tmp_path)
    assert run.code == 0, run.text
    for host in HOSTS:
        site_lab.script(
            host, "echo 0 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv6/conf/all/forwarding"
        )
        left = site_lab.script(
            host,
            "ls /run/netns; nft list ruleset; ls -d /var/lib/crosshost /run/crosshost.lock; true",
            check=False,
        )
        assert left == ""
        files = site_lab.script(host, "find /etc/systemd /run/systemd/system -name 'crosshost*'; true")
        assert files == ""
    assert pictures(site_lab) == before
    again = site_lab.playbook("teardown.yml", CLUSTER, tmp_path)
    assert again.code == 0, again.text
