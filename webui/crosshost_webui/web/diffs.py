# SPDX-License-Identifier: GPL-3.0-or-later
"""Two states as the lines that differ between them, for the macro `diff`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, NamedTuple

import yaml

LINES_MOST = 2000  # of one diff; more is for a program to read


class Line(NamedTuple):
    """``kind``: add, del, same, hunk or head-line."""

    kind: str
    text: str


def of_texts(before: str, after: str, before_name: str = "", after_name: str = "") -> list[Line]:
    """A unified diff with three lines around each change; empty if they are equal."""
    found = difflib.unified_diff(
        before.splitlines(), after.splitlines(), before_name or "before", after_name or "after", lineterm=""
    )
    # the first two are the names; a deleted line that begins with `-- ` looks like one
    return _cut(Line("head-line", text) if n < 2 else _line(text, False) for n, text in enumerate(found))


def of_prepared(text: str) -> list[Line]:
    """A diff that is one already, as modules with diffs of their own return it."""
    return _cut(map(_line, text.splitlines()))


def of_bodies(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[Line]:
    """Two declarations as YAML. All of them, for they are short, and what stays tells what it is that changes."""
    old, new = (_yaml(one).splitlines() for one in (before, after))
    found: list[Line] = []
    for tag, i, j, k, m in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag == "equal":
            found += [Line("same", f"  {text}") for text in old[i:j]]
        found += [Line("del", f"- {text}") for text in old[i:j] if tag in ("replace", "delete")]
        found += [Line("add", f"+ {text}") for text in new[k:m] if tag in ("replace", "insert")]
    return _cut(found)


def of_result(diff: Any) -> list[Line]:
    """What a module returned as its diff: a mapping with `prepared`, or `before` and `after`, or a list of such."""
    found: list[Line] = []
    for one in diff if isinstance(diff, list) else [diff]:
        if not isinstance(one, dict):
            continue
        if isinstance(one.get("prepared"), str):
            found += of_prepared(one["prepared"])
        elif "before" in one or "after" in one:
            names = (str(one.get(f"{side}_header", side)) for side in ("before", "after"))
            found += of_texts(_text(one.get("before")), _text(one.get("after")), *names)
    return _cut(found)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _yaml(value)


def _yaml(value: Any) -> str:
    return "" if value is None else str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120))


def _line(text: str, may_be_head: bool = True) -> Line:
    if may_be_head and text.startswith(("--- ", "+++ ")):
        return Line("head-line", text)
    kinds = {"+": "add", "-": "del", "@": "hunk"}
    return Line(kinds.get(text[:1], "same"), text)


def _cut(lines: Iterable[Line]) -> list[Line]:
    found = list(lines)
    if len(found) <= LINES_MOST:
        return found
    return [*found[:LINES_MOST], Line("hunk", f"… and {len(found) - LINES_MOST} more lines")]
