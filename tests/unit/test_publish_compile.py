# SPDX-License-Identifier: GPL-3.0-or-later
"""Which port of the host a published port gets, and what leads there."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.compile.publish import (
    Ground,
    Published,
    Target,
    choose,
    compile_published,
)
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.plan import apply_to, plan
from ansible_collections.crosshost.network.plugins.module_utils.render_nft import rule_text
from ansible_collections.crosshost.network.plugins.module_utils.resources import (
    NftChain,
    NftElement,
    NftMap,
    Resource,
    Sysctl,
    state_of,
)
from ansible_collections.crosshost.network.plugins.module_utils.spec.publish import (
    chain_name,
    parse_all,
    port_of_chain,
)

LOW, HIGH = 40000, 40009


def target(name: str, *ports: Any, ip: str = "10.70.0.11", ip6: str = "fd70::11") -> Target:
    return Target(f"web/{name}", parse_all(f"endpoint web/{name}", "publish", list(ports)), ip, ip6, "xb-web")


def ground(taken: set[tuple[str, int]] | None = None, reserved: frozenset[int] = frozenset()) -> Ground:
    return Ground(
        LOW, HIGH, reserved, lambda protocol, _address, port: (protocol, port) not in (taken or set())
    )


def never() -> Ground:
    raise AssertionError("nothing has to be chosen")


def ports(found: list[Published]) -> list[int]:
    return [one.host_port for one in found]


def chains(published: list[Published]) -> list[Resource]:
    return [one for one in compile_published(published) if isinstance(one, NftChain)]


def test_declared_ports_are_not_chosen() -> None:
    assert ports(choose([target("a", "8080:80", "8000-8001:90-91")], [], never)) == [8080, 8000, 8001]


def test_of_a_range_the_lowest_free_one() -> None:
    wanted = [target("a", "8000-8004:80", "8000-8004:81"), target("b", "8001:80", "8000-8004:82/udp")]
    assert ports(choose(wanted, [], lambda: ground({("tcp", 8000)}))) == [8002, 8003, 8001, 8000]


def test_automatic_ports_follow_from_the_name() -> None:
    first = ports(choose([target("a", "80"), target("b", "80")], [], ground))
    assert first == ports(choose([target("a", "80"), target("b", "80")], [], ground))
    assert all(LOW <= port <= HIGH for port in first) and first[0] != first[1]
    everything = ports(choose([target("a", *["80"] * 10)], [], ground))
    assert sorted(everything) == list(range(LOW, HIGH + 1))


def test_no_room_is_an_error_that_names_the_range() -> None:
    with pytest.raises(
        SpecError, match=r"endpoint web/a: publish '80/tcp': no port from 40000 to 40009 is free"
    ):
        choose([target("a", *["80"] * 11)], [], ground)
    with pytest.raises(SpecError, match="no port from 8000 to 8001 is free"):
        choose([target("a", "8000-8001:80")], [], lambda: ground({("tcp", 8000), ("tcp", 8001)}))
    reserved = frozenset(range(LOW, HIGH))
    assert ports(choose([target("a", "80")], [], lambda: ground(reserved=reserved))) == [HIGH]


def test_a_chosen_port_stays() -> None:
    wanted = [target("a", "80", "8000-8004:81", "80/udp"), target("b", "80", ip="10.70.0.12", ip6="")]
    first = choose(wanted, [], lambda: ground({("tcp", 8000)}))
    before = chains(first)
    assert choose(wanted, before, never) == first
    # another order, a new endpoint, a port that is declared since: the others keep theirs
    c = target("c", "8000-8004:80", f"{first[0].host_port}:81", ip="10.70.0.13", ip6="")
    later = choose([c, *reversed(wanted)], before, ground)
    kept = {(one.owner, one.protocol, one.port): one.host_port for one in later}
    assert kept["web/c", "tcp", 80] == 8000
    assert kept["web/c", "tcp", 81] == first[0].host_port != kept["web/a", "tcp", 80]
    assert kept["web/a", "tcp", 81] == 8001
    assert kept["web/b", "tcp", 80] == first[3].host_port
    # a range that does not hold it any more, or another address, means a new one
    assert ports(choose([target("a", "8003-8004:81")], before, ground)) == [8003]
    assert ports(choose([target("a", "127.0.0.1:8003-8004:81")], before, ground)) == [8003]


def _words(published: list[Published]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in compile_published(published):
        if isinstance(one, NftChain) and not one.hook:
            found[one.name] = [rule_text(json.loads(rule)) for rule in one.rules]
        elif isinstance(one, NftElement):
            key = json.loads(one.key)
            words = " . ".join(map(str, key["concat"])) if isinstance(key, dict) else key
            found.setdefault(one.map, []).append(f"{words} : {one.target}")
    return found


def test_what_leads_to_a_port() -> None:
    wanted = [
        target("a", "8080:80", "[fd98::1]:8081:81/udp", "127.0.0.1:8082:82"),
        target("b", "8083:83", ip6=""),
    ]
    found = _words(choose(wanted, [], never))
    assert found["publish-any4"] == ["tcp . 8080 : publish-tcp-8080", "tcp . 8083 : publish-tcp-8083"]
    assert found["publish-any6"] == ["tcp . 8080 : publish-tcp-8080"]
    assert found["publish-at4"] == ["127.0.0.1 . tcp . 8082 : publish-tcp-127.0.0.1-8082"]
    assert found["publish-at6"] == ["fd98::1 . udp . 8081 : publish-udp-fd98__1-8081"]
    assert found["publish-tcp-8080"] == [
        "meta l4proto tcp dnat ip to 10.70.0.11:80",
        "meta l4proto tcp dnat ip6 to [fd70::11]:80",
    ]
    assert found["publish-tcp-8083"] == ["meta l4proto tcp dnat ip to 10.70.0.11:83"]
    assert found["publish-udp-fd98__1-8081"] == ["meta l4proto udp dnat ip6 to [fd70::11]:81"]
    assert found["publish-hairpin"] == ["xb-web . xb-web : publish-masqueraded"]
    assert found["publish-own4"] == ["10.70.0.11 . 10.70.0.11 : publish-masqueraded"]


def test_loopback_is_routed_to_the_bridges_that_need_it() -> None:
    def routed(*declared: str) -> dict[str, str]:
        published = choose([target("a", *declared)], [], never)
        found = compile_published(published, ["xb-web", "br.7"])
        return {one.name: one.value for one in found if isinstance(one, Sysctl)}

    web, other = "net.ipv4.conf.xb-web.route_localnet", "net.ipv4.conf.br/7.route_localnet"
    assert routed("8080:80") == {web: "1", other: "0"}
    assert routed("127.0.0.3:8080:80") == {web: "1", other: "0"}
    assert routed("192.0.2.1:8080:80", "[::]:8080:80") == {web: "0", other: "0"}
    assert routed() == {web: "0", other: "0"}


def test_without_ports_there_is_nothing() -> None:
    assert list(compile_published([])) == []


def test_every_part_refers_to_what_is_there() -> None:
    published = choose(
        [target("a", "8080:80", "8000-8009:8000-8009/udp"), target("b", "[::]:9:9/sctp")], [], never
    )
    found = state_of(compile_published(published))
    chains = {one.name for one in found.values() if isinstance(one, NftChain)}
    maps = {one.name for one in found.values() if isinstance(one, NftMap)}
    for one in found.values():
        if isinstance(one, NftElement):
            assert one.map in maps and one.target in chains
        elif isinstance(one, NftChain):
            looked_up = {name for rule in one.rules for name in re.findall(r'"@([^"]+)"', rule)}
            assert looked_up <= maps
    assert apply_to({}, plan({}, found)) == found


@pytest.mark.parametrize("address", ["", "0.0.0.0", "::", "127.0.0.1", "fd00::1", "2001:db8::ffff:1"])
def test_a_chains_name_says_which_port_it_is(address: str) -> None:
    assert port_of_chain(chain_name("udp", address, 53)) == ("udp", address, 53)
    for other in (
        "publish-raw",
        "publish-prerouting",
        "publish-masqueraded",
        "bridge-udp-53",
        "xh_gwbridge-nat",
    ):
        assert port_of_chain(other) is None
