# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks of one range for many hosts: inside, disjoint, the same whoever asks, and few of them move when a host comes or
goes."""

from __future__ import annotations

import ipaddress
import itertools

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.spec.host_ranges import host_ranges
from hypothesis import given, settings
from hypothesis import strategies as st

names = st.text(alphabet="abcdefghij0123456789-.", min_size=1, max_size=8)
ranges = st.sampled_from(
    [("10.0.0.0/16", 20), ("10.0.0.0/16", 24), ("192.168.1.128/25", 28), ("192.168.1.0/24", 32), ("fd00::/48", 64), ("fd00::/64", 66), ("fd00::/64", 120)]
)  # fmt: skip


def moved(before: dict[str, str], after: dict[str, str]) -> int:
    return sum(before[host] != after[host] for host in before.keys() & after.keys())


@given(ranges, st.sets(names, max_size=8), st.data())
@settings(max_examples=300)
def test_inside_disjoint_and_the_same_in_any_order(
    block: tuple[str, int], hosts: set[str], data: st.DataObject
) -> None:
    whole, prefix = ipaddress.ip_network(block[0]), block[1]
    if len(hosts) > 1 << (prefix - whole.prefixlen):
        with pytest.raises(SpecError, match="has room for"):
            host_ranges(block[0], prefix, hosts)
        return
    found = host_ranges(block[0], prefix, hosts)
    assert found.keys() == hosts
    blocks = [ipaddress.ip_network(text) for text in found.values()]
    assert all(one.prefixlen == prefix and one.subnet_of(whole) for one in blocks)  # type: ignore[arg-type]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(blocks, 2))
    assert host_ranges(block[0], prefix, data.draw(st.permutations(sorted(hosts)))) == found


@given(st.sets(names, min_size=1, max_size=40), names)
@settings(max_examples=300)
def test_few_move(hosts: set[str], new: str) -> None:
    """In a range with room, most hosts are where their name points to. Those that are not may move; of the others one does
    at most: the one whose place the new host is entitled to."""
    whole = ipaddress.ip_network("10.0.0.0/8")
    before = host_ranges(str(whole), 20, hosts - {new})
    after = host_ranges(str(whole), 20, hosts | {new})
    alone = {host: host_ranges(str(whole), 20, [host])[host] for host in hosts}
    guests = {host for host in before if before[host] != alone[host]}
    assert moved({host: before[host] for host in before.keys() - guests}, after) <= 1


def test_how_few_move_on_average() -> None:
    """Half of the blocks are taken: a host that comes moves less than one other."""
    hosts = [f"node-{number:03}" for number in range(128)]
    whole = host_ranges("10.0.0.0/16", 24, hosts)
    total = sum(
        moved(host_ranges("10.0.0.0/16", 24, [one for one in hosts if one != gone]), whole) for gone in hosts
    )
    assert total / len(hosts) < 1


def test_all_blocks_can_be_used() -> None:
    hosts = [f"h{number}" for number in range(256)]
    assert len(set(host_ranges("10.0.0.0/16", 24, hosts).values())) == 256
    with pytest.raises(
        SpecError, match=r"macvlan lan: ip_range '10.0.0.0/16'.* room for 256 hosts.* are 257"
    ):
        host_ranges("10.0.0.0/16", 24, [*hosts, "one-more"], obj="macvlan lan")


def test_what_is_declared_wins() -> None:
    hosts = [f"h{number}" for number in range(16)]
    free = host_ranges("10.0.0.0/24", 28, hosts)
    with pytest.raises(SpecError, match="room for 14 hosts"):
        host_ranges("10.0.0.0/24", 28, hosts, {"h3": "10.0.0.32/27"})
    found = host_ranges("10.0.0.0/24", 28, hosts, {"h3": free["h9"]})
    assert found["h3"] == free["h9"] and len(set(found.values())) == 16
    small = host_ranges("10.0.0.0/24", 28, hosts[:15], {"h3": "10.0.0.64/30", "h4": "10.0.0.72/30"})
    blocks = [ipaddress.ip_network(text) for text in small.values()]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(blocks, 2))
    assert "h99" not in host_ranges("10.0.0.0/24", 28, hosts, {"h99": "10.0.0.0/25"})


BAD = [
    ("10.0.0.0/24", 28, {"a": "10.0.1.0/28"}, ["host a", "10.0.1.0/28", "outside 10.0.0.0/24"]),
    ("10.0.0.0/24", 28, {"a": "fd00::/64"}, ["host a", "outside"]),
    ("10.0.0.0/24", 28, {"a": "10.0.0.0/23"}, ["host a", "outside"]),
    ("10.0.0.0/24", 28, {"a": "10.0.0.0/28", "b": "10.0.0.8/29"}, ["host b", "10.0.0.8/29", "overlaps 10.0.0.0/28 of host a"]),
    ("10.0.0.0/24", 28, {"a": "10.0.0.1/28"}, ["host a", "host bits"]),
    ("10.0.0.0/24", 23, {}, ["host_prefix", "23", "24 to 32"]),
    ("10.0.0.0/24", 33, {}, ["host_prefix", "33"]),
    ("10.0.0.1/24", 28, {}, ["ip_range", "host bits"]),
]  # fmt: skip


@pytest.mark.parametrize(("whole", "prefix", "declared", "words"), BAD)
def test_refused(whole: str, prefix: int, declared: dict[str, str], words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        host_ranges(whole, prefix, ["a", "b"], declared)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_nearly_all_declared() -> None:
    """Almost nothing is left of a huge range: it is found all the same."""
    declared = {"big": "fd00::/65", "next": "fd00:0:0:0:8000::/66", "rest": "fd00::c000:0:0:0/67"}
    found = host_ranges("fd00::/64", 120, [*declared, "x", "y"], declared)
    assert ipaddress.ip_network(found["x"]).subnet_of(ipaddress.ip_network("fd00:0:0:0:e000::/67"))  # type: ignore[arg-type]
    assert len(set(found.values())) == 5
