# SPDX-License-Identifier: GPL-3.0-or-later
"""The API's description. What holds for every operation (who may call it, what a malformed request is answered) is added here;
a route declares by ``errors`` what is its own."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field

from . import problem
from .access import Allow, Role, Viewer, rules
from .conditional import etag, is_known, not_modified

Match = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=200,
        description="the ETag that was read; `*`: whichever version there is",
    ),
]
PROBLEM = "application/problem+json"
REF = {"$ref": "#/components/schemas/Problem"}
UNSAFE = ("post", "put", "patch", "delete")
SUMMARY = """Everything that the pages do. Sign in by `Authorization: Bearer xh_...` with a token that was made under Tokens.

Lists come in parts: follow `next` by `?after=`. Errors are problems (RFC 9457). A write on an existing object needs `If-Match` with
the object's `ETag`. `Idempotency-Key` makes it safe to send an allocation or the start of a run again."""
_titles = {
    one.status: one.title
    for one in (
        problem.Problem, problem.SignInNeeded, problem.Forbidden, problem.NotFound, problem.Conflict, problem.Changed,
        problem.TooLarge, problem.Invalid, problem.MatchNeeded, problem.TooMany, problem.Unavailable,
    )
}  # fmt: skip


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str = Field(examples=["limit"])
    detail: str = Field(examples=["Input should be less than or equal to 1000"])


class Problem(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["There is no such object"])
    status: int = Field(ge=400, le=599, examples=[404])
    detail: str = Field(description="one line: the object, the field, the value and the remedy")
    request_id: str = Field(description="as in the header X-Request-Id and in the server's log")
    errors: list[FieldProblem] = Field(default_factory=list, description="by field, if it is about fields")


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses=`` of a route: the problems of its own. 401, 403, 413 and 422 are there without being named. KeyError for a
    status that no Problem has."""
    return {status: _response(status) for status in statuses}


def _response(status: int) -> dict[str, Any]:
    return {"description": _titles[status], "content": {PROBLEM: {"schema": REF}}}


def document(app: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1 of everything below /api/."""
    found = get_openapi(
        title=app.title, version=app.version, routes=app.routes, summary="Inventory, addresses and runs", description=SUMMARY,
    )  # fmt: skip
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= schemas["Problem"].pop("$defs", {})
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "an API token, `xh_<key>.<secret>`"}
    }
    for route, rule in rules(app):
        for method in route.methods or ():
            operation = found["paths"].get(route.path_format, {}).get(method.lower())
            if operation is not None and rule is not None:
                _complete(operation, method.lower(), rule)
    return found


def _complete(operation: dict[str, Any], method: str, rule: Allow) -> None:
    responses = operation["responses"]
    takes = "parameters" in operation or "requestBody" in operation
    always = {401, 403} if rule.role is not Role.NOBODY else set()
    always |= {403} if method in UNSAFE else set()  # the origin check
    always |= {400, 413} if "requestBody" in operation else set()
    for status in sorted(always):
        responses.setdefault(str(status), _response(status))
    if (
        takes
        and (described := responses.get("422")) is not None
        and PROBLEM not in described.get("content", {})
    ):
        responses["422"] = _response(422)
    if rule.role is not Role.NOBODY:
        operation["security"] = [{"token": []}]
        operation["x-role"], operation["x-scope"] = rule.role.word, rule.scope


@lru_cache(maxsize=4)
def _text(app: FastAPI) -> tuple[str, str]:
    text = json.dumps(document(app), separators=(",", ":"))
    return text, etag(hashlib.sha256(text.encode()).hexdigest()[:16])


router = APIRouter()


@router.get("/openapi.json", include_in_schema=False)
def description(context: Viewer, request: Request) -> Response:
    """The API's description; the same until the server is another version."""
    text, tag = _text(context.request.app)
    if is_known(request, tag):
        return not_modified(tag)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    return Response(text, media_type="application/json", headers=headers)
