# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a sandbox's endpoints is its way out; and what an endpoint's declaration may say."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.compile import ways
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.spec import (
    bridge,
    endpoint,
    gwbridge,
    macvlan,
    overlay,
)

FOUR, SIX = "172.20.0.0/24", "fd00:20::/64"
NETWORKS: dict[str, Any] = {
    "mesh": overlay.parse({"name": "mesh", "subnets": [{"subnet": "10.0.1.0/24", "vni": 4101}]}),
    "inside": bridge.parse({"name": "inside", "internal": True, "subnets": [{"subnet": "172.21.0.0/24"}]}),
    "front": bridge.parse({"name": "front", "subnets": [{"subnet": FOUR}]}),
    "both": bridge.parse({"name": "both", "subnets": [{"subnet": "172.22.0.0/24"}, {"subnet": SIX}]}),
    "lan": macvlan.parse(
        {"name": "lan", "parent": "eth0", "subnets": [{"subnet": "192.168.7.0/24", "gateway": "192.168.7.1"}]}
    ),
    "dark": macvlan.parse({"name": "dark", "parent": "eth1", "subnets": [{"subnet": "192.168.8.0/24"}]}),
}
BRIDGES = {"xh_gwbridge": gwbridge.parse({"subnet": "172.30.0.0/16", "subnet6": "fd00:30::/64"})}
ADDRESSES = {
    "mesh": {"ip": "10.0.1.5"},
    "inside": {"ip": "172.21.0.5"},
    "front": {"ip": "172.20.0.5"},
    "both": {"ip": "172.22.0.5", "ip6": "fd00:20::5"},
    "lan": {"ip": "192.168.7.5"},
    "dark": {"ip": "192.168.8.5"},
}


def chosen(*ends: tuple[str, dict[str, Any]]) -> dict[int, str]:
    items = [{"network": network, "sandbox": "app", **ADDRESSES[network], **more} for network, more in ends]
    parsed = endpoint.parse_all(items, NETWORKS, BRIDGES)
    return {version: end.network for version, end in ways.choose(parsed, NETWORKS, BRIDGES).items()}


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([("mesh", {})], {4: "mesh", 6: "mesh"}),
        # a gateway of its own before the gateway bridge, each family by itself
        ([("mesh", {}), ("front", {})], {4: "front", 6: "mesh"}),
        ([("mesh", {}), ("both", {})], {4: "both", 6: "both"}),
        ([("front", {}), ("both", {})], {4: "both", 6: "both"}),
        ([("lan", {}), ("front", {})], {4: "front"}),
        ([("lan", {"gw_priority": 1}), ("front", {})], {4: "lan"}),
        ([("mesh", {"gw_priority": 5}), ("both", {"gw_priority": 4})], {4: "mesh", 6: "mesh"}),
        ([("front", {"gw_priority": 9}), ("both", {})], {4: "front", 6: "both"}),
        ([("front", {"gw_priority": -1}), ("lan", {"gw_priority": -2})], {4: "front"}),
        ([("inside", {}), ("dark", {})], {}),
        ([("inside", {"gw_priority": 100}), ("mesh", {})], {4: "mesh", 6: "mesh"}),
        ([("front", {"default_route": False}), ("mesh", {})], {4: "mesh", 6: "mesh"}),
    ],
)
def test_the_way_out(ends: list[tuple[str, dict[str, Any]]], expected: dict[int, str]) -> None:
    assert chosen(*ends) == expected
    assert chosen(*reversed(ends)) == expected


@pytest.mark.parametrize(
    ("item", "field", "words"),
    [
        ({"network": "host", "ip": "10.0.1.5"}, "ip", "no interface of crosshost's"),
        ({"network": "none", "publish": ["80"]}, "publish", "leave it out"),
        ({"network": "container:app"}, "network", "the sandbox itself"),
        ({"network": "container:"}, "network", "beginning with a letter"),
        ({"network": "lan", "ip": "192.168.7.5", "publish": ["80"]}, "publish", "on the LAN"),
        ({"network": "inside", "publish": ["80:80"]}, "publish", "internal"),
        ({"network": "front", "publish": ["80:80"], "default_route": False}, "publish", "default_route"),
        ({"network": "front", "gw_priority": "high"}, "gw_priority", "a number"),
        ({"network": "front", "aliases": ["a b"]}, "aliases[0]", "use letters"),
        ({"network": "front", "ip": "172.20.0.1"}, "ip", "gateway"),
        ({"network": "mesh"}, "ip", "give the endpoint an address"),
    ],
)
def test_what_cannot_be_right(item: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        endpoint.parse_all([{"sandbox": "app", **item}], NETWORKS, BRIDGES)
    assert (caught.value.field, words in caught.value.remedy) == (field, True), str(caught.value)


def test_a_sandbox_in_a_mode_is_in_it_alone() -> None:
    items = [{"network": "host", "sandbox": "app"}, {"network": "front", "sandbox": "app"}]
    with pytest.raises(SpecError, match="endpoint host/app has the same sandbox"):
        endpoint.parse_all(items, NETWORKS, BRIDGES)
