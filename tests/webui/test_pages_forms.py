# SPDX-License-Identifier: GPL-3.0-or-later
"""Forms of declarations: what they show they give back, and what cannot be read is told by field."""

from __future__ import annotations

from typing import Any

import pytest
from crosshost_webui.inventory import forms as item_forms
from crosshost_webui.web import forms
from crosshost_webui.web.forms import REST, Field, Unfit
from hypothesis import given
from hypothesis import strategies as st

FIELDS = (
    Field("name", "Name", required=True),
    Field("mtu", "MTU", "number"),
    Field("internal", "Internal", "flag", default=False),
    Field("dns", "Names", "flag", default=True),
    Field("plane", "Plane", "choice", default="static", options=("static", ("flood", "Flooding"))),
    Field("ports", "Ports", "lines"),
    Field("hosts", "Hosts", "words"),
    Field("tags", "Tags", "mapping"),
    Field(
        "subnets", "Subnets", "rows",
        columns=(Field("subnet", "Subnet"), Field("version", "Version", "number", options=("", "4", "6")), Field("vni", "VNI", "number")),
    ),
)  # fmt: skip
DEFAULTS = {"internal": False, "dns": True, "plane": "static"}
words = st.text(
    alphabet=st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=["C"]), max_size=12
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
bodies = st.dictionaries(
    st.sampled_from(
        ["name", "mtu", "internal", "dns", "plane", "ports", "hosts", "tags", "subnets", "labels", "x"]
    ),
    values,
    max_size=7,
)


def sent(shown: dict[str, Any]) -> dict[str, str]:
    """What a browser sends of a form with these values."""
    form: dict[str, str] = {}
    for name, value in shown.items():
        if isinstance(value, list):
            for number, row in enumerate(value):
                form |= {f"{name}.{number}.{column}": cell for column, cell in row.items()}
        elif isinstance(value, bool):
            form |= {name: "1"} if value else {}
        else:
            form[name] = str(value).replace("\n", "\r\n")
    return form


@given(bodies)
def test_what_a_form_shows_it_gives_back(body: dict[str, Any]) -> None:
    found = forms.read(FIELDS, sent(forms.show(FIELDS, body)))
    assert {name: text for name, text in found.errors.items() if name != "name"} == {}
    dropped = {
        name: value for name, value in body.items() if value is DEFAULTS.get(name, found) or value == "static"
    }
    assert found.body | {name: value for name, value in dropped.items() if name in DEFAULTS} == body


def test_a_usual_network() -> None:
    body = {
        "name": "web", "mtu": 1400, "internal": True, "dns": False, "plane": "flood",
        "ports": ["8080:80", {"published": 1, "target": 2}],
        "subnets": [{"subnet": "10.0.0.0/24", "vni": 7}, {"subnet": "fd00::/64", "aux_addresses": {"a": "fd00::9"}}],
        "labels": {"team": "a"},
    }  # fmt: skip
    shown = forms.show(FIELDS, body)
    assert shown["ports"] == "8080:80\n{published: 1, target: 2}"
    assert shown["subnets"][1] == {
        "subnet": "fd00::/64",
        "version": "",
        "vni": "",
        REST: "{aux_addresses: {a: 'fd00::9'}}",
    }
    assert shown[REST] == "labels:\n  team: a\n"
    assert forms.read(FIELDS, sent(shown)).body == body


def test_errors_are_told_by_field() -> None:
    form = {
        "mtu": "big", "plane": "x", "ports": "80\n{a: [", "subnets.0.vni": "v", "subnets.3.subnet": "s",
        "subnets.3.rest": "- 1", REST: "a: 1\n b: 2",
    }  # fmt: skip
    found = forms.read(FIELDS, form)
    assert set(found.errors) == {"name", "mtu", "plane", "ports", "subnets.0.vni", "subnets.1.rest", REST}
    assert found.errors["mtu"] == "MTU big: this is no whole number; write one, or leave it empty"
    assert found.errors["name"] == "Name: this is needed"
    assert found.errors[REST].startswith("line 2: ")
    assert "line 2: " in found.errors["ports"]
    assert found.values["mtu"] == "big", "what was written is shown again"
    assert [row["vni"] for row in found.values["subnets"]] == ["v", ""]


def test_an_option_is_said_once() -> None:
    found = forms.read(FIELDS, {"name": "a", "mtu": "1", REST: "mtu: 2"})
    assert found.errors == {REST: "mtu: it has a field of its own; say it there or here, not twice"}


@pytest.mark.parametrize(
    "text",
    ["- a", "5", "&a [*a]", "a: *b", "a: .nan", "a: .inf", "a: \"\\0\"", "a: \"\\ud800\"", "a: [", "!!python/name:os.system x",
     "a: !x 5", "x" * (forms.REST_MOST + 1), "? {a: 1}\n: 2\n? [b]\n: 3", "{" * 5000],
)  # fmt: skip
def test_yaml_that_is_refused(text: str) -> None:
    with pytest.raises(Unfit) as caught:
        forms.load(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=80))
def test_any_text_is_a_mapping_or_refused(text: str) -> None:
    try:
        assert isinstance(forms.load(text), dict)
    except Unfit as error:
        assert str(error)


def test_dates_stay_text() -> None:
    assert forms.load("a: 2026-01-01\nb: 10:30") == {"a": "2026-01-01", "b": 630}


@pytest.mark.parametrize("kind", sorted(item_forms.FORMS))
@given(data=st.data())
def test_the_form_of_each_kind_gives_back_a_body(kind: str, data: st.DataObject) -> None:
    options = [one.name for one in item_forms.FORMS[kind].fields]
    keys = st.sampled_from([*options, "ansible_port", "other"]) | st.text("abc_", min_size=1, max_size=4)
    variables = data.draw(st.dictionaries(keys, values, max_size=4))
    body = data.draw(st.dictionaries(st.sampled_from(options), values, max_size=4))
    if kind in ("host", "group"):
        body = {name: value for name, value in body.items() if not name.startswith("ansible_")}
        body |= {"variables": variables} if variables else {}
    found = item_forms.read(kind, sent(item_forms.show(kind, body)))
    defaults = {one.name: one.default for one in item_forms.FORMS[kind].fields if one.default is not None}
    explicit = {
        name: value for name, value in body.items() if name in defaults and same(value, defaults[name])
    }
    assert set(found.errors) <= {one.name for one in item_forms.FORMS[kind].fields if one.required}
    assert found.body | explicit == body


def same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def test_refused_declarations_are_told_at_their_fields() -> None:
    placed = item_forms.place(
        "overlay",
        {"subnets[10.0.0.0/24].vni": "taken", "name": "bad", "labels.x": "long", "colour": "unknown"},
    )
    assert placed == {"subnets": "taken", "name": "bad", "labels": "long", "rest": "colour: unknown"}
