# SPDX-License-Identifier: GPL-3.0-or-later
"""Revisions of the declaration on both databases: what they tell, how they differ, and the way back."""

from __future__ import annotations

import json

import pytest
from crosshost_webui.audit.models import AuditEntry
from crosshost_webui.db.engine import Database
from crosshost_webui.inventory import history, service, store
from crosshost_webui.inventory.service import Edit
from crosshost_webui.web.problem import Changed, Conflict, Invalid, NotFound, Problem
from sqlalchemy import select

from tests.webui.support_inventory import ANN, HOSTS, WEB, add, change, end, get, names, refused

VAULTED = {"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256\n3131\n"}


@pytest.fixture
def cluster(database: Database) -> Database:
    """Three hosts."""
    change(database, *HOSTS)
    return database


def test_nothing_to_change_makes_no_revision(cluster: Database) -> None:
    with cluster.read() as s:
        before = service.current(s).id
    assert change(cluster, Edit("host", "h1", {"name": "h1", "vtep": "10.98.0.1"})).revision.id == before
    assert change(cluster).changes == ()


@pytest.mark.parametrize(
    ("edit", "kind"),
    [
        (Edit("host", None, {"name": "h1"}), Conflict),
        (Edit("host", "h1", {"vtep": "10.98.0.9"}, 0), Conflict),
        (Edit("host", "h1", {"vtep": "10.98.0.9"}, 7), Changed),
        (Edit("host", "h9", {"vtep": "10.98.0.9"}, 7), Changed),
        (Edit("host", "h9", None), NotFound),
        (Edit("host", None, None), Invalid),
        (Edit("host", "h1", {"name": "h2"}), Invalid),
        (Edit("nonsense", None, {}), Invalid),
    ],
)
def test_edits_of_another_version(cluster: Database, edit: Edit, kind: type[Problem]) -> None:
    assert isinstance(refused(cluster, edit), kind)


def test_an_item_twice_in_one_change(cluster: Database) -> None:
    refused(cluster, Edit("host", "h1", {"vtep": "10.98.0.9"}), Edit("host", "h1", None))


def test_all_of_a_change_or_nothing(cluster: Database) -> None:
    refused(cluster, Edit("overlay", None, WEB), Edit("endpoint", None, end("h1", "nowhere", "a")))
    assert names(cluster, "overlay") == []


def test_revisions_tell_who_what_and_why(cluster: Database) -> None:
    change(cluster, Edit("overlay", None, WEB), message="a network\nfor the shop")
    change(cluster, Edit("overlay", "web", {**WEB, "internal": True}))
    change(cluster, Edit("overlay", "web", None))
    with cluster.read() as s:
        steps = history.of_object(s, "overlay", "web", 10)
        assert [(one.revision.id, one.revision.who) for one in steps] == [(4, "ann"), (3, "ann"), (2, "ann")]
        assert steps[2].revision.message == "a network\\nfor the shop"
        assert steps[2].change.before is None
        assert steps[1].change.before["body"] == WEB and steps[1].change.after["body"]["internal"] is True
        assert steps[0].change.after is None
        assert history.of_object(s, "overlay", "web", 10, steps[1].change.id) == steps[2:]
        assert [one.id for one in store.revisions(s, 10)] == [4, 3, 2, 1]
        with pytest.raises(NotFound):
            history.revision(s, 99)


def test_the_audit_log_has_every_change_and_no_secret(cluster: Database) -> None:
    body = {"name": "h1", "vtep": "10.98.0.1", "variables": {"ansible_become_password": VAULTED}}
    change(cluster, Edit("host", "h1", body))
    change(cluster, Edit("overlay", None, {"name": "web"}))
    with cluster.read() as s:
        found = s.scalars(
            select(AuditEntry).where(AuditEntry.object_type.in_(["host", "overlay"])).order_by(AuditEntry.id)
        ).all()
    host, web = found[-2:]
    assert (host.who, host.action, host.object_name, host.request_id, host.address) == (
        "ann",
        "change",
        "h1",
        "request-1",
        "192.0.2.1",
    )
    assert host.after is not None and host.after["variables"] == {"ansible_become_password": "(encrypted)"}
    assert web.after is not None and web.after["subnets"][0]["subnet"]


def test_a_large_change_is_one_entry_of_the_audit_log(cluster: Database) -> None:
    done = change(
        cluster,
        Edit("overlay", None, WEB),
        *(Edit("endpoint", None, end("h1", "web", f"s{n}")) for n in range(60)),
    )
    with cluster.read() as s:
        found = s.scalars(select(AuditEntry).where(AuditEntry.object_type == "revision")).all()
    assert [one.after for one in found] == [{"overlay added": 1, "endpoint added": 60}]
    assert done.revision.changes == 61


def test_the_difference_of_two_revisions(cluster: Database) -> None:
    add(cluster, "overlay", **WEB)  # 2
    change(cluster, Edit("overlay", "web", {**WEB, "internal": True}))  # 3
    change(cluster, Edit("overlay", "web", WEB))  # 4
    add(cluster, "group", name="rack1")  # 5
    with cluster.read() as s:
        assert history.difference(s, 2, 4) == []
        (one,) = history.difference(s, 2, 3)
        assert one.after is not None and one.after["body"]["internal"] is True
        (back,) = history.difference(s, 3, 2)
        assert (back.before, back.after) == (one.after, one.before)
        assert [(one.kind, one.name) for one in history.difference(s, 0, 5)] == [
            ("group", "crosshost"), ("group", "rack1"), ("host", "h1"), ("host", "h2"), ("host", "h3"), ("overlay", "web"),
        ]  # fmt: skip


def test_back_to_a_revision(cluster: Database) -> None:
    web = add(cluster, "overlay", name="web")
    shop = add(cluster, "endpoint", **end("h1", "web", "shop"))  # 3
    change(
        cluster, Edit("endpoint", shop.name, None), Edit("overlay", "web", None), Edit("host", "h3", None)
    )  # 4
    add(cluster, "overlay", name="other")  # 5
    with cluster.write() as s:
        done = history.revert(s, ANN, 3)
    assert (done.revision.id, done.revision.message) == (6, "Back to revision 3")
    assert names(cluster, "overlay") == ["web"] and names(cluster, "host") == ["h1", "h2", "h3"]
    again = get(cluster, "endpoint", shop.name)
    assert (again.id, again.resolved) == (shop.id, shop.resolved)
    assert get(cluster, "overlay", "web").resolved["subnets"][0]["vni"] == web.resolved["subnets"][0]["vni"]
    with cluster.write() as s:
        history.revert(s, ANN, 0)
    with cluster.read() as s:
        assert service.items(s) == {}
    with cluster.write() as s:
        assert history.revert(s, ANN, 6).revision.id == 8


def test_ids_are_nobody_else_s_later(cluster: Database) -> None:
    last = add(cluster, "group", name="last")
    change(cluster, Edit("group", "last", None))
    assert add(cluster, "group", name="next").id > last.id


def test_snapshots_are_what_the_inventory_was(cluster: Database) -> None:
    add(cluster, "overlay", **WEB)  # 2
    with cluster.read() as s:
        _revision, packed = service.listing(s)
    change(cluster, Edit("overlay", "web", None), Edit("host", "h3", None))  # 3
    with cluster.write() as s:
        digest, listed = service.snapshot(s, 2)
        assert listed["crosshost"]["vars"]["crosshost_networks"] == [WEB]
        assert listed["crosshost"]["hosts"] == ["h1", "h2", "h3"]
        assert service.snapshot(s, 3)[0] != digest
        assert service.snapshot(s, 0)[1] == {"_meta": {"hostvars": {}}, "all": {}}
    with cluster.write() as s:
        assert service.snapshot(s, 2) == (digest, listed)
    import gzip

    assert json.loads(gzip.decompress(packed)) == listed
    with cluster.write() as s, pytest.raises(NotFound):
        service.snapshot(s, 99)
