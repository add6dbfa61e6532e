# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a change ahead of the lock that writers wait for."""

from __future__ import annotations

from typing import Any

import pytest
from crosshost_webui.db.engine import Database
from crosshost_webui.inventory import changing, declared, service
from crosshost_webui.inventory.service import Edit

from tests.webui.support_inventory import ANN, HOSTS, WEB, add, change, end, everything, get, refused


@pytest.fixture
def cluster(database: Database) -> Database:
    """Three hosts."""
    change(database, *HOSTS)
    return database


def test_a_large_declaration_is_checked_before_the_lock(
    cluster: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changing, "LARGE", 0)
    add(cluster, "overlay", **WEB)
    before = everything(cluster)
    parsed: list[int] = []
    whole = declared.parse

    def counted(*given: Any) -> Any:
        parsed.append(1)
        return whole(*given)

    monkeypatch.setattr(declared, "parse", counted)
    edits = [Edit("endpoint", None, end("h1", "web", "a")), Edit("host", "h3", None)]
    service.prepare(cluster, ANN, edits)
    assert everything(cluster) == before
    assert len(parsed) == 1
    done = change(cluster, *edits)
    assert len(parsed) == 1 and len(done.changes) == 2
    with cluster.read() as s:
        assert service.view(s, "h1")["endpoints"][0]["ip"] == "10.20.1.2"
    assert len(parsed) == 1
    # another change than the one that was prepared, and one that somebody else came before
    other = [Edit("endpoint", None, end("h1", "web", "b"))]
    service.prepare(cluster, ANN, other)
    change(cluster, Edit("endpoint", None, end("h2", "web", "c")))
    assert len(parsed) == 3
    change(cluster, *other)
    assert len(parsed) == 4
    assert get(cluster, "endpoint", "h1/web/b").resolved["ip"] == "10.20.1.4"


def test_what_is_wrong_is_told_by_the_change_and_not_ahead_of_it(
    cluster: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changing, "LARGE", 0)
    for edits in ([Edit("endpoint", None, end("h1", "nowhere", "a"))], [Edit("host", "h9", None)], []):
        service.prepare(cluster, ANN, edits)
    assert "no such network" in refused(cluster, Edit("endpoint", None, end("h1", "nowhere", "a"))).detail
