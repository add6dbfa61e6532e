# SPDX-License-Identifier: GPL-3.0-or-later
"""What asks whether the server is well: /healthz for anybody, /metrics for who has the token. Neither is of the API's version."""

from __future__ import annotations

import hmac
import logging

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from sqlalchemy.exc import SQLAlchemyError

from ..web.access import Anyone
from ..web.problem import NotFound
from . import store

router = APIRouter()
log = logging.getLogger("crosshost_webui.operations")


@router.get("/healthz")
def healthz(context: Anyone) -> Response:
    """200 `ok` when the server can read its database, 503 when not; no more than that, as anybody may ask."""
    try:
        with context.db.read() as s:
            store.answers(s)
    except SQLAlchemyError as error:
        log.error("the database does not answer: %s", type(error).__name__)
        return PlainTextResponse("unavailable\n", 503)
    return PlainTextResponse("ok\n")


@router.get("/metrics")
def metrics(context: Anyone) -> Response:
    """For Prometheus, with `Authorization: Bearer <metrics_token>`; without a token in the settings there are no metrics."""
    token = context.state.settings.metrics_token.get_secret_value()
    if not token:
        raise NotFound("metrics: the setting metrics_token is empty; set it, and send it as the bearer token")
    scheme, _, value = context.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(value.strip().encode(), token.encode()):
        # no page, and no way to sign in: what asks is a program
        return PlainTextResponse(
            "send the setting metrics_token as the bearer token\n",
            401,
            headers={"WWW-Authenticate": "Bearer"},
        )
    return Response(context.state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
