# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of drift: what differs from what is declared, on which host, since when."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Query

from ..runs.schemas import TEXT, HostName, text_after
from ..web.access import Viewer
from ..web.paging import Paged, Paging, Part
from ..web.problem import Invalid
from . import store
from .schemas import DriftOut, HostDriftOut, drift_out, host_drift_out

router = APIRouter(tags=["drift"])


@router.get("/drift", summary="What differs")
def list_drift(
    context: Viewer,
    paging: Paged,
    host: HostName = None,
    network: Annotated[
        str | None, Query(max_length=200, pattern=TEXT, description="only what is about it")
    ] = None,
) -> Part[DriftOut]:
    """By host, module and object, as the last runs that looked have found it."""
    with context.db.read() as s:
        found = store.rows(s, paging.limit + 1, _key_after(paging), host, network)
    last = found[paging.limit - 1] if len(found) > paging.limit else None
    more = json.dumps([last.host, last.module, last.subject]) if last else None
    return Part(items=[drift_out(one) for one in found[: paging.limit]], next=more)


@router.get("/drift/hosts", summary="Hosts that differ")
def list_drift_hosts(context: Viewer, paging: Paged) -> Part[HostDriftOut]:
    """By name, with how many objects differ, and since when the first of them does."""
    with context.db.read() as s:
        found = store.summary(s, paging.limit + 1, text_after(paging))
    more = found[paging.limit - 1].host if len(found) > paging.limit else None
    return Part(items=[host_drift_out(one) for one in found[: paging.limit]], next=more)


def _key_after(paging: Paging) -> tuple[str, str, str] | None:
    after = text_after(paging)
    if after is None:
        return None
    try:
        host, module, subject = json.loads(after)
    except (ValueError, TypeError):
        host = module = subject = None
    if (
        not (isinstance(host, str) and isinstance(module, str) and isinstance(subject, str))
        or "\0" in f"{host}{module}{subject}"
    ):
        told = "it is not the `next` of a part of this list"
        raise Invalid(f"after: {told}; begin again without it", {"after": told})
    return host, module, subject
