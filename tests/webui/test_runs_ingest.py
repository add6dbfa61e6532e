# SPDX-License-Identifier: GPL-3.0-or-later
"""Records come in: once each, in order, without what no database takes, and the counters agree with them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from crosshost_webui import server
from crosshost_webui.db.base import now
from crosshost_webui.inventory import store as inventory
from crosshost_webui.runs import events, eventstore, service, store
from crosshost_webui.runs.models import RunHost
from crosshost_webui.settings import Settings
from crosshost_webui.state import State
from crosshost_webui.web.problem import Conflict, Forbidden, Invalid, NotFound
from hypothesis import given
from hypothesis import strategies as st

from tests.webui.support_runs import ANN, AT, Record, a_record, ingest, recorded, row, told


@pytest.fixture
def any_state(empty_url: str, tmp_path: Path) -> Iterator[State]:
    """A server's state on either database."""
    found = server.make_state(Settings(data_dir=tmp_path / "data", database=empty_url, executors=0))
    yield found
    found.close()


def counters(state: State, run_id: int) -> dict[str, dict[str, int]]:
    with state.db.read() as s:
        found: list[RunHost] = list(store.hosts(s, run_id, 1000))
    return {one.host: {name: getattr(one, name) for name in eventstore.COUNTERS} for one in found}


def counted(record: Record) -> dict[str, dict[str, int]]:
    """The same by going through the record."""
    found: dict[str, Counter[str]] = {}
    for event in record.events:
        if event["kind"] == "result" and "item" not in event:
            status = "ok" if event.get("ignored") else event["status"]
            found.setdefault(event["host"], Counter())[status] += 1
    return {host: {name: one[name] for name in eventstore.COUNTERS} for host, one in found.items()}


def test_a_whole_record(any_state: State) -> None:
    record = a_record()
    run_id = recorded(any_state)
    assert ingest(any_state, run_id, record.events) == len(record.events)
    run = row(any_state, run_id)
    assert run.status == "ok" and run.ended_at is not None and run.counts == {"ok": 6}
    assert counters(any_state, run_id) == counted(record)
    with any_state.db.read() as s:
        assert [one.name for one in eventstore.tasks(s, run_id)] == ["task 1", "task 2", "task 3"]
        assert all(one.ended_at for one in store.hosts(s, run_id, 10))


def test_batches_that_come_twice_torn_and_in_disorder(any_state: State) -> None:
    """Whatever way a record comes, it is stored once and whole."""
    chance = random.Random(4)  # noqa: S311
    record = a_record(hosts=[f"h{n}" for n in range(7)], tasks=5)
    run_id = recorded(any_state)
    last, sent = 0, 0
    while last < len(record.events):
        begin = max(0, last - chance.randrange(4))
        batch = record.events[begin : begin + 1 + chance.randrange(9)]
        chance.shuffle(batch)
        before = last
        last = ingest(any_state, run_id, batch)
        assert last == max(before, begin + len(batch))
        sent += len(batch)
    assert sent > len(record.events)
    assert counters(any_state, run_id) == counted(record)
    with any_state.db.read() as s:
        stored = [one.seq for one in eventstore.tail(s, run_id, 0, 1000)]
    kept = ("play", "task", "result", "warning", "stats")
    assert stored == [event["seq"] for event in record.events if event["kind"] in kept]


def test_nothing_is_taken_after_a_gap(any_state: State) -> None:
    record = a_record()
    run_id = recorded(any_state)
    assert ingest(any_state, run_id, [*record.events[:3], *record.events[4:]]) == 3
    assert ingest(any_state, run_id, record.events[5:]) == 3
    assert ingest(any_state, run_id, record.events[3:]) == len(record.events)
    assert counters(any_state, run_id) == counted(record)


def test_items_of_loops_and_ignored_failures(any_state: State) -> None:
    record = Record().add("start").task(1)
    record.result(1, "web1", "changed", item="a", body={"rc": 0}).result(1, "web1", "failed", item="b")
    record.result(1, "web1", "failed", ignored=True, body={"msg": "no"}).end(web1={"ok": 1})
    run_id = recorded(any_state)
    ingest(any_state, run_id, record.events)
    assert counters(any_state, run_id)["web1"] == {
        "ok": 1,
        "changed": 0,
        "failed": 0,
        "unreachable": 0,
        "skipped": 0,
    }
    with any_state.db.read() as s:
        found = [(one.kind, one.status, events.unpack(one.body)) for one in eventstore.results(s, run_id, 10)]
        cells = list(eventstore.cells(s, run_id, ["web1"]))
    assert found == [
        ("item", "changed", {"item": "a", "rc": 0}),
        ("item", "failed", {"item": "b"}),
        ("result", "ignored", {"msg": "no"}),
    ]
    assert [(one.task, one.status) for one in cells] == [(1, "ignored")]


@pytest.mark.parametrize(
    ("stats", "status"),
    [
        ({"web1": {"failed": 1}, "web2": {"unreachable": 1}}, "failed"),
        ({"web1": {"unreachable": 1}}, "unreachable"),
        ({"web1": {"ok": 1}}, "ok"),
    ],
)
def test_how_a_recorded_run_ends(any_state: State, stats: dict[str, dict[str, int]], status: str) -> None:
    run_id = recorded(any_state)
    ingest(any_state, run_id, Record().add("start").end(**stats).events)
    assert row(any_state, run_id).status == status


def test_a_recorded_run_without_statistics_is_lost(any_state: State) -> None:
    run_id = recorded(any_state)
    ingest(any_state, run_id, Record().add("start").task(1).result(1, "web1").add("end").events)
    run = row(any_state, run_id)
    assert run.status == "lost" and "interrupted" in run.explanation


def test_hostile_texts_are_stored_as_texts(any_state: State) -> None:
    """NUL and half characters have no place in a database; everything else stays what it is."""
    bad = "<script>alert(1)</script>\x1b[31m\0\ud800'\"; DROP TABLE run; --"
    record = Record().add("start").add("play", name=bad).task(1, name=bad)
    record.result(1, "web1", body={"msg": bad, bad: [bad, {"deep": bad}], "number": float("nan")}).add(
        "warning", text=bad
    )
    record.end(web1={"ok": 1})
    run_id = recorded(any_state)
    ingest(any_state, run_id, record.events)
    clean = bad.replace("\0", "\ufffd").replace("\ud800", "\ufffd")
    with any_state.db.read() as s:
        assert eventstore.tasks(s, run_id)[0].name == clean
        body = events.unpack(eventstore.results(s, run_id, 1)[0].body)
        warning = events.unpack(eventstore.messages(s, run_id, ("warning",), 1)[0].body)
    assert body == {"msg": clean, clean: [clean, {"deep": clean}], "number": "nan"}
    assert warning == {"text": clean}


def test_a_megabyte_is_cut(any_state: State) -> None:
    record = Record().add("start").task(1).result(1, "web1", body={"msg": "x" * 2**20}).end(web1={"ok": 1})
    run_id = recorded(any_state)
    ingest(any_state, run_id, record.events)
    with any_state.db.read() as s:
        body = events.unpack(eventstore.results(s, run_id, 1)[0].body)
    assert body["truncated"] is True and len(body["msg"]) <= events.BODY_MOST


@pytest.mark.parametrize(
    "event",
    [
        {}, {"seq": "1"}, {"seq": True, "kind": "end", "at": AT}, {"seq": 0, "kind": "end", "at": AT},
        {"seq": 2**63, "kind": "end", "at": AT}, {"seq": 1, "kind": "explode", "at": AT},
        {"seq": 1, "kind": "end"}, {"seq": 1, "kind": "end", "at": -1}, {"seq": 1, "kind": "end", "at": 10**18},
        {"seq": 1, "kind": "task", "at": AT, "task": 0}, {"seq": 1, "kind": "task", "at": AT, "task": "1"},
        {"seq": 1, "kind": "result", "at": AT, "task": 1, "host": "", "status": "ok"},
        {"seq": 1, "kind": "result", "at": AT, "task": 1, "host": "a\0", "status": "ok"},
        {"seq": 1, "kind": "result", "at": AT, "task": 1, "host": "web1", "status": "great"},
    ],
)  # fmt: skip
def test_events_that_have_not_the_form(state: State, event: dict[str, Any]) -> None:
    run_id = recorded(state)
    with pytest.raises(Invalid, match="event"):
        ingest(state, run_id, [event])
    assert row(state, run_id).last_seq == 0


@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
))  # fmt: skip
def test_any_body_can_be_stored_and_read(body: Any) -> None:
    found = events.unpack(events.pack({"msg": body}))
    assert events.clean_value(found) == found
    assert "\0" not in str(found)


def test_reports_and_what_was_seen(any_state: State) -> None:
    report = {
        "interfaces": [{"name": "eth0", "mtu": 1500, "addresses": ["192.0.2.1"]}],
        "default": ["192.0.2.1"],
    }
    items = [
        ["web", "shop", "ip", "address", "10.0.1.11"],
        ["web", "x", "ip", "address", "y" * 65],
        ["short"],
        "no",
    ]
    record = Record().add("start").add("report", host="web1", body=report)
    record.add("seen", host="web1", module="endpoint", items=items)
    run_id = recorded(any_state)
    ingest(any_state, run_id, record.events)
    with any_state.db.read() as s:
        assert inventory.reports(s, ["web1"]) == {"web1": report}
        assert [(one.network, one.name, one.value) for one in inventory.seen(s, "web1")] == [
            ("web", "shop", "10.0.1.11")
        ]


def test_who_registers_a_run_records_it(state: State) -> None:
    run_id = recorded(state)
    with state.db.write() as s:
        assert service.register(s, ANN, False, told()).id == run_id
        with pytest.raises(Forbidden, match="ann records it"):
            service.register(s, ANN._replace(who="eve"), False, told())
        assert service.register(s, ANN._replace(who="root"), True, told()).id == run_id


def test_an_ended_run_takes_nothing_more(state: State) -> None:
    record = a_record()
    run_id = recorded(state)
    ingest(state, run_id, record.events)
    assert ingest(state, run_id, record.events[-3:]) == len(
        record.events
    )  # the answer was lost, and it comes again
    with pytest.raises(Conflict, match="takes no more"):
        ingest(state, run_id, [{"seq": len(record.events) + 1, "at": AT, "kind": "warning", "text": "late"}])
    with pytest.raises(NotFound):
        ingest(state, 999, [])


def test_a_silent_recorder_is_lost_and_may_come_back(state: State) -> None:
    record = a_record()
    run_id = recorded(state)
    ingest(state, run_id, record.events[:5])
    with state.db.write() as s:
        assert service.reap(s, now() + timedelta(minutes=1)) == []
        assert service.reap(s, now() + timedelta(minutes=5)) == [run_id]
    run = row(state, run_id)
    assert run.status == "lost" and "command line" in run.explanation
    assert ingest(state, run_id, record.events[5:8]) == 8
    assert row(state, run_id).status == "running"
    ingest(state, run_id, record.events[8:])
    assert row(state, run_id).status == "ok"
    assert counters(state, run_id) == counted(record)
