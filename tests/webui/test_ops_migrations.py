# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations: they lead to what the models say, keep what is stored, and are done whole or not at all."""

from __future__ import annotations

import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from crosshost_webui.accounts.models import Token, User
from crosshost_webui.db import migrate
from crosshost_webui.db.base import now
from crosshost_webui.db.engine import Database
from sqlalchemy import Connection, inspect, text

from tests.support.postgres import Postgres

# Rebuilds, on SQLite, a table that another one refers to with ON DELETE CASCADE.
SECOND = """
from alembic import op
from sqlalchemy import Column, String

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("user_account", recreate="auto") as batch:
        batch.add_column(Column("mail", String(200), nullable=False, server_default="none"))
        batch.alter_column("display_name", type_=String(300))
    op.execute("UPDATE user_account SET mail = name")
"""
# What a process does that is killed when the N-th statement is sent.
KILLED = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import Engine, event
from crosshost_webui.db import migrate
from crosshost_webui.db.engine import Database

url, scripts, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
migrate.SCRIPTS = Path(scripts)
database = Database(url)
sent = 0

@event.listens_for(Engine, "after_cursor_execute")
def after(*_):
    global sent
    sent += 1
    if sent == last:
        os.kill(os.getpid(), signal.SIGKILL)

migrate.upgrade(database)
print(sent)
"""


@pytest.fixture
def fresh(empty_url: str) -> Iterator[Database]:
    found = Database(empty_url)
    yield found
    found.close()


@pytest.fixture
def next_scripts(tmp_path: Path) -> Path:
    """The migrations of the version after this one."""
    found = tmp_path / "scripts"
    shutil.copytree(migrate.SCRIPTS, found, ignore=shutil.ignore_patterns("__pycache__"))
    (found / "versions" / "0002_test.py").write_text(SECOND)
    return found


def upgrade_in_a_child(database: Database, scripts: Path, last: int) -> subprocess.CompletedProcess[str]:
    url = database.url.render_as_string(hide_password=False)
    return subprocess.run(
        [sys.executable, "-c", KILLED, url, str(scripts), str(last)],
        cwd=Path(__file__).parents[2] / "webui", capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def schema(connection: Connection) -> dict[str, Any]:
    """All that the database says of its tables, by name."""
    found: dict[str, Any] = {}
    looking = inspect(connection)
    for table in looking.get_table_names():
        if table == "alembic_version":
            continue
        for column in looking.get_columns(table):
            found[f"{table}.{column['name']}"] = (
                column["type"].compile(connection.dialect), column["nullable"], column["default"],
            )  # fmt: skip
        found[f"{table} primary key"] = looking.get_pk_constraint(table)
        for kind in ("foreign_keys", "unique_constraints", "check_constraints", "indexes"):
            for one in getattr(looking, f"get_{kind}")(table):
                told = {key: str(value) for key, value in one.items() if key != "dialect_options"}
                found[f"{table} {kind} {one['name']}"] = told
    queries = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' OR type = 'index'",
        "postgresql": "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace AND conname NOT LIKE 'alembic%' "
        "UNION ALL SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal "
        "UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    }
    for name, words in connection.execute(text(queries[connection.dialect.name])):
        if "alembic" not in name:
            found[f"as written: {name}"] = re.sub(r"\s+", " ", words or "")
    return found


def schema_of(database: Database) -> dict[str, Any]:
    with database.reader.connect() as connection:
        return schema(connection)


def tables_of(database: Database) -> set[str]:
    with database.reader.connect() as connection:
        return set(inspect(connection).get_table_names())


def drop_all(database: Database) -> None:
    tables = tables_of(database)
    if database.file is not None:
        # a connection that does not look at foreign keys: those of the tables go round in a circle
        with closing(sqlite3.connect(database.file)) as raw:
            for table in tables:
                raw.execute(f'DROP TABLE "{table}"')
            raw.commit()
        return
    with database.writer.begin() as connection:
        for table in tables:
            connection.exec_driver_sql(f'DROP TABLE "{table}" CASCADE')


def test_they_lead_to_what_the_models_say(fresh: Database) -> None:
    fresh.create()
    wanted = schema_of(fresh)
    drop_all(fresh)
    assert tables_of(fresh) == set()
    migrate.upgrade(fresh)
    found = schema_of(fresh)
    assert {name: found.get(name) for name in wanted} == wanted
    assert set(found) == set(wanted)
    assert [name for name in found if "overlap" in name], "the guards are part of what is compared"


def test_a_second_upgrade_does_nothing(fresh: Database) -> None:
    assert migrate.current(fresh) is None
    assert migrate.upgrade(fresh)[-1] == migrate.head()
    assert migrate.upgrade(fresh) == []
    assert migrate.current(fresh) == migrate.head()
    migrate.demand_head(fresh)


def test_servers_that_start_together_migrate_once(empty_url: str) -> None:
    databases = [Database(empty_url) for _ in range(4)]
    applied: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda one=one: applied.append(migrate.upgrade(one))) for one in databases
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(len, applied)) == [0, 0, 0, 1]
    for one in databases:
        one.close()


def test_an_older_schema_is_not_worked_with(fresh: Database) -> None:
    with pytest.raises(migrate.SchemaError, match=r"its schema is empty.*run `crosshost-webui migrate`"):
        migrate.demand_head(fresh)


def test_a_newer_schema_is_refused(
    fresh: Database, next_scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "SCRIPTS", next_scripts)
        assert migrate.upgrade(fresh) == ["0001", "0002"]
    before = schema_of(fresh)
    for attempt in (migrate.upgrade, migrate.demand_head):
        with pytest.raises(migrate.SchemaError, match="its schema 0002 is newer than this version"):
            attempt(fresh)
    assert schema_of(fresh) == before


def test_a_database_of_something_else_is_left_alone(fresh: Database) -> None:
    with fresh.writer.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE run (id INTEGER)")
    with pytest.raises(migrate.SchemaError, match="it has tables, run for one"):
        migrate.upgrade(fresh)
    assert tables_of(fresh) == {"run"}


def put_users(database: Database) -> None:
    with database.write() as s:
        s.add(User(id=1, name="ann", role="admin", created_at=now()))
        s.flush()
        s.add(
            Token(
                key="k",
                digest=b"d",
                pepper_id="p",
                user_id=1,
                name="of ann",
                scopes=["read"],
                created_at=now(),
            )
        )


def users(database: Database) -> list[tuple[Any, ...]]:
    with database.reader.connect() as connection:
        query = "SELECT u.name, t.name FROM user_account u JOIN token t ON t.user_id = u.id"
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def test_an_upgrade_keeps_what_is_stored(
    fresh: Database, next_scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.upgrade(fresh)
    put_users(fresh)
    monkeypatch.setattr(migrate, "SCRIPTS", next_scripts)
    assert migrate.upgrade(fresh) == ["0002"]
    assert users(fresh) == [("ann", "of ann")]
    with fresh.writer.begin() as connection:
        assert connection.exec_driver_sql("SELECT mail FROM user_account").scalar() == "ann"
        # and references are enforced again
        connection.exec_driver_sql("DELETE FROM user_account")
        assert connection.exec_driver_sql("SELECT count(*) FROM token").scalar() == 0


def test_a_migration_that_loses_references_changes_nothing(
    tmp_path: Path, next_scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite only: PostgreSQL enforces references all the time."""
    database = Database(f"sqlite:///{tmp_path}/crosshost.db")
    migrate.upgrade(database)
    put_users(database)
    (next_scripts / "versions" / "0002_test.py").write_text(
        SECOND.replace("UPDATE user_account SET mail = name", "DELETE FROM user_account")
    )
    monkeypatch.setattr(migrate, "SCRIPTS", next_scripts)
    with pytest.raises(migrate.SchemaError, match="would leave 1 rows that refer to nothing"):
        migrate.upgrade(database)
    assert migrate.current(database) == "0001"
    assert users(database) == [("ann", "of ann")]
    database.close()


@pytest.mark.slow
@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.9, 1.0])
def test_a_killed_first_migration_leaves_nothing(tmp_path: Path, part: float) -> None:
    whole = Database(f"sqlite:///{tmp_path}/whole.db")
    sent = int(upgrade_in_a_child(whole, migrate.SCRIPTS, -1).stdout)
    assert sent > 50
    database = Database(f"sqlite:///{tmp_path}/crosshost.db")
    # the first statements read what is there, so begin with the tenth
    ended = upgrade_in_a_child(database, migrate.SCRIPTS, round(10 + part * (sent - 10)))
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert tables_of(database) == set()
    assert migrate.upgrade(database) == ["0001"]
    assert schema_of(database) == schema_of(whole)
    for one in (database, whole):
        one.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_killed_upgrade_leaves_the_old_schema_and_its_data(
    kind: str, tmp_path: Path, next_scripts: Path, request: pytest.FixtureRequest
) -> None:
    server: Postgres | None = request.getfixturevalue("postgres") if kind == "postgresql" else None

    def upgraded() -> Database:
        found = Database(server.fresh() if server else f"sqlite:///{tmp_path}/{len(databases)}.db")
        databases.append(found)
        migrate.upgrade(found)
        put_users(found)
        return found

    databases: list[Database] = []
    sent = int(upgrade_in_a_child(upgraded(), next_scripts, -1).stdout)
    for last in range(3, sent + 1, 1 if server else 4):
        database = upgraded()
        before = schema_of(database)
        ended = upgrade_in_a_child(database, next_scripts, last)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert migrate.current(database) == "0001"
        assert schema_of(database) == before
        assert users(database) == [("ann", "of ann")]
    for one in databases:
        one.close()
