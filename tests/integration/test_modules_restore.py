# SPDX-License-Identifier: GPL-3.0-or-later
"""host_restore: what was applied is there again after a reboot, and traffic flows; and the host's own command."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.integration.lab_run import Lab, declare, lab, session_lab, step  # noqa: F401

pytestmark = [pytest.mark.lab, pytest.mark.slow]
FILES = ["/usr/local/bin/crosshost", "/etc/systemd/system/crosshost-restore.service"]
GWBRIDGE = {"subnet": "172.30.0.0/16", "subnet6": "fd30::/64"}
NETWORKS = [
    {"name": "web", "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}, {"subnet": "fd50::/64"}]},
    {"name": "open", "control_plane": "flood", "subnets": [{"subnet": "10.51.0.0/24", "vni": 5001}]},
]
ENDS = [
    {"host": host, "network": network, "sandbox": "box", "create": True, "ip": f"{block}.1{host[1:]}", **more}
    for host in ("h1", "h2")
    for network, block, more in (("web", "10.50.0", {"ip6": f"fd50::1{host[1:]}"}), ("open", "10.51.0", {}))
]


def crosshost(lab: Lab, *arguments: str, host: str = "h2") -> tuple[int, str, str]:
    """The host's own command: exit code, output, errors."""
    argv = lab.argv(host, "crosshost", *arguments)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_networks_are_back_after_a_reboot(lab: Lab) -> None:
    hosts = declare(NETWORKS, ENDS, [GWBRIDGE])
    lab.converge(hosts)
    install = step("h2", "host_restore")
    checked, done, again = (
        found["h2"]
        for found in lab.play(step("h2", "host_restore", check_mode=True, diff=True), install, install)
    )
    assert checked["changed"] and done["changed"] and checked["files"] == done["files"]
    assert set(FILES) < set(done["files"]) and "/usr/local/bin/crosshost" in checked["diff"]["after"]
    assert (again["changed"], again["files"]) == (False, [])
    assert crosshost(lab, "status")[0] == 0
    lab.program("reboot", "h2")
    lab.find()
    assert lab.run("h2", "systemctl", "is-active", "crosshost-restore").strip() == "active"
    lab.check(hosts)
    ways = [("h1/box", target) for target in ("10.50.0.12", "fd50::12", "10.51.0.12")]
    ways += [("h2/box", target) for target in ("10.50.0.11", "fd50::11", "10.51.0.11", "203.0.113.10")]
    lab.reach(*ways)
    code, said, _errors = crosshost(lab, "status")
    assert code == 0 and "drift" not in said and "network  web" in said and "10.50.0.12/24" in said
    before = lab.picture("h2")
    assert crosshost(lab, "restore") == (0, "", "")
    assert lab.picture("h2") == before  # nothing to do
    remove = step("h2", "host_restore", {"state": "absent"})
    checked, done, again = (
        found["h2"]
        for found in lab.play(
            step("h2", "host_restore", {"state": "absent"}, check_mode=True), remove, remove
        )
    )
    assert checked["files"] == done["files"] and done["changed"] and not again["changed"]
    left = lab.run("h2", "find", "/usr/local", "/etc/systemd", "-name", "*crosshost*")
    assert left == ""
    assert lab.picture("h2") == before  # the networks stay


def test_the_commands_exit_codes(lab: Lab) -> None:
    """0 as recorded, 1 drifted, 2 a wrong command line; and what cannot be restored is told, and keeps nobody else waiting."""
    hosts = declare(NETWORKS, ENDS, [GWBRIDGE])
    lab.play(step("h1", "host_restore"))
    lab.converge({"h1": hosts["h1"]})
    try:
        assert crosshost(lab, "status", host="h1")[0] == 0
        assert json.loads(crosshost(lab, "status", "--json", host="h1")[1])["drifted"] is False
        lab.script("h1", "ip netns del box; ip -n xh-open link del vx5001")
        code, said, _errors = crosshost(lab, "status", host="h1")
        assert (
            code == 1
            and "drift    ip link add vx5001" in said
            and "endpoint web/box              missing" in said
        )
        assert json.loads(crosshost(lab, "status", "--json", host="h1")[1])["drifted"] is True
        assert crosshost(lab, "restore", host="h1") == (0, "", "")
        assert crosshost(lab, "status", host="h1")[0] == 0
        lab.check({"h1": hosts["h1"]})
        for wrong in ((), ("restart",), ("restore", "--wait", "soon")):
            assert crosshost(lab, *wrong, host="h1")[0] == 2
        # an address that the host no longer has: told in one line, and the rest is restored
        lab.script("h1", "ip addr del 10.98.0.1/24 dev eth1; ip netns del box")
        try:
            code, said, errors = crosshost(lab, "restore", host="h1")
            assert code == 1 and "10.98.0.1" in errors and "Traceback" not in errors
            assert "it is not an address of this host" in errors
            code, said, _errors = crosshost(lab, "status", host="h1")
            assert code == 1 and "error    overlay_network web: data_path_address '10.98.0.1'" in said
        finally:
            lab.run("h1", "ip", "addr", "add", "10.98.0.1/24", "dev", "eth1")
        assert crosshost(lab, "restore", "--wait", "5", host="h1") == (0, "", "")
        lab.check({"h1": hosts["h1"]})
    finally:
        lab.play(step("h1", "host_restore", {"state": "absent"}))
