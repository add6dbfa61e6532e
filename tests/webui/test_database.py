# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions: what is written together is there together or not at all."""

from __future__ import annotations

import threading

import pytest
from crosshost_webui.db.engine import Database
from crosshost_webui.ipam.models import Scope
from sqlalchemy import func, select


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    told = []
    with pytest.raises(ZeroDivisionError), database.write() as session:
        session.add(Scope(name="a"))
        session.flush()
        session.afterwards(lambda: told.append(1))
        raise ZeroDivisionError
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Scope)) == 0
    assert told == []


def test_writers_take_turns(database: Database) -> None:
    """Each counts the rows and adds one named by the count: two that overlapped would clash."""

    def add() -> None:
        for _ in range(5):
            with database.write() as session:
                if not database.is_sqlite:
                    session.connection().exec_driver_sql("LOCK TABLE scope IN EXCLUSIVE MODE")
                session.add(Scope(name=f"n{session.scalar(select(func.count()).select_from(Scope))}"))

    threads = [threading.Thread(target=add) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Scope)) == 30


def test_a_reader_sees_one_state(database: Database) -> None:
    with database.read() as reading:
        assert reading.scalar(select(func.count()).select_from(Scope)) == 0
        with database.write() as session:
            session.add(Scope(name="a"))
        assert reading.scalar(select(func.count()).select_from(Scope)) == 0


def test_whether_a_write_would_have_to_wait(database: Database) -> None:
    assert not database.is_writing()
    with database.write() as session:
        session.add(Scope(name="a"))
        assert database.is_writing() == database.is_sqlite
    assert not database.is_writing()
