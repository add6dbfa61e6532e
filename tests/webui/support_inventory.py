# SPDX-License-Identifier: GPL-3.0-or-later
"""Short ways to change an inventory in tests, and what is asked of it afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from crosshost_webui.audit.store import Actor
from crosshost_webui.db.engine import Database
from crosshost_webui.inventory import service
from crosshost_webui.inventory.service import Edit, Entry, Outcome
from crosshost_webui.web.problem import Problem

ANN = Actor("ann", "", "request-1", "192.0.2.1")
HOSTS = [Edit("host", None, {"name": f"h{n}", "vtep": f"10.98.0.{n}"}) for n in (1, 2, 3)]
WEB = {"name": "web", "subnets": [{"subnet": "10.20.1.0/24", "vni": 7101}]}


def end(host: str, network: str, sandbox: str, **more: Any) -> dict[str, Any]:
    return {"host": host, "network": network, "sandbox": sandbox, "create": True, **more}


def change(database: Database, *edits: Edit, message: str = "", is_admin: bool = False) -> Outcome:
    with database.write() as s:
        return service.outcome(s, ANN, edits, message, is_admin=is_admin)


def add(database: Database, kind: str, **body: Any) -> Entry:
    """The item that this body makes."""
    done = change(database, Edit(kind, None, body))
    name = next(one.name for one in done.changes if one.kind == kind)
    return get(database, kind, name)


def get(database: Database, kind: str, name: str) -> Entry:
    with database.read() as s:
        return service.one(s, kind, name)


def names(database: Database, kind: str) -> list[str]:
    with database.read() as s:
        return sorted(name for found, name in service.items(s) if found == kind)


def refused(database: Database, *edits: Edit, is_admin: bool = False) -> Problem:
    """The error of a change; that it has changed nothing is checked as well."""
    before = everything(database)
    with pytest.raises(Problem) as error:
        change(database, *edits, is_admin=is_admin)
    assert everything(database) == before
    assert error.value.detail.isprintable(), error.value.detail
    return error.value


def everything(database: Database) -> Any:
    """All that a change could leave behind."""
    from crosshost_webui.db.base import Base
    from sqlalchemy import text

    ignored = ("scope", "pool", "free", "block")  # the default pools may have been made
    with database.read() as s:
        rows = {
            table.name: s.execute(text(f"SELECT * FROM {table.name}")).all()  # noqa: S608 - names of our own
            for table in Base.metadata.sorted_tables
            if table.name not in ignored
        }
        rows["block"] = s.execute(
            text("SELECT id, first, last, owner_id, state FROM block ORDER BY id")
        ).all()
        return {name: sorted(map(repr, found)) for name, found in rows.items()}
