# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of declared objects: hosts, groups, networks, endpoints, services, the ingress network, gateway bridges.

They differ in nothing but their paths, so one function makes the routes of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi import Body as BodyOption
from fastapi.params import Body as BodyParameter

from ..audit import store as audit
from ..web import conditional
from ..web.access import Context, InventoryWriter, Role, Viewer
from ..web.idempotency import Answer, IdempotencyKey, once
from ..web.openapi import Match, errors
from ..web.paging import Paged, Paging, Part
from . import service, store
from .kinds import NETWORKS, Entry, label
from .planning import Edit
from .schemas import Body, Driver, ItemOut, Message, Name, Search, described

router = APIRouter()
Filter = Annotated[
    str | None, Query(max_length=253, pattern=r"^[^\x00-\x1f\x7f]*$", description="only those of this one")
]
WRITES = errors(404, 409, 412, 428)


def is_admin(context: Context) -> bool:
    """Whether the caller may set what the server itself runs."""
    scopes = context.principal.scopes
    return context.principal.role is Role.ADMIN and (scopes is None or "admin" in scopes)


def found_part(
    context: Context, kinds: Sequence[str], filters: store.Filters, paging: Paging
) -> Part[ItemOut]:
    """A part of a list. Parts of several kinds begin after `kind name`."""
    after = None
    if paging.after is not None:
        kind, _space, name = paging.after.partition(" ") if len(kinds) > 1 else (kinds[0], " ", paging.after)
        after = (kind, name)
    with context.db.read() as s:
        entries = store.page(s, kinds, filters, paging.limit + 1, after)
    more = None
    if len(entries) > paging.limit:
        last = entries[paging.limit - 1]
        more = f"{last.kind} {last.name}" if len(kinds) > 1 else last.name
    return Part(items=[ItemOut.of(one) for one in entries[: paging.limit]], next=more)


def get(context: Context, kind: str, name: str, response: Response) -> ItemOut | Response:
    with context.db.read() as s:
        entry = service.one(s, kind, name)
    tag = conditional.etag(entry.revision_id)
    if conditional.is_known(context.request, tag):
        return conditional.not_modified(tag)
    response.headers["ETag"] = tag
    return ItemOut.of(entry)


def add(context: Context, kind: str, body: Body, key: str | None, message: str) -> Response:
    edits = [Edit(kind, None, body.root)]
    service.prepare(context.db, audit.actor(context), edits, is_admin=is_admin(context))

    def act(s: Any) -> Answer:
        done = service.outcome(s, audit.actor(context), edits, message, is_admin=is_admin(context))
        name = next(one.name for one in done.changes if one.kind == kind and one.before is None)
        entry = service.one(s, kind, name)
        where = f"{context.request.url.path.removesuffix('/')}/{quote(name)}"
        return Answer.of(
            ItemOut.of(entry), headers={"Location": where, "ETag": conditional.etag(entry.revision_id)}
        )

    return once(context, key, body, act)


def put(context: Context, kind: str, name: str, body: Body, message: str, response: Response) -> ItemOut:
    edits = [Edit(kind, name, body.root)]
    with context.db.read() as reading:
        _matched(context.request, service.one(reading, kind, name))
    service.prepare(context.db, audit.actor(context), edits, is_admin=is_admin(context))
    with context.db.write() as s:
        store.begin(s)
        _matched(context.request, service.one(s, kind, name))
        service.change(s, audit.actor(context), edits, message, is_admin=is_admin(context))
        entry = service.one(s, kind, name)
    response.headers["ETag"] = conditional.etag(entry.revision_id)
    return ItemOut.of(entry)


def remove(context: Context, kind: str, name: str, message: str) -> None:
    edits = [Edit(kind, name, None)]
    with context.db.read() as reading:
        _matched(context.request, service.one(reading, kind, name))
    service.prepare(context.db, audit.actor(context), edits)
    with context.db.write() as s:
        store.begin(s)
        _matched(context.request, service.one(s, kind, name))
        service.change(s, audit.actor(context), edits, message)


def _matched(request: Request, entry: Entry) -> None:
    conditional.demand_match(request, conditional.etag(entry.revision_id), label(entry.kind, entry.name))


def option(kind: str) -> Any:
    """The parameter that is the body."""
    text = described(kind)
    found = BodyOption(
        description=text["description"],
        examples=text["examples"],
        json_schema_extra={"properties": text["properties"]},
    )
    assert isinstance(found, BodyParameter)
    return found


def collection(path: str, kind: str, one: str, many: str) -> None:
    """The routes of a kind. ``one`` and ``many``: what its objects are called."""
    article = "an" if one[0] in "aeiou" else "a"
    shown = option(kind)

    @router.get(path, summary=many.capitalize())
    def list_them(
        context: Viewer, paging: Paged, q: Search = None, host: Filter = None, network: Filter = None
    ) -> Part[ItemOut]:
        """In the order of their names. `host`: of endpoints, and of what is one host's own; `network`: of endpoints and services."""
        return found_part(context, (kind,), store.Filters(q, host, network), paging)

    @router.post(
        path, summary=f"Add {article} {one}", status_code=201, response_model=ItemOut, responses=errors(409)
    )
    def add_one(
        context: InventoryWriter, body: Body = shown, message: Message = "", key: IdempotencyKey = None
    ) -> Response:
        """What it leaves open is allocated from the pools. The whole declaration is checked first."""
        return add(context, kind, body, key, message)

    @router.get(
        f"{path}/{{name:path}}", summary=f"{article.capitalize()} {one}", response_model=ItemOut,
        responses={**errors(404), 304: {"description": "It is still the one with this ETag"}},
    )  # fmt: skip
    def get_one(context: Viewer, name: Name, response: Response) -> ItemOut | Response:
        """With its ETag for a change."""
        return get(context, kind, name, response)

    @router.put(f"{path}/{{name:path}}", summary=f"Change {article} {one}", responses=WRITES)
    def change_one(
        context: InventoryWriter, name: Name, response: Response, body: Body = shown, message: Message = "",
        _match: Match = None,
    ) -> ItemOut:  # fmt: skip
        """The body takes the place of the former one. What is automatic keeps its values. The name stays."""
        return put(context, kind, name, body, message, response)

    @router.delete(
        f"{path}/{{name:path}}", summary=f"Remove {article} {one}", status_code=204, responses=WRITES
    )
    def remove_one(context: InventoryWriter, name: Name, message: Message = "", _match: Match = None) -> None:
        """What it had from the pools is kept from others for a while."""
        remove(context, kind, name, message)


@router.get("/hosts/{name}/view", summary="What a host is to have", responses=errors(404))
def view(context: Viewer, name: Name) -> dict[str, Any]:
    """The declaration as the roles carry it out on the host, in the words of the modules' options."""
    with context.db.read() as s:
        service.one(s, "host", name)
        return service.view(s, name)


@router.get("/networks", summary="Networks of all drivers")
def list_networks(
    context: Viewer,
    paging: Paged,
    driver: Annotated[Driver | None, Query(description="only those of this driver")] = None,
    q: Search = None,
) -> Part[ItemOut]:
    """In the order of their drivers and names."""
    return found_part(context, (driver,) if driver else NETWORKS, store.Filters(q), paging)


for _path, _kind, _one, _many in (
    ("/hosts", "host", "host", "hosts"),
    ("/groups", "group", "group", "groups"),
    ("/networks/overlay", "overlay", "overlay network", "overlay networks"),
    ("/networks/bridge", "bridge", "bridge network", "bridge networks"),
    ("/networks/macvlan", "macvlan", "macvlan network", "macvlan networks"),
    ("/endpoints", "endpoint", "endpoint", "endpoints"),
    ("/services", "service", "service", "services"),
    ("/ingress", "ingress", "ingress network", "ingress networks"),
    ("/gwbridge", "gwbridge", "gateway bridge", "gateway bridges"),
):
    collection(_path, _kind, _one, _many)
