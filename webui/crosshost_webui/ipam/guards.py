# SPDX-License-Identifier: GPL-3.0-or-later
"""What the database itself refuses, whoever writes: two blocks of one pool that overlap, two pools of one kind and scope that do.

On PostgreSQL exclusion constraints; SQLite has none, so triggers there look at the one neighbour that can overlap, as those that
are there do not overlap each other. Pools of a subnet's addresses follow their subnets and need no guard of their own. Nor does
a pool that is `leaving`: its subnet may be another's in the same transaction.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import DDL, Table, event

EXTENSION = "CREATE EXTENSION IF NOT EXISTS btree_gist"

_BLOCKS = """
    ALTER TABLE block ADD CONSTRAINT ex_block_overlap
    EXCLUDE USING gist (pool_id WITH =, int8range(first, last, '[]') WITH &&)"""
_POOLS = """
    ALTER TABLE pool ADD CONSTRAINT ex_pool_overlap
    EXCLUDE USING gist (scope_id WITH =, kind WITH =, (cidr::inet) inet_ops WITH &&)
    WHERE (cidr IS NOT NULL AND block_id IS NULL AND purpose <> 'leaving')"""
_NUMBERS = """
    ALTER TABLE pool ADD CONSTRAINT ex_pool_numbers
    EXCLUDE USING gist (scope_id WITH =, kind WITH =, protocol WITH =,
        int8range(first_value, first_value + size - 1, '[]') WITH &&)
    WHERE (cidr IS NULL AND block_id IS NULL AND purpose <> 'leaving')"""
POSTGRESQL = {"block": (_BLOCKS,), "pool": (_POOLS, _NUMBERS)}

# {other} leaves out the row itself
_BLOCK_OVERLAPS = """
    (SELECT o.last FROM block o WHERE o.pool_id = NEW.pool_id AND o.first <= NEW.last {other}
     ORDER BY o.first DESC LIMIT 1) >= NEW.first"""
_POOL_OVERLAPS = """
    NEW.cidr IS NOT NULL AND NEW.block_id IS NULL AND NEW.purpose <> 'leaving' AND
    (SELECT o.top FROM pool o WHERE o.scope_id = NEW.scope_id AND o.kind = NEW.kind AND o.version = NEW.version
     AND o.block_id IS NULL AND o.purpose <> 'leaving' AND o.base <= NEW.top {other}
     ORDER BY o.base DESC LIMIT 1) >= NEW.base"""
_NUMBERS_OVERLAP = """
    NEW.cidr IS NULL AND NEW.block_id IS NULL AND NEW.purpose <> 'leaving' AND
    EXISTS (SELECT 1 FROM pool o WHERE o.scope_id = NEW.scope_id AND o.kind = NEW.kind AND o.version = NEW.version
     AND o.block_id IS NULL AND o.purpose <> 'leaving' AND o.cidr IS NULL AND o.protocol = NEW.protocol
     AND o.first_value <= NEW.first_value + NEW.size - 1 AND o.first_value + o.size - 1 >= NEW.first_value {other})"""


def _triggers(table: str, name: str, columns: str, condition: str) -> tuple[str, str]:
    """Before an insert, and before an update of what decides."""
    found = []
    for verb, of, other in (("INSERT", "", ""), ("UPDATE", f"OF {columns} ", "AND o.id <> OLD.id")):
        found.append(
            f"CREATE TRIGGER {table}_{name}_{verb.lower()} BEFORE {verb} {of}ON {table} "
            f"WHEN {condition.format(other=other)} "
            f"BEGIN SELECT RAISE(ABORT, 'ex_{table}_{name}: it overlaps another {table}'); END"
        )
    return found[0], found[1]


_POOL_COLUMNS = "scope_id, kind, version, protocol, cidr, base, top, first_value, size, block_id, purpose"
SQLITE = {
    "block": _triggers("block", "overlap", "pool_id, first, last", _BLOCK_OVERLAPS),
    "pool": (
        *_triggers("pool", "overlap", _POOL_COLUMNS, _POOL_OVERLAPS),
        *_triggers("pool", "numbers", _POOL_COLUMNS, _NUMBERS_OVERLAP),
    ),
}


def attach(pool: Table, block: Table) -> None:
    """Have these tables made together with their guards, by create_all() as by create_table() of a migration."""
    for table in (pool, block):
        event.listen(table, "before_create", _ddl(EXTENSION, "postgresql"))
        for dialect, statements in (("postgresql", POSTGRESQL), ("sqlite", SQLITE)):
            for statement in statements[table.name]:
                event.listen(table, "after_create", _ddl(statement, dialect))


def _ddl(statement: str, dialect: str) -> Any:
    return DDL(statement).execute_if(dialect=dialect)  # type: ignore[no-untyped-call]
