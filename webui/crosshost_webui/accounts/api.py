# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of accounts: oneself, users, tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from ..audit import store as audit
from ..web import conditional, openapi
from ..web.access import Admin, Context, Myself, Role, Viewer
from ..web.openapi import Match, errors
from ..web.paging import Paged, Part, number_after
from ..web.problem import Forbidden, NotFound
from . import passwords, secrets_api, service, sessions, store, tokens, users
from .models import User
from .schemas import (
    Id,
    Me,
    PasswordChange,
    PasswordReset,
    SessionOut,
    SessionsOut,
    TokenMade,
    TokenNew,
    TokenOut,
    UserChange,
    UserNew,
    UserOut,
    token_out,
    user_out,
)

router = APIRouter()
router.include_router(openapi.router)
router.include_router(secrets_api.router)


@router.get("/me", tags=["me"], summary="Who asks")
def me(context: Viewer) -> Me:
    """The account, its role, and the scopes of the token that is used."""
    found = context.principal
    scopes = None if found.scopes is None else sorted(found.scopes)
    return Me.model_validate(
        {"name": found.name, "role": found.role.word, "through": found.through, "scopes": scopes}
    )


@router.get("/me/sessions", tags=["me"], summary="The browsers that are signed in")
def my_sessions(context: Myself) -> SessionsOut:
    """The last seen first."""
    with context.db.read() as s:
        found = store.sign_ins(s, _my_id(context))
    items = [
        SessionOut(
            id=one.id.hex()[:16], created_at=one.created_at, seen_at=one.seen_at, expires_at=one.expires_at,
            address=one.address, agent=one.agent, current=one.id == context.principal.sign_in,
        )
        for one in found
    ]  # fmt: skip
    return SessionsOut(items=items)


@router.delete(
    "/me/sessions/{session_id}",
    tags=["me"],
    summary="Sign a browser out",
    status_code=204,
    responses=errors(404),
)
def end_my_session(context: Myself, session_id: str) -> None:
    """By the id that the list shows."""
    with context.db.write() as s:
        for one in store.sign_ins(s, _my_id(context)):
            if one.id.hex()[:16] == session_id:
                store.end_sign_in(s, one.id)
                who = audit.actor(context)
                audit.record(
                    s, who, "end session", "user", context.principal.user_id, context.who, None, None
                )
                return
    raise NotFound(f"session {session_id[:40]}: there is none; the list of your sessions has their ids")


@router.put(
    "/me/password",
    tags=["me"],
    summary="Change one's own password",
    status_code=204,
    responses=errors(429, 503),
)
def my_password(context: Myself, body: PasswordChange) -> Response:
    """In a browser only. All other sessions end."""
    value = service.change_own_password(context, body.current.get_secret_value(), body.new.get_secret_value())
    response = Response(status_code=204)
    sessions.set_cookie(response, context.state.settings, value)
    return response


@router.get("/users", tags=["users"], summary="Users")
def list_users(context: Admin, paging: Paged) -> Part[UserOut]:
    """In the order of their names."""
    with context.db.read() as s:
        found = store.users(s, paging.limit + 1, paging.after)
    more = found[paging.limit - 1].name if len(found) > paging.limit else None
    return Part(items=[user_out(one) for one in found[: paging.limit]], next=more)


@router.post(
    "/users", tags=["users"], summary="Add a local user", status_code=201, responses=errors(409, 503)
)
def add_user(context: Admin, body: UserNew, response: Response) -> UserOut:
    """`name` must not be taken."""
    name = users.normal_name(body.name)
    stored = None if body.password is None else passwords.hashed(body.password.get_secret_value(), name)
    with context.db.write() as s:
        user = users.create(s, audit.actor(context), name, body.role, stored, body.display_name)
        return _told(response, user)


@router.get("/users/{user_id}", tags=["users"], summary="A user", responses=errors(404))
def get_user(context: Admin, user_id: Id, response: Response) -> UserOut:
    """With its ETag for a change."""
    with context.db.read() as s:
        return _told(response, users.get(s, user_id))


@router.patch(
    "/users/{user_id}", tags=["users"], summary="Change a user", responses=errors(404, 409, 412, 428)
)
def change_user(
    context: Admin, user_id: Id, body: UserChange, response: Response, _match: Match = None
) -> UserOut:
    """The last admin stays one."""
    with context.db.write() as s:
        user = _matched(context, users.to_change(s, user_id))
        users.change(s, audit.actor(context), user, body.role, body.display_name, body.disabled)
        return _told(response, user)


@router.delete(
    "/users/{user_id}",
    tags=["users"],
    summary="Delete a user",
    status_code=204,
    responses=errors(404, 409, 412, 428),
)
def delete_user(context: Admin, user_id: Id, _match: Match = None) -> None:
    """With sessions and tokens. What the user did stays in the history, under the name."""
    with context.db.write() as s:
        users.delete(s, audit.actor(context), _matched(context, users.to_change(s, user_id)))


@router.put(
    "/users/{user_id}/password", tags=["users"], summary="Set a user's password", status_code=204,
    responses=errors(404, 409, 503),
)  # fmt: skip
def set_password(context: Admin, user_id: Id, body: PasswordReset) -> None:
    """The user's sessions end."""
    with context.db.read() as s:
        name = users.get(s, user_id).name
    stored = passwords.hashed(body.password.get_secret_value(), name)
    with context.db.write() as s:
        users.set_password(s, audit.actor(context), users.to_change(s, user_id), stored)


@router.delete(
    "/users/{user_id}/sessions",
    tags=["users"],
    summary="Sign a user out everywhere",
    status_code=204,
    responses=errors(404),
)
def end_sessions(context: Admin, user_id: Id) -> None:
    """Tokens go on; revoke them, or disable the user."""
    with context.db.write() as s:
        users.end_sessions(s, audit.actor(context), users.to_change(s, user_id))


@router.get("/tokens", tags=["tokens"], summary="API tokens")
def list_tokens(
    context: Myself,
    paging: Paged,
    everybody: Annotated[bool, Query(alias="all", description="those of all users; for admins")] = False,
) -> Part[TokenOut]:
    """One's own, the newest first, revoked ones too."""
    if everybody and context.principal.role < Role.ADMIN:
        raise Forbidden(
            f"{context.who} is {context.principal.role.word}; the tokens of all users are for admins"
        )
    with context.db.read() as s:
        before = number_after(paging)
        found = store.tokens(s, None if everybody else _my_id(context), paging.limit + 1, before)
    more = str(found[paging.limit - 1][0].id) if len(found) > paging.limit else None
    return Part(items=[token_out(*one) for one in found[: paging.limit]], next=more)


@router.post("/tokens", tags=["tokens"], summary="Make an API token", status_code=201)
def make_token(context: Myself, body: TokenNew) -> TokenMade:
    """`token` in the answer is shown this once."""
    with context.db.write() as s:
        user = users.get(s, _my_id(context))
        made, text = tokens.create(
            s, context.state.keys, audit.actor(context), user, body.name, body.scopes, body.days
        )
    return TokenMade(**token_out(made, user.name).model_dump(), token=text)


@router.get("/tokens/{token_id}", tags=["tokens"], summary="An API token", responses=errors(404))
def get_token(context: Myself, token_id: Id) -> TokenOut:
    """One's own; for admins, anybody's."""
    with context.db.read() as s:
        token, user = tokens.get(s, token_id, _whose(context))
    return token_out(token, user.name)


@router.delete(
    "/tokens/{token_id}",
    tags=["tokens"],
    summary="Revoke an API token",
    status_code=204,
    responses=errors(404),
)
def revoke_token(context: Myself, token_id: Id) -> None:
    """At once and for ever. It stays in the list."""
    with context.db.write() as s:
        tokens.revoke(s, audit.actor(context), token_id, _whose(context))


def _my_id(context: Context) -> int:
    assert context.principal.user_id is not None  # who may come here has an account
    return context.principal.user_id


def _whose(context: Context) -> int | None:
    return None if context.principal.role is Role.ADMIN else _my_id(context)


def _told(response: Response, user: User) -> UserOut:
    response.headers["ETag"] = conditional.etag(users.version(user))
    return user_out(user)


def _matched(context: Context, user: User) -> User:
    conditional.demand_match(context.request, conditional.etag(users.version(user)), f"user {user.name}")
    return user
