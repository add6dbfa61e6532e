# SPDX-License-Identifier: GPL-3.0-or-later
"""Bridge and macvlan networks in the cluster's declaration, and sandboxes that are in no network."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError

from tests.support.clusters import ENDS, INGRESS, WEB, cluster, end, seen

BACK = {"name": "back", "subnets": [{"subnet": "10.50.0.0/24"}]}
LAN = {
    "name": "lan",
    "parent": "eth1",
    "subnets": [{"subnet": "192.168.7.0/24", "gateway": "192.168.7.1", "ip_range": "192.168.7.128/25"}],
}


def bridges(*items: Any, **more: Any) -> dict[str, Any]:
    return {"crosshost_bridge_networks": list(items), **more}


def lans(*items: Any, **more: Any) -> dict[str, Any]:
    return {"crosshost_macvlan_networks": list(items), **more}


# -- bridge networks


def test_a_groups_bridge_networks_are_on_its_hosts() -> None:
    far = {"name": "far", "subnets": [{"subnet": "10.51.0.0/24"}]}
    declared = bridges(BACK, {**far, "hosts": ["front"]})
    assert seen("h1", **declared)["bridge_networks"] == [BACK, far]
    found = seen("h3", **declared)
    assert found["bridge_networks"] == [BACK]
    assert found["firewall_forwards"] == ["xh_gwbridge", "xb-back"]


def test_hosts_may_have_different_bridge_networks_of_one_name() -> None:
    other = {"name": "back", "bridge": "xbother", "subnets": [{"subnet": "10.51.0.0/24"}], "mtu": "1400"}
    each = {"h1": bridges(BACK), "h2": bridges(other)}
    assert seen("h1", each=each)["bridge_networks"] == [BACK]
    assert seen("h2", each=each)["bridge_networks"] == [{**other, "mtu": 1400}]
    assert seen("h2", each=each)["firewall_forwards"] == ["xh_gwbridge", "xbother"]
    assert seen("h3", each=each)["bridge_networks"] == []


def test_endpoints_of_one_address_on_bridges_of_two_hosts() -> None:
    ends = [end("h1", "back", "x", "10.50.0.9"), end("h2", "back", "x", "10.50.0.9"), end("h2", "back", "y")]
    assert len(seen("h2", ends=ends, **bridges(BACK))["endpoints"]) == 2


# -- macvlan networks


def test_each_host_has_a_part_of_the_range_and_a_shim_in_it() -> None:
    parts = {}
    for host in ("h1", "h2", "h3"):
        (item,) = seen(host, **lans({**LAN, "shim": True, "host_prefix": "27"}))["macvlan_networks"]
        (part,) = item["host_range"]
        parts[host] = ipaddress.ip_network(part)
        assert parts[host].prefixlen == 27
        assert parts[host].subnet_of(ipaddress.ip_network("192.168.7.128/25"))  # type: ignore[arg-type]
        assert item["shim"] == str(parts[host][0])
        assert {field: item[field] for field in LAN} == LAN
    assert len(set(parts.values())) == 3


def test_parts_and_shims_by_hand() -> None:
    by_hand = {"host_ranges": {"h2": "192.168.7.128/26"}, "shims": {"h2": "192.168.7.20"}}
    (two,) = seen("h2", **lans({**LAN, **by_hand}))["macvlan_networks"]
    assert two == {**LAN, "host_range": ["192.168.7.128/26"], "shim": "192.168.7.20"}
    (one,) = seen("h1", **lans({**LAN, **by_hand}))["macvlan_networks"]
    assert "shim" not in one
    assert ipaddress.ip_address(one["host_range"][0].partition("/")[0]) > ipaddress.ip_address(
        "192.168.7.191"
    )


def test_parents_may_differ() -> None:
    each = {"h2": lans({**LAN, "parent": "enp3s0"})}
    assert seen("h1", each=each, **lans(LAN))["macvlan_networks"][0]["parent"] == "eth1"
    assert seen("h2", each=each, **lans(LAN))["macvlan_networks"][0]["parent"] == "enp3s0"


def test_both_families_have_parts() -> None:
    subnets = [*LAN["subnets"], {"subnet": "fd07::/64", "ip_range": "fd07::/72"}]
    (item,) = seen("h1", **lans({**LAN, "subnets": subnets, "shim": True}))["macvlan_networks"]
    four, six = map(ipaddress.ip_network, item["host_range"])
    assert (four.prefixlen, six.prefixlen) == (28, 80)
    # the first address of the whole subnet is the routers' anycast address
    assert ipaddress.ip_address(item["shim6"]) in six and item["shim6"] != "fd07::"


def test_a_lan_has_the_vteps_in_it() -> None:
    lan = {**LAN, "subnets": [{"subnet": "10.98.0.0/24", "ip_range": "10.98.0.128/25"}]}
    assert len(seen("h1", **lans(lan))["macvlan_networks"]) == 1


def test_endpoints_without_an_address_take_one_of_their_hosts_part() -> None:
    ends = [end("h1", "lan", "x"), end("h2", "lan", "x")]
    assert seen("h1", ends=ends, **lans(LAN))["endpoints"] == [{"network": "lan", "sandbox": "x"}]


# -- neither


def test_sandboxes_in_no_network() -> None:
    ends = [
        *ENDS,
        end("h1", "host", "m", create=True),
        end("h1", "none", "v"),
        end("h1", "container:a", "s"),
    ]
    assert [item["network"] for item in seen("h1", ends=ends)["endpoints"]] == [
        "web",
        "host",
        "none",
        "container:a",
    ]


def test_what_the_module_knows_of_endpoints_is_passed_on() -> None:
    more = {"gw_priority": 3, "publish": ["8080:80"], "aliases": ["www"], "dns": False}
    assert seen("h1", ends=[end("h1", "web", "a", "10.0.1.11", **more)])["endpoints"][0] == {
        "network": "web",
        "sandbox": "a",
        "ip": "10.0.1.11",
        **more,
    }


OUTSIDE = {"subnets": [{"subnet": "10.0.1.128/25"}]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            bridges({**BACK, "icq": True}),
            "bridge_network back: icq True: there is no such option",
        ),
        (bridges(BACK, BACK), "bridge_network back on host h1: name 'back': it is declared twice"),
        (
            {"each": {"h1": bridges({**BACK, "hosts": ["h2"]})}},
            "bridge_network back: hosts 'h2': that host does not have this list",
        ),
        (
            bridges({**BACK, "hosts": ["h9"]}),
            "bridge_network back: hosts 'h9': there is no such host",
        ),
        (bridges({**BACK, "name": "web"}), "bridge_network web: name 'web': overlay_network web has it"),
        (bridges({**BACK, "name": "none"}), "bridge_network none: name 'none': an endpoint's network none"),
        (
            bridges({**BACK, **OUTSIDE}),
            "bridge_network back on host h1: subnet '10.0.1.128/25': it overlaps 10.0.1.0/24 of overlay_network web",
        ),
        (
            bridges({**BACK, "subnets": [{"subnet": "172.30.1.0/24"}]}),
            "it overlaps 172.30.0.0/16 of gwbridge xh_gwbridge",
        ),
        (
            bridges({**BACK, "bridge": "xh_gwbridge"}),
            "bridge 'xh_gwbridge': it is the host's gateway bridge",
        ),
        (
            bridges({**BACK, "subnets": [{"subnet": "10.98.0.0/30"}]}),
            "bridge_network back: subnet '10.98.0.0/30': the VTEP of host h1, 10.98.0.1, is inside",
        ),
        (
            bridges(BACK, each={"h3": {"crosshost_bridge_networks": []}}, ends=[end("h3", "back", "x")]),
            "endpoint back/x: host 'h3': network back is not on host h3",
        ),
        (
            bridges(BACK, ends=[end("h1", "back", "x", "10.50.0.9"), end("h1", "back", "y", "10.50.0.9")]),
            "endpoint back/y on host h1: ip '10.50.0.9': endpoint back/x has it already",
        ),
        (lans({**LAN, "parent": "lo"}), "macvlan lan: parent 'lo'"),
        (
            lans(LAN, each={"h2": lans({**LAN, "parent": "eth0.4095"})}),
            "macvlan lan on host h2: parent 'eth0.4095'",
        ),
        (
            lans(LAN, each={"h2": lans({**LAN, "mode": "private"})}),
            "macvlan lan: mode 'private': on host h2, but None on host h1",
        ),
        (lans({**LAN, "mode": "l2"}), "macvlan lan: mode 'l2'"),
        (lans({**LAN, "host_range": ["192.168.7.128/28"]}), "macvlan lan: host_range"),
        (lans({**LAN, "host_prefix": 24}), "macvlan lan: host_prefix 24: the length of a host's part"),
        (lans({**LAN, "host_prefix": 26}), "room for 2 hosts with /26 each, and there are 3"),
        (lans({**LAN, "host_ranges": {"h9": "192.168.7.128/28"}}), "macvlan lan: host_ranges 'h9'"),
        (
            lans({**LAN, "host_ranges": {"h1": "192.168.7.0/28"}}),
            "macvlan lan: host_range of host h1 '192.168.7.0/28': it is outside",
        ),
        (
            lans({**LAN, "host_ranges": {"h1": "192.168.7.128/27", "h2": "192.168.7.144/28"}}),
            "host_range of host h2 '192.168.7.144/28': it overlaps 192.168.7.128/27 of host h1",
        ),
        (
            lans({**LAN, "shims": {"h1": "192.168.8.1"}}),
            "macvlan lan on host h1: shim '192.168.8.1': it is in no subnet",
        ),
        (
            lans({**LAN, "shims": {"h1": "192.168.7.9", "h2": "192.168.7.9"}}),
            "macvlan lan: shims.h2 '192.168.7.9': host h1 has it already",
        ),
        (
            lans({**LAN, "shim": True, "subnets": [{"subnet": "192.168.7.0/24"}]}),
            "macvlan lan: shim True: host h1 has no part of a range",
        ),
        (
            lans({**LAN, "shim": True, "mode": "private"}),
            "children do not reach each other in mode private",
        ),
        (
            lans(LAN, {**LAN, "name": "lan2"}),
            "macvlan lan2 on host h1: subnet '192.168.7.0/24': it overlaps 192.168.7.0/24 of macvlan lan",
        ),
        (
            lans({**LAN, "subnets": [{"subnet": "10.0.1.0/24"}]}),
            "overlay_network web: subnet '10.0.1.0/24': it overlaps 10.0.1.0/24 of macvlan lan",
        ),
        (
            lans({**LAN, "subnets": [{"subnet": "10.255.0.0/16"}]}, crosshost_ingress=INGRESS),
            "macvlan lan: subnet '10.255.0.0/16': it overlaps 10.255.0.0/24 of ingress ingress",
        ),
        (
            lans({**LAN, "subnets": [{"subnet": "10.98.0.0/24", "ip_range": "10.98.0.0/25"}]}),
            "macvlan lan: ip_range '10.98.0.0/25': host h1 has 10.98.0.1, which would be handed out",
        ),
        (
            lans({**LAN, "subnets": [{"subnet": "10.98.0.0/24"}]}, ends=[end("h1", "lan", "x", "10.98.0.2")]),
            "endpoint lan/x on host h1: ip '10.98.0.2': host h2 has it",
        ),
        (
            lans({**LAN, "shims": {"h2": "192.168.7.9"}}, ends=[end("h1", "lan", "x", "192.168.7.9")]),
            "endpoint lan/x on host h1: ip '192.168.7.9': host h2's own child has it",
        ),
        (
            lans(
                {**LAN, "host_ranges": {"h2": "192.168.7.128/28"}},
                ends=[end("h1", "lan", "x", "192.168.7.130")],
            ),
            "endpoint lan/x on host h1: ip '192.168.7.130': it is in the part of macvlan lan's range that host h2",
        ),
        (
            lans(
                {**LAN, "subnets": [{"subnet": "192.168.7.0/24"}]},
                ends=[end("h1", "lan", "x")],
            ),
            "endpoint lan/x on host h1: ip None: the network is on several hosts",
        ),
        (
            lans(LAN, ends=[end("h1", "lan", "x", "192.168.7.9"), end("h2", "lan", "y", "192.168.7.9")]),
            "endpoint lan/y on host h2: ip '192.168.7.9': endpoint lan/x on host h1 has it already",
        ),
        (
            lans(
                {**LAN, "mode": "passthru"},
                {"name": "lan2", "parent": "eth1", "subnets": [{"subnet": "192.168.8.0/24"}]},
            ),
            "macvlan lan on host h1: parent 'eth1': passthru needs the device for itself",
        ),
        (
            {"ends": [end("h1", "host", "m", "10.0.1.9")]},
            "endpoint host/m on host h1: ip '10.0.1.9': with network host",
        ),
    ],
)
def test_mistakes(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        cluster(**{"networks": [WEB], "ends": [], **change})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
