# SPDX-License-Identifier: GPL-3.0-or-later
"""The application: routes of all domains, behind the middleware, with one way to answer an error."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import BaseRoute

from . import routers
from .collection import version
from .operations.metrics import Observed
from .state import State
from .web import access, problem
from .web.faults import Faults
from .web.middleware import Envelope, SameOrigin, SmallBody
from .web.pages import STATIC, Static, error_page

API = "/api/v1"
_HTTP = {
    404: "there is nothing at this address; check its spelling",
    405: "this address does not take this method; the Allow header has those that it takes",
}


def create_app(state: State) -> FastAPI:
    """The application of this state. RuntimeError if a route does not say who may call it."""

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        async with routers.background(state):
            yield

    app = FastAPI(
        title="Crosshost dashboard", version=version(), lifespan=life,
        openapi_url=None, docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.state.crosshost = state
    app.router.routes.extend(_routes())
    app.mount("/static", Static(directory=STATIC), name="static")
    _handle_errors(app)
    app.add_middleware(SmallBody)
    app.add_middleware(SameOrigin, base_url=state.settings.base_url)
    app.add_middleware(Faults, respond=_respond, count=state.metrics.faults.inc)
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=4)
    app.add_middleware(Observed, metrics=state.metrics)
    app.add_middleware(Envelope, trusted_proxies=state.settings.trusted_proxies)
    access.refuse_undeclared(app)
    return app


@cache
def _routes() -> Sequence[BaseRoute]:
    """The routes of all domains. They hold nothing of an application, and reading their signatures takes a while."""
    whole = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    for one in routers.pages():
        whole.include_router(one, include_in_schema=False)
    for one in routers.api():
        whole.include_router(one, prefix=API)
    return tuple(whole.routes)


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(problem.Problem)
    async def _told(request: Request, error: Exception) -> Response:
        assert isinstance(error, problem.Problem)
        return _respond(request, error)

    @app.exception_handler(RequestValidationError)
    async def _malformed(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _respond(request, problem.of_request(error.errors()))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = f"{request.method} {request.url.path}: {_HTTP.get(error.status_code, error.detail)}"
        found = problem.Problem(detail, headers=dict(error.headers or {}))
        found.status, found.title = error.status_code, str(error.detail)
        return _respond(request, found)


def _respond(request: Request, error: problem.Problem) -> Response:
    request_id = str(getattr(request.state, "request_id", ""))
    if request.url.path.startswith("/api/"):
        body: dict[str, Any] = error.body(request_id)
        return JSONResponse(body, error.status, headers=error.headers, media_type="application/problem+json")
    if error.status == 401 and request.method == "GET" and "hx-request" not in request.headers:
        return RedirectResponse(f"/sign-in?next={request.url.path}", 303)
    return error_page(request, error, request_id)
