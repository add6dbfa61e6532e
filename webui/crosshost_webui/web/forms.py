# SPDX-License-Identifier: GPL-3.0-or-later
"""Forms of declarations: a field for each usual option, and one in YAML for the rest. Pure, in both directions: what a form shows of
a body it gives back, and what no field can show stays in the YAML.

An option that is left empty is not declared, so that the engine's default holds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

REST = "rest"
REST_MOST = 200_000  # characters
Body = dict[str, Any]
_UNKEPT = re.compile("[\0\ud800-\udfff]")
_WORD = re.compile(r"[^\s,]+")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


class Unfit(ValueError):  # noqa: N818 - it is the value that does not fit
    """What a field holds cannot be an option's value. The text says what to write."""


@dataclass(frozen=True)
class Field:
    """``kind``: text, number (with ``options``: one of them), flag, choice, words (a list with commas or blanks between), lines (a
    list, one a line), mapping (in YAML) or rows (a list of mappings, with ``columns``). ``default``: what a flag or choice is when
    nobody says it. ``suggest``: which names the browser proposes. ``wide``: it takes the whole row."""

    name: str
    label: str
    kind: str = "text"
    hint: str = ""
    placeholder: str = ""
    required: bool = False
    default: Any = None
    options: tuple[str | tuple[str, str], ...] = ()
    columns: tuple[Field, ...] = ()
    suggest: str = ""
    wide: bool = False


@dataclass
class Filled:
    """A form with what somebody wrote. ``values``: for its fields; rows as lists of such. ``body``: what they mean, and ``errors`` by
    field where they mean nothing."""

    values: Body = field(default_factory=dict)
    body: Body = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def show(fields: Sequence[Field], body: Mapping[str, Any]) -> Body:
    """The values of the form's fields for this body."""
    rest = dict(body)
    values: Body = {}
    for one in fields:
        values[one.name] = _empty(one)
        if one.name in rest and _fits(one, rest[one.name]):
            values[one.name] = _SHOW[one.kind](one, rest.pop(one.name))
    values[REST] = dump(rest)
    return values


def read(fields: Sequence[Field], form: Mapping[str, str]) -> Filled:
    """What was sent, as values to show again and as a body. ``form``: by name; a row's cell is `field.row.column`."""
    found = Filled()
    for one in fields:
        try:
            if one.kind == "rows":
                found.values[one.name] = rows = _rows_sent(one, form)
                value: Any = _read_rows(one, rows, found.errors)
            else:
                found.values[one.name] = sent = _clean(form.get(one.name, ""))
                value = _READ[one.kind](one, sent)
        except Unfit as error:
            found.errors[one.name] = str(error)
            continue
        if value is not None:
            found.body[one.name] = value
        elif one.required:
            found.errors[one.name] = f"{one.label}: this is needed"
    found.values[REST] = _clean(form.get(REST, ""))
    _add_rest(found.body, found.values[REST], REST, found.errors)
    return found


def _add_rest(body: Body, text: str, where: str, errors: dict[str, str]) -> None:
    """Add the options that are written in YAML."""
    try:
        rest = load(text)
    except Unfit as error:
        errors[where] = str(error)
        return
    for name in rest.keys() & body.keys():
        errors[where] = f"{name}: it has a field of its own; say it there or here, not twice"
    body.update(rest)


def load(text: str) -> Body:
    """A mapping in YAML; empty text is an empty one. Unfit tells the line."""
    if len(text) > REST_MOST:
        raise Unfit(f"{len(text)} characters; write at most {REST_MOST}")
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, yaml.SafeLoader)):
            raise Unfit("YAML aliases (*name) are not supported here; write the value out")
        found = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise Unfit(f"{line}{error.problem or error.context or 'this is no YAML'}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Unfit(f"this is no YAML: {str(error)[:200]}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Unfit("write options as `name: value`, one a line")
    return {str(name): _json(value) for name, value in found.items()}


def dump(body: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(dict(body), sort_keys=False, allow_unicode=True, width=100)) if body else ""


def _json(value: Any) -> Any:
    """The value as JSON has it: YAML's dates and binaries as the text that stands for them."""
    if isinstance(value, dict):
        return {str(name): _json(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [_json(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise Unfit(f"{value}: this is no number that can be kept")
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    if _UNKEPT.search(text):
        raise Unfit(f"{text[:60]!r}: it has a character that cannot be kept; leave that out")
    return text


def _clean(text: str) -> str:
    """Browsers send CR LF; NUL is nothing that a database or a host takes."""
    return text.replace("\r\n", "\n").replace("\0", "")


def _empty(one: Field) -> Any:
    if one.kind == "rows":
        return []
    return one.default if one.kind in ("flag", "choice") else ""


def _fits(one: Field, value: Any) -> bool:
    """Whether the field can show this value so that it reads back the same."""
    if one.kind == "rows":
        return _is_list(value) and all(isinstance(row, dict) for row in value)
    if one.kind == "lines":
        return _is_list(value) and all(_is_line(item) for item in value)
    if one.kind == "words":
        return _is_list(value) and all(isinstance(item, str) and _WORD.fullmatch(item) for item in value)
    if one.kind == "mapping":
        return isinstance(value, dict) and bool(value)
    if one.kind == "flag":
        return isinstance(value, bool)
    if one.kind == "number":
        known = [_value(option) for option in one.options]
        return isinstance(value, int) and not isinstance(value, bool) and (not known or str(value) in known)
    is_text = isinstance(value, str) and value == value.strip() and value != "" and "\n" not in value
    return is_text and (one.kind != "choice" or value in [_value(option) for option in one.options])


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _is_line(item: Any) -> bool:
    if isinstance(item, str):
        return item == item.strip() and item != "" and "\n" not in item and not item.startswith("{")
    return isinstance(item, dict) and bool(item)


def _value(option: str | tuple[str, str]) -> str:
    return option if isinstance(option, str) else option[0]


def _show_lines(_one: Field, value: list[Any]) -> str:
    return "\n".join(item if isinstance(item, str) else _flow(item) for item in value)


def _flow(value: Any) -> str:
    """In one line."""
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=True, width=10**6)
    return str(text).strip()


def _show_rows(one: Field, rows: list[Body]) -> list[Body]:
    found = []
    for row in rows:
        rest = dict(row)
        values: Body = {}
        for column in one.columns:
            values[column.name] = ""
            if column.name in rest and _fits(column, rest[column.name]):
                values[column.name] = str(rest.pop(column.name))
        found.append({**values, REST: _flow(rest) if rest else ""})
    return found


def _rows_sent(one: Field, form: Mapping[str, str]) -> list[Body]:
    """In the order of the form. A row that is there counts, also if all of it is empty: then all of it is automatic."""
    rows: dict[str, Body] = {}
    for name, value in form.items():
        head, _, tail = name.partition(".")
        number, _, column = tail.partition(".")
        if head == one.name and column:
            rows.setdefault(number, {})[column] = _clean(value).strip()
    names = [*(column.name for column in one.columns), REST]
    return [{name: row.get(name, "") for name in names} for row in rows.values()]


def _read_rows(one: Field, rows: Sequence[Body], errors: dict[str, str]) -> list[Body] | None:
    found: list[Body] = []
    for number, row in enumerate(rows):
        body: Body = {}
        for column in one.columns:
            try:
                value = _READ[column.kind](column, row[column.name])
            except Unfit as error:
                errors[f"{one.name}.{number}.{column.name}"] = str(error)
                continue
            if value is not None:
                body[column.name] = value
        _add_rest(body, row[REST], f"{one.name}.{number}.{REST}", errors)
        found.append(body)
    return found or None


def _read_text(_one: Field, sent: str) -> str | None:
    return sent.strip() or None


def _read_number(one: Field, sent: str) -> int | None:
    text = sent.strip()
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise Unfit(
            f"{one.label} {text[:60]}: this is no whole number; write one, or leave it empty"
        ) from None


def _read_flag(one: Field, sent: str) -> bool | None:
    value = sent == "1"
    return None if value == one.default else value


def _read_choice(one: Field, sent: str) -> str | None:
    if sent in ("", one.default):
        return None
    if sent not in [_value(option) for option in one.options]:
        raise Unfit(f"{one.label} {sent[:60]}: choose one of the list")
    return sent


def _read_lines(one: Field, sent: str) -> list[Any] | None:
    found: list[Any] = []
    for number, line in enumerate(sent.split("\n"), 1):
        text = line.strip()
        if text.startswith("{"):
            try:
                found.append(load(text))
            except Unfit as error:
                raise Unfit(f"{one.label}: line {number}: {error}") from None
        elif text:
            found.append(text)
    return found or None


def _read_words(_one: Field, sent: str) -> list[str] | None:
    return _WORD.findall(sent) or None


def _read_mapping(one: Field, sent: str) -> Body | None:
    try:
        return load(sent) or None
    except Unfit as error:
        raise Unfit(f"{one.label}: {error}") from None


_SHOW: dict[str, Callable[[Field, Any], Any]] = {
    "text": lambda _one, value: value,
    "number": lambda _one, value: str(value),
    "flag": lambda _one, value: value,
    "choice": lambda _one, value: value,
    "words": lambda _one, value: ", ".join(value),
    "mapping": lambda _one, value: dump(value),
    "lines": _show_lines,
    "rows": _show_rows,
}
_READ: dict[str, Callable[[Field, str], Any]] = {
    "text": _read_text,
    "number": _read_number,
    "flag": _read_flag,
    "choice": _read_choice,
    "words": _read_words,
    "mapping": _read_mapping,
    "lines": _read_lines,
}
