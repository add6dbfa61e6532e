# SPDX-License-Identifier: GPL-3.0-or-later
"""Idempotency-Key: a request that is sent again, for its answer was lost, is answered as before and not carried out again. The
answer is kept in the transaction of the change: either both are there or none (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated

from fastapi import Header, Response
from pydantic import BaseModel

from ..accounts import store
from ..db.base import now
from ..db.engine import WriteSession
from .access import Context
from .problem import Conflict, Invalid

KEPT = timedelta(days=1)
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$",
        description="any unique text: the same request with the same one is carried out once (kept for a day)",
        examples=["5f0c1f8e-7d1f-4d0e-9f0e-0b6f6a3c2f11"],
    ),
]  # fmt: skip
_busy: set[tuple[str, str, str]] = set()
_busy_lock = threading.Lock()


class Answer(BaseModel):
    """What a route answers: ``content`` is JSON."""

    content: str
    status: int = 201
    headers: dict[str, str] = {}

    @classmethod
    def of(cls, value: BaseModel, status: int = 201, headers: Mapping[str, str] | None = None) -> Answer:
        return cls(content=value.model_dump_json(by_alias=True), status=status, headers=dict(headers or {}))


def once(
    context: Context, key: str | None, asked: BaseModel, act: Callable[[WriteSession], Answer]
) -> Response:
    """Carry ``act`` out in a write session, or answer as before. ``asked``: the request's body. Invalid (422) if the key was
    used for another request, Conflict (409) while the first one is still being carried out. A request that fails leaves
    nothing: it may be sent again with the same key."""
    if key is None:
        with context.db.write() as s:
            answer = act(s)
        return _response(answer)
    who = context.principal.key
    digest = _digest(context, asked)
    with _alone(str(context.db.url), who, key), context.db.write() as s:
        if not store.try_lock_remembered(s, who, key):
            raise _running(key)
        earlier = store.remembered(s, who, key)
        if earlier is None:
            answer = act(s)
            store.remember(s, who, key, digest, answer.status, answer.model_dump_json().encode(), now())
    if earlier is None:
        return _response(answer)
    if earlier.digest != digest:
        raise Invalid(
            f"Idempotency-Key {key}: it was used for another request; take a new one for each request",
            {"Idempotency-Key": "it was used for another request"},
        )
    return _response(Answer.model_validate_json(earlier.body), {"Idempotency-Replayed": "true"})


def _response(answer: Answer, more: Mapping[str, str] | None = None) -> Response:
    return Response(
        answer.content,
        answer.status,
        headers={**answer.headers, **(more or {})},
        media_type="application/json",
    )


def _digest(context: Context, asked: BaseModel) -> bytes:
    """Of what is asked for, not of how it was written: another order of fields is the same request."""
    scope = context.request.scope
    whole = [
        scope["method"],
        scope["path"],
        scope["query_string"].decode("latin-1"),
        asked.model_dump(mode="json"),
    ]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).digest()


def _running(key: str) -> Conflict:
    return Conflict(
        f"Idempotency-Key {key}: the first request with it is still being carried out; ask again in a moment"
    )


@contextmanager
def _alone(*mine: str) -> Iterator[None]:
    """Refuse at once what this server is carrying out already: SQLite's writers would make it wait, and then replay."""
    request = (mine[0], mine[1], mine[2])
    with _busy_lock:
        if request in _busy:
            raise _running(request[2])
        _busy.add(request)
    try:
        yield
    finally:
        with _busy_lock:
            _busy.discard(request)
