# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of endpoints and services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from ..db.engine import ReadSession
from ..drift import store as drift_store
from ..ipam import store_read as ipam_store
from ..ipam.held import Held
from ..web import forms, links
from ..web.access import Viewer
from ..web.pages import is_fragment, page
from ..web.paging import Paged
from . import history, service, store, telling
from .kinds import Entry, Items

router = APIRouter()
Text = Annotated[str, Query(max_length=400)]
TASKS_SHOWN = 200


@router.get("/endpoints")
def list_endpoints(
    context: Viewer, paging: Paged, q: Text = "", host: Text = "", network: Text = ""
) -> Response:
    return _list(context, paging, "endpoint", q, host, network)


@router.get("/services")
def list_services(context: Viewer, paging: Paged, q: Text = "", network: Text = "") -> Response:
    return _list(context, paging, "service", q, "", network)


def _list(context: Viewer, paging: Paged, kind: str, q: str, host: str, network: str) -> Response:
    filters = store.Filters(q.strip() or None, host.strip() or None, network.strip() or None)
    after = None if paging.after is None else (kind, paging.after)
    with context.db.read() as s:
        found = store.page(s, [kind], filters, paging.limit + 1, after)
        items = service.items(s)
    more = found[paging.limit - 1].name if len(found) > paging.limit else None
    shown = found[: paging.limit]
    template = "table" if is_fragment(context.request) else "list"
    networks = {one.name: network_link(items, one) for one in shown}
    return page(
        context, f"{kind}s/{template}.html", entries=shown, next=more, networks=networks,
        filters={"q": q, "host": host, "network": network},
    )  # fmt: skip


@router.get("/endpoints/{name:path}")
def show_endpoint(context: Viewer, name: str) -> Response:
    with context.db.read() as s:
        entry = service.one(s, "endpoint", name)
        items = service.items(s)
        differs = drift_store.rows(s, 20, host=entry.body["host"], network=entry.body.get("network"))
        values = _common(s, entry)
    services = [
        one for (kind, _), one in items.items()
        if kind == "service" and one.body.get("network") == entry.body.get("network")
        and any(_is_task(task, entry) for task in one.body.get("tasks", ()))
    ]  # fmt: skip
    return page(
        context, "endpoints/detail.html", entry=entry, network=network_link(items, entry), services=services,
        drift=differs, **values,
    )  # fmt: skip


@router.get("/services/{name:path}")
def show_service(context: Viewer, name: str) -> Response:
    with context.db.read() as s:
        entry = service.one(s, "service", name)
        items = service.items(s)
        differs = drift_store.rows(s, 20, network=entry.body.get("network"))
        values = _common(s, entry)
    tasks = [
        one for (kind, _), one in items.items()
        if kind == "endpoint" and one.body.get("network") == entry.body.get("network")
        and any(_is_task(task, one) for task in entry.body.get("tasks", ()))
    ]  # fmt: skip
    return page(
        context, "services/detail.html", entry=entry, network=network_link(items, entry), tasks=tasks[:TASKS_SHOWN],
        count=len(tasks), drift=differs, **values,
    )  # fmt: skip


def _common(s: ReadSession, entry: Entry) -> dict[str, Any]:
    told = ("name", "network", "host")
    options = {key: value for key, value in entry.resolved.items() if key not in told}
    return {
        "blocks": [Held(*one) for one in ipam_store.blocks_of_owner(s, "item", str(entry.id))],
        "history": history.of_object(s, entry.kind, entry.name, 5),
        "limit": telling.limit_of(entry),
        "given": telling.given(entry),
        "yaml": forms.dump(options),
    }


def _is_task(task: Any, endpoint: Entry) -> bool:
    """Whether a task of a service, as it is declared, means this endpoint."""
    own = endpoint.name.rpartition("/")[2]
    if isinstance(task, Mapping):
        return task.get("endpoint") == own and task.get("host") in (None, endpoint.body.get("host"))
    return bool(task == own)


def network_link(items: Items, member: Entry) -> str:
    """The page of the network that an endpoint or a service is in; "" if it is none of ours."""
    name, host = str(member.body.get("network", "")), member.body.get("host")
    for kind, key in (("overlay", name), ("bridge", f"{host}/{name}"), ("bridge", name), ("macvlan", name)):
        if (kind, key) in items:
            return links.item(kind, key)
    return ""
