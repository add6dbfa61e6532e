# SPDX-License-Identifier: GPL-3.0-or-later
"""The API's description: whole, valid, with the same rules as the routes; and its page, which needs nothing from elsewhere."""

from __future__ import annotations

import re
from typing import Any

import pytest
from crosshost_webui.web import openapi, reference
from crosshost_webui.web.access import Role
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.webui.support_rules import of_app

API = "/api/v1/"


@pytest.fixture
def described(app: FastAPI) -> dict[str, Any]:
    return openapi.document(app)


def operations(described: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, one) for path, methods in described["paths"].items() for method, one in methods.items()
    ]


def test_every_route_of_the_api_is_in_it_and_nothing_else(app: FastAPI, described: dict[str, Any]) -> None:
    there = {(rule.path, rule.method.lower()) for rule in of_app(app) if rule.path.startswith(API)}
    assert {(path, method) for path, method, _ in operations(described)} == there - {
        (f"{API}openapi.json", "get")
    }


def test_it_says_who_may_call_as_the_routes_do(app: FastAPI, described: dict[str, Any]) -> None:
    for rule in of_app(app):
        operation = described["paths"].get(rule.path, {}).get(rule.method.lower())
        if operation is None:
            continue
        assert (operation["x-role"], operation["x-scope"]) == (rule.role.word, rule.scope)
        assert operation["security"] == [{"token": []}] and rule.role is not Role.NOBODY
        assert {"401", "403"} <= operation["responses"].keys()


def test_each_operation_tells_what_it_is_for(described: dict[str, Any]) -> None:
    seen = set()
    for path, method, one in operations(described):
        where = f"{method} {path}"
        assert one.get("summary") and one.get("description"), where
        assert one.get("tags"), where
        assert one["operationId"] not in seen, where
        seen.add(one["operationId"])
        for status, answer in one["responses"].items():
            assert answer["description"], where
            if int(status) >= 400:
                assert answer["content"] == {openapi.PROBLEM: {"schema": openapi.REF}}, (where, status)
        if one.get("requestBody", {}).get("content", {}).keys() & {"application/json"}:
            assert {"400", "413", "422"} <= one["responses"].keys(), where


def test_a_write_on_an_object_says_what_its_version_is_for(described: dict[str, Any]) -> None:
    for path, method, one in operations(described):
        if "412" in one["responses"] and method != "post":
            assert "428" in one["responses"], (method, path)
            assert "If-Match" in {parameter["name"] for parameter in one.get("parameters", ())}, (
                method,
                path,
            )


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    assert set(re.findall(r"#/components/schemas/([^'\"]+)", str(described))) <= schemas.keys()
    assert not {"HTTPValidationError", "ValidationError"} & schemas.keys()


def test_secrets_are_marked_as_such(described: dict[str, Any]) -> None:
    """What is a password in a model is one in the description too, so that no tool shows it or fills it in."""
    for name, schema in described["components"]["schemas"].items():
        for field, inner in schema.get("properties", {}).items():
            if inner.get("type") == "boolean":
                continue
            if field in ("password", "current", "new") or (
                name in ("SecretNew", "SecretContent") and field == "value"
            ):
                assert "password" in str(inner.get("format", inner.get("anyOf"))), (name, field)


def test_it_is_for_accounts_and_known_by_its_tag(client: TestClient, viewer: TestClient) -> None:
    assert client.get(f"{API}openapi.json").status_code == 401
    first = viewer.get(f"{API}openapi.json")
    assert first.status_code == 200 and first.json()["openapi"].startswith("3.1")
    again = viewer.get(f"{API}openapi.json", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304 and not again.content


def test_its_page_needs_nothing_from_elsewhere(
    client: TestClient, viewer: TestClient, described: dict[str, Any]
) -> None:
    assert client.get("/api").headers["location"].startswith("/sign-in")
    text = viewer.get("/api").text
    for path, method, _ in operations(described):
        assert f'<strong>{method.upper()}</strong> <code class="breakable">{path}</code>' in text
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//(?!www\.gnu\.org)[^\"]*\"", text)
    assert "<style" not in text and "style=" not in text and not re.findall(r"<script(?![^>]*src=)", text)


def test_examples_are_what_the_models_take(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    assert reference.example_of({"$ref": "#/components/schemas/UserNew"}, schemas) == {
        "name": "bob", "role": "viewer", "display_name": "Bob Jones", "password": "plum-orbit-lantern",
    }  # fmt: skip
    assert reference.kind_of({"type": "array", "items": {"type": "string"}}, {}) == "list of string"
    assert reference.kind_of(
        {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 5}, {"type": "null"}]}, {}
    ) == ("integer, 1 to 5 or null")
    assert reference.kind_of({"enum": ["a", "b"]}, {}) == "one of a, b"
    endless = {"a": {"type": "object", "properties": {"b": {"$ref": "#/x/a"}}}}
    assert reference.example_of({"$ref": "#/x/a"}, endless)


def test_an_unknown_status_is_a_mistake_of_the_route() -> None:
    with pytest.raises(KeyError):
        openapi.errors(418)
