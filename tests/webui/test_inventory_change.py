# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of the declaration on both databases: what the pools grant, what moves along, what is kept of it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from crosshost_webui.db.engine import Database
from crosshost_webui.inventory import kinds, service, store
from crosshost_webui.inventory.service import Edit
from crosshost_webui.web.problem import Forbidden, Invalid
from sqlalchemy import text

from tests.webui.support_inventory import ANN, HOSTS, WEB, add, change, end, everything, get, names, refused

VAULTED = {"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256\n3131\n"}


@pytest.fixture
def cluster(database: Database) -> Database:
    """Three hosts."""
    change(database, *HOSTS)
    return database


def blocks(database: Database, item: Any) -> dict[str, str]:
    """What the pools hold for an item, by name."""
    with database.read() as s:
        query = "SELECT name, state FROM block WHERE owner_type = 'item' AND owner_id = :id"
        return {row.name: row.state for row in s.execute(text(query), {"id": str(item.id)})}


def test_the_first_host_makes_the_cluster_s_group(database: Database) -> None:
    assert add(database, "host", name="h1").body == {"name": "h1", "groups": ["crosshost"]}
    assert names(database, "group") == ["crosshost"]
    assert add(database, "host", name="h2", groups=[]).body["groups"] == []
    change(database, Edit("host", "h2", {"vtep": "10.98.0.2"}))
    assert get(database, "host", "h2").body == {"name": "h2", "vtep": "10.98.0.2", "groups": []}


def test_without_that_group_hosts_stay_in_the_cluster_of_all(database: Database) -> None:
    add(database, "host", name="h1", groups=[])
    assert add(database, "host", name="h2").body["groups"] == []
    assert names(database, "group") == []


def test_what_a_body_leaves_open_comes_from_the_pools_and_stays(cluster: Database) -> None:
    web = add(cluster, "overlay", name="web", subnets=[{}, {"version": 6}])
    four, six = web.resolved["subnets"]
    assert four["subnet"].endswith("/24") and four["vni"] > 1 << 20
    assert six["subnet"].startswith("fd") and "vni" not in six and "version" not in six
    shop = add(cluster, "endpoint", **end("h1", "web", "shop"))
    api = add(cluster, "service", name="api", network="web", tasks=["shop"])
    assert set(shop.resolved) - set(shop.body) == {"ip", "ip6"}
    assert set(api.resolved) - set(api.body) == {"vip", "vip6"}
    assert len({shop.resolved["ip"], api.resolved["vip"]}) == 2
    change(cluster, Edit("endpoint", shop.name, {**shop.body, "aliases": ["store"]}))
    assert get(cluster, "endpoint", shop.name).resolved["ip"] == shop.resolved["ip"]
    change(cluster, Edit("overlay", "web", {**web.body, "internal": True, "labels": {"a": 1}}))
    assert get(cluster, "overlay", "web").resolved["subnets"] == web.resolved["subnets"]


def test_what_is_declared_is_held_in_the_pools(cluster: Database) -> None:
    web = add(cluster, "overlay", **WEB)
    shop = add(cluster, "endpoint", **end("h1", "web", "shop", ip="10.20.1.9"))
    assert web.resolved == web.body
    assert blocks(cluster, web).keys() == {"subnet 0", "gateway 0", "vni 0"}
    assert blocks(cluster, shop).keys() == {"ip"}
    with cluster.read() as s:
        found = {
            row[0]: row[1]
            for row in s.execute(text("SELECT name, automatic FROM block WHERE owner_type = 'item'"))
        }
    assert not any(found.values())


def test_automatic_ones_get_out_of_the_way_of_declared_ones_of_the_same_change(cluster: Database) -> None:
    change(
        cluster,
        Edit("endpoint", None, end("h1", "web", "automatic")),
        Edit("overlay", None, {"name": "other"}),
        Edit("overlay", None, {"name": "web", "subnets": [{"subnet": "10.0.0.0/24"}]}),
        Edit("endpoint", None, end("h2", "web", "declared", ip="10.0.0.2")),
    )
    assert get(cluster, "endpoint", "h1/web/automatic").resolved["ip"] == "10.0.0.3"
    assert get(cluster, "overlay", "other").resolved["subnets"][0]["subnet"] == "10.0.1.0/24"


def test_automatic_subnets_keep_away_from_hosts(database: Database) -> None:
    add(database, "host", name="h1", vtep="10.0.0.7", variables={"ansible_host": "10.0.1.7"})
    assert add(database, "overlay", name="web").resolved["subnets"][0]["subnet"] == "10.0.2.0/24"


def test_a_subnet_of_another_length(cluster: Database) -> None:
    found = add(cluster, "overlay", name="web", subnets=[{"version": 4, "length": 20}])
    assert found.resolved["subnets"][0]["subnet"].endswith("/20")


def test_endpoints_follow_their_network_to_another_subnet(cluster: Database) -> None:
    web = add(cluster, "overlay", name="web")
    shop = add(cluster, "endpoint", **end("h1", "web", "shop"))
    api = add(cluster, "service", name="api", network="web", tasks=["shop"])
    done = change(cluster, Edit("overlay", "web", {**web.body, "subnets": [{"subnet": "10.77.0.0/24"}]}))
    assert {(one.kind, one.name) for one in done.changes} == {
        ("overlay", "web"),
        ("endpoint", shop.name),
        ("service", api.name),
    }
    assert get(cluster, "endpoint", shop.name).resolved["ip"].startswith("10.77.0.")
    assert get(cluster, "service", api.name).revision_id == done.revision.id
    assert done.revision.changes == 3


def test_an_address_that_is_declared_keeps_its_network_s_subnet(cluster: Database) -> None:
    web = add(cluster, "overlay", **WEB)
    add(cluster, "endpoint", **end("h1", "web", "shop", ip="10.20.1.9"))
    error = refused(cluster, Edit("overlay", "web", {**web.body, "subnets": [{"subnet": "10.77.0.0/24"}]}))
    assert "shop" in error.detail


def test_two_may_change_places_in_one_change(cluster: Database) -> None:
    add(cluster, "overlay", **WEB)
    a, b = end("h1", "web", "a", ip="10.20.1.11"), end("h2", "web", "b", ip="10.20.1.12")
    change(cluster, Edit("endpoint", None, a), Edit("endpoint", None, b))
    change(
        cluster,
        Edit("endpoint", "h1/web/a", {**a, "ip": "10.20.1.12"}),
        Edit("endpoint", "h2/web/b", {**b, "ip": "10.20.1.11"}),
    )
    assert get(cluster, "endpoint", "h1/web/a").resolved["ip"] == "10.20.1.12"


def test_two_networks_may_change_places_with_what_is_in_them(cluster: Database) -> None:
    change(
        cluster,
        Edit("overlay", None, {"name": "a", "subnets": [{"subnet": "10.60.1.0/24"}]}),
        Edit("overlay", None, {"name": "b", "subnets": [{"subnet": "10.60.2.0/24"}]}),
        Edit("endpoint", None, end("h1", "a", "x")),
        Edit("endpoint", None, end("h2", "b", "y")),
    )
    change(
        cluster,
        Edit("overlay", "a", {"name": "a", "subnets": [{"subnet": "10.60.2.0/24"}]}),
        Edit("overlay", "b", {"name": "b", "subnets": [{"subnet": "10.60.1.0/24"}]}),
    )
    assert get(cluster, "endpoint", "h1/a/x").resolved["ip"].startswith("10.60.2.")
    assert get(cluster, "endpoint", "h2/b/y").resolved["ip"].startswith("10.60.1.")


def test_what_is_removed_leaves_the_pools(cluster: Database) -> None:
    web = add(cluster, "overlay", **WEB)
    shop = add(cluster, "endpoint", **end("h1", "web", "shop"))
    refused(cluster, Edit("overlay", "web", None))
    change(cluster, Edit("overlay", "web", None), Edit("endpoint", shop.name, None))
    for item in (web, shop):
        assert set(blocks(cluster, item).values()) <= {"quarantined"}
    add(cluster, "overlay", **WEB)


def test_bridge_networks_of_two_hosts_have_the_same_addresses(cluster: Database) -> None:
    for host in ("h1", "h2"):
        add(cluster, "bridge", name="front", host=host, subnets=[{"subnet": "10.30.0.0/24"}])
        add(cluster, "endpoint", **end(host, "front", "web", ip="10.30.0.9"))
    assert add(cluster, "endpoint", **end("h1", "front", "other")).resolved["ip"] == "10.30.0.2"
    both = {"name": "back", "hosts": ["h1", "h3"], "subnets": [{"subnet": "10.31.0.0/24"}]}
    add(cluster, "bridge", **both)
    for host in ("h1", "h3"):
        assert add(cluster, "endpoint", **end(host, "back", "web")).resolved["ip"] == "10.31.0.2"
    error = refused(cluster, Edit("overlay", None, {"name": "x", "subnets": [{"subnet": "10.31.0.0/25"}]}))
    assert "back" in error.detail


def test_a_bridge_network_gets_to_hosts_that_join_its_group(cluster: Database) -> None:
    change(
        cluster,
        Edit("group", None, {"name": "rack1"}),
        Edit("host", "h3", {**get(cluster, "host", "h3").body, "groups": ["crosshost", "rack1"]}),
        Edit(
            "bridge",
            None,
            {"name": "front", "hosts": ["rack1", "h1"], "subnets": [{"subnet": "10.30.0.0/24"}]},
        ),
    )
    front = get(cluster, "bridge", "front")
    assert len([name for name in blocks(cluster, front) if name.startswith("subnet")]) == 2
    body = get(cluster, "host", "h2").body
    done = change(cluster, Edit("host", "h2", {**body, "groups": ["crosshost", "rack1"]}))
    assert [one.name for one in done.changes] == ["h2"]
    assert len([name for name in blocks(cluster, front) if name.startswith("subnet")]) == 3
    add(cluster, "endpoint", **end("h2", "front", "a"))
    refused(cluster, Edit("host", "h2", body))


def test_gateway_bridges(cluster: Database) -> None:
    own = add(cluster, "gwbridge")
    assert own.resolved["subnet"].startswith("172.")
    same = add(cluster, "gwbridge", host="h1", subnet=own.resolved["subnet"], mtu=1400)
    assert same.name == "h1/xh_gwbridge"
    other = add(cluster, "gwbridge", host="h2", subnet="172.29.0.0/16")
    assert {"subnet", "gateway"} <= blocks(cluster, other).keys()
    assert add(cluster, "gwbridge", host="h3", enabled=False).resolved == {"host": "h3", "enabled": False}
    change(cluster, Edit("gwbridge", own.name, {"subnet": "172.28.0.0/16"}))
    assert {"subnet", "gateway"} <= blocks(cluster, same).keys()  # the cluster has left it


def test_ports_of_services(cluster: Database) -> None:
    add(cluster, "overlay", **WEB)
    add(cluster, "ingress")
    change(
        cluster,
        Edit("endpoint", None, end("h1", "web", "a", publish=["30000:80"])),
        Edit("service", None, {"name": "one", "network": "web", "tasks": ["a"], "ports": [{"target": 80}, {"target": 53, "protocol": "udp"}]}),
        Edit("service", None, {"name": "two", "network": "web", "tasks": ["a"], "ports": ["30001:80", {"target": 80}]}),
    )  # fmt: skip
    one, two = (get(cluster, "service", f"web/{name}").resolved["ports"] for name in ("one", "two"))
    found = [port["published"] for port in (one[0], two[1])]
    assert len(set(found)) == 2 and not {30000, 30001} & set(found)
    assert one[1]["published"] == 30000  # of another protocol
    body = get(cluster, "service", "web/one").body
    change(cluster, Edit("service", "web/one", {**body, "affinity": "source"}))
    assert get(cluster, "service", "web/one").resolved["ports"] == one


def test_the_lan_s_own_subnets(cluster: Database) -> None:
    lan = add(
        cluster, "macvlan", name="lan", parent="eth0", shims={"h1": "192.168.1.20"},
        subnets=[{"subnet": "192.168.1.0/24", "gateway": "192.168.1.1", "ip_range": "192.168.1.128/25", "aux_addresses": {"nas": "192.168.1.5"}}],
    )  # fmt: skip
    assert blocks(cluster, lan).keys() == {"subnet 0", "gateway 0", "aux 0 nas", "shims h1"}
    assert "ip" not in add(cluster, "endpoint", **end("h1", "lan", "a")).resolved  # the host gives it
    assert blocks(cluster, add(cluster, "endpoint", **end("h1", "lan", "b", ip="192.168.1.60"))).keys() == {
        "ip"
    }
    assert "nas" in refused(cluster, Edit("endpoint", None, end("h2", "lan", "c", ip="192.168.1.5"))).detail


def test_a_rehearsal_tells_and_keeps_nothing(cluster: Database) -> None:
    add(cluster, "gwbridge")  # the default pools are there
    before = everything(cluster)
    edits = [Edit("overlay", None, {"name": "web"}), Edit("endpoint", None, end("h1", "web", "a"))]
    done = service.check(cluster, ANN, edits, "why")
    assert [one.after["resolved"] for one in done.changes if one.after][1]["ip"].endswith(".2")
    assert done.revision.message == "why"
    assert everything(cluster) == before
    assert names(cluster, "overlay") == []
    with pytest.raises(Invalid):
        service.check(cluster, ANN, [Edit("endpoint", None, end("h1", "nowhere", "a"))])
    assert change(cluster, *edits).revision.id == done.revision.id


def test_only_admins_set_what_the_server_itself_runs(cluster: Database) -> None:
    body = {
        "vtep": "10.98.0.1",
        "variables": {"ansible_ssh_common_args": "-o ProxyCommand=id", "ansible_user": "root"},
    }
    error = refused(cluster, Edit("host", "h1", body))
    assert isinstance(error, Forbidden) and "ansible_ssh_common_args" in error.detail
    refused(cluster, Edit("group", None, {"name": "g", "variables": {"ansible_connection": "local"}}))
    change(cluster, Edit("host", "h1", body), is_admin=True)
    # who is none may leave it as it is, and take it away
    change(cluster, Edit("host", "h1", {**body, "labels": {"rack": "1"}}))
    refused(
        cluster, Edit("host", "h1", {**body, "variables": {"ansible_ssh_common_args": "-o ProxyCommand=sh"}})
    )
    change(cluster, Edit("host", "h1", {"vtep": "10.98.0.1"}))


def test_a_host_s_view(cluster: Database) -> None:
    add(cluster, "overlay", **WEB)
    add(cluster, "endpoint", **end("h1", "web", "shop"))
    with cluster.read() as s:
        found = service.view(s, "h1")
        assert found["endpoints"][0]["ip"] == "10.20.1.2"
        assert service.view(s, "h2")["networks"][0]["endpoints"][0]["vtep"] == "10.98.0.1"
        with pytest.raises(Invalid, match="not in the cluster's group"):
            service.view(s, "nowhere")


def test_reports_of_hosts(database: Database) -> None:
    add(database, "host", name="h1")
    with database.write() as s:
        store.report(s, "h1", 5, {"interfaces": [], "default": ["192.0.2.7"], "routes": ["10.0.0.0/16"]})
        store.report(s, "h1", 6, {"interfaces": [], "default": ["192.0.2.8"], "routes": ["10.0.0.0/16"]})
    with database.read() as s:
        assert service.view(s, "h1")["data_path_address"] == "192.0.2.8"
        report = store.host_report(s, "h1")
        assert report is not None and report.run_id == 6
    error = refused(database, Edit("overlay", None, {"name": "web", "subnets": [{"subnet": "10.0.5.0/24"}]}))
    assert "h1" in error.detail
    assert add(database, "overlay", name="web").resolved["subnets"][0]["subnet"] == "10.1.0.0/24"


def test_what_was_seen_takes_the_place_of_what_was_seen_before(database: Database) -> None:
    with database.write() as s:
        store.saw(
            s,
            "h1",
            "endpoint",
            1,
            [("web", "a", "ip", "address", "10.0.0.2"), ("web", "b" * 999, "ip", "address", "1\0")],
        )
        store.saw(s, "h2", "endpoint", 1, [("web", "c", "ip", "address", "10.0.0.2")])
        store.saw(s, "h1", "service", 1, [])
    with database.write() as s:
        store.saw(s, "h1", "endpoint", 2, [("web", "a", "ip", "address", "10.0.0.3")])
    with database.read() as s:
        assert [(one.name, one.value, one.run_id) for one in store.seen(s, "h1")] == [("a", "10.0.0.3", 2)]
        assert [one.host for one in store.seen(s, value="10.0.0.2")] == ["h2"]


def test_pages_of_a_list(cluster: Database) -> None:
    add(cluster, "overlay", **WEB)
    add(cluster, "macvlan", name="Lan", parent="eth0", subnets=[{"subnet": "192.168.1.0/24"}])
    change(cluster, *(Edit("endpoint", None, end("h1", "web", f"s%{n}".replace("%", "_"))) for n in range(5)))
    with cluster.read() as s:
        first = store.page(s, ["endpoint"], store.Filters(), 2, None)
        rest = store.page(s, ["endpoint"], store.Filters(), 9, ("endpoint", first[-1].name))
        assert [one.name for one in [*first, *rest]] == [f"h1/web/s_{n}" for n in range(5)]
        assert [one.name for one in store.page(s, kinds.NETWORKS, store.Filters("LAN"), 9, None)] == ["Lan"]
        assert store.page(s, ["endpoint"], store.Filters("%"), 9, None) == []
        assert store.page(s, ["endpoint"], store.Filters(host="h2"), 9, None) == []
        assert store.count(s, ["endpoint", "host", "service"]) == {"endpoint": 5, "host": 3, "service": 0}


def test_writers_at_the_same_time_make_one_revision_after_the_other(cluster: Database) -> None:
    add(cluster, "overlay", **WEB)
    errors = []

    def work(number: int) -> None:
        try:
            for place in range(3):
                change(cluster, Edit("endpoint", None, end("h1", "web", f"s{number}-{place}")))
        except Exception as error:  # what went wrong in a thread is told below
            errors.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert errors == []
    with cluster.read() as s:
        assert service.current(s).id == 14
        items = service.items(s)
    addresses = [one.resolved["ip"] for key, one in items.items() if key[0] == "endpoint"]
    assert len(set(addresses)) == 12


def test_another_server_s_change_is_seen(cluster: Database) -> None:
    """What this one keeps in memory belongs to a revision."""
    with cluster.read() as s:
        service.view(s, "h1")
    other = Database(cluster.url.render_as_string(hide_password=False))
    try:
        change(other, Edit("overlay", None, WEB))
    finally:
        other.close()
    with cluster.read() as s:
        assert [one["name"] for one in service.view(s, "h1")["networks_brief"]] == ["web"]
