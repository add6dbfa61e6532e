# SPDX-License-Identifier: GPL-3.0-or-later
"""An executor at work in this process, with playbooks of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crosshost_webui import server
from crosshost_webui.executor import command, launch
from crosshost_webui.executor.supervisor import Supervisor
from crosshost_webui.runs import events, eventstore
from crosshost_webui.settings import Settings
from crosshost_webui.state import State

from tests.webui.support_runs import (
    declare,
    playbook,
)


@pytest.fixture
def ready(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    monkeypatch.setattr(launch, "GRACE", 3.0)
    found = server.make_state(settings.model_copy(update={"executors": 2}))
    declare(found)
    yield found
    found.close()


@pytest.fixture
def supervisor(ready: State) -> Iterator[Supervisor]:
    found = Supervisor(ready)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Let all runs be of this playbook."""

    def made(tasks: str, head: str = "") -> Path:
        path = playbook(tmp_path / "play.yml", tasks, head)
        monkeypatch.setattr(command, "playbook", lambda _name: path)
        return path

    return made


def results(state: State, run_id: int) -> list[tuple[str | None, str | None, dict[str, Any]]]:
    with state.db.read() as s:
        return [(one.host, one.status, events.unpack(one.body)) for one in eventstore.results(s, run_id, 100)]


def output(state: State, run_id: int) -> str:
    path = state.settings.runs_dir / str(run_id) / "output.log"
    return path.read_text(encoding="utf-8")
