# SPDX-License-Identifier: GPL-3.0-or-later
"""The forms of declared objects: adding, changing, removing; and the history of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from ..audit import store as audit
from ..db.engine import ReadSession
from ..web import diffs, links
from ..web.access import Context, InventoryWriter, Role, Viewer
from ..web.forms import Filled
from ..web.pages import go, page
from ..web.paging import Paged, number_after
from ..web.problem import Changed, Conflict, Forbidden, Invalid, NotFound, Problem
from ..web.sent import Sent
from . import forms, history, service, store_pages, telling
from .changing import MESSAGE_MOST, Edit
from .forms import FORMS, NEW
from .kinds import NETWORKS, Entry, label

router = APIRouter(prefix="/items")
HISTORY = 20
_REFUSALS = (Invalid, Conflict, Changed, Forbidden)


@router.get("/{kind}/new")
def new_item(context: InventoryWriter, kind: str) -> Response:
    """The empty form. What the address says of its fields is in it: `?network=web`."""
    body = {**NEW.get(_known(kind), {}), **_proposed(kind, context.request)}
    return _form_page(context, kind, Filled(forms.show(kind, body)))


@router.post("/{kind}/new")
def add_item(context: InventoryWriter, kind: str, sent: Sent) -> Response:
    filled = forms.read(_known(kind), sent)
    filled.values["message"] = sent.get("message", "")
    if filled.errors:
        return _form_page(context, kind, filled, status=422)
    return _save(context, kind, Edit(kind, None, filled.body), filled)


@router.get("/{kind}/edit/{name:path}")
def edit_item(context: InventoryWriter, kind: str, name: str) -> Response:
    with context.db.read() as s:
        entry = service.one(s, _known(kind), name)
    return _form_page(context, kind, Filled(forms.show(kind, entry.body)), entry)


@router.post("/{kind}/edit/{name:path}")
def change_item(context: InventoryWriter, kind: str, name: str, sent: Sent) -> Response:
    with context.db.read() as s:
        entry = service.one(s, _known(kind), name)
    filled = forms.read(kind, sent)
    filled.values["message"] = sent.get("message", "")
    if filled.errors:
        return _form_page(context, kind, filled, entry, status=422, expected=_expected(sent))
    return _save(context, kind, Edit(kind, name, filled.body, _expected(sent)), filled, entry)


@router.post("/{kind}/delete/{name:path}")
def remove_item(context: InventoryWriter, kind: str, name: str, sent: Sent) -> Response:
    edit = Edit(_known(kind), name, None, _expected(sent))
    try:
        with context.db.write() as s:
            revision = service.change(s, audit.actor(context), [edit], is_admin=_is_admin(context))
    except _REFUSALS as error:
        return go(context, links.item(kind, name), ("failed", error.detail))
    told = f"{label(kind, name).capitalize()} is removed in revision {revision.id}. Hosts follow with the next run."
    return go(context, list_of(kind), ("ok", told))


@router.get("/{kind}/history/{name:path}")
def show_history(context: Viewer, kind: str, name: str, paging: Paged) -> Response:
    with context.db.read() as s:
        found = history.of_object(s, _known(kind), name, HISTORY + 1, number_after(paging))
    more = str(found[HISTORY - 1].change.id) if len(found) > HISTORY else None
    shown = [(*one, diffs.of_bodies(*telling.change_sides(one.change))) for one in found[:HISTORY]]
    return page(context, "inventory/history.html", kind=kind, name=name, history=shown, next=more)


def list_of(kind: str) -> str:
    """The page that lists what is of a kind."""
    if kind in NETWORKS:
        return "/networks"
    return "/ingress" if kind in ("ingress", "gwbridge") else f"/{kind}s"


def _save(context: Context, kind: str, edit: Edit, filled: Filled, entry: Entry | None = None) -> Response:
    """Make the change; the form again, with what is wrong, if it is refused."""
    message = str(filled.values["message"])[:MESSAGE_MOST]
    try:
        with context.db.write() as s:
            outcome = service.outcome(s, audit.actor(context), [edit], message, is_admin=_is_admin(context))
            name = entry.name if entry else next(one.name for one in outcome.changes if one.kind == kind)
            saved = service.one(s, kind, name)
    except _REFUSALS as error:
        filled.errors = forms.place(kind, error.fields)
        return _form_page(context, kind, filled, entry, error, error.status, edit.expected)
    told = [("ok", telling.saved(saved, outcome.revision.id))] if outcome.changes else []
    told += [("changed", text) for text in outcome.parsed.cluster.warnings[:3]]
    return go(context, links.item(kind, name), *(told or [("active", "There was nothing to change.")]))


def _form_page(
    context: Context,
    kind: str,
    filled: Filled,
    entry: Entry | None = None,
    error: Problem | None = None,
    status: int = 200,
    expected: int | None = None,
) -> Response:
    form = FORMS[kind]
    with context.db.read() as s:
        names = _names(s)
    own = entry.name if entry else ""
    return page(
        context, "inventory/form.html", status, form=form, values=filled.values, errors=filled.errors, error=error,
        entry=entry, names=names, action=links.form(kind, own) if entry else f"/items/{kind}/new",
        title=f"Change {own}" if entry else f"Add {'an' if form.title[0] in 'aeiou' else 'a'} {form.title}",
        back=links.item(kind, own) if entry else list_of(kind), back_name=own or list_of(kind).strip("/").capitalize(),
        expected=(expected or entry.revision_id) if entry else None,
    )  # fmt: skip


def _names(s: ReadSession) -> dict[str, list[str]]:
    """What browsers propose. A bridge network of one host is called there without the host."""
    hosts, groups = store_pages.names(s, ["host"]), store_pages.names(s, ["group"])
    networks = store_pages.names(s, NETWORKS)
    return {
        "hosts": hosts,
        "groups": groups,
        "places": sorted({*hosts, *groups}),
        "networks": sorted({name.rpartition("/")[2] for name in networks}),
    }


def _proposed(kind: str, request: Request) -> Mapping[str, Any]:
    known = {one.name for one in FORMS[kind].fields if one.kind == "text"}
    return {name: value[:400] for name, value in request.query_params.items() if name in known and value}


def _expected(sent: Mapping[str, str]) -> int | None:
    text = sent.get("expected", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _is_admin(context: Context) -> bool:
    return context.principal.role is Role.ADMIN


def _known(kind: str) -> str:
    if kind not in FORMS:
        raise NotFound(f"objects of kind {kind[:40]!r}: there are none; kinds are {', '.join(FORMS)}")
    return kind
