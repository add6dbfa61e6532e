# SPDX-License-Identifier: GPL-3.0-or-later
"""What a body has to be before the engine looks at it."""

from __future__ import annotations

from typing import Any

import pytest
from crosshost_webui.inventory import kinds, shape
from crosshost_webui.inventory.models import KINDS
from crosshost_webui.web.problem import Invalid
from hypothesis import given
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)
WORDS = (
    "name",
    "host",
    "group",
    "network",
    "sandbox",
    "subnets",
    "groups",
    "children",
    "variables",
    "ports",
    "enabled",
)
BODIES = st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=8), JSON, max_size=8)


def deep(levels: int) -> Any:
    return {"a": deep(levels - 1)} if levels else 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "give a mapping"),
        ({"a": "b\0c"}, "NUL"),
        ({"a\0": 1}, "NUL"),
        ({"a": ["\ud800"]}, "Unicode"),
        ({"a": float("nan")}, "give a text, a number"),
        ({"a": float("inf")}, "give a text, a number"),
        ({"a": 1 << 64}, "more than 64 bits"),
        ({"a": "x" * (shape.TEXT_MOST + 1)}, "characters"),
        ({"a" * 300: 1}, "names are texts"),
        ({"a": deep(shape.DEPTH_MOST + 1)}, "nested more than"),
        ({"a": [0] * (shape.VALUES_MOST + 1)}, "more than 200000 values"),
        ({"a": "{{ lookup('pipe', 'id') }}"}, "templates are not evaluated"),
        ({"a": {"b": ["{% if x %}"]}}, "templates are not evaluated"),
        ({"{# x #}": 1}, "templates are not evaluated"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_one_line(body: Any, words: str) -> None:
    with pytest.raises(Invalid, match=words) as error:
        shape.check("overlay web", body)
    assert error.value.detail.startswith("overlay web: ") and error.value.detail.isprintable()


def test_what_is_encrypted_is_not_looked_into() -> None:
    shape.check("host h1", {"variables": {"a": {shape.VAULT: "$ANSIBLE_VAULT;1.1;AES256\n3131"}}})
    with pytest.raises(Invalid, match="NUL"):
        shape.check("host h1", {"variables": {"a": {shape.VAULT: "$ANSIBLE_VAULT;1.1;AES256\n\0"}}})
    assert not shape.is_vault({shape.VAULT: "plain"})


@pytest.mark.parametrize("name", ["h1", "a.b-c_d", "192.0.2.1", "2001:db8::1", "_x", "H" * 253])
def test_names_of_hosts(name: str) -> None:
    assert shape.host_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-x",
        "a b",
        "a,b",
        "a:b",
        "a/b",
        "!x",
        "&x",
        "h[1:3]",
        "fe80::1%eth0",
        "a\n",
        "x" * 254,
        None,
        1,
        [],
    ],
)
def test_names_that_a_pattern_would_take_for_more(name: Any) -> None:
    with pytest.raises(Invalid, match="name: use letters"):
        shape.host_name(name)


@pytest.mark.parametrize("name", ["ungrouped", "_meta", "-x", "a:b", "", None, {}])
def test_names_of_groups_that_ansible_reads_otherwise(name: Any) -> None:
    with pytest.raises(Invalid):
        shape.group_name(name)


@given(st.sampled_from(KINDS), BODIES)
def test_any_body_is_kept_or_refused(kind: str, body: dict[str, Any]) -> None:
    """And what is kept stays the same if it is read again."""
    try:
        found = kinds.tidy(kind, body)
    except Invalid as error:
        assert error.detail.isprintable(), error.detail
        return
    name = kinds.identity(kind, found)
    assert kinds.tidy(kind, found) == found
    assert kinds.identity(kind, kinds.ordered(kind, found)) == name
    host, network = kinds.parts(kind, found)
    assert isinstance(host, str | None) and isinstance(network, str | None)


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("host", {"name": "h1", "foo": 1}, "foo 1: there is no such option; there are name, groups"),
        ("host", {"name": "h1", "groups": "web"}, "groups 'web': give a list"),
        ("host", {"name": "h1", "labels": {"a": []}}, "labels are names with plain values"),
        ("host", {"name": "h1", "variables": ["a"]}, "variables ['a']: give a mapping"),
        ("host", {"name": "h1", "variables": {"a-b": 1}}, "a variable's name has letters"),
        ("host", {"name": "h1", "variables": {"crosshost_vtep": "10.0.0.1"}}, "it is the option vtep of a host"),
        ("host", {"name": "h1", "variables": {"crosshost_networks": []}}, "overlay networks are objects of their own"),
        ("host", {"name": "h1", "variables": {"groups": 1}}, "Ansible sets it by itself"),
        ("host", {"name": "h1", "variables": {"ansible_become_password": "x"}}, "encrypt it with ansible-vault"),
        ("host", {"name": "h1", "variables": {"crosshost_group": "other"}}, "make a group of that name"),
        ("group", {"name": "all", "children": ["x"]}, "every group is in it anyway"),
        ("group", {"name": "g", "variables": {"ansible_group_priority": "10"}}, "is a number"),
        ("gwbridge", {"foo": 1}, "there is no such option"),
        ("gwbridge", {"enabled": False, "subnet": "10.0.0.0/24"}, "there is no bridge; drop one"),
        ("gwbridge", {"host": "h1", "group": "g"}, "drop one of the two"),
        ("endpoint", {"network": "web", "sandbox": "a"}, "say on which host the sandbox is"),
        ("endpoint", {"host": "h1", "network": "web"}, "nothing says which"),
        ("overlay", {}, "use letters, digits"),
        ("service", {"name": "x"}, "network None: use letters"),
        ("nonsense", {}, "use one of group, host"),
    ],
)  # fmt: skip
def test_bodies_that_cannot_be_right(kind: str, body: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as error:
        kinds.tidy(kind, body)
    assert words in error.value.detail and error.value.detail.isprintable()


def test_a_password_may_be_kept_encrypted() -> None:
    body = {
        "name": "h1",
        "variables": {"ansible_become_password": {shape.VAULT: "$ANSIBLE_VAULT;1.1;AES256\n31"}},
    }
    assert kinds.tidy("host", body) == body


def test_the_engines_errors_of_huge_values_are_cut() -> None:
    with pytest.raises(Invalid) as error:
        kinds.tidy("overlay", {"name": "x" * 60_000})
    assert len(error.value.detail) < 1100
