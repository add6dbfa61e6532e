# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of drift: what differs from the declaration on which host, and since when."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from ..inventory import store_pages
from ..runs import store as run_store
from ..web.access import Viewer
from ..web.pages import page
from ..web.paging import Paged
from . import store

router = APIRouter()
ROWS = 300
Text = Annotated[str, Query(max_length=253, pattern=r"^[^\x00]*$")]


@router.get("/drift")
def list_drift(context: Viewer, paging: Paged, host: Text = "", network: Text = "") -> Response:
    """By host. ``network``: only what is about it."""
    with context.db.read() as s:
        if host or network:
            hosts = sorted(
                {one.host for one in store.rows(s, ROWS, host=host or None, network=network or None)}
            )
            rows, more = store.rows(s, ROWS, host=host or None, network=network or None), None
        else:
            found = store.summary(s, paging.limit + 1, paging.after)
            hosts = [one.host for one in found[: paging.limit]]
            more = hosts[-1] if len(found) > paging.limit else None
            rows = store.of_hosts(s, hosts)
        count = store.count_hosts(s)
        looked = store_pages.count_looked_at(s)
        last = run_store.latest(s, "site", True)
    by_host = {name: [one for one in rows if one.host == name] for name in hosts}
    return page(
        context, "drift/list.html", hosts=by_host, next=more, count=count, looked=looked, last=last,
        filters={"host": host, "network": network},
    )  # fmt: skip
