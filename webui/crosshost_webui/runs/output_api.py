# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of a run's raw output."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response

from ..web.access import Context, Viewer
from ..web.openapi import errors
from . import output, service
from .output import Line
from .schemas import TEXT, FoundOut, Id, LineOut, LinesOut, SpanOut

router = APIRouter(tags=["runs"])
Offset = Annotated[int | None, Query(ge=0, le=2**62, description="in bytes")]
_PLAIN: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
    206: {"description": "A part, by Range"},
}


@router.get(
    "/runs/{run_id}/output",
    summary="The raw output",
    response_class=FileResponse,
    responses={**_PLAIN, **errors(404)},
)
def get_output(context: Viewer, run_id: Id) -> Response:
    """As a file, with colour codes. `Range` gives a part of it."""
    path = _path(context, run_id)
    if output.size_of(path) == 0:
        return Response(b"", media_type="text/plain; charset=utf-8")
    return FileResponse(path, media_type="text/plain; charset=utf-8", filename=f"run-{run_id}.log")


@router.get("/runs/{run_id}/output/lines", summary="A part of the output", responses=errors(404))
def get_lines(
    context: Viewer, run_id: Id, after: Offset = None, before: Offset = None, limit: Annotated[int, Query(ge=1, le=2000)] = output.LINES
) -> LinesOut:  # fmt: skip
    """The lines from an offset on, or those that end at one; with neither the last ones."""
    found = output.part(_path(context, run_id), after, before, limit)
    return LinesOut(lines=list(map(_line, found.lines)), begin=found.begin, end=found.end, size=found.size)


@router.get("/runs/{run_id}/output/search", summary="Search in the output", responses=errors(404))
def search_output(
    context: Viewer,
    run_id: Id,
    q: Annotated[str, Query(min_length=1, max_length=200, pattern=TEXT, description="a text, in any case")],
    after: Annotated[int, Query(ge=0, le=2**62, description="`next` of the search before")] = 0,
) -> FoundOut:
    """Lines that contain it, without regard to colours."""
    found = output.search(_path(context, run_id), q, after)
    return FoundOut(lines=list(map(_line, found.lines)), next=found.next)


def _path(context: Context, run_id: int) -> Path:
    with context.db.read() as s:
        return output.path_of(context.state.settings, service.get(s, run_id))


def _line(one: Line) -> LineOut:
    spans = [SpanOut(classes=span.classes, text=span.text) for span in one.spans]
    return LineOut(offset=one.offset, number=one.number, spans=spans, more=one.more)
