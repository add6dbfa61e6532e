# SPDX-License-Identifier: GPL-3.0-or-later
"""The two addresses of signing in at a provider: the way there, and the way back."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from ..audit import store as audit
from ..web.access import Anyone
from . import oidc, service, sessions

router = APIRouter()


@router.get("/sign-in/oidc")
def to_provider(context: Anyone, next: str = "/") -> RedirectResponse:  # noqa: A002 - the parameter's name
    """Send the browser to the provider."""
    settings = context.state.settings
    url, waiting = oidc.provider(settings).begin(service.safe_next(next))
    response = RedirectResponse(url, 303)
    response.set_cookie(
        oidc.cookie_name(settings), oidc.packed(context.state.keys, waiting), max_age=oidc.WAITING, path="/",
        secure=sessions.is_https(settings), httponly=True, samesite="lax",
    )  # fmt: skip
    return response


@router.get(oidc.CALLBACK)
def from_provider(context: Anyone) -> RedirectResponse:
    """Sign in whom the provider names."""
    settings, request = context.state.settings, context.request
    waiting = oidc.unpacked(context.state.keys, request.cookies.get(oidc.cookie_name(settings), ""))
    identity = oidc.provider(settings).finish(request.query_params, waiting)
    value = service.sign_in_identity(
        context.state,
        identity,
        audit.actor(context),
        request.headers.get("user-agent", ""),
        context.principal.sign_in,
    )
    response = RedirectResponse(waiting.after if waiting else "/", 303)
    sessions.set_cookie(response, settings, value)
    response.delete_cookie(
        oidc.cookie_name(settings),
        path="/",
        secure=sessions.is_https(settings),
        httponly=True,
        samesite="lax",
    )
    return response
