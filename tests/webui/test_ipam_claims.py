# SPDX-License-Identifier: GPL-3.0-or-later
"""What owners get, keep and lose."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from crosshost_webui.audit.models import AuditEntry
from crosshost_webui.db.base import now
from crosshost_webui.db.engine import Database, WriteSession
from crosshost_webui.inventory.models import HostReport
from crosshost_webui.ipam import store_read
from crosshost_webui.ipam.models import Block, Pool
from crosshost_webui.ipam.service import Wanted, ensure_defaults, reap, settle
from crosshost_webui.web.problem import Invalid
from sqlalchemy import func, select

from tests.webui.support_ipam import assert_clean, claimed, grants, item

NET = (
    Wanted("subnet 0", "overlay4"),
    Wanted("gateway 0", "address", within="subnet 0"),
    Wanted("vni 0", "vni"),
)


@pytest.fixture
def s(database: Database) -> Iterator[WriteSession]:
    """One transaction; what it leaves has to add up."""
    with database.write() as s:
        ensure_defaults(s)
        yield s
    assert_clean(database)


def at(cidr: str) -> Wanted:
    return Wanted("subnet 0", "overlay4", cidr)


def ip(
    value: str | None = None, within: str = "10.0.0.0/24", name: str = "ip", scope: str = "cluster"
) -> Wanted:
    return Wanted(name, "address", value, within, scope=scope)


def test_a_network_without_anything_gets_all(s: WriteSession) -> None:
    assert claimed(s, item(1), *NET) == {
        "subnet 0": "10.0.0.0/24",
        "gateway 0": "10.0.0.1",
        "vni 0": "1048577",
    }
    assert claimed(s, item(2), *NET) == {
        "subnet 0": "10.0.1.0/24",
        "gateway 0": "10.0.1.1",
        "vni 0": "1048578",
    }


def test_all_purposes(s: WriteSession) -> None:
    found = claimed(
        s, item(1), Wanted("a", "overlay6"), Wanted("b", "bridge4"), Wanted("c", "gwbridge4"), Wanted("d", "gwbridge6"),
        Wanted("e", "ingress4"), Wanted("port 0/tcp", "port"), Wanted("port 0/udp", "port"), Wanted("f", "lan", "192.168.7.0/24"),
        Wanted("g", "address", within="a"), Wanted("port 1/sctp", "port"), Wanted("h", "overlay4", length=20),
    )  # fmt: skip
    assert found["a"].startswith("fd")
    assert found["a"].endswith(":/64")
    assert found["g"] == found["a"].replace("/64", "1")
    assert found["d"] != found["a"]
    assert (found["b"], found["c"], found["e"], found["h"]) == (
        "10.0.0.0/24", "172.16.0.0/16", "10.0.1.0/24", "10.0.16.0/20",
    )  # fmt: skip
    assert (found["port 0/tcp"], found["port 0/udp"], found["port 1/sctp"]) == ("30000", "30000", "30000")
    assert found["f"] == "192.168.7.0/24"


def test_what_it_has_it_keeps(s: WriteSession) -> None:
    first = grants(s, item(1), *NET)
    assert grants(s, item(1), *NET) == first
    written = grants(s, item(1), at("10.0.0.0/24"), *NET[1:])
    assert written == [first[0]._replace(automatic=False), *first[1:]]
    assert grants(s, item(1), *NET) == first


def test_what_is_not_wanted_rests(s: WriteSession) -> None:
    claimed(s, item(1), *NET)
    claimed(s, item(1))
    assert claimed(s, item(2), *NET)["subnet 0"] == "10.0.1.0/24"
    states = s.execute(select(Block.value, Block.state).where(Block.owner_id == "1").order_by(Block.id)).all()
    assert [tuple(row) for row in states] == [("10.0.0.0/24", "quarantined"), ("1048577", "quarantined")]
    assert reap(s, 60) == 0
    assert reap(s, 0) == 2
    assert reap(s, 0) == 0
    assert claimed(s, item(3), *NET)["subnet 0"] == "10.0.0.0/24"


def test_the_same_owner_gets_the_same_back(s: WriteSession) -> None:
    claimed(s, item(1), *NET)
    claimed(s, item(9), *NET)
    claimed(s, item(1))
    assert claimed(s, item(1), *NET) == {
        "subnet 0": "10.0.0.0/24",
        "gateway 0": "10.0.0.1",
        "vni 0": "1048577",
    }


def test_exact_values_take_what_rests(s: WriteSession) -> None:
    claimed(s, item(1), *NET)
    claimed(s, item(1))
    assert claimed(s, item(2), at("10.0.0.0/23")) == {"subnet 0": "10.0.0.0/23"}


def test_automatic_choice_gets_out_of_the_way(s: WriteSession) -> None:
    """Of one owner, whichever comes first."""
    found = claimed(s, item(1), Wanted("a", "overlay4"), Wanted("b", "overlay4", "10.0.0.0/24"))
    assert found == {"a": "10.0.1.0/24", "b": "10.0.0.0/24"}


def test_addresses(s: WriteSession) -> None:
    claimed(s, item(1), *NET)
    assert claimed(s, item(2), ip()) == {"ip": "10.0.0.2"}
    assert claimed(s, item(3), ip("10.0.0.77")) == {"ip": "10.0.0.77"}
    assert claimed(s, item(4), ip(within="10.0.0.128/26")) == {"ip": "10.0.0.128"}
    assert claimed(s, item(5), ip("10.0.0.5", within="10.0.0.128/26")) == {"ip": "10.0.0.5"}
    assert claimed(s, item(6), ip()._replace(avoid=["10.0.0.0/28", "10.0.0.16"])) == {"ip": "10.0.0.17"}


def test_two_change_places(s: WriteSession) -> None:
    claimed(s, item(1), *NET)
    claimed(s, item(2), ip("10.0.0.5"), ip("10.0.0.6", name="ip6"))
    found = claimed(s, item(2), ip("10.0.0.6"), ip("10.0.0.5", name="ip6"))
    assert found == {"ip": "10.0.0.6", "ip6": "10.0.0.5"}


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (at("10.0.0.0/24"), "network x: subnet 0 10.0.0.0/24: network n1 has it as subnet 0"),
        (at("10.0.0.0/16"), "network n1 has it as subnet 0"),
        (at("10.0.0.64/26"), "network n1 has it as subnet 0"),
        (at("10.0.0.1/24"), "network x: subnet 0 '10.0.0.1/24': it has host bits; write 10.0.0.0/24"),
        (at("fd00::/64"), "it has to be IPv4"),
        (at("elsewhere"), "write a CIDR block such as 10.0.0.0/24"),
        (at("8.0.0.0/6"), "it overlaps the pool networks IPv4 (10.0.0.0/8) without lying in it"),
        (ip("10.0.0.1"), "network x: ip 10.0.0.1: network n1 has it as gateway 0"),
        (ip("10.0.0.0"), "it is the network address"),
        (ip("10.0.0.255"), "it is the broadcast address"),
        (ip("10.0.1.5"), "it is not in 10.0.0.0-10.0.0.255"),
        (ip("10.0.0.5-10.0.0.6"), "write one address"),
        (ip("::a00:5"), "it is none of 10.0.0.0-10.0.0.255"),
        (ip(within="10.7.0.0/24"), "there is no subnet 10.7.0.0/24; declare it in a network first"),
        (ip(within="x"), "subnet 'x': write a CIDR block"),
        (Wanted("lan", "lan"), "write the LAN's own block"),
        (Wanted("vni 0", "vni", "1048577"), "network n1 has it as vni 0"),
        (Wanted("vni 0", "vni", "16777216"), "it has to be in 1 to 16777215"),
        (Wanted("vni 0", "vni", "x"), "write a number such as 7100"),
        (Wanted("port", "port", "8080/icmp"), "no protocol is 'icmp'"),
        (Wanted("port", "port", "70000"), "it has to be in 1 to 65535"),
        (Wanted("subnet 0", "overlay4", length=7), "no free /7 is left"),
        (Wanted("subnet 0", "overlay4", length=33), "no subnet of IPv4 is a /33"),
        (Wanted("n" * 99, "vni"), "up to 98 characters"),
    ],
)  # fmt: skip
def test_refusals(database: Database, wanted: Wanted, text: str) -> None:
    with database.write() as s:
        claimed(s, item(1), *NET)
    with pytest.raises(Invalid) as raised, database.write() as s:
        claimed(s, item(2, "network x"), wanted)
    assert text in raised.value.detail
    assert raised.value.detail.startswith("network x: ")
    assert_clean(database)
    with database.read() as s:
        assert s.scalar(select(func.count()).select_from(Block).where(Block.owner_id == "2")) == 0


def test_a_name_twice(s: WriteSession) -> None:
    with pytest.raises(Invalid, match="it is there twice"):
        claimed(s, item(1), NET[0], NET[0])


def test_a_pool_that_is_full(s: WriteSession) -> None:
    claimed(s, item(1), at("10.0.0.0/30"))
    assert claimed(s, item(2), ip(within="10.0.0.0/30")) == {"ip": "10.0.0.1"}
    assert claimed(s, item(3), ip(within="10.0.0.0/30")) == {"ip": "10.0.0.2"}
    with pytest.raises(Invalid, match=r"no free one is left in 10\.0\.0\.0/30"):
        claimed(s, item(4), ip(within="10.0.0.0/30"))


def report(s: WriteSession, host: str, routes: list[str], nameservers: list[str]) -> None:
    s.add(HostReport(host=host, at=now(), run_id=None, body={"routes": routes, "nameservers": nameservers}))
    s.flush()


def test_hosts_routes_and_name_servers_are_left_alone(s: WriteSession) -> None:
    report(
        s,
        "alpha",
        ["default", "0.0.0.0/0", "10.0.0.0/24", "10.0.1.128/25", "fe80::/64", "172.16.0.0/15"],
        ["10.0.2.53"],
    )
    report(s, "beta", ["10.0.3.0/24", "fd00::/8", "127.0.0.0/8"], ["127.0.0.53", "nonsense"])
    with pytest.raises(Invalid, match="no free /64 is left"):
        claimed(s, item(1), Wanted("a", "overlay6"))
    assert claimed(s, item(2), *NET)["subnet 0"] == "10.0.4.0/24"
    assert claimed(s, item(3), Wanted("a", "gwbridge4")) == {"a": "172.18.0.0/16"}
    for cidr, text in (
        ("10.0.0.0/24", "it overlaps the route 10.0.0.0/24 of host alpha"),
        ("10.0.2.0/24", "it overlaps the name server 10.0.2.53 of host alpha"),
        ("10.0.3.128/25", "it overlaps the route 10.0.3.0/24 of host beta"),
    ):
        with pytest.raises(Invalid) as raised:
            claimed(s, item(4), at(cidr))
        assert text in raised.value.detail
    assert claimed(s, item(5), Wanted("a", "lan", "10.0.3.0/24")) == {"a": "10.0.3.0/24"}


def test_a_subnet_of_no_pool_has_one_of_its_own(s: WriteSession) -> None:
    assert claimed(s, item(1), at("192.168.5.0/24"), ip(within="192.168.5.0/24"))["ip"] == "192.168.5.1"
    with pytest.raises(Invalid, match=r"overlaps the pool declared 192\.168\.5\.0/24"):
        claimed(s, item(2), at("192.168.4.0/23"))
    claimed(s, item(1))
    assert claimed(s, item(2), at("192.168.4.0/23")) == {"subnet 0": "192.168.4.0/23"}
    claimed(s, item(2))
    assert reap(s, 0) == 1
    assert s.scalar(select(func.count()).select_from(Pool).where(Pool.purpose == "declared")) == 0


def test_a_subnet_grows_under_its_addresses(s: WriteSession) -> None:
    """The endpoints keep their addresses in the subnet that takes the place of theirs."""
    claimed(s, item(1), at("10.0.4.0/24"), ip(within="10.0.4.0/24", name="gateway 0"))
    assert claimed(s, item(2), ip(within="10.0.4.0/24")) == {"ip": "10.0.4.2"}
    assert claimed(s, item(3), ip(within="10.0.4.0/24")) == {"ip": "10.0.4.3"}
    found = claimed(s, item(1), at("10.0.4.0/23"), ip(within="10.0.4.0/23", name="gateway 0"))
    assert found == {"subnet 0": "10.0.4.0/23", "gateway 0": "10.0.4.1"}
    assert claimed(s, item(3), ip(within="10.0.4.0/23")) == {"ip": "10.0.4.3"}
    with pytest.raises(
        Invalid, match=r"the subnet 10\.0\.4\.0/24 cannot go, network n2 has 10\.0\.4\.2 of it as ip"
    ):
        settle(s)
    assert claimed(s, item(2), ip(within="10.0.4.0/23")) == {"ip": "10.0.4.2"}
    settle(s)
    names = s.scalars(select(Pool.name).where(Pool.kind == "address")).all()
    assert names == ["10.0.4.0/23"]


def test_a_subnet_does_not_go_under_its_addresses(database: Database) -> None:
    """Told before the commit, whoever forgets to ask."""
    with database.write() as s:
        claimed(s, item(1), *NET)
        claimed(s, item(2, "endpoint a/web/x"), ip())
    with (
        pytest.raises(
            Invalid,
            match=r"network n1: the subnet 10\.0\.0\.0/24 cannot go, endpoint a/web/x has 10\.0\.0\.2",
        ),
        database.write() as s,
    ):
        claimed(s, item(1))
    assert_clean(database)
    with database.write() as s:
        claimed(s, item(1))
        claimed(s, item(2))
    assert_clean(database)
    with database.read() as s:
        assert s.scalars(select(Block.state).where(Block.owner_type == "item").distinct()).all() == [
            "quarantined"
        ]
        assert s.scalar(select(func.count()).select_from(Pool).where(Pool.kind == "address")) == 0


def test_scopes_of_hosts_lie_beside_the_cluster(s: WriteSession) -> None:
    def bridge(cidr: str | None, host: str) -> Wanted:
        return Wanted("subnet 0", "bridge4", cidr, scope=f"host {host}")

    assert claimed(s, item(1), bridge("10.0.0.0/24", "a")) == {"subnet 0": "10.0.0.0/24"}
    assert claimed(s, item(2), bridge("10.0.0.0/24", "b")) == {"subnet 0": "10.0.0.0/24"}
    assert claimed(s, item(3), ip(scope="host a"), ip(scope="host b", name="other")) == {
        "ip": "10.0.0.1", "other": "10.0.0.1",
    }  # fmt: skip
    with pytest.raises(
        Invalid,
        match=r"network n4: subnet 0 10\.0\.0\.0/24: network n1 has it as subnet 0, in the scope host a",
    ):
        claimed(s, item(4), at("10.0.0.0/24"))
    assert claimed(s, item(5), *NET)["subnet 0"] == "10.0.1.0/24"
    with pytest.raises(Invalid, match="network n5 has it as subnet 0, in the scope cluster"):
        claimed(s, item(6), bridge("10.0.1.0/24", "c"))
    assert claimed(s, item(7), bridge(None, "c")) == {"subnet 0": "10.0.2.0/24"}


def test_ports_of_hosts(s: WriteSession) -> None:
    def port(value: str | None, scope: str, name: str = "port 0/tcp") -> Wanted:
        return Wanted(name, "port", value, scope=scope)

    assert claimed(s, item(1), port("8080", "cluster")) == {"port 0/tcp": "8080"}
    assert claimed(s, item(2), port("30000/tcp", "host a")) == {"port 0/tcp": "30000"}
    assert claimed(s, item(3), port("30000", "host b")) == {"port 0/tcp": "30000"}
    assert claimed(s, item(4), port("8080/udp", "host a", "port 0/udp")) == {"port 0/udp": "8080"}
    with pytest.raises(Invalid, match="8080/tcp: network n1 has it as port 0/tcp, in the scope cluster"):
        claimed(s, item(5), port("8080", "host a"))
    assert claimed(s, item(6), port(None, "cluster")) == {"port 0/tcp": "30001"}
    assert claimed(s, item(7), port(None, "host a")) == {"port 0/tcp": "30002"}


def test_it_is_in_the_audit_log(s: WriteSession) -> None:
    claimed(s, item(1), *NET)
    claimed(s, item(1), *NET)
    claimed(s, item(1), at("10.9.0.0/24"))
    claimed(s, item(1))
    found = s.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
    assert [(one.action, one.object_name, one.before, one.after) for one in found] == [
        ("allocate", "network n1", None, {"subnet 0": "10.0.0.0/24", "gateway 0": "10.0.0.1", "vni 0": "1048577"}),
        (
            "allocate", "network n1",
            {"subnet 0": "10.0.0.0/24", "gateway 0": "10.0.0.1", "vni 0": "1048577"}, {"subnet 0": "10.9.0.0/24"},
        ),
        ("release", "network n1", {"subnet 0": "10.9.0.0/24"}, None),
    ]  # fmt: skip


def test_the_second_of_two_pools(s: WriteSession) -> None:
    pool = store_read.pools_for(s, 1, "gwbridge4")[0]
    claimed(s, item(1), Wanted("all", "gwbridge4", "172.16.0.0/12"))
    with pytest.raises(Invalid, match=r"no free /16 is left in gateway bridges IPv4 \(172\.16\.0\.0/12\)"):
        claimed(s, item(2), Wanted("a", "gwbridge4"))
    s.execute(
        Pool.__table__.update()
        .where(Pool.id != pool.id, Pool.purpose == "network4")
        .values(purpose="gwbridge4")
    )  # type: ignore[attr-defined]
    assert claimed(s, item(2), Wanted("a", "gwbridge4", length=24)) == {"a": "10.0.0.0/24"}
