# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is written as a published port, it is understood or refused by one line; and what is understood reads the same
when it is written again."""

from __future__ import annotations

from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.spec.publish import (
    PROTOCOLS,
    Publish,
    parse,
    refuse_doubles,
)
from hypothesis import example, given
from hypothesis import strategies as st

ports = st.integers(1, 65535)
addresses = st.one_of(st.sampled_from(["", "0.0.0.0", "::", "127.0.0.1"]), st.ip_addresses().map(str))
pieces = st.one_of(
    st.text(max_size=6),
    st.text("0123456789-:[]/.,=", max_size=12),
    addresses,
    ports.map(str),
    st.sampled_from(["/tcp", "/udp", "tcp", "[::]", "8000-8010", "published=80", "target=", ":", "-"]),
)
texts = st.lists(pieces, max_size=6).map("".join)
values = st.one_of(
    texts,
    st.none(),
    st.integers(),
    st.dictionaries(
        st.sampled_from(["target", "published", "protocol", "host_ip", "mode"]),
        st.one_of(texts, ports, st.none(), st.booleans(), st.floats(), st.lists(st.none(), max_size=1)),
    ),
)


@given(values)
@example("0" * 5000 + "80")
@example("9" * 5000)
def test_it_is_understood_or_refused_by_one_line(value: Any) -> None:
    try:
        found = parse("endpoint web/a", "publish[0]", value)
    except SpecError as error:
        assert "\n" not in str(error)
        assert str(error).startswith("endpoint web/a: ")
        return
    assert found
    for one in found:
        assert 1 <= one.port <= 65535
        assert 0 <= one.first <= one.last <= 65535
        assert one.protocol in PROTOCOLS


@st.composite
def published(draw: st.DrawFn) -> Publish:
    first = draw(st.one_of(st.just(0), ports))
    last = draw(st.integers(first, 65535)) if first else 0
    return Publish(draw(addresses), first, last, draw(ports), draw(st.sampled_from(PROTOCOLS)))


@given(published())
def test_what_is_written_again_reads_the_same(one: Publish) -> None:
    try:
        (again,) = parse("endpoint web/a", "publish[0]", str(one))
    except SpecError as error:
        assert "host address" in str(error)  # a multicast address, or ::1
        return
    assert again == one or "::ffff:" in one.host_ip


@given(st.lists(published(), max_size=6))
def test_a_port_is_refused_exactly_when_it_meets_another(ports: list[Publish]) -> None:
    def families(one: Publish) -> set[tuple[int, str]]:
        if not one.host_ip:
            return {(4, "0.0.0.0"), (6, "::")}
        return {(6 if ":" in one.host_ip else 4, one.host_ip)}

    def meet(one: Publish, other: Publish) -> bool:
        same = one.fixed and other.fixed and (one.first, one.protocol) == (other.first, other.protocol)
        return same and any(
            version == version2 and (a == b or a in ("0.0.0.0", "::") or b in ("0.0.0.0", "::"))
            for version, a in families(one)
            for version2, b in families(other)
        )

    wrong = any(meet(one, other) for place, one in enumerate(ports) for other in ports[:place])
    try:
        refuse_doubles((f"endpoint web/{place}", one) for place, one in enumerate(ports))
    except SpecError:
        assert wrong
    else:
        assert not wrong
