# SPDX-License-Identifier: GPL-3.0-or-later
"""Slots to texts and back."""

from __future__ import annotations

import ipaddress
import re

import pytest
from crosshost_webui.ipam.defaults import address_pool, number_pool, prefix_length, subnet_pool
from crosshost_webui.ipam.extents import Extent
from crosshost_webui.ipam.models import Pool
from crosshost_webui.ipam.values import Space, parse, text_of
from hypothesis import given
from hypothesis import strategies as st

POOLS = [
    subnet_pool(1, "", "10.0.0.0/8", 24, ""),
    subnet_pool(1, "", "fd00:1::/48", 64, ""),
    subnet_pool(1, "", "::/0", 64, ""),
    subnet_pool(1, "", "0.0.0.0/0", 24, ""),
    subnet_pool(1, "", "192.168.0.0/16", 24, "", unit=24),
    address_pool(1, "", "10.1.2.0/24", None),
    address_pool(1, "", "10.1.2.3/32", None),
    address_pool(1, "", "fd00:1::/64", None),
    address_pool(1, "", "fd00:1::/120", None),
    number_pool(1, "", "vni", "", 100, 2**24 - 1, ""),
    number_pool(1, "", "port", "sctp", 30000, 32767, ""),
]


@given(st.sampled_from(POOLS), st.data())
def test_what_is_written_is_read_back(pool: Pool, data: st.DataObject) -> None:
    space = Space.of(pool)
    k = data.draw(st.integers(0, pool.size.bit_length() - 1))
    first = data.draw(st.integers(0, (pool.size >> k) - 1)) << k
    slots = Extent(first, first + (1 << k) - 1)
    text = space.text(slots)
    value = parse(pool.kind, text)
    assert text_of(value) == text
    assert (value.version, value.protocol) == (space.version, space.protocol)
    assert space.slots(value.extent) == slots
    assert space.touched(value.extent) == slots


@given(st.sampled_from([one for one in POOLS if one.version]), st.data())
def test_the_addresses_of_a_slot(pool: Pool, data: st.DataObject) -> None:
    slot = data.draw(st.integers(0, pool.size - 1))
    block = ipaddress.ip_network(pool.cidr)
    size = block.num_addresses >> (pool.unit - block.prefixlen)
    values = Space.of(pool).values(Extent(slot, slot))
    assert values.first == int(block.network_address) + slot * size
    assert values.size == size
    assert prefix_length(pool.cidr or "") == block.prefixlen


@pytest.mark.parametrize("pool", POOLS)
def test_slots_are_counted_in_64_bits(pool: Pool) -> None:
    assert 0 < pool.size < 2**63
    assert pool.unit - prefix_length(pool.cidr) <= 62 if pool.kind == "subnet" and pool.cidr else True


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("subnet", "10.0.0.1/24", "it has host bits; write 10.0.0.0/24"),
        ("subnet", "10.0.0.0/33", "write a CIDR block such as"),
        ("subnet", "fe80::%eth0/64", "write a CIDR block such as"),
        ("subnet", "", "write a CIDR block such as"),
        ("address", "10.0.0.256", "write an address such as"),
        ("address", "fe80::1%eth0", "write the address without a zone"),
        ("address", "10.0.0.9-10.0.0.1", "write the lower address first"),
        ("address", "10.0.0.9-::1", "write the lower address first"),
        ("address", "10.0.0.9-", "write an address such as"),
        ("vni", "0", "it has to be in 1 to 16777215"),
        ("vni", "5/tcp", "write a number such as 7100"),
        ("vni", "-5", "write a number such as 7100"),
        ("vni", "\u0663", "write a number"),
        ("port", "65536/udp", "it has to be in 1 to 65535"),
        ("port", "9-8", "it has to be in 1 to 65535"),
        ("port", "80/TCP", "write a port such as 8080/tcp"),
        ("port", "80/icmp", "no protocol is 'icmp'"),
    ],
)
def test_texts_that_mean_nothing(kind: str, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse(kind, text)


def test_values_that_are_no_whole_slots() -> None:
    space = Space.of(POOLS[4])
    with pytest.raises(ValueError, match="cut into parts of /24 or larger"):
        space.slots(parse("subnet", "192.168.5.0/25").extent)
    with pytest.raises(ValueError, match=r"it is not in 192\.168\.0\.0/16"):
        space.slots(parse("subnet", "192.169.5.0/24").extent)
    assert space.touched(parse("address", "192.168.5.77").extent) == Extent(5, 5)
    assert space.touched(parse("address", "10.0.0.0/8").extent) is None


@given(st.text(max_size=30), st.sampled_from(["subnet", "address", "vni", "port"]))
def test_any_text_is_read_or_refused(text: str, kind: str) -> None:
    try:
        found = parse(kind, text)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert parse(kind, text_of(found)) == found
