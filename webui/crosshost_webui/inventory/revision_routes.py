# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of revisions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from ..audit import store as audit
from ..web import diffs
from ..web.access import InventoryWriter, Role, Viewer
from ..web.pages import go, page
from ..web.paging import Paged, number_after
from ..web.problem import Problem
from . import history, service, store, telling

router = APIRouter()
SHOWN = 100  # changes of one revision on its page
Number = Annotated[int, Path(ge=0, le=2**63 - 1)]


@router.get("/revisions")
def list_revisions(context: Viewer, paging: Paged) -> Response:
    with context.db.read() as s:
        found = store.revisions(s, paging.limit + 1, number_after(paging))
        current = service.current(s)
    more = str(found[paging.limit - 1].id) if len(found) > paging.limit else None
    return page(context, "revisions/list.html", revisions=found[: paging.limit], next=more, current=current)


@router.get("/revisions/{revision_id}")
def show_revision(
    context: Viewer,
    revision_id: Number,
    paging: Paged,
    against: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
) -> Response:
    """What it changed; with ``against`` what differs between the two."""
    after = number_after(paging)
    with context.db.read() as s:
        revision = history.revision(s, revision_id)
        current = service.current(s)
        if against is None:
            rows = store.changes(s, revision_id, SHOWN + 1, after)
            more = str(rows[SHOWN - 1].id) if len(rows) > SHOWN else None
            changes = history.altered(rows[:SHOWN])
        else:
            other = history.revision(s, against)
            every = history.difference(s, other.id, revision.id)
            begin = after or 0
            changes = every[begin : begin + SHOWN]
            more = str(begin + SHOWN) if len(every) > begin + SHOWN else None
    shown = [(one, diffs.of_bodies(telling.side(one.before), telling.side(one.after))) for one in changes]
    return page(
        context,
        "revisions/detail.html",
        revision=revision,
        current=current,
        changes=shown,
        next=more,
        against=against,
    )


@router.post("/revisions/{revision_id}/revert")
def revert(context: InventoryWriter, revision_id: Number) -> Response:
    is_admin = context.principal.role is Role.ADMIN
    try:
        with context.db.write() as s:
            found = history.revert(s, audit.actor(context), revision_id, is_admin=is_admin)
    except Problem as error:
        return go(context, f"/revisions/{revision_id}", ("failed", error.detail))
    if not found.changes:
        return go(
            context, f"/revisions/{revision_id}", ("active", "The declaration is already as it was then.")
        )
    told = f"The declaration is as it was at revision {revision_id}. Hosts follow with the next run."
    return go(context, f"/revisions/{found.revision.id}", ("ok", told))
