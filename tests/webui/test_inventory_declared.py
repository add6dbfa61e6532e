# SPDX-License-Identifier: GPL-3.0-or-later
"""Items as the engine reads them: groups, the precedence of their variables as Ansible itself has it, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager
from crosshost_webui.db.base import now
from crosshost_webui.inventory import declared, emit, kinds, transfer
from crosshost_webui.inventory.declared import facts_of_report
from crosshost_webui.inventory.kinds import Entry
from crosshost_webui.web.problem import Invalid
from hypothesis import given, settings
from hypothesis import strategies as st

Bodies = list[tuple[str, dict[str, Any]]]
HOSTS: Bodies = [
    ("host", {"name": f"h{n}", "groups": ["crosshost"], "vtep": f"10.98.0.{n}"}) for n in (1, 2, 3)
]
GROUP: Bodies = [("group", {"name": "crosshost"})]


def entries(bodies: Bodies) -> dict[tuple[str, str], Entry]:
    at = now()
    found = {}
    for number, (kind, raw) in enumerate(bodies):
        body = kinds.tidy(kind, raw)
        one = Entry(number, kind, kinds.identity(kind, body), body, body, 1, at, at)
        found[one.key] = one
    return found


def parse(*bodies: tuple[str, dict[str, Any]], facts: Any = None) -> declared.Parsed:
    return declared.parse(entries([*GROUP, *HOSTS, *bodies]), facts or {})


@st.composite
def grouped(draw: st.DrawFn) -> Bodies:
    """Up to six groups in each other, without a circle, with priorities; hosts in any of them; a variable set anywhere."""
    names = [f"g{n}" for n in range(draw(st.integers(1, 6)))]
    found: Bodies = []
    for place, name in enumerate(names):
        body: dict[str, Any] = {"name": name, "variables": {}}
        body["children"] = (
            draw(st.lists(st.sampled_from(names[place + 1 :]), unique=True)) if names[place + 1 :] else []
        )
        if draw(st.booleans()):
            body["variables"]["crosshost_state"] = f"of {name}"
        if draw(st.booleans()):
            body["variables"]["ansible_group_priority"] = draw(st.integers(-2, 12))
        found.append(("group", body))
    if draw(st.booleans()):
        found.append(("group", {"name": "all", "variables": {"crosshost_state": "of all"}}))
    for number in range(1, 4):
        host: dict[str, Any] = {"name": f"h{number}", "vtep": f"10.98.0.{number}"}
        host["groups"] = draw(st.lists(st.sampled_from(names), unique=True))
        if draw(st.integers(0, 4)) == 0:
            host["variables"] = {"crosshost_state": "own"}
        found.append(("host", host))
    return found


@settings(max_examples=60)
@given(grouped())
def test_variables_and_members_are_those_of_ansible(
    tmp_path_factory: pytest.TempPathFactory, bodies: Bodies
) -> None:
    inventory = emit.inventory(entries(bodies))
    file = tmp_path_factory.mktemp("inventory") / "hosts.yml"
    file.write_text(transfer.dump(inventory), encoding="utf-8")
    loader = DataLoader()
    ansible = InventoryManager(loader=loader, sources=[str(file)])
    manager = VariableManager(loader=loader, inventory=ansible)
    mine = declared.variables(inventory)
    for host in ansible.get_hosts():
        theirs = manager.get_vars(host=host, include_hostvars=False)
        assert mine[host.name].get("crosshost_state") == theirs.get("crosshost_state"), host.name
    theirs_members = {name: sorted(map(str, hosts)) for name, hosts in ansible.get_groups_dict().items()}
    assert {name: sorted(hosts) for name, hosts in declared.members(inventory).items()} == theirs_members


def test_a_list_of_the_group_is_one_object_for_all_hosts() -> None:
    found = parse(("overlay", {"name": "web", "subnets": [{"subnet": "10.20.1.0/24", "vni": 7}]}))
    lists = {id(one["crosshost_networks"]) for one in declared.variables(found.inventory).values()}
    assert len(lists) == 1
    assert list(found.cluster.hosts) == ["h1", "h2", "h3"]


def test_without_the_cluster_s_group_all_hosts_are_the_cluster() -> None:
    bodies: Bodies = [(kind, {**body, "groups": []}) for kind, body in HOSTS]
    found = declared.parse(
        entries([*bodies, ("ingress", {"subnets": [{"subnet": "10.9.0.0/24", "vni": 9}]})]), {}
    )
    assert "crosshost_ingress" in found.inventory.groups["all"].variables
    assert found.cluster.mesh is not None and len(found.cluster.mesh.hosts) == 3
    assert found.inventory.listing()["ungrouped"] == {"hosts": ["h1", "h2", "h3"]}


def test_hosts_outside_of_the_cluster_s_group_are_not_in_it() -> None:
    found = parse(("host", {"name": "db1", "groups": []}))
    assert "db1" not in found.cluster.hosts and found.assumed == ()


def test_a_gateway_bridge_of_a_group_and_of_a_host() -> None:
    found = parse(
        ("group", {"name": "rack1"}),
        ("host", {"name": "h4", "groups": ["crosshost", "rack1"], "vtep": "10.98.0.4"}),
        ("gwbridge", {"subnet": "172.31.0.0/16"}),
        ("gwbridge", {"group": "rack1", "subnet": "172.29.0.0/16"}),
        ("gwbridge", {"host": "h1", "enabled": False}),
    )
    hosts = found.cluster.hosts
    assert hosts["h1"].gwbridge is None
    assert hosts["h2"].gwbridge == {"subnet": "172.31.0.0/16"}
    assert hosts["h4"].gwbridge == {"subnet": "172.29.0.0/16"}


def test_own_bridge_networks_come_beside_the_common_ones() -> None:
    found = parse(
        ("bridge", {"name": "front", "subnets": [{"subnet": "10.30.0.0/24"}], "hosts": ["h1", "h2"]}),
        ("bridge", {"name": "everywhere", "subnets": [{"subnet": "10.30.1.0/24"}]}),
        ("bridge", {"name": "own", "host": "h1", "subnets": [{"subnet": "10.30.2.0/24"}]}),
        ("bridge", {"name": "own", "host": "h3", "subnets": [{"subnet": "10.30.2.0/24"}], "icc": False}),
    )
    assert {host: [one["name"] for one in items] for host, items in found.cluster.bridges.items()} == {
        "h1": ["front", "everywhere", "own"], "h2": ["front", "everywhere"], "h3": ["everywhere", "own"],
    }  # fmt: skip


def test_parents_of_single_hosts() -> None:
    lan = {
        "name": "lan",
        "parent": "eth0",
        "parents": {"h2": "enp3s0"},
        "subnets": [{"subnet": "192.168.1.0/24", "ip_range": "192.168.1.128/25"}],
    }
    found = parse(
        ("macvlan", lan),
        (
            "macvlan",
            {
                **lan,
                "name": "other",
                "parents": {},
                "parent": "eth1",
                "subnets": [{"subnet": "192.168.2.0/24", "ip_range": "192.168.2.128/25"}],
            },
        ),
    )
    parents = {host: [one["parent"] for one in items] for host, items in found.cluster.macvlans.items()}
    assert parents == {"h1": ["eth0", "eth1"], "h2": ["enp3s0", "eth1"], "h3": ["eth0", "eth1"]}


REPORT = {"interfaces": [{"name": "eth1", "mtu": 9000, "addresses": ["10.98.0.9"]}], "default": ["192.0.2.9"]}


def test_addresses_come_from_reports_where_none_is_declared() -> None:
    plain = ("host", {"name": "h9", "groups": ["crosshost"]})
    assert parse(plain, facts={"h9": facts_of_report(REPORT)}).cluster.hosts["h9"].vtep == "192.0.2.9"
    with_interface = ("host", {"name": "h9", "groups": ["crosshost"], "data_path_interface": "eth1"})
    found = parse(with_interface, facts={"h9": facts_of_report(REPORT)})
    assert (found.cluster.hosts["h9"].vtep, found.cluster.hosts["h9"].mtu) == ("10.98.0.9", 9000)


def test_a_host_that_nobody_has_asked_yet_has_a_stand_in() -> None:
    web = ("overlay", {"name": "web", "subnets": [{"subnet": "10.20.1.0/24", "vni": 7}]})
    found = parse(("host", {"name": "h9", "groups": ["crosshost"], "data_path_interface": "eth1"}), web)
    assert found.assumed == ("h9",)
    assert "h9" in found.warnings[-1]
    six: Bodies = [("host", {**body, "vtep": f"2001:db8::{n}"}) for n, (_kind, body) in enumerate(HOSTS, 1)]
    mixed = declared.parse(
        entries([*GROUP, *six, ("host", {"name": "h9", "groups": ["crosshost"]}), web]), {}
    )
    assert ":" in mixed.cluster.hosts["h9"].vtep


@pytest.mark.parametrize(
    "body",
    [{}, {"interfaces": 5}, {"interfaces": [1, {"name": 3}, {"name": "a", "mtu": "x", "addresses": ["x", None, "127.0.0.1"]}]}, {"default": ["0.0.0.0", "::1", 7]}],
)  # fmt: skip
def test_a_report_is_a_host_s_own_word(body: dict[str, Any]) -> None:
    found = parse(
        ("host", {"name": "h9", "groups": ["crosshost"]}), facts={"h9": facts_of_report(body)} if body else {}
    )
    assert "h9" in found.cluster.hosts


def test_a_misspelt_variable_is_told() -> None:
    found = parse(("group", {"name": "all", "variables": {"crosshost_underlay_mtuu": 9000}}))
    assert any("crosshost_underlay_mtu" in one for one in found.warnings)


@pytest.mark.parametrize(
    ("bodies", "words"),
    [
        ([("host", {"name": "h9", "groups": ["nowhere"]})], "host h9: groups 'nowhere': there is no such group"),
        ([("group", {"name": "g", "children": ["nowhere"]})], "group g: children 'nowhere': there is no such group"),
        ([("group", {"name": "a", "children": ["b"]}), ("group", {"name": "b", "children": ["a"]})], "the groups contain each other: a > b > a"),
        ([("group", {"name": "a", "children": ["a"]})], "the groups contain each other: a > a"),
        ([("group", {"name": "h1"})], "host h1: name: there is a group of this name"),
        ([("bridge", {"name": "b", "host": "nowhere", "subnets": [{"subnet": "10.3.0.0/24"}]})], "host 'nowhere': there is no such host"),
        ([("gwbridge", {"group": "nowhere"})], "group 'nowhere': there is no such group"),
        ([("macvlan", {"name": "m", "parents": {"nowhere": "eth0"}})], "parents 'nowhere': there is no such host"),
        ([("macvlan", {"name": "m", "parents": ["eth0"]})], "parents ['eth0']: give a mapping"),
        ([("ingress", {"name": "a"}), ("ingress", {"name": "b"})], "ingress b: the cluster has a already"),
        ([("gwbridge", {"name": "a"}), ("gwbridge", {"name": "b", "group": "crosshost"})], "the cluster has a already"),
        ([("gwbridge", {"host": "h1"}), ("gwbridge", {"host": "h1", "name": "b"})], "h1 has h1/xh_gwbridge already"),
    ],
)  # fmt: skip
def test_references_that_lead_nowhere(bodies: Bodies, words: str) -> None:
    with pytest.raises(Invalid) as error:
        parse(*bodies)
    assert words in error.value.detail


def test_nested_too_deep() -> None:
    bodies: Bodies = [("group", {"name": f"g{n}", "children": [f"g{n + 1}"]}) for n in range(80)]
    with pytest.raises(Invalid, match="nested more than"):
        parse(*bodies, ("group", {"name": "g80"}))


def test_the_listing_names_hosts_once_a_group() -> None:
    """In the words of an inventory script, which names hosts once a group and their variables apart."""
    listing = parse(("group", {"name": "rack1", "children": ["crosshost"]})).inventory.listing()
    assert listing["all"]["children"] == ["rack1"]
    assert listing["rack1"] == {"children": ["crosshost"]}
    assert listing["_meta"]["hostvars"]["h1"] == {"crosshost_vtep": "10.98.0.1"}
