# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of single values. Each takes where the value stands (object, field), so that its error can say so."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

from ..errors import SpecError

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_IFNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*\Z")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")
IFNAME_MAX = 15  # IFNAMSIZ less the NUL
VNI_MAX = (1 << 24) - 1


def name(obj: str, field: str, value: Any, most: int = 63) -> str:
    """A name that is safe as a file's and in an ifalias: letters, digits, dot, dash and underscore."""
    if not isinstance(value, str) or not _NAME.match(value) or ".." in value:
        raise SpecError(
            obj,
            field,
            value,
            "use letters, digits, '-', '_' and single dots, beginning with a letter or digit",
        )
    if len(value) > most:
        raise SpecError(obj, field, value, f"it has {len(value)} characters; give a name of at most {most}")
    return value


def ifname(obj: str, field: str, value: Any) -> str:
    """An interface's name: at most 15 bytes."""
    if not isinstance(value, str) or not _IFNAME.match(value) or ".." in value:
        raise SpecError(
            obj,
            field,
            value,
            "use letters, digits, '-', '_', ':' and single dots, beginning with a letter or digit",
        )
    if len(value.encode()) > IFNAME_MAX:
        raise SpecError(
            obj, field, value, f"it has {len(value.encode())} bytes; the kernel takes at most {IFNAME_MAX}"
        )
    return value


def address(obj: str, field: str, value: Any) -> str:
    """An IPv4 or IPv6 address in its normal form."""
    packed = pack(value)
    if packed is None:
        raise SpecError(obj, field, value, "give one IPv4 or IPv6 address, without a prefix length")
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def host_address(obj: str, field: str, value: Any) -> str:
    """An address that one host can bear: not unspecified, loopback, multicast or broadcast."""
    text = address(obj, field, value)
    parsed = ipaddress.ip_address(text)
    if parsed.is_unspecified or parsed.is_loopback or parsed.is_multicast or text == "255.255.255.255":
        raise SpecError(
            obj, field, value, "give the address of a host, not an unspecified, loopback or multicast one"
        )
    return text


def pack(value: Any) -> Optional[bytes]:
    """The 4 or 16 bytes of an address, or None when it is none."""
    if not isinstance(value, str):
        return None
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in value else socket.AF_INET, value)
    except (OSError, UnicodeEncodeError, ValueError):
        return None


def network(obj: str, field: str, value: Any) -> Network:
    """A CIDR block without host bits."""
    try:
        if not isinstance(value, str) or "/" not in value or "%" in value:
            raise ValueError("no prefix length, or a zone")
        return ipaddress.ip_network(value)
    except ValueError:
        pass
    try:
        plain = isinstance(value, str) and "/" in value and "%" not in value
        right = ipaddress.ip_network(value, strict=False) if plain else None
    except ValueError:
        right = None
    remedy = (
        f"it has host bits set; the network is {right}"
        if right
        else "give a network as ADDRESS/LENGTH, such as 10.0.1.0/24"
    )
    raise SpecError(obj, field, value, remedy)


def mac(obj: str, field: str, value: Any) -> str:
    """A unicast MAC address, in lower case."""
    text = value.lower() if isinstance(value, str) else ""
    if not _MAC.match(text):
        raise SpecError(
            obj, field, value, "give a MAC address as six pairs of hex digits, such as 02:42:0a:00:01:02"
        )
    if int(text[1], 16) & 1 or text == "00:00:00:00:00:00":
        raise SpecError(
            obj,
            field,
            value,
            "give a unicast MAC address: the second hex digit has to be even, and not all zero",
        )
    return text


def mac_of(ip: str) -> str:
    """The MAC address that an endpoint gets when none is declared: 02:42 and the IPv4 address; for an endpoint with
    IPv6 only, 02:43 and the last four bytes."""
    packed = pack(ip)
    assert packed is not None
    return default_mac(packed)


def default_mac(packed: bytes) -> str:
    """:func:`mac_of` of an address that is given as its 4 or 16 bytes."""
    return ((b"\x02\x42" if len(packed) == 4 else b"\x02\x43") + packed[-4:]).hex(":")


def integer(obj: str, field: str, value: Any, low: int, high: int, meaning: str) -> int:
    """A number within bounds; ``meaning`` says in the error what it is."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SpecError(obj, field, value, f"{meaning} is a number from {low} to {high}")
    return value


def choice(obj: str, field: str, value: Any, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise SpecError(obj, field, value, f"use one of {', '.join(allowed)}")
    return str(value)


def flag(obj: str, field: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise SpecError(obj, field, value, "use true or false")
    return value


def mapping(obj: str, field: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise SpecError(obj, field, value, "give a mapping of names to values")
    return dict(value)


def labels(obj: str, value: Any) -> tuple[tuple[str, str], ...]:
    """An object's labels as sorted pairs."""
    found = mapping(obj, "labels", value)
    for key, text in found.items():
        if not isinstance(key, str) or not isinstance(text, (str, int, float, bool)):
            raise SpecError(obj, "labels", {key: text}, "labels are names with plain values")
    return tuple(sorted((key, str(text)) for key, text in found.items()))


def sequence(obj: str, field: str, value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise SpecError(obj, field, value, "give a list")
    return list(value)


def given(value: Any) -> Any:
    """A declaration without the options that were not given, which Ansible passes as None; names become plain strings."""
    if isinstance(value, (dict, Mapping)):  # asking for a dict first is fast
        return {
            str(field): one if type(one) is str else given(one)
            for field, one in value.items()
            if one is not None
        }
    return [given(one) for one in value] if isinstance(value, (list, tuple)) else value


def known_only(obj: str, item: Mapping[str, Any], allowed: Sequence[str]) -> None:
    """Refuse a misspelt option: one that is silently ignored is worse than an error."""
    for field in item:
        if field not in allowed:
            raise SpecError(
                obj, str(field), item[field], f"there is no such option; there are {', '.join(allowed)}"
            )
