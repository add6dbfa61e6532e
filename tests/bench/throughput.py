# SPDX-License-Identifier: GPL-3.0-or-later
"""Figure 6: TCP between two sandboxes on two hosts, over an overlay of ours and over one made by hand, in turn."""

from __future__ import annotations

import json
import time
from typing import Any

from .figures import Figure
from .hosts import Lab

_MTU = 1450
# A bridge and a VXLAN device to the one other host, and a namespace behind a veth pair: as one would type it.
_BY_HAND = """
ip link add vxhand type vxlan id 9001 local 10.98.0.{own} remote 10.98.0.{far} dstport 4789
ip link add brhand mtu {mtu} type bridge
ip link set vxhand mtu {mtu} master brhand up
ip link set brhand up
ip netns add hand
ip link add vehand mtu {mtu} type veth peer name eth0 netns hand mtu {mtu}
ip link set vehand master brhand up
ip -n hand link set eth0 up
ip -n hand addr add 10.81.0.1{own}/24 dev eth0
"""
_SERVERS = """
ip netns exec ours iperf3 --server --daemon --pidfile /run/iperf-ours.pid
ip netns exec hand iperf3 --server --daemon --pidfile /run/iperf-hand.pid
"""
_WAYS = {"ours": ("ours", "10.80.0.12"), "hand": ("hand", "10.81.0.12")}


def throughput(lab: Lab, pairs: int, seconds: int) -> list[Figure]:
    """Gbit/s from h1 to h2 and back."""
    for own, far in ((1, 2), (2, 1)):
        lab.play(f"h{own}", _tasks(own, far))
        lab.script(f"h{own}", _BY_HAND.format(own=own, far=far, mtu=_MTU))
    lab.script("h2", _SERVERS)
    time.sleep(1)
    figures = []
    for name, options in (("there", []), ("back", ["--reverse"])):
        found: dict[str, list[float]] = {"ours": [], "hand": []}
        for place in range(pairs):
            for side in ("ours", "hand") if place % 2 == 0 else ("hand", "ours"):
                found[side].append(_measure(lab, side, seconds, options))
        what = f"TCP between sandboxes on two hosts, {name}: overlay, and by hand"
        figures.append(
            Figure(f"throughput-{name}", what, found["ours"], found["hand"], "Gbit/s", 0.97, at_least=True)
        )
    return figures


def _measure(lab: Lab, side: str, seconds: int, options: list[str]) -> float:
    netns, target = _WAYS[side]
    client = ["iperf3", "--json", "--client", target, "--time", str(seconds), *options]
    report = json.loads(lab.on("h1", "ip", "netns", "exec", netns, *client))
    return float(report["end"]["sum_received"]["bits_per_second"]) / 1e9


def _tasks(own: int, far: int) -> list[dict[str, Any]]:
    network = {
        "name": "speed",
        "subnets": [{"subnet": "10.80.0.0/24", "vni": 9000}],
        "mtu": _MTU,
        "internal": True,
        "endpoints": [{"ip": f"10.80.0.1{far}", "vtep": f"10.98.0.{far}"}],
    }
    endpoint = {"network": "speed", "sandbox": "ours", "create": True, "ip": f"10.80.0.1{own}"}
    where = {"data_path_address": f"10.98.0.{own}", "peers": [{"host": f"h{far}", "vtep": f"10.98.0.{far}"}]}
    return [
        {"name": "overlay_network", "crosshost.network.overlay_network": {"config": [network], **where}},
        {"name": "endpoint", "crosshost.network.endpoint": {"config": [endpoint]}},
    ]
