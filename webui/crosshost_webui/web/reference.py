# SPDX-License-Identifier: GPL-3.0-or-later
"""The API's description as a page of ours: no viewer from elsewhere, no script."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from fastapi import APIRouter, FastAPI, Response

from .access import Viewer
from .openapi import document
from .pages import page

DEPTH = 6  # of an example
Schemas = Mapping[str, Any]


class Parameter(NamedTuple):
    """``where``: path, query, header, or body."""

    name: str
    where: str
    kind: str
    required: bool
    description: str


class Operation(NamedTuple):
    """``example``: what to send, as JSON; ``call``: the same as a command."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    role: str
    scope: str
    parameters: Sequence[Parameter]
    example: str
    call: str
    answers: Sequence[tuple[str, str]]


class Group(NamedTuple):
    name: str
    operations: Sequence[Operation]


def groups(described: Mapping[str, Any]) -> list[Group]:
    """The operations of an OpenAPI document by their first tag, in the document's order."""
    found: dict[str, list[Operation]] = {}
    schemas = described.get("components", {}).get("schemas", {})
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            tag = next(iter(operation.get("tags", ())), "other")
            found.setdefault(tag, []).append(_operation(method.upper(), path, operation, schemas))
    return [Group(name, operations) for name, operations in found.items()]


def _operation(method: str, path: str, operation: Mapping[str, Any], schemas: Schemas) -> Operation:
    parameters = [
        Parameter(
            one["name"], one["in"], kind_of(one.get("schema", {}), schemas), one.get("required", False),
            one.get("description", ""),
        )
        for one in operation.get("parameters", ())
    ]  # fmt: skip
    content: dict[str, Any] = operation.get("requestBody", {}).get("content", {})
    media = next(iter(content), "")
    body = content.get(media, {})
    schema = _resolved(body.get("schema", {}), schemas)
    required = schema.get("required", ())
    for name, inner in schema.get("properties", {}).items():
        told = inner.get("description") or _resolved(inner, schemas).get("description", "")
        parameters.append(Parameter(name, "body", kind_of(inner, schemas), name in required, told))
    example = ""
    if media == "application/json":
        example = json.dumps(body.get("example", example_of(schema, schemas)), indent=2, ensure_ascii=False)
    return Operation(
        f"{method.lower()}{path}".replace("/", "-").replace("{", "").replace("}", ""), method, path,
        operation.get("summary", ""), operation.get("description", ""), operation.get("x-role", ""),
        operation.get("x-scope", ""), parameters, example, _call(method, path, example, parameters),
        [(status, one.get("description", "")) for status, one in sorted(operation["responses"].items())],
    )  # fmt: skip


def _call(method: str, path: str, example: str, parameters: Sequence[Parameter]) -> str:
    parts = ["curl" if method == "GET" else f"curl -X {method}", '-H "Authorization: Bearer $TOKEN"']
    if any(one.name == "If-Match" for one in parameters):
        parts.append("-H 'If-Match: \"...\"'")
    if example:
        shown = example.replace("'", "'\\''")
        parts += ["-H 'Content-Type: application/json'", f"-d '{shown}'"]
    return " \\\n  ".join([*parts, f'"$DASHBOARD{path}"'])


def kind_of(schema: Mapping[str, Any], schemas: Schemas) -> str:
    """In words: `integer, 1 to 1000`, `one of a, b`, `list of string`, `string or null`."""
    schema = _resolved(schema, schemas)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(kind_of(one, schemas) for one in schema[several]))
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {kind_of(schema.get('items', {}), schemas)}"
    if kind == "object":
        return str(schema.get("title") or "object")
    if schema.get("format") in ("date-time", "date", "ipv4", "ipv6", "uuid", "binary"):
        kind = schema["format"]
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None and most < 2**31:
        return f"{kind}, {least} to {most}"
    return str(kind)


def example_of(schema: Mapping[str, Any], schemas: Schemas, depth: int = DEPTH) -> Any:
    """A value that fits the schema: its example if it has one, else something as simple as can be."""
    schema = _resolved(schema, schemas)
    if schema.get("examples"):
        return schema["examples"][0]
    for name in ("example", "default", "const"):
        if name in schema:
            return schema[name]
    if "enum" in schema:
        return schema["enum"][0]
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return example_of(schema[several][0], schemas, depth)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if depth == 0:
        return None
    if kind == "object":
        wanted = schema.get("properties", {})
        return {name: example_of(inner, schemas, depth - 1) for name, inner in wanted.items()}
    if kind == "array":
        return [example_of(schema.get("items", {}), schemas, depth - 1)]
    return {"integer": schema.get("minimum", 1), "number": 1.0, "boolean": False, "null": None}.get(
        kind, "..."
    )


def _resolved(schema: Mapping[str, Any], schemas: Schemas) -> Mapping[str, Any]:
    """Where a $ref leads; what stands beside it stays."""
    if "$ref" not in schema:
        return schema
    target = schemas.get(str(schema["$ref"]).rpartition("/")[2], {})
    return {**target, **{name: value for name, value in schema.items() if name != "$ref"}}


@lru_cache(maxsize=4)
def _groups(app: FastAPI) -> list[Group]:
    return groups(document(app))


router = APIRouter()


@router.get("/api")
def reference(context: Viewer) -> Response:
    base = context.state.settings.base_url.rstrip("/") or str(context.request.base_url).rstrip("/")
    return page(context, "api/reference.html", groups=_groups(context.request.app), base=base)
