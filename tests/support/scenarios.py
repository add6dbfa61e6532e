# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations that resemble what people declare: as module options, and as the independent checker wants them."""

from __future__ import annotations

import copy
from typing import Any

Config = list[dict[str, Any]]
PEERS = [{"host": "h2", "vtep": "10.98.0.2"}, {"host": "h3", "vtep": "10.98.0.3"}]
DEFAULTS: dict[str, Any] = {"data_path_address": "10.98.0.1", "peers": PEERS}
GWBRIDGE: dict[str, Any] = {"subnet": "172.30.0.0/24", "subnet6": "fd30::/64"}

THREE: Config = [
    {
        "name": "web",
        "subnets": [
            {"subnet": "10.50.0.0/24", "vni": 5000},
            {"subnet": "fd50::/64"},
            {"subnet": "10.51.0.0/24", "vni": 5001, "gateway": "10.51.0.254"},
        ],
        "endpoints": [
            {"ip": "10.50.0.12", "ip6": "fd50::12", "vtep": "10.98.0.2"},
            {"ip": "10.50.0.13", "vtep": "10.98.0.3", "mac": "02:aa:00:00:00:13"},
            {"ip": "10.51.0.12", "vtep": "10.98.0.2"},
        ],
    },
    {
        "name": "open",
        "subnets": [{"subnet": "10.60.0.0/24", "vni": 6000}],
        "control_plane": "flood",
        "internal": True,
    },
    {
        "name": "cast",
        "subnets": [{"subnet": "10.61.0.0/24", "vni": 6001, "gateway": "none"}],
        "control_plane": "multicast",
        "multicast_group": "239.1.1.1",
        "mtu": 1400,
    },
]

# From THREE: another VNI, endpoints that moved, came and went, another MTU and plane, one network gone and one new.
CHANGED: Config = [
    {
        "name": "web",
        "subnets": [
            {"subnet": "10.50.0.0/24", "vni": 5000},
            {"subnet": "fd50::/64"},
            {"subnet": "10.51.0.0/24", "vni": 5002, "gateway": "10.51.0.1"},
        ],
        "mtu": 1420,
        "endpoints": [
            {"ip": "10.50.0.12", "ip6": "fd50::12", "vtep": "10.98.0.3"},
            {"ip": "10.50.0.14", "vtep": "10.98.0.3"},
            {"ip": "10.51.0.12", "vtep": "10.98.0.2"},
        ],
    },
    {"name": "open", "subnets": [{"subnet": "10.60.0.0/24", "vni": 6000}], "control_plane": "static"},
    {
        "name": "fresh",
        "subnets": [{"subnet": "10.62.0.0/24", "vni": 6002}, {"subnet": "10.63.0.0/24", "vni": 6003}],
    },
]

ENDS: Config = [
    {
        "network": "web",
        "sandbox": "box1",
        "create": True,
        "ip": "10.50.0.21",
        "ip6": "fd50::21",
        "interface": "eth0",
    },
    {"network": "open", "sandbox": "box1", "ip": "10.60.0.21"},
    {"network": "web", "sandbox": "box2", "create": True, "ip": "10.51.0.22", "default_route": False},
]
# From ENDS: another address, another interface, one gone and one new.
ENDS_CHANGED: Config = [
    {
        "network": "web",
        "sandbox": "box1",
        "create": True,
        "ip": "10.50.0.31",
        "ip6": "fd50::21",
        "interface": "lan",
    },
    {"network": "web", "sandbox": "box3", "create": True, "ip": "10.51.0.23"},
]


def declared(
    networks: Config, ends: Config | None = None, bridges: Config | None = None, **host: Any
) -> dict[str, Any]:
    """The host for the checker: networks with the task's defaults filled in."""
    full = [{**copy.deepcopy(DEFAULTS), **network} for network in networks]
    base = {"vtep": DEFAULTS["data_path_address"], "underlay": "eth1", "underlay_mtu": 1500}
    return {**base, **host, "overlay_networks": full, "endpoints": ends or [], "gwbridges": bridges or []}
