# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever comes in as a macvlan network, it is parsed into what a kernel could take, or refused by one readable line."""

from __future__ import annotations

import copy
import ipaddress
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.compile.macvlan import (
    Parent,
    compile_macvlan,
    parent_of,
)
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.resources import state_of
from ansible_collections.crosshost.network.plugins.module_utils.spec import macvlan
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.test_spec import anything, places, words

FULL: dict[str, Any] = {
    "name": "lan",
    "driver": "macvlan",
    "parent": "eth0.10",
    "mode": "bridge",
    "subnets": [
        {"subnet": "10.50.0.0/24", "gateway": "10.50.0.1", "ip_range": "10.50.0.128/25", "aux_addresses": {"a": "10.50.0.9"}},
        {"subnet": "fd50::/64"},
    ],
    "host_range": ["10.50.0.128/28", "fd50::/80"],
    "promiscuous": True,
    "shim": "10.50.0.128",
    "shim6": "fd50::5",
    "internal": False,
    "mtu": 1400,
    "labels": {"a": "b"},
}  # fmt: skip
PLACES = places(FULL)
values = st.one_of(
    anything,
    st.sampled_from(["eth0.0", "eth0.4095", "eth0.1.2", "lo", "lo.5", "l2", "l3", "vepa", "passthru", "ipvlan", "10.50.0.1"]),
    st.builds("eth0.{}".format, st.integers(-1, 5000)),
)  # fmt: skip


def outcome(item: Any) -> None:
    try:
        (parsed,) = macvlan.parse_all([item])
    except SpecError as error:
        assert str(error).isprintable() and str(error).startswith("macvlan "), repr(str(error))
        return
    assert parsed.mode in macvlan.MODES[parsed.driver]
    assert parsed.internal == (not parsed.parent)
    if parsed.vlan:
        assert 1 <= parsed.vlan <= 4094 and parsed.parent == f"{parsed.base}.{parsed.vlan}"
    assert len(parsed.parent.encode()) <= 15 and "lo" not in (parsed.parent, parsed.base)
    for text in parsed.shim:
        assert parsed.mode in ("bridge", "vepa", "l2")
        assert any(ipaddress.ip_address(text) in ipaddress.ip_network(one.cidr) for one in parsed.subnets)
    found = list(compile_macvlan(parsed, Parent(parent_of(parsed), bool(parsed.vlan), 1400, 1500)))
    state_of(found)
    assert all(repr(resource).isprintable() for resource in found)


@given(st.dictionaries(st.one_of(st.sampled_from(macvlan.OPTIONS), words), values, max_size=8))
@settings(max_examples=300)
def test_any_mapping(item: dict[str, Any]) -> None:
    outcome(item)


@given(st.lists(st.tuples(st.sampled_from(PLACES), values), min_size=1, max_size=3))
@settings(max_examples=1000)
def test_a_good_declaration_with_some_values_replaced(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    item = copy.deepcopy(FULL)
    for path, value in changes:
        parent: Any = item
        try:
            for step in path[:-1]:
                parent = parent[step]
            parent[path[-1]] = value
        except (TypeError, KeyError, IndexError):
            continue  # an earlier change took this place away
    outcome(item)


def test_the_good_one_is_good() -> None:
    assert macvlan.parse(FULL).vlan == 10
