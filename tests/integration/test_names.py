# SPDX-License-Identifier: GPL-3.0-or-later
"""Names on two real hosts, asked for by dig and getent from sandboxes of every kind."""

from __future__ import annotations

import re
import time
from collections import Counter

import pytest

from tests import checker
from tests.integration.lab_run import step
from tests.integration.names_lab import HOSTS, NAMES, TASKS, WEB, WEB6, Named, named  # noqa: F401

pytestmark = [pytest.mark.lab, pytest.mark.slow]


def test_check_mode_says_what_is_done_and_a_second_run_changes_nothing(named: Named) -> None:
    *_others, checked, done, again = named.results
    for host in HOSTS:
        assert done[host]["changed"] and checked[host]["commands"] == done[host]["commands"]
        assert not again[host]["changed"], again[host]["commands"]


def test_the_independent_checker_agrees(named: Named) -> None:
    named.lab.check({host: {**declared, "names": NAMES} for host, declared in named.seen.items()})


# (what is done by hand, how it is undone, what each line of the report has to say)
MUTATIONS = [
    (
        "systemctl stop crosshost-dns@web; sed -i s/10.50.0.1/10.50.0.9/ /etc/netns/shop/resolv.conf",
        "systemctl start crosshost-dns@web; sed -i s/10.50.0.9/10.50.0.1/ /etc/netns/shop/resolv.conf",
        ["unit crosshost-dns@web.service: it is inactive", "says nothing", "shop: resolv.conf"],
    ),
    (
        (
            "sed -i s/10.50.0.12/10.50.0.99/ /run/crosshost/dns/web/hosts; systemctl reload crosshost-dns@web; "
            "ip netns exec xh-web nft flush chain inet crosshost names-forward; ip -n xh-web route del default"
        ),
        (
            "sed -i s/10.50.0.99/10.50.0.12/ /run/crosshost/dns/web/hosts; systemctl reload crosshost-dns@web; "
            "ip netns exec xh-web nft 'add rule inet crosshost names-forward iifname gw0 drop; "
            "add rule inet crosshost names-forward oifname gw0 drop'; "
            "ip -n xh-web route add default via 172.30.0.1 proto static"
        ),
        ["10.50.0.99", "xh-web: nft chain forward 0", "xh-web: route 0.0.0.0/0 gw0 172.30.0.1: missing"],
    ),
]


def test_the_independent_checker_reports_what_is_changed_by_hand(named: Named) -> None:
    here = {**named.seen["h1"], "names": NAMES}
    run = checker.prefixed_runner(named.lab.argv("h1"))
    for harm, repair, reports in MUTATIONS:
        named.lab.script("h1", f"{harm}; sleep 0.5")
        found = checker.check(here, run)
        named.lab.script("h1", f"{repair}; sleep 0.5")
        assert [one for one in reports if not any(one in line for line in found)] == [], found
        assert [line for line in found if not any(one in line for one in reports)] == []
    assert checker.check(here, run) == []


@pytest.mark.parametrize("server", [WEB, WEB6])
@pytest.mark.parametrize("place", ["h1/shop", "h2/cart"])
def test_every_kind_of_name_on_both_hosts_over_both_families(named: Named, place: str, server: str) -> None:
    known = {
        ("shop", "A"): ["10.50.0.11"],
        ("shop", "AAAA"): ["fd50::11"],
        ("SHOP.Web", "A"): ["10.50.0.11"],
        ("cart.web", "AAAA"): ["fd50::21"],
        ("front", "A"): ["10.50.0.11", "10.50.0.21"],
        ("front.web", "AAAA"): ["fd50::11", "fd50::21"],
        ("api", "A"): ["10.50.0.100"],
        ("gate.web", "A"): ["10.50.0.100"],
        ("tasks.api", "A"): TASKS,
        ("tasks.gate.web", "A"): TASKS,
        ("rr", "A"): TASKS,
        ("11.0.50.10.in-addr.arpa", "PTR"): ["shop.web."],
        ("100.0.50.10.in-addr.arpa", "PTR"): ["api.web."],
        ("1.2." + "0." * 27 + "5.d.f.ip6.arpa", "PTR"): ["cart.web."],
    }
    found = {what: named.lab.dig(place, f"@{server}", *what) for what in known}
    assert found == {what: ("NOERROR", sorted(answers)) for what, answers in known.items()}
    assert named.lab.short(place, "+tcp", f"@{server}", "rr") == TASKS
    rows = named.lab.run(place, "dig", "+noall", "+answer", f"@{server}", "tasks.api").splitlines()
    assert {row.split()[1] for row in rows} == {"1"}, "seconds that an answer may be kept"


def test_what_is_ours_is_never_asked_of_others(named: Named) -> None:
    lab = named.lab
    nothing = [
        ("both", "AAAA"),
        ("both.web", "AAAA"),
        ("shop", "MX"),
        ("api.web", "TXT"),
        ("tasks.rr", "AAAA"),
    ]
    nowhere = [
        ("nosuch", "A"),
        ("nosuch", "MX"),
        ("x.shop.web", "A"),
        ("-x", "10.50.0.99"),
        ("-x", "fd50::99"),
    ]
    with lab.upstream() as asked:
        assert {what: lab.dig("h1/shop", *what, f"@{WEB}") for what in nothing} == dict.fromkeys(
            nothing, ("NOERROR", [])
        )
        assert {what: lab.dig("h1/shop", *what, f"@{WEB}") for what in nowhere} == dict.fromkeys(
            nowhere, ("NXDOMAIN", [])
        )
        assert lab.short("h1/shop", f"@{WEB}", "www.example.org", "A") == ["192.0.2.99"]
        assert lab.short("h2/cart", f"@{WEB6}", "other.web", "AAAA") == ["2001:db8::99"]
        assert lab.short("h1/lone", "@fd52::1", "-x", "192.0.2.7") == []
    assert set(asked) == {"www.example.org", "other.web", "7.2.0.192.in-addr.arpa"}


def test_an_internal_network_asks_nobody(named: Named) -> None:
    lab = named.lab
    with lab.upstream() as asked, lab.capture("outside", "port", "53") as packets:
        began = time.monotonic()
        assert lab.dig("h2/vault", "@10.51.0.1", "www.example.org") == ("REFUSED", [])
        assert time.monotonic() - began < 1.5
        assert lab.short("h2/vault", "@10.51.0.1", "both.db") == ["10.51.0.12"]
    assert asked == [] and packets == []
    assert "gw0" not in lab.run("h2/xh-db", "ip", "-br", "link")


def test_addresses_of_one_name_take_turns(named: Named) -> None:
    text = named.lab.script("h2/cart", f"for i in $(seq 90); do dig +short @{WEB} tasks.api | head -1; done")
    first = Counter(text.split())
    assert set(first) == set(TASKS) and all(20 <= count <= 40 for count in first.values()), first


def test_sandboxes_find_their_name_server_by_themselves(named: Named) -> None:
    lab = named.lab

    def finds(host: str, sandbox: str, name: str) -> set[str]:
        text = lab.script(host, f"ip netns exec {sandbox} getent ahosts {name} || true")
        return {line.split()[0] for line in text.splitlines()}

    assert finds("h1", "shop", "cart") == {"10.50.0.21", "fd50::21"}
    assert finds("h2", "cart", "front.web") == {"10.50.0.11", "fd50::11", "10.50.0.21", "fd50::21"}
    assert finds("h2", "vault", "both") == {"10.51.0.12"}
    assert finds("h1", "lone", "lone.six") == {"fd52::13"}
    assert finds("h1", "shop", "vault") == set()
    with lab.upstream():
        assert finds("h1", "shop", "www.example.org") == {"192.0.2.99", "2001:db8::99"}
    assert not lab.script("h1", "ls /etc/netns/left 2>/dev/null || true")


def test_a_sandbox_of_two_networks_knows_the_names_of_both(named: Named) -> None:
    lab = named.lab
    in_both = "ip netns exec both"
    known = {"vault": "10.51.0.21", "vault.db": "10.51.0.21", "shop.web": "10.50.0.11", "both": "10.50.0.12"}
    for name, address in {**known, "both.db": "10.51.0.12", "both.web": "10.50.0.12"}.items():
        for how in ("+notcp", "+tcp"):
            assert lab.script("h1", f"{in_both} dig {how} +short {name}").split() == [address], name
    assert lab.script("h1", f"{in_both} getent hosts 10.51.0.21").split()[1] == "vault.db"
    with lab.upstream() as asked:
        assert lab.script("h1", f"{in_both} dig +short www.example.org").split() == ["192.0.2.99"]
    assert set(asked) == {"www.example.org"}
    # the other sandboxes of the first network do not come to these names, by whatever port
    conf = lab.run("h1", "cat", "/run/crosshost/dns/web:db/dnsmasq.conf")
    port = re.findall(r"^port=(\d+)$", conf, re.MULTILINE)[0]
    assert lab.dig("h1/shop", f"@{WEB}", "-p", port, "vault.db") == ("", [])
    assert lab.dig("h1/shop", f"@{WEB}", "-p", port, "+tcp", "vault.db") == ("", [])
    assert lab.run("h1", "systemctl", "is-active", "crosshost-dns@web:db").strip() == "active"


def test_a_container_gets_its_file_in_place_and_the_host_keeps_its_own(named: Named) -> None:
    lab = named.lab
    text = lab.run("h1", "cat", "/run/t-resolv")
    assert f"nameserver {WEB}\noptions ndots:0\n" in text and "\nsearch corp.example\n" in text
    assert "#| nameserver 192.0.2.1" in text and "\nnameserver 192.0.2.1" not in text
    inside = ["nsenter", "--net", "--mount", f"--target={named.container}", "getent", "hosts", "api"]
    assert lab.run("h1", *inside).split()[0] == "10.50.0.100"
    assert f"nameserver {WEB}\n" in lab.run("h1", "cat", "/run/t-etc/resolv.conf")
    for host in HOSTS:
        own = named.before[host].partition("crosshost")[0]
        assert lab.run(host, "cat", "/etc/resolv.conf") in own


def test_a_change_of_records_restarts_nothing_and_is_seen_at_once(named: Named) -> None:
    lab = named.lab
    before = {host: {one: lab.pid(host, one) for one in ("web", "db", "six")} for host in HOSTS}
    both = lab.pid("h1", "web:db")
    changed = {"config": [{"network": "web", "records": [{"name": "shop", "addresses": ["10.50.0.77"]}]}]}
    done = lab.play(step(HOSTS, "names", changed))[0]
    began = time.monotonic()
    for host, place in (("h1", "h1/shop"), ("h2", "h2/cart")):
        assert "systemctl reload crosshost-dns@web.service" in done[host]["commands"]
        while lab.short(place, f"@{WEB}", "shop.web", "A") != ["10.50.0.77"]:
            assert time.monotonic() - began < 1, "seconds"
    assert lab.script("h1", "ip netns exec both dig +short shop").split() == ["10.50.0.77"]
    assert {host: {one: lab.pid(host, one) for one in ("web", "db", "six")} for host in HOSTS} == before
    assert lab.pid("h1", "web:db") == both and both
    back = lab.play(step(HOSTS, "names", {"config": NAMES, "state": "replaced"}))[0]
    assert all(found["changed"] for found in back.values())
    assert lab.short("h1/shop", f"@{WEB}", "shop", "A") == ["10.50.0.11"]
