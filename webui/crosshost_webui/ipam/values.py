# SPDX-License-Identifier: GPL-3.0-or-later
"""Slots as people write them: addresses, subnets, VNIs, ports; and back. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple, Protocol

from .extents import Extent

VNI_MOST = 2**24 - 1
PORT_MOST = 2**16 - 1
PROTOCOLS = ("tcp", "udp", "sctp")
SLOTS_MOST = 2**63 - 1  # what a column of 64 bits counts, as does the upper end of a range of PostgreSQL
_SUBNET_BITS = 62  # of a pool of IPv6 subnets: it has at most 2**62 slots
_NUMBERS = re.compile(r"([0-9]{1,8})(?:-([0-9]{1,8}))?(?:/([a-z]+))?")


class Value(NamedTuple):
    """What a text means, whichever pool it is of: addresses as numbers, VNIs or ports ``first`` to ``last``. ``version`` 0: not
    addresses."""

    kind: str
    version: int
    protocol: str
    first: int
    last: int

    @property
    def extent(self) -> Extent:
        return Extent(self.first, self.last)


class Shape(Protocol):
    """What of a pool says what its slots are. ``base``: the first address."""

    kind: str
    version: int
    protocol: str
    base: bytes | None
    unit: int
    first_value: int
    size: int


class Space(NamedTuple):
    """A pool's way from slots to values. A slot is ``step`` addresses, VNIs or ports; slot 0 begins at ``start``."""

    kind: str
    version: int
    protocol: str
    start: int
    step: int
    size: int

    @classmethod
    def of(cls, pool: Shape) -> Space:
        if not pool.version:
            return cls(pool.kind, 0, pool.protocol, pool.first_value, 1, pool.size)
        start = int.from_bytes(pool.base or b"", "big")
        return cls(pool.kind, pool.version, "", start, 1 << (bits_of(pool.version) - pool.unit), pool.size)

    @property
    def all(self) -> Extent:
        """The addresses, VNIs or ports that its slots stand for."""
        return Extent(self.start, self.start + self.size * self.step - 1)

    def values(self, slots: Extent) -> Extent:
        return Extent(self.start + slots.first * self.step, self.start + (slots.last + 1) * self.step - 1)

    def slots(self, values: Extent) -> Extent:
        """The slots of exactly these. ValueError if they lie outside, or no whole slots make them."""
        if not self.all.holds(values):
            raise ValueError(f"it is not in {self.text_of(self.all)}")
        first, before = divmod(values.first - self.start, self.step)
        end, after = divmod(values.last + 1 - self.start, self.step)
        if before or after:
            raise ValueError(f"this pool is cut into parts of /{self.unit} or larger")
        return Extent(first, end - 1)

    def touched(self, values: Extent) -> Extent | None:
        """The slots of which any part is among these."""
        first, last = max(values.first, self.all.first), min(values.last, self.all.last)
        if first > last:
            return None
        return Extent((first - self.start) // self.step, (last - self.start) // self.step)

    @property
    def unit(self) -> int:
        """The prefix length of one slot; of addresses only."""
        return bits_of(self.version) - (self.step.bit_length() - 1)

    def text(self, slots: Extent) -> str:
        """`10.0.0.5`, `10.0.0.5-10.0.0.9`, `10.0.0.0/24`, `7100`, `8080/tcp`, `8000-8010/tcp`."""
        return self.text_of(self.values(slots))

    def text_of(self, values: Extent) -> str:
        return text_of(Value(self.kind, self.version, self.protocol, *values))


def bits_of(version: int) -> int:
    return 32 if version == 4 else 128


def text_of(value: Value) -> str:
    """As parse() reads it."""
    if value.version and value.kind == "subnet":
        block = _block(value)
        if block is not None:
            return block
    if value.version:
        ends = [str(_address(value.version, number)) for number in dict.fromkeys(value.extent)]
    else:
        ends = [str(number) for number in dict.fromkeys(value.extent)]
    return "-".join(ends) + (f"/{value.protocol}" if value.protocol else "")


def parse(kind: str, text: str) -> Value:
    """ValueError says in a few words what would be right. Host bits are refused, as is a protocol nobody knows."""
    if kind in ("subnet", "address"):
        return _addresses(kind, text)
    found = _NUMBERS.fullmatch(text.strip())
    most = VNI_MOST if kind == "vni" else PORT_MOST
    if found is None or (kind == "vni" and found[3]):
        raise ValueError("write a number such as 7100" if kind == "vni" else "write a port such as 8080/tcp")
    first, last = int(found[1]), int(found[2] or found[1])
    if not 1 <= first <= last <= most:
        raise ValueError(f"it has to be in 1 to {most}")
    protocol = "" if kind == "vni" else found[3] or "tcp"
    if protocol and protocol not in PROTOCOLS:
        raise ValueError(f"no protocol is {protocol!r}; take one of {', '.join(PROTOCOLS)}")
    return Value(kind, 0, protocol, first, last)


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A CIDR block. ValueError with the remedy."""
    try:
        found = ipaddress.ip_network(text.strip().replace("%", "zone"), strict=False)
    except ValueError:
        raise ValueError("write a CIDR block such as 10.0.0.0/24") from None
    if ipaddress.ip_interface(text.strip()).ip != found.network_address:
        raise ValueError(f"it has host bits; write {found}")
    return found


def network_value(kind: str, text: str) -> Value:
    block = network(text)
    return Value(kind, block.version, "", int(block.network_address), int(block.broadcast_address))


def subnet_unit(version: int, length: int) -> int:
    """The prefix length of a slot of a pool of subnets that is a block of ``length``."""
    return 32 if version == 4 else min(128, length + _SUBNET_BITS)


def address_slots(version: int, length: int) -> int:
    """How many slots the pool of the addresses of a subnet has: of a large IPv6 one the first 2**63 - 1 addresses."""
    return int(min(1 << (bits_of(version) - length), SLOTS_MOST))


def packed(version: int, number: int) -> bytes:
    return number.to_bytes(bits_of(version) // 8, "big")


def _addresses(kind: str, text: str) -> Value:
    if "/" in text or kind == "subnet":
        return network_value(kind, text)
    first, dash, last = text.partition("-")
    try:
        ends = [ipaddress.ip_address(one.strip()) for one in ((first, last) if dash else (first, first))]
    except ValueError:
        raise ValueError("write an address such as 10.0.0.5, or two with a dash between") from None
    if getattr(ends[0], "scope_id", None) or getattr(ends[1], "scope_id", None):
        raise ValueError("write the address without a zone")
    if ends[0].version != ends[1].version or int(ends[0]) > int(ends[1]):
        raise ValueError("write the lower address first, both of one version")
    return Value(kind, ends[0].version, "", int(ends[0]), int(ends[1]))


def _block(value: Value) -> str | None:
    """As CIDR, if it is one."""
    size = value.last - value.first + 1
    if size & (size - 1) or value.first & (size - 1):
        return None
    return f"{_address(value.version, value.first)}/{bits_of(value.version) - size.bit_length() + 1}"


def _address(version: int, number: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number)
