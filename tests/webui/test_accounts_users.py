# SPDX-License-Identifier: GPL-3.0-or-later
"""Users: names, the last admin, versions, and that two administrators at once cannot lock everybody out."""

from __future__ import annotations

import threading

import pytest
from crosshost_webui.accounts import store, users
from crosshost_webui.accounts.models import User
from crosshost_webui.audit.models import AuditEntry
from crosshost_webui.audit.store import Actor
from crosshost_webui.db.base import now
from crosshost_webui.db.engine import Database
from crosshost_webui.web.problem import Conflict, Invalid
from sqlalchemy import select
from starlette.testclient import TestClient

TEST = Actor("test")


pytestmark = pytest.mark.usefixtures("cheap_passwords")


def add(database: Database, name: str, role: str = "admin", stored: str = "a hash") -> int:
    with database.write() as s:
        return users.create(s, TEST, name, role, stored).id


@pytest.mark.parametrize(
    "name", ["", " ", "-ann", ".ann", "an n", "ann\n", "ann\0", "änn", "a" * 151, "<b>", "../x", "ann'"]
)
def test_names_that_are_refused(name: str) -> None:
    if name == "ann\n":
        assert users.normal_name(name) == "ann"  # a line's end is not part of what was typed
        return
    with pytest.raises(Invalid) as told:
        users.normal_name(name)
    assert "name" in told.value.fields and len(told.value.detail) < 300


def test_names_differ_by_more_than_the_size_of_letters(database: Database) -> None:
    add(database, "Ann")
    with pytest.raises(Conflict, match="user ann"):
        add(database, "ANN")


def test_the_last_local_admin_stays(database: Database) -> None:
    first = add(database, "ann")
    with database.write() as s:  # neither can sign in by password
        store.add_user(s, User(name="oda", role="admin", source="oidc", subject="i o", created_at=now()))
        users.create(s, TEST, "bot", "admin", None)

    def attempts(user_id: int) -> list[str]:
        refused = []
        for what in ("role", "disabled", "delete"):
            try:
                with database.write() as s:
                    user = users.to_change(s, user_id)
                    if what == "role":
                        users.change(s, TEST, user, role="operator")
                    elif what == "disabled":
                        users.change(s, TEST, user, disabled=True)
                    else:
                        users.delete(s, TEST, user)
                    raise ZeroDivisionError  # only tried
            except Conflict:
                refused.append(what)
            except ZeroDivisionError:
                pass
        return refused

    assert attempts(first) == ["role", "disabled", "delete"]
    second = add(database, "bob")
    assert attempts(first) == attempts(second) == []


def test_two_admins_who_disable_each_other_leave_one(database: Database) -> None:
    ids = [add(database, "ann"), add(database, "bob")]
    for _ in range(5):
        barrier = threading.Barrier(2)
        refused: list[Exception] = []

        def disable(
            user_id: int, barrier: threading.Barrier = barrier, refused: list[Exception] = refused
        ) -> None:
            barrier.wait()
            try:
                with database.write() as s:
                    users.change(s, TEST, users.to_change(s, user_id), disabled=True)
            except Conflict as error:
                refused.append(error)

        threads = [threading.Thread(target=disable, args=(one,)) for one in ids]
        for one in threads:
            one.start()
        for one in threads:
            one.join(60)
        assert len(refused) == 1
        with database.write() as s:
            for one in ids:
                users.change(s, TEST, users.to_change(s, one), disabled=False)


def test_the_providers_groups_give_the_role(database: Database) -> None:
    with database.write() as s:
        user = store.add_user(
            s, User(name="oda", role="viewer", source="oidc", subject="i o", created_at=now())
        )
        with pytest.raises(Conflict, match="provider"):
            users.change(s, TEST, user, role="admin")
        with pytest.raises(Conflict, match="provider"):
            users.set_password(s, TEST, user, "a hash")
        users.change(s, TEST, user, role="viewer", disabled=True)


def test_a_change_that_changes_nothing_is_not_recorded(database: Database) -> None:
    user_id = add(database, "ann")
    with database.write() as s:
        users.change(s, TEST, users.to_change(s, user_id), "admin", "", False)
    with database.read() as s:
        assert [one.action for one in s.scalars(select(AuditEntry))] == ["create"]


def test_changes_over_the_api_need_the_version_that_was_read(admin: TestClient) -> None:
    body = {"name": "Bob", "role": "viewer", "display_name": "Bob Jones", "password": "plum-orbit-lantern"}
    made = admin.post("/api/v1/users", json=body)
    assert made.status_code == 201
    assert made.json()["name"] == "bob" and made.json()["has_password"] is True
    path = f"/api/v1/users/{made.json()['id']}"
    tag = made.headers["etag"]
    assert admin.get(path).headers["etag"] == tag
    assert admin.patch(path, json={"role": "operator"}).status_code == 428
    assert admin.patch(path, json={"role": "operator"}, headers={"If-Match": '"other"'}).status_code == 412
    changed = admin.patch(path, json={"role": "operator"}, headers={"If-Match": tag})
    assert changed.status_code == 200 and changed.json()["role"] == "operator"
    assert admin.patch(path, json={"disabled": True}, headers={"If-Match": tag}).status_code == 412
    assert admin.delete(path, headers={"If-Match": tag}).status_code == 412
    assert admin.put(f"{path}/password", json={"password": "quince-harbour-violin"}).status_code == 204
    assert admin.delete(path, headers={"If-Match": changed.headers["etag"]}).status_code == 412
    assert admin.delete(path, headers={"If-Match": "*"}).status_code == 204
    assert admin.get(path).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"name": "bob"}, {"name": "bob", "role": "root"}, {"name": "bob", "role": "viewer", "password": "short"},
        {"name": "bob", "role": "viewer", "is_admin": True}, {"name": "b\u0000b", "role": "viewer"},
        {"name": 7, "role": "viewer"}, [], None,
    ],
)  # fmt: skip
def test_what_is_malformed_is_named(admin: TestClient, body: object) -> None:
    answer = admin.post("/api/v1/users", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"]


def test_a_taken_name_is_a_conflict(admin: TestClient) -> None:
    assert admin.post("/api/v1/users", json={"name": "ANN", "role": "viewer"}).status_code == 409


def test_the_list_comes_in_parts(admin: TestClient) -> None:
    for number in range(5):
        admin.post("/api/v1/users", json={"name": f"u{number}", "role": "viewer"})
    names, after = [], ""
    for _ in range(10):
        part = admin.get(f"/api/v1/users?limit=2{after}").json()
        names += [one["name"] for one in part["items"]]
        if part["next"] is None:
            break
        after = f"&after={part['next']}"
    assert names == ["ann", "u0", "u1", "u2", "u3", "u4"]
