# SPDX-License-Identifier: GPL-3.0-or-later
"""The application: routes of all domains, behind the middleware, with one way to answer an error."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from . import routers
from .state import State
from .web import access, problem
from .web.middleware import Envelope, SameOrigin, SmallBody
from .web.pages import STATIC, error_page

API = "/api/v1"
log = logging.getLogger("crosshost_webui")


def create_app(state: State) -> FastAPI:
    """The application of this state. RuntimeError if a route does not say who may call it."""

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        async with routers.background(state):
            yield

    app = FastAPI(
        title="Crosshost dashboard", version=routers.version(), lifespan=life,
        openapi_url=None, docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.state.crosshost = state
    for one in routers.pages():
        app.include_router(one, include_in_schema=False)
    for one in routers.api():
        app.include_router(one, prefix=API)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    _handle_errors(app)
    app.add_middleware(SmallBody)
    app.add_middleware(SameOrigin, base_url=state.settings.base_url)
    app.add_middleware(Envelope, trusted_proxies=state.settings.trusted_proxies)
    access.refuse_undeclared(app)
    return app


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
        found = problem.Problem(str(error.detail), headers=dict(error.headers or {}))
        found.status, found.title = error.status_code, str(error.detail)
        return _respond(request, found)

    @app.exception_handler(Exception)
    async def _fault(request: Request, error: Exception) -> Response:
        log.error("fault in %s %s", request.method, request.url.path, exc_info=error)
        found = problem.Problem(
            "this is a fault of the dashboard; its log has the details under the request's id"
        )
        found.status, found.title = 500, "A fault"
        return _respond(request, found)


def _respond(request: Request, error: problem.Problem) -> Response:
    request_id = str(getattr(request.state, "request_id", ""))
    if request.url.path.startswith("/api/"):
        body: dict[str, Any] = error.body(request_id)
        return JSONResponse(body, error.status, headers=error.headers, media_type="application/problem+json")
    if error.status == 401 and request.method == "GET" and "hx-request" not in request.headers:
        return RedirectResponse(f"/sign-in?next={request.url.path}", 303)
    return error_page(request, error, request_id)
