# SPDX-License-Identifier: GPL-3.0-or-later
"""Bridge networks: declarations that cannot be right, and what right ones are made of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.compile.bridge import (
    compile_bridge,
    compile_rules,
    port_flags,
)
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.render_nft import rule_text
from ansible_collections.crosshost.network.plugins.module_utils.resources import (
    Address,
    Link,
    NftChain,
    NftElement,
    NftMap,
    Sysctl,
    state_of,
)
from ansible_collections.crosshost.network.plugins.module_utils.spec import gwbridge
from ansible_collections.crosshost.network.plugins.module_utils.spec.bridge import Bridge, parse, parse_all

GOOD: dict[str, Any] = {"name": "web", "subnets": [{"subnet": "10.70.0.0/24"}, {"subnet": "fd70::/64"}]}

# (what differs from GOOD, what the line has to name)
BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"name": None}, ["name None"]),
    ({"name": "a/b"}, ["name 'a/b'"]),
    ({"name": "x" * 61}, ["61 characters"]),
    ({"bridge": "much-too-long-for-it"}, ["bridge 'much-too-long-for-it'", "15"]),
    ({"bridge": "lo"}, ["bridge 'lo'"]),
    ({"bridge": "all"}, ["bridge 'all'"]),
    ({"subnets": []}, ["subnets []"]),
    ({"subnets": None}, ["subnets None"]),
    ({"subnets": [{"subnet": "10.70.0.1/24"}]}, ["the network is 10.70.0.0/24"]),
    ({"subnets": [{"subnet": "10.70.0.0/24", "vni": 5000}]}, ["vni", "no such option"]),
    ({"subnets": [{"subnet": "10.70.0.0/24"}, {"subnet": "10.70.0.0/25"}]}, ["it overlaps"]),
    ({"subnets": [{"subnet": "10.70.0.0/24", "gateway": "10.71.0.1"}]}, ["gateway '10.71.0.1'", "outside"]),
    ({"subnets": [{"subnet": "10.70.0.0/24", "ip_range": "10.71.0.0/25"}]}, ["ip_range", "outside"]),
    ({"subnets": [{"subnet": "10.70.0.0/24", "aux_addresses": {"a": "10.70.0.1"}}]}, ["aux_addresses.a", "gateway"]),
    ({"internal": "yes"}, ["internal 'yes'", "true or false"]),
    ({"icc": 1}, ["icc 1"]),
    ({"ip_masquerade": 0}, ["ip_masquerade 0"]),
    ({"mtu": 1000}, ["mtu 1000", "IPv6 needs at least 1280"]),
    ({"mtu": 100}, ["mtu 100"]),
    ({"host_ip": "localhost"}, ["host_ip 'localhost'"]),
    ({"host_ip": "::1"}, ["host_ip '::1'", "127.0.0.1"]),
    ({"host_ip": 7}, ["host_ip 7"]),
    ({"labels": {"a": []}}, ["labels"]),
    ({"driver": "bridge"}, ["driver", "no such option"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), BAD, ids=[str(change) for change, _ in BAD])
def test_what_cannot_be_right_is_refused_by_one_line(change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(SpecError) as raised:
        parse({**GOOD, **change})
    text = str(raised.value)
    assert text.startswith("bridge_network ")
    assert all(word in text for word in words), text
    assert "\n" not in text


def test_networks_of_a_host_are_told_apart() -> None:
    other = {"name": "app", "subnets": [{"subnet": "10.71.0.0/24"}]}
    assert [one.bridge for one in parse_all([GOOD, other])] == ["xb-web", "xb-app"]
    for change, words in (
        ({"name": "web"}, "declared twice"),
        ({"bridge": "xb-web"}, "bridge_network web has it"),
        ({"subnets": [{"subnet": "10.70.0.128/25"}]}, "it overlaps 10.70.0.0/24 of bridge_network web"),
    ):
        with pytest.raises(SpecError, match=words):
            parse_all([GOOD, {**other, **change}])


def test_a_bridge_has_the_networks_name_or_a_digest_of_it() -> None:
    assert parse({**GOOD, "name": "twelve-bytes"}).bridge == "xb-twelve-bytes"
    long = parse({**GOOD, "name": "thirteen-char"}).bridge
    assert long.startswith("xb-") and len(long) == 15
    assert long != parse({**GOOD, "name": "thirteen-chars"}).bridge


def _network(**change: Any) -> Bridge:
    return parse({**GOOD, **change})


def test_the_bridge_and_its_settings() -> None:
    found = list(compile_bridge(_network(mtu=1400)))
    (link,) = [one for one in found if isinstance(one, Link)]
    assert (link.name, link.kind, link.alias, link.mtu) == ("xb-web", "bridge", "crosshost:bridge/web", 1400)
    assert {(one.address, one.prefixlen) for one in found if isinstance(one, Address)} == {
        ("10.70.0.1", 24),
        ("fd70::1", 64),
    }
    assert {one.name for one in found if isinstance(one, Sysctl)} == {
        "net.ipv4.ip_forward",
        "net.ipv6.conf.all.forwarding",
    }
    internal = list(compile_bridge(_network(internal=True)))
    assert not [one for one in internal if isinstance(one, Sysctl)]
    assert [one for one in internal if isinstance(one, Address)]
    bare = _network(subnets=[{"subnet": "10.70.0.0/24", "gateway": "none"}])
    assert not [one for one in compile_bridge(bare) if isinstance(one, Address)]


def test_ports_are_isolated_without_icc_alone() -> None:
    assert port_flags(_network(icc=False)) == (("isolated", 1),)
    assert ("isolated", 1) not in port_flags(_network())


def _words(networks: list[Bridge]) -> dict[str, list[str]]:
    """The chains' rules and the maps' elements, as nft writes them."""
    found: dict[str, list[str]] = {}
    for one in compile_rules(networks):
        if isinstance(one, NftChain):
            found[one.name] = [rule_text(json.loads(rule)) for rule in one.rules]
        elif isinstance(one, NftElement):
            key = json.loads(one.key)
            words = " . ".join(key["concat"]) if isinstance(key, dict) else key
            found.setdefault(one.map, []).append(f"{words} : {one.target}")
    return found


def test_the_rules_that_all_networks_share() -> None:
    networks = [
        _network(),
        parse({"name": "db", "subnets": [{"subnet": "10.72.0.0/24"}], "internal": True}),
        parse({"name": "quiet", "subnets": [{"subnet": "10.73.0.0/24"}], "icc": False}),
        parse({"name": "plain", "subnets": [{"subnet": "10.74.0.0/24"}], "ip_masquerade": False}),
    ]
    assert _words(networks) == {
        "bridge-within": [f"{name} . {name} : bridge-open" for name in ("xb-web", "xb-db", "xb-plain")],
        "bridge-out-of": ["xb-db : bridge-closed"],
        "bridge-into": [
            "xb-web : bridge-filtered",
            "xb-db : bridge-closed",
            "xb-quiet : bridge-filtered",
            "xb-plain : bridge-filtered",
        ],
        "bridge-open": ["accept"],
        "bridge-closed": ["drop"],
        "bridge-filtered": ["ct state established,related accept", "ct status dnat accept", "drop"],
        "bridge-forward": [
            "meta iifname . meta oifname vmap @bridge-within",
            "meta iifname vmap @bridge-out-of",
            "meta oifname vmap @bridge-into",
        ],
        "bridge-staying": [f"{name} . {name} : bridge-as-it-is" for name in ("xb-web", "xb-quiet")],
        "bridge-leaving": ["xb-web : bridge-masqueraded", "xb-quiet : bridge-masqueraded"],
        "bridge-as-it-is": [],
        "bridge-masqueraded": ["masquerade"],
        "bridge-nat": [
            "meta iifname . meta oifname vmap @bridge-staying",
            "meta iifname vmap @bridge-leaving",
        ],
    }


@pytest.mark.parametrize("name", ["bridge", "bridge-1", "publish", "service-a", "ingress"])
def test_a_gateway_bridge_is_not_called_as_other_objects_chains(name: str) -> None:
    with pytest.raises(SpecError, match="nft chains of other objects begin with"):
        gwbridge.parse({"name": name, "subnet": "172.30.0.0/16"})


def test_no_network_no_rule() -> None:
    assert list(compile_rules([])) == []


def test_every_element_has_its_map_and_chain() -> None:
    found = list(compile_rules([_network(), _network(name="db", internal=True)]))
    state_of(found)  # no object twice
    chains = {one.name for one in found if isinstance(one, NftChain)}
    maps = {one.name for one in found if isinstance(one, NftMap)}
    for one in found:
        if isinstance(one, NftElement):
            assert one.map in maps and one.target in chains
