# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of bringing an inventory in, and of taking it out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response

from ..audit import store as audit
from ..web import diffs
from ..web.access import Context, InventoryWriter, Role, Viewer
from ..web.pages import go, page
from ..web.problem import Invalid, Problem
from ..web.sent import PART_MOST, File, SentFile
from . import foreign, service, telling, transfer
from .changing import MESSAGE_MOST

router = APIRouter(prefix="/inventory")
SHOWN = 60  # changes of a preview
MODES = (
    ("merge", "merge: what is only here stays"),
    ("replace", "replace: what the file does not have is removed"),
)


@router.get("/export")
def export(context: Viewer) -> Response:
    with context.db.read() as s:
        current = service.current(s)
    return page(context, "inventory/export.html", current=current)


@router.get("/import")
def choose(context: InventoryWriter) -> Response:
    return _form(context, {"mode": "merge"})


@router.post("/import")
def preview(context: InventoryWriter, sent: SentFile) -> Response:
    """What an import would do; the page has the file in it, for the import itself."""
    try:
        found = _bring(context, sent, dry_run=True)
    except Problem as error:
        return _form(context, sent.fields, error)
    shown = [
        (one, diffs.of_bodies(telling.side(one.before), telling.side(one.after)))
        for one in found.changes[:SHOWN]
    ]
    name, content = _content(sent)
    return page(
        context, "inventory/preview.html", found=found, changes=shown, name=name, values=sent.fields,
        content=content.decode("utf-8", "replace") if len(content) < PART_MOST else None,
    )  # fmt: skip


@router.post("/import/apply")
def apply(context: InventoryWriter, sent: SentFile) -> Response:
    try:
        found = _bring(context, sent, dry_run=False)
    except Problem as error:
        return _form(context, sent.fields, error)
    if not found.changes:
        return go(context, "/revisions", ("active", "Everything in the file is declared already."))
    told = f"Imported as revision {found.revision.id}: {len(found.added)} added, {len(found.changed)} changed, {len(found.removed)} removed."
    warnings = [("changed", text) for text in found.warnings[:3]]
    return go(context, f"/revisions/{found.revision.id}", ("ok", told), *warnings)


def _bring(context: Context, sent: File, *, dry_run: bool) -> transfer.Imported:
    fields = sent.fields
    name, content = _content(sent)
    if not content.strip():
        raise Invalid(
            "file: choose a file, or paste the inventory", {"file": "choose a file, or paste the inventory"}
        )
    return transfer.import_bytes(
        context.db, audit.actor(context), name, content, fields.get("mode", ""), fields.get("message", "")[:MESSAGE_MOST],
        dry_run=dry_run, is_admin=context.principal.role is Role.ADMIN,
    )  # fmt: skip


def _content(sent: File) -> tuple[str, bytes]:
    """The file, or what was pasted, with its name."""
    if sent.name:
        return sent.name, sent.content
    text = sent.fields.get("content", "").replace("\r\n", "\n")
    return sent.fields.get("name", "")[:200] or "inventory.yml", text.encode()


def _form(context: Context, values: Mapping[str, Any], error: Problem | None = None) -> Response:
    return page(
        context, "inventory/import.html", error.status if error else 200, values=values, modes=MODES, error=error,
        errors=error.fields if error else {}, most=foreign.FILE_MOST // 2**20,
    )  # fmt: skip
