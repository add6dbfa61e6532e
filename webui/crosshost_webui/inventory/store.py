# SPDX-License-Identifier: GPL-3.0-or-later
"""All SQL of the inventory."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Table, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ..db.base import Json, now
from ..db.engine import ReadSession, WriteSession
from .kinds import Entry, Key
from .models import Change, HostReport, Item, Revision, Seen, Snapshot

EMPTY = 0  # the revision of the empty inventory
BEGINNING = datetime.fromtimestamp(0, UTC)
_COLUMNS = (
    Item.id, Item.kind, Item.name, Item.body, Item.resolved, Item.revision_id, Item.created_at, Item.updated_at
)  # fmt: skip
_MANY = 5000  # rows of one statement


class Altered(NamedTuple):
    """What a revision did to an item: ``before`` or ``after`` None: it was not there. Each is {"body", "resolved"?}; without
    ``resolved`` that is the same as the body."""

    kind: str
    name: str
    before: Json | None
    after: Json | None


class Filters(NamedTuple):
    """Which items; None: any. ``text``: in the name. ``driver`` is among the kinds."""

    text: str | None = None
    host: str | None = None
    network: str | None = None


# ---- revisions


def begin(s: WriteSession) -> Revision:
    """The newest revision. Whoever else wants to change the inventory waits from here on."""
    table = Revision.__table__
    dialect = sqlite if s.get_bind().dialect.name == "sqlite" else postgresql
    root = {"id": EMPTY, "at": BEGINNING, "who": "", "message": "", "changes": 0}
    s.execute(dialect.insert(table).values(root).on_conflict_do_nothing())
    s.execute(select(Revision.id).where(Revision.id == EMPTY).with_for_update())
    return s.scalars(select(Revision).order_by(Revision.id.desc()).limit(1)).one()


def newest(s: ReadSession) -> Revision:
    found = s.scalars(select(Revision).order_by(Revision.id.desc()).limit(1)).first()
    return found or Revision(id=EMPTY, at=BEGINNING, who="", message="", changes=0)


def revision(s: ReadSession, revision_id: int) -> Revision | None:
    if revision_id == EMPTY:
        return s.get(Revision, EMPTY) or Revision(id=EMPTY, at=BEGINNING, who="", message="", changes=0)
    return s.get(Revision, revision_id)


def add_revision(s: WriteSession, revision_id: int, who: str, message: str, changes: int) -> Revision:
    found = Revision(id=revision_id, at=now(), who=who[:150], message=message, changes=changes)
    s.add(found)
    s.flush()
    return found


def revisions(s: ReadSession, limit: int, before_id: int | None = None) -> Sequence[Revision]:
    """The newest first, without the empty inventory's."""
    query = select(Revision).where(Revision.id > EMPTY).order_by(Revision.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(Revision.id < before_id)
    return s.scalars(query).all()


# ---- items


def _entry(row: Sequence[Any]) -> Entry:
    return Entry(*row)


def items(s: ReadSession) -> dict[Key, Entry]:
    """All of them, in one statement."""
    rows = s.execute(select(*_COLUMNS).order_by(Item.id))
    return {one.key: one for one in map(_entry, rows)}


def item(s: ReadSession, kind: str, name: str) -> Entry | None:
    row = s.execute(select(*_COLUMNS).where(Item.kind == kind, Item.name == name)).first()
    return None if row is None else _entry(row)


def item_by_id(s: ReadSession, item_id: int) -> Entry | None:
    row = s.execute(select(*_COLUMNS).where(Item.id == item_id)).first()
    return None if row is None else _entry(row)


def page(
    s: ReadSession, kinds: Sequence[str], filters: Filters, limit: int, after: tuple[str, str] | None
) -> list[Entry]:
    """In the order of kinds and names; ``after``: kind and name of the last one before."""
    query = _filtered(select(*_COLUMNS), kinds, filters).order_by(Item.kind, Item.name).limit(limit)
    if after is not None:
        kind, name = after
        query = query.where((Item.kind > kind) | ((Item.kind == kind) & (Item.name > name)))
    return [_entry(row) for row in s.execute(query)]


def count(s: ReadSession, kinds: Sequence[str], filters: Filters = Filters()) -> dict[str, int]:  # noqa: B008
    """How many there are, by kind."""
    query = _filtered(select(Item.kind, func.count()), kinds, filters).group_by(Item.kind)
    found: dict[str, int] = dict.fromkeys(kinds, 0)
    found.update((kind, number) for kind, number in s.execute(query))
    return found


def _filtered(query: Any, kinds: Sequence[str], filters: Filters) -> Any:
    query = query.where(Item.kind.in_(kinds))
    if filters.text:
        query = query.where(func.lower(Item.name).contains(filters.text.lower(), autoescape=True))
    if filters.host is not None:
        query = query.where(Item.host == filters.host)
    if filters.network is not None:
        query = query.where(Item.network == filters.network)
    return query


def add_items(s: WriteSession, rows: Sequence[Json]) -> list[int]:
    """Insert items; returns their ids in the order of ``rows``. One that has an ``id`` keeps it."""
    found: list[int] = []
    for begin_at in range(0, len(rows), _MANY):
        part = rows[begin_at : begin_at + _MANY]
        with_id = [row for row in part if "id" in row]
        if with_id:
            s.execute(insert(Item), with_id)
        new = [row for row in part if "id" not in row]
        ids = iter(
            s.scalars(insert(Item).returning(Item.id, sort_by_parameter_order=True), new) if new else ()
        )
        found += [row["id"] if "id" in row else next(ids) for row in part]
    return found


def change_items(s: WriteSession, rows: Sequence[Json]) -> None:
    """``rows``: id, body, resolved, host, network, revision_id, updated_at."""
    if rows:
        s.execute(update(Item), list(rows))


def remove_items(s: WriteSession, ids: Iterable[int]) -> None:
    listed = list(ids)
    if listed:
        table = Item.__table__
        assert isinstance(table, Table)
        s.connection().execute(
            delete(table).where(table.c.id == bindparam("gone")), [{"gone": one} for one in listed]
        )


# ---- history


def add_changes(s: WriteSession, revision_id: int, changes: Sequence[Altered]) -> None:
    rows = [{"revision_id": revision_id, **one._asdict()} for one in changes]
    if rows:
        s.execute(insert(Change), rows)


def changes(
    s: ReadSession, revision_id: int, limit: int | None = None, after: int | None = None
) -> Sequence[Change]:
    """Of one revision, in the order in which they were stored; ``after``: the id of the last one before."""
    query = select(Change).where(Change.revision_id == revision_id).order_by(Change.id)
    if after is not None:
        query = query.where(Change.id > after)
    return s.scalars(query.limit(limit) if limit else query).all()


def changes_since(s: ReadSession, revision_id: int, until: int | None = None) -> Sequence[Change]:
    """Of all revisions after this one, up to ``until``, the newest first."""
    query = select(Change).where(Change.revision_id > revision_id).order_by(Change.id.desc())
    if until is not None:
        query = query.where(Change.revision_id <= until)
    return s.scalars(query).all()


def history(
    s: ReadSession, kind: str, name: str, limit: int, before_id: int | None = None
) -> list[tuple[Change, Revision]]:
    """What became of one object, the newest first; ``before_id``: of changes."""
    query = (
        select(Change, Revision).join(Revision, Revision.id == Change.revision_id)
        .where(Change.kind == kind, Change.name == name).order_by(Change.id.desc()).limit(limit)
    )  # fmt: skip
    if before_id is not None:
        query = query.where(Change.id < before_id)
    return [(change, found) for change, found in s.execute(query)]


# ---- snapshots


def snapshot(s: ReadSession, revision_id: int) -> tuple[str, Json] | None:
    row = s.execute(select(Snapshot.digest, Snapshot.body).where(Snapshot.revision_id == revision_id)).first()
    return None if row is None else (row[0], json.loads(zlib.decompress(row[1])))


def add_snapshot(s: WriteSession, revision_id: int, digest: str, text: bytes) -> None:
    s.add(Snapshot(revision_id=revision_id, digest=digest, body=zlib.compress(text, 6)))
    s.flush()


# ---- what hosts and runs tell


def reports(s: ReadSession, hosts: Iterable[str] | None = None) -> dict[str, Json]:
    """What hosts last said of themselves, by host; of all, or of these."""
    query = select(HostReport.host, HostReport.body)
    if hosts is None:
        return dict(s.execute(query).all())
    found: dict[str, Json] = {}
    listed = list(hosts)
    for begin_at in range(0, len(listed), 500):
        part = listed[begin_at : begin_at + 500]
        found.update(s.execute(query.where(HostReport.host.in_(part))).all())
    return found


def host_report(s: ReadSession, host: str) -> HostReport | None:
    return s.get(HostReport, host)


def report(s: WriteSession, host: str, run_id: int | None, body: Json) -> None:
    """Keep what a host says of itself, in place of what it said before."""
    found = s.get(HostReport, host)
    if found is None:
        s.add(HostReport(host=host, at=now(), run_id=run_id, body=body))
    else:
        found.at, found.run_id, found.body = now(), run_id, body
    s.flush()


def saw(
    s: WriteSession, host: str, module: str, run_id: int, items: Iterable[tuple[str, str, str, str, str]]
) -> None:
    """Keep what a module read back on a host, in place of what it read before: (network, name, field, family, value)."""
    s.execute(delete(Seen).where(Seen.host == host, Seen.module == module))
    at = now()
    rows = [
        {
            "host": host, "module": module, "network": _cut(network, 60), "name": _cut(name, 253),
            "field": _cut(field, 24), "family": _cut(family, 8), "value": _cut(value, 64), "run_id": run_id, "at": at,
        }
        for network, name, field, family, value in items
    ]  # fmt: skip
    if rows:
        s.execute(insert(Seen), rows)


def _cut(text: str, most: int) -> str:
    """As the column takes it, whatever a host says."""
    return str(text).replace("\0", "").encode("utf-8", "replace").decode()[:most]


def seen(s: ReadSession, host: str | None = None, value: str | None = None) -> Sequence[Seen]:
    """What was read back, on a host, or of an address or another value; at most 1,000."""
    query = select(Seen).order_by(Seen.id).limit(1000)
    if host is not None:
        query = query.where(Seen.host == host)
    if value is not None:
        query = query.where(Seen.value == value)
    return s.scalars(query).all()
