# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever comes in as a declaration, it is parsed or refused by one readable line."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.compile.overlay import compile_overlay
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.resources import state_of
from ansible_collections.crosshost.network.plugins.module_utils.spec import overlay
from hypothesis import given, settings
from hypothesis import strategies as st

FULL: dict[str, Any] = {
    "name": "web",
    "subnets": [
        {"subnet": "10.50.0.0/24", "vni": 5000, "gateway": "10.50.0.1", "ip_range": "10.50.0.0/25", "aux_addresses": {"a": "10.50.0.9"}},
        {"subnet": "fd50::/64"},
    ],
    "mtu": 1400,
    "control_plane": "static",
    "peers": [{"host": "h2", "vtep": "10.98.0.2", "mtu": 1500}],
    "endpoints": [{"ip": "10.50.0.12", "ip6": "fd50::12", "mac": "02:00:00:00:00:01", "vtep": "10.98.0.2"}],
    "data_path_address": "10.98.0.1",
    "data_path_interface": "eth1",
    "data_path_port": 4789,
    "internal": False,
    "attachable": True,
    "labels": {"a": "b"},
}  # fmt: skip

addresses = st.one_of(
    st.ip_addresses().map(str), st.sampled_from(["10.50.0.1", "10.50.0.12", "fd50::1", "::", "0.0.0.0"])
)
words = st.one_of(
    st.text(max_size=12),
    addresses,
    st.builds(lambda address, length: f"{address}/{length}", addresses, st.integers(-1, 130)),
    st.sampled_from(
        [
            "none",
            "static",
            "flood",
            "multicast",
            "web",
            "a/b",
            "..",
            "02:42:0a:00:00:01",
            "eth0",
            "\n",
            "\x1b[2J",
        ]
    ),
)
plain = st.one_of(st.none(), st.booleans(), st.integers(), st.integers(0, 70000), st.floats(), words)
anything = st.recursive(
    plain,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(words, inner, max_size=4)),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to every value inside, the members of lists and mappings too."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, one in inner:
        found += places(one, (*path, step))
    return found


PLACES = places(FULL)


def outcome(item: Any) -> None:
    try:
        parsed = overlay.parse_all([item])[0]
    except SpecError as error:
        assert str(error).isprintable(), repr(str(error))
        assert str(error).startswith("overlay_network ")
        return
    # what is accepted can be compiled, and every value is one that a kernel could take
    state_of(compile_overlay(parsed, parsed.data_path_address or "10.98.0.1", "eth1", parsed.mtu or 1450))
    for resource in compile_overlay(parsed, "10.98.0.1", "eth1", 1450):
        assert repr(resource).isprintable()


@given(st.dictionaries(st.one_of(st.sampled_from(overlay.OPTIONS), words), anything, max_size=8))
@settings(max_examples=400)
def test_any_mapping(item: dict[str, Any]) -> None:
    outcome(item)


@given(st.lists(st.tuples(st.sampled_from(PLACES), anything), min_size=1, max_size=3))
@settings(max_examples=1500)
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


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize(
    "value", [None, True, 0, -1, 1 << 70, 1.5, float("nan"), "", "\n", "x", [], {}, [[]], {"": None}]
)
def test_every_field_with_every_wrong_type(path: tuple[Any, ...], value: Any) -> None:
    item = copy.deepcopy(FULL)
    parent: Any = item
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    outcome(item)
