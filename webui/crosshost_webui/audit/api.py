# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of the audit log. It is for admins: it tells who was where, and of objects that are gone."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime

from ..web.access import Admin
from ..web.openapi import errors
from ..web.paging import Paged, Part, number_after
from ..web.problem import NotFound
from . import store
from .schemas import AuditEntryOut

router = APIRouter(tags=["audit"])
Word = Annotated[str | None, Query(max_length=150)]


@router.get("/audit", summary="The audit log")
def list_entries(
    context: Admin,
    paging: Paged,
    who: Word = None,
    action: Word = None,
    object_type: Word = None,
    object_id: Word = None,
    since: Annotated[AwareDatetime | None, Query(description="at this moment or later")] = None,
    until: Annotated[AwareDatetime | None, Query(description="before this moment")] = None,
) -> Part[AuditEntryOut]:
    """The newest first."""
    filters = store.Filters(who, action, object_type, object_id, since, until)
    with context.db.read() as s:
        found = store.entries(s, filters, paging.limit + 1, number_after(paging))
    more = str(found[paging.limit - 1].id) if len(found) > paging.limit else None
    return Part(items=[AuditEntryOut.model_validate(one) for one in found[: paging.limit]], next=more)


@router.get("/audit/{entry_id}", summary="An entry of the audit log", responses=errors(404))
def get_entry(context: Admin, entry_id: Annotated[int, Path(ge=1, le=2**63 - 1)]) -> AuditEntryOut:
    """By its id."""
    with context.db.read() as s:
        found = store.entry(s, entry_id)
    if found is None:
        raise NotFound(f"audit entry {entry_id}: there is none; the list has their ids")
    return AuditEntryOut.model_validate(found)
