# SPDX-License-Identifier: GPL-3.0-or-later
"""Every route says who may call it, as rules.txt has it, and each kind of caller gets exactly that."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

import pytest
from crosshost_webui.accounts import secrets
from crosshost_webui.audit.store import Actor
from crosshost_webui.db.base import now
from crosshost_webui.state import State
from crosshost_webui.web.access import SCOPES, Admin, Role, Viewer, allow, refuse_undeclared
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Message

from tests.webui.support_accounts import make_token, make_user, sign_in
from tests.webui.support_rules import Rule, agreed, of_app


class Caller(NamedTuple):
    """``scopes`` None: by a browser's session."""

    label: str
    role: Role
    scopes: frozenset[str] | None
    headers: dict[str, str]


def test_the_rules_are_those_that_were_agreed_to(app: FastAPI) -> None:
    found = [str(rule) for rule in of_app(app)]
    assert found == agreed(), "agree to it: python -m tests.webui.support_rules > tests/webui/rules.txt"


def test_no_route_is_there_twice(app: FastAPI) -> None:
    found = [(rule.method, re.sub(r"\{\w+\}", "{}", rule.path)) for rule in of_app(app)]
    assert sorted(set(found)) == sorted(found)


def test_what_is_open_to_anyone_is_little(app: FastAPI) -> None:
    assert {rule.path for rule in of_app(app) if rule.role is Role.NOBODY} == {
        "/healthz", "/metrics", "/sign-in", "/sign-in/oidc", "/sign-in/oidc/callback", "/sign-out",
    }  # fmt: skip


def test_what_changes_something_is_not_for_readers(app: FastAPI) -> None:
    for rule in of_app(app):
        if rule.method not in ("GET", "HEAD") and rule.role is not Role.NOBODY:
            assert rule.scope != "read" or rule.path in READS_BY_POST, rule


READS_BY_POST: frozenset[str] = frozenset()
# A token changes no password, whatever it may else.
BROWSERS_ONLY = frozenset({"/account/password"})


def test_each_caller_gets_exactly_what_the_rule_says(app: FastAPI, state: State) -> None:
    """Anonymous, each role in a browser, and tokens of each scope: on every route."""
    make_user(state, "somebody", "viewer")  # whose id is 1, as in the paths that are tried
    make_token(state, "somebody", ["read"])
    with state.db.write() as s:
        secrets.create(s, state.keys, Actor("test"), "vault_password", "x", "a password")
    for role in ("viewer", "operator", "admin"):
        make_user(state, role, role)
    fixed = list(tokens(state))
    wrong = asyncio.run(all_wrong(app, state, fixed))
    assert not wrong, "\n" + "\n".join(wrong)


def tokens(state: State) -> Iterator[Caller]:
    yield Caller("anonymous", Role.NOBODY, None, {})
    yield Caller("wrong cookie", Role.NOBODY, None, {"Cookie": "xh=guessed"})
    yield Caller(
        "wrong token", Role.NOBODY, None, {"Authorization": "Bearer xh_0123456789abcdef." + "x" * 43}
    )
    yield Caller("not our token", Role.NOBODY, None, {"Authorization": "Basic YW5uOmFubg=="})
    expired = make_token(state, "admin", ["admin"], now() - timedelta(seconds=1))
    yield Caller("expired token", Role.NOBODY, None, expired)
    for scope in SCOPES:
        yield Caller(
            f"admin's token {scope}", Role.ADMIN, frozenset({scope}), make_token(state, "admin", [scope])
        )
    all_but = [one for one in SCOPES if one != "admin"]
    for role in (Role.VIEWER, Role.OPERATOR):
        for scopes in (["admin"], all_but):
            header = make_token(state, role.word, scopes)
            yield Caller(f"{role.word}'s token {' '.join(scopes)}", role, frozenset(scopes), header)


async def all_wrong(app: FastAPI, state: State, fixed: list[Caller]) -> list[str]:
    wrong = []
    for rule in of_app(app):
        # new for each route: what is tried here also ends sessions
        browsers = [
            Caller(role.word, role, None, sign_in(state, role.word))
            for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN)
        ]
        for caller in [*fixed, *browsers]:
            status = await status_of(app, rule, caller)
            if not is_as_ruled(rule, caller, status):
                wrong.append(f"{rule}: {caller.label}: {status}")
    return wrong


def is_as_ruled(rule: Rule, caller: Caller, status: int) -> bool:
    if rule.role is Role.NOBODY:
        return status < 500 and status != 403
    if caller.role is Role.NOBODY:
        is_page = not rule.path.startswith("/api/") and rule.method == "GET"
        return status == (303 if is_page else 401)
    has_scope = caller.scopes is None or bool(caller.scopes & {rule.scope, "admin"})
    if caller.role < rule.role or not has_scope or (caller.scopes is not None and rule.path in BROWSERS_ONLY):
        return status == 403
    return status < 500 and status not in (401, 403)


async def status_of(app: FastAPI, rule: Rule, caller: Caller) -> int:
    """The status alone: a stream is left as soon as it begins."""
    path = re.sub(r"\{\w+(:path)?\}", "1", rule.path)
    headers = {"Host": "testserver", "Content-Length": "0", **caller.headers}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": rule.method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": ("192.0.2.1", 1),
        "server": ("testserver", 80), "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
    }  # fmt: skip
    found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start" and not found.done():
            found.set_result(message["status"])

    task = asyncio.create_task(app(scope, receive, send))  # type: ignore[arg-type]
    await asyncio.wait({task, found}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    if not found.done():
        task.result()
        return 0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return found.result()


async def endpoint(_request: Request) -> Response:
    return PlainTextResponse("")


def test_the_server_does_not_start_with_a_route_that_says_nothing() -> None:
    def silent() -> None: ...

    def told(context: Admin) -> None: ...

    for path, add in (
        ("/a", lambda app: app.get("/a")(silent)),
        ("/b", lambda app: app.router.routes.append(Route("/b", endpoint))),
        ("/c", lambda app: app.router.routes.append(Mount("/c", routes=[Route("/d", endpoint)]))),
        ("/d", lambda app: app.router.add_websocket_route("/d", endpoint)),
        ("/p/e", lambda app: include(app, silent)),
    ):
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        app.get("/fine")(told)
        refuse_undeclared(app)
        add(app)  # type: ignore[no-untyped-call]
        with pytest.raises(RuntimeError, match=path):
            refuse_undeclared(app)


def include(app: FastAPI, silent: object) -> None:
    inner, outer = APIRouter(prefix="/p"), APIRouter()
    inner.get("/e")(silent)  # type: ignore[arg-type]
    outer.include_router(inner)
    app.include_router(outer)


def test_the_strictest_of_several_rules_is_the_rule() -> None:
    def silent() -> None: ...

    def loose(context: Viewer) -> None: ...

    def strict(context: Admin) -> None: ...

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    for path, role, endpoint in (
        ("/a", Role.ADMIN, silent),
        ("/b", Role.ADMIN, loose),
        ("/c", Role.VIEWER, strict),
    ):
        inner = APIRouter(dependencies=[allow(role, "admin")])
        inner.get(path)(endpoint)
        app.include_router(inner)
    refuse_undeclared(app)
    assert {rule.path: rule.role for rule in of_app(app)} == dict.fromkeys(("/a", "/b", "/c"), Role.ADMIN)
