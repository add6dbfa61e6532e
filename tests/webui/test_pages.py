# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages in process: every one answers, empty and with something in it, for each role; forms tell what is wrong and lose nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from crosshost_webui.inventory import service as inventory
from crosshost_webui.state import State
from crosshost_webui.web import pages
from starlette.testclient import TestClient

from tests.browser.places import places
from tests.support import dashboard_seed
from tests.support.dashboard_seed import Seeded

FOR_ADMINS = ("/users", "/secrets", "/settings", "/audit")
EMPTY = (
    "/", "/hosts", "/groups", "/networks", "/endpoints", "/services", "/ingress", "/topology", "/ipam", "/ipam/reconciliation",
    "/runs", "/plans", "/drift", "/schedules", "/revisions", "/inventory/export", "/tokens", "/account", "/api",
)  # fmt: skip
NOBODY = (
    "/hosts/x", "/groups/x", "/networks/overlay/x", "/networks/bridge/a/b", "/networks/other/x", "/endpoints/a/b/c",
    "/services/a/b", "/items/overlay/edit/x", "/items/other/new", "/ipam/pools/999999", "/ipam/blocks/999999", "/runs/999999",
    "/runs/999999/head", "/runs/1/results/999999", "/plans/999999", "/schedules/999999", "/revisions/999999", "/audit/999999",
    "/users/999999", "/secrets/999999", "/nothing/here",
)  # fmt: skip
ODD = (
    "/hosts?after=%00", "/hosts?q=%00%25_%27%22", "/networks?after=x", "/networks?driver=other", "/runs?since=yesterday",
    "/runs?after=x", "/runs?status=other&host=%C3%28", "/audit?since=9999-12-31&until=9999-12-31", "/topology?part=99&rails=99",
    "/ipam/pools/1?at=9223372036854775807&cell=9223372036854775807", "/ipam/pools/1?at=-1", "/ipam?q=1.2.3.4/5/6",
    "/ipam/reconciliation?missing=9223372036854775807", "/runs/2?view=output&at=9999999", "/runs/2?view=other",
    "/runs/2?after=%00", "/revisions/5?against=999999", "/schedules/times?cron=%00", "/items/overlay/new?network=" + "x" * 5000,
    "/sign-in?next=//evil.example", "/runs/99999999999999999999", "/drift?network=a%00b", "/endpoints?host=%00",
)  # fmt: skip


@pytest.fixture
def seeded(state: State) -> Seeded:
    return dashboard_seed.seed(state)


@pytest.mark.parametrize("path", EMPTY)
def test_an_empty_dashboard_says_what_to_do(operator: TestClient, path: str) -> None:
    answer = operator.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.text.startswith("<!doctype html>")


def test_every_page_answers_each_role(seeded: Seeded, as_user: Callable[[str, str], TestClient]) -> None:
    people = {
        "viewer": as_user("vera", "viewer"),
        "operator": as_user("otto", "operator"),
        "admin": as_user("ada", "admin"),
    }
    forms = re.compile(r"^/items/.*/(new|edit)|/new|^/inventory/import$")
    for name, path in places(seeded).items():
        for role, client in people.items():
            answer = client.get(path)
            wanted = 404 if name == "not-found" else 200
            if path.startswith(FOR_ADMINS) and role != "admin":
                wanted = 403
            if role == "viewer" and forms.search(path) and "history" not in path:
                wanted = 403
            assert answer.status_code == wanted, (path, role)
            assert "text/html" in answer.headers["content-type"]


def test_nobody_comes_in_without_signing_in(client: TestClient, seeded: Seeded) -> None:
    for path in places(seeded).values():
        answer = client.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in?next=/")


@pytest.mark.parametrize("path", NOBODY)
def test_what_is_not_there_is_told(admin: TestClient, path: str) -> None:
    answer = admin.get(path)
    assert answer.status_code == 404
    assert "<h1" in answer.text


@pytest.mark.usefixtures("seeded")
def test_odd_questions_are_no_faults(as_user: Callable[[str, str], TestClient]) -> None:
    client = as_user("ada", "admin")
    for path in ODD:
        answer = client.get(path)
        assert answer.status_code in (200, 303, 404, 422), path


def test_htmx_gets_the_part_that_it_shows(seeded: Seeded, viewer_of_seed: TestClient) -> None:
    for path in ("/hosts", "/networks", "/endpoints", "/services", "/runs", f"/runs/{seeded.applied}/head"):
        answer = viewer_of_seed.get(path, headers={"HX-Request": "true"})
        assert answer.status_code == 200
        assert "<html" not in answer.text
        assert "<main" not in answer.text
    refused = viewer_of_seed.get("/hosts/nobody", headers={"HX-Request": "true"})
    assert refused.status_code == 404
    assert "<html" not in refused.text


@pytest.fixture
def viewer_of_seed(as_user: Callable[[str, str], TestClient]) -> TestClient:
    return as_user("vera", "viewer")


@pytest.fixture
def writer(seeded: Seeded, as_user: Callable[[str, str], TestClient]) -> TestClient:
    assert seeded.applied
    return as_user("otto", "operator")


def flash(answer: Any) -> str:
    """What the next page will tell."""
    request = type("Request", (), {"cookies": answer.cookies})
    return " ".join(text for _tone, text in pages._flashes(request))  # type: ignore[arg-type]


def test_a_saved_network_tells_what_it_got(writer: TestClient, state: State) -> None:
    answer = writer.post(
        "/items/overlay/new", data={"name": "new", "subnets.0.subnet": "", "attachable": "1"}
    )
    assert answer.status_code == 303
    assert answer.headers["location"] == "/networks/overlay/new"
    with state.db.read() as s:
        (subnet,) = inventory.one(s, "overlay", "new").resolved["subnets"]
    assert f"the subnet {subnet['subnet']} and the VNI {subnet['vni']}" in flash(answer)


def test_a_refused_form_shows_what_was_written(writer: TestClient) -> None:
    data = {
        "name": "new",
        "mtu": "12",
        "subnets.0.subnet": "10.9.0.0/24",
        "subnets.0.vni": "no",
        "rest": "colour: red",
    }
    answer = writer.post("/items/overlay/new", data=data)
    assert answer.status_code == 422
    for value in ("10.9.0.0/24", 'value="no"', "colour: red"):
        assert value in answer.text
    assert "VNI no: this is no whole number" in answer.text
    answer = writer.post("/items/overlay/new", data={**data, "subnets.0.vni": "9"})
    assert answer.status_code == 422
    assert "f-rest-fault" in answer.text


def test_two_who_change_the_same_object(writer: TestClient, state: State) -> None:
    page = writer.get("/items/overlay/edit/web").text
    expected = re.search(r'name="expected" value="(\d+)"', page)
    assert expected is not None
    data = {
        "name": "web",
        "mtu": "1300",
        "subnets.0.subnet": "",
        "subnets.1.version": "6",
        "attachable": "1",
        "labels": "team: shop",
    }
    first = writer.post("/items/overlay/edit/web", data={**data, "expected": expected[1]})
    assert first.status_code == 303
    second = writer.post("/items/overlay/edit/web", data={**data, "mtu": "1200", "expected": expected[1]})
    assert second.status_code == 412
    assert "Somebody has changed it meanwhile" in second.text
    assert 'value="1200"' in second.text
    with state.db.read() as s:
        assert inventory.one(s, "overlay", "web").body["mtu"] == 1300


def test_removing_tells_why_it_cannot_be(writer: TestClient, state: State) -> None:
    answer = writer.post("/items/overlay/delete/web", data={})
    assert answer.status_code == 303
    assert "web" in flash(answer)
    with state.db.read() as s:
        assert inventory.one(s, "overlay", "web")
    answer = writer.post("/items/endpoint/delete/delta/lan/printer", data={})
    assert answer.headers["location"] == "/endpoints"
    assert "removed" in flash(answer)


def test_what_is_sent_is_kept_as_it_is_when_nothing_changes(writer: TestClient, state: State) -> None:
    """Each form, opened and saved, changes nothing."""
    with state.db.read() as s:
        before = inventory.current(s).id
        items = list(inventory.items(s))
    for kind, name in items:
        page = writer.get(f"/items/{kind}/edit/{name}")
        answer = writer.post(f"/items/{kind}/edit/{name}", data=dict(_fields(page.text)))
        assert answer.status_code == 303, (kind, name, re.findall(r'class="fault"[^>]*>([^<]*)', answer.text))
    with state.db.read() as s:
        assert inventory.current(s).id == before


def _fields(page: str) -> Iterator[tuple[str, str]]:
    """What a browser would send of the page's form, without what is in templates."""
    form = re.sub(r"<template>.*?</template>", "", page[page.index('<form class="card"') :], flags=re.S)
    for tag in re.findall(r"<input[^>]*>", form):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        if name and ('type="checkbox"' not in tag or " checked" in tag):
            yield name[1], _text(value[1] if value else "")
    for name, content in re.findall(r'<textarea[^>]*name="([^"]*)"[^>]*>(.*?)</textarea>', form, flags=re.S):
        yield name, _text(content).replace("\n", "\r\n")
    for name, content in re.findall(r'<select[^>]*name="([^"]*)"[^>]*>(.*?)</select>', form, flags=re.S):
        chosen = re.search(r'<option value="([^"]*)" selected', content) or re.search(
            r'<option value="([^"]*)"', content
        )
        yield name, _text(chosen[1] if chosen else "")


def _text(escaped: str) -> str:
    for name, char in (("&#34;", '"'), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        escaped = escaped.replace(name, char)
    return escaped


@pytest.mark.parametrize(
    ("path", "data", "told"),
    [
        ("/runs", {"playbook": "site", "limit": "-x"}, "is no host or group"),
        ("/runs", {"playbook": "site", "limit": "nobody"}, "nobody"),
        ("/runs", {"playbook": "other"}, "playbook"),
        ("/runs", {"playbook": "site", "forks": "many"}, "forks"),
        ("/runs", {"playbook": "site", "secret.999": "1"}, "999"),
        ("/runs", {"playbook": "site", "variable.site.crosshost_state": "{{ x }}"}, "template"),
        ("/schedules", {"playbook": "site", "name": "x", "cron": "every day"}, "five fields"),
        ("/schedules", {"playbook": "site", "name": " ", "cron": "0 6 * * *"}, "printable"),
        ("/ipam/pools", {"name": "x", "kind": "subnet", "cidr": "10.0.0.0/33"}, "cidr"),
        ("/ipam/pools", {"name": "x", "kind": "subnet", "cidr": "10.5.0.0/16"}, "overlaps"),
        ("/ipam/pools/1/allocate", {"owner": "x", "name": "y", "value": "10.0.0.0/24"}, "10.0.0.0/24"),
        ("/tokens", {"name": "x", "days": "30"}, "scopes"),
        ("/tokens", {"name": "x", "days": "31", "scope.read": "1"}, "choose one"),
        ("/inventory/import", {"mode": "merge"}, "choose a file"),
        ("/inventory/import", {"mode": "merge", "content": "all:\n  hosts: [\n"}, "line"),
    ],
)  # fmt: skip
def test_refusals_are_shown_in_the_form(
    writer: TestClient, path: str, data: dict[str, str], told: str
) -> None:
    answer = writer.post(path, data=data)
    assert answer.status_code in (409, 422)
    assert "<form" in answer.text
    assert told in answer.text


def test_another_site_cannot_post(writer: TestClient) -> None:
    answer = writer.post("/runs", data={"playbook": "site"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403


def test_files_with_their_digest_are_kept_by_browsers(client: TestClient) -> None:
    pinned = client.get(pages.static_url("css/app.css"))
    assert pinned.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert client.get("/static/css/app.css").headers["cache-control"] == "no-cache"


def test_a_forged_message_is_text_or_nothing(operator: TestClient) -> None:
    for value in ("!!!", "bnVsbA==", "W1sib2siLCAiPGI+Il1d", "W1tbXV1d"):
        answer = operator.get("/", headers={"Cookie": f"{operator.headers['cookie']}; {pages.FLASH}={value}"})
        assert answer.status_code == 200
        assert "<b>" not in answer.text.replace("<b>0", "")
