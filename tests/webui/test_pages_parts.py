# SPDX-License-Identifier: GPL-3.0-or-later
"""Terminal colours and differences as pages show them."""

from __future__ import annotations

import pytest
from crosshost_webui.web import ansi, diffs
from crosshost_webui.web.ansi import Span
from crosshost_webui.web.diffs import Line
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("plain", [Span("", "plain")]),
        ("", []),
        ("\x1b[0;32mok: [h1]\x1b[0m rest", [Span("ansi-green", "ok: [h1]"), Span("", " rest")]),
        ("\x1b[1;31mfatal\x1b[22m soft", [Span("ansi-red ansi-bold", "fatal"), Span("ansi-red", " soft")]),
        ("\x1b[38;5;208mx\x1b[38;2;1;2;3my", [Span("", "x"), Span("", "y")]),
        ("\x1b[93mx\x1b[39my", [Span("ansi-yellow", "x"), Span("", "y")]),
        ("\x1b[2Jx\x1b[10;4Hy", [Span("", "x"), Span("", "y")]),
        ("\x1b]0;title\x07x", [Span("", "x")]),
        ("\x1b]8;;javascript:alert(1)\x1b\\x", [Span("", "x")]),
        ("\x1b]never closed", []),
        ("a\x00b\x07c\x9bd\te", [Span("", "a"), Span("", "b"), Span("", "c"), Span("", "d\te")]),
        ("\x1b[999999999999999999mx", [Span("", "x")]),
        ("<script>", [Span("", "<script>")]),
    ],
)
def test_terminal_colours(line: str, found: list[Span]) -> None:
    assert ansi.spans(line) == found


@given(st.text(alphabet=st.sampled_from("ab <&\x1b[]0;1m3m8;5\x07\\\x00\t\x9b"), max_size=60))
def test_no_escape_is_left_and_plain_is_the_same_text(line: str) -> None:
    found = ansi.spans(line)
    text = "".join(span.text for span in found)
    assert text == ansi.plain(line)
    assert not any(one != "\t" and (ord(one) < 32 or 127 <= ord(one) < 160) for one in text)
    for span in found:
        assert all(part.startswith("ansi-") for part in span.classes.split())


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=200))
def test_text_without_escapes_stays_as_it_is(line: str) -> None:
    assert ansi.plain(line) == line


def test_a_diff_of_texts() -> None:
    assert diffs.of_texts("a\n-- b\n", "a\nc\n", "old", "new") == [
        Line("head-line", "--- old"), Line("head-line", "+++ new"), Line("hunk", "@@ -1,2 +1,2 @@"),
        Line("same", " a"), Line("del", "--- b"), Line("add", "+c"),
    ]  # fmt: skip
    assert diffs.of_texts("a", "a") == []


def test_a_diff_of_declarations_shows_all_of_them() -> None:
    found = diffs.of_bodies({"name": "web", "mtu": 1450}, {"name": "web", "mtu": 1400})
    assert found == [Line("same", "  name: web"), Line("del", "- mtu: 1450"), Line("add", "+ mtu: 1400")]
    assert diffs.of_bodies(None, {"a": 1}) == [Line("add", "+ a: 1")]
    assert diffs.of_bodies({"a": 1}, None) == [Line("del", "- a: 1")]


@pytest.mark.parametrize("value", [None, 5, "text", [None], [[]], {"before": None, "after": None}, {}])
def test_a_module_may_return_anything_as_its_diff(value: object) -> None:
    assert diffs.of_result(value) == []


def test_what_a_module_returned() -> None:
    assert diffs.of_result([{"prepared": "+ip link add"}]) == [Line("add", "+ip link add")]
    found = diffs.of_result(
        {"before": {"mtu": 1}, "after": {"mtu": 2}, "before_header": "h1", "after_header": "h1"}
    )
    assert found[-2:] == [Line("del", "-mtu: 1"), Line("add", "+mtu: 2")]
    assert found[0] == Line("head-line", "--- h1")


def test_a_long_diff_says_how_much_is_left_out() -> None:
    found = diffs.of_prepared("+x\n" * (diffs.LINES_MOST + 7))
    assert len(found) == diffs.LINES_MOST + 1
    assert found[-1].text == "… and 7 more lines"
