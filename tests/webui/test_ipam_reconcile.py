# SPDX-License-Identifier: GPL-3.0-or-later
"""From the allocation to the host and back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from crosshost_webui.db.base import now
from crosshost_webui.db.engine import Database, WriteSession
from crosshost_webui.inventory.models import Item, Revision, Seen
from crosshost_webui.ipam import reconcile, store_seen, views
from crosshost_webui.ipam.service import Wanted, ensure_defaults, get_block
from crosshost_webui.runs.models import Run

from tests.webui.support_ipam import claimed, grants, item

NET = (
    Wanted("subnet 0", "overlay4"),
    Wanted("gateway 0", "address", within="subnet 0"),
    Wanted("vni 0", "vni"),
)


@pytest.fixture
def s(database: Database) -> Iterator[WriteSession]:
    with database.write() as s:
        ensure_defaults(s)
        yield s


def see(
    s: WriteSession, host: str, family: str, value: str, module: str = "endpoint", network: str = "web"
) -> None:
    """A value that a module has read back."""
    field = {"address": "ip", "port": "published"}.get(family, family)
    row = Seen(
        host=host,
        module=module,
        network=network,
        name="shop",
        field=field,
        family=family,
        value=value,
        run_id=1,
        at=now(),
    )
    s.add(row)
    s.flush()


def ip(scope: str = "cluster", within: str = "10.0.0.0/24") -> Wanted:
    return Wanted("ip", "address", None, within, scope=scope)


def missing(s: WriteSession) -> list[str]:
    return [one.value for one in reconcile.missing(s, 100).found]


def strays(s: WriteSession) -> list[tuple[str, str, str | None]]:
    """Host, value, and whose it was."""
    found = reconcile.strays(s, 100).found
    return [(one.seen.host, one.seen.value, one.former and one.former.owner) for one in found]


def test_what_is_allocated_and_on_no_host(s: WriteSession) -> None:
    claimed(s, item(1), *NET)
    claimed(s, item(2), ip(), Wanted("port 8080/tcp", "port", "8080/tcp"))
    assert missing(s) == ["10.0.0.0/24", "1048577", "8080/tcp", "10.0.0.2"]
    for family, value in (
        ("subnet", "10.0.0.0/24"),
        ("vni", "1048577"),
        ("address", "10.0.0.2"),
        ("port", "8080/udp"),
    ):
        see(s, "a", family, value)
    assert missing(s) == ["8080/tcp"]
    claimed(s, item(2))
    assert missing(s) == []


def test_what_is_on_a_host_and_not_allocated(s: WriteSession) -> None:
    claimed(s, item(1), *NET)
    claimed(s, item(2), ip())
    for value in ("10.0.0.2", "10.0.0.9"):
        see(s, "a", "address", value)
    see(s, "a", "vni", "1048577")
    see(s, "b", "vni", "7100")
    see(s, "b", "subnet", "10.0.0.0/16")
    assert strays(s) == [("a", "10.0.0.9", None), ("b", "7100", None), ("b", "10.0.0.0/16", None)]
    claimed(s, item(2))
    assert strays(s)[0] == ("a", "10.0.0.2", "network n2")


def test_what_hosts_choose_by_themselves(s: WriteSession) -> None:
    s.add(Revision(id=1, at=now(), who="ann", changes=1))
    s.flush()
    s.add(
        Item(
            kind="macvlan", name="lan", body={}, resolved={}, revision_id=1, created_at=now(), updated_at=now(),
        )
    )  # fmt: skip
    s.flush()
    see(s, "a", "address", "10.0.0.9", "ingress", "ingress")
    see(s, "a", "address", "192.168.1.77", "endpoint", "lan")
    see(s, "a", "port", "8080/tcp", "endpoint")
    assert strays(s) == []
    see(s, "a", "port", "8080/tcp", "ingress")
    assert strays(s) == [("a", "8080/tcp", None)]


def test_what_is_one_hosts_own(s: WriteSession) -> None:
    for number, host in ((1, "a"), (2, "b")):
        scope = f"host {host}"
        claimed(s, item(number), Wanted("subnet 0", "bridge4", "10.0.0.0/24", scope=scope))
        claimed(s, item(number + 10), ip(scope))
    see(s, "a", "address", "10.0.0.1")
    see(s, "c", "address", "10.0.0.1")
    assert missing(s) == ["10.0.0.0/24", "10.0.0.0/24", "10.0.0.1"]
    assert strays(s) == [("c", "10.0.0.1", None)]
    claimed(s, item(11))
    assert strays(s) == [("a", "10.0.0.1", "network n11"), ("c", "10.0.0.1", None)]


def test_in_parts(s: WriteSession) -> None:
    """Whatever a part looks at, all together are found once."""
    for number in range(25):
        claimed(s, item(number), Wanted("vni 0", "vni"))
        if number % 3:
            see(s, "a", "vni", str(2**20 + 1 + number))
        see(s, "a", "vni", str(5000 + number))
    for limit, scan in ((1, 1), (2, 7), (100, 10), (3, 100)):
        found: list[str] = []
        after: int | None = 0
        while after is not None:
            rows, after = store_seen.not_seen(s, limit, scan, after)
            found += [row[0].value for row in rows]
        assert found == [str(2**20 + 1 + number) for number in range(0, 25, 3)]
        stray: list[str] = []
        after = 0
        while after is not None:
            part, after = store_seen.not_allocated(s, limit, scan, after)
            stray += [one.value for one in part]
        assert stray == [str(5000 + number) for number in range(25)]


def test_the_chain(s: WriteSession) -> None:
    s.add(Revision(id=7, at=now(), who="ann", changes=1))
    s.flush()
    s.add(
        Item(
            id=1, kind="overlay", name="web", body={}, resolved={}, revision_id=7, created_at=now(), updated_at=now(),
        )
    )  # fmt: skip
    run = Run(
        id=1, playbook="site", origin="page", variables={}, secrets=[], command=[], who="ann", status="ok", lock_key="x",
        queued_at=now(), counts={},
    )  # fmt: skip
    s.add(run)
    s.flush()
    subnet, gateway, _vni = grants(s, item(1)._replace(revision_id=7), *NET)
    see(s, "a", "subnet", subnet.value, "overlay_network")
    see(s, "b", "subnet", subnet.value, "overlay_network")
    see(s, "b", "subnet", "10.9.0.0/24", "overlay_network")
    found = views.chain(s, subnet.block_id)
    assert found.item is not None
    assert (found.item.name, found.revision and found.revision.id) == ("web", 7)
    assert [one.host for one in found.seen] == ["a", "b"]
    assert list(found.runs) == [1]
    assert found.addresses is not None
    assert found.subnet is None
    inside = views.chain(s, gateway.block_id)
    assert inside.subnet is not None
    assert inside.subnet.block.id == subnet.block_id
    assert inside.seen == []
    assert get_block(s, gateway.block_id).value == "10.0.0.1"
