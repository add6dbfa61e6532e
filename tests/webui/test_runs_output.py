# SPDX-License-Identifier: GPL-3.0-or-later
"""The raw output in parts: whatever the file holds, the parts together are the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from crosshost_webui.runs import output
from crosshost_webui.web.problem import Conflict, Invalid, TooLarge
from hypothesis import given
from hypothesis import strategies as st


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_no_file_is_empty(tmp_path: Path) -> None:
    assert output.part(tmp_path / "no") == output.Lines([], 0, 0, 0)
    assert output.search(tmp_path / "no", "x") == output.Found([], None)


def test_the_last_lines_then_those_before(tmp_path: Path) -> None:
    path = write(tmp_path / "o", b"".join(b"line %d\n" % n for n in range(1, 1001)))
    last = output.part(path, limit=10)
    assert [one.text for one in last.lines] == [f"line {n}" for n in range(991, 1001)]
    assert [one.number for one in last.lines] == list(range(991, 1001))
    before = output.part(path, before=last.begin, limit=10)
    assert [one.number for one in before.lines] == list(range(981, 991)) and before.end == last.begin
    after = output.part(path, after=before.begin, limit=10)
    assert after == before._replace()
    assert output.part(path, after=last.end).lines == []


def test_an_offset_inside_of_a_line_means_the_line(tmp_path: Path) -> None:
    path = write(tmp_path / "o", b"one\ntwo\nthree\n")
    assert [one.text for one in output.part(path, after=5).lines] == ["two", "three"]


@given(st.binary(max_size=400), st.integers(1, 7))
def test_parts_are_the_file(tmp_path_factory: pytest.TempPathFactory, content: bytes, limit: int) -> None:
    path = write(tmp_path_factory.mktemp("o") / "o", content)
    forward, place = [], 0
    while found := output.part(path, after=place, limit=limit).lines:
        forward += found
        place = output.part(path, after=place, limit=limit).end
    assert place == len(content)
    backward, place = [], len(content)
    while place > 0:
        part = output.part(path, before=place, limit=limit)
        backward = part.lines + backward
        assert part.end == place and part.begin < place
        place = part.begin
    assert backward == forward
    assert [one.number for one in forward] == list(range(1, len(forward) + 1))
    assert len(forward) == len(content.split(b"\n")) - (content == b"" or content.endswith(b"\n"))


def test_colours_are_classes_and_the_rest_is_text(tmp_path: Path) -> None:
    path = write(
        tmp_path / "o",
        b"\x1b[0;31mfatal: <script>alert(1)</script>\x1b[0m done\x00\x1b]0;title\x07\n50%\r100%\r\n",
    )
    one, two = output.part(path).lines
    assert [(span.classes, span.text) for span in one.spans] == [
        ("ansi-red", "fatal: <script>alert(1)</script>"),
        ("", " done"),
    ]
    assert two.text == "100%"


def test_a_line_of_a_megabyte_is_shown_in_part(tmp_path: Path) -> None:
    path = write(tmp_path / "o", b"a\n" + b"x" * 2**20 + b"\nb\n")
    one, long, two = output.part(path).lines
    assert (one.text, two.text, two.number) == ("a", "b", 3)
    assert len(long.text) == output.LINE_MOST and long.more == 2**20 - output.LINE_MOST


def test_search(tmp_path: Path) -> None:
    path = write(tmp_path / "o", b"ok: web1\n\x1b[31mFat\x1b[0mal: web2 a.*b\n" * 3)
    found = output.search(path, "fatal: WEB2")
    assert [one.number for one in found.lines] == [2, 4, 6] and found.next is None
    assert len(output.search(path, "a.*b").lines) == 3 and output.search(path, "a.+b").lines == []
    first = output.search(path, "fatal", most=1)
    assert first.next is not None
    second = output.search(path, "fatal", after=first.next, most=5)
    assert [one.number for one in second.lines] == [4, 6]
    with pytest.raises(Invalid):
        output.search(path, "  ")


def test_a_search_looks_at_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "SEARCH_MOST", 1000)
    path = write(tmp_path / "o", b"x" * 99 + b"\n" + b"y" * 2000 + b"\n" + b"needle\n")
    place, rounds, found = 0, 0, []
    while True:
        part = output.search(path, "needle", place)
        found += part.lines
        rounds += 1
        if part.next is None:
            break
        assert part.next > place
        place = part.next
    assert [one.number for one in found] == [3] and rounds == 2


def test_appending_by_offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs" / "1" / "o"
    assert output.append(path, 0, b"one\n") == 4
    assert output.append(path, 0, b"one\n") == 4  # sent again, as its answer was lost
    assert output.append(path, 2, b"e\ntwo\n") == 8
    with pytest.raises(Conflict, match="8 bytes are here"):
        output.append(path, 9, b"x")
    monkeypatch.setattr(output, "OUTPUT_MOST", 10)
    with pytest.raises(TooLarge):
        output.append(path, 8, b"xxx")
    assert path.read_bytes() == b"one\ntwo\n" and path.stat().st_mode & 0o077 == 0
