# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of API tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query, Response

from ..audit import store as audit
from ..db.base import now
from ..web.access import SCOPES, Context, Myself, Role
from ..web.pages import go, page
from ..web.paging import Paged, Paging, number_after
from ..web.problem import Invalid, Problem
from ..web.sent import Sent
from . import store, tokens, users
from .schemas import Id

router = APIRouter()
MEANINGS = {
    "read": "read everything that the account may see",
    "inventory:write": "change hosts, networks, endpoints and services",
    "ipam:write": "allocate and release addresses, subnets and VNIs",
    "run:start": "start and cancel runs",
    "executor": "send the record of a run (the callback plugin)",
    "admin": "all that the account may do",
}
DAYS = (("30", "30 days"), ("90", "90 days"), ("365", "a year"), ("", "never"))
All = Annotated[bool, Query(alias="all")]


@router.get("/tokens")
def list_tokens(context: Myself, paging: Paged, everybody: All = False) -> Response:
    return _tokens_page(context, paging, everybody)


@router.post("/tokens")
def make_token(context: Myself, sent: Sent) -> Response:
    scopes = [scope for scope in SCOPES if sent.get(f"scope.{scope}") == "1"]
    try:
        days = _days(sent.get("days", ""))
        with context.db.write() as s:
            user = users.get(s, context.principal.user_id or 0)
            made, text = tokens.create(
                s, context.state.keys, audit.actor(context), user, sent.get("name", ""), scopes, days
            )
    except Problem as error:
        return _tokens_page(context, Paging(), False, sent, error)
    return page(context, "accounts/token_made.html", token=made, text=text)


@router.post("/tokens/{token_id}/revoke")
def revoke_token(context: Myself, token_id: Id) -> Response:
    whose = None if context.principal.role is Role.ADMIN else context.principal.user_id
    with context.db.write() as s:
        token, _ = tokens.get(s, token_id, whose)
        tokens.revoke(s, audit.actor(context), token_id, whose)
    return go(
        context, "/tokens", ("ok", f"Token {token.name} is revoked. Who uses it is refused from now on.")
    )


def _days(text: str) -> int | None:
    if text and text not in dict(DAYS):
        raise Invalid(f"token: days {text[:20]}: choose one of the list", {"days": "choose one of the list"})
    return int(text) if text else None


def _tokens_page(
    context: Context,
    paging: Paging,
    everybody: bool,
    sent: Mapping[str, str] | None = None,
    error: Problem | None = None,
) -> Response:
    everybody = everybody and context.principal.role is Role.ADMIN
    whose = None if everybody else context.principal.user_id
    with context.db.read() as s:
        found = store.tokens(s, whose, paging.limit + 1, number_after(paging))
    more = str(found[paging.limit - 1][0].id) if len(found) > paging.limit else None
    scopes = [(one, MEANINGS[one]) for one in SCOPES if context.principal.role >= tokens.LEAST_ROLE[one]]
    return page(
        context, "accounts/tokens.html", error.status if error else 200, tokens=found[: paging.limit],
        next=more, everybody=everybody, scopes=scopes, days=DAYS, now=now(), error=error,
        values=sent if sent is not None else {"days": "90", "scope.read": "1"},
        errors=error.fields if error else {},
    )  # fmt: skip
