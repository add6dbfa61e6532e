# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages out of templates. Everything that is shown is escaped; a template is part of the package, never a user's."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from .access import NOBODY, Context
from .problem import Problem

STATIC = Path(__file__).parents[1] / "static"


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


def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("crosshost_webui"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    found.globals["static_url"] = static_url
    found.filters.update(ago=ago, utc=utc, count=count, length_of_time=_length)
    return found


environment = _environment()


def page(context: Context, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Render templates/``template``. ``principal``, ``request`` and ``path`` are there for every template."""
    return HTMLResponse(_render(context.request, template, principal=context.principal, **values), status)


def _render(request: Request, template: str, **values: Any) -> str:
    return environment.get_template(template).render(request=request, path=request.url.path, **values)


def is_fragment(request: Request) -> bool:
    """Whether htmx asks for a part of the page that it shows."""
    return request.headers.get("HX-Request") == "true" and request.headers.get("HX-Boosted") != "true"


def go(context: Context, where: str) -> Response:
    """Send the browser to another page, after a form or an action of htmx."""
    if is_fragment(context.request):
        return Response(status_code=204, headers={"HX-Redirect": where})
    return RedirectResponse(where, 303)


def error_page(request: Request, error: Problem, request_id: str) -> HTMLResponse:
    """The problem for a person; for htmx, which swaps it into a place of its own, without the frame of the page."""
    template = "error_fragment.html" if is_fragment(request) else "error.html"
    body = _render(request, template, principal=NOBODY, error=error, request_id=request_id)
    return HTMLResponse(body, error.status, headers=error.headers)
