# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log: in the transaction of the change, whatever is written into it, read in parts and by filters that are indexed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import crosshost_webui
import pytest
from crosshost_webui.audit import store
from crosshost_webui.audit.models import AuditEntry
from crosshost_webui.audit.store import Actor, Filters
from crosshost_webui.db.base import now
from crosshost_webui.db.engine import Database
from sqlalchemy import event, select, text
from starlette.testclient import TestClient

ANN = Actor("ann", "token ci", "r1", "192.0.2.1")


def write(
    database: Database, count: int = 1, who: Actor = ANN, action: str = "create", kind: str = "host"
) -> None:
    with database.write() as s:
        for number in range(count):
            store.record(s, who, action, kind, number, f"h{number}", None, {"n": number})


def read(
    database: Database, limit: int = 100, before: int | None = None, **filters: object
) -> Sequence[AuditEntry]:
    with database.read() as s:
        return store.entries(s, Filters(**filters), limit, before)  # type: ignore[arg-type]


def test_an_entry_says_who_did_what_to_which(database: Database) -> None:
    with database.write() as s:
        store.record(s, ANN, "change", "host", 7, "h1", {"mtu": 1500}, {"mtu": 9000})
    (found,) = read(database)
    assert (found.who, found.through, found.request_id, found.address) == ANN
    assert (found.action, found.object_type, found.object_id, found.object_name) == (
        "change",
        "host",
        "7",
        "h1",
    )
    assert (found.before, found.after) == ({"mtu": 1500}, {"mtu": 9000})
    assert now() - found.at < timedelta(minutes=1)


def test_what_is_rolled_back_is_not_recorded(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as s:
        store.record(s, ANN, "change", "host", 7, "h1", None, None)
        s.flush()
        raise ZeroDivisionError
    assert not read(database)


def test_hostile_content_is_kept_as_text(database: Database) -> None:
    hostile = "<script>\0 \ud800 \x1b[31m '; DROP TABLE --\\u0000\n"
    with database.write() as s:
        who = Actor(hostile * 50, hostile * 50, hostile * 50, hostile * 50)
        body = {hostile: [hostile, {"a": (hostile, 1.5, True, None)}], "at": now()}
        store.record(s, who, hostile * 50, hostile * 50, hostile * 50, hostile * 50, body, body)
    (found,) = read(database)
    assert "\0" not in found.who and "<script>" in found.who and len(found.who) == 150
    assert found.before is not None and found.before == found.after
    inner = next(value for name, value in found.before.items() if name != "at")
    assert inner[0].startswith("<script> ?") and "\\u0000" in inner[0]


def test_a_huge_object_is_named_and_not_kept(database: Database) -> None:
    with database.write() as s:
        store.record(s, ANN, "import", "inventory", 1, "", None, {"hosts": ["x" * 100] * 10_000, "a": 1})
    (found,) = read(database)
    assert found.after is not None and found.after["truncated"] and found.after["fields"] == ["a", "hosts"]


def test_the_newest_first_in_parts(database: Database) -> None:
    write(database, 7)
    seen: list[str] = []
    before = None
    while part := read(database, 3, before):
        seen += [one.object_id for one in part]
        before = part[-1].id
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


def test_filters(database: Database) -> None:
    write(database, 3)
    write(database, 2, Actor("bob"), "delete", "pool")
    assert len(read(database, who="bob")) == 2
    assert len(read(database, action="create")) == 3
    assert len(read(database, object_type="pool", object_id="1")) == 1
    assert len(read(database, who="bob", action="create")) == 0
    assert len(read(database, who="' OR 1=1 --")) == 0
    with database.write() as s:
        for one in s.scalars(select(AuditEntry)):
            one.at = now() - timedelta(hours=10 - one.id)
        moments = [one.at for one in s.scalars(select(AuditEntry).order_by(AuditEntry.id))]
    assert [one.id for one in read(database, since=moments[1], until=moments[3])] == [3, 2]
    assert read(database, since=now()) == []
    assert len(read(database, until=now())) == 5


def test_no_filter_reads_the_whole_log(database: Database) -> None:
    """Each filter has an index that also gives the order: the plan sorts nothing and scans no table."""
    write(database, 5)
    statements: list[tuple[str, object]] = []
    event.listen(
        database.reader.engine, "before_cursor_execute",
        lambda _c, _cur, sql, values, *_: statements.append((sql, values)),
    )  # fmt: skip
    for filters in ({}, {"who": "ann"}, {"action": "create"}, {"object_type": "host"},
                    {"object_type": "host", "object_id": "1"}, {"since": now() - timedelta(1), "until": now()}):  # fmt: skip
        statements.clear()
        read(database, 2, **filters)
        assert statements
        for sql, values in statements:
            with database.writer.connect() as connection:
                if database.is_sqlite:
                    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)
                else:
                    connection.execute(text("SET enable_seqscan = off"))
                    connection.execute(text("SET enable_bitmapscan = off"))
                    rows = connection.exec_driver_sql(f"EXPLAIN {sql}", values)
                plan = "\n".join(str(tuple(row)) for row in rows)
            # PostgreSQL's `Incremental Sort` is of the entries of one millisecond
            sorts = plan.replace("Incremental Sort", "").replace("Sort Key", "")
            assert "TEMP B-TREE" not in plan and "Sort " not in sorts, (filters, plan)
            if filters:
                assert "SCAN audit_entry'" not in plan and "Seq Scan" not in plan, (filters, plan)


def test_over_the_api(admin: TestClient, operator: TestClient, viewer: TestClient) -> None:
    admin.post("/api/v1/users", json={"name": "bob", "role": "viewer"}, headers={"X-Request-Id": "request-1"})
    (found,) = admin.get("/api/v1/audit?object_type=user&action=create&who=ann&limit=10").json()["items"]
    assert found["object_name"] == "bob" and found["request_id"] == "request-1" and found["before"] is None
    assert admin.get(f"/api/v1/audit/{found['id']}").json() == found
    assert admin.get("/api/v1/audit/999999").status_code == 404
    for wrong in (
        "after=x",
        "after=-1",
        "limit=0",
        "since=yesterday",
        "since=2026-01-01T00:00:00",
        "after=" + "9" * 30,
    ):
        assert admin.get(f"/api/v1/audit?{wrong}").status_code == 422, wrong
    for other in (operator, viewer):
        assert other.get("/api/v1/audit").status_code == 403


def test_nobody_changes_what_is_written() -> None:
    """No statement of the dashboard updates or deletes entries."""
    root = Path(crosshost_webui.__file__).parent
    for path in root.rglob("*.py"):
        if "migrations" in path.parts:
            continue
        source = path.read_text(encoding="utf-8")
        assert "delete(AuditEntry" not in source and "update(AuditEntry" not in source, path
