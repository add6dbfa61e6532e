# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of changes of several objects, of revisions and of objects' histories."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from ..audit import store as audit
from ..web.access import InventoryWriter, Viewer
from ..web.idempotency import Answer, IdempotencyKey, once
from ..web.openapi import errors
from ..web.paging import Paged, Part, number_after
from . import history, service, store
from .api_items import is_admin
from .planning import Edit
from .schemas import (
    ChangeOut,
    ChangesIn,
    DifferenceOut,
    Kind,
    Name,
    OutcomeOut,
    RevertIn,
    RevisionId,
    RevisionOut,
    StepOut,
)

router = APIRouter()


def _edits(body: ChangesIn) -> list[Edit]:
    return [Edit(one.kind, one.name, one.body, one.expected) for one in body.edits]


@router.post(
    "/changes", summary="Change several objects at once", status_code=201, response_model=OutcomeOut,
    responses=errors(404, 409, 412),
)  # fmt: skip
def change(context: InventoryWriter, body: ChangesIn, key: IdempotencyKey = None) -> Response:
    """All of the edits become one revision, or none is made."""

    who = audit.actor(context)
    service.prepare(context.db, who, _edits(body), is_admin=is_admin(context))

    def act(s: Any) -> Answer:
        done = service.outcome(s, who, _edits(body), body.message, is_admin=is_admin(context))
        return Answer.of(OutcomeOut.of(done))

    return once(context, key, body, act)


@router.post("/validate", summary="Rehearse a change", responses=errors(404, 409, 412))
def validate(context: InventoryWriter, body: ChangesIn) -> OutcomeOut:
    """What the same edits would do as a change: what they would get from the pools, or the error. Nothing is kept."""
    who = audit.actor(context)
    done = service.check(context.db, who, _edits(body), body.message, is_admin=is_admin(context))
    return OutcomeOut.of(done)


@router.get("/revisions", summary="Revisions")
def list_revisions(context: Viewer, paging: Paged) -> Part[RevisionOut]:
    """The newest first."""
    with context.db.read() as s:
        found = store.revisions(s, paging.limit + 1, number_after(paging))
    more = str(found[paging.limit - 1].id) if len(found) > paging.limit else None
    return Part(items=[RevisionOut.of(one) for one in found[: paging.limit]], next=more)


@router.get("/revisions/{revision_id}", summary="A revision", responses=errors(404))
def get_revision(context: Viewer, revision_id: RevisionId) -> RevisionOut:
    """Who changed the declaration, when and why."""
    with context.db.read() as s:
        return RevisionOut.of(history.revision(s, revision_id))


@router.get("/revisions/{revision_id}/changes", summary="What a revision has changed", responses=errors(404))
def get_changes(context: Viewer, revision_id: RevisionId, paging: Paged) -> Part[ChangeOut]:
    """Each object with what it was before and after."""
    with context.db.read() as s:
        history.revision(s, revision_id)
        found = store.changes(s, revision_id, paging.limit + 1, number_after(paging))
    more = str(found[paging.limit - 1].id) if len(found) > paging.limit else None
    return Part(items=[ChangeOut.of(one) for one in history.altered(found[: paging.limit])], next=more)


@router.get(
    "/revisions/{revision_id}/difference", summary="What differs between two revisions", responses=errors(404)
)
def get_difference(
    context: Viewer,
    revision_id: RevisionId,
    to: Annotated[int | None, Query(ge=0, le=2**63 - 1, description="by default the newest one")] = None,
) -> DifferenceOut:
    """As if one change led from the first to the second."""
    with context.db.read() as s:
        second = service.current(s).id if to is None else to
        found = history.difference(s, revision_id, second)
    return DifferenceOut(first=revision_id, second=second, changes=[ChangeOut.of(one) for one in found])


@router.post(
    "/revisions/{revision_id}/revert",
    summary="Go back to a revision",
    status_code=201,
    responses=errors(404, 409),
)
def revert(context: InventoryWriter, revision_id: RevisionId, body: RevertIn) -> OutcomeOut:
    """Declares what it declared, as a new revision. What is automatic keeps the values that it has; what comes back gets those
    that it had, if nobody has got them meanwhile."""
    with context.db.write() as s:
        who = audit.actor(context)
        return OutcomeOut.of(history.revert(s, who, revision_id, body.message, is_admin=is_admin(context)))


@router.get("/history/{kind}/{name:path}", summary="The history of an object")
def get_history(context: Viewer, kind: Kind, name: Name, paging: Paged) -> Part[StepOut]:
    """The newest first; also of what is gone. Empty for what has never been there."""
    with context.db.read() as s:
        found = history.of_object(s, kind, name, paging.limit + 1, number_after(paging))
    more = str(found[paging.limit - 1].change.id) if len(found) > paging.limit else None
    items = [
        StepOut(revision=RevisionOut.of(one.revision), change=ChangeOut.of(history.altered([one.change])[0]))
        for one in found[: paging.limit]
    ]
    return Part(items=items, next=more)
