# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that a caller is told of: RFC 9457 problems for the API, a page for people. Anything else is a fault of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Problem(Exception):  # noqa: N818 - the RFC's word
    """``detail``: one line that names the object, the field, the value and the remedy. ``fields``: the same by field, for forms."""

    status = 400
    title = "The request cannot be carried out"

    def __init__(
        self, detail: str, fields: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.fields = fields or {}
        self.headers = headers or {}

    def body(self, request_id: str) -> dict[str, Any]:
        """As application/problem+json has it."""
        found: dict[str, Any] = {
            "type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail,
            "request_id": request_id,
        }  # fmt: skip
        if self.fields:
            found["errors"] = [{"field": name, "detail": text} for name, text in self.fields.items()]
        return found


class NotFound(Problem):
    status = 404
    title = "There is no such object"


class Forbidden(Problem):
    status = 403
    title = "Not allowed"


class SignInNeeded(Problem):
    status = 401
    title = "Sign in first"


class Conflict(Problem):
    status = 409
    title = "The state does not allow it"


class Changed(Problem):
    """If-Match names another version than there is."""

    status = 412
    title = "Somebody has changed it meanwhile"


class MatchNeeded(Problem):
    status = 428
    title = "Say which version is meant"


class Invalid(Problem):
    status = 422
    title = "The declaration is not valid"


class TooMany(Problem):
    status = 429
    title = "Too many attempts"


class TooLarge(Problem):
    status = 413
    title = "Too much at once"


class Unavailable(Problem):
    status = 503
    title = "Not at the moment"


class Fault(Problem):
    """The dashboard's own; nothing raises it but web.faults."""

    status = 500
    title = "A fault"


def of_request(errors: Sequence[Any]) -> Invalid:
    """FastAPI's list of validation errors as one problem."""
    fields: dict[str, str] = {}
    for error in errors:
        where = ".".join(
            str(part) for part in error["loc"] if part not in ("body", "query", "path", "header")
        )
        fields.setdefault(where or "request", str(error["msg"]))
    name, text = next(iter(fields.items()), ("request", "it cannot be read"))
    found = Invalid(f"{name}: {text}", fields)
    found.title = "The request is not valid"
    return found
