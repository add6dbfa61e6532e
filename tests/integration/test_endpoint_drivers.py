# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints of networks of several drivers in one sandbox: addresses that the host hands out, the declared order of default
routes, and sandboxes in the host's namespace, in none, or in another's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils import info
from ansible_collections.crosshost.network.plugins.module_utils.converge import Outcome, converge
from ansible_collections.crosshost.network.plugins.module_utils.errors import (
    CollisionError,
    CrosshostError,
    HostError,
)
from ansible_collections.crosshost.network.plugins.module_utils.kinds.bridge import BridgeKind

from tests.support import engine, eye
from tests.support.world import Host, command, container, world

pytestmark = pytest.mark.root
Config = list[dict[str, Any]]
FRONT = {"name": "front", "subnets": [{"subnet": "172.20.0.0/24"}, {"subnet": "fd00:20::/64"}]}
SMALL = {
    "name": "small",
    "subnets": [
        {"subnet": "172.21.0.0/24", "ip_range": "172.21.0.128/30", "aux_addresses": {"nas": "172.21.0.129"}}
    ],
}
INSIDE = {"name": "inside", "internal": True, "subnets": [{"subnet": "172.22.0.0/24"}]}
MESH = {"name": "mesh", "subnets": [{"subnet": "10.60.0.0/24", "vni": 6000}]}
DEFAULTS = {"data_path_interface": "eth1"}


@pytest.fixture
def host() -> Iterator[Host]:
    engine.warm()
    with world() as made:
        made[1].call(grounded)
        yield made[1]


def grounded() -> None:
    engine.overlays([MESH], "merged", DEFAULTS)
    engine.gwbridges([{"subnet": "172.30.0.0/16", "subnet6": "fd00:30::/64"}])
    bridges([FRONT, SMALL, INSIDE])


def bridges(config: Config, state: str = "merged") -> Outcome:
    return converge(BridgeKind(), config, state)


def ends(config: Config, state: str = "merged", check: bool = False) -> Outcome:
    return engine.endpoints(config, state, check)


def box(network: str, sandbox: str = "app", **more: Any) -> dict[str, Any]:
    return {"network": network, "sandbox": sandbox, "create": True, **more}


def inside(host: Host, sandbox: str, *argv: str) -> Any:
    return json.loads(host.run("ip", "-n", sandbox, "-j", *argv))


def addresses(host: Host, sandbox: str = "app") -> dict[str, list[str]]:
    return {
        link["ifname"]: [
            f"{one['local']}/{one['prefixlen']}" for one in link["addr_info"] if one["scope"] == "global"
        ]
        for link in inside(host, sandbox, "addr")
        if link["ifname"] != "lo"
    }


def defaults(host: Host, sandbox: str = "app") -> dict[int, str]:
    found = {}
    for version in (4, 6):
        for route in inside(host, sandbox, f"-{version}", "route", "show", "default"):
            found[version] = f"{route['gateway']} {route['dev']}"
    return found


def settled(host: Host, config: Config, state: str = "merged") -> Outcome:
    """Check mode tells what the run does, and a second run does nothing."""
    told = host.call(ends, config, state, True)
    done = host.call(ends, config, state)
    assert told.commands == done.commands
    again = host.call(ends, config, state)
    assert not again.changed, again.commands
    return done


def refused(host: Host, config: Config) -> str:
    def run() -> str:
        with pytest.raises(CrosshostError) as caught:
            ends(config)
        return str(caught.value)

    return str(host.call(run))


def test_the_host_hands_out_addresses_and_an_endpoint_keeps_its_own(host: Host) -> None:
    settled(host, [box("front", "a"), box("front", "b"), box("small", "c")])
    assert addresses(host, "a") == {"eth0": ["172.20.0.2/24", "fd00:20::2/64"]}
    assert addresses(host, "b") == {"eth0": ["172.20.0.3/24", "fd00:20::3/64"]}
    assert addresses(host, "c") == {"eth0": ["172.21.0.130/24"]}, (
        "the range, less the gateway and what is reserved"
    )
    settled(host, [{"network": "front", "sandbox": "a"}], "deleted")
    assert addresses(host, "b")["eth0"][0] == "172.20.0.3/24"
    settled(host, [box("front", "d"), box("front", "e", ip="172.20.0.9")])
    assert addresses(host, "d")["eth0"] == ["172.20.0.2/24", "fd00:20::2/64"]
    assert addresses(host, "e")["eth0"] == ["172.20.0.9/24", "fd00:20::4/64"]
    host.run("ip", "netns", "exec", "b", "ping", "-c1", "-W2", "172.20.0.9")
    host.run("ip", "netns", "exec", "b", "ping", "-c1", "-W2", "fd00:20::4")
    assert "no address left" in refused(host, [box("small", "f"), box("small", "g"), box("small", "h")])
    assert "f" not in host.run("ip", "netns").split()


def test_a_declared_address_takes_precedence_over_a_chosen_one(host: Host) -> None:
    settled(host, [box("front", "a")])
    settled(host, [box("front", "b", ip="172.20.0.2")])
    assert addresses(host, "b")["eth0"][0] == "172.20.0.2/24"
    settled(host, [box("front", "a")])
    assert addresses(host, "a")["eth0"] == ["172.20.0.3/24", "fd00:20::2/64"]


def test_the_way_out_follows_the_declared_order(host: Host) -> None:
    settled(host, [box("mesh", ip="10.60.0.5")])
    assert defaults(host) == {4: "172.30.0.1 gw0", 6: "fd00:30::1 gw0"}
    # one endpoint more, alone in this run: the leg is of no use any more
    settled(host, [box("front")])
    assert defaults(host) == {4: "172.20.0.1 eth1", 6: "fd00:20::1 eth1"}
    assert set(addresses(host)) == {"eth0", "eth1"}
    settled(host, [box("small", gw_priority=1), box("inside", gw_priority=9)])
    assert defaults(host) == {4: "172.21.0.128 eth2", 6: "fd00:20::1 eth1"}
    settled(host, [box("mesh", ip="10.60.0.5", gw_priority=2)])
    assert defaults(host) == {4: "172.30.0.1 gw0", 6: "fd00:30::1 gw0"}
    # whoever goes, the next one takes over
    settled(host, [{"network": "mesh", "sandbox": "app"}], "deleted")
    assert defaults(host) == {4: "172.21.0.128 eth2", 6: "fd00:20::1 eth1"}
    settled(host, [{"network": "small", "sandbox": "app"}], "deleted")
    assert defaults(host) == {4: "172.20.0.1 eth1", 6: "fd00:20::1 eth1"}
    settled(host, [{"network": "front", "sandbox": "app"}], "deleted")
    assert defaults(host) == {}
    assert set(addresses(host)) == {"eth3"}


def test_a_default_route_of_somebody_else_is_left_alone(host: Host) -> None:
    host.run("ip", "netns", "add", "theirs")
    host.batch("link add foreign netns theirs type veth peer name far\nlink set far up\n")
    host.run("ip", "-n", "theirs", "addr", "add", "192.0.2.2/24", "dev", "foreign")
    host.run("ip", "-n", "theirs", "link", "set", "foreign", "up")
    host.run("ip", "-n", "theirs", "route", "add", "default", "via", "192.0.2.1")
    with pytest.raises(CollisionError, match="default route over foreign"):
        host.call(ends, [{"network": "front", "sandbox": "theirs"}])
    settled(host, [{"network": "front", "sandbox": "theirs", "default_route": False}])
    assert defaults(host, "theirs") == {4: "192.0.2.1 foreign"}


def test_a_default_route_made_by_hand_over_our_device_is_put_right(host: Host) -> None:
    config = [box("front", "a"), box("inside", "b")]
    settled(host, config)
    host.run("ip", "-n", "a", "route", "replace", "default", "via", "172.20.0.9", "dev", "eth0")
    host.run("ip", "-n", "b", "route", "add", "default", "via", "172.22.0.9", "dev", "eth0")
    settled(host, config)
    assert defaults(host, "a")[4] == "172.20.0.1 eth0" and defaults(host, "b") == {}


def test_everything_comes_back_one_by_one(host: Host) -> None:
    """As after a reboot, when each endpoint is restored by itself."""
    config = [box("mesh", ip="10.60.0.5"), box("front", gw_priority=3), box("inside")]
    settled(host, config)
    was = (addresses(host), defaults(host))
    for line in ("ip netns del app", "ip link del dev xh_gwbridge"):
        host.run(*line.split())
    host.call(grounded)
    for item in config:
        host.call(ends, [item], "replaced")
    assert (addresses(host), defaults(host)) == was
    assert not host.call(ends, config, "overridden").changed


def inode(path: str) -> int:
    return os.stat(path).st_ino


def test_modes_of_named_sandboxes(host: Host) -> None:
    before = host.call(eye.snapshot)
    config = [
        box("front", "web"),
        box("host", "monitor"),
        box("none", "vault"),
        box("container:web", "sidecar"),
    ]
    settled(host, config, "overridden")
    assert host.call(inode, "/run/netns/monitor") == host.net_inode()
    assert host.call(inode, "/run/netns/sidecar") == host.call(inode, "/run/netns/web")
    assert [link["ifname"] for link in inside(host, "vault", "link")] == ["lo"]
    assert addresses(host, "sidecar") == addresses(host, "web")
    assert "eth1" in host.run("ip", "-n", "monitor", "-br", "link")
    # another meaning of a name: made anew, and what it stood for before is as it was
    settled(
        host,
        [
            box("front", "web"),
            box("none", "monitor"),
            box("container:vault", "sidecar"),
            box("none", "vault"),
        ],
        "overridden",
    )
    assert host.call(inode, "/run/netns/monitor") != host.net_inode()
    assert host.call(inode, "/run/netns/sidecar") == host.call(inode, "/run/netns/vault")
    settled(host, [], "overridden")
    assert host.call(eye.snapshot) == before


def test_a_name_that_is_taken_is_refused(host: Host) -> None:
    host.run("ip", "netns", "add", "theirs")
    was = host.call(eye.snapshot)
    with pytest.raises(CollisionError, match="namespace theirs: it exists already"):
        host.call(ends, [box("host", "theirs")])
    assert host.call(eye.snapshot) == was
    assert "no such namespace" in refused(host, [{"network": "host", "sandbox": "missing"}])


def test_a_process_has_the_mode_that_it_was_started_with(host: Host) -> None:
    with container(host) as pid, container(host) as other:
        settled(host, [{"network": "none", "pid": pid}])
        with pytest.raises(HostError, match="has a network of its own"):
            host.call(ends, [{"network": "host", "pid": pid, "name": "p"}], "overridden")
        with pytest.raises(HostError, match="does not share that network"):
            host.call(
                ends,
                [{"network": "container:web", "pid": other, "name": "o"}, box("none", "web")],
                "overridden",
            )
        assert "lo" in command(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "link"])


def told() -> dict[str, dict[str, Any]]:
    found = info.gather(["endpoints"])
    assert not found["drifted"], found["drift"]
    return {one["id"]: one for one in found["endpoints"]}


def test_the_mappings_and_the_modes_are_told(host: Host) -> None:
    published = ["8080:80", "127.0.0.1:9000:90/udp", "70"]
    config = [
        box("front", "a", publish=published),
        box("mesh", "b", ip="10.60.0.7", publish=["8081:81"]),
        box("host", "c"),
        box("small", "d"),
    ]
    settled(host, config)
    found = host.call(told)
    assert all(one["present"] for one in found.values())
    ports = found["front/a"]["published"]
    assert {"8080:80/tcp", "127.0.0.1:9000:90/udp"} < set(ports) and len(ports) == 3
    low, high = host.run("sysctl", "-n", "net.ipv4.ip_local_port_range").split()
    (chosen,) = (int(port.split(":")[0]) for port in ports if port.endswith(":70/tcp"))
    assert int(low) <= chosen <= int(high)
    assert found["mesh/b"]["published"] == ["8081:81/tcp"]
    assert found["small/d"]["published"] == [] and found["host/c"]["interface"] is None
    # the chosen port stays while others come and go
    settled(host, [*config[:3], box("front", "e", publish=["71"])], "overridden")
    assert host.call(told)["front/a"]["published"] == ports


def test_what_is_published_needs_the_default_route(host: Host) -> None:
    words = refused(host, [box("front", "a", gw_priority=1), box("small", "a", publish=["8080:80"])])
    assert "publish '8080:80/tcp'" in words and "front/a" in words and "gw_priority" in words
