# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections. Reading and writing sessions are distinct types, so that a signature says what a function does.

SQLite has one writer at a time. Who waits in its busy handler sleeps and may be overtaken for seconds; so writers queue
before it, at a lock on a file beside the database, which the kernel hands over in order, between threads and processes.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from . import models

BUSY_MS = 30_000
READERS = 16
WRITERS = 8  # PostgreSQL's only


class ReadSession(Session):
    """Sees one state of the database."""


class WriteSession(ReadSession):
    """Holds, on SQLite, the one right to write."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._afterwards: list[Callable[[], None]] = []

    def afterwards(self, action: Callable[[], None]) -> None:
        """Call this once all is committed; never if it is rolled back."""
        self._afterwards.append(action)

    def done(self) -> None:
        for action in self._afterwards:
            action()


class Database:
    """One database. ``url``: of SQLAlchemy, sqlite or postgresql+psycopg."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.file = Path(self.url.database) if self.is_sqlite and self.url.database else None
        self._turn = threading.Lock()
        if self.is_sqlite:
            if self.file is None:
                raise ValueError("database: a database in memory is not supported; name a file")
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # for its owner only; what SQLite puts beside it has the same mode
            os.close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._lock_file = self.file.with_name(f"{self.file.name}.lock")
            self.reader = self._sqlite("BEGIN", READERS)
            self.writer = self._sqlite("BEGIN IMMEDIATE", 1)
        else:
            self.writer = create_engine(
                self.url, pool_size=WRITERS, max_overflow=READERS, pool_pre_ping=True, hide_parameters=True
            )
            # the same connections; a page that asks twice is answered out of one state
            self.reader = self.writer.execution_options(isolation_level="REPEATABLE READ")

    def _sqlite(self, begin: str, size: int) -> Engine:
        engine = create_engine(
            self.url,
            pool_size=size,
            max_overflow=0,
            connect_args={"check_same_thread": False},
            hide_parameters=True,
        )

        @event.listens_for(engine, "connect")
        def _connected(connection: Any, _record: Any) -> None:
            # the driver would begin transactions by itself, and not before a SELECT
            connection.isolation_level = None
            cursor = connection.cursor()
            for pragma in (
                f"busy_timeout={BUSY_MS}", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON",
                "temp_store=MEMORY", "cache_size=-8192",
            ):  # fmt: skip
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        @event.listens_for(engine, "begin")
        def _begun(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    def create(self) -> None:
        """Make all tables, as the newest migration leaves them."""
        # A constraint that was made by ALTER in this process, on PostgreSQL, is marked so; SQLite, which has no such ALTER, would
        # then be made without it.
        for table in models.Base.metadata.tables.values():
            for constraint in table.foreign_key_constraints:
                constraint._create_rule = None
        with self.writer.begin() as connection:
            models.Base.metadata.create_all(connection)

    @contextmanager
    def read(self) -> Iterator[ReadSession]:
        with ReadSession(self.reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[WriteSession]:
        """Committed at the end of the block; rolled back if it raises. Not to be nested."""
        with WriteSession(self.writer, expire_on_commit=False) as session, self.in_turn(), session.begin():
            yield session
        session.done()

    def is_writing(self) -> bool:
        """Whether this process is writing at the moment, so that another write had to wait; PostgreSQL has no such turn."""
        return self.is_sqlite and self._turn.locked()

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        if not self.is_sqlite:
            yield
            return
        with self._turn:
            descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)

    def close(self) -> None:
        self.reader.dispose()
        self.writer.dispose()
