# SPDX-License-Identifier: GPL-3.0-or-later
"""The log: one line an entry, on standard error, as text or JSON. What came from outside cannot forge a line, and what opens
something is not in it."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from contextvars import ContextVar
from typing import Any, Literal, TextIO

# The id of the request that is being answered; what it calls in threads sees it too.
request_id: ContextVar[str] = ContextVar("request_id", default="")

_FIELDS = ("request_id", "address", "ms", "run")
# API tokens, what follows `Bearer`, and the password in a URL
_SECRET = re.compile(
    r"(xh_[0-9a-f]{16})\.[\w-]+|(\bBearer )[^\s'\"]+|(\b[a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s/@]+(?=@)", re.I
)


def set_up(level: str, form: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Send what is logged in this process to the stream. ``level``: the least that the dashboard's own loggers write; libraries
    write warnings."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Json() if form == "json" else Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("crosshost_webui").setLevel(level.upper())


def without_secrets(text: str) -> str:
    return _SECRET.sub(_masked, text)


class Text(logging.Formatter):
    """`2026-01-31T08:15:00.123Z INFO crosshost_webui.access: GET /hosts 200 request_id=... ms=3.1`"""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in _extra(record).items())
        line = f"{_moment(record)} {record.levelname} {record.name}: {record.getMessage()}{fields}"
        lines = [_printable(without_secrets(line))]
        if record.exc_info:
            told = without_secrets(self.formatException(record.exc_info))
            lines += [f"  | {_printable(one)}" for one in told.splitlines()]
        return "\n".join(lines)


class Json(logging.Formatter):
    """An object a line; ASCII, so that no reader takes a part of it for the end of the line."""

    def format(self, record: logging.LogRecord) -> str:
        found: dict[str, Any] = {
            "at": _moment(record), "level": record.levelname.lower(), "logger": record.name,
            "message": without_secrets(record.getMessage()), **_extra(record),
        }  # fmt: skip
        if record.exc_info:
            found["exception"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(found, default=str)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    found = {name: getattr(record, name) for name in _FIELDS if getattr(record, name, None) not in (None, "")}
    if "request_id" not in found and request_id.get():
        found["request_id"] = request_id.get()
    return found


def _moment(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"


def _printable(line: str) -> str:
    return (
        line if line.isprintable() else "".join(one if one.isprintable() else _escaped(one) for one in line)
    )


def _escaped(one: str) -> str:
    return one.encode("unicode_escape").decode("ascii")


def _masked(found: re.Match[str]) -> str:
    token, bearer, url = found.groups()
    return f"{token}.***" if token else f"{bearer}***" if bearer else f"{url}:***"
