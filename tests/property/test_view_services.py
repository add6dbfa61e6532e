# SPDX-License-Identifier: GPL-3.0-or-later
"""Of any cluster with networks of all drivers and services: its hosts agree on addresses, names and ports."""

from __future__ import annotations

import ipaddress
import itertools
import json
from collections.abc import Iterable
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils import view, view_slices
from ansible_collections.crosshost.network.plugins.module_utils.spec import (
    bridge,
    endpoint,
    gwbridge,
    ingress,
    macvlan,
    names,
    overlay,
    service,
)
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster import Cluster, parse_cluster
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster_addresses import (
    ExhaustedError,
    allocate,
)
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster_hosts import Declared
from hypothesis import given
from hypothesis import strategies as st

from tests.support.declarations import clusters

Views = dict[str, dict[str, Any]]


def views(cluster: Cluster) -> Views:
    return {host: view.view_of(cluster, host) for host in cluster.hosts}


def pair(item: dict[str, Any]) -> tuple[str, str]:
    return item.get("ip", ""), item.get("ip6", "")


# -- what modules are given


@given(clusters())
def test_views_pass_the_modules_own_checks(declared: list[Declared]) -> None:
    for one in views(parse_cluster(declared, {})).values():
        defaults = {"peers": one["peers"], "data_path_address": one["data_path_address"]}
        overlays = {
            net.name: net for net in overlay.parse_all([{**defaults, **net} for net in one["networks"]])
        }
        networks = {
            **overlays,
            **{net.name: net for net in bridge.parse_all(one["bridge_networks"])},
            **{net.name: net for net in macvlan.parse_all(one["macvlan_networks"])},
        }
        gateways = {net.name: net for net in gwbridge.parse_all(one["gwbridges"])}
        ends = endpoint.parse_all(one["endpoints"], networks, gateways)
        known = [service.End(end.network, end.name, end.ip, end.ip6) for end in ends]
        service.parse_all(one["services"], overlays, known)
        grounds = {net.name: names.Ground(net.name, net.subnets, net.internal) for net in overlays.values()}
        names.parse_all(one["names"], grounds, gateways)
        for item in one["ingress"]:
            ingress.parse({**defaults, **item}, gateways)


@given(clusters())
def test_slices_give_the_same_values_and_no_more_are_read_than_these_need(declared: list[Declared]) -> None:
    cluster = parse_cluster(declared, {})
    stored = json.loads(json.dumps(dict(view_slices.slices(cluster))))
    for host in cluster.hosts:
        whole = view.view_of(cluster, host)
        for only in ((), *((name,) for name in view.LONG), tuple(view.LONG)):
            read: list[str] = []

            def fetch(name: str, read: list[str] = read) -> Any:
                read.append(name)
                return stored[name]

            found = view.view_of(view_slices.part(host, fetch, only), host, only)
            assert found == {name: whole[name] for name in whole if name not in view.LONG or name in only}
            assert len(read) == len(set(read))
            mine = {item["name"] for item in whole["networks_brief"]}
            assert {name.partition(" ")[2] for name in read if " " in name} <= {host, *mine}
            if not only:
                assert read == ["common", f"host {host}"]


# -- services and names


@given(clusters())
def test_hosts_know_the_services_of_their_networks_alike(declared: list[Declared]) -> None:
    found = views(parse_cluster(declared, {}))
    wanted = {(item["network"], item["name"]) for item in declared[0].variables["crosshost_services"]}
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for one in found.values():
        joined = {end["network"] for end in one["endpoints"]}
        mine = {(item["network"], item["name"]): item for item in one["services"]}
        assert set(mine) == {where for where in wanted if where[0] in joined}
        assert ("services" in one["uses"]) == bool(mine)
        for where, item in mine.items():
            assert seen.setdefault(where, item) == item
    everyone = {(end["network"], *pair(end)) for one in found.values() for end in one["endpoints"]}
    for (network, _name), item in seen.items():
        assert {(network, *pair(task)) for task in item["tasks"]} <= everyone


@given(clusters())
def test_every_endpoint_has_its_name_on_all_hosts_that_ask(declared: list[Declared]) -> None:
    found = views(parse_cluster(declared, {}))
    seen: dict[str, Any] = {}
    for one in found.values():
        mine = {item["network"]: item for item in one["names"]}
        overlays = {item["name"] for item in one["networks_brief"]}
        assert {end["network"] for end in one["endpoints"]} & overlays <= set(mine) <= overlays
        assert ("names" in one["uses"]) == bool(mine)
        for network, item in mine.items():
            assert seen.setdefault(network, item) == item
    for end in itertools.chain.from_iterable(one["endpoints"] for one in found.values()):
        if end["network"] in seen:
            records = {record["name"]: record for record in seen[end["network"]]["records"]}
            assert {text for text in pair(end) if text} <= set(records[end["sandbox"]]["addresses"])


# -- macvlan


@given(clusters())
def test_no_two_hosts_hand_out_one_address(declared: list[Declared]) -> None:
    parts: dict[str, list[Any]] = {}
    shims: list[str] = []
    for one in views(parse_cluster(declared, {})).values():
        for item in one["macvlan_networks"]:
            mine = [ipaddress.ip_network(text) for text in item["host_range"]]
            assert len(mine) == len(item["subnets"])
            parts.setdefault(item["name"], []).extend(mine)
            for field in ("shim", "shim6"):
                if field in item:
                    assert any(ipaddress.ip_address(item[field]) in part for part in mine)
                    shims.append(item[field])
    assert len(shims) == len(set(shims))
    for found in parts.values():
        assert not any(a.overlaps(b) for a, b in itertools.combinations(found, 2) if a.version == b.version)


# -- ingress


def owners(found: Views) -> dict[str, str]:
    """Who has which address in the ingress network: a host's sandbox, or a task's on a host."""
    taken: dict[str, str] = {}
    for host, one in found.items():
        for item in one["ingress"]:
            rows = [(host, (item.get("address", ""), item.get("address6", "")))]
            rows += [(f"{host}/{leg['sandbox']}", pair(leg)) for leg in item["legs"]]
            for owner, both in rows:
                for text in filter(None, both):
                    assert taken.setdefault(text, owner) == owner
    return taken


@given(clusters())
def test_hosts_agree_on_who_has_which_address_in_the_ingress_network(declared: list[Declared]) -> None:
    cluster = parse_cluster(declared, {})
    found = views(cluster)
    taken = owners(found)
    for host, one in found.items():
        for item in one["ingress"]:
            subnets = [ipaddress.ip_network(net["subnet"]) for net in item["subnets"]]
            far = {text: row for row in item["endpoints"] for text in pair(row) if text}
            assert set(far) == {text for text, owner in taken.items() if owner.partition("/")[0] != host}
            for text, row in far.items():
                assert row["vtep"] == cluster.hosts[taken[text].partition("/")[0]].vtep
            assert all(any(ipaddress.ip_address(text) in net for net in subnets) for text in taken)


@given(clusters())
def test_ports_lead_to_the_tasks_of_their_service_from_every_host(declared: list[Declared]) -> None:
    found = views(parse_cluster(declared, {}))
    taken = owners(found)
    sandboxes = {
        (end["network"], *pair(end)): f"{host}/{end['sandbox']}"
        for host, one in found.items()
        for end in one["endpoints"]
        if "ip" in end or "ip6" in end
    }
    services = {
        f"{item['network']}/{item['name']}": item for one in found.values() for item in one["services"]
    }
    for host, one in found.items():
        for port in itertools.chain.from_iterable(item["ports"] for item in one["ingress"]):
            tasks = {taken[task.get("ip") or task["ip6"]]: task["weight"] for task in port["tasks"]}
            if port["service"] in services:
                item = services[port["service"]]
                expected = {
                    sandboxes[(item["network"], *pair(task))]: task["weight"] for task in item["tasks"]
                }
                assert tasks == expected
            local = {f"{host}/{row['sandbox']}": row["weight"] for row in port.get("local", [])}
            mine = {name: weight for name, weight in tasks.items() if name.startswith(f"{host}/")}
            assert local == (mine if port.get("keep_client_address") else {})


@given(clusters())
def test_ports_in_mode_host_are_on_their_tasks_hosts(declared: list[Declared]) -> None:
    found = views(parse_cluster(declared, {}))
    everywhere = {
        (end["network"], *pair(end)): end.get("publish", [])
        for one in found.values()
        for end in one["endpoints"]
    }
    declarations = declared[0].variables["crosshost_services"]
    services = {item["name"]: item for one in found.values() for item in one["services"]}
    for number, item in ((one["name"][3:], one) for one in declarations):
        wanted = [port for port in item.get("ports", []) if isinstance(port, dict) and "mode" in port]
        for task in services[item["name"]]["tasks"] if item["name"] in services else ():
            text = f"{7000 + int(number)}:70/tcp"
            assert (text in everywhere[(item["network"], *pair(task))]) == bool(wanted)


# -- addresses by construction

KEYS = st.sets(st.text(min_size=1, max_size=8), max_size=40)


@given(KEYS, st.integers(0, 200), st.integers(0, 60), st.sets(st.integers(0, 260)))
def test_addresses_are_inside_free_and_ones_own(
    keys: set[str], first: int, size: int, taken: set[int]
) -> None:
    last = first + size
    free = set(range(first, last + 1)) - taken
    try:
        found = allocate(keys, first, last, taken, {})
    except ExhaustedError:
        assert len(free) < len(keys)
        return
    assert set(found) == keys
    assert set(found.values()) <= free and len(set(found.values())) == len(keys)
    backwards = sorted(keys, reverse=True)
    assert allocate(backwards, first, last, taken, {}) == found


@given(KEYS, st.data())
def test_fixed_addresses_stay(keys: set[str], data: st.DataObject) -> None:
    chosen = data.draw(st.sets(st.sampled_from(sorted(keys)))) if keys else set()
    fixed = dict(zip(sorted(chosen), data.draw(st.permutations(range(40)))))
    found = allocate(keys, 0, 99, (), fixed)
    assert {key: found[key] for key in fixed} == fixed
    assert len(set(found.values())) == len(found)


@given(KEYS, st.text(min_size=1, max_size=8))
def test_a_key_that_is_added_moves_no_smaller_one_and_few_of_the_others(keys: set[str], added: str) -> None:
    before = allocate(keys, 1, 254, (), {})
    after = allocate({*keys, added}, 1, 254, (), {})
    moved = [key for key in keys if before[key] != after[key]]
    assert all(key > added for key in moved)
    # whoever moves was next to somebody: in the run of taken numbers that the new one lies in
    run = {after[added], *(after[key] for key in moved), *(before[key] for key in moved)}
    assert all(number in set(after.values()) for number in run)


def moved_by_one(count: int, size: int) -> Iterable[int]:
    keys = [f"task/web/shop-{n}@h{n % 7}" for n in range(count)]
    before = allocate(keys, 0, size - 1, (), {})
    for n in range(100):
        after = allocate([*keys, f"host/new-{n}"], 0, size - 1, (), {})
        yield sum(before[key] != after[key] for key in keys)


def test_in_a_network_that_is_half_full_an_addition_moves_less_than_two_on_average() -> None:
    assert sum(moved_by_one(127, 254)) / 100 < 2
    assert sum(moved_by_one(500, 65534)) / 100 < 0.1
