# SPDX-License-Identifier: GPL-3.0-or-later
"""Terminal colours as classes. The text stays text: a template escapes it, and everything else of a terminal's language
(cursor movement, titles, links) is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# CSI ... final byte; OSC up to BEL or ST, or to the line's end if it is never closed; two-byte escapes; lone control characters
_ESCAPE = re.compile(
    r"\x1b\[(?P<sgr>[0-9;:]*)m"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")


class Span(NamedTuple):
    """A piece of a line in one look. ``classes``: of the style sheet, separated by blanks; empty: plain."""

    classes: str
    text: str


class _Look(NamedTuple):
    colour: str = ""
    bold: bool = False
    dim: bool = False
    underline: bool = False

    @property
    def classes(self) -> str:
        parts = (
            self.colour and f"ansi-{self.colour}",
            self.bold and "ansi-bold",
            self.dim and "ansi-dim",
            self.underline and "ansi-underline",
        )
        return " ".join(part for part in parts if part)


def spans(line: str) -> list[Span]:
    """One line without its end. A line begins plain: programs that colour across lines are rare, and each part of an output can
    then be shown without what comes before it."""
    return [Span(look.classes, text) for look, text in _pieces(line) if text]


def plain(line: str) -> str:
    """The line's text alone."""
    return _ESCAPE.sub("", line)


def _pieces(line: str) -> Iterator[tuple[_Look, str]]:
    look, begin = _Look(), 0
    for found in _ESCAPE.finditer(line):
        yield look, line[begin : found.start()]
        begin = found.end()
        if found["sgr"] is not None:
            look = _turn(look, found["sgr"])
    yield look, line[begin:]


def _turn(look: _Look, sgr: str) -> _Look:
    """The look after one SGR sequence. Colours of 256 and of 24 bits are passed over, with their arguments."""
    codes = iter([int(code) if code.isdigit() and len(code) < 4 else 0 for code in sgr.split(";")])
    for code in codes:
        if code == 0:
            look = _Look()
        elif code in (1, 2):
            look = look._replace(bold=code == 1, dim=code == 2)
        elif code == 22:
            look = look._replace(bold=False, dim=False)
        elif code in (4, 24):
            look = look._replace(underline=code == 4)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            look = look._replace(colour=NAMES[code % 10])
        elif code in (38, 48):
            for _ in range({5: 1, 2: 3}.get(next(codes, 0), 0)):
                next(codes, 0)
        elif code == 39:
            look = look._replace(colour="")
    return look
