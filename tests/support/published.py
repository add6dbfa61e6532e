# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with sandboxes in bridge networks and in an overlay, and one outside, for tests of published ports."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from . import engine
from .traffic import TCP, Place, named, outside, server
from .world import Host, World, world

NETWORKS: list[dict[str, Any]] = [
    {"name": "web", "subnets": [{"subnet": "10.70.0.0/24"}, {"subnet": "fd70::/64"}]},
    {"name": "app", "subnets": [{"subnet": "10.71.0.0/24"}, {"subnet": "fd71::/64"}]},
    {"name": "quiet", "subnets": [{"subnet": "10.73.0.0/24"}, {"subnet": "fd73::/64"}], "icc": False},
]
OVERLAY = {
    "name": "mesh",
    "subnets": [{"subnet": "10.75.0.0/24", "vni": 5000}, {"subnet": "fd75::/64"}],
    "data_path_address": "10.98.0.1",
}
GATEWAYS = {"subnet": "172.30.0.0/16", "subnet6": "fd30::/64"}
BRIDGED = {"web1": (70, 11), "web2": (70, 12), "app1": (71, 11), "quiet1": (73, 11), "quiet2": (73, 12)}
MESHED = {"mesh1": (75, 11), "mesh2": (75, 12)}
DEVICES = ["xb-web", "xb-app", "xb-quiet", "xh_gwbridge"]
OWN = {4: "10.98.0.1", 6: "fd98::1"}


Chosen = dict[tuple[str, str, int], int]  # (sandbox, protocol, its port): the host's port
Target = tuple[str, tuple[Any, ...]]


def address(name: str, version: int) -> str:
    """Where the host reaches a sandbox."""
    number, last = {**BRIDGED, **MESHED}[name]
    if name in MESHED:
        return f"172.30.0.{last - 9}" if version == 4 else f"fd30::{last - 9}"
    return f"10.{number}.0.{last}" if version == 4 else f"fd{number}::{last}"


def target(name: str, *ports: Any) -> Target:
    """A sandbox with what it publishes."""
    return name, ports


def ends(targets: Sequence[Target] = ()) -> list[dict[str, Any]]:
    """All endpoints, those that publish first and in the order in which they are given."""
    published = dict(targets)
    found = []
    for name in (*published, *(one for one in {**BRIDGED, **MESHED} if one not in published)):
        number, last = {**BRIDGED, **MESHED}[name]
        end = {"network": name.rstrip("12"), "sandbox": name, "create": True}
        found.append({**end, "ip": f"10.{number}.0.{last}", "ip6": f"fd{number}::{last}"})
        if name in published:
            found[-1]["publish"] = list(published[name])
    return found


@pytest.fixture(scope="module")
def lan() -> Iterator[World]:
    """A host with sandboxes in bridge networks and in an overlay, and one outside."""
    engine.warm()
    with world(2) as made:
        host = made[1]
        host.call(engine.bridges, NETWORKS)
        host.call(engine.overlays, [OVERLAY])
        host.call(engine.gwbridges, [GATEWAYS])
        host.call(engine.endpoints, ends())
        host.batch("addr add 10.98.0.101/24 dev eth1\n")
        _settle(host)
        made[2].batch("route add 10.70.0.0/24 via 10.98.0.1\nroute add fd70::/64 via fd98::1\n")
        yield made


def _settle(host: Host) -> None:
    """A new link has no use of IPv6 for a second: duplicate address detection of its link-local address."""
    deadline = time.monotonic() + 5
    while host.run("ip", "-6", "addr", "show", "tentative") and time.monotonic() < deadline:
        time.sleep(0.1)


@pytest.fixture(scope="module")
def places(lan: World) -> Iterator[dict[str, Place]]:
    with named(lan[1], *BRIDGED, *MESHED) as found:
        yield {**{place.name: place for place in found}, "host": outside(lan[1]), "away": outside(lan[2])}


def publish(lan: World, *targets: Target) -> Chosen:
    """Let exactly these sandboxes publish. Where each port is then, as nft shows it."""
    lan[1].call(engine.endpoints, ends(targets), "overridden")
    names = {address(name, version): name for name in {**BRIDGED, **MESHED} for version in (4, 6)}
    found: Chosen = {}
    for line in lan[1].run("nft", "-n", "list", "table", "inet", "crosshost").splitlines():
        words = line.split()
        if words[:1] == ["chain"] and words[1].startswith(("publish-tcp-", "publish-udp-", "publish-sctp-")):
            protocol, port = words[1].split("-")[1], int(words[1].rpartition("-")[2])
        if "dnat" in words:
            sandbox, _, inner = words[-1].rpartition(":")
            found[names[sandbox.strip("[]")], protocol, int(inner)] = port
    return found


@pytest.fixture(params=[0, 1], ids=["bridged frames alone", "br_netfilter"])
def hooks(request: pytest.FixtureRequest, lan: World) -> Iterator[int]:
    """Whether bridged frames go through the rules too, as on a host that runs dockerd."""
    for word in ("iptables", "ip6tables"):
        lan[1].run("sysctl", "-qw", f"net.bridge.bridge-nf-call-{word}={request.param}")
    yield int(request.param)
    for word in ("iptables", "ip6tables"):
        lan[1].run("sysctl", "-qw", f"net.bridge.bridge-nf-call-{word}=0")


@contextlib.contextmanager
def serving(places: dict[str, Place], name: str, port: int, kind: int = TCP) -> Iterator[None]:
    """A server in a sandbox, on both its addresses."""
    with contextlib.ExitStack() as stack:
        for version in (4, 6):
            stack.enter_context(server(places[name], address(name, version), port, kind))
        yield


def heard(sock: socket.socket) -> bytes:
    """What comes to a socket within moments; nothing otherwise."""
    sock.settimeout(0.4)
    try:
        return sock.recv(100)
    except TimeoutError:
        return b""
