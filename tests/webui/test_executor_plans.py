# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans: checked again before they are applied, and applied once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from crosshost_webui.executor.supervisor import Supervisor
from crosshost_webui.runs import plans, service, store
from crosshost_webui.state import State

from tests.webui.support_executor import output, play, ready, supervisor  # noqa: F401 - pytest finds fixtures so
from tests.webui.support_runs import (
    ANN,
    BOB,
    start,
    wait_until_ended,
)

pytestmark = pytest.mark.slow


def check_and_approve(ready: State, supervisor: Supervisor) -> int:
    """The plan of a check run."""
    run_id = start(ready, check=True)
    supervisor.wake()
    assert wait_until_ended(ready, run_id).status == "ok", output(ready, run_id)
    with ready.db.read() as s:
        plan = store.plan_of_run(s, run_id)
    assert plan is not None
    with ready.db.write() as s:
        plans.decide(s, BOB, plans.to_change(s, plan.id), True)
    return plan.id


def apply(ready: State, supervisor: Supervisor, plan_id: int) -> int:
    with ready.db.write() as s:
        run_id = service.apply(s, ANN, plan_id).id
    supervisor.wake()
    return run_id


COPY = "- name: Write\n  copy: {content: 'x', dest: '%s/{{ inventory_hostname }}'}\n"


def test_a_plan_is_applied(
    ready: State, supervisor: Supervisor, play: Callable[..., Path], tmp_path: Path
) -> None:
    play(COPY % tmp_path)
    plan_id = check_and_approve(ready, supervisor)
    assert not (tmp_path / "web1").exists()
    run_id = apply(ready, supervisor, plan_id)
    run = wait_until_ended(ready, run_id)
    assert (run.status, run.counts) == ("ok", {"changed": 2})
    assert (tmp_path / "web1").read_text() == "x"
    with ready.db.read() as s:
        assert plans.get(s, plan_id).status == "applied"
    text = output(ready, run_id)
    assert (
        text.index("== checking again") < text.index("== applying the plan ==")
        and text.count("PLAY RECAP") == 2
    )


def test_a_plan_is_refused_when_a_host_is_otherwise(
    ready: State, supervisor: Supervisor, play: Callable[..., Path], tmp_path: Path
) -> None:
    play(COPY % tmp_path)
    plan_id = check_and_approve(ready, supervisor)
    (tmp_path / "web2").write_text("x")  # somebody has done it meanwhile
    run_id = apply(ready, supervisor, plan_id)
    run = wait_until_ended(ready, run_id)
    assert run.status == "refused" and "web2: 1 commands were to be run, and now none are" in run.explanation
    assert not (tmp_path / "web1").exists()
    with ready.db.read() as s:
        assert plans.get(s, plan_id).status == "refused"
