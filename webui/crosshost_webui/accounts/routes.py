# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of accounts: signing in and out, one's own account, and users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query, Response

from ..audit import store as audit
from ..web import reference
from ..web.access import Admin, Anyone, Context, Myself, Role
from ..web.pages import go, page
from ..web.paging import Paged
from ..web.problem import NotFound, Problem
from ..web.sent import Sent
from . import oidc_routes, passwords, secrets_routes, service, sessions, store, tokens_routes, users
from .schemas import Id

router = APIRouter()
router.include_router(reference.router)
router.include_router(oidc_routes.router)
router.include_router(tokens_routes.router)
router.include_router(secrets_routes.router)
ROLES = (
    ("viewer", "viewer: sees all but secrets, users and the audit log"),
    ("operator", "operator: changes the inventory and starts runs"),
    ("admin", "admin: all of it, and users, secrets and settings"),
)
Next = Annotated[str, Query(max_length=2000)]


@router.get("/sign-in")
def sign_in(context: Anyone, next: Next = "") -> Response:  # noqa: A002 - the word in the address
    if context.principal.role is not Role.NOBODY:
        return go(context, service.safe_next(next))
    return _sign_in_page(context, next)


@router.post("/sign-in")
def do_sign_in(context: Anyone, sent: Sent) -> Response:
    wanted = sent.get("next", "")
    agent = context.request.headers.get("user-agent", "")
    try:
        value = service.sign_in(
            context.state, sent.get("name", ""), sent.get("password", ""), audit.actor(context), agent,
            context.principal.sign_in,
        )  # fmt: skip
    except Problem as error:
        return _sign_in_page(context, wanted, sent, error)
    response = go(context, service.safe_next(wanted))
    sessions.set_cookie(response, context.state.settings, value)
    return response


@router.post("/sign-out")
def sign_out(context: Anyone) -> Response:
    service.sign_out(context)
    response = go(context, "/sign-in")
    sessions.clear_cookie(response, context.state.settings)
    return response


def _sign_in_page(
    context: Context, wanted: str, sent: Mapping[str, str] | None = None, error: Problem | None = None
) -> Response:
    response = page(
        context, "accounts/sign_in.html", error.status if error else 200, next=wanted, values=sent or {},
        error=error, has_provider=bool(context.state.settings.oidc_issuer),
    )  # fmt: skip
    if error:
        # without WWW-Authenticate, or the browser asks in a window of its own
        response.headers.update({k: v for k, v in error.headers.items() if k == "Retry-After"})
    return response


@router.get("/account")
def account(context: Myself) -> Response:
    return _account_page(context)


@router.post("/account/password")
def change_password(context: Myself, sent: Sent) -> Response:
    try:
        value = service.change_own_password(context, sent.get("current", ""), sent.get("password", ""))
    except Problem as error:
        return _account_page(context, error)
    response = go(
        context, "/account", ("ok", "Your password is changed. Everywhere else you are signed out.")
    )
    sessions.set_cookie(response, context.state.settings, value)
    return response


@router.post("/account/sessions/{session_id}/end")
def end_session(context: Myself, session_id: str) -> Response:
    with context.db.write() as s:
        for one in store.sign_ins(s, context.principal.user_id or 0):
            if one.id.hex()[:16] == session_id:
                store.end_sign_in(s, one.id)
                audit.record(
                    s, audit.actor(context), "end session", "user", context.principal.user_id, context.who,
                    None, None,
                )  # fmt: skip
                return go(context, "/account", ("ok", "That browser is signed out."))
    raise NotFound("session: it has ended already; the list shows those that go on")


def _account_page(context: Context, error: Problem | None = None) -> Response:
    with context.db.read() as s:
        user = users.get(s, context.principal.user_id or 0)
        found = store.sign_ins(s, user.id)
    return page(
        context, "accounts/account.html", error.status if error else 200, user=user, sign_ins=found,
        error=error, errors=error.fields if error else {},
    )  # fmt: skip


@router.get("/users")
def list_users(context: Admin, paging: Paged) -> Response:
    with context.db.read() as s:
        found = store.users(s, paging.limit + 1, paging.after)
    more = found[paging.limit - 1].name if len(found) > paging.limit else None
    return page(context, "accounts/users.html", users=found[: paging.limit], next=more)


@router.get("/users/new")
def new_user(context: Admin) -> Response:
    return page(
        context, "accounts/user_new.html", values={"role": "operator"}, errors={}, error=None, roles=ROLES
    )


@router.post("/users")
def add_user(context: Admin, sent: Sent) -> Response:
    """Without a password, the user has one that is made up, which the page shows once."""
    made_up = "" if sent.get("password") else passwords.made_up()
    try:
        name = users.normal_name(sent.get("name", ""))
        stored = passwords.hashed(sent.get("password") or made_up, name)
        with context.db.write() as s:
            user = users.create(
                s, audit.actor(context), name, sent.get("role", ""), stored,
                sent.get("display_name", "").replace("\0", ""),
            )  # fmt: skip
    except Problem as error:
        return page(
            context, "accounts/user_new.html", error.status, values=sent, errors=error.fields, error=error,
            roles=ROLES,
        )  # fmt: skip
    if not made_up:
        return go(context, f"/users/{user.id}", ("ok", f"User {user.name} is added."))
    return page(context, "accounts/user_password.html", user=user, password=made_up)


@router.get("/users/{user_id}")
def show_user(context: Admin, user_id: Id) -> Response:
    return _user_page(context, user_id)


@router.post("/users/{user_id}")
def change_user(context: Admin, user_id: Id, sent: Sent) -> Response:
    try:
        with context.db.write() as s:
            user = users.to_change(s, user_id)
            users.change(
                s, audit.actor(context), user, sent.get("role") if user.source == "local" else None,
                sent.get("display_name", "").replace("\0", "")[:200], sent.get("disabled") == "1",
            )  # fmt: skip
    except NotFound:
        raise
    except Problem as error:
        return _user_page(context, user_id, sent, error)
    return go(context, f"/users/{user_id}", ("ok", "Saved."))


@router.post("/users/{user_id}/password")
def reset_password(context: Admin, user_id: Id) -> Response:
    password = passwords.made_up()
    with context.db.read() as s:
        name = users.get(s, user_id).name
    stored = passwords.hashed(password, name)
    with context.db.write() as s:
        user = users.to_change(s, user_id)
        users.set_password(s, audit.actor(context), user, stored)
    return page(context, "accounts/user_password.html", user=user, password=password)


@router.post("/users/{user_id}/sessions/end")
def end_sessions(context: Admin, user_id: Id) -> Response:
    with context.db.write() as s:
        ended = users.end_sessions(s, audit.actor(context), users.to_change(s, user_id))
    return go(context, f"/users/{user_id}", ("ok", f"Signed out of {ended} browsers."))


@router.post("/users/{user_id}/delete")
def delete_user(context: Admin, user_id: Id) -> Response:
    try:
        with context.db.write() as s:
            user = users.to_change(s, user_id)
            users.delete(s, audit.actor(context), user)
    except NotFound:
        raise
    except Problem as error:
        return go(context, f"/users/{user_id}", ("failed", error.detail))
    return go(context, "/users", ("ok", f"User {user.name} is deleted."))


def _user_page(
    context: Context, user_id: int, sent: Mapping[str, str] | None = None, error: Problem | None = None
) -> Response:
    with context.db.read() as s:
        user = users.get(s, user_id)
        sign_ins = store.sign_ins(s, user.id)
        tokens = store.tokens(s, user.id, 50)
    values: Mapping[str, object] = sent or {
        "display_name": user.display_name, "role": user.role, "disabled": user.disabled
    }  # fmt: skip
    return page(
        context, "accounts/user.html", error.status if error else 200, user=user, sign_ins=sign_ins,
        tokens=[one for one, _ in tokens], values=values, error=error, errors=error.fields if error else {},
        roles=ROLES,
    )  # fmt: skip
