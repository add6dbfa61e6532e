# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmark of the dashboard stands on: its database is a sound one, and every page answers on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from crosshost_webui import server
from crosshost_webui.app import create_app
from crosshost_webui.ipam import check
from crosshost_webui.ipam.models import Block
from crosshost_webui.runs.models import Event
from crosshost_webui.settings import Settings
from crosshost_webui.state import State
from sqlalchemy import func, select
from starlette.testclient import TestClient

from tests.bench.figures import BenchError
from tests.bench_webui.load import percentile
from tests.bench_webui.pages import _address, _figures, credentials, targets
from tests.bench_webui.seed import Size, seed

SIZE = Size(hosts=20, networks=4, subnets=8, addresses=400, runs=2, results=200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("seeded")
    seed(found, SIZE, lambda _: None)
    return found


@pytest.fixture
def seeded(folder: Path) -> Iterator[State]:
    found = server.make_state(Settings(data_dir=folder, executors=0))
    yield found
    found.close()


def test_what_is_seeded_adds_up(seeded: State) -> None:
    with seeded.db.read() as s:
        report = check.check(s)
        assert report.faults == []
        addresses = s.scalar(select(func.count()).select_from(Block).where(Block.owner_type == "manual"))
        assert addresses is not None and 200 < addresses <= SIZE.addresses
        results = s.scalar(select(func.count()).select_from(Event).where(Event.kind == "result"))
        assert results == SIZE.results


def test_every_page_answers(folder: Path, seeded: State) -> None:
    browser, program = credentials(folder)
    found = targets(folder)
    assert len(found) > 40
    with TestClient(create_app(seeded), follow_redirects=False) as client:
        answers = {
            one.path: client.get(one.path, headers=program if one.is_api else browser) for one in found
        }
    wrong = {
        path: (answer.status_code, answer.text[:300])
        for path, answer in answers.items()
        if answer.status_code != 200
    }
    assert wrong == {}


def test_a_route_that_nothing_is_known_for_is_a_failure() -> None:
    known = {"name": "a", "/hosts/{name} name": "b", "/things/{name} name": "c"}
    assert _address("/hosts/{name}", known) == "/hosts/b"
    assert _address("/api/v1/things/{name:path}/more", known) == "/api/v1/things/c/more"
    assert _address("/other/{name}", known) == "/other/a"
    with pytest.raises(BenchError, match="no value is known for other"):
        _address("/other/{other}", known)


def test_percentiles() -> None:
    assert percentile([5.0], 0.95) == 5.0
    assert percentile([float(n) for n in range(1, 101)], 0.95) == 95.0
    assert percentile([float(n) for n in range(1, 21)], 0.95) == 19.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0


def test_slow_pages_have_lines_of_their_own() -> None:
    found = _figures("page", "pages", {"/a": 10.0, "/b": 70.0, "/c": 90.0, "/api/v1/d": 99.0}, False)
    assert [(one.met, one.value) for one in found] == [(False, 90.0), (False, 70.0)]
    assert found[0].what.startswith("3 pages") and "(/c)" in found[0].what
