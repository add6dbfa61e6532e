# SPDX-License-Identifier: GPL-3.0-or-later
"""How Alembic runs the migrations: on the connection that db.migrate hands over, inside of its transaction."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # db.migrate has begun the transaction; SQLite undoes DDL as well, which Alembic does not assume
    transactional_ddl=True,
    transaction_per_migration=False,
)
context.run_migrations()
