# SPDX-License-Identifier: GPL-3.0-or-later
"""Name servers that are killed, altered by others, refused, and removed; sandboxes that come and go."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.integration.lab_run import step
from tests.integration.names_lab import (
    FORMER,
    GWBRIDGE,
    HOSTS,
    NAMES,
    OUTSIDE,
    WEB,
    Named,
    named,  # noqa: F401
)

pytestmark = [pytest.mark.lab, pytest.mark.slow]
OWN = {"config": NAMES, "state": "overridden"}


def test_a_killed_name_server_comes_back(named: Named) -> None:
    lab = named.lab
    before = lab.pid("h1", "web")
    lab.run("h1", "kill", "-9", str(before))
    deadline = time.monotonic() + 5
    while lab.short("h1/shop", f"@{WEB}", "cart", "A") != ["10.50.0.21"]:
        assert time.monotonic() < deadline
    assert lab.pid("h1", "web") not in (0, before)
    assert not lab.names("h1", OWN)["changed"]


def test_a_run_that_was_killed_before_it_told_the_name_server_is_mended(named: Named) -> None:
    """What is remembered as told is older than the files."""
    lab = named.lab
    told = "/run/crosshost/units/crosshost-dns@web.service"
    lab.script("h1", f"sed -i 's/ .*/ 0123456789abcdef/' {told}")
    done = lab.names("h1", OWN)
    assert [line for line in done["commands"] if "systemctl" in line] == [
        "systemctl reload crosshost-dns@web.service"
    ]
    assert not lab.names("h1", OWN)["changed"]


DAMAGES = [
    # somebody's hosts, which the name server has read; a container's file that its engine wrote anew
    (
        "echo 10.50.0.99 cart.web cart > /run/crosshost/dns/web/hosts; systemctl reload crosshost-dns@web\n"
        f"rm /etc/netns/both/resolv.conf; printf %s '{FORMER}' > /run/t-resolv"
    ),
    "rm -r /run/crosshost/dns /run/systemd/system/crosshost-dns@.service; systemctl stop crosshost-dns@web",
    "ip netns exec xh-web nft flush ruleset; ip -n xh-web link del gw0",
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_somebody_altered_is_mended(named: Named, damage: str) -> None:
    lab = named.lab
    lab.script("h1", damage)
    mended, again = (found["h1"] for found in lab.play(*[step("h1", "names", OWN)] * 2))
    assert mended["changed"] and not again.get("changed", True), (mended, again)
    assert lab.short("h1/shop", f"@{WEB}", "cart", "A") == ["10.50.0.21"]
    assert lab.script("h1", "ip netns exec both dig +short vault").split() == ["10.51.0.21"]
    with lab.upstream():
        assert lab.short("h1/shop", f"@{WEB}", "www.example.org", "A") == ["192.0.2.99"]
    assert f"nameserver {WEB}" in lab.run("h1", "cat", "/run/t-resolv")


def test_no_sandbox_leaves_by_the_name_servers_leg(named: Named) -> None:
    """Even if the network's namespace forwards. Without the chain it would."""
    lab = named.lab
    lab.script("h1", f"ip -n left route add {OUTSIDE} via 10.50.0.1")
    lab.run("h1/xh-web", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    source = "ip saddr 10.50.0.0/24 masquerade"
    hook = "type nat hook postrouting priority 100;"
    lab.script("h1", f"ip netns exec xh-web nft 'table ip t {{ chain c {{ {hook} {source}; }}; }}'")
    lab.miss(("h1/left", OUTSIDE))
    lab.script("h1", "ip netns exec xh-web nft flush chain inet crosshost names-forward")
    lab.reach(("h1/left", OUTSIDE))
    lab.script("h1", f"ip netns exec xh-web nft delete table ip t; ip -n left route del {OUTSIDE}")
    lab.run("h1/xh-web", "sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward")
    assert lab.names("h1", OWN)["changed"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"network": "nowhere"}, "no such overlay network on this host (there are: db, six, web)"),
    (
        {"network": "web", "upstream": ["127.0.0.53"]},
        "upstream[0] '127.0.0.53': it is the host's own loopback",
    ),
    ({"network": "db", "forward": True}, "the network is internal"),
    ({"network": "web", "records": [{"name": "a b", "addresses": ["10.50.0.9"]}]}, "name 'a b': use letters"),
    (
        {"network": "web", "records": [{"name": "a", "addresses": ["10.9.0.9"]}]},
        "in no subnet of the network",
    ),
    (
        {"network": "web", "services": [{"name": "shop", "addresses": ["10.50.0.9"]}]},
        "records[shop] has that name already",
    ),
]


def test_what_cannot_be_is_refused_before_anything_is_touched(named: Named) -> None:
    lab = named.lab
    lab.script("h1", "mkdir -p /etc/netns/left; echo nameserver 192.0.2.1 > /etc/netns/left/resolv.conf")
    before = lab.picture("h1")
    steps = [step("h1", "names", {"config": [item]}) for item, _why in REFUSED]
    taken = [
        {**end, "dns": True} if end.get("sandbox") == "left" else end
        for end in named.hosts["h1"]["endpoints"]
    ]
    steps.append(step("h1", "names", {**OWN, "endpoints": taken}))
    said = [found["h1"].get("msg", "") for found in lab.play(*steps)]
    wanted = [*(why for _item, why in REFUSED), "/etc/netns/left/resolv.conf: crosshost did not write it"]
    assert [why for why, text in zip(wanted, said) if why not in text or "\n" in text] == [], said
    assert lab.picture("h1") == before
    lab.script("h1", "rm -r /etc/netns/left")


def test_the_hosts_own_name_servers_are_asked_unless_they_are_its_loopback(named: Named) -> None:
    lab = named.lab
    own = [{k: v for k, v in item.items() if k != "upstream"} for item in NAMES]
    args = {"config": own, "state": "overridden"}
    lab.script("h1", f"cp /etc/resolv.conf /run/t-own; echo nameserver {OUTSIDE} > /etc/resolv.conf")
    try:
        assert lab.names("h1", args)["changed"]
        with lab.upstream():
            assert lab.short("h1/shop", f"@{WEB}", "www.example.org", "A") == ["192.0.2.99"]
        lab.script("h1", "echo nameserver 127.0.0.53 > /etc/resolv.conf")
        assert "has only 127.0.0.53" in lab.names("h1", args)["msg"]
        lab.script(
            "h1",
            "mkdir -p /run/systemd/resolve; echo nameserver 192.0.2.54 > /run/systemd/resolve/resolv.conf",
        )
        assert lab.names("h1", args)["changed"]
        assert "server=192.0.2.54" in lab.run("h1", "cat", "/run/crosshost/dns/web/servers")
    finally:
        lab.script("h1", "cat /run/t-own > /etc/resolv.conf; rm -rf /run/systemd/resolve")
    assert lab.names("h1", OWN)["changed"]


def test_a_name_server_that_does_not_start_is_told_and_everything_undone(named: Named) -> None:
    lab = named.lab
    assert lab.names("h2", {"state": "deleted", "config": [{"network": "six"}]})["changed"]
    with lab.running("h2/xh-six", "nc", "-6", "-nvl", "fd52::1", "53", ready="Listening"):
        before = lab.picture("h2")
        said = lab.names("h2", OWN)["msg"]
        assert "unit crosshost-dns@six.service: it does not start: " in said and "in use" in said, said
        assert said.endswith("everything done before it was undone")
        assert lab.picture("h2") == before
    assert lab.names("h2", OWN)["changed"]


def test_endpoints_that_leave_take_their_files_along(named: Named) -> None:
    lab = named.lab
    gone = [
        {"network": "db", "sandbox": "both"},
        {"network": "web", "container": "ctr"},
        {"network": "web", "container": "bare"},
    ]
    steps = [step("h1", "endpoint", {"state": "deleted", "config": gone}), *[step("h1", "names", OWN)] * 2]
    _ends, done, again = (found["h1"] for found in lab.play(*steps))
    assert done["changed"] and not again["changed"]
    assert lab.run("h1", "cat", "/run/t-resolv") == FORMER and lab.run("h1", "ls", "-A", "/run/t-etc") == ""
    assert lab.run("h1", "cat", "/etc/netns/both/resolv.conf").startswith("# crosshost: web\n")
    assert lab.script("h1", "ip netns exec both dig +short cart.web").split() == ["10.50.0.21"]
    assert lab.script("h1", "ip netns exec both dig +short vault").split() == []
    assert lab.pid("h1", "web:db") == 0
    left = lab.script(
        "h1", "ls -d /run/crosshost/dns/web:db /run/systemd/system/*web:db* 2>/dev/null || true"
    )
    assert left == "" and "udp" not in lab.run("h1/xh-web", "nft", "list", "ruleset")
    back = lab.play(
        step("h1", "endpoint", {"config": named.hosts["h1"]["endpoints"]}), step("h1", "names", OWN)
    )
    assert back[1]["h1"]["changed"]
    assert lab.script("h1", "ip netns exec both dig +short vault.db").split() == ["10.51.0.21"]


def test_facts_and_the_way_back_after_everything_is_gone(named: Named) -> None:
    """As after a reboot: the networks are gone with their name servers' namespaces, what is recorded is there."""
    lab = named.lab
    facts = lab.module("h2", "network_info", {"gather": ["names"]})
    assert {one["name"]: one["present"] for one in facts["names"]} == dict.fromkeys(
        ("web", "db", "six"), True
    )
    assert not facts["drifted"], facts
    assert lab.module("h2", "host_restore", {"state": "present"})["changed"]
    networks = lab.module("h2", "overlay_network", {"state": "deleted", "config": [{"name": "web"}]})
    assert networks["changed"] and lab.pid("h2", "web") == 0, networks
    assert lab.script("h2", "ls -d /run/crosshost/dns/web /run/netns/xh-web 2>/dev/null || true") == ""
    assert lab.short("h2/vault", "@10.51.0.1", "vault") == ["10.51.0.21"]
    own = step("h2", "overlay_network", {"config": named.hosts["h2"]["overlay_networks"]})
    assert lab.play(own)[0]["h2"]["changed"]
    lab.script("h2", "systemctl stop 'crosshost-dns@*'; rm -rf /run/crosshost /etc/netns")
    lab.run("h2", "/usr/local/bin/crosshost", "restore")
    assert lab.short("h2/cart", f"@{WEB}", "shop", "A") == ["10.50.0.11"]
    assert "names    web                  up" in lab.run("h2", "/usr/local/bin/crosshost", "status")
    assert lab.module("h2", "host_restore", {"state": "absent"})["changed"]


def test_without_a_gateway_bridge_other_names_are_refused_at_once(named: Named) -> None:
    lab = named.lab
    for host in HOSTS:
        ends = [{**end, "default_route": False} for end in named.hosts[host]["endpoints"]]
        own = [
            step(host, "endpoint", {"config": ends, "state": "replaced"}),
            step(
                host, "names", {"state": "overridden", "config": [{**one, "forward": False} for one in NAMES]}
            ),
            step(host, "gwbridge", {"state": "deleted"}),
            step(host, "names", OWN),
        ]
        results = [found[host] for found in lab.play(*own)]
        assert all(found.get("changed") for found in results), results
    began = time.monotonic()
    assert lab.dig("h2/cart", f"@{WEB}", "www.example.org") == ("REFUSED", [])
    assert time.monotonic() - began < 1.5
    assert lab.short("h2/cart", f"@{WEB}", "shop.web", "A") == ["10.50.0.11"]
    assert "gw0" not in lab.run("h2/xh-web", "ip", "-br", "link")
    assert lab.module("h2", "gwbridge", {"config": [GWBRIDGE]})["changed"]


def test_nothing_is_left(named: Named) -> None:
    """Runs last."""
    lab = named.lab
    done = lab.play(*[step(HOSTS, "names", {"state": "deleted"})] * 2)
    assert all(found["changed"] for found in done[0].values()), done[0]
    assert not any(found["changed"] for found in done[1].values()), done[1]
    for host in HOSTS:
        look = "ls -d /run/crosshost /etc/netns /run/systemd/system/crosshost*; pgrep -a dnsmasq"
        units = "systemctl list-units --all --plain --no-legend 'crosshost-dns@*'"
        assert lab.script(host, f"{look}; {units}", check=False) == ""
        assert lab.network_part(host) == named.before[host]
        for network in ("web", "db", "six"):
            assert lab.run(f"{host}/xh-{network}", "nft", "list", "ruleset") == ""
            assert "gw0" not in lab.run(f"{host}/xh-{network}", "ip", "-br", "link")
    assert lab.run("h1", "cat", "/run/t-resolv") == FORMER and lab.run("h1", "ls", "-A", "/run/t-etc") == ""
