# SPDX-License-Identifier: GPL-3.0-or-later
"""Macvlan networks that are refused: by the state of the host, by what others have on the parent, by what the kernel lacks. The
host is then as it was."""

from __future__ import annotations

import pytest

from tests.integration.macvlan_world import LAN, SHIM, box, hosts, links, made, refused, settled, succeeds  # noqa: F401
from tests.support import engine
from tests.support.world import World, container

pytestmark = pytest.mark.root


def test_parents_that_cannot_carry_a_network(made: World) -> None:
    one = made[1]
    one.batch(
        "link add down0 type veth peer name down1\nlink add mv0 link eth1 type macvlan mode bridge\nlink set mv0 up\n"
    )
    try:
        for change, words in (
            ({"parent": "eth9"}, ["macvlan lan", "parent 'eth9'", "no interface eth9"]),
            ({"parent": "eth9.10"}, ["parent 'eth9.10'", "no interface eth9"]),
            ({"parent": "down0"}, ["parent 'down0'", "down", "ip link set down0 up"]),
            ({"parent": "down0.10"}, ["parent 'down0.10'", "down0 is down"]),
            ({"parent": "mv0"}, ["parent 'mv0'", "macvlan itself", "name eth1"]),
            ({"mtu": 1501}, ["mtu 1501", "eth1 passes 1500"]),
            ({"driver": "ipvlan"}, ["parent 'eth1'", "mv0 on the host is macvlan", "driver macvlan"]),
            ({"mode": "passthru"}, ["parent 'eth1'", "mv0 on the host", "passthru needs the device"]),
        ):
            line = refused(one, engine.macvlans, [{**LAN, **change}])
            for word in words:
                assert word in line, line
    finally:
        one.batch("link del down0\nlink del mv0\n")


def test_other_peoples_children_in_other_namespaces(made: World) -> None:
    one = made[1]
    one.run("ip", "netns", "add", "theirs")
    one.run(
        "ip", "link", "add", "mv0", "link", "eth1", "netns", "theirs", "type", "macvlan", "mode", "passthru"
    )
    try:
        line = refused(one, engine.macvlans, [LAN])
        assert "mv0 in the namespace theirs is macvlan in mode passthru" in line
        # one on a device of that namespace that happens to have the same number is none of ours
        one.run("ip", "-n", "theirs", "link", "del", "mv0")
        index = links(one)["eth1"]["ifindex"]
        one.run(
            "ip",
            "-n",
            "theirs",
            "link",
            "add",
            "v0",
            "index",
            str(index),
            "type",
            "veth",
            "peer",
            "name",
            "v1",
        )
        one.run(
            "ip", "-n", "theirs", "link", "add", "mv0", "link", "v0", "type", "macvlan", "mode", "passthru"
        )
        settled(one, engine.macvlans, [LAN])
        one.call(engine.macvlans, [], "deleted")
    finally:
        one.run("ip", "netns", "del", "theirs")


def test_what_nobody_sees_is_undone(made: World) -> None:
    """A child in a namespace without a name: only the kernel knows, and says so too late."""
    one = made[1]
    with container(one) as pid:
        one.run(
            "ip",
            "link",
            "add",
            "mv0",
            "link",
            "eth1",
            "netns",
            str(pid),
            "type",
            "macvlan",
            "mode",
            "passthru",
        )
        line = refused(one, engine.macvlans, [SHIM])
        assert "something else holds eth1" in line and "everything done before it was undone" in line
        settled(one, engine.macvlans, [LAN])
        line = refused(one, engine.endpoints, [box("a", ip="10.98.0.21")])
        assert "something else holds eth1" in line
        one.call(engine.macvlans, [], "deleted")
        one.run("nsenter", f"--net=/proc/{pid}/ns/net", "ip", "link", "del", "mv0")


KINDS = {
    "8021q": ({**LAN, "parent": "eth1.10"}, ("link", "eth1", "name", "probe", "type", "vlan", "id", "7")),
    "dummy": ({"name": "lan", "subnets": [{"subnet": "10.97.0.0/24"}]}, ("name", "probe", "type", "dummy")),
    "ipvlan": ({**LAN, "driver": "ipvlan", "shim": "10.98.0.9"}, ("link", "eth1", "name", "probe", "type", "ipvlan")),
}  # fmt: skip


@pytest.mark.parametrize("module", KINDS)
def test_a_kernel_that_lacks_a_module(made: World, module: str) -> None:
    one = made[1]
    declared, words = KINDS[module]
    if one.call(succeeds, ["ip", "link", "add", *words], 1):
        one.run("ip", "link", "del", "probe")
        pytest.skip(f"this machine's kernel has {module}; test_vm_networks.py uses it")
    line = refused(one, engine.macvlans, [declared])
    assert f"this host's kernel lacks the module {module}" in line
    assert "everything done before it was undone" in line


def test_names_and_addresses_that_are_taken(made: World) -> None:
    one = made[1]
    one.call(engine.overlays, [{"name": "web", "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}]}], "merged", {"data_path_interface": "eth1"})  # fmt: skip
    try:
        for change, words in (
            ({"name": "web"}, ["macvlan web", "overlay_network web", "share their names"]),
            ({"subnets": [{"subnet": "10.50.0.0/16"}]}, ["10.50.0.0/24", "overlaps"]),
            ({"shim": "10.98.0.1"}, ["shim '10.98.0.1'", "eth1 of this host has that address"]),
            ({"shim": "10.98.0.9", "host_range": "10.98.0.0/24", "subnets": [{"subnet": "10.98.0.0/24"}]}, ["host_range '10.98.0.0/24'", "route over eth1"]),
        ):  # fmt: skip
            line = refused(one, engine.macvlans, [{**LAN, **change}])
            for word in words:
                assert word in line, line
        settled(one, engine.macvlans, [LAN])
        settled(one, engine.endpoints, [box("a", ip="10.98.0.21")])
        line = refused(one, engine.macvlans, [{"name": "lan", "shim": "10.98.0.21"}])
        assert "an endpoint of the network has that address" in line
        settled(one, engine.macvlans, [{"name": "lan", "shim": "10.98.0.20"}])
        assert "shim" in refused(one, engine.endpoints, [box("b", ip="10.98.0.20")])
    finally:
        one.call(engine.endpoints, [], "overridden")
        one.call(engine.macvlans, [], "overridden")
        one.call(engine.overlays, [], "overridden")
