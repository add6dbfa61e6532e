# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may call a route. Each route names it by one of the dependencies made here; the server does not start with one that
names nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import Mount

from ..db.engine import Database
from .problem import Forbidden, SignInNeeded

if TYPE_CHECKING:
    from ..state import State

SCOPES = ("read", "inventory:write", "ipam:write", "run:start", "executor", "admin")


class Role(IntEnum):
    """Each may what the ones before it may."""

    NOBODY = 0
    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Principal:
    """Who asks. ``scopes`` None: not limited (a browser's session). ``key``: unique among principals."""

    name: str
    role: Role
    key: str
    user_id: int | None = None
    through: str = ""
    scopes: frozenset[str] | None = None
    sign_in: bytes | None = None


NOBODY = Principal("", Role.NOBODY, "nobody")


@dataclass(frozen=True)
class Context:
    """What a route works with."""

    principal: Principal
    state: State
    request: Request

    @property
    def db(self) -> Database:
        return self.state.db

    @property
    def who(self) -> str:
        return self.principal.name

    @property
    def request_id(self) -> str:
        return str(self.request.state.request_id)

    @property
    def address(self) -> str:
        return str(self.request.state.address)


class Allow:
    """The dependency: a principal of at least this role, and a token only with the scope."""

    def __init__(self, role: Role, scope: str = "read") -> None:
        assert scope in SCOPES, scope
        self.role = role
        self.scope = scope

    def __call__(self, request: Request) -> Context:
        state: State = request.app.state.crosshost
        try:
            principal = state.authenticate(request)
        except SignInNeeded:
            if self.role is not Role.NOBODY:
                raise
            principal = NOBODY
        context = Context(principal, state, request)
        if self.role is Role.NOBODY:
            return context
        if principal.role is Role.NOBODY:
            raise SignInNeeded(
                "this needs an account: sign in, or send an API token", headers={"WWW-Authenticate": "Bearer"}
            )
        if principal.role < self.role:
            raise Forbidden(f"{principal.name} is {principal.role.word}; this needs {self.role.word}")
        if principal.scopes is not None and not {self.scope, "admin"} & principal.scopes:
            raise Forbidden(f"the token has no scope {self.scope}; make one that has it")
        return context


def allow(role: Role, scope: str = "read") -> Any:
    return Depends(Allow(role, scope))


Anyone = Annotated[Context, allow(Role.NOBODY)]
Viewer = Annotated[Context, allow(Role.VIEWER)]
# One's own account. A token needs the whole of it: one that may only read could make another that may more.
Myself = Annotated[Context, allow(Role.VIEWER, "admin")]
InventoryWriter = Annotated[Context, allow(Role.OPERATOR, "inventory:write")]
IpamWriter = Annotated[Context, allow(Role.OPERATOR, "ipam:write")]
RunStarter = Annotated[Context, allow(Role.OPERATOR, "run:start")]
Executor = Annotated[Context, allow(Role.OPERATOR, "executor")]
Admin = Annotated[Context, allow(Role.ADMIN, "admin")]


def rules(app: FastAPI) -> Iterator[tuple[RouteContext, Allow | None]]:
    """Every route, also those of included routers, with what it demands, the most if it names several; None: it names nothing."""
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, Mount) and route.name == "static":
            continue
        is_ours = isinstance(route.original_route, APIRoute)
        named = _allows(route.dependant) if is_ours else ()
        yield route, max(named, key=lambda rule: rule.role, default=None)


def refuse_undeclared(app: FastAPI) -> None:
    """RuntimeError names the first route that says nothing of who may call it."""
    for route, rule in rules(app):
        if rule is None:
            raise RuntimeError(f"route {route.path or route.original_route}: it does not say who may call it")


def _allows(dependant: Dependant) -> Iterator[Allow]:
    for one in dependant.dependencies:
        if isinstance(one.call, Allow):
            yield one.call
        yield from _allows(one)
