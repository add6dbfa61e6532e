# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the topology."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from ..web.access import Viewer
from ..web.pages import page
from ..web.problem import Invalid
from . import service

router = APIRouter()
Part = Annotated[int, Query(ge=0, le=100_000)]


@router.get("/topology")
def topology(
    context: Viewer, part: Part = 0, rails: Part = 0, group: Annotated[str, Query(max_length=253)] = ""
) -> Response:
    """``part``: of the hosts; ``rails``: of the networks."""
    try:
        with context.db.read() as s:
            view = service.view(s, part, rails, group)
    except Invalid as error:
        return page(context, "topology/topology.html", view=None, error=error, group=group)
    return page(context, "topology/topology.html", view=view, picture=view.picture, error=None, group=group)
