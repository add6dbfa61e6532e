# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations of a small cluster for the tests of the view: three hosts, two overlays, three endpoints."""

from __future__ import annotations

from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils import view
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster import Cluster, parse_cluster
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster_hosts import Declared

WEB = {"name": "web", "subnets": [{"subnet": "10.0.1.0/24", "vni": 4101}, {"subnet": "fd00:1::/64"}]}
DB = {"name": "db", "subnets": [{"subnet": "10.0.2.0/24", "vni": 4102}], "hosts": ["h1", "h2"]}
INGRESS = {"subnets": [{"subnet": "10.255.0.0/24", "vni": 4100}]}
GROUPS = {"all": ["h1", "h2", "h3"], "front": ["h1", "elsewhere"], "empty": ["elsewhere"]}


def end(host: str | None, network: str, sandbox: str, ip: str | None = None, **more: Any) -> dict[str, Any]:
    item = {"host": host, "network": network, "sandbox": sandbox, "ip": ip, **more}
    return {field: value for field, value in item.items() if value is not None}


ENDS = [
    end("h1", "web", "a", "10.0.1.11"),
    end("h2", "web", "b", "10.0.1.12"),
    end("h2", "db", "b", "10.0.2.12"),
]


def service(name: str = "api", network: str = "web", **more: Any) -> dict[str, Any]:
    return {"name": name, "network": network, "vip": "10.0.1.100", "tasks": ["a", "b"], **more}


def cluster(
    networks: Any = (WEB, DB), ends: Any = ENDS, each: dict[str, dict[str, Any]] | None = None, **shared: Any
) -> Cluster:
    """Of h1, h2 and h3; ``each``: variables of hosts, ``shared``: those of all."""
    shared = {"crosshost_networks": list(networks), "crosshost_endpoints": ends, **shared}
    return parse_cluster(
        [
            Declared(f"h{n}", {"crosshost_vtep": f"10.98.0.{n}", **shared, **(each or {}).get(f"h{n}", {})})
            for n in (1, 2, 3)
        ],
        GROUPS,
    )


def seen(host: str, **declared: Any) -> dict[str, Any]:
    """The view of a host of such a cluster."""
    return view.view_of(cluster(**declared), host)
