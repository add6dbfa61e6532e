# SPDX-License-Identifier: GPL-3.0-or-later
"""Overlay networks on hosts that are namespaces: converged, repaired, refused; and traffic between two of them."""

from __future__ import annotations

import copy
import errno
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils import record
from ansible_collections.crosshost.network.plugins.module_utils.errors import (
    CollisionError,
    CrosshostError,
    HostError,
    SpecError,
)

from tests import checker
from tests.support import engine, eye
from tests.support.scenarios import CHANGED, DEFAULTS, ENDS, GWBRIDGE, THREE, declared
from tests.support.world import Host, container, world

pytestmark = pytest.mark.root
ONE = [{"name": "web", "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}]}]
NOTHING = declared([])


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    engine.warm()
    with world() as made:
        yield made[1]


@pytest.fixture
def host(shared: Host) -> Iterator[Host]:
    yield shared
    shared.call(engine.everything, NOTHING)


def test_converging_twice_changes_once_and_check_mode_tells_the_truth(host: Host) -> None:
    was = host.call(eye.snapshot)
    checked = host.call(engine.overlays, THREE, "merged", DEFAULTS, True)
    assert host.call(eye.snapshot) == was, "check mode wrote something"
    done = host.call(engine.overlays, THREE, "merged", DEFAULTS)
    assert checked == done
    assert done.changed
    assert host.call(checker.check, declared(THREE)) == []
    again = host.call(engine.overlays, THREE, "merged", DEFAULTS)
    assert (again.changed, again.commands, again.diff) == (False, [], {"before": "", "after": ""})


def test_states_do_what_they_say(host: Host) -> None:
    def run(config: list[dict[str, Any]], state: str) -> list[str]:
        engine.overlays(config, state, DEFAULTS)
        return sorted(item["name"] for item in engine.overlays([], "gathered").after)

    assert host.call(run, THREE, "merged") == ["cast", "open", "web"]
    extra = [{"name": "web", "endpoints": [{"ip": "10.50.0.99", "vtep": "10.98.0.3"}]}]
    assert host.call(run, extra, "merged") == ["cast", "open", "web"]
    merged = copy.deepcopy(THREE)
    merged[0]["endpoints"] += extra[0]["endpoints"]
    assert host.call(checker.check, declared(merged)) == []
    assert host.call(run, CHANGED[:1], "replaced") == ["cast", "open", "web"]
    assert host.call(checker.check, declared([CHANGED[0], *THREE[1:]])) == []
    assert host.call(run, [{"name": "cast"}], "deleted") == ["open", "web"]
    assert host.call(checker.check, declared([CHANGED[0], THREE[1]])) == []
    assert host.call(run, CHANGED, "overridden") == ["fresh", "open", "web"]
    assert host.call(checker.check, declared(CHANGED)) == []
    assert host.call(run, [], "deleted") == []
    assert host.call(checker.check, NOTHING) == []


HARMS = [
    "bridge -n xh-web fdb del 02:42:0a:32:00:0c dev vx5000 dst 10.98.0.2 self",
    "bridge -n xh-web fdb add 02:00:00:00:00:99 dev vx5000 dst 10.98.0.3 self permanent",
    "bridge -n xh-web fdb replace 02:42:0a:32:00:0c dev vx5000 dst 10.98.0.3 self permanent",
    "bridge -n xh-open fdb del 00:00:00:00:00:00 dev vx6000 dst 10.98.0.3 self",
    "ip -n xh-web neigh replace 10.50.0.12 lladdr 02:00:00:00:00:77 dev vx5000 nud permanent",
    "ip -n xh-web link set br5000 mtu 1400",
    "ip -n xh-web link set br5000 address 00:00:5e:00:53:01",
    "ip -n xh-web link set vx5001 alias crosshost:other",
    "ip -n xh-web link set vx5000 down; ip -n xh-web link set br5001 down",
    "bridge -n xh-web link set dev vx5000 learning on flood off",
    "ip -n xh-web link set vx5001 nomaster",
    "ip -n xh-web addr flush dev br5000",
    "ip -n xh-web addr add 10.99.0.1/24 dev br5000",
    "ip -n xh-web link del vx5000",
    "ip -n xh-web link del br5000",
    "ip netns exec xh-web sysctl -qw net.ipv4.ip_forward=0",
    "ip netns del xh-open; sleep 0.2",
]


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_broken_by_hand_is_mended_by_the_next_run(host: Host, harm: str) -> None:
    host.call(engine.overlays, THREE, "merged", DEFAULTS)
    host.run("sh", "-ec", harm)
    assert host.call(checker.check, declared(THREE))
    assert host.call(engine.overlays, THREE, "merged", DEFAULTS).changed
    assert host.call(checker.check, declared(THREE)) == []


# (what is there before, the networks, the kind of error, what its line names)
FOREIGN = [
    ("ip netns add xh-web", ONE, CollisionError, ["namespace xh-web", "crosshost did not make it"]),
    ("ip netns add xh-web; ip -n xh-web link set lo alias crosshost:old", ONE, CollisionError, ["namespace xh-web", "crosshost:old"]),
    ("ip link add vx9 type vxlan id 5000 local 10.98.0.1 dstport 4789", ONE, CollisionError, ["VNI 5000", "vx5000 of web", "vx9 on the host"]),
    ("ip netns add other; ip link add vx9 netns other type vxlan id 5000 dstport 4789", ONE, CollisionError, ["VNI 5000", "vx9 in the namespace other"]),
    ("ip link add lan type bridge; ip addr add 10.50.0.0/20 dev lan; ip link set lan up", ONE, CollisionError, ["10.50.0.0/24", "10.50.0.0/20", "lan"]),
]  # fmt: skip


def attempt(config: list[dict[str, Any]], defaults: dict[str, Any], check: bool = False) -> tuple[str, str]:
    """The type and line of the error that converging ends with."""
    try:
        engine.overlays(config, "merged", defaults, check)
    except CrosshostError as error:
        return type(error).__name__, str(error)
    return "", ""


def refused(
    host: Host, config: list[dict[str, Any]], defaults: dict[str, Any], kind: type, parts: list[str]
) -> None:
    """Both modes refuse with one line that names these parts, and nothing is touched."""
    was = host.call(eye.snapshot)
    for check in (True, False):
        name, line = host.call(attempt, config, defaults, check)
        assert name == kind.__name__, (check, line)
        assert "\n" not in line
        assert [part for part in parts if part not in line] == [], line
        assert not eye.differences(was, host.call(eye.snapshot))
    assert host.call(record.load, "overlay_network") == []


@pytest.mark.parametrize(("there", "config", "kind", "parts"), FOREIGN)
def test_what_belongs_to_others_is_never_touched(
    there: str, config: list[dict[str, Any]], kind: type, parts: list[str]
) -> None:
    with world() as made:
        made[1].run("sh", "-ec", there)
        refused(made[1], config, DEFAULTS, kind, parts)


def test_links_of_others_inside_our_namespace(host: Host) -> None:
    host.call(engine.overlays, ONE, "merged", DEFAULTS)
    host.run("ip", "-n", "xh-web", "link", "add", "br5001", "type", "bridge")
    try:
        was = host.call(eye.snapshot)
        more = [{"name": "web", "subnets": [{"subnet": "10.51.0.0/24", "vni": 5001}]}]
        name, line = host.call(attempt, more, DEFAULTS)
        assert name == "CollisionError"
        assert "link br5001" in line
        assert "namespace xh-web" in line
        with pytest.raises(CollisionError, match="namespace xh-web: it holds br5001"):
            host.call(engine.overlays, [], "deleted")
        assert host.call(eye.snapshot) == was
    finally:
        host.run("ip", "-n", "xh-web", "link", "del", "br5001")


def test_a_vni_that_is_taken_where_no_name_leads_is_undone(host: Host) -> None:
    """A tunnel in a container's nameless namespace is found by the kernel alone."""
    with container(host) as pid:
        host.run("ip", "link", "add", "vx9", "netns", str(pid), "type", "vxlan", "id", "6001", "local", "10.98.0.1", "dstport", "4789")  # fmt: skip
        was = host.call(eye.snapshot)
        name, line = host.call(attempt, THREE, DEFAULTS)
        assert name == "ApplyError", line
        assert "vx6001" in line
        assert line.endswith("everything done before it was undone")
        assert host.call(eye.snapshot) == was


BAD_UNDERLAY: list[tuple[dict[str, Any], dict[str, Any], type, list[str]]] = [
    ({"mtu": 1451}, DEFAULTS, SpecError, ["mtu 1451", "eth1", "1450"]),
    ({}, {**DEFAULTS, "data_path_address": "10.98.0.77"}, SpecError, ["10.98.0.77", "not an address of this host"]),
    ({}, {**DEFAULTS, "data_path_address": None, "data_path_interface": "eth7"}, SpecError, ["eth7", "no such interface"]),
    ({}, {"data_path_address": "10.98.0.1", "data_path_interface": "lo"}, SpecError, ["10.98.0.1", "eth1"]),
    ({}, {}, SpecError, ["data_path_address", "no peer"]),
    ({}, {"peers": [{"host": "far", "vtep": "192.0.2.9"}]}, HostError, ["far", "192.0.2.9", "route"]),
    ({}, {**DEFAULTS, "peers": [{"host": "slim", "vtep": "10.98.0.2", "mtu": 600}]}, SpecError, ["slim", "600"]),
    ({"mtu": 1431}, {"data_path_address": "fd98::1"}, SpecError, ["mtu 1431", "1430"]),
    ({"subnets": [{"subnet": "10.98.0.0/24", "vni": 9}]}, DEFAULTS, CollisionError, ["10.98.0.0/24", "eth1"]),
    ({"subnets": [{"subnet": "fd98::/48", "vni": 9}]}, DEFAULTS, CollisionError, ["fd98::/48", "fd98::/64"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "defaults", "kind", "parts"), BAD_UNDERLAY)
def test_what_the_underlay_cannot_carry_is_refused(
    host: Host, change: dict[str, Any], defaults: dict[str, Any], kind: type, parts: list[str]
) -> None:
    refused(host, [{**ONE[0], **change}], defaults, kind, parts)


def test_without_root_nothing_is_done(host: Host) -> None:
    def as_nobody() -> Any:
        os.seteuid(65534)
        return engine.overlays(ONE, "merged", DEFAULTS)

    with pytest.raises(HostError, match="not root; run the task with become: true"):
        host.call(as_nobody)
    assert host.call(checker.check, NOTHING) == []


def test_a_record_that_cannot_be_saved_undoes_the_run(host: Host) -> None:
    """A full disk: one line, and the kernel is as it was."""

    def full_disk() -> tuple[str, str]:
        def fails(*_args: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        record.os.fsync = fails  # type: ignore[assignment]
        return attempt(THREE, DEFAULTS)

    was = host.call(eye.snapshot)
    name, line = host.call(full_disk)
    assert name in ("ApplyError", "HostError"), line
    assert "No space left" in line
    assert "\n" not in line
    assert not eye.differences(was, host.call(eye.snapshot))


def test_rendered_is_a_whole_plan_for_an_empty_host(host: Host) -> None:
    """Also on a host that has the networks and endpoints already, and typing it has the same effect."""

    def render() -> list[str]:
        assert "ip link add xh_gwbridge" in "\n".join(engine.gwbridges([GWBRIDGE], "rendered").commands)
        return engine.overlays(THREE, "rendered", DEFAULTS).commands

    plain = host.call(render)
    host.call(engine.everything, declared(THREE, ENDS, [GWBRIDGE]))
    assert host.call(render) == plain
    with world() as other:
        for config in (THREE, CHANGED):
            typed(
                other[1],
                other[1].call(lambda wanted=config: engine.overlays(wanted, "rendered", DEFAULTS).commands),
            )
            assert other[1].call(checker.check, declared(config)) == []
            seen = other[1].call(eye.look)
            other[1].run(
                "sh",
                "-ec",
                "for n in $(ls /run/netns); do for l in $(ip -n $n -o link show type vxlan | sed 's/^[0-9]*: //; s/[:@].*//'); do ip -n $n link del $l; done; ip netns del $n; done",
            )
            other[1].call(engine.overlays, config, "merged", DEFAULTS)
            assert not eye.differences(other[1].call(eye.look), seen)
            other[1].call(engine.everything, NOTHING)


def typed(host: Host, lines: list[str]) -> None:
    def type_them() -> tuple[int, str]:
        done = subprocess.run(
            ["sh", "-e"], input="\n".join(lines), capture_output=True, text=True, check=False
        )
        return done.returncode, done.stderr

    assert host.call(type_them) == (0, "")


def test_a_lock_that_another_run_holds_is_respected(host: Host) -> None:
    def blocked() -> tuple[str, str]:
        record.LOCK_WAIT = 0.1
        with record.locked():
            return attempt(ONE, DEFAULTS)

    name, line = host.call(blocked)
    assert name == "HostError"
    assert "/run/crosshost.lock" in line


@pytest.mark.parametrize("plane", ["static", "flood", "multicast"])
@pytest.mark.parametrize("six", [False, True], ids=["underlay4", "underlay6"])
def test_sandboxes_on_two_hosts_reach_each_other(plane: str, six: bool) -> None:
    """IPv4 and IPv6, at the full MTU, over either underlay."""
    with world(2) as made:
        hosts = made.hosts
        for host, other in ((hosts[0], hosts[1]), (hosts[1], hosts[0])):
            host.call(engine.everything, two_host_declaration(host, other, plane, six))
            assert host.call(checker.check, two_host_declaration(host, other, plane, six)) == []
        size = 1500 - (70 if six else 50)
        for target, header in (("10.50.0.12", 28), ("fd50::12", 48)):
            inside = ["ip", "netns", "exec", "box"]
            hosts[0].run(*inside, "ping", "-c1", "-W2", "-q", "-M", "do", "-s", str(size - header), target)
        for host in hosts:
            host.call(engine.everything, NOTHING)
            assert host.call(checker.check, NOTHING) == []


def two_host_declaration(host: Host, other: Host, plane: str, six: bool) -> dict[str, Any]:
    vtep, far = (host.vtep6, other.vtep6) if six else (host.vtep, other.vtep)
    network: dict[str, Any] = {
        "name": "web",
        "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}, {"subnet": "fd50::/64"}],
        "control_plane": plane,
        "internal": True,
        "data_path_address": vtep,
        "peers": [{"host": other.name, "vtep": far}],
    }
    if plane == "static":
        network["endpoints"] = [
            {"ip": f"10.50.0.1{other.number}", "ip6": f"fd50::1{other.number}", "vtep": far}
        ]
    if plane == "multicast":
        network["multicast_group"] = "ff05::123" if six else "239.1.1.1"
    end = {
        "network": "web",
        "sandbox": "box",
        "create": True,
        "ip": f"10.50.0.1{host.number}",
        "ip6": f"fd50::1{host.number}",
    }
    return {**declared([], [end]), "vtep": vtep, "overlay_networks": [network]}
