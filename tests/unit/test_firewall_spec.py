# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of firewall_ports: what they mean, and what is refused in which words."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.spec import firewall as spec

SOURCE = ["10.98.0.2"]


def parsed(**item: Any) -> spec.Wanted:
    return spec.parse({"state": "replaced", "config": [item]}).config[0]


def completed(**item: Any) -> spec.RuleSet:
    return spec.complete(parsed(**item), None)


def test_defaults_are_the_swarms_ports_closed_to_others() -> None:
    rs = completed(sources=SOURCE)
    assert (rs.name, [str(p) for p in rs.ports]) == (
        "crosshost",
        ["2377/tcp", "7946/tcp", "4789/udp", "7946/udp"],
    )
    assert (rs.esp, rs.open_to_world, rs.zone) == (False, False, None)


@pytest.mark.parametrize(
    ("ports", "want"),
    [
        (["30000-30100/tcp"], ["30000-30100/tcp"]),
        (["30000-30100/TCP", "30050-30200/tcp", "30201/tcp"], ["30000-30201/tcp"]),
        (["1/udp", "1/tcp", "65535/sctp", "1/tcp"], ["1/tcp", "1/udp", "65535/sctp"]),
        (["80-80/tcp"], ["80/tcp"]),
    ],
)
def test_ports(ports: list[str], want: list[str]) -> None:
    assert [str(p) for p in completed(ports=ports, sources=SOURCE).ports] == want


@pytest.mark.parametrize(
    ("sources", "want"),
    [
        (["10.0.0.3", "10.0.0.2/32", "10.0.0.2"], ("10.0.0.2", "10.0.0.3")),
        (["10.0.0.0/24", "10.0.0.7", "fd00::/64", "FD00:0::1"], ("10.0.0.0/24", "fd00::/64")),
        (["fd00::1", " 10.0.0.1 ", "fd00::1/128"], ("10.0.0.1", "fd00::1")),
        (["10.0.0.0/255.255.255.0"], ("10.0.0.0/24",)),
    ],
)
def test_sources(sources: list[str], want: tuple[str, ...]) -> None:
    assert completed(sources=sources).sources == want


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ({"ports": ["0/tcp"]}, "firewall_ports crosshost: ports '0/tcp': a port is a number from 1 to 65535"),
        ({"ports": ["65536/udp"]}, "ports '65536/udp': a port is a number from 1 to 65535"),
        ({"ports": ["9999999/udp"]}, "ports '9999999/udp': write PORT/PROTOCOL"),
        ({"ports": ["80/icmp"]}, "ports '80/icmp': the protocol must be one of tcp, udp, sctp"),
        ({"ports": ["4500/esp"]}, "set esp: true"),
        ({"ports": ["30100-30000/tcp"]}, "the range runs backwards: write 30000-30100/tcp"),
        ({"ports": ["80"]}, "ports '80': write PORT/PROTOCOL"),
        ({"ports": ["80/tcp; reboot"]}, "ports '80/tcp; reboot': write PORT/PROTOCOL"),
        ({"ports": ["80/tcp\n"]}, "ports '80/tcp\\n': write PORT/PROTOCOL"),
        ({"ports": [None]}, "ports None: write PORT/PROTOCOL"),
        ({"ports": "80/tcp"}, "ports '80/tcp': give a list"),
        ({"ports": []}, "ports []: nothing to open: list a port, or set esp: true"),
        (
            {"sources": ["10.0.0.1/24"]},
            "host bits are set: write the network 10.0.0.0/24, or the address 10.0.0.1",
        ),
        ({"sources": ["fd00::1/64"]}, "write the network fd00::/64"),
        ({"sources": ["10.0.0.256"]}, "sources '10.0.0.256': give an IPv4 or IPv6 address"),
        ({"sources": ["peer.example"]}, "sources 'peer.example': give an IPv4 or IPv6 address"),
        ({"sources": ["10.0.0.0/33"]}, "give an IPv4 or IPv6 address"),
        ({"sources": [""]}, "sources '': give an IPv4 or IPv6 address"),
        ({"sources": [167772161]}, "sources 167772161: give an IPv4 or IPv6 address"),
        ({"sources": [None]}, "sources None: give an IPv4 or IPv6 address"),
        ({"sources": ["fe80::1%eth0"]}, "leave out the %interface"),
        ({"sources": ["::ffff:10.0.0.1"]}, "write 10.0.0.1"),
        ({"sources": ["$(reboot)"]}, "give an IPv4 or IPv6 address"),
        ({"sources": "10.0.0.1"}, "give a list"),
        ({"name": "a/b"}, "firewall_ports: name 'a/b': use 1 to 32 of the characters a-z 0-9 _ -"),
        ({"name": ".."}, "name '..'"),
        ({"name": ""}, "name ''"),
        ({"name": "x" * 33}, "use 1 to 32"),
        ({"name": "a;b"}, "name 'a;b'"),
        ({"name": "a\n"}, "use 1 to 32"),
        ({"name": 7}, "name 7"),
        ({"esp": "yes"}, "esp 'yes': give true or false"),
        ({"zone": "a b"}, "zone 'a b': this cannot be the name of a firewalld zone"),
        ({"zone": "--reload"}, "zone '--reload'"),
        ({"zone": "x" * 90}, "cannot be the name"),
        ({"interface": "../eth0"}, "interface '../eth0': this cannot be the name of an interface"),
        ({"interface": "-x"}, "interface '-x'"),
        (
            {"open_to_world": True},
            "sources names who may come: leave out sources, or set open_to_world: false",
        ),
    ],
)
def test_bad_input_is_told_in_one_line(item: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        completed(**{"sources": SOURCE, **item})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sources", [[], ["0.0.0.0/0"], ["::/0"], ["0.0.0.0/1", "128.0.0.0/1"], None])
@pytest.mark.parametrize(
    ("item", "why"),
    [
        ({}, "4789/udp is VXLAN, which has no authentication"),
        ({"ports": ["4000-5000/udp"]}, "4000-5000/udp is VXLAN"),
        ({"ports": ["8472/udp"]}, "injects frames into every overlay"),
        ({"ports": ["4789/tcp"]}, "ports stay closed unless a source is named"),
        ({"ports": [], "esp": True}, "ESP from anyone"),
    ],
)
def test_the_world_is_refused_unless_asked_for(
    item: dict[str, Any], why: str, sources: list[str] | None
) -> None:
    with pytest.raises(SpecError, match="set open_to_world: true") as caught:
        completed(**item, sources=sources)
    assert why in str(caught.value)
    assert completed(**item, sources=sources, open_to_world=True).open_to_world


def test_the_world_may_be_one_family() -> None:
    rs = completed(sources=["0.0.0.0/1", "128.0.0.0/1", "fd00::/64"], open_to_world=True)
    assert rs.sources == ("0.0.0.0/0", "fd00::/64")
    assert (rs.world(4), rs.world(6)) == (True, False)


def test_merged_adds_and_changes_what_is_given() -> None:
    old = completed(ports=["80/tcp"], sources=["10.0.0.1"])
    added = spec.complete(parsed(sources=["10.0.0.2"], esp=True), "public", old)
    assert [str(p) for p in added.ports] == ["80/tcp"]
    assert (added.sources, added.esp) == (("10.0.0.1", "10.0.0.2"), True)
    opened = spec.complete(parsed(open_to_world=True), None, old)
    assert opened.sources == ("0.0.0.0/0", "::/0")
    assert spec.complete(parsed(sources=["10.0.0.2"]), None, opened).open_to_world
    shut = spec.complete(parsed(sources=["10.0.0.2"], open_to_world=False), None, opened)
    assert shut.sources == ("10.0.0.2",)
    with pytest.raises(SpecError, match="is empty"):
        spec.complete(parsed(open_to_world=False), None, opened)


def test_merged_keeps_the_zone_unless_one_is_given() -> None:
    old = spec.complete(parsed(sources=SOURCE, zone="internal"), "internal")
    assert spec.complete(parsed(sources=SOURCE), "public", old).zone == "internal"
    assert spec.complete(parsed(sources=SOURCE, zone="public"), "public", old).zone == "public"
    assert spec.complete(parsed(sources=SOURCE, interface="eth1"), "public", old).zone == "public"


@pytest.mark.parametrize(
    ("params", "says"),
    [
        (
            {"config": [{"sources": SOURCE}, {"name": "crosshost", "sources": SOURCE}]},
            "two items of config bear it",
        ),
        ({"config": []}, "state merged needs at least one item"),
        ({"state": "present", "config": []}, "state 'present': must be one of"),
        ({"backend": "pf", "config": []}, "backend 'pf': must be auto or one of"),
    ],
)
def test_bad_options(params: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        spec.parse(params)


def test_deleted_looks_at_names_alone_and_overridden_may_be_empty() -> None:
    assert spec.parse({"state": "deleted", "config": [{"name": "a", "sources": []}]}).config == (
        spec.Wanted("a"),
    )
    observed = {"a": completed(name="a", sources=SOURCE), "b": completed(name="b", sources=SOURCE)}

    def after(state: str, *names: str) -> list[str]:
        items = [{"name": n, "sources": SOURCE} for n in names]
        return list(spec.desired_sets(spec.parse({"state": state, "config": items}), observed, {}))

    assert after("deleted", "a", "nosuch") == ["b"]
    assert after("deleted") == []
    assert after("overridden") == []
    assert after("overridden", "c") == ["c"]
    assert after("replaced", "c") == after("merged", "c") == ["a", "b", "c"]
    assert after("gathered") == ["a", "b"]
