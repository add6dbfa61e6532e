# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory's API: objects with ETag and If-Match, changes, revisions, the inventory for Ansible, files."""

from __future__ import annotations

import json
from typing import Any

import pytest
from crosshost_webui.state import State
from starlette.testclient import TestClient

from tests.webui.support_accounts import make_token, make_user

API = "/api/v1"
WEB = {"name": "web", "subnets": [{"version": 4}, {"version": 6}]}
BODIES: dict[str, dict[str, Any]] = {
    "hosts": {"name": "h9", "vtep": "10.98.0.9"},
    "groups": {"name": "rack1"},
    "networks/overlay": WEB,
    "networks/bridge": {"name": "front", "host": "h1"},
    "networks/macvlan": {"name": "lan", "parent": "eth0", "subnets": [{"subnet": "192.168.1.0/24"}]},
    "ingress": {},
    "gwbridge": {"host": "h1", "subnet": "172.29.0.0/16"},
    "endpoints": {"host": "h1", "network": "old", "sandbox": "a", "create": True},
    "services": {"name": "api", "network": "old"},
}
NAMES = {
    "hosts": "h9", "groups": "rack1", "networks/overlay": "web", "networks/bridge": "h1/front", "networks/macvlan": "lan",
    "ingress": "ingress", "gwbridge": "h1/xh_gwbridge", "endpoints": "h1/old/a", "services": "old/api",
}  # fmt: skip


@pytest.fixture
def api(operator: TestClient) -> TestClient:
    """With two hosts and a network."""
    edits = [{"kind": "host", "body": {"name": f"h{n}", "vtep": f"10.98.0.{n}"}} for n in (1, 2)]
    edits.append({"kind": "overlay", "body": {"name": "old", "subnets": [{"subnet": "10.61.0.0/24"}]}})
    assert operator.post(f"{API}/changes", json={"edits": edits, "message": "the first"}).status_code == 201
    return operator


@pytest.mark.parametrize("path", BODIES)
def test_the_life_of_an_object(api: TestClient, path: str) -> None:
    added = api.post(f"{API}/{path}", json=BODIES[path], params={"message": "why"})
    assert added.status_code == 201, added.text
    assert (added.json()["name"], added.headers["location"]) == (NAMES[path], f"{API}/{path}/{NAMES[path]}")
    assert api.post(f"{API}/{path}", json=BODIES[path]).status_code == 409
    where, tag = added.headers["location"], added.headers["etag"]
    found = api.get(where)
    assert found.json() == added.json() and found.headers["etag"] == tag
    assert api.get(where, headers={"If-None-Match": tag}).status_code == 304
    assert NAMES[path] in [one["name"] for one in api.get(f"{API}/{path}").json()["items"]]

    body = (
        {**BODIES[path], "labels": {"a": "b"}}
        if path not in ("groups", "gwbridge", "endpoints", "services")
        else BODIES[path]
    )
    if path == "groups":
        body = {**body, "variables": {"a": 1}}
    elif path == "gwbridge":
        body = {**body, "mtu": 1400}
    elif path in ("endpoints", "services"):
        body = {**body, "aliases": ["b"]}
    assert api.put(where, json=body).status_code == 428
    assert api.put(where, json=body, headers={"If-Match": '"999"'}).status_code == 412
    changed = api.put(where, json=body, headers={"If-Match": tag})
    assert changed.status_code == 200, changed.text
    assert changed.headers["etag"] != tag and changed.json()["body"] != added.json()["body"]
    assert api.put(where, json=body, headers={"If-Match": tag}).status_code == 412

    assert api.delete(where).status_code == 428
    assert api.delete(where, headers={"If-Match": tag}).status_code == 412
    assert api.delete(where, headers={"If-Match": changed.headers["etag"]}).status_code == 204
    for answer in (api.get(where), api.put(where, json=body), api.delete(where)):
        assert answer.status_code == 404 and answer.headers["content-type"] == "application/problem+json"
    steps = api.get(f"{API}/history/{added.json()['kind']}/{NAMES[path]}").json()["items"]
    assert [one["change"]["action"] for one in steps] == ["remove", "change", "add"]
    assert steps[2]["revision"]["message"] == "why"


def test_a_name_in_the_address_and_another_in_the_body(api: TestClient) -> None:
    answer = api.put(f"{API}/hosts/h1", json={"name": "h2"}, headers={"If-Match": "*"})
    assert answer.status_code == 422 and "names stay" in answer.json()["detail"]
    assert (
        api.put(f"{API}/hosts/h1", json={"vtep": "10.98.0.8"}, headers={"If-Match": "*"}).status_code == 200
    )


def test_networks_of_all_drivers_in_parts(api: TestClient) -> None:
    for path in ("networks/overlay", "networks/bridge", "networks/macvlan"):
        assert api.post(f"{API}/{path}", json=BODIES[path]).status_code == 201
    found, after = [], None
    while True:
        part = api.get(f"{API}/networks", params={"limit": 1, **({"after": after} if after else {})}).json()
        found += [(one["kind"], one["name"]) for one in part["items"]]
        after = part["next"]
        if after is None:
            break
    assert found == [("bridge", "h1/front"), ("macvlan", "lan"), ("overlay", "old"), ("overlay", "web")]
    only = api.get(f"{API}/networks", params={"driver": "overlay", "q": "WE"}).json()["items"]
    assert [one["name"] for one in only] == ["web"]
    assert api.get(f"{API}/networks", params={"driver": "x"}).status_code == 422


def test_lists_by_host_and_network(api: TestClient) -> None:
    for host in ("h1", "h2"):
        assert (
            api.post(f"{API}/endpoints", json={"host": host, "network": "old", "sandbox": "a"}).status_code
            == 201
        )
    assert [one["name"] for one in api.get(f"{API}/endpoints", params={"host": "h2"}).json()["items"]] == [
        "h2/old/a"
    ]
    assert len(api.get(f"{API}/endpoints", params={"network": "old"}).json()["items"]) == 2


def test_the_same_request_twice_allocates_once(api: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = api.post(f"{API}/networks/overlay", json=WEB, headers=headers)
    again = api.post(f"{API}/networks/overlay", json=WEB, headers=headers)
    assert (again.status_code, again.json(), again.headers["etag"]) == (
        201,
        first.json(),
        first.headers["etag"],
    )
    assert again.headers["idempotency-replayed"] == "true"
    assert api.post(f"{API}/networks/overlay", json={"name": "x"}, headers=headers).status_code == 422


def test_a_change_of_several_and_its_rehearsal(api: TestClient) -> None:
    sent = {
        "message": "the shop",
        "edits": [
            {"kind": "overlay", "body": WEB},
            {"kind": "endpoint", "body": {"host": "h1", "network": "web", "sandbox": "a"}},
            {"kind": "overlay", "name": "old", "body": None, "expected": 1},
        ],
    }
    rehearsed = api.post(f"{API}/validate", json=sent).json()
    assert api.get(f"{API}/networks").json()["items"][0]["name"] == "old"
    done = api.post(f"{API}/changes", json=sent)
    assert done.status_code == 201
    told = done.json()
    assert [one["action"] for one in told["changes"]] == ["add", "add", "remove"]
    assert told["changes"][1]["after"]["resolved"]["ip"] == rehearsed["changes"][1]["after"]["resolved"]["ip"]
    assert told["revision"]["id"] == rehearsed["revision"]["id"] == 2
    assert api.post(f"{API}/changes", json=sent).status_code == 409
    assert api.post(f"{API}/changes", json={"edits": []}).status_code == 422
    assert (
        api.post(
            f"{API}/changes",
            json={"edits": [{"kind": "overlay", "name": "web", "body": None, "expected": 1}]},
        ).status_code
        == 412
    )
    assert (
        api.post(
            f"{API}/changes", json={"edits": [{"kind": "overlay", "name": "gone", "body": None}]}
        ).status_code
        == 404
    )


def test_revisions(api: TestClient) -> None:
    api.post(f"{API}/networks/overlay", json=WEB)
    listed = api.get(f"{API}/revisions", params={"limit": 1}).json()
    assert [one["id"] for one in listed["items"]] == [2]
    assert [
        one["message"]
        for one in api.get(f"{API}/revisions", params={"after": listed["next"]}).json()["items"]
    ] == ["the first"]
    assert api.get(f"{API}/revisions/1").json()["changes"] == 4
    first = api.get(f"{API}/revisions/1/changes", params={"limit": 3}).json()
    rest = api.get(f"{API}/revisions/1/changes", params={"after": first["next"]}).json()
    assert len(first["items"]) == 3 and len(rest["items"]) == 1 and rest["next"] is None
    assert [one["name"] for one in api.get(f"{API}/revisions/1/difference").json()["changes"]] == ["web"]
    assert (
        api.get(f"{API}/revisions/2/difference", params={"to": 1}).json()["changes"][0]["action"] == "remove"
    )
    done = api.post(f"{API}/revisions/1/revert", json={"message": "no shop"})
    assert done.status_code == 201 and done.json()["revision"]["message"] == "no shop"
    for path in ("/9", "/9/changes", "/9/difference", "/1/difference?to=9"):
        assert api.get(f"{API}/revisions{path}").status_code == 404
    assert api.post(f"{API}/revisions/9/revert", json={}).status_code == 404


def test_the_inventory_for_ansible(api: TestClient, viewer: TestClient) -> None:
    found = viewer.get(f"{API}/inventory")
    assert found.headers["content-encoding"] == "gzip" and found.headers["x-crosshost-revision"] == "1"
    listing = found.json()
    assert listing["crosshost"]["hosts"] == ["h1", "h2"]
    assert listing["_meta"]["hostvars"]["h1"] == {"crosshost_vtep": "10.98.0.1"}
    plain = viewer.get(f"{API}/inventory", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.json() == listing
    tag = {"If-None-Match": found.headers["etag"]}
    assert viewer.get(f"{API}/inventory", headers=tag).status_code == 304
    api.post(f"{API}/networks/overlay", json=WEB)
    again = viewer.get(f"{API}/inventory", headers=tag)
    assert again.status_code == 200 and len(again.json()["crosshost"]["vars"]["crosshost_networks"]) == 2


def test_files(api: TestClient) -> None:
    exported = api.get(f"{API}/inventory/export")
    assert exported.headers["content-disposition"] == 'attachment; filename="crosshost-revision-1.yml"'
    assert exported.headers["content-type"].startswith("application/yaml")
    file = {
        "file": (
            "hosts.yml",
            exported.text.replace("h2:", "h3:").replace("h2:", "h3:").replace("10.98.0.2", "10.98.0.3"),
        )
    }
    preview = api.post(f"{API}/inventory/import", files=file, data={"mode": "replace", "dry_run": "true"})
    assert preview.status_code == 200, preview.text
    assert (preview.json()["added"], preview.json()["removed"]) == (["host h3"], ["host h2"])
    assert api.get(f"{API}/hosts/h3").status_code == 404
    done = api.post(f"{API}/inventory/import", files=file, data={"mode": "replace", "message": "moved"})
    assert done.json()["revision"]["message"] == "moved" and api.get(f"{API}/hosts/h3").status_code == 200
    bad = api.post(f"{API}/inventory/import", files={"file": ("a.yml", "all: [")})
    assert bad.status_code == 422 and "line" in bad.json()["detail"]
    assert api.post(f"{API}/inventory/import", files=file, data={"mode": "x"}).status_code == 422
    assert api.post(f"{API}/inventory/import", data={"mode": "merge"}).status_code == 422
    assert api.get(f"{API}/inventory/export", params={"revision": 99}).status_code == 404
    assert "h2" in api.get(f"{API}/inventory/export", params={"revision": 1}).text


def test_a_host_s_view(api: TestClient) -> None:
    found = api.get(f"{API}/hosts/h1/view").json()
    assert (found["host"], found["data_path_address"]) == ("h1", "10.98.0.1")
    assert api.get(f"{API}/hosts/h9/view").status_code == 404


def test_who_may(api: TestClient, viewer: TestClient, state: State) -> None:
    assert viewer.post(f"{API}/hosts", json=BODIES["hosts"]).status_code == 403
    assert (
        viewer.post(
            f"{API}/validate", json={"edits": [{"kind": "host", "body": BODIES["hosts"]}]}
        ).status_code
        == 403
    )
    make_user(state, "tim", "operator")
    anonymous = TestClient(api.app, base_url="http://testserver")
    assert anonymous.get(f"{API}/inventory").status_code == 401
    read, write = make_token(state, "tim", ["read"]), make_token(state, "tim", ["inventory:write", "read"])
    assert anonymous.get(f"{API}/inventory", headers=read).status_code == 200
    assert anonymous.post(f"{API}/hosts", json=BODIES["hosts"], headers=read).status_code == 403
    assert anonymous.post(f"{API}/hosts", json=BODIES["hosts"], headers=write).status_code == 201


def test_only_admins_set_what_the_server_itself_runs(
    api: TestClient, admin: TestClient, state: State
) -> None:
    body = {"name": "h9", "vtep": "10.98.0.9", "variables": {"ansible_ssh_executable": "/bin/sh"}}
    assert api.post(f"{API}/hosts", json=body).status_code == 403
    anonymous = TestClient(api.app, base_url="http://testserver")
    write = make_token(state, "ann", ["inventory:write", "read"])
    assert anonymous.post(f"{API}/hosts", json=body, headers=write).status_code == 403
    assert admin.post(f"{API}/hosts", json=body).status_code == 201


@pytest.mark.parametrize(
    "content",
    [
        '{"name": NaN}', '{"name": Infinity}', '{"name": "a\\u0000"}', '{"name": "\\ud800"}', "[]", "5", '"x"', "null", "", "{", "[" * 100_000,
        '{"name": "x", "a": ' + "[" * 50 + "]" * 50 + "}", '{"name": "x", "a": 1' + "0" * 5000 + "}", '{"name": "' + "x" * 1_100_000 + '"}',
        '{"name": "<script>alert(1)</script>"}', '{"name": "{{ 7*7 }}"}', '{"name": {"a": 1}}', '{"name": "x", "labels": {"a": [[[]]]}}', b'{"name": "\xff"}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["hosts", "networks/overlay", "endpoints", "gwbridge"])
def test_hostile_bodies(api: TestClient, path: str, content: Any) -> None:
    answer = api.post(f"{API}/{path}", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 413, 422), (answer.status_code, answer.text[:300])
    assert answer.json()["detail"].isprintable() and len(answer.json()["detail"]) < 2000
    assert len(api.get(f"{API}/revisions").json()["items"]) == 1


@pytest.mark.parametrize(
    "path",
    ["/hosts/%00", "/hosts/a%0ab", "/networks?after=%00", "/endpoints?q=%00", "/networks?q=%25", "/hosts?limit=0", "/revisions?after=x", "/history/host/%00", "/history/x/y", "/revisions/99999999999999999999"],
)  # fmt: skip
def test_hostile_addresses(api: TestClient, path: str) -> None:
    answer = api.get(f"{API}{path}")
    assert answer.status_code in (200, 404, 422), answer.text
    json.loads(answer.text)


def test_the_description_names_the_options(viewer: TestClient) -> None:
    paths = viewer.get(f"{API}/openapi.json").json()["paths"]
    body = paths[f"{API}/networks/overlay"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["examples"] and "control_plane" in body["properties"]
    for path in BODIES:
        assert paths[f"{API}/{path}"]["post"]["responses"].keys() >= {"201", "401", "403", "409", "422"}
        assert paths[f"{API}/{path}/{{name}}"]["put"]["responses"].keys() >= {"200", "404", "412", "428"}
