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

# One of each kind, beside THREE and ENDS: what a host publishes, balances and joins to its LAN.
BRIDGES: Config = [
    {
        "name": "front",
        "subnets": [{"subnet": "10.70.0.0/24", "ip_range": "10.70.0.128/25"}, {"subnet": "fd70::/64"}],
    },
    {
        "name": "tenants",
        "bridge": "br-tenants",
        "subnets": [{"subnet": "10.71.0.0/24", "gateway": "10.71.0.254"}],
        "icc": False,
        "ip_masquerade": False,
        "mtu": 1400,
        "host_ip": "127.0.0.1",
    },
    {"name": "vault", "subnets": [{"subnet": "10.72.0.0/24"}], "internal": True},
]
MACVLANS: Config = [
    {
        "name": "lan",
        "parent": "eth1",
        "subnets": [
            {"subnet": "10.98.0.0/24", "gateway": "10.98.0.254", "ip_range": "10.98.0.128/25"},
            {"subnet": "fd98::/64"},
        ],
        "host_range": ["10.98.0.128/28"],
        "shim": "10.98.0.128",
        "shim6": "fd98::128",
        "promiscuous": True,
    },
]
ENDS_OF_ALL_KINDS: Config = [
    *ENDS,
    # by the gateway bridge to its ports, as its default route says; the bridge network is one more
    {**ENDS[0], "sandbox": "box4", "ip": "10.50.0.24", "ip6": "fd50::24", "publish": ["8081:80", "9000/udp"]},
    {"network": "front", "sandbox": "box4", "interface": "lan0", "default_route": False},
    {
        "network": "front",
        "sandbox": "shop",
        "create": True,
        "publish": ["8080:80", "8443-8453:443", "10.98.0.1:53:53/udp", "[::]:8090:90"],
    },
    {"network": "tenants", "sandbox": "tenant1", "create": True, "ip": "10.71.0.11", "publish": ["7000:70"]},
    {"network": "vault", "sandbox": "tenant1"},
    {"network": "lan", "sandbox": "station", "create": True},
    {"network": "lan", "sandbox": "desk", "create": True, "ip": "10.98.0.22", "ip6": "fd98::22"},
    # out over the bridge network in spite of its place in the order; over the LAN if nobody says anything
    {"network": "lan", "sandbox": "both", "create": True, "ip": "10.98.0.23"},
    {"network": "tenants", "sandbox": "both", "gw_priority": 5},
    {"network": "host", "sandbox": "monitor", "create": True},
    {"network": "none", "sandbox": "alone", "create": True},
    {"network": "container:shop", "sandbox": "sidecar", "create": True},
]
SERVICES: Config = [
    {
        "network": "web",
        "name": "api",
        "vip": "10.50.0.100",
        "vip6": "fd50::100",
        "tasks": [
            {"name": "box1", "ip": "10.50.0.21", "ip6": "fd50::21"},
            {"name": "far", "ip": "10.50.0.12", "ip6": "fd50::12", "weight": 2},
            {"name": "drained", "ip": "10.50.0.13", "weight": 0},
        ],
    },
    {"network": "web", "name": "idle", "vip": "10.50.0.101", "tasks": []},
    {
        "network": "front",
        "name": "sticky",
        "vip": "10.70.0.100",
        "affinity": "source",
        "tasks": [{"name": "a", "ip": "10.70.0.11", "weight": 3}, {"name": "b", "ip": "10.70.0.12"}],
    },
]
INGRESS: dict[str, Any] = {
    "subnets": [{"subnet": "10.255.0.0/24", "vni": 4096}, {"subnet": "fd55::/64"}],
    "address": "10.255.0.11",
    "address6": "fd55::11",
    "endpoints": [
        {"ip": "10.255.0.12", "ip6": "fd55::12", "vtep": "10.98.0.2"},
        {"ip": "10.255.0.112", "ip6": "fd55::112", "vtep": "10.98.0.2"},
    ],
    "legs": [{"name": "api.box1", "sandbox": "box1", "ip": "10.255.0.111", "ip6": "fd55::111"}],
    "ports": [
        {
            "published": 8888,
            "target": 80,
            "tasks": [{"ip": "10.255.0.111", "ip6": "fd55::111"}, {"ip": "10.255.0.112", "ip6": "fd55::112"}],
        },
        {"published": 5353, "protocol": "udp", "tasks": [{"ip": "10.255.0.112", "ip6": "fd55::112"}]},
        {
            "published": 25,
            "keep_client_address": True,
            "tasks": [{"ip": "10.255.0.111", "ip6": "fd55::111"}],
            "local": [{"sandbox": "box1"}],
        },
    ],
}


def all_kinds() -> dict[str, Any]:
    """A host that has one of each kind."""
    more = {
        "bridge_networks": BRIDGES,
        "macvlan_networks": MACVLANS,
        "services": SERVICES,
        "ingress": [{**copy.deepcopy(DEFAULTS), **INGRESS}],
    }
    return declared(THREE, ENDS_OF_ALL_KINDS, [GWBRIDGE], **more)


def declared(
    networks: Config, ends: Config | None = None, bridges: Config | None = None, **host: Any
) -> dict[str, Any]:
    """The host for the checker: networks with the task's defaults filled in."""
    full = [{**copy.deepcopy(DEFAULTS), **network} for network in networks]
    base = {"vtep": DEFAULTS["data_path_address"], "underlay": "eth1", "underlay_mtu": 1500}
    return {**base, **host, "overlay_networks": full, "endpoints": ends or [], "gwbridges": bridges or []}
