# SPDX-License-Identifier: GPL-3.0-or-later
"""Published ports: every form that Docker's documentation shows, what its command line refuses, and what may not be
published together."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.spec.publish import (
    Publish,
    parse,
    parse_all,
    refuse_doubles,
    refuse_unreachable,
)


def fixed(host_ip: str, host: int, port: int, protocol: str = "tcp") -> Publish:
    return Publish(host_ip, host, host, port, protocol)


def automatic(host_ip: str, port: int, protocol: str = "tcp") -> Publish:
    return Publish(host_ip, 0, 0, port, protocol)


ACCEPTED: list[tuple[Any, list[Publish]]] = [
    # "Port publishing and mapping"
    ("8080:80", [fixed("", 8080, 80)]),
    ("192.168.1.100:8080:80", [fixed("192.168.1.100", 8080, 80)]),
    ("8080:80/udp", [fixed("", 8080, 80, "udp")]),
    ("8080:80/tcp", [fixed("", 8080, 80)]),
    ("127.0.0.1:8080:80", [fixed("127.0.0.1", 8080, 80)]),
    ("[::]::80", [automatic("::", 80)]),
    # "docker container run": --publish
    ("127.0.0.1:80:8080/tcp", [fixed("127.0.0.1", 80, 8080)]),
    ("80", [automatic("", 80)]),
    ("1234-1236:1234-1236/tcp", [fixed("", port, port) for port in (1234, 1235, 1236)]),
    ("127.0.0.1::8082", [automatic("127.0.0.1", 8082)]),
    ("7000-7002:80", [Publish("", 7000, 7002, 80, "tcp")]),
    ("80/sctp", [automatic("", 80, "sctp")]),
    # the Compose file's "ports", short and long
    ("3000", [automatic("", 3000)]),
    ("3000-3002", [automatic("", port) for port in (3000, 3001, 3002)]),
    ("8000:8000", [fixed("", 8000, 8000)]),
    ("9090-9091:8080-8081", [fixed("", 9090, 8080), fixed("", 9091, 8081)]),
    ("49100:22", [fixed("", 49100, 22)]),
    ("8000-9000:80", [Publish("", 8000, 9000, 80, "tcp")]),
    ("127.0.0.1:8001:8001", [fixed("127.0.0.1", 8001, 8001)]),
    ("127.0.0.1:5000-5001:5000-5001", [fixed("127.0.0.1", 5000, 5000), fixed("127.0.0.1", 5001, 5001)]),
    ("6060:6060/udp", [fixed("", 6060, 6060, "udp")]),
    ({"target": 80, "host_ip": "127.0.0.1", "published": "8080", "protocol": "tcp"}, [fixed("127.0.0.1", 8080, 80)]),
    ({"target": 80, "published": "8000-9000", "protocol": "udp"}, [Publish("", 8000, 9000, 80, "udp")]),
    ({"target": "80", "published": 8080}, [fixed("", 8080, 80)]),
    ({"target": 80}, [automatic("", 80)]),
    ("published=8080,target=80", [fixed("", 8080, 80)]),
    ("published=8080,target=80,protocol=sctp", [fixed("", 8080, 80, "sctp")]),
    # further forms of the command line
    ("0.0.0.0:1234-1235:3333-3334/tcp", [fixed("0.0.0.0", 1234, 3333), fixed("0.0.0.0", 1235, 3334)]),
    ("[::]:8080:80", [fixed("::", 8080, 80)]),
    ("[2001:db8::1]:80:80/udp", [fixed("2001:db8::1", 80, 80, "udp")]),
    ("[2001:db8::1]::80", [automatic("2001:db8::1", 80)]),
    ("2001:db8::1:8080:80", [fixed("2001:db8::1", 8080, 80)]),
    ("2001:db8:0:0::68::333", [automatic("2001:db8::68", 333)]),
    ("::::80", [automatic("::", 80)]),
    ("[192.0.2.1]:80:80", [fixed("192.0.2.1", 80, 80)]),
    ("::ffff:192.0.2.1:80:80", [fixed("192.0.2.1", 80, 80)]),
    (":80", [automatic("", 80)]),
    ("::80", [automatic("", 80)]),
    (":8080:80", [fixed("", 8080, 80)]),
    ("80/", [automatic("", 80)]),
    ("80/UDP", [automatic("", 80, "udp")]),
    ("0:80", [automatic("", 80)]),
    ("0080:080", [fixed("", 80, 80)]),
    ("8080-8080:80-80", [fixed("", 8080, 80)]),
    ("65535:65535", [fixed("", 65535, 65535)]),
]  # fmt: skip

# what is refused, and what the line says of it
REFUSED: list[tuple[Any, str]] = [
    ("", "no container port"),
    (":", "no container port"),
    ("8080:", "no container port"),
    ("/tcp", "no container port"),
    ("8080:/udp", "no container port"),
    ("web", "container port 'web'"),
    ("80:web", "container port 'web'"),
    ("web:80", "host port 'web'"),
    ("8080/tcp:80", "host port '8080/tcp'"),
    ("localhost:8080:80", "host address 'localhost'"),
    ("localhost:1234-1236:1234-1236/tcp", "host address 'localhost'"),
    ("192.168.1.100", "container port"),
    ("192.168.1.100:-1:-1", "container port '-1'"),
    ("192.168.1:80:80", "host address '192.168.1'"),
    ("192.168.1.256:80:80", "host address '192.168.1.256'"),
    ("192.168.01.1:80:80", "host address '192.168.01.1'"),
    ("fe80::1%eth0:80:80", "host address 'fe80::1%eth0'"),
    ("[::1:80:80", "host address '[::1'"),
    ("[]:80:80", "host address '[]'"),
    ("[::1]x:80:80", "host address '[::1]x'"),
    (":::80", "host address ':'"),
    ("[::1]:8080:80", "on 127.0.0.1"),
    ("::1:6000:6000", "on 127.0.0.1"),
    ("[ff02::1]:80:80", "unicast"),
    ("224.0.0.1:80:80", "unicast"),
    ("80/icmp", "protocol 'icmp'"),
    ("80/tcp/udp", "protocol 'tcp/udp'"),
    ("80/ tcp", "protocol ' tcp'"),
    ("0", "container port '0'"),
    ("8080:0", "container port '0'"),
    ("0-5:80", "begin it at 1"),
    ("65536", "container port '65536'"),
    ("65536:80", "host port '65536'"),
    ("99999999999999999999:80", "host port '99999999999999999999'"),
    ("-1", "container port '-1'"),
    ("80-", "container port '80-'"),
    ("8000-7999", "ends before it begins"),
    ("9000-8000:80", "ends before it begins"),
    ("80-81-82:80", "host port '80-81-82'"),
    ("8000-8001:80-82", "2 host ports and 3 container ports"),
    ("8000:80-81", "1 host ports and 2 container ports"),
    ("8000-8002:80-81", "3 host ports and 2 container ports"),
    (" 80", "container port ' 80'"),
    ("8 0:80", "host port '8 0'"),
    ("+80:80", "host port '+80'"),
    ("8_0:80", "host port '8_0'"),
    ("\u0663:80", "host port"),
    (8080, "in quotes"),
    (1342, "in quotes"),
    (None, "in quotes"),
    (True, "in quotes"),
    (["8080:80"], "in quotes"),
    ({}, "no container port"),
    ({"published": 8080}, "no container port"),
    ({"target": 0}, "container port '0'"),
    ({"target": 80, "published": "8000-9000", "protocol": "icmp"}, "protocol 'icmp'"),
    ({"target": "80-81", "published": "8000-8002"}, "3 host ports and 2 container ports"),
    ({"target": True}, "give a port"),
    ({"target": 80, "host_ip": 1}, "give a text"),
    ({"target": 80, "mode": "host"}, "no such option"),
    ("published=8080,target=80,mode=ingress", "'mode=ingress'"),
    ("published=8080,target", "'target'"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), ACCEPTED, ids=[str(value) for value, _ in ACCEPTED])
def test_accepted(value: Any, expected: list[Publish]) -> None:
    assert list(parse("endpoint web/shop", "publish[0]", value)) == expected


@pytest.mark.parametrize(("value", "words"), REFUSED, ids=[repr(value) for value, _ in REFUSED])
def test_refused_by_one_line(value: Any, words: str) -> None:
    with pytest.raises(SpecError) as raised:
        parse("endpoint web/shop", "publish[0]", value)
    text = str(raised.value)
    assert text.startswith("endpoint web/shop: ")
    assert words in text
    assert "\n" not in text


def test_the_network_says_where_ports_go_that_do_not_say_it_themselves() -> None:
    given = ["8080:80", "192.0.2.1:8081:80"]

    def addresses(host_ip: str) -> list[str]:
        return [one.host_ip for one in parse_all("endpoint web/shop", "publish", given, host_ip)]

    assert addresses("127.0.0.1") == ["127.0.0.1", "192.0.2.1"]
    assert addresses("::") == ["::", "192.0.2.1"]
    assert addresses("0.0.0.0") == ["", "192.0.2.1"]
    assert parse_all("endpoint web/shop", "publish", None) == ()


DOUBLES = [
    ("8080:80", "8080:81"),
    ("8080:80", "0.0.0.0:8080:81"),
    ("8080:80", "[::]:8080:81"),
    ("8080:80", "192.0.2.1:8080:81"),
    ("192.0.2.1:8080:80", "8080:81"),
    ("0.0.0.0:8080:80", "192.0.2.1:8080:80"),
    ("[2001:db8::1]:8080:80", "[::]:8080:80"),
    ("192.0.2.1:8080:80", "192.0.2.1:8080:81"),
    ("8000-8002:80-82", "8002:90"),
]
APART = [
    ("8080:80", "8081:80"),
    ("8080:80/tcp", "8080:80/udp"),
    ("0.0.0.0:8080:80", "[::]:8080:80"),
    ("192.0.2.1:8080:80", "192.0.2.2:8080:80"),
    ("192.0.2.1:8080:80", "[2001:db8::1]:8080:80"),
    ("8000-8002:80", "8000:80"),
    ("80", "80"),
    ("8000-8002:80", "8000-8002:81"),
]


def _published(first: str, second: str) -> list[tuple[str, Publish]]:
    return [
        (f"endpoint web/{name}", one)
        for name, text in (("a", first), ("b", second))
        for one in parse(f"endpoint web/{name}", "publish[0]", text)
    ]


@pytest.mark.parametrize(("first", "second"), DOUBLES)
def test_one_port_for_two_is_refused_naming_both(first: str, second: str) -> None:
    with pytest.raises(SpecError, match=r"endpoint web/b: publish .*endpoint web/a has port"):
        refuse_doubles(_published(first, second))


@pytest.mark.parametrize(("first", "second"), APART)
def test_ports_that_do_not_meet(first: str, second: str) -> None:
    refuse_doubles(_published(first, second))


def test_a_family_that_the_sandbox_does_not_have_is_refused() -> None:
    six = parse("endpoint web/a", "publish[0]", "[::]:8080:80")
    four = parse("endpoint web/a", "publish[0]", "127.0.0.1:8080:80")
    with pytest.raises(SpecError, match="no IPv6 address"):
        refuse_unreachable("endpoint web/a", "publish", six, "10.0.0.2", "")
    with pytest.raises(SpecError, match="no IPv4 address"):
        refuse_unreachable("endpoint web/a", "publish", four, "", "fd00::2")
    both = parse("endpoint web/a", "publish[0]", "8080:80")
    refuse_unreachable("endpoint web/a", "publish", [*six, *four, *both], "10.0.0.2", "fd00::2")
    refuse_unreachable("endpoint web/a", "publish", both, "10.0.0.2", "")
