# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages out of templates. Everything that is shown is escaped; a template is part of the package, never a user's."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from . import links
from .access import NOBODY, Context
from .problem import Problem

STATIC = Path(__file__).parents[1] / "static"
FLASH = "xh_flash"
FLASH_MOST = 3000  # bytes of the cookie; browsers take 4096
TONES = ("ok", "changed", "failed", "active")
# No eval, no style element (the policy forbids both), no copies of pages in the browser's storage. An error goes to the place
# for errors and leaves what it was asked from as it is; 422 is a form with its errors, and is shown like any answer.
HTMX = json.dumps(
    {
        "allowEval": False, "includeIndicatorStyles": False, "historyCacheSize": 0, "refreshOnHistoryMiss": True,
        "selfRequestsOnly": True, "scrollIntoViewOnBoost": False, "timeout": 30000,
        "responseHandling": [
            {"code": "204", "swap": False},
            {"code": "[23]..", "swap": True},
            {"code": "422", "swap": True},
            {"code": "[45]..", "swap": True, "error": True, "target": "#problems", "swapOverride": "innerHTML"},
        ],
    }
)  # fmt: skip


class Static(StaticFiles):
    """Files of static/. Asked for with their digest they never change; without, a browser asks again each time."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        found = await super().get_response(path, scope)
        is_pinned = scope["query_string"].startswith(b"v=") and found.status_code in (200, 304)
        found.headers["Cache-Control"] = "public, max-age=31536000, immutable" if is_pinned else "no-cache"
        return found


@cache
def static_url(path: str) -> str:
    """The address of a file of static/, with a digest of its content, so that browsers may keep it for ever."""
    digest = hashlib.sha256((STATIC / path).read_bytes()).hexdigest()[:12]
    return f"/static/{path}?v={digest}"


def ago(moment: datetime | None) -> str:
    """How long ago, in one unit."""
    if moment is None:
        return "never"
    seconds = (datetime.now(UTC) - moment) // timedelta(seconds=1)
    if seconds < 0:
        return "in " + _length(-seconds)
    return f"{_length(seconds)} ago" if seconds >= 5 else "just now"


def _length(seconds: int) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def utc(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def count(value: float) -> str:
    """With thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def browser(agent: str) -> str:
    """The name of a browser and its system, out of what it calls itself."""
    names = (
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    )
    systems = (
        ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    )  # fmt: skip
    name = next((name for mark, name in names if mark in agent), "")
    system = next((name for mark, name in systems if mark in agent), "")
    return f"{name} on {system}" if name and system else name or agent[:60] or "unknown"


def percent(share: float) -> str:
    """A share of 100 in words: neither 0 nor 100 is said of something in between."""
    if 0 < share < 1:
        return "<1%"
    return f"{min(share, 99) if share < 100 else 100:.0f}%"


def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("crosshost_webui"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    found.globals.update(static_url=static_url, htmx_config=HTMX, links=links)
    found.filters.update(
        ago=ago, utc=utc, count=count, browser=browser, percent=percent, length_of_time=_length
    )
    return found


environment = _environment()


def page(context: Context, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Render templates/``template``. ``principal``, ``request``, ``path`` and ``flashes`` are there for every template."""
    request = context.request
    told = [] if is_fragment(request) else _flashes(request)
    response = HTMLResponse(
        _render(request, template, principal=context.principal, flashes=told, **values), status
    )
    if told:
        response.delete_cookie(FLASH, path="/", httponly=True, samesite="lax")
    return response


def _render(request: Request, template: str, **values: Any) -> str:
    return environment.get_template(template).render(request=request, path=request.url.path, **values)


def is_fragment(request: Request) -> bool:
    """Whether htmx asks for a part of the page that it shows."""
    return request.headers.get("HX-Request") == "true" and request.headers.get("HX-Boosted") != "true"


def go(context: Context, where: str, *flashes: tuple[str, str]) -> Response:
    """Send the browser to another page, after a form or an action of htmx. ``flashes``: what that page tells first, each with its
    tone (`ok`, `changed`, `failed`, `active`)."""
    if is_fragment(context.request):
        response = Response(status_code=204, headers={"HX-Redirect": where})
    else:
        response = RedirectResponse(where, 303)
    if flashes:
        # Not signed: it is shown as text, and only to the browser that holds it.
        packed = base64.urlsafe_b64encode(json.dumps(_short(flashes)).encode()).decode()
        response.set_cookie(FLASH, packed, max_age=60, path="/", httponly=True, samesite="lax")
    return response


def _short(flashes: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    most = FLASH_MOST // 8 // len(flashes)
    return [(tone, text if len(text) <= most else f"{text[: most - 1]}…") for tone, text in flashes]


def _flashes(request: Request) -> list[tuple[str, str]]:
    try:
        found = json.loads(base64.urlsafe_b64decode(request.cookies.get(FLASH, "")))
        return [(tone, str(text)) for tone, text in found if tone in TONES]
    except (binascii.Error, ValueError, TypeError):
        return []


def error_page(request: Request, error: Problem, request_id: str) -> HTMLResponse:
    """The problem for a person; for htmx, which swaps it into a place of its own, without the frame of the page."""
    template = "error_fragment.html" if is_fragment(request) else "error.html"
    body = _render(request, template, principal=NOBODY, error=error, request_id=request_id)
    return HTMLResponse(body, error.status, headers=error.headers)
