# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans: made by check runs, approved by somebody else, refused when anything is not as it was; and the drift that they show."""

from __future__ import annotations

import pytest
from crosshost_webui.drift import service as drift
from crosshost_webui.drift import store as drift_store
from crosshost_webui.runs import ending, plans, service, store
from crosshost_webui.runs.models import Plan
from crosshost_webui.state import State
from crosshost_webui.web.problem import Conflict, Forbidden

from tests.webui.support_runs import ANN, BOB, Record, check_run, declare, start

WEB = ["ip netns add xh-web", "ip -n xh-web link add br4101 type bridge", "# record overlay_network web"]
OVERLAY, ENDPOINT = "crosshost.network.overlay_network", "crosshost.network.endpoint"


def changing(commands: list[str] | None = None, **more: object) -> Record:
    """A check run in which a network is missing on web1 and everything is there on web2."""
    body = {"commands": WEB if commands is None else commands, "diff": {"before": "", "after": "x\n"}, **more}
    record = (
        Record()
        .add("start")
        .task(1, OVERLAY, "Make the networks")
        .task(2, "ansible.builtin.package", "Packages")
    )
    record.result(1, "web1", "changed", body=body).result(1, "web2").result(2, "web1").result(2, "web2")
    return record.end()


@pytest.fixture
def ready(state: State) -> State:
    declare(state)
    return state


def only_plan(state: State) -> Plan:
    with state.db.read() as s:
        ((plan, _run),) = store.plans(s, None, 10)
    return plan


def decide(state: State, plan: Plan, approve: bool = True, actor: object = BOB) -> None:
    with state.db.write() as s:
        plans.decide(s, actor, plans.to_change(s, plan.id), approve)  # type: ignore[arg-type]


def test_a_check_run_makes_a_plan(ready: State) -> None:
    run = check_run(ready, changing())
    plan = only_plan(ready)
    assert (plan.run_id, plan.status, plan.who) == (run.id, "proposed", "ann")
    assert set(plan.hosts) == {"web1"} and plan.hosts["web1"]["commands"] == 3
    with ready.db.read() as s:
        ((host, step, body),) = plans.steps(s, plan, ["web1"])
    assert (host, step.module, step.commands) == ("web1", OVERLAY, WEB) and body["diff"]["after"] == "x\n"


@pytest.mark.parametrize("record", [Record().add("start").task(1).result(1, "web1").end()])
def test_nothing_to_do_is_no_plan(ready: State, record: Record) -> None:
    check_run(ready, record)
    with ready.db.read() as s:
        assert store.plans(s, None, 10) == []


def test_doctor_and_failed_checks_make_no_plan(ready: State) -> None:
    check_run(ready, changing(), playbook="doctor")
    run_id = start(ready, check=True)
    with ready.db.write() as s:
        store.swap(s, run_id, ("queued",), {"status": "running"})
        service.ingest(s, run_id, changing().events)
        run = store.run_to_change(s, run_id)
        assert run is not None
        ending.conclude(s, run, "failed", rc=2)
    with ready.db.read() as s:
        assert store.plans(s, None, 10) == []


def test_a_change_without_commands_is_part_of_a_plan(ready: State) -> None:
    record = (
        Record()
        .add("start")
        .task(1, "ansible.builtin.package", "Bring what is missing")
        .result(1, "web1", "changed")
        .end()
    )
    check_run(ready, record)
    with ready.db.read() as s:
        ((_host, step, _body),) = plans.steps(s, only_plan(ready), ["web1"])
    assert step.commands == ["ansible.builtin.package: Bring what is missing"]


def test_somebody_else_approves(ready: State) -> None:
    check_run(ready, changing())
    plan = only_plan(ready)
    with pytest.raises(Forbidden, match="somebody else"):
        decide(ready, plan, actor=ANN)
    with ready.db.write() as s, pytest.raises(Conflict, match="approve it first"):
        service.apply(s, BOB, plan.id)
    decide(ready, plan)
    assert (only_plan(ready).status, only_plan(ready).decided_by) == ("approved", "bob")
    with pytest.raises(Conflict, match="approved already"):
        decide(ready, plan)
    with ready.db.write() as s:
        run = service.apply(s, ANN, plan.id)
    assert (run.plan_id, run.check_mode, run.status) == (plan.id, False, "queued")
    with ready.db.write() as s, pytest.raises(Conflict, match="is applying it already"):
        service.apply(s, ANN, plan.id)


def test_a_rejected_plan_stays_rejected(ready: State) -> None:
    check_run(ready, changing())
    plan = only_plan(ready)
    decide(ready, plan, approve=False, actor=ANN)
    with ready.db.write() as s, pytest.raises(Conflict, match="rejected"):
        service.apply(s, ANN, plan.id)


def test_another_inventory_refuses_the_plan(ready: State) -> None:
    from crosshost_webui.inventory import service as inventory
    from crosshost_webui.inventory.changing import Edit

    check_run(ready, changing())
    plan = only_plan(ready)
    decide(ready, plan)
    with ready.db.write() as s:
        inventory.change(
            s, ANN, [Edit("host", None, {"name": "web3", "groups": ["crosshost"], "vtep": "192.0.2.3"})]
        )
    with ready.db.write() as s, pytest.raises(Conflict, match="the inventory has changed"):
        service.apply(s, ANN, plan.id)
    with ready.db.write() as s:
        inventory.change(s, ANN, [Edit("host", "web3", None)])
    with ready.db.write() as s:  # the same inventory again, if under another number
        assert service.apply(s, ANN, plan.id).plan_id == plan.id


def test_what_differs_from_a_plan_is_said() -> None:
    planned = {host: one.stored() for host, one in plans.of_records(changing().events).items()}
    assert plans.differences(planned, plans.of_records(changing().events)) == ""
    other = plans.differences(planned, plans.of_records(changing([*WEB, "ip link"]).events))
    assert other == "web1: the commands differ (3 were planned, 4 now)"
    nothing = Record().add("start").task(1, OVERLAY, "Make the networks").result(1, "web1").end()
    assert "3 commands were to be run, and now none are" in plans.differences(
        planned, plans.of_records(nothing.events)
    )
    assert "nothing was to be changed" in plans.differences({}, plans.of_records(changing().events))
    many = {f"h{n}": {"digest": "x", "commands": 1, "steps": 1} for n in range(9)}
    assert plans.differences(many, {}).endswith("; and 4 more hosts")


def test_commands_that_are_too_many_to_be_kept_still_count() -> None:
    """The recorder's digest is made before anything is cut."""
    one = plans.of_records(changing(commands_digest="a" * 64, commands_count=9000, truncated=True).events)
    two = plans.of_records(changing(commands_digest="b" * 64, commands_count=9000, truncated=True).events)
    assert one["web1"].commands == 9000 and one["web1"].digest != two["web1"].digest


def drifted(state: State) -> dict[tuple[str, str, str], list[str]]:
    with state.db.read() as s:
        return {(one.host, one.module, one.subject): one.commands for one in drift_store.rows(s, 100)}


def test_drift_is_what_a_check_run_would_change_and_since_when(ready: State) -> None:
    first = check_run(ready, changing())
    assert drifted(ready) == {("web1", OVERLAY, "web"): WEB}
    second = check_run(ready, changing(WEB[1:]))
    with ready.db.read() as s:
        (one,) = drift_store.rows(s, 10)
        assert drift_store.count_hosts(s) == 1 and drift_store.summary(s, 10)[0].objects == 1
    assert (one.commands, one.since, one.seen_at) == (WEB[1:], first.ended_at, second.ended_at)
    assert (one.first_run_id, one.last_run_id) == (first.id, second.id)


def test_drift_ends_when_a_run_finds_or_makes_it_right(ready: State) -> None:
    check_run(ready, changing())
    other = Record().add("start").task(1, ENDPOINT).result(1, "web1").result(1, "web2").end()
    check_run(ready, other, tags="overlay")
    assert ("web1", OVERLAY, "web") in drifted(ready)  # nobody has looked at it
    unreachable = Record().add("start").task(1, OVERLAY).result(1, "web1", "unreachable").end()
    check_run(ready, unreachable)
    assert ("web1", OVERLAY, "web") in drifted(ready)
    mended = Record().add("start").task(1, OVERLAY).result(1, "web1", "changed", body={"commands": WEB}).end()
    check_run(ready, mended, check=False)
    assert drifted(ready) == {}


def test_what_doctor_finds_is_drift_of_its_own(ready: State) -> None:
    body = {
        "drift": {"overlay_network": [], "endpoint": ["ip -n shop addr add 10.0.1.11/24 dev eth0"]},
        "errors": {"names": "no dnsmasq"},
    }
    found = Record().add("start").task(1, drift.INFO).result(1, "web1", body=body).result(1, "web2").end()
    check_run(ready, changing())
    check_run(ready, found, playbook="doctor", check=False)
    assert drifted(ready) == {
        ("web1", OVERLAY, "web"): WEB,
        ("web1", drift.INFO, "endpoint"): ["ip -n shop addr add 10.0.1.11/24 dev eth0"],
        ("web1", drift.INFO, "names"): ["# no dnsmasq"],
    }
    check_run(
        ready,
        Record().add("start").task(1, drift.INFO).result(1, "web1").end(),
        playbook="doctor",
        check=False,
    )
    assert drifted(ready) == {("web1", OVERLAY, "web"): WEB}


@pytest.mark.parametrize(
    ("command", "subject"),
    [
        ("ip netns add xh-web", "web"),
        ("ip -n xh-db.main link set vx4101 up", "db.main"),
        ("# record endpoint web/shop", "web/shop"),
        ("# forget service web/cart", "web/cart"),
        ("ip link set xb-front alias crosshost:front mtu 1500", "front"),
        ("systemctl start crosshost-dns@web", "web"),
        ("ip -n shop addr add 10.0.1.11/24 dev eth0", ""),
        ("", ""),
    ],
)
def test_what_a_command_is_about(command: str, subject: str) -> None:
    assert drift.subject_of(command) == subject


def test_commands_by_what_they_are_about() -> None:
    found = drift.by_subject(["ip link add x", *WEB, "ip -n xh-db link set lo up", "ip -n db1 link"])
    assert found == {
        "": ["ip link add x"],
        "web": WEB,
        "db": ["ip -n xh-db link set lo up", "ip -n db1 link"],
    }
    assert len(drift.by_subject(["ip netns add xh-a"] * 1000)["a"]) == drift.COMMANDS_MOST
