# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of the audit log."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from ..web import diffs
from ..web.access import Admin
from ..web.pages import is_fragment, page
from ..web.paging import Paged, number_after
from ..web.problem import NotFound
from . import store

router = APIRouter()
TYPES = (
    ("", "any"), "user", "token", "secret", "keys", "host", "group", "overlay", "bridge", "macvlan", "ingress", "gwbridge",
    "endpoint", "service", "revision", "pool", "allocation", "run", "plan", "schedule",
)  # fmt: skip
Word = Annotated[str, Query(max_length=150)]


@router.get("/audit")
def list_entries(
    context: Admin, paging: Paged, who: Word = "", object_type: Word = "", since: Word = "", until: Word = ""
) -> Response:
    end = _day(until)
    filters = store.Filters(
        who=who.strip() or None, object_type=object_type or None, since=_day(since),
        until=end + timedelta(days=1) if end else None,
    )  # fmt: skip
    with context.db.read() as s:
        found = store.entries(s, filters, paging.limit + 1, number_after(paging))
    more = str(found[paging.limit - 1].id) if len(found) > paging.limit else None
    template = "audit/table.html" if is_fragment(context.request) else "audit/list.html"
    shown = {"who": who, "object_type": object_type, "since": since, "until": until}
    return page(context, template, entries=found[: paging.limit], next=more, filters=shown, types=TYPES)


@router.get("/audit/{entry_id}")
def show_entry(context: Admin, entry_id: Annotated[int, Path(ge=1, le=2**63 - 1)]) -> Response:
    with context.db.read() as s:
        found = store.entry(s, entry_id)
    if found is None:
        raise NotFound(f"audit entry {entry_id}: there is none; the log has the newest first")
    return page(context, "audit/detail.html", entry=found, lines=diffs.of_bodies(found.before, found.after))


def _day(text: str) -> datetime | None:
    """The beginning of a day in UTC, as browsers write it; None for anything else."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return datetime(found.year, found.month, found.day, tzinfo=UTC) if 1970 <= found.year < 9000 else None
