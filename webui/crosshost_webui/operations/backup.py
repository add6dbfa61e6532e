# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups: the database, the keys and the files of the runs, in one file; made beside a server that runs, restored into an empty
folder."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import inspect
from sqlalchemy.engine import make_url

from ..accounts.keys import KeyFileError, Keys
from ..collection import version
from ..db import migrate
from ..db.engine import Database
from ..settings import Settings
from ..state import State
from . import postgres
from .archive import BackupError, Manifest, extract, writing

DATABASE = {"sqlite": "crosshost.db", "postgresql": "database.dump"}
KEYS = "keys.json"
RUNS = "runs"
RESTORING = "restoring"  # what a restore has unpacked; a server does not start beside it
# A server that has started leaves these in its folder; they hold nothing.
EMPTY = ("server.lock", "lost+found")

__all__ = ["BackupError", "backup", "restore"]


def backup(state: State, target: Path) -> Manifest:
    """Write it all to a new file. BackupError says why not; then there is no file."""
    if target.exists():
        raise BackupError(f"{target}: there is a file of this name; name another one")
    kind = "sqlite" if state.db.is_sqlite else "postgresql"
    schema = migrate.current(state.db)
    assert schema is not None
    manifest = Manifest(version(), datetime.now(UTC).isoformat(timespec="seconds"), kind, schema)
    with tempfile.TemporaryDirectory(prefix=".crosshost-backup-", dir=target.parent) as folder:
        copy = Path(folder) / DATABASE[kind]
        # the database first: keys and files that come later are more than it needs, never less
        if state.db.is_sqlite:
            _copy_sqlite(state.db, copy)
        else:
            postgres.dump(state.db, copy)
        with writing(target, manifest) as archive:
            archive.add(copy.name, copy)
            copy.unlink()
            archive.add(KEYS, state.keys.path)
            for path in _files(state.settings.runs_dir):
                try:
                    archive.add(f"{RUNS}/{path.relative_to(state.settings.runs_dir)}", path)
                except FileNotFoundError:
                    continue  # the run has been removed meanwhile
    return manifest


def restore(settings: Settings, archive: Path) -> Manifest:
    """Put a backup into an empty data directory and, if the database is elsewhere, into an empty database. BackupError says why
    not; then nothing is there that was not before."""
    _refuse_full(settings)
    folder = settings.data_dir / RESTORING
    folder.mkdir(mode=0o700)
    try:
        manifest = extract(archive, folder)
        _refuse_foreign(archive, manifest, settings, folder)
        if manifest.database == "postgresql":
            _load(settings, folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    _put(settings, folder)
    return manifest


def _copy_sqlite(database: Database, target: Path) -> None:
    """SQLite's online backup, in one step: one state of the database, while others read and write."""
    assert database.file is not None
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(database.file)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        found = copy.execute("PRAGMA quick_check").fetchone()[0]
    if found != "ok":
        raise BackupError(f"{database.file}: it is damaged: {found}; restore an older backup")


def _load(settings: Settings, folder: Path) -> None:
    database = Database(settings.database_url)
    try:
        with database.reader.connect() as connection:
            if inspect(connection).get_table_names():
                raise BackupError(f"{migrate.shown(database)}: it has tables; name an empty database")
        postgres.load(database, folder / DATABASE["postgresql"])
    finally:
        database.close()


def _files(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(where) / name
            if path.is_file() and not path.is_symlink():
                yield path


def _refuse_full(settings: Settings) -> None:
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in settings.data_dir.iterdir():
        if path.name not in EMPTY and not (path.is_dir() and not any(path.iterdir())):
            raise BackupError(
                f"{settings.data_dir}: it is not empty, there is {path.name}; name an empty folder: --data-dir"
            )
    for elsewhere, what in ((settings.key_file, "key file"), (_sqlite_file(settings), "database")):
        if elsewhere is not None and elsewhere.exists():
            raise BackupError(f"{elsewhere}: there is a {what}; move it away, or name another one")


def _sqlite_file(settings: Settings) -> Path | None:
    url = make_url(settings.database_url)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def _refuse_foreign(archive: Path, manifest: Manifest, settings: Settings, folder: Path) -> None:
    kind = make_url(settings.database_url).get_backend_name()
    if manifest.database != kind:
        raise BackupError(
            f"{archive}: its database is {manifest.database}; name such a one, not {kind}: --database"
        )
    if not migrate.is_known(manifest.schema):
        raise BackupError(
            f"{archive}: version {manifest.version} made it, with the schema {manifest.schema}, which is newer than "
            f"this one's; install that version to restore it"
        )
    for name in (DATABASE[kind], KEYS):
        if not (folder / name).is_file():
            raise BackupError(f"{archive}: {name} is not in it")
    try:
        Keys(Settings(data_dir=folder, key_file=folder / KEYS))
    except KeyFileError as error:
        raise BackupError(f"{archive}: {error}") from None


def _put(settings: Settings, folder: Path) -> None:
    """From the folder inside of the data directory to where it belongs. The database comes last, and the folder goes."""
    owner = settings.data_dir.stat()
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
    shutil.move(folder / KEYS, settings.key_file or settings.data_dir / KEYS)
    if (folder / RUNS).is_dir():
        if settings.runs_dir.is_dir():
            settings.runs_dir.rmdir()
        (folder / RUNS).rename(settings.runs_dir)
    file = _sqlite_file(settings)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.move(folder / DATABASE["sqlite"], file)
    shutil.rmtree(folder)
