# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting, cancelling, claiming and ending runs: the rules, without an executor."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from crosshost_webui import server
from crosshost_webui.accounts import secrets
from crosshost_webui.audit import store as audit
from crosshost_webui.db.base import now
from crosshost_webui.executor import supervisor
from crosshost_webui.runs import ending, service, store
from crosshost_webui.runs.models import Run
from crosshost_webui.runs.options import RunOptions
from crosshost_webui.settings import Settings
from crosshost_webui.state import State
from crosshost_webui.web.problem import Conflict, Invalid, NotFound

from tests.webui.support_runs import ANN, BOB, a_record, declare, ingest, recorded, row, start


@pytest.fixture
def any_state(empty_url: str, tmp_path: Path) -> Iterator[State]:
    found = server.make_state(Settings(data_dir=tmp_path / "data", database=empty_url, executors=0))
    declare(found)
    yield found
    found.close()


def set_status(state: State, run_id: int, status: str, **more: object) -> None:
    with state.db.write() as s:
        assert store.swap(
            s, run_id, ("queued", "claimed", "running", "cancelling"), {"status": status, **more}
        )


def test_a_run_is_queued_on_the_inventory_as_it_is(any_state: State) -> None:
    run = row(any_state, start(any_state, limit="web1", check=True))
    assert (run.status, run.playbook, run.limit, run.who, run.origin) == (
        "queued",
        "site",
        "web1",
        "ann",
        "api",
    )
    assert run.revision_id == 1 and len(run.inventory_digest) == 64
    with any_state.db.read() as s:
        (entry,) = audit.entries(s, audit.Filters(object_type="run"), 10)
    assert (entry.action, entry.after) == ("start", {"playbook": "site", "check": True, "limit": "web1"})


def test_what_there_is_not_is_refused(any_state: State) -> None:
    with pytest.raises(Invalid, match="'wbe1' is no host or group"):
        start(any_state, limit="wbe1")
    with pytest.raises(Invalid, match="secret 77: there is none"):
        start(any_state, secrets=[77])


def test_an_empty_inventory_is_refused(state: State) -> None:
    with pytest.raises(Invalid, match="it has no hosts"):
        start(state)


def test_one_password_for_becoming_root(any_state: State) -> None:
    with any_state.db.write() as s:
        ids = [
            secrets.create(s, any_state.keys, ANN, "become_password", name, "secret").id
            for name in ("a", "b")
        ]
    start(any_state, secrets=ids[:1])
    with pytest.raises(Invalid, match="more than one password"):
        start(any_state, secrets=ids)


def test_a_waiting_run_is_cancelled_at_once(any_state: State) -> None:
    run_id = start(any_state)
    with any_state.db.write() as s:
        run = service.cancel(s, BOB, run_id)
    assert (run.status, run.cancel_by) == ("cancelled", "bob") and "before it began" in run.explanation
    with any_state.db.write() as s, pytest.raises(Conflict, match="it has ended already, as cancelled"):
        service.cancel(s, BOB, run_id)
    with any_state.db.write() as s, pytest.raises(NotFound):
        service.cancel(s, BOB, 10**6)


def test_a_run_under_way_is_asked_to_end(any_state: State) -> None:
    run_id = start(any_state)
    set_status(any_state, run_id, "running")
    for _ in range(2):
        with any_state.db.write() as s:
            assert service.cancel(s, BOB, run_id).status == "cancelling"
    with any_state.db.read() as s:
        told = [one.action for one in audit.entries(s, audit.Filters(object_type="run"), 10)]
    assert told == ["cancel", "start"]


def test_a_recorded_run_is_not_cancelled_from_here(any_state: State) -> None:
    run_id = recorded(any_state)
    with any_state.db.write() as s, pytest.raises(Conflict, match="command line"):
        service.cancel(s, BOB, run_id)
    with any_state.db.write() as s, pytest.raises(Conflict, match="command line"):
        service.rerun(s, BOB, run_id)


def test_the_same_again(any_state: State) -> None:
    first = start(any_state, limit="web1", tags="overlay", forks=3, variables={"crosshost_state": "merged"})
    with any_state.db.write() as s:
        again = service.rerun(s, BOB, first)
    before, after = row(any_state, first), row(any_state, again.id)
    for name in ("playbook", "limit", "tags", "forks", "variables", "check_mode", "diff_mode", "secrets"):
        assert getattr(before, name) == getattr(after, name)
    assert (after.rerun_of, after.who) == (first, "bob")


def test_the_queue_has_an_end(any_state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "QUEUE_MOST", 2)
    start(any_state)
    start(any_state)
    with pytest.raises(Conflict, match="2 are waiting"):
        start(any_state)


def test_one_active_run_a_lock(any_state: State) -> None:
    """Two executors claim at the same time: each run goes to one, and two of one lock never run together."""
    first, second, doctor = start(any_state), start(any_state), start(any_state, playbook="doctor")
    executors = [supervisor.Supervisor(any_state) for _ in range(4)]
    won: list[int] = []
    barrier = threading.Barrier(4)

    def claim(one: supervisor.Supervisor) -> None:
        barrier.wait(30)
        won.extend(run_id for run_id in (first, second, doctor) if one._is_ours(run_id))

    threads = [threading.Thread(target=claim, args=(one,)) for one in executors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(won) == 2 and doctor in won
    with any_state.db.read() as s:
        assert store.queued(s, 10) == []
    (running,) = {first, second} & set(won)
    set_status(any_state, running, "ok")
    with any_state.db.read() as s:
        assert [one.id for one in store.queued(s, 10)] == list({first, second} - {running})


def test_a_silent_executor_loses_its_run(any_state: State) -> None:
    run_id = start(any_state)
    set_status(any_state, run_id, "running", lease_until=now() + timedelta(seconds=30), executor_id="gone")
    with any_state.db.write() as s:
        assert service.reap(s) == []
    later = now() + timedelta(seconds=60)
    with any_state.db.write() as s:
        assert service.reap(s, later, spare=[run_id]) == []
        assert service.reap(s, later) == [run_id]
    run = row(any_state, run_id)
    assert run.status == "lost" and "nothing has been heard" in run.explanation and run.ended_at is not None
    with any_state.db.write() as s:
        assert service.reap(s, later) == []


def test_old_runs_are_removed_with_all_that_is_kept_of_them(any_state: State) -> None:
    run_id = recorded(any_state)
    ingest(any_state, run_id, a_record().events)
    waiting = start(any_state)
    folder = any_state.settings.runs_dir / str(run_id)
    folder.mkdir(parents=True)
    (folder / "output.log").write_text("x")
    assert service.prune(any_state) == 0
    assert service.prune(any_state, now() + timedelta(days=91)) == 1
    with any_state.db.read() as s:
        assert store.run(s, run_id) is None and store.hosts(s, run_id, 10) == []
        assert store.run(s, waiting) is not None
    assert not folder.exists()


def test_lists_and_their_filters(any_state: State) -> None:
    one, two = start(any_state, check=True), start(any_state, actor=BOB, playbook="doctor")
    mine = recorded(any_state)
    ingest(any_state, mine, a_record().events)
    with any_state.db.read() as s:

        def found(**filters: object) -> list[int]:
            return [run.id for run in store.runs(s, store.Filters(**filters), 10)]  # type: ignore[arg-type]

        assert found() == [mine, two, one]
        assert found(status="active") == [two, one] and found(status="ok") == [mine]
        assert found(who="bob") == [two] and found(playbook="doctor") == [two] and found(check=True) == [one]
        assert found(origin="cli") == [mine] and found(host="web1") == [mine] and found(host="web9") == []
        assert [run.id for run in store.runs(s, store.Filters(), 10, before_id=mine)] == [two, one]
        assert [(run.id, hosts.ok) for run, hosts in store.runs_of_host(s, "web1", 5)] == [(mine, 3)]


@pytest.mark.parametrize(
    ("rc", "unreachable", "status"),
    [
        (0, False, "ok"), (1, False, "failed"), (2, True, "failed"), (4, True, "unreachable"), (4, False, "failed"),
        (6, True, "failed"), (-9, False, "failed"), (99, False, "failed"),
    ],
)  # fmt: skip
def test_what_an_exit_status_means(rc: int, unreachable: bool, status: str) -> None:
    """4 is also that of a playbook which cannot be read."""
    assert ending.status_of(rc, unreachable)[0] == status


def test_every_choice_of_a_run_is_kept() -> None:
    """What `options_of` reads back is what `start` stored."""
    options = RunOptions(
        playbook="doctor", limit="a", tags="host", forks=2, variables={"crosshost_doctor_peers": 1}
    )
    run = Run(
        id=1, origin="api", playbook="doctor", check_mode=False, diff_mode=True, limit="a", tags="host", forks=2,
        variables={"crosshost_doctor_peers": 1}, secrets=[],
    )  # fmt: skip
    assert service.options_of(run) == options
