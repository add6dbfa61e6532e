# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of the inventory as a whole: for Ansible, out of files and into files."""

from __future__ import annotations

import gzip
from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, Query, Response, UploadFile

from ..audit import store as audit
from ..web import conditional
from ..web.access import InventoryWriter, Viewer
from ..web.openapi import errors
from ..web.problem import TooLarge
from . import foreign, service, store, transfer
from .api_items import is_admin
from .changing import MESSAGE_MOST
from .schemas import ChangeOut, ImportedOut, RevisionOut

router = APIRouter()
_LISTING = {"description": "groups by their names, and `_meta` with the variables of hosts"}


@router.get(
    "/inventory", summary="The inventory for Ansible", response_class=Response,
    responses={
        200: {**_LISTING, "content": {"application/json": {"schema": {"type": "object"}}}},
        304: {"description": "It is still the one with this ETag"},
    },
)  # fmt: skip
def get_inventory(context: Viewer) -> Response:
    """In the shape of `ansible-inventory --list`, as a run would have it now. Its ETag is that of the newest revision."""
    with context.db.read() as s:
        newest = service.current(s)
        # the time tells revisions apart that have one number, after a backup was restored
        tag = conditional.etag(f"{newest.id}-{int(newest.at.timestamp() * 1000):x}")
        if conditional.is_known(context.request, tag):
            return conditional.not_modified(tag)
        newest, packed = service.listing(s)
    headers = {
        "ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding",
        "X-Crosshost-Revision": str(newest.id),
    }  # fmt: skip
    if "gzip" in context.request.headers.get("accept-encoding", ""):
        return Response(
            packed, headers={**headers, "Content-Encoding": "gzip"}, media_type="application/json"
        )
    return Response(gzip.decompress(packed), headers=headers, media_type="application/json")


@router.get(
    "/inventory/export", summary="The inventory as a file", response_class=Response,
    responses={
        200: {"description": "YAML", "content": {"application/yaml": {"schema": {"type": "object"}}}}, **errors(404),
    },
)  # fmt: skip
def export(
    context: Viewer,
    revision: Annotated[
        int | None, Query(ge=0, le=2**63 - 1, description="by default the newest one")
    ] = None,
) -> Response:
    """A YAML inventory that Ansible takes as it is, and that can be imported again."""
    with context.db.read() as s:
        number = store.newest(s).id if revision is None else revision
        text = transfer.export_yaml(s, revision)
    headers = {"Content-Disposition": f'attachment; filename="crosshost-revision-{number}.yml"'}
    return Response(text, headers=headers, media_type="application/yaml")


@router.post("/inventory/import", summary="Import an inventory file", responses=errors(404, 409, 412, 503))
def import_file(
    context: InventoryWriter,
    file: Annotated[
        UploadFile, File(description="YAML, INI, TOML or JSON, or what `ansible-inventory --list` prints")
    ],
    mode: Annotated[
        Literal["merge", "replace"], Form(description="replace: what the file does not have is removed")
    ] = "merge",
    dry_run: Annotated[bool, Form(description="only tell what would become of it")] = False,
    message: Annotated[str, Form(max_length=MESSAGE_MOST, pattern=r"^[^\x00-\x1f\x7f]*$")] = "",
) -> ImportedOut:
    """One revision. The file is read by Ansible's own parsers of files; scripts, plugins and templates are not run."""
    content = file.file.read(foreign.FILE_MOST + 1)
    if len(content) > foreign.FILE_MOST:
        raise TooLarge(f"file: it has more than {foreign.FILE_MOST} bytes; take it apart")
    found = transfer.import_bytes(
        context.db, audit.actor(context), file.filename or "inventory", content, mode, message, dry_run=dry_run,
        is_admin=is_admin(context),
    )  # fmt: skip
    return ImportedOut(
        dry_run=dry_run, revision=RevisionOut.of(found.revision), added=_names(found.added), changed=_names(found.changed),
        removed=_names(found.removed), unchanged=found.unchanged, changes=[ChangeOut.of(one) for one in found.changes],
        warnings=list(found.warnings),
    )  # fmt: skip


def _names(keys: list[tuple[str, str]]) -> list[str]:
    return [" ".join(key) for key in keys]
