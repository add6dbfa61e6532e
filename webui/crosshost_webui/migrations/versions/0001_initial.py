# SPDX-License-Identifier: GPL-3.0-or-later
"""The first schema. Written out and not taken from the models, which go on changing: what a migration does never changes."""

from functools import partial

from alembic import op
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

tables = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
BIG = BigInteger().with_variant(Integer, "sqlite")
INSTANT = BigInteger()
JSON_ = JSON().with_variant(JSONB, "postgresql")
ACTIVE = text("status IN ('claimed', 'running', 'cancelling')")
need = partial(Column, nullable=False)
may = partial(Column, nullable=True)

Table(
    "user_account", tables, need("id", BIG, primary_key=True), need("name", String(150), unique=True),
    need("display_name", String(200)), need("role", String(16)), need("source", String(8)),
    may("subject", String(400)), may("password", String(400)), need("disabled", Boolean),
    need("created_at", INSTANT), may("signed_in_at", INSTANT),
    CheckConstraint("role IN ('viewer', 'operator', 'admin')", "role"),
    CheckConstraint("source IN ('local', 'oidc')", "source"), UniqueConstraint("source", "subject"),
)  # fmt: skip
Table(
    "sign_in", tables, need("id", LargeBinary(32), primary_key=True),
    need("user_id", BIG, ForeignKey("user_account.id", ondelete="CASCADE"), index=True),
    need("created_at", INSTANT), need("seen_at", INSTANT), need("expires_at", INSTANT, index=True),
    need("address", String(64)), need("agent", String(300)),
)  # fmt: skip
Table(
    "token", tables, need("id", BIG, primary_key=True), need("key", String(24), unique=True),
    need("digest", LargeBinary(32)), need("pepper_id", String(16)),
    need("user_id", BIG, ForeignKey("user_account.id", ondelete="CASCADE"), index=True),
    need("name", String(150)), need("scopes", JSON_), need("created_at", INSTANT), may("expires_at", INSTANT),
    may("used_at", INSTANT), may("revoked_at", INSTANT),
)  # fmt: skip
Table(
    "bucket", tables, need("key", String(200), primary_key=True), need("level", Double),
    need("at", INSTANT, index=True),
)  # fmt: skip
Table(
    "secret", tables, need("id", BIG, primary_key=True), need("name", String(150)), need("kind", String(24)),
    need("key_id", String(16), index=True), need("nonce", LargeBinary(12)), need("sealed", LargeBinary),
    need("fingerprint", String(120)), need("created_at", INSTANT), may("used_at", INSTANT),
    CheckConstraint("kind IN ('ssh_key', 'vault_password', 'become_password')", "kind"),
    UniqueConstraint("kind", "name"),
)  # fmt: skip
Table(
    "remembered", tables, need("principal", String(64), primary_key=True),
    need("key", String(255), primary_key=True), need("digest", LargeBinary(32)), need("status", BIG),
    need("body", LargeBinary), need("at", INSTANT, index=True),
)  # fmt: skip
Table(
    "audit_entry", tables, need("id", BIG, primary_key=True), need("at", INSTANT, index=True),
    need("who", String(150)), need("through", String(150)), need("action", String(60)),
    need("object_type", String(40)), need("object_id", String(80)), need("object_name", String(300)),
    may("before", JSON_), may("after", JSON_), need("request_id", String(40)), need("address", String(64)),
    Index(None, "action", "id"), Index(None, "object_type", "id"),
    Index(None, "object_type", "object_id", "id"), Index(None, "who", "id"),
)  # fmt: skip
Table(
    "revision", tables, need("id", BIG, primary_key=True), need("at", INSTANT), need("who", String(150)),
    need("message", String(500)), need("changes", BIG),
)  # fmt: skip
Table(
    "item", tables, need("id", BIG, primary_key=True), need("kind", String(16)), need("name", String(400)),
    may("host", String(253)), may("network", String(60)), need("body", JSON_), need("resolved", JSON_),
    need("revision_id", BIG, ForeignKey("revision.id"), index=True), need("created_at", INSTANT),
    need("updated_at", INSTANT), UniqueConstraint("kind", "name"),
    CheckConstraint(
        "kind IN ('group', 'host', 'gwbridge', 'overlay', 'bridge', 'macvlan', 'ingress', "
        "'endpoint', 'service')",
        "kind",
    ),
    Index(None, "kind", "host"), Index(None, "kind", "network"), sqlite_autoincrement=True,
)  # fmt: skip
Table(
    "change", tables, need("id", BIG, primary_key=True),
    need("revision_id", BIG, ForeignKey("revision.id"), index=True), need("kind", String(16)),
    need("name", String(400)), may("before", JSON_), may("after", JSON_), Index(None, "kind", "name", "id"),
)  # fmt: skip
Table(
    "snapshot", tables, need("revision_id", BIG, ForeignKey("revision.id"), primary_key=True),
    need("digest", String(64)), need("body", LargeBinary),
)  # fmt: skip
Table(
    "host_report", tables, need("host", String(253), primary_key=True), need("at", INSTANT),
    may("run_id", BIG), need("body", JSON_),
)  # fmt: skip
Table(
    "seen", tables, need("id", BIG, primary_key=True), need("host", String(253)), need("module", String(40)),
    need("network", String(60)), need("name", String(253)), need("field", String(24)),
    need("family", String(8)), need("value", String(64)), need("run_id", BIG), need("at", INSTANT),
    Index(None, "family", "value"), Index(None, "host", "module"),
)  # fmt: skip
Table(
    "scope", tables, need("id", BIG, primary_key=True), need("name", String(60), unique=True),
)  # fmt: skip
Table(
    "pool", tables, need("id", BIG, primary_key=True), need("scope_id", BIG, ForeignKey("scope.id")),
    need("name", String(200)), need("kind", String(8)), need("purpose", String(24)), need("version", BIG),
    need("protocol", String(4)), may("cidr", String(50)), may("base", LargeBinary(16)),
    may("top", LargeBinary(16)), need("unit", BIG), need("length", BIG), need("first_value", BIG),
    need("size", BIG), need("used", BIG),
    may("block_id", BIG, ForeignKey("block.id", ondelete="CASCADE", use_alter=True), index=True),
    need("note", String(500)), need("created_at", INSTANT), UniqueConstraint("scope_id", "name"),
    CheckConstraint("kind IN ('subnet', 'address', 'vni', 'port')", "kind"),
    CheckConstraint("size > 0 AND used >= 0 AND used <= size", "size"),
    Index(None, "scope_id", "kind", "version", "base"), Index(None, "scope_id", "purpose"),
    sqlite_autoincrement=True,
)  # fmt: skip
Table(
    "block", tables, need("id", BIG, primary_key=True), need("pool_id", BIG, ForeignKey("pool.id")),
    need("first", BIG), need("last", BIG), need("value", String(100), index=True),
    need("owner_type", String(16)), need("owner_id", String(80)), need("name", String(120)),
    need("label", String(400)), need("state", String(12)), need("automatic", Boolean),
    need("note", String(500)), need("who", String(150)), may("revision_id", BIG), need("created_at", INSTANT),
    may("released_at", INSTANT), UniqueConstraint("pool_id", "first"),
    UniqueConstraint("owner_type", "owner_id", "name", "pool_id"),
    CheckConstraint("first <= last AND first >= 0", "extent"),
    CheckConstraint("state IN ('active', 'reserved', 'quarantined')", "state"),
    Index(None, "released_at", sqlite_where=text("released_at IS NOT NULL"), postgresql_where=text("released_at IS NOT NULL")),
    sqlite_autoincrement=True,
)  # fmt: skip
Table(
    "free", tables, need("pool_id", BIG, ForeignKey("pool.id", ondelete="CASCADE"), primary_key=True),
    need("first", BIG, primary_key=True), need("last", BIG), need("ord", BIG),
    CheckConstraint("first <= last", "extent"), Index(None, "pool_id", "ord", "first"),
)  # fmt: skip
Table(
    "run", tables, need("id", BIG, primary_key=True), need("playbook", String(60)),
    need("origin", String(12)), may("uuid", String(64), unique=True), may("revision_id", BIG),
    need("inventory_digest", String(64)), need("limit", String(500)), need("tags", String(300)),
    need("check_mode", Boolean), need("diff_mode", Boolean), need("variables", JSON_), need("secrets", JSON_),
    may("forks", BIG), need("command", JSON_), need("who", String(150)), need("status", String(12)),
    need("explanation", String(1000)), need("lock_key", String(200)), may("executor_id", String(120)),
    may("lease_until", INSTANT, index=True), may("cancel_by", String(150)), may("pid", BIG),
    may("pid_start", BIG), may("rc", BIG), need("queued_at", INSTANT), may("started_at", INSTANT),
    may("ended_at", INSTANT), need("last_seq", BIG), need("output_bytes", BIG), need("counts", JSON_),
    may("rerun_of", BIG), may("plan_id", BIG), may("schedule_id", BIG),
    CheckConstraint(
        "status IN ('queued', 'claimed', 'running', 'cancelling', 'ok', 'failed', "
        "'unreachable', 'cancelled', 'lost', 'refused')",
        "status",
    ),
    Index(None, "playbook", "id"), Index(None, "status", "id"),
    Index("ux_run_lock_key_active", "lock_key", unique=True, sqlite_where=ACTIVE, postgresql_where=ACTIVE),
)  # fmt: skip
Table(
    "run_host", tables, need("run_id", BIG, ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    need("host", String(253), primary_key=True), need("ok", BIG), need("changed", BIG), need("failed", BIG),
    need("unreachable", BIG), need("skipped", BIG), may("ended_at", INSTANT), Index(None, "host", "run_id"),
)  # fmt: skip
Table(
    "run_task", tables, need("run_id", BIG, ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    need("number", BIG, primary_key=True), need("name", String(300)), need("action", String(200)),
    need("play", String(300)), need("started_at", INSTANT),
)  # fmt: skip
Table(
    "event", tables, need("run_id", BIG, ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    need("seq", BIG, primary_key=True), need("at", INSTANT), need("kind", String(8)), may("task", BIG),
    may("host", String(253)), may("status", String(12)), may("duration_ms", BIG), may("body", LargeBinary),
    Index(None, "host", "at"), Index(None, "run_id", "host", "seq"), Index(None, "run_id", "status", "seq"),
    Index(None, "run_id", "task", "host"),
)  # fmt: skip
Table(
    "plan", tables, need("id", BIG, primary_key=True),
    need("run_id", BIG, ForeignKey("run.id", ondelete="CASCADE"), unique=True), need("digest", String(64)),
    need("hosts", JSON_), need("status", String(12)), need("created_at", INSTANT), need("who", String(150)),
    may("decided_by", String(150)), may("decided_at", INSTANT), may("applied_run_id", BIG),
    need("note", String(1000)),
)  # fmt: skip
Table(
    "schedule", tables, need("id", BIG, primary_key=True), need("name", String(150), unique=True),
    need("cron", String(100)), need("options", JSON_), need("enabled", Boolean),
    may("next_at", INSTANT, index=True), may("last_run_id", BIG), need("explanation", String(500)),
    need("created_at", INSTANT), need("who", String(150)),
)  # fmt: skip
Table(
    "drift", tables, need("id", BIG, primary_key=True), need("host", String(253)), need("module", String(60)),
    need("subject", String(200)), need("commands", JSON_), need("since", INSTANT, index=True),
    need("seen_at", INSTANT), need("first_run_id", BIG), need("last_run_id", BIG),
    UniqueConstraint("host", "module", "subject"),
)  # fmt: skip

# no two blocks of a pool overlap, nor two pools: PostgreSQL has constraints for it, SQLite triggers
GUARDS = {
    "postgresql": (
        (
            "ALTER TABLE block ADD CONSTRAINT ex_block_overlap EXCLUDE USING gist (pool_id WITH =, "
            "int8range(first, last, '[]') WITH &&)"
        ),
        (
            "ALTER TABLE pool ADD CONSTRAINT ex_pool_overlap EXCLUDE USING gist (scope_id WITH =, kind WITH =, "
            "(cidr::inet) inet_ops WITH &&) WHERE (cidr IS NOT NULL AND block_id IS NULL AND purpose <> "
            "'leaving')"
        ),
        (
            "ALTER TABLE pool ADD CONSTRAINT ex_pool_numbers EXCLUDE USING gist (scope_id WITH =, kind WITH =, "
            "protocol WITH =, int8range(first_value, first_value + size - 1, '[]') WITH &&) WHERE (cidr IS NULL "
            "AND block_id IS NULL AND purpose <> 'leaving')"
        ),
    ),
    "sqlite": (
        (
            "CREATE TRIGGER block_overlap_insert BEFORE INSERT ON block WHEN (SELECT o.last FROM block o WHERE "
            "o.pool_id = NEW.pool_id AND o.first <= NEW.last ORDER BY o.first DESC LIMIT 1) >= NEW.first BEGIN "
            "SELECT RAISE(ABORT, 'ex_block_overlap: it overlaps another block'); END"
        ),
        (
            "CREATE TRIGGER block_overlap_update BEFORE UPDATE OF pool_id, first, last ON block WHEN (SELECT "
            "o.last FROM block o WHERE o.pool_id = NEW.pool_id AND o.first <= NEW.last AND o.id <> OLD.id ORDER "
            "BY o.first DESC LIMIT 1) >= NEW.first BEGIN SELECT RAISE(ABORT, 'ex_block_overlap: it overlaps "
            "another block'); END"
        ),
        (
            "CREATE TRIGGER pool_overlap_insert BEFORE INSERT ON pool WHEN NEW.cidr IS NOT NULL AND NEW.block_id "
            "IS NULL AND NEW.purpose <> 'leaving' AND (SELECT o.top FROM pool o WHERE o.scope_id = NEW.scope_id "
            "AND o.kind = NEW.kind AND o.version = NEW.version AND o.block_id IS NULL AND o.purpose <> 'leaving' "
            "AND o.base <= NEW.top ORDER BY o.base DESC LIMIT 1) >= NEW.base BEGIN SELECT RAISE(ABORT, "
            "'ex_pool_overlap: it overlaps another pool'); END"
        ),
        (
            "CREATE TRIGGER pool_overlap_update BEFORE UPDATE OF scope_id, kind, version, protocol, cidr, base, "
            "top, first_value, size, block_id, purpose ON pool WHEN NEW.cidr IS NOT NULL AND NEW.block_id IS NULL "
            "AND NEW.purpose <> 'leaving' AND (SELECT o.top FROM pool o WHERE o.scope_id = NEW.scope_id AND "
            "o.kind = NEW.kind AND o.version = NEW.version AND o.block_id IS NULL AND o.purpose <> 'leaving' AND "
            "o.base <= NEW.top AND o.id <> OLD.id ORDER BY o.base DESC LIMIT 1) >= NEW.base BEGIN SELECT "
            "RAISE(ABORT, 'ex_pool_overlap: it overlaps another pool'); END"
        ),
        (
            "CREATE TRIGGER pool_numbers_insert BEFORE INSERT ON pool WHEN NEW.cidr IS NULL AND NEW.block_id IS "
            "NULL AND NEW.purpose <> 'leaving' AND EXISTS (SELECT 1 FROM pool o WHERE o.scope_id = NEW.scope_id "
            "AND o.kind = NEW.kind AND o.version = NEW.version AND o.block_id IS NULL AND o.purpose <> 'leaving' "
            "AND o.cidr IS NULL AND o.protocol = NEW.protocol AND o.first_value <= NEW.first_value + NEW.size - 1 "
            "AND o.first_value + o.size - 1 >= NEW.first_value ) BEGIN SELECT RAISE(ABORT, 'ex_pool_numbers: it "
            "overlaps another pool'); END"
        ),
        (
            "CREATE TRIGGER pool_numbers_update BEFORE UPDATE OF scope_id, kind, version, protocol, cidr, base, "
            "top, first_value, size, block_id, purpose ON pool WHEN NEW.cidr IS NULL AND NEW.block_id IS NULL AND "
            "NEW.purpose <> 'leaving' AND EXISTS (SELECT 1 FROM pool o WHERE o.scope_id = NEW.scope_id AND o.kind "
            "= NEW.kind AND o.version = NEW.version AND o.block_id IS NULL AND o.purpose <> 'leaving' AND o.cidr "
            "IS NULL AND o.protocol = NEW.protocol AND o.first_value <= NEW.first_value + NEW.size - 1 AND "
            "o.first_value + o.size - 1 >= NEW.first_value AND o.id <> OLD.id) BEGIN SELECT RAISE(ABORT, "
            "'ex_pool_numbers: it overlaps another pool'); END"
        ),
    ),
}


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS btree_gist")
    tables.create_all(connection)
    for statement in GUARDS[connection.dialect.name]:
        connection.exec_driver_sql(statement)
