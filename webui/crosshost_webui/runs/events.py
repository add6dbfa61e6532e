# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's record as it comes in: checked, cut to what the tables hold, and without what no database takes. Pure."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeGuard

from ..web.problem import Invalid

KINDS = ("start", "play", "task", "result", "report", "seen", "warning", "stats", "end")
STATUSES = ("ok", "changed", "failed", "unreachable", "skipped")
BODY_MOST = 72 * 1024  # bytes of JSON; the recorder itself cuts at 64 KB
STATS_MOST = 4 * 2**20
TASKS_MOST = 100_000
_BAD = re.compile("[\0\ud800-\udfff]")
_LATEST = 253_402_300_799_000  # ms; the year 9999


class Read(NamedTuple):
    """One event. ``status`` is as it is stored: a failure that the playbook ignores is `ignored`."""

    seq: int
    at: datetime
    kind: str
    raw: Mapping[str, Any]
    task: int | None = None
    host: str | None = None
    status: str | None = None
    is_item: bool = False


def read(event: Mapping[str, Any]) -> Read:
    """Invalid names the event and the field."""
    seq, kind, at = event.get("seq"), event.get("kind"), event.get("at")
    if not _is_number(seq) or not 0 < seq < 2**63:
        raise Invalid(f"event: seq {_shown(seq)}: give its number in the record, from 1")
    if kind not in KINDS:
        raise Invalid(f"event {seq}: kind {_shown(kind)}: use one of {', '.join(KINDS)}")
    if not _is_number(at) or not 0 <= at <= _LATEST:
        raise Invalid(f"event {seq}: at {_shown(at)}: give milliseconds since 1970")
    found = Read(seq, datetime.fromtimestamp(at / 1000, UTC), kind, event)
    if kind in ("task", "result"):
        number = event.get("task")
        if not _is_number(number) or not 0 < number <= TASKS_MOST:
            raise Invalid(f"event {seq}: task {_shown(number)}: give the task's number, from 1")
        found = found._replace(task=number)
    if kind in ("result", "report", "seen"):
        host = event.get("host")
        if not isinstance(host, str) or not 0 < len(host) <= 253 or clean(host) != host:
            raise Invalid(f"event {seq}: host {_shown(host)}: give the host's name")
        found = found._replace(host=host)
    if kind == "result":
        status = event.get("status")
        if status not in STATUSES:
            raise Invalid(f"event {seq}: status {_shown(status)}: use one of {', '.join(STATUSES)}")
        ignored = status == "failed" and event.get("ignored") is True
        found = found._replace(status="ignored" if ignored else status, is_item="item" in event)
    return found


def counter(status: str) -> str:
    """The counter that a result counts for; Ansible takes an ignored failure for ok."""
    return "ok" if status == "ignored" else status


def duration(event: Mapping[str, Any]) -> int | None:
    ms = event.get("ms")
    return min(int(ms), 2**53) if isinstance(ms, (int, float)) and ms == ms and ms >= 0 else None


def clipped(value: object, most: int) -> str:
    """A text of at most ``most`` characters; "" for what is none."""
    return clean(value)[:most] if isinstance(value, str) else ""


def clean(text: str) -> str:
    """Without NUL and half characters, which PostgreSQL and UTF-8 have no place for."""
    return _BAD.sub("\ufffd", text) if _BAD.search(text) else text


def clean_value(value: Any) -> Any:
    """The same of what JSON can hold."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(name)): clean_value(one) for name, one in value.items()}
    if isinstance(value, list):
        return [clean_value(one) for one in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return str(value)
    return value


def pack(body: Mapping[str, Any], most: int = BODY_MOST) -> bytes:
    """A body as it is stored, of at most ``most`` bytes of JSON."""
    text = json.dumps(body, separators=(",", ":"), default=str)
    if "\\u0000" in text or "\\ud" in text or "NaN" in text or "Infinity" in text:
        text = json.dumps(clean_value(body), separators=(",", ":"), default=str)
    if len(text) > most:
        text = json.dumps({"truncated": True, "msg": text[:most]})
    return zlib.compress(text.encode("ascii"), 3)


def unpack(body: bytes | None) -> dict[str, Any]:
    """A body as the recorder wrote it; {} if the result had none."""
    if body is None:
        return {}
    found = json.loads(zlib.decompress(body))
    return found if isinstance(found, dict) else {}


def items_of(event: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """What a module saw on its host; what does not have the form is left out."""
    found = []
    for one in event.get("items") or ():
        if isinstance(one, list) and len(one) == 5 and all(isinstance(part, str) for part in one):
            network, name, field, family, value = map(clean, one)
            if (
                len(network) <= 60
                and len(name) <= 253
                and len(field) <= 24
                and len(family) <= 8
                and 0 < len(value) <= 64
            ):
                found.append((network, name, field, family, value))
    return found


def _is_number(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: object) -> str:
    return repr(value)[:80]
