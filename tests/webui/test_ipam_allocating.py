# SPDX-License-Identifier: GPL-3.0-or-later
"""What people and programs allocate beside the declarations, and the pools they make."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from crosshost_webui.audit.models import AuditEntry
from crosshost_webui.db.engine import Database, WriteSession
from crosshost_webui.ipam import service, store_read, store_scopes, views
from crosshost_webui.ipam.models import Pool
from crosshost_webui.ipam.service import Allocation, NewPool, Wanted
from crosshost_webui.web.problem import Conflict, Invalid, NotFound
from sqlalchemy import select

from tests.webui.support_ipam import ACTOR, assert_clean, claimed, item


@pytest.fixture
def s(database: Database) -> Iterator[WriteSession]:
    """One transaction; what it leaves has to add up."""
    with database.write() as s:
        service.ensure_defaults(s)
        yield s
    assert_clean(database)


def given(s: WriteSession, **values: Any) -> str:
    """What is allocated for the owner `printers`."""
    wanted = Allocation(**{"owner": "printers", "name": "p1", **values})
    return service.allocate(s, ACTOR, wanted)[0].value


def block_of(s: WriteSession, name: str = "p1", owner: str = "printers") -> int:
    found = store_read.block_of_owner(s, "manual", owner, name)
    assert found is not None
    return found


def make(s: WriteSession, **values: Any) -> Pool:
    return service.create_pool(s, ACTOR, NewPool(**{"name": "mine", "kind": "subnet", **values}))


def test_next_free_exact_and_again(s: WriteSession) -> None:
    assert given(s, purpose="overlay4") == "10.0.0.0/24"
    assert given(s, purpose="overlay4") == "10.0.0.0/24"
    assert given(s, purpose="overlay4", value="10.0.0.0/24") == "10.0.0.0/24"
    assert given(s, name="p2", within="10.0.0.0/24") == "10.0.0.1"
    assert given(s, name="p3", within="10.0.0.128/25", avoid=["10.0.0.128/30"]) == "10.0.0.132"
    assert given(s, name="p4", within="10.0.0.0/24", count=16) == "10.0.0.144-10.0.0.159"
    assert given(s, name="p5", within="10.0.0.0/24", value="10.0.0.40-10.0.0.44") == "10.0.0.40-10.0.0.44"
    assert given(s, name="p6", purpose="overlay4", length=26) == "10.0.1.0/26"
    assert given(s, name="p7", purpose="vni") == "1048577"
    assert given(s, name="p8", purpose="vni", value="5000") == "5000"
    assert given(s, name="p9", purpose="port", value="53/udp") == "53/udp"
    assert given(s, name="p10", purpose="port", scope="host a") == "30000/tcp"
    assert given(s, name="p11", purpose="overlay6", length=80).endswith("/80")
    assert given(s, name="p12", purpose="bridge4", value="192.168.1.0/24") == "192.168.1.0/24"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "say where by exactly one of pool_id, purpose, within"),
        ({"purpose": "vni", "within": "10.0.0.0/24"}, "say where by exactly one"),
        ({"purpose": "lan"}, "purpose 'lan': take one of overlay4, overlay6"),
        ({"purpose": "overlay4", "count": 2}, "of subnets say the length"),
        ({"purpose": "vni", "count": 3}, "take a power of two"),
        ({"purpose": "vni", "value": "1-16777215/tcp"}, "write a number"),
        ({"purpose": "overlay4", "value": "fd00::/64"}, "it has to be IPv4"),
        ({"purpose": "overlay4", "length": 33}, "no free /33 is left"),
        ({"purpose": "overlay4", "avoid": ["x"]}, "write an address"),
        ({"within": "10.9.9.0/24"}, "there is no subnet 10.9.9.0/24"),
        ({"purpose": "vni", "count": 2**40}, "no free 1099511627776 in a row is left in VNIs"),
    ],
)
def test_refusals(s: WriteSession, values: dict[str, Any], text: str) -> None:
    with pytest.raises(Invalid) as raised:
        given(s, **values)
    assert raised.value.detail.startswith("printers: p1")
    assert text in raised.value.detail


def test_the_same_name_for_something_else(s: WriteSession) -> None:
    given(s, purpose="vni")
    for values in ({"purpose": "overlay4"}, {"purpose": "vni", "value": "7"}):
        with pytest.raises(Conflict, match="printers: p1: it is 1048577 of VNIs"):
            given(s, **values)


def test_release_and_quarantine(s: WriteSession) -> None:
    given(s, purpose="vni")
    block_id = block_of(s)
    service.release_block(s, ACTOR, block_id)
    held = service.get_block(s, block_id)
    assert (held.block.state, held.name) == ("quarantined", "p1")
    assert given(s, purpose="vni") == "1048578"
    service.release_block(s, ACTOR, block_id)
    with pytest.raises(NotFound):
        service.get_block(s, block_id)
    assert given(s, name="p2", purpose="vni") == "1048577"
    service.release_block(s, ACTOR, block_of(s, "p2"), at_once=True)
    assert given(s, name="p3", purpose="vni") == "1048577"
    actions = s.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert actions == ["allocate", "release", "allocate", "release", "allocate", "release", "allocate"]


def test_what_cannot_be_released(s: WriteSession) -> None:
    claimed(s, item(1), Wanted("vni 0", "vni"))
    (row,) = store_read.blocks_of_owner(s, "item", "1")
    with pytest.raises(Conflict, match="it is declared as vni 0; change the declaration"):
        service.release_block(s, ACTOR, row[0].id)
    assert given(s, purpose="overlay4") == "10.0.0.0/24"
    inside = store_read.pool_of_block(s, block_of(s))
    assert inside is not None
    with pytest.raises(Conflict, match="it is the network address"):
        service.release_block(s, ACTOR, store_read.blocks(s, inside.id, 1)[0].id)
    given(s, name="p2", owner="others", within="10.0.0.0/24")
    with pytest.raises(Conflict, match="others has an address of it"):
        service.release_block(s, ACTOR, block_of(s))
    service.release_block(s, ACTOR, block_of(s, "p2", "others"))
    service.release_block(s, ACTOR, block_of(s))
    assert store_read.pool(s, inside.id) is None


def test_a_reserved_range(s: WriteSession) -> None:
    given(s, purpose="overlay4")
    given(s, name="dhcp", within="10.0.0.0/24", value="10.0.0.1-10.0.0.99", reserve=True)
    assert given(s, name="p2", within="10.0.0.0/24") == "10.0.0.100"
    assert service.get_block(s, block_of(s, "dhcp")).block.state == "reserved"
    with pytest.raises(Invalid, match=r"10\.0\.0\.50: printers has it as dhcp"):
        given(s, name="p3", within="10.0.0.0/24", value="10.0.0.50")


def test_pools_of_all_kinds(s: WriteSession) -> None:
    one = make(s, name="site B", cidr="100.64.0.0/10", length=26, purpose="network4")
    assert given(s, pool_id=one.id) == "100.64.0.0/26"
    two = make(s, name="labels", kind="vni", scope="host a", first=100, last=199)
    assert given(s, name="p2", pool_id=two.id) == "100"
    three = make(s, name="management", kind="address", cidr="10.4.0.0/24")
    assert given(s, name="p3", pool_id=three.id) == "10.4.0.1"
    four = make(s, name="others'", kind="address", cidr="203.0.113.0/24")
    assert given(s, name="p4", within="203.0.113.0/24") == "203.0.113.1"
    assert three.block_id is not None
    assert four.block_id is None
    assert make(s, name="six", cidr="fd00:9::/64", length=80).size == 2**62
    assert make(s, name="big six", kind="address", cidr="2001:db8::/64").size == 2**63 - 1
    with pytest.raises(Invalid, match="pool management has it as management"):
        given(s, name="p5", purpose="overlay4", value="10.4.0.0/16")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"cidr": "10.1.0.0/16"}, "it overlaps the pool networks IPv4 (10.0.0.0/8) of the scope cluster"),
        ({"cidr": "0.0.0.0/0"}, "it overlaps the pool networks IPv4"),
        ({"cidr": "192.168.0.1/16"}, "it has host bits; write 192.168.0.0/16"),
        ({"cidr": None}, "write a CIDR block"),
        ({"cidr": "192.168.0.0/16", "length": 8}, "subnets of 192.168.0.0/16 have 16 to 32"),
        ({"cidr": "fd00:9::/32", "length": 120}, "can be cut into /94 at most"),
        ({"cidr": "192.168.0.0/16", "purpose": "network6"}, "purpose 'network6': such a pool serves one of: network4"),
        ({"cidr": "192.168.0.0/16", "purpose": "vni"}, "purpose 'vni'"),
        ({"cidr": "192.168.0.0/16", "name": "networks IPv4"}, "there is one already"),
        ({"cidr": "192.168.0.0/16", "name": "10.7.0.0/24"}, "pools of subnets are called so"),
        ({"cidr": "192.168.0.0/16", "name": "declared 10.7.0.0/24"}, "pools of subnets are called so"),
        ({"kind": "address", "cidr": "8.0.0.0/6"}, "it overlaps the pool networks IPv4"),
        ({"kind": "vni", "first": 7}, "needs first and last"),
        ({"kind": "vni", "first": 7, "last": 9}, "it overlaps the pool VNIs 1-1048576"),
        ({"kind": "port", "first": 9, "last": 7, "protocol": "sctp"}, "it has to be in 1 to 65535"),
        ({"kind": "address", "cidr": "10.0.0.0/24", "purpose": "network4"}, "such a pool serves one of: none"),
    ],
)  # fmt: skip
def test_pools_that_are_refused(s: WriteSession, values: dict[str, Any], text: str) -> None:
    with pytest.raises(Invalid) as raised:
        make(s, **values)
    assert text in raised.value.detail
    assert raised.value.detail.startswith(f"pool {values.get('name', 'mine')}")


def test_ports_of_a_host_as_somebody_has_cut_them(s: WriteSession) -> None:
    make(s, name="few", kind="port", scope="host a", first=8000, last=8001, purpose="port")
    assert given(s, purpose="port", scope="host a") == "8000/tcp"
    with pytest.raises(Invalid, match="no pool has it; add one in IPAM"):
        given(s, name="p2", purpose="port", scope="host a", value="9000")


def test_subnets_keep_out_of_pools_of_addresses(s: WriteSession) -> None:
    make(s, kind="address", cidr="203.0.113.0/24")
    with pytest.raises(Invalid, match=r"it overlaps the addresses of the pool mine \(203\.0\.113\.0/24\)"):
        given(s, purpose="overlay4", value="203.0.113.0/25")


def test_the_largest_block(s: WriteSession) -> None:
    big = make(s, kind="address", cidr="2001:db8::/64")
    assert given(s, pool_id=big.id, count=2**61) == "2001:db8:0:0:2000::-2001:db8::3fff:ffff:ffff:ffff"
    with pytest.raises(Invalid, match="is left in mine"):
        given(s, name="p2", pool_id=big.id, count=2**62)
    assert given(s, name="p3", pool_id=big.id) == "2001:db8::1"


def test_deleting_pools(s: WriteSession) -> None:
    (one,) = store_read.pools_for(s, store_scopes.add_scope(s, "cluster"), "network4")
    given(s, pool_id=one.id)
    with pytest.raises(Conflict, match=r"pool networks IPv4: printers has 10\.0\.0\.0/24 of it"):
        service.delete_pool(s, ACTOR, one.id)
    inside = store_read.pool_of_block(s, block_of(s))
    assert inside is not None
    with pytest.raises(Conflict, match="it holds the addresses of printers"):
        service.delete_pool(s, ACTOR, inside.id)
    service.release_block(s, ACTOR, block_of(s))
    management = make(s, name="management", kind="address", cidr="10.4.0.0/24")
    with pytest.raises(Conflict, match="management has 10"):
        service.delete_pool(s, ACTOR, one.id)
    with pytest.raises(Conflict, match="it holds the pool management; delete that"):
        service.release_block(s, ACTOR, management.block_id or 0)
    service.delete_pool(s, ACTOR, management.id)
    service.delete_pool(s, ACTOR, one.id)
    service.ensure_defaults(s)
    assert store_read.pool_by_name(s, one.scope_id, "networks IPv4") is None
    with pytest.raises(Invalid, match="no pool serves overlay4"):
        given(s, name="p2", purpose="overlay4")


def test_changing_a_pool(s: WriteSession) -> None:
    (one,) = store_read.pools_for(s, store_scopes.add_scope(s, "cluster"), "network4")
    changed = service.change_pool(s, ACTOR, one.id, "ingress4", 20, None)
    assert (changed.purpose, changed.length, changed.note) == ("ingress4", 20, "")
    assert given(s, purpose="ingress4") == "10.0.0.0/20"
    with pytest.raises(Invalid, match="no pool serves overlay4"):
        given(s, name="p2", purpose="overlay4")
    for purpose, length in (("network6", None), ("leaving", None), (None, 7), (None, 33)):
        with pytest.raises(Invalid):
            service.change_pool(s, ACTOR, one.id, purpose, length, None)
    inside = store_read.pool_of_block(s, block_of(s))
    assert inside is not None
    with pytest.raises(Conflict, match="serves nothing else"):
        service.change_pool(s, ACTOR, inside.id, "network4", None, None)
    assert service.change_pool(s, ACTOR, inside.id, None, None, "a note").note == "a note"


def test_views(s: WriteSession) -> None:
    given(s, purpose="overlay4")
    given(s, name="p2", within="10.0.0.0/24")
    branches = {one.pool.name: one for one in views.tree(s)}
    assert next(iter(branches)) == "tcp ports 1-29999"
    networks = branches["networks IPv4"]
    assert networks.range == "10.0.0.0/8"
    assert (networks.utilisation.used, networks.utilisation.percent) == (256, 1)
    assert branches["VNIs 1-1048576"].range == "1-1048576"
    assert views.tree(s, "host a") == []
    (one,) = views.subnets(s, networks.pool.id, 10)
    assert one.utilisation == views.Utilisation(3, 256)
    extents = views.free(s, networks.pool.id, 10)
    assert [(found.value, found.largest) for found in extents] == [("10.0.1.0-10.255.255.255", "/9")]
    assert [held.value for held in views.find(s, "10.0.0.1")] == ["10.0.0.1"]
    assert [held.value for held in views.find(s, "10.0.0.77")] == ["10.0.0.0/24"]
    assert views.find(s, "203.0.113.9") == views.find(s, "nonsense") == []
