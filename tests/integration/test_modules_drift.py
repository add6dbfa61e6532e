# SPDX-License-Identifier: GPL-3.0-or-later
"""network_info: facts, and drift. What others change in our kernel state shows as exactly the commands that mend it; the next
run of the module carries out exactly those; and what is not ours is no drift."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from tests.integration.lab_run import Lab, Result, Step, declare, session_lab, step  # noqa: F401

pytestmark = [pytest.mark.lab, pytest.mark.slow]
GWBRIDGE = {"name": "xh_gwbridge", "subnet": "172.30.0.0/16"}
NETWORKS: list[dict[str, Any]] = [
    {"name": "web", "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}, {"subnet": "fd50::/64"}]},
    {"name": "open", "control_plane": "flood", "subnets": [{"subnet": "10.51.0.0/24", "vni": 5001}]},
]
HOMES = ("h1", "h3")  # they bear the same, so that two harms can be done at once


def declared(home: str) -> dict[str, Any]:
    ends: list[dict[str, Any]] = [
        {
            "host": home,
            "network": "web",
            "sandbox": "box",
            "create": True,
            "ip": "10.50.0.11",
            "ip6": "fd50::11",
        },
        {"host": home, "network": "open", "sandbox": "box", "ip": "10.51.0.11"},
        {
            "host": "h2",
            "network": "web",
            "sandbox": "far",
            "create": True,
            "ip": "10.50.0.12",
            "ip6": "fd50::12",
        },
    ]
    return declare(NETWORKS, ends, [GWBRIDGE], (home, "h2"))[home]


HOSTS = {home: declared(home) for home in HOMES}
KINDS = {"overlay_network": "overlay_networks", "gwbridge": "gwbridges", "endpoint": "endpoints"}
FAR = "02:42:0a:32:00:0c"


class Harm(NamedTuple):
    """Lines for sh on the host, and the commands that have to mend it, by module (None: whatever they are)."""

    name: str
    script: str
    drift: dict[str, list[str] | None]


def overlay(*lines: str) -> dict[str, list[str] | None]:
    return {"overlay_network": list(lines)}


def endpoint(*lines: str) -> dict[str, list[str] | None]:
    return {"endpoint": list(lines)}


HARMS = [
    Harm(
        "row-removed",
        f"bridge -n xh-web fdb del {FAR} dev vx5000 dst 10.98.0.2 self",
        overlay(f"bridge -n xh-web fdb replace {FAR} dev vx5000 dst 10.98.0.2 self permanent"),
    ),
    Harm(
        "row-moved",
        f"bridge -n xh-web fdb replace {FAR} dev vx5000 dst 10.98.0.3 self permanent",
        overlay(f"bridge -n xh-web fdb replace {FAR} dev vx5000 dst 10.98.0.2 self permanent"),
    ),
    Harm(
        "foreign-row",
        "bridge -n xh-web fdb append 02:00:00:00:00:99 dev vx5000 dst 10.98.0.3 self permanent",
        overlay("bridge -n xh-web fdb del 02:00:00:00:00:99 dev vx5000 dst 10.98.0.3 self"),
    ),
    Harm(
        "foreign-peer",
        "bridge -n xh-open fdb append 00:00:00:00:00:00 dev vx5001 dst 10.98.0.77 self permanent",
        overlay("bridge -n xh-open fdb del 00:00:00:00:00:00 dev vx5001 dst 10.98.0.77 self"),
    ),
    Harm(
        "neighbour-changed",
        "ip -n xh-web neigh replace 10.50.0.12 lladdr 02:00:00:00:00:99 dev vx5000 nud permanent",
        overlay(f"ip -n xh-web neigh replace 10.50.0.12 lladdr {FAR} dev vx5000 nud permanent"),
    ),
    Harm(
        "gateway-removed",
        "ip -n xh-web addr del 10.50.0.1/24 dev br5000",
        overlay("ip -n xh-web addr add 10.50.0.1/24 dev br5000"),
    ),
    Harm(
        "foreign-address",
        "ip -n xh-web addr add 10.50.0.99/24 dev br5000",
        overlay("ip -n xh-web addr del 10.50.0.99/24 dev br5000"),
    ),
    Harm("bridge-down", "ip -n xh-web link set br5000 down", {"overlay_network": None}),
    Harm("tunnel-down", "ip -n xh-open link set vx5001 down", {"overlay_network": None}),
    Harm(
        "mtu-lowered",
        "ip -n xh-web link set vx5000 mtu 1300",
        overlay("ip -n xh-web link set vx5000 mtu 1450"),
    ),
    Harm("tunnel-removed", "ip -n xh-web link del vx5000", {"overlay_network": None}),
    Harm(
        "learning-on",
        "bridge -n xh-web link set dev vx5000 learning on",
        overlay("bridge -n xh-web link set dev vx5000 learning off"),
    ),
    Harm(
        "address-of-a-sandbox-removed",
        "ip -n box addr del 10.50.0.11/24 dev eth0",
        endpoint("ip -n box addr add 10.50.0.11/24 dev eth0"),
    ),
    Harm(
        "gateway-of-a-sandbox-changed",
        "ip -n box neigh replace 10.51.0.1 lladdr 02:00:00:00:00:99 dev eth1 nud permanent",
        {"endpoint": None},
    ),
    Harm("link-of-a-sandbox-down", "ip -n box link set eth1 down", {"endpoint": None}),
    Harm("link-of-a-sandbox-removed", "ip -n box link del eth0", {"endpoint": None}),
    Harm(
        "default-route-removed",
        "ip -n box route del default",
        endpoint("ip -n box route add 0.0.0.0/0 via 172.30.0.1 dev gw0 proto static"),
    ),
    Harm("leg-removed", "ip -n box link del gw0", {"endpoint": None}),
    Harm("sandbox-removed", "ip netns del box", {"endpoint": None}),
    Harm(
        "bridge-address-removed",
        "ip addr del 172.30.0.1/16 dev xh_gwbridge",
        {"gwbridge": ["ip addr add 172.30.0.1/16 dev xh_gwbridge"]},
    ),
    Harm("rules-flushed", "nft flush ruleset", {"gwbridge": None}),
    Harm("rule-removed", "nft flush chain inet crosshost xh_gwbridge-forward", {"gwbridge": None}),
    Harm(
        "forwarding-off",
        "sysctl -q net.ipv4.ip_forward=0",
        {"gwbridge": ["sysctl -w net.ipv4.ip_forward=1"]},
    ),
]


@pytest.fixture(scope="module")
def healthy(session_lab: Lab) -> Lab:
    """Hosts that are as declared."""
    session_lab.reset()
    session_lab.converge(HOSTS)
    return session_lab


def drift(found: dict[str, Any]) -> dict[str, list[str]]:
    return {kind: lines for kind, lines in found["drift"].items() if lines}


@pytest.fixture(scope="module")
def mended(healthy: Lab) -> dict[str, list[Result]]:
    """By harm: what network_info told then, and what each module did. One harm after the other on a host, so that what one
    leaves behind would show as drift in the next."""

    def share(place: int) -> dict[str, list[Result]]:
        host, harms = HOMES[place], HARMS[place :: len(HOMES)]
        steps: list[Step] = []
        for harm in harms:
            steps.append(step(host, "ansible.builtin.raw", {"_raw_params": harm.script}))
            steps.append(step(host, "network_info"))
            steps += [step(host, kind, {"config": HOSTS[host][KINDS[kind]]}) for kind in sorted(harm.drift)]
        results = [one[host] for one in healthy.play(*steps, step(host, "network_info"))]
        assert not results[-1]["drifted"], results[-1]["drift"]
        found: dict[str, list[Result]] = {}
        for harm in harms:
            size = 2 + len(harm.drift)
            assert results[0]["rc"] == 0, results[0]
            found[harm.name], results = results[1:size], results[size:]
        return found

    with ThreadPoolExecutor(len(HOMES)) as pool:
        first, second = pool.map(share, range(len(HOMES)))
    healthy.check(HOSTS)
    return {**first, **second}


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.name)
def test_drift_shows_and_is_mended_exactly(mended: dict[str, list[Result]], harm: Harm) -> None:
    info, *repaired = mended[harm.name]
    assert info["drifted"] and not info["changed"] and info["errors"] == {}
    shown = drift(info)
    kinds = sorted(harm.drift)
    assert sorted(shown) == kinds
    for kind, result in zip(kinds, repaired):
        assert result.get("changed"), result
        assert shown[kind] == result["commands"]
        expected = harm.drift[kind]
        assert expected is None or result["commands"] == expected


def test_facts(healthy: Lab) -> None:
    before = healthy.picture()
    found, part = (
        one["h1"]
        for one in healthy.play(
            step("h1", "network_info"), step("h1", "network_info", {"gather": ["gwbridges"]})
        )
    )
    assert healthy.picture() == before
    assert not found["drifted"] and found["errors"] == {} and drift(found) == {}
    networks = {one["name"]: one for one in found["overlay_networks"]}
    assert sorted(networks) == ["open", "web"]
    web = networks["web"]
    assert (web["namespace"], web["present"], web["fdb_rows"], web["neighbours"]) == ("xh-web", True, 1, 2)
    assert sorted(web["addresses"]) == ["10.50.0.1/24", "fd50::1/64"] and web["endpoints"] == ["box"]
    assert {link["name"]: (link["mtu"], link["up"]) for link in web["links"]} == dict.fromkeys(
        ("br5000", "vx5000"), (1450, True)
    )
    (bridge,) = found["gwbridges"]
    assert (bridge["name"], bridge["present"], bridge["addresses"], bridge["mtu"], bridge["sandboxes"]) == (
        "xh_gwbridge",
        True,
        ["172.30.0.1/16"],
        1500,
        ["box"],
    )
    ends = {one["id"]: one for one in found["endpoints"]}
    assert sorted(ends) == ["open/box", "web/box"]
    assert sorted(ends["web/box"]["addresses"])[0] == "10.50.0.11/24"
    assert (ends["web/box"]["mac"], ends["web/box"]["mtu"]) == ("02:42:0a:32:00:0b", 1450)
    assert set(part) & {"overlay_networks", "endpoints"} == set() and part["gwbridges"] == found["gwbridges"]


def test_what_is_not_ours_is_no_drift(healthy: Lab) -> None:
    """Links, namespaces, tables and rows of others stay, and no run wants them away."""
    lab = healthy
    lab.script(
        "h1",
        """ip netns add others
        ip link add other0 type bridge
        ip -n box link add mine0 type bridge
        ip -n box addr add 192.0.2.1/24 dev mine0
        nft add table inet others
        nft add chain inet others forward '{ type filter hook forward priority 0; }'
        ip -n box link set mine0 up
        ip -n box route add 198.51.100.0/24 via 192.0.2.9 dev mine0""",
    )
    try:
        before = lab.picture()
        steps = [
            step("h1", kind, {"state": "overridden", "config": HOSTS["h1"][KINDS[kind]]}) for kind in KINDS
        ]
        info, *runs = (found["h1"] for found in lab.play(step("h1", "network_info"), *steps))
        assert not info["drifted"], info["drift"]
        assert [result["changed"] for result in runs] == [False] * 3
        assert lab.picture() == before
    finally:
        lab.script(
            "h1",
            "ip netns del others; ip link del other0; ip -n box link del mine0; nft delete table inet others",
        )
