# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is declared, it is refused by one line, or makes files that a name server reads as they are meant."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.compile import names as servers
from ansible_collections.crosshost.network.plugins.module_utils.compile import resolver
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.resources import File
from ansible_collections.crosshost.network.plugins.module_utils.spec import gwbridge, names
from ansible_collections.crosshost.network.plugins.module_utils.spec.subnets import parse_plain_subnets
from hypothesis import given, settings
from hypothesis import strategies as st

GROUND = {
    "web": names.ground(
        {"name": "web", "subnets": [{"subnet": "10.0.0.0/8", "vni": 1}, {"subnet": "fd00::/56"}]}
    )
}
BRIDGES = {"xh_gwbridge": gwbridge.parse({"subnet": "172.30.0.0/16", "subnet6": "fd30::/64"})}
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\Z")
_CONF = re.compile(r"[a-z-]+(=[0-9a-zA-Z:./_-]+)?\Z")

addresses = st.one_of(
    st.integers(1, 254).map(lambda n: f"10.0.1.{n}"), st.integers(1, 99).map(lambda n: f"fd00::{n:x}")
)
words = st.one_of(
    st.text(alphabet="abAB01.-_", max_size=9),
    st.text(max_size=6),
    st.sampled_from(
        ["x" * 63, "x" * 64, "tasks.a", "a.web", "a b", "a\nb", "#", "10.0.0.1", "xn--a", "é", "..", ""]
    ),
    addresses,
)
name = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,8}(\.[A-Za-z0-9_-]{1,8})?", fullmatch=True)
listed = st.lists(addresses, min_size=1, max_size=3)
record = st.fixed_dictionaries(
    {"name": name, "addresses": listed}, optional={"aliases": st.lists(name, max_size=2)}
)
good = st.fixed_dictionaries(
    {"network": st.just("web")},
    optional={
        "records": st.lists(record, max_size=4),
        "services": st.lists(record.map(lambda one: {**one, "tasks": one["addresses"]}), max_size=3),
    },
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), words),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=6,
)
odd = st.fixed_dictionaries(
    {"network": st.one_of(st.just("web"), words)},
    optional={
        field: st.one_of(
            anything, st.lists(st.dictionaries(st.sampled_from(names.SERVICE_OPTIONS), anything))
        )
        for field in names.OPTIONS[1:]
    },
)


def outcome(item: Any) -> None:
    try:
        one = names.parse(item, GROUND, BRIDGES)
    except SpecError as error:
        assert str(error).isprintable() and str(error).startswith("names ")
        return
    server = servers.Server(one.network, "xh-web", one.gateways, 53, (one,), one.upstream or ())
    found = [res for res in servers.compile_server(server) if isinstance(res, File)]
    lines = {res.path.rpartition("/")[2]: res.content.split("\n") for res in found}
    assert all(rows.pop() == "" for rows in lines.values()), "each file ends with a whole line"
    for row in lines["hosts"]:
        address, *texts = row.split(" ")
        ipaddress.ip_address(address)
        assert texts and all(_NAME.match(text) for text in texts), row
    for row in lines["servers"]:
        zone = re.fullmatch(r"server=/(.*)/", row)
        if zone is None:
            ipaddress.ip_address(row.partition("=")[2])
        else:
            assert zone.group(1) == "" or _NAME.match(zone.group(1)), row
    assert all(_CONF.match(row) for row in lines["dnsmasq.conf"][1:])


@given(st.one_of(good, odd))
@settings(max_examples=300)
def test_any_declaration(item: dict[str, Any]) -> None:
    outcome(item)


@given(good)
def test_every_name_leads_to_its_addresses_and_is_asked_of_nobody(item: dict[str, Any]) -> None:
    try:
        one = names.parse(item, GROUND, BRIDGES)
    except SpecError:
        return
    known: dict[str, set[str]] = {}
    for address, texts in servers.entries(one):
        for text in texts:
            known.setdefault(text, set()).add(address)
    own = set(servers.domains(one))
    for each in one.records:
        for text in (each.name, f"{each.name}.web", *each.aliases):
            assert set(each.addresses) <= known[text]
    for service in one.services:
        assert known.get(service.name, set()) == set(service.addresses)
        assert known.get(f"tasks.{service.name}.web", set()) == set(service.tasks)
    for text in known:
        parts = text.split(".")
        above = {".".join(parts[place:]) for place in range(len(parts))}
        assert "." not in text or above & own, text


blocks = st.one_of(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(8, 30)).map(
        lambda pair: ipaddress.ip_network((pair[0], pair[1]), strict=False)
    ),
    st.tuples(st.integers(0, 2**128 - 1), st.integers(20, 126)).map(
        lambda pair: ipaddress.ip_network((pair[0], pair[1]), strict=False)
    ),
)


@given(blocks, st.integers(0, 2**128 - 1))
def test_the_zones_of_a_subnet_hold_its_addresses_and_no_others(block: Any, place: int) -> None:
    try:
        (subnet,) = parse_plain_subnets("network x", [{"subnet": str(block)}])
    except SpecError:
        return
    zones = list(servers.reverse_zones(subnet))
    assert 1 <= len(zones) <= 128

    def held(address: Any) -> bool:
        return any(
            address.reverse_pointer.endswith(f".{zone}") or address.reverse_pointer == zone for zone in zones
        )

    assert held(block[place % block.num_addresses])
    for outside in (int(block.network_address) - 1, int(block.broadcast_address) + 1):
        if 0 <= outside < 2**block.max_prefixlen:
            assert not held(type(block.network_address)(outside))


@given(
    st.one_of(st.none(), st.text()), st.lists(st.sampled_from(["web", "db", "a.b"]), min_size=1, unique=True)
)
def test_what_was_in_a_containers_file_comes_back(text: str | None, networks: list[str]) -> None:
    if text is not None and resolver.is_ours(text):
        return
    ours = resolver.resolv_conf(networks, "10.0.0.1", text)
    assert resolver.is_ours(ours) and resolver.former(ours) == text
    assert resolver.resolv_conf(networks, "10.0.0.1", resolver.former(ours)) == ours


@given(st.sets(st.text(alphabet="ab:", min_size=1, max_size=6), max_size=40))
def test_each_server_has_a_port_of_its_own(instances: set[str]) -> None:
    found = resolver.ports(instances)
    assert set(found) == instances and len(set(found.values())) == len(instances)
    assert all(1024 < port < 32768 for port in found.values())
