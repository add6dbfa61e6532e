# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of networks, with gateway bridges and the ingress network."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from ..db.engine import ReadSession
from ..drift import store as drift_store
from ..drift import store_pages as drift_pages
from ..ipam import store_read as ipam_store
from ..ipam.held import Held
from ..web import forms
from ..web.access import Viewer
from ..web.pages import is_fragment, page
from ..web.paging import Paged
from ..web.problem import NotFound
from . import history, service, store, store_pages, telling
from .kinds import NETWORKS, Entry

router = APIRouter()
SHOWN = 25
DRIFT_SHOWN = 50
Text = Annotated[str, Query(max_length=253)]
# of networks, what the page tells in words of its own
_TOLD = ("name", "subnets", "hosts", "labels", "host")


@router.get("/networks")
def list_networks(context: Viewer, paging: Paged, q: Text = "", driver: Text = "") -> Response:
    kinds = [driver] if driver in NETWORKS else sorted(NETWORKS)
    kind, _, name = (paging.after or "").partition("/")
    filters = store.Filters(text=q.strip() or None)
    with context.db.read() as s:
        found = store.page(s, kinds, filters, paging.limit + 1, (kind, name) if name else None)
        shown = found[: paging.limit]
        counts = store_pages.endpoints_by_network(s, {called(one) for one in shown})
        differs = drift_pages.hosts_by_subject(s, {called(one) for one in shown})
    more = f"{shown[-1].kind}/{shown[-1].name}" if len(found) > paging.limit else None
    template = "networks/table.html" if is_fragment(context.request) else "networks/list.html"
    rows = [
        {
            "entry": one, "subnets": telling.subnets(one), "places": telling.places(one),
            "endpoints": counts.get(called(one), 0), "hosts_drift": differs.get(called(one), 0),
        }
        for one in shown
    ]  # fmt: skip
    return page(context, template, rows=rows, next=more, q=q, driver=driver)


@router.get("/networks/{kind}/{name:path}")
def show_network(context: Viewer, kind: str, name: str) -> Response:
    if kind not in NETWORKS:
        raise NotFound(
            f"networks of kind {kind[:40]!r}: there are none; kinds are {', '.join(sorted(NETWORKS))}"
        )
    with context.db.read() as s:
        network = service.one(s, kind, name)
        own = called(network)
        members = store.Filters(network=own, host=network.body.get("host"))
        differs = drift_store.rows(s, DRIFT_SHOWN, network=own, host=network.body.get("host"))
        values: dict[str, Any] = {
            "subnets": subnets_of(s, network),
            "endpoints": store.page(s, ["endpoint"], members, SHOWN, None),
            "endpoint_count": store.count(s, ["endpoint"], members)["endpoint"],
            "services": store.page(s, ["service"], members, SHOWN, None) if kind == "overlay" else [],
            "history": history.of_object(s, kind, name, 5),
        }
    options = {key: value for key, value in network.resolved.items() if key not in _TOLD}
    return page(
        context, "networks/detail.html", network=network, own=own, places=telling.places(network), drift=differs,
        limit=telling.limit_of(network), yaml=forms.dump(options), **values,
    )  # fmt: skip


@router.get("/ingress")
def show_ingress(context: Viewer) -> Response:
    with context.db.read() as s:
        found = store.page(s, ["ingress"], store.Filters(), 1, None)
        bridges = store.page(s, ["gwbridge"], store.Filters(), 200, None)
        ingress = found[0] if found else None
        subnets = subnets_of(s, ingress) if ingress else []
        past = history.of_object(s, "ingress", ingress.name, 5) if ingress else []
        services = [
            one
            for (kind, _), one in service.items(s).items()
            if kind == "service" and one.resolved.get("ports")
        ]
    ports = [
        (one, port)
        for one in sorted(services, key=lambda one: one.name)[:300]
        for port in one.resolved["ports"]
    ]
    return page(
        context,
        "networks/ingress.html",
        ingress=ingress,
        subnets=subnets,
        history=past,
        bridges=bridges,
        ports=ports,
    )


def called(network: Entry) -> str:
    """A network's name on its hosts."""
    return str(network.body.get("name", network.name))


def subnets_of(s: ReadSession, network: Entry) -> list[dict[str, Any]]:
    """With the blocks that they are, and how much of their addresses is used."""
    blocks = [Held(*one) for one in ipam_store.blocks_of_owner(s, "item", str(network.id))]
    pools = ipam_store.pools_of_blocks(s, [one.block.id for one in blocks if one.pool.kind == "subnet"])
    by_value = {one.value: one for one in blocks if one.pool.kind in ("subnet", "vni")}
    rows = []
    for one in telling.subnets(network):
        block = by_value.get(one.cidr)
        vni = by_value.get(str(one.vni))
        rows.append(
            {
                **one._asdict(), "block_id": block.block.id if block else None,
                "vni_block_id": vni.block.id if vni else None, "pool": pools.get(block.block.id) if block else None,
            }
        )  # fmt: skip
    return rows
