# SPDX-License-Identifier: GPL-3.0-or-later
"""ETag, If-None-Match and If-Match (RFC 9110)."""

from __future__ import annotations

from fastapi import Request, Response

from .problem import Changed, MatchNeeded


def etag(value: object) -> str:
    return f'"{value}"'


def is_known(request: Request, tag: str) -> bool:
    """Whether the caller has this version already, so that 304 says all."""
    given = request.headers.get("if-none-match", "")
    return given.strip() == "*" or tag in {one.strip().removeprefix("W/") for one in given.split(",")}


def not_modified(tag: str) -> Response:
    return Response(status_code=304, headers={"ETag": tag, "Cache-Control": "private, no-cache"})


def demand_match(request: Request, tag: str, what: str) -> None:
    """MatchNeeded without If-Match, Changed if it names another version than ``tag``."""
    given = request.headers.get("if-match")
    if given is None:
        raise MatchNeeded(f"{what}: send If-Match with the ETag that you have read, here {tag}")
    if given.strip() != "*" and tag not in {one.strip() for one in given.split(",")}:
        raise Changed(f"{what}: it is at {tag} now, not at {given}; read it again and repeat the change")
