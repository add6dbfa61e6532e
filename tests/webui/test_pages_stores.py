# SPDX-License-Identifier: GPL-3.0-or-later
"""What lists on pages ask of the database, on both kinds of it."""

from __future__ import annotations

from crosshost_webui.audit.store import Actor
from crosshost_webui.db.base import now
from crosshost_webui.db.engine import Database
from crosshost_webui.drift import store_pages as drift_pages
from crosshost_webui.inventory import service as inventory
from crosshost_webui.inventory import store as inventory_store
from crosshost_webui.inventory import store_pages
from crosshost_webui.ipam import service as ipam
from crosshost_webui.runs.models import Drift


def test_counts_of_many_objects_at_once(database: Database) -> None:
    edits = [
        *(
            inventory.Edit("host", None, {"name": name, "vtep": f"10.98.0.{n}"})
            for n, name in enumerate(("a", "b", "c"), 1)
        ),
        *(inventory.Edit("overlay", None, {"name": name}) for name in ("web", "db")),
        *(
            inventory.Edit("endpoint", None, {"host": host, "network": network, "container": container})
            for host, network, container in (
                ("a", "web", "x"),
                ("a", "web", "y"),
                ("a", "db", "x"),
                ("b", "web", "x"),
            )
        ),
    ]
    with database.write() as s:
        ipam.ensure_defaults(s)
        inventory.change(s, Actor("ann"), edits)
        inventory_store.report(s, "a", None, {"kernel": "6"})
        inventory_store.saw(s, "a", "endpoint", 1, [("web", "x", "ip", "address", "10.0.0.2")])
    with database.read() as s:
        assert store_pages.endpoints_by_host(s, ["a", "b", "c"]) == {"a": 3, "b": 1}
        assert store_pages.endpoints_by_network(s, ["web", "other"]) == {"web": 3}
        assert store_pages.endpoints_by_both(s, ["a"]) == {("a", "web"): 2, ("a", "db"): 1}
        assert set(store_pages.looked_at(s, ["a", "b"])) == {"a"}
        assert store_pages.count_looked_at(s) == 1
        assert store_pages.names(s, ["host"]) == ["a", "b", "c"]
        assert store_pages.names(s, ["host"], 2) == ["a", "b"]
        assert [one.value for one in store_pages.seen_on(s, "a")] == ["10.0.0.2"]
        assert store_pages.endpoints_by_host(s, []) == {}


def test_drift_of_many_networks(database: Database) -> None:
    moment = now()
    with database.read() as s:
        assert drift_pages.oldest(s) is None
    with database.write() as s:
        for host, subject in (("a", "web"), ("b", "web"), ("a", "db")):
            s.add(
                Drift(
                    host=host, module="m", subject=subject, commands=[], since=moment, seen_at=moment, first_run_id=1, last_run_id=1
                )
            )  # fmt: skip
    with database.read() as s:
        assert drift_pages.hosts_by_subject(s, ["web", "db", "other"]) == {"web": 2, "db": 1}
        assert drift_pages.oldest(s) == moment
