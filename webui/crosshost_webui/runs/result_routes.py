# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of one result: what a task did on a host."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Response

from ..web import ansi, diffs
from ..web.access import Viewer
from ..web.pages import page
from ..web.problem import NotFound
from . import events, eventstore, service
from .models import Event
from .schemas import Id

router = APIRouter()
ITEMS = 200
LINES = 2000  # of a text that a program wrote
_TEXTS = (
    ("stdout", "Output"),
    ("stderr", "Error output"),
    ("module_stdout", "Output"),
    ("module_stderr", "Error output"),
)
# what the page tells in words of its own
_TOLD = {"msg", "commands", "diff", "warnings", "stdout_lines", "stderr_lines", "truncated", "censored", "commands_digest",
         "commands_count", "item", *(name for name, _ in _TEXTS)}  # fmt: skip


@router.get("/runs/{run_id}/results/{seq}")
def show_result(context: Viewer, run_id: Id, seq: Id) -> Response:
    with context.db.read() as s:
        run = service.get(s, run_id)
        found = eventstore.event(s, run_id, seq)
        if found is None or found.kind not in ("result", "item"):
            raise NotFound(f"run {run_id}: result {seq}: there is none; the run's page has them")
        task = eventstore.task(s, run_id, found.task or 0)
        alike = eventstore.results(s, run_id, ITEMS, 0, found.host, found.task)
    body = body_of(found)
    rest = {name: value for name, value in body.items() if name not in _TOLD}
    return page(
        context, "runs/result.html", run=run, result=found, task=task, body=body, msg=text_of(body.get("msg")),
        commands=[text_of(one) for one in body.get("commands") or ()] if isinstance(body.get("commands"), list) else [],
        lines=diffs.of_result(body.get("diff")), texts=_texts(body), rest=_json(rest),
        warnings=body["warnings"] if isinstance(body.get("warnings"), list) else [],
        items=[(one, body_of(one)) for one in alike if one.kind == "item"] if found.kind == "result" else [],
        others=[one for one in alike if one.kind == "result" and one.seq != seq],
    )  # fmt: skip


def body_of(event: Event) -> dict[str, Any]:
    return events.unpack(event.body)


def text_of(value: Any) -> str:
    """A value of a result as a text: what a module returns may be anything."""
    if value is None:
        return ""
    return value if isinstance(value, str) else _json(value)


def _texts(body: dict[str, Any]) -> list[tuple[str, list[list[ansi.Span]], int]]:
    """What programs wrote: a title, the lines with their colours, and how many lines are left out."""
    found = []
    for name, title in _TEXTS:
        lines = text_of(body.get(name)).splitlines()
        if lines:
            found.append((title, [ansi.spans(line) for line in lines[:LINES]], max(len(lines) - LINES, 0)))
    return found


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str) if value else ""
