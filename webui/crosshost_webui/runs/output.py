# SPDX-License-Identifier: GPL-3.0-or-later
"""The raw output of a run: a file, read in parts by byte offsets, so that the largest costs what the smallest does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..settings import Settings
from ..web import ansi
from ..web.ansi import Span
from ..web.problem import Conflict, Invalid, TooLarge
from .models import Run

LINES = 500  # of one part
LINE_MOST = 8 * 1024  # bytes of a line that are shown; the download has all
BLOCK = 256 * 1024  # bytes read at a time
SEARCH_MOST = 16 * 2**20  # bytes that one search looks at
FOUND_MOST = 200
OUTPUT_MOST = 64 * 2**20  # bytes that are kept of a run's output


class Line(NamedTuple):
    """``offset``: where it begins in the file; ``number``: from 1. ``more``: bytes that are not shown."""

    offset: int
    number: int
    spans: list[Span]
    more: int

    @property
    def text(self) -> str:
        return "".join(span.text for span in self.spans)


class Lines(NamedTuple):
    """A part. ``begin`` and ``end``: its byte offsets; ``size``: of the whole file."""

    lines: list[Line]
    begin: int
    end: int
    size: int


class Found(NamedTuple):
    """``next``: where to go on looking; None: the end was reached."""

    lines: list[Line]
    next: int | None


def path_of(settings: Settings, run: Run) -> Path:
    """The id is a number: no name that anybody gave is part of a path."""
    return settings.runs_dir / str(int(run.id)) / "output.log"


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def part(path: Path, after: int | None = None, before: int | None = None, limit: int = LINES) -> Lines:
    """Lines that begin at the offset ``after`` or later, or those that end at ``before``; with neither the last ones."""
    size = size_of(path)
    if size == 0 or (after is not None and after >= size):
        return Lines([], size, size, size)
    with path.open("rb") as file:
        if after is not None:
            begin = _line_start(file.fileno(), min(after, size))
        else:
            begin = _back(file.fileno(), min(before if before is not None else size, size), limit)
        stop = min(before, size) if before is not None and after is None else size
        number = _count_lines(file.fileno(), begin) + 1
        lines: list[Line] = []
        end = begin
        for offset, content, length in _raw_lines(file.fileno(), begin, stop):
            if len(lines) == limit:
                break
            lines.append(_line(offset, number + len(lines), content, length))
            end = offset + length
    return Lines(lines, begin, end, size)


def search(path: Path, wanted: str, after: int = 0, most: int = FOUND_MOST) -> Found:
    """Lines that contain a text, whatever its case and colours. Invalid for an empty one."""
    if not wanted.strip():
        raise Invalid("q: write what to look for", {"q": "write what to look for"})
    needle = re.compile(re.escape(wanted), re.IGNORECASE)
    size = size_of(path)
    if size <= after:
        return Found([], None)
    found: list[Line] = []
    with path.open("rb") as file:
        begin = _line_start(file.fileno(), max(after, 0))
        number = _count_lines(file.fileno(), begin)
        for offset, content, length in _raw_lines(file.fileno(), begin, size):
            number += 1
            if needle.search(ansi.plain(_text(content))):
                found.append(_line(offset, number, content, length))
            end = offset + length
            if len(found) == most or end - begin >= SEARCH_MOST:
                return Found(found, end if end < size else None)
    return Found(found, None)


def append(path: Path, offset: int, content: bytes) -> int:
    """Write what a recorder sends at an offset; the new size. What is there already is passed over. Conflict for a gap."""
    size = size_of(path)
    if offset > size:
        raise Conflict(f"output: offset {offset}: {size} bytes are here; send what comes after them")
    fresh = content[size - offset :]
    if size + len(fresh) > OUTPUT_MOST:
        raise TooLarge(f"output: more than {OUTPUT_MOST} bytes; the rest is not kept")
    if fresh:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, fresh)
        finally:
            os.close(descriptor)
    return size_of(path)


def _line(offset: int, number: int, content: bytes, length: int) -> Line:
    shown = content[:LINE_MOST]
    more = length - len(shown) - 1 if length > LINE_MOST + 1 else 0
    return Line(offset, number, ansi.spans(_text(shown)), max(more, 0))


def _text(content: bytes) -> str:
    """A carriage return goes back to the line's beginning: what came before it was overwritten."""
    text = content.decode("utf-8", "replace").rstrip("\r\n")
    return text.rpartition("\r")[2]


def _raw_lines(descriptor: int, begin: int, stop: int) -> Iterator[tuple[int, bytes, int]]:
    """Offset, the first LINE_MOST bytes, and the length with the line's end, of each line in the range."""
    offset, head, length = begin, b"", 0
    place = begin
    while place < stop:
        block = os.pread(descriptor, min(BLOCK, stop - place), place)
        if not block:
            break
        place += len(block)
        at = 0
        while at < len(block):
            cut = block.find(b"\n", at)
            piece = block[at:] if cut < 0 else block[at : cut + 1]
            at += len(piece)
            length += len(piece)
            if len(head) < LINE_MOST:
                head += piece[: LINE_MOST + 1 - len(head)]
            if cut >= 0:
                yield offset, head.removesuffix(b"\n"), length
                offset, head, length = offset + length, b"", 0
    if length:
        yield offset, head, length


def _line_start(descriptor: int, offset: int) -> int:
    """The beginning of the line that an offset is in."""
    while offset > 0:
        begin = max(0, offset - BLOCK)
        block = os.pread(descriptor, offset - begin, begin)
        cut = block.rfind(b"\n")
        if cut >= 0:
            return begin + cut + 1
        offset = begin
    return 0


def _back(descriptor: int, end: int, lines: int) -> int:
    """The offset at which the last lines before ``end`` begin."""
    wanted, place = lines, end
    if end > 0 and os.pread(descriptor, 1, end - 1) == b"\n":
        wanted += 1
    while place > 0:
        begin = max(0, place - BLOCK)
        block = os.pread(descriptor, place - begin, begin)
        cut = len(block)
        while (cut := block.rfind(b"\n", 0, cut)) >= 0:
            wanted -= 1
            if wanted == 0:
                return begin + cut + 1
        place = begin
    return 0


def _count_lines(descriptor: int, end: int) -> int:
    """How many lines end before an offset."""
    count = place = 0
    while place < end:
        block = os.pread(descriptor, min(4 * BLOCK, end - place), place)
        if not block:
            break
        count += block.count(b"\n")
        place += len(block)
    return count
