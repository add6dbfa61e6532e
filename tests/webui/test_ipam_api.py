# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of IPAM."""

from __future__ import annotations

from typing import Any

import pytest
from crosshost_webui.ipam.service import Wanted
from crosshost_webui.state import State
from starlette.testclient import TestClient

from tests.webui.support_accounts import make_token
from tests.webui.support_ipam import claimed, item

API = "/api/v1/ipam"
ASK = {"owner": "printers", "name": "p1"}


def allocate(
    client: TestClient, status: int = 201, headers: dict[str, str] | None = None, **values: Any
) -> dict[str, Any]:
    answer = client.post(f"{API}/allocations", json={**ASK, **values}, headers=headers)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refused(answer: Any, status: int, text: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert text in answer.json()["detail"]


def test_allocate_read_release(operator: TestClient) -> None:
    subnet = allocate(operator, purpose="overlay4")
    assert (subnet["value"], subnet["owner"], subnet["who"], subnet["state"]) == (
        "10.0.0.0/24",
        "printers",
        "oli",
        "active",
    )
    inside = operator.get(f"{API}/pools/{subnet['addresses_pool_id']}").json()
    assert (inside["range"], inside["size"], inside["used"], inside["subnet_id"]) == (
        "10.0.0.0/24",
        256,
        2,
        subnet["id"],
    )
    address = allocate(operator, name="p2", within="10.0.0.0/24", value="10.0.0.9", note="upstairs")
    assert (address["value"], address["automatic"], address["note"]) == ("10.0.0.9", False, "upstairs")
    assert allocate(operator, 200, purpose="overlay4")["id"] == subnet["id"]
    one = operator.get(f"{API}/allocations/{address['id']}")
    assert one.json() == address
    where = f"{API}/allocations/{address['id']}"
    refused(operator.delete(where), 428, "send If-Match")
    refused(operator.delete(where, headers={"If-Match": '"x"'}), 412, "read it again")
    assert operator.delete(where, headers={"If-Match": one.headers["etag"]}).status_code == 204
    resting = operator.get(where).json()
    assert (resting["state"], resting["name"]) == ("quarantined", "p2")
    assert resting["free_at"] > resting["released_at"]
    assert operator.delete(where, headers={"If-Match": "*"}).status_code == 204
    refused(operator.get(where), 404, "there is none of this id")


def test_idempotency_key(operator: TestClient) -> None:
    key = {"Idempotency-Key": "one"}
    first = allocate(operator, headers=key, purpose="vni")
    again = operator.post(f"{API}/allocations", json={**ASK, "purpose": "vni"}, headers=key)
    assert (again.status_code, again.json()) == (201, first)
    other = operator.post(f"{API}/allocations", json={**ASK, "purpose": "overlay4"}, headers=key)
    refused(other, 422, "it was used for another request")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "exactly one of pool_id, purpose, within"),
        ({"purpose": "vni", "owner": ""}, "owner:"),
        ({"purpose": "vni", "owner": "a\0b"}, "it has a NUL in it"),
        ({"purpose": "vni", "unknown": 1}, "unknown:"),
        ({"purpose": "vni", "count": 3}, "take a power of two"),
        ({"purpose": "vni", "count": 2**70}, "count:"),
        ({"purpose": "vni", "scope": "' OR 1=1"}, "scope:"),
        ({"purpose": "<script>"}, "purpose '<script>': take one of"),
        ({"within": "x" * 101}, "within:"),
    ],
)
def test_bad_requests(operator: TestClient, values: dict[str, Any], text: str) -> None:
    refused(operator.post(f"{API}/allocations", json={**ASK, **values}), 422, text)


def test_pools(operator: TestClient) -> None:
    made = operator.post(
        f"{API}/pools", json={"name": "site B", "kind": "subnet", "cidr": "100.64.0.0/10", "length": 26}
    )
    assert made.status_code == 201, made.text
    where = f"{API}/pools/{made.json()['id']}"
    assert made.headers["location"] == f"/api/v1/ipam/pools/{made.json()['id']}"
    refused(
        operator.post(f"{API}/pools", json={"name": "C", "kind": "subnet", "cidr": "100.64.0.0/16"}), 422,
        "it overlaps the pool site B (100.64.0.0/10) of the scope cluster",
    )  # fmt: skip
    read = operator.get(where)
    assert read.json() == made.json()
    match = {"If-Match": read.headers["etag"]}
    changed = operator.patch(where, json={"purpose": "network4", "note": "new"}, headers=match)
    assert (changed.json()["purpose"], changed.json()["note"]) == ("network4", "new")
    refused(operator.patch(where, json={"note": "x"}, headers=match), 412, "it is at")
    block = allocate(operator, pool_id=made.json()["id"])
    assert block["value"] == "100.64.0.0/26"
    match = {"If-Match": changed.headers["etag"]}
    refused(
        operator.delete(where, headers=match), 409, "printers has 100.64.0.0/26 of it; release that first"
    )
    operator.delete(f"{API}/allocations/{block['id']}", headers={"If-Match": "*"})
    assert operator.delete(where, headers=match).status_code == 204
    refused(operator.get(where), 404, "there is none of this id")


def test_lists_in_parts(operator: TestClient) -> None:
    for number in range(7):
        allocate(operator, name=f"n{number}", purpose="overlay4")
    (pool,) = [one for one in operator.get(f"{API}/tree").json()["items"] if one["name"] == "networks IPv4"]
    of_printers, of_addresses = {"owner_id": "printers"}, {"kind": "address"}
    for path, query, key in (
        (f"/pools/{pool['id']}/allocations", {}, "value"), ("/allocations", of_printers, "value"),
        ("/pools", of_addresses, "name"),
    ):  # fmt: skip
        found: list[str] = []
        after: dict[str, str] | None = {}
        while after is not None:
            answer = operator.get(f"{API}{path}", params={"limit": 3, **query, **after})
            assert answer.status_code == 200, answer.text
            found += [one[key] for one in answer.json()["items"]]
            after = {"after": answer.json()["next"]} if answer.json()["next"] else None
        assert found == [f"10.0.{number}.0/24" for number in range(7)], path
    free = operator.get(f"{API}/pools/{pool['id']}/free").json()
    assert [one["value"] for one in free["items"]] == ["10.0.7.0-10.255.255.255"]
    refused(operator.get(f"{API}/pools/{pool['id']}/free?after=x"), 422, "begin again without it")
    refused(operator.get(f"{API}/pools/{pool['id']}/free?after={2**63}"), 422, "begin again without it")
    assert operator.get(f"{API}/pools/{pool['id']}/free?after={2**63 - 1}").json()["items"] == []


def test_chain_find_and_reconciliation(operator: TestClient, state: State) -> None:
    block = allocate(operator, purpose="vni")
    chain = operator.get(f"{API}/allocations/{block['id']}/chain").json()
    assert chain == {"allocation": block, "subnet": None, "item": None, "revision_id": None, "seen": []}
    assert operator.get(f"{API}/find?q={block['value']}").json()["items"] == [block]
    with state.db.write() as s:
        claimed(s, item(1), Wanted("vni 0", "vni"))
    missing = operator.get(f"{API}/reconciliation/missing").json()
    assert [one["value"] for one in missing["items"]] == ["1048578"]
    assert operator.get(f"{API}/reconciliation/strays").json() == {"items": [], "next": None}


def test_check_and_rebuild(admin: TestClient) -> None:
    allocate(admin, purpose="vni")
    checked = admin.get(f"{API}/check").json()
    assert checked["ok"]
    assert checked["blocks"] == 1
    assert admin.post(f"{API}/rebuild").json()["free"] == checked["free"]
    refused(admin.get(f"{API}/check?pool_id=999"), 404, "there is none of this id")


def test_who_may(viewer: TestClient, state: State, operator: TestClient) -> None:
    assert viewer.get(f"{API}/pools").status_code == 200
    refused(viewer.post(f"{API}/allocations", json={**ASK, "purpose": "vni"}), 403, "this needs operator")
    refused(operator.get(f"{API}/check"), 403, "this needs admin")
    viewer.headers.pop("cookie")
    for scope, status in (("read", 403), ("inventory:write", 403), ("ipam:write", 201)):
        answer = viewer.post(
            f"{API}/allocations", json={**ASK, "purpose": "vni"}, headers=make_token(state, "oli", [scope])
        )
        assert answer.status_code == status, answer.text
