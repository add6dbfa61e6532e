# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of hosts and groups."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from ..drift import store as drift_store
from ..runs import store as run_store
from ..web import forms
from ..web.access import Viewer
from ..web.pages import is_fragment, page
from ..web.paging import Paged
from ..web.problem import Invalid
from . import history, service, store, store_pages, telling
from .kinds import Items

router = APIRouter()
SHOWN = 15  # of what a host has, before a link to all of it
Text = Annotated[str, Query(max_length=253)]
FACTS = (
    ("kernel", "Kernel"),
    ("python", "Python"),
    ("engines", "Container engines"),
    ("nameservers", "Name servers"),
)


@router.get("/hosts")
def list_hosts(context: Viewer, paging: Paged, q: Text = "") -> Response:
    after = None if paging.after is None else ("host", paging.after)
    with context.db.read() as s:
        found = store.page(s, ["host"], store.Filters(text=q.strip() or None), paging.limit + 1, after)
        names = [one.name for one in found]
        values: dict[str, Any] = {
            "seen": store_pages.looked_at(s, names),
            "endpoints": store_pages.endpoints_by_host(s, names),
            "drift": _counted(drift_store.of_hosts(s, names)),
        }
    more = found[paging.limit - 1].name if len(found) > paging.limit else None
    template = "hosts/table.html" if is_fragment(context.request) else "hosts/list.html"
    return page(context, template, hosts=found[: paging.limit], next=more, q=q, **values)


@router.get("/hosts/{name}")
def show_host(context: Viewer, name: str) -> Response:
    with context.db.read() as s:
        host = service.one(s, "host", name)
        report = store.host_report(s, name)
        differs = drift_store.of_hosts(s, [name])
        here = store_pages.endpoints_by_both(s, [name])
        values: dict[str, Any] = {
            "history": history.of_object(s, "host", name, 5),
            "endpoints": store.page(s, ["endpoint"], store.Filters(host=name), SHOWN, None),
            "endpoint_count": sum(here.values()),
            "runs": run_store.runs_of_host(s, name, 8),
            "seen": store_pages.seen_on(s, name),
        }
        vtep, interface, networks = "", "", []
        try:
            parsed = service.parsed(s)
        except Invalid:
            pass  # what hosts report contradicts the declaration; the overview says so
        else:
            own = parsed.cluster.hosts.get(name)
            if own is not None and name not in parsed.assumed:
                vtep, interface = own.vtep, own.interface
            networks = [
                {
                    **one._asdict(), "endpoints": here.get((name, one.name), 0),
                    "state": state_of(name, one.name, report is not None, differs),
                }
                for one in telling.networks_on(parsed.cluster, service.items(s), name)
            ]  # fmt: skip
    variables = {
        key: value for key, value in host.body.get("variables", {}).items() if key not in ("ansible_host",)
    }
    return page(
        context, "hosts/detail.html", host=host, report=report, facts=_facts(report.body if report else {}),
        drift=differs, vtep=vtep, interface=interface, networks=networks, yaml=forms.dump(variables), **values,
    )  # fmt: skip


@router.get("/groups")
def list_groups(context: Viewer, paging: Paged) -> Response:
    after = None if paging.after is None else ("group", paging.after)
    with context.db.read() as s:
        found = store.page(s, ["group"], store.Filters(), paging.limit + 1, after)
        members = _members(service.items(s), {one.name for one in found})
    more = found[paging.limit - 1].name if len(found) > paging.limit else None
    return page(context, "hosts/groups.html", groups=found[: paging.limit], members=members, next=more)


@router.get("/groups/{name}")
def show_group(context: Viewer, name: str) -> Response:
    with context.db.read() as s:
        group = service.one(s, "group", name)
        members = _members(service.items(s), {name})[name]
        past = history.of_object(s, "group", name, 5)
    return page(
        context, "hosts/group.html", group=group, members=members[:500], count=len(members), history=past,
        yaml=forms.dump(group.body.get("variables", {})),
    )  # fmt: skip


def state_of(host: str, network: str, is_known: bool, differs: Any) -> str:
    """converged, drift, or unknown, of a network on a host."""
    if any(one.host == host and one.subject.partition("/")[0] == network for one in differs):
        return "drift"
    return "converged" if is_known else "unknown"


def _members(items: Items, groups: set[str]) -> dict[str, list[str]]:
    """The hosts that name these groups, in the order of their names."""
    found: dict[str, list[str]] = {name: [] for name in groups}
    for (kind, name), one in items.items():
        if kind == "host":
            for group in one.body.get("groups", ()):
                if group in found:
                    found[group].append(name)
    return {name: sorted(hosts) for name, hosts in found.items()}


def _counted(rows: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in rows:
        found[one.host] = found.get(one.host, 0) + 1
    return found


def _facts(body: dict[str, Any]) -> list[tuple[str, str]]:
    """What a host says of itself. It is the host's own word, so it may be anything."""
    found = []
    for key, label in FACTS:
        value = body.get(key)
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")
        if text:
            found.append((label, text[:300]))
    listed = body.get("interfaces")
    for one in listed[:12] if isinstance(listed, list) else ():
        if isinstance(one, dict) and isinstance(one.get("addresses"), list):
            told = ", ".join(str(address) for address in one["addresses"][:6]) or "no address"
            mtu = f", MTU {one['mtu']}" if one.get("mtu") else ""
            found.append((str(one.get("name", ""))[:40], f"{told}{mtu}"[:300]))
    return found
