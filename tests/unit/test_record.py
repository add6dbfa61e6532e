# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered on a host, and the lock."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.crosshost.network.plugins.module_utils import record
from ansible_collections.crosshost.network.plugins.module_utils.errors import HostError

PEERS = [{"host": f"h{number}", "vtep": f"10.98.0.{number}"} for number in range(1, 30)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(record, "STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(record, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(record, "LOCK_WAIT", 0.06)
    yield tmp_path / "state"


def test_what_is_saved_is_loaded(folder: Path) -> None:
    assert record.load("overlay_network") == []
    config = [{"name": "web", "peers": PEERS, "n": 1}, {"name": "db", "peers": PEERS}, {"name": "x"}]
    record.save("overlay_network", config)
    assert record.load("overlay_network") == config
    assert record.load("gwbridge") == []
    path = folder / "overlay_network.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert path.read_text().count("10.98.0.17") == 1, "the same list of peers is kept once"
    record.save("overlay_network", [])
    assert list(folder.iterdir()) == []
    record.save("overlay_network", [])


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "7", "null", "{}", '{"config": 7}', '{"config": null}', '{"config": "abc"}', '{"config": [7]}',
     '{"config": {"a": 1}}', '{"config": [{"name": "x", "peers": 3}], "peers": []}', '{"config": [{"name": "x", "peers": "y"}]}',
     '{"config": [{"name": "x", "peers": [{"vtep": "10.0.0.1"}]}]}', "\\xff"],
)  # fmt: skip
def test_a_record_that_cannot_be_read_is_named(folder: Path, content: str) -> None:
    folder.mkdir()
    (folder / "endpoint.json").write_bytes(b"\xff\xfe" if content == "\\xff" else content.encode())
    with pytest.raises(HostError) as caught:
        record.load("endpoint")
    line = str(caught.value)
    assert str(folder / "endpoint.json") in line
    assert "mend it or move it away" in line
    assert line.isprintable()


def test_saving_replaces_all_or_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record.save("gwbridge", [{"name": "old"}])

    def fails(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record.os, "fsync", fails)
    with pytest.raises(OSError, match="No space"):
        record.save("gwbridge", [{"name": "new"}])
    assert record.load("gwbridge") == [{"name": "old"}]
    record.sweep()
    assert [path.name for path in folder.iterdir()] == ["gwbridge.json"]


def test_sweeping_leaves_alone_what_is_not_its_own(folder: Path) -> None:
    record.sweep()
    folder.mkdir()
    for name in ("gwbridge.json", "notes.part", "endpoint.json.part"):
        (folder / name).write_text("{}")
    record.sweep()
    assert sorted(path.name for path in folder.iterdir()) == ["gwbridge.json", "notes.part"]


def test_the_lock_keeps_two_runs_apart() -> None:
    with record.locked(), pytest.raises(HostError, match=f"process {os.getpid()} holds it"), record.locked():
        pass
    with record.locked():
        assert Path(record.LOCK).read_text() == str(os.getpid())


def test_the_lock_is_no_way_to_write_elsewhere(tmp_path: Path) -> None:
    """/run may be written by others in odd containers: a symbolic link is not followed."""
    target = tmp_path / "precious"
    target.write_text("precious")
    os.symlink(target, record.LOCK)
    with pytest.raises((OSError, HostError)), record.locked():
        pass
    assert target.read_text() == "precious"


def test_a_declarations_text_does_not_depend_on_the_order_of_its_fields() -> None:
    texts = record.Canonical()
    assert texts.text({"a": 1, "b": PEERS}) == texts.text({"b": PEERS, "a": 1})
    assert texts.text({"peers": PEERS}) != texts.text({"peers": PEERS[1:]})
    assert texts.text({"peers": PEERS}) == record.Canonical().text({"peers": [dict(peer) for peer in PEERS]})
