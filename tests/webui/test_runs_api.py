# SPDX-License-Identifier: GPL-3.0-or-later
"""The API of runs, plans, schedules and drift, in process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from crosshost_webui.state import State
from starlette.testclient import TestClient

from tests.webui.support_accounts import make_token, make_user
from tests.webui.support_runs import AT, Record, a_record, check_run, declare, ingest, recorded

API = "/api/v1"
SITE = {"playbook": "site", "check": True}
CHANGING = (
    Record().add("start").task(1).result(1, "web1", "changed", body={"commands": ["ip netns add xh-web"]}).end()
)  # fmt: skip


@pytest.fixture
def ready(state: State) -> State:
    declare(state)
    return state


@pytest.mark.usefixtures("ready")
def test_start_watch_and_cancel(operator: TestClient, viewer: TestClient) -> None:
    made = operator.post(f"{API}/runs", json=SITE)
    assert made.status_code == 201 and made.headers["location"] == f"{API}/runs/1"
    assert made.json()["status"] == "queued" and made.json()["revision"] == 1
    assert viewer.get(f"{API}/runs/1").json()["who"] == "oli"
    assert viewer.post(f"{API}/runs", json=SITE).status_code == 403
    assert viewer.post(f"{API}/runs/1/cancel").status_code == 403
    assert operator.post(f"{API}/runs/1/cancel").json()["status"] == "cancelled"
    assert operator.post(f"{API}/runs/1/cancel").status_code == 409
    again = operator.post(f"{API}/runs/1/rerun")
    assert again.status_code == 201 and again.json()["rerun_of"] == 1
    assert [one["id"] for one in viewer.get(f"{API}/runs").json()["items"]] == [2, 1]
    assert [one["id"] for one in viewer.get(f"{API}/runs?active=true").json()["items"]] == [2]
    assert [one["id"] for one in viewer.get(f"{API}/runs?limit=1").json()["items"]] == [2]
    assert [one["id"] for one in viewer.get(f"{API}/runs?limit=1&after=2").json()["items"]] == [1]
    assert viewer.get(f"{API}/runs/99").status_code == 404


@pytest.mark.usefixtures("ready")
def test_a_start_is_idempotent(operator: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = operator.post(f"{API}/runs", json=SITE, headers=headers).json()
    assert operator.post(f"{API}/runs", json=SITE, headers=headers).json() == first
    assert operator.post(f"{API}/runs", json={"playbook": "doctor"}, headers=headers).status_code == 422
    assert len(operator.get(f"{API}/runs").json()["items"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"playbook": "site", "limit": "-e"}, {"playbook": "site", "tags": "--x"}, {"playbook": "rm"}, {}, [], "x",
        {"playbook": "site", "variables": {"ansible_user": "root"}}, {"playbook": "site", "variables": {"crosshost_state": "{{ 1 }}"}},
        {"playbook": "site", "secrets": [2**70]}, {"playbook": "site", "forks": 10**9}, {"playbook": "site", "limit": "x" * 10**6},
    ],
)  # fmt: skip
@pytest.mark.usefixtures("ready")
def test_starts_that_are_refused(operator: TestClient, body: Any) -> None:
    answer = operator.post(f"{API}/runs", json=body)
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_what_a_run_did(ready: State, viewer: TestClient) -> None:
    run_id = recorded(ready)
    record = (
        Record()
        .add("start")
        .task(1, name="<b>one</b>")
        .result(1, "web1", "changed", body={"msg": "m", "diff": {"before": "a"}})
    )
    record.result(1, "web2", "failed", body={"msg": "no"}).task(2).result(2, "web1").end(
        web1={}, web2={"failed": 1}
    )
    ingest(ready, run_id, record.events)
    base = f"{API}/runs/{run_id}"
    assert viewer.get(base).json()["counts"] == {
        "ok": 1,
        "changed": 1,
        "failed": 1,
        "unreachable": 0,
        "skipped": 0,
    }
    assert [(one["host"], one["failed"]) for one in viewer.get(f"{base}/hosts").json()["items"]] == [
        ("web1", 0),
        ("web2", 1),
    ]
    assert viewer.get(f"{base}/hosts?limit=1&after=web1").json()["items"][0]["host"] == "web2"
    assert [one["name"] for one in viewer.get(f"{base}/tasks").json()["items"]] == ["<b>one</b>", "task 2"]
    matrix = viewer.get(f"{base}/matrix?limit=1").json()
    assert [(one["task"], one["status"]) for one in matrix["cells"]] == [
        (1, "changed"),
        (2, "ok"),
    ] and matrix["next"] == "web1"
    failed = viewer.get(f"{base}/results?status=failed&status=unreachable").json()["items"]
    assert [(one["host"], one["body"]) for one in failed] == [("web2", {"msg": "no"})]
    assert len(viewer.get(f"{base}/results?host=web1").json()["items"]) == 2
    assert viewer.get(f"{base}/results?task=2").json()["items"][0]["seq"] == 6
    assert viewer.get(f"{base}/results/3").json()["body"]["diff"] == {"before": "a"}
    assert viewer.get(f"{base}/results/2").status_code == 404
    for path in ("hosts?after=%00", "results?host=%00", "matrix?after=a%00"):
        assert viewer.get(f"{base}/{path}").status_code == 422, path


def test_the_output(ready: State, viewer: TestClient) -> None:
    run_id = recorded(ready)
    base = f"{API}/runs/{run_id}/output"
    assert viewer.get(base).text == "" and viewer.get(f"{base}/lines").json()["size"] == 0
    path = ready.settings.runs_dir / str(run_id) / "output.log"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"one\n\x1b[31mtwo <script>\x1b[0m\n")
    whole = viewer.get(base)
    assert whole.content == path.read_bytes() and whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert "attachment" in whole.headers["content-disposition"]
    part = viewer.get(base, headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"one\n")
    lines = viewer.get(f"{base}/lines?limit=1").json()["lines"]
    assert lines[0]["spans"] == [{"classes": "ansi-red", "text": "two <script>"}]
    assert viewer.get(f"{base}/search?q=SCRIPT").json()["lines"][0]["number"] == 2
    assert viewer.get(f"{base}/search?q=").status_code == 422


def test_a_record_by_the_api(state: State, client: TestClient) -> None:
    make_user(state, "rec", "operator")
    make_user(state, "eve", "operator")
    mine, others = make_token(state, "rec", ["executor"]), make_token(state, "eve", ["executor"])
    reader = make_token(state, "rec", ["read"])
    record = a_record()
    told = {"uuid": "0b9f2a8e-0001", "playbook": "site.yml", "at": AT}
    assert client.post(f"{API}/runs/record", json=told, headers=reader).status_code == 403
    first = client.post(f"{API}/runs/record", json=told, headers=mine)
    assert first.json() == {"id": 1, "last_seq": 0}
    assert client.post(f"{API}/runs/record", json=told, headers=others).status_code == 403
    assert (
        client.post(f"{API}/runs/1/events", json={"events": record.events}, headers=others).status_code == 403
    )
    assert client.post(f"{API}/runs/1/events", json={"events": record.events[:4]}, headers=mine).json() == {
        "last_seq": 4
    }
    assert client.post(f"{API}/runs/record", json=told, headers=mine).json() == {"id": 1, "last_seq": 4}
    assert client.post(f"{API}/runs/1/events", json={"events": []}, headers=mine).json() == {"last_seq": 4}
    assert (
        client.post(f"{API}/runs/1/events", json={"events": [{"seq": "x"}]}, headers=mine).status_code == 422
    )
    assert client.put(f"{API}/runs/1/output?offset=0", content=b"hello\n", headers=mine).json() == {"size": 6}
    assert client.put(f"{API}/runs/1/output?offset=9", content=b"x", headers=mine).status_code == 409
    sent = client.post(f"{API}/runs/1/events", json={"events": record.events}, headers=mine)
    assert sent.json() == {"last_seq": len(record.events)}
    assert client.get(f"{API}/runs/1", headers=reader).json()["status"] == "ok"
    assert client.get(f"{API}/runs/1/output", headers=reader).text == "hello\n"


@pytest.mark.usefixtures("ready")
def test_events_of_a_run_with_an_executor_are_refused(operator: TestClient) -> None:
    operator.post(f"{API}/runs", json=SITE)
    assert operator.post(f"{API}/runs/1/events", json={"events": []}).status_code == 409
    assert operator.put(f"{API}/runs/1/output?offset=0", content=b"x").status_code == 409


def test_a_plan_from_check_to_apply(ready: State, as_user: Callable[[str, str], TestClient]) -> None:
    ann, bob = as_user("ann", "operator"), as_user("bob", "operator")
    check_run(ready, CHANGING)
    got = bob.get(f"{API}/plans/1")
    assert (got.json()["status"], got.json()["hosts"], got.json()["commands"]) == ("proposed", 1, 1)
    (host,) = bob.get(f"{API}/plans/1/hosts").json()["items"]
    assert host["actions"][0]["commands"] == ["ip netns add xh-web"]
    match = {"If-Match": got.headers["etag"]}
    assert bob.post(f"{API}/plans/1/approve", json={}).status_code == 428
    assert bob.post(f"{API}/plans/1/approve", json={}, headers={"If-Match": '"old"'}).status_code == 412
    assert ann.post(f"{API}/plans/1/approve", json={}, headers=match).status_code == 403
    assert bob.post(f"{API}/plans/1/apply").status_code == 409
    assert (
        bob.post(f"{API}/plans/1/approve", json={"note": "fine"}, headers=match).json()["decided_by"] == "bob"
    )
    assert bob.post(f"{API}/plans/1/reject", json={}, headers=match).status_code == 412
    applied = ann.post(f"{API}/plans/1/apply", headers={"Idempotency-Key": "a"})
    assert (applied.status_code, applied.json()["plan"], applied.json()["check"]) == (201, 1, False)
    assert (
        ann.post(f"{API}/plans/1/apply", headers={"Idempotency-Key": "a"}).json()["id"]
        == applied.json()["id"]
    )
    assert [one["applied_run"] for one in ann.get(f"{API}/plans?status=approved").json()["items"]] == [
        applied.json()["id"]
    ]


@pytest.mark.usefixtures("ready")
def test_schedules_by_the_api(operator: TestClient, viewer: TestClient) -> None:
    body = {"name": "drift", "cron": "17 * * * *", "options": SITE}
    assert viewer.post(f"{API}/schedules", json=body).status_code == 403
    made = operator.post(f"{API}/schedules", json=body)
    assert made.status_code == 201 and made.json()["options"] == SITE and made.json()["next_at"]
    assert operator.post(f"{API}/schedules", json=body).status_code == 409
    assert operator.post(f"{API}/schedules", json={**body, "name": "x", "cron": "never"}).status_code == 422
    assert operator.put(f"{API}/schedules/1", json=body).status_code == 428
    match = {"If-Match": made.headers["etag"]}
    changed = operator.put(f"{API}/schedules/1", json={**body, "enabled": False}, headers=match)
    assert changed.json()["next_at"] is None and changed.headers["etag"] != made.headers["etag"]
    assert operator.delete(f"{API}/schedules/1", headers=match).status_code == 412
    assert (
        operator.delete(f"{API}/schedules/1", headers={"If-Match": changed.headers["etag"]}).status_code
        == 204
    )
    assert viewer.get(f"{API}/schedules").json()["items"] == []


def test_drift_by_the_api(ready: State, viewer: TestClient) -> None:
    check_run(ready, CHANGING)
    (one,) = viewer.get(f"{API}/drift").json()["items"]
    assert (one["host"], one["subject"], one["commands"]) == ("web1", "web", ["ip netns add xh-web"])
    assert viewer.get(f"{API}/drift?network=db").json()["items"] == []
    assert viewer.get(f"{API}/drift/hosts").json()["items"][0]["objects"] == 1
    assert viewer.get(f"{API}/drift?after=x").status_code == 422
    assert viewer.get(f'{API}/drift?after=["web1","a","b"]').status_code == 200


def test_the_stream_by_http(ready: State, viewer: TestClient) -> None:
    run_id = recorded(ready)
    ingest(ready, run_id, a_record().events)
    answer = viewer.get(f"{API}/runs/{run_id}/stream")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    assert "event: results" in answer.text and answer.text.rstrip().endswith("data: {}")
    assert f"id: {len(a_record().events)}" in answer.text
    rest = viewer.get(f"{API}/runs/{run_id}/stream", headers={"Last-Event-ID": str(len(a_record().events))})
    assert "event: results" not in rest.text and "event: end" in rest.text
    assert viewer.get(f"{API}/runs/99/stream").status_code == 404
