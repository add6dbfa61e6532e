# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations of the database: from what it has to what this version needs, in one transaction, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from .engine import Database

SCRIPTS = Path(__file__).parents[1] / "migrations"
_PG_LOCK = 0x63726F7373  # two servers that start together migrate one after the other


class SchemaError(Exception):
    """The schema is not one that this version can work with. One line."""


def head() -> str:
    """The revision that this version needs."""
    found = _scripts().get_current_head()
    assert found is not None
    return found


def current(database: Database) -> str | None:
    """The revision that the database has; None: it is empty."""
    with database.reader.connect() as connection:
        return _revision(connection)


def is_known(revision: str) -> bool:
    """Whether this version can upgrade from it."""
    return revision in {one.revision for one in _scripts().walk_revisions()}


def upgrade(database: Database) -> list[str]:
    """Bring it to ``head()``. Returns the revisions that were applied. SchemaError if it is newer than this version, or not the
    dashboard's."""
    scripts = _scripts()
    with _exclusive(database) as connection:
        before = _revision(connection)
        _refuse(before, connection, database)
        if before == scripts.get_current_head():
            return []
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if database.is_sqlite:
            _check_references(connection)
        return [one.revision for one in reversed(list(scripts.iterate_revisions("head", before or "base")))]


def demand_head(database: Database) -> None:
    """SchemaError unless the schema is the one of this version."""
    with database.reader.connect() as connection:
        before = _revision(connection)
        _refuse(before, connection, database)
    if before != head():
        raise SchemaError(
            f"{shown(database)}: its schema is {before or 'empty'}, this version needs {head()}; "
            "run `crosshost-webui migrate`"
        )


def shown(database: Database) -> str:
    """The database, for people: without the password."""
    return f"database {database.url.render_as_string(hide_password=True)}"


def _refuse(before: str | None, connection: Connection, database: Database) -> None:
    if before is None:
        tables = inspect(connection).get_table_names()
        if tables:
            raise SchemaError(
                f"{shown(database)}: it has tables, {tables[0]} for one, but no schema version, so it is not "
                "the dashboard's; name an empty database"
            )
    elif not is_known(before):
        raise SchemaError(
            f"{shown(database)}: its schema {before} is newer than this version, which knows up to {head()}; "
            "install the version that wrote it, or restore a backup"
        )


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


@contextmanager
def _exclusive(database: Database) -> Iterator[Connection]:
    """A connection in a transaction that nobody else writes beside. On SQLite without the enforcement of foreign keys: replacing
    a table that others refer to would delete their rows. It can only be switched outside of a transaction."""
    with database.in_turn(), database.writer.connect() as connection:
        if not database.is_sqlite:
            with connection.begin():
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _PG_LOCK})
                yield connection
            return
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute("PRAGMA foreign_keys=OFF")
        try:
            with connection.begin():
                yield connection
        finally:
            driver.execute("PRAGMA foreign_keys=ON")


def _check_references(connection: Connection) -> None:
    lost = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if lost:
        raise SchemaError(
            f"the migration would leave {len(lost)} rows that refer to nothing; nothing is changed"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
