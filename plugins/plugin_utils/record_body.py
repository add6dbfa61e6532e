# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a task's result: chosen fields, without secrets, without what no database takes, within a bound. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

MOST = 64 * 1024  # bytes of a body as JSON
HIDDEN = "********"
CENSORED = {"censored": True}
# Of any module; in the order in which they are kept when there is too much.
FIELDS = (
    "msg", "commands", "diff", "warnings", "rc", "stderr", "stdout", "cmd", "problems", "missing", "drift", "drifted", "errors",
    "module_stderr", "module_stdout", "exception", "reason", "false_condition", "failed_when_result", "attempts",
)  # fmt: skip
# Of failures and of debug, also what a module calls otherwise, but for what is long or says nothing.
_NOISE = {
    "ansible_facts", "before", "after", "changed", "deprecations", "end", "delta", "failed", "invocation", "results",
    "skipped", "start", "stderr_lines", "stdout_lines", "unreachable", "ansible_loop_var", "item", "ansible_index_var",
    "skip_reason", "evaluated_to",
}  # fmt: skip
_SHORTEST = 4  # a secret of fewer characters would hide half the text
_EXTRA = 40
_NAME = re.compile(
    r"(?:^|[_-])(?:pass|password|passwd|passphrase|secret|token|private_?key|api_?key|psk|credentials?)s?$", re.IGNORECASE
)  # fmt: skip
_PATTERNS = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        HIDDEN,
    ),
    (re.compile(r"(://[^/\s:@]{1,200}:)[^@\s/]{1,500}(?=@)"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b(authorization:\s*(?:bearer|basic)\s+)\S+"), rf"\1{HIDDEN}"),
    (
        re.compile(
            r"(?i)((?:password|passwd|passphrase|secret|token|api_?key)[\"']?\s{0,20}[=:]\s{0,20})"
            r"(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s\"',;]+)"
        ),
        rf"\1{HIDDEN}",
    ),
)
_HINTS = re.compile(r"(?i)pass|secret|token|key|://|authorization")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Mask:
    """Hides secrets in texts: values that are known, and what looks like one."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def learn(self, values: Iterable[str]) -> None:
        """Values that must not be seen anywhere. A key of many lines is known by each of its lines."""
        for value in values:
            self._known.update(
                one for one in (value.strip(), *map(str.strip, value.splitlines())) if len(one) >= _SHORTEST
            )
        if self._known:
            longest_first = sorted(self._known, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def text(self, value: str) -> str:
        if self._pattern is not None:
            value = self._pattern.sub(HIDDEN, value)
        if _HINTS.search(value):
            for pattern, replacement in _PATTERNS:
                value = pattern.sub(replacement, value)
        return value

    def value(self, value: Any) -> Any:
        """The same of what JSON can hold; what is not of such a type becomes text."""
        if isinstance(value, str):
            return self.text(str.__str__(value))
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, Mapping):
            return {
                self.text(str(name)): HIDDEN if is_secret(str(name)) and _is_filled(one) else self.value(one)
                for name, one in value.items()
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.value(one) for one in value]
        return self.text(str(value))


def is_secret(name: str) -> bool:
    """Whether a variable or option of this name holds a secret."""
    return _NAME.search(name) is not None


def _is_filled(value: Any) -> bool:
    return value is not None and not isinstance(value, bool) and value != ""


def body_of(result: Mapping[str, Any], status: str, action: str, mask: Mask) -> dict[str, Any] | None:
    """The body of a result; None if there is nothing to tell but the status. ``action``: the module's full name."""
    if "censored" in result or result.get("_ansible_no_log"):
        return dict(CENSORED)
    chosen = {name: result[name] for name in FIELDS if name in result}
    if status in ("failed", "unreachable") or action.endswith(".debug") or action == "debug":
        chosen |= dict(list(_others(result))[:_EXTRA])
    chosen = {name: value for name, value in chosen.items() if not _is_empty(name, value)}
    if status in ("ok", "skipped") and chosen.get("rc") == 0 and len(chosen) == 1:
        return None
    if not chosen:
        return None
    body: dict[str, Any] = mask.value(chosen)
    if body.get("commands"):
        body |= _measured(result)
    return body


def _others(result: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in result.items():
        if name not in _NOISE and name not in FIELDS and not str(name).startswith("_ansible"):
            yield str(name), value


def _is_empty(name: str, value: Any) -> bool:
    if name == "diff":
        parts = value if isinstance(value, list) else [value]
        return not any(_says_something(part) for part in parts)
    if name == "drift" and isinstance(value, Mapping):
        return not any(value.values())
    return value in ("", None, False, "(traceback unavailable)") or (
        isinstance(value, (list, dict)) and not value
    )


def _says_something(diff: Any) -> bool:
    if not isinstance(diff, Mapping):
        return bool(diff)
    return bool(diff.get("prepared")) or diff.get("before") != diff.get("after")


def _measured(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a plan is compared by, made before anything is cut: of the commands, and of the declarations that they lead from
    and to, because rows beyond the first 200 are counted in the commands and not listed."""
    commands = [str(one) for one in result["commands"]]
    whole = [commands, result.get("before"), result.get("after")]
    text = json.dumps(whole, sort_keys=True, default=str, separators=(",", ":"))
    return {
        "commands_count": len(commands),
        "commands_digest": hashlib.sha256(text.encode(errors="replace")).hexdigest(),
    }


def encode(event: Mapping[str, Any]) -> bytes:
    """A line of the record. A body that is too large is cut and says so."""
    text = json.dumps(event, separators=(",", ":"), default=str)
    if "\\u0000" in text or "\\ud" in text:
        event = cleaned(event)
        text = json.dumps(event, separators=(",", ":"), default=str)
    body = event.get("body")
    if len(text) > MOST and isinstance(body, Mapping):
        text = json.dumps({**event, "body": fitted(body)}, separators=(",", ":"), default=str)
    return text.encode("ascii") + b"\n"


def cleaned(value: Any) -> Any:
    """Without NUL and half characters, which PostgreSQL and UTF-8 have no place for."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value.replace("\0", ""))
    if isinstance(value, Mapping):
        return {cleaned(name): cleaned(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [cleaned(one) for one in value]
    return value


def fitted(body: Mapping[str, Any], most: int = MOST) -> dict[str, Any]:
    """The body cut to ``most`` bytes of JSON: each field gets at most half of what is left. `truncated` tells it."""
    found: dict[str, Any] = {"truncated": True}
    left = most - 1024
    ordered = [name for name in ("commands_count", "commands_digest", *FIELDS) if name in body]
    ordered += [name for name in body if name not in ordered]
    for name in ordered:
        part = _cut(body[name], left // 2)
        size = len(json.dumps(part, default=str)) + len(name) + 6
        if size < left:
            found[name] = part
            left -= size
    return found


def _cut(value: Any, most: int) -> Any:
    """The value, or as much of its beginning as has room in ``most`` bytes of JSON."""
    if isinstance(value, str):
        return _cut_text(value, most)
    if isinstance(value, Mapping):
        found: dict[str, Any] = {}
        for name, one in value.items():
            if most <= len(str(name)) + 8:
                break
            found[str(name)] = _cut(one, most - len(str(name)) - 8)
            most -= len(json.dumps(found[str(name)], default=str)) + len(str(name)) + 8
        return found
    if isinstance(value, (list, tuple)):
        rows: list[Any] = []
        for one in value:
            if most <= 8:
                break
            rows.append(_cut(one, most - 4))
            most -= len(json.dumps(rows[-1], default=str)) + 4
        return rows
    return value


def _cut_text(value: str, most: int) -> str:
    text = value[: max(most, 0)]
    while len(json.dumps(text)) > max(most, 2):
        text = text[: len(text) // 2]
    return text if len(text) == len(value) else f"{text}\u2026"
