# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups hold one state of everything, and a restore gives it back, or says why not and changes nothing."""

from __future__ import annotations

import gzip
import io
import signal
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from crosshost_webui import server
from crosshost_webui.db.engine import Database
from crosshost_webui.ipam.models import Scope
from crosshost_webui.operations.archive import BackupError, extract
from crosshost_webui.operations.backup import backup, restore
from crosshost_webui.settings import Settings
from crosshost_webui.state import State
from sqlalchemy import func, select

from tests.support.postgres import Postgres
from tests.webui.support_accounts import make_user
from tests.webui.support_server import environment


@pytest.fixture
def filled(empty_url: str, tmp_path: Path) -> Iterator[State]:
    """A server's state with something of everything."""
    state = server.make_state(Settings(data_dir=tmp_path / "data", database=empty_url, executors=0))
    make_user(state)
    output = state.settings.runs_dir / "7" / "output"
    output.parent.mkdir()
    output.write_bytes(b"PLAY [all]\n" * 10_000)
    (state.settings.runs_dir / "7" / "empty").touch()
    yield state
    state.close()


@pytest.fixture
def target(filled: State, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Where to restore to, of the same kind of database."""
    if filled.db.is_sqlite:
        yield Settings(data_dir=tmp_path / "restored", executors=0)
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.fresh()
    yield Settings(data_dir=tmp_path / "restored", database=url, executors=0)
    postgres.drop(url)


def contents(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    from crosshost_webui.db.models import Base

    with database.reader.connect() as connection:
        return {
            name: sorted((tuple(row) for row in connection.execute(table.select())), key=repr)
            for name, table in Base.metadata.tables.items()
        }


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_restore_gives_back_all(filled: State, target: Settings, tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar.gz"
    made = backup(filled, archive)
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert restore(target, archive) == made
    found = server.make_state(target)
    assert contents(found.db) == contents(filled.db)
    assert contents(found.db)["user_account"]
    assert files(target.runs_dir) == files(filled.settings.runs_dir)
    assert found.keys.current() == filled.keys.current()
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in target.data_dir.rglob("*")} == {0}
    found.close()


def test_a_backup_beside_writers_holds_one_state(tmp_path: Path, state: State) -> None:
    """Each write adds two rows; a copy that mixed two states would hold an odd number."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 2
            with state.db.write() as s:
                s.add(Scope(name=f"a {number}"))
                s.flush()
                s.add(Scope(name=f"b {number}"))

    with state.db.read() as s:
        before = s.scalar(select(func.count()).select_from(Scope)) or 0
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            backup(state, tmp_path / f"{number}.tar.gz")
    finally:
        stop.set()
        writer.join(60)
    counts = []
    for number in range(5):
        target = Settings(data_dir=tmp_path / f"restored {number}", executors=0)
        restore(target, tmp_path / f"{number}.tar.gz")
        database = Database(target.database_url)
        with database.read() as s:
            counts.append((s.scalar(select(func.count()).select_from(Scope)) or 0) - before)
        database.close()
    assert [one % 2 for one in counts] == [0] * 5
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


@pytest.fixture
def archive(state: State, tmp_path: Path) -> Path:
    (state.settings.runs_dir / "output").write_bytes(bytes(range(256)) * 1000)
    found = tmp_path / "backup.tar.gz"
    backup(state, found)
    return found


@pytest.fixture
def empty(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "restored", executors=0)


def refused(settings: Settings, archive: Path, told: str) -> None:
    before = files(settings.data_dir)
    with pytest.raises(BackupError, match=told) as error:
        restore(settings, archive)
    assert "\n" not in str(error.value)
    assert files(settings.data_dir) == before
    assert not (settings.data_dir / "restoring").exists()


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9, 0.99])
def test_a_damaged_backup_is_refused(archive: Path, empty: Settings, where: float) -> None:
    """A byte of the tar itself, packed anew, so that gzip's own check finds nothing wrong."""
    content = bytearray(gzip.decompress(archive.read_bytes()))
    with tarfile.open(fileobj=io.BytesIO(bytes(content))) as tar:
        entries = [one for one in tar if one.size]
    entry = entries[min(len(entries) - 1, int(where * len(entries)))]
    content[entry.offset_data + entry.size // 2] ^= 1
    archive.write_bytes(gzip.compress(bytes(content), 1))
    refused(empty, archive, "damaged|manifest")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_a_backup_that_is_cut_off_is_refused(archive: Path, empty: Settings, part: float) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[: int(part * len(content))])
    refused(empty, archive, "damaged|ends before its manifest")


def test_something_else_is_refused(tmp_path: Path, empty: Settings) -> None:
    other = tmp_path / "other"
    other.write_text("no backup")
    refused(empty, other, "it is damaged, or no backup")
    with pytest.raises(FileNotFoundError):
        restore(empty, tmp_path / "nothing")
    assert list(empty.data_dir.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../outside", "/outside", "runs/../../outside", "runs//x", "a\\b", "link", "hard"]
)
def test_what_would_leave_the_folder_is_refused(name: str, tmp_path: Path, empty: Settings) -> None:
    archive = tmp_path / "backup.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        entry = tarfile.TarInfo(name)
        if name in ("link", "hard"):
            entry.type = tarfile.SYMTYPE if name == "link" else tarfile.LNKTYPE
            entry.linkname = "../outside"
        tar.addfile(entry)
    (tmp_path / "outside").write_text("mine")
    refused(empty, archive, "does not belong into a backup")
    assert (tmp_path / "outside").read_text() == "mine"


def test_a_folder_that_holds_something_is_left_alone(archive: Path, state: State) -> None:
    with pytest.raises(BackupError, match="it is not empty"):
        restore(state.settings, archive)


def test_a_restore_after_a_start_that_was_none(archive: Path, empty: Settings) -> None:
    """What a service manager and a first start leave in the folder is not in the way."""
    empty.runs_dir.mkdir(parents=True)
    (empty.data_dir / "server.lock").touch()
    restore(empty, archive)
    server.make_state(empty).close()


def test_an_existing_file_is_not_overwritten(archive: Path, state: State) -> None:
    before = archive.read_bytes()
    with pytest.raises(BackupError, match="there is a file of this name"):
        backup(state, archive)
    assert archive.read_bytes() == before


def test_a_backup_of_a_newer_version_is_refused(
    archive: Path, empty: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosshost_webui.db.migrate.is_known", lambda _: False)
    refused(empty, archive, "which is newer than this one's")


def test_the_wrong_kind_of_database(archive: Path, tmp_path: Path) -> None:
    other = Settings(data_dir=tmp_path / "restored", database="postgresql+psycopg://nobody@127.0.0.1:1/none")
    refused(other, archive, "its database is sqlite; name such a one, not postgresql")


def test_a_server_does_not_start_on_half_a_restore(empty: Settings) -> None:
    (empty.data_dir / "restoring").mkdir(parents=True)
    with pytest.raises(server.StartError, match="a restore has not come to its end"):
        server.make_state(empty)


def test_a_backup_that_is_killed_leaves_no_backup(state: State, tmp_path: Path) -> None:
    target = tmp_path / "killed" / "backup.tar.gz"
    target.parent.mkdir()
    (state.settings.runs_dir / "output").write_bytes(bytes(1000))
    killed = (
        "import os, signal, sys, pathlib\n"
        "from crosshost_webui import server\n"
        "from crosshost_webui.operations import archive, backup\n"
        "from crosshost_webui.settings import Settings\n"
        "archive.Writer.finish = lambda self: os.kill(os.getpid(), signal.SIGKILL)\n"
        "state = server.open_state(Settings(data_dir=sys.argv[1]))\n"
        "backup.backup(state, pathlib.Path(sys.argv[2]))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", killed, str(state.settings.data_dir), str(target)],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not target.exists()


def test_every_byte_of_an_archive_is_checked(archive: Path, tmp_path: Path) -> None:
    """A file that the manifest does not know is as wrong as one that it misses."""
    with tarfile.open(archive) as tar:
        entries = [(one, tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]
    for change in ("more", "less"):
        other = tmp_path / f"{change}.tar.gz"
        with tarfile.open(other, "w:gz") as tar:
            for entry, content in entries[:-1] if change == "more" else entries[1:-1]:
                tar.addfile(entry, io.BytesIO(content))
            if change == "more":
                tar.addfile(tarfile.TarInfo("runs/more"))
            entry, content = entries[-1]
            tar.addfile(entry, io.BytesIO(content))
        folder = tmp_path / change
        folder.mkdir()
        with pytest.raises(BackupError, match="it is damaged"):
            extract(other, folder)
