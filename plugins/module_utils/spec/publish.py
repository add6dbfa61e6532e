# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Published ports in the words of Docker's ``--publish``.

    [[ip:][host port or range]:]container port or range[/tcp|udp|sctp]

without an ip on all addresses of both families, without a host port on one that is free. A mapping (target, published,
protocol, host_ip) says the same at length, and so does ``published=8080,target=80``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Optional

from ..errors import SpecError
from . import fields

PROTOCOLS = ("tcp", "udp", "sctp")
ANY4, ANY6 = "0.0.0.0", "::"  # noqa: S104  # all addresses of a family
OPTIONS = ("target", "published", "protocol", "host_ip")
CHAIN_PREFIX = "publish-"
_NUMBER = re.compile(r"0*([0-9]{1,5})\Z", re.ASCII)
_FORM = 'write it as "8080:80", "127.0.0.1:8080:80/udp", "[::]:8080:80" or "8000-8010:80"'


class Publish(NamedTuple):
    """A port of a sandbox at a port of the host. ``host_ip``: "" all addresses, 0.0.0.0 or :: all of a family. The host's
    port is chosen from ``first`` to ``last``; 0 and 0 leave it to crosshost."""

    host_ip: str
    first: int
    last: int
    port: int
    protocol: str

    @property
    def fixed(self) -> bool:
        """True when the declaration says which port of the host it is."""
        return self.first == self.last != 0

    def __str__(self) -> str:
        """The same in Docker's words."""
        host = "" if not self.first else f"{self.first}" if self.fixed else f"{self.first}-{self.last}"
        where = f"[{self.host_ip}]" if ":" in self.host_ip else self.host_ip
        head = f"{where}:{host}:" if where else f"{host}:" if host else ""
        return f"{head}{self.port}/{self.protocol}"


def parse_all(obj: str, field: str, value: Any, host_ip: str = "") -> tuple[Publish, ...]:
    """The published ports of one endpoint; ``host_ip`` is where those go that do not say it themselves."""
    found: list[Publish] = []
    for place, item in enumerate(fields.sequence(obj, field, value if value is not None else [])):
        found += parse(obj, f"{field}[{place}]", item)
    # as in Docker, 0.0.0.0 as a default stands for all addresses of both families
    default = "" if host_ip == ANY4 else host_ip
    return tuple(one if one.host_ip else one._replace(host_ip=default) for one in found)


def parse(obj: str, field: str, value: Any) -> tuple[Publish, ...]:
    """One declaration; ranges of one length are a port each."""
    if isinstance(value, str):
        parts = _pairs(obj, field, value) if "=" in value else _short(value)
    elif isinstance(value, Mapping):
        parts = _long(obj, field, value)
    else:
        raise SpecError(obj, field, value, f"{_FORM}, in quotes: YAML takes 22:22 for a number")
    return _expand(obj, field, value, *parts)


def _short(text: str) -> tuple[str, str, str, str]:
    """Address, host's ports, container's ports and protocol. The last two colons separate: an IPv6 address has more."""
    head, _, rest = text.rpartition(":")
    address, _, host = head.rpartition(":")
    port, _, protocol = rest.partition("/")
    return address, host, port, protocol


def _pairs(obj: str, field: str, text: str) -> tuple[str, str, str, str]:
    found: dict[str, str] = {}
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        if not equals or name not in OPTIONS:
            raise SpecError(obj, field, text, f"{pair!r}: give {', '.join(OPTIONS)}, each with = and a value")
        found[name] = value
    return _texts(found)


def _long(obj: str, field: str, item: Mapping[str, Any]) -> tuple[str, str, str, str]:
    fields.known_only(obj, item, OPTIONS)
    for name in OPTIONS:
        value = item.get(name)
        numeric = name in ("target", "published")
        if value is None or isinstance(value, str) or (numeric and type(value) is int):
            continue
        raise SpecError(obj, f"{field}.{name}", value, f"give {'a port' if numeric else 'a text'}")
    return _texts({name: str(value) for name, value in item.items() if value is not None})


def _texts(found: Mapping[str, str]) -> tuple[str, str, str, str]:
    return (
        found.get("host_ip", ""),
        found.get("published", ""),
        found.get("target", ""),
        found.get("protocol", ""),
    )


def _expand(
    obj: str, field: str, value: Any, address: str, host: str, port: str, protocol: str
) -> tuple[Publish, ...]:
    spoken = protocol.lower() or "tcp"
    if spoken not in PROTOCOLS:
        raise SpecError(obj, field, value, f"protocol {protocol!r}: use one of {', '.join(PROTOCOLS)}")
    ip = host_address(obj, field, value, address)
    first, last = _range(obj, field, value, port, "container port", 1)
    low, high = _range(obj, field, value, host, "host port", 0) if host else (0, 0)
    many = last - first + 1
    if not low:
        if high:
            raise SpecError(obj, field, value, f"host port range {host!r}: begin it at 1 or more")
        return tuple(Publish(ip, 0, 0, first + place, spoken) for place in range(many))
    if many == 1:
        return (Publish(ip, low, high, first, spoken),)
    if high - low + 1 != many:
        remedy = f"{high - low + 1} host ports and {many} container ports: give ranges of one length, or one container port"
        raise SpecError(obj, field, value, remedy)
    return tuple(Publish(ip, low + place, low + place, first + place, spoken) for place in range(many))


def _range(obj: str, field: str, value: Any, text: str, what: str, least: int) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    ends = [_number(first), _number(last) if dash else _number(first)]
    if any(end < 0 for end in ends) or ends[0] < least:
        remedy = (
            f"{what} {text!r}: ports are numbers from 1 to 65535; {_FORM}"
            if text
            else f"it has no {what}; {_FORM}"
        )
        raise SpecError(obj, field, value, remedy)
    if ends[1] < ends[0]:
        raise SpecError(obj, field, value, f"{what} range {text!r}: it ends before it begins")
    return ends[0], ends[1]


def _number(text: str) -> int:
    """A port, or -1 when it is none."""
    found = _NUMBER.match(text)
    number = int(found.group(1)) if found else -1
    return number if number <= 65535 else -1


def host_address(obj: str, field: str, value: Any, text: str) -> str:
    """Where a port can be published: an address in its normal form, or "" for none. ``value``: what it is a part of."""
    if not text:
        return ""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    packed = fields.pack(bare)
    if packed is None:
        remedy = f"host address {text!r}: give an IPv4 address or an IPv6 one in brackets, no name"
        raise SpecError(obj, field, value, remedy)
    parsed = ipaddress.ip_address(packed)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    if parsed.is_multicast:
        raise SpecError(obj, field, value, f"host address {text!r}: give a unicast address of the host")
    if parsed.version == 6 and parsed.is_loopback:
        remedy = (
            "host address ::1: the kernel takes answers to ::1 from the device lo alone; publish on 127.0.0.1, "
            "or on another IPv6 address of the host"
        )
        raise SpecError(obj, field, value, remedy)
    return str(mapped or parsed)


def chain_name(protocol: str, host_ip: str, port: int) -> str:
    """The nft chain of a port of the host: publish-tcp-8080, publish-tcp-127.0.0.1-8080. nft's names have no colons."""
    address = f"{host_ip.replace(':', '_')}-" if host_ip else ""
    return f"{CHAIN_PREFIX}{protocol}-{address}{port}"


def port_of_chain(name: str) -> Optional[tuple[str, str, int]]:
    """Protocol, host address and port of such a chain; None for any other."""
    protocol, _, rest = name[len(CHAIN_PREFIX) :].partition("-")
    if not name.startswith(CHAIN_PREFIX) or protocol not in PROTOCOLS:
        return None
    address, _, port = rest.rpartition("-")
    return protocol, address.replace("_", ":"), int(port)


def refuse_unreachable(obj: str, field: str, ports: Iterable[Publish], ip: str, ip6: str) -> None:
    """SpecError for a port on addresses of a family of which the sandbox has no address."""
    for one in ports:
        version = 6 if ":" in one.host_ip else 4
        if one.host_ip and not (ip6 if version == 6 else ip):
            remedy = f"the sandbox has no IPv{version} address in this network; publish on IPv{10 - version}, or give it one"
            raise SpecError(obj, field, str(one), remedy)


def refuse_doubles(published: Iterable[tuple[str, Publish]], field: str = "publish") -> None:
    """SpecError if two of these (object, port) want one port of the host on addresses that overlap. Ports that are still to
    be chosen go where there is room."""
    taken = Taken()
    for obj, one in published:
        if one.fixed:
            rival = taken.rival(one.protocol, one.host_ip, one.first)
            if rival is not None:
                remedy = f"{rival[0]} has port {one.first}/{one.protocol} of {rival[1]}; give each its own"
                raise SpecError(obj, field, str(one), remedy)
            taken.add(obj, one.protocol, one.host_ip, one.first)


class Taken:
    """Ports of a host that have an owner. Those on all addresses meet every other."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, int, int], dict[str, str]] = {}

    def add(self, owner: str, protocol: str, host_ip: str, port: int) -> None:
        for version, address in _covered(host_ip):
            self._held.setdefault((protocol, port, version), {})[address] = owner

    def rival(self, protocol: str, host_ip: str, port: int) -> Optional[tuple[str, str]]:
        """(owner, address) of what a further port would meet."""
        for version, address in _covered(host_ip):
            held = self._held.get((protocol, port, version), {})
            every = _EVERY[version]
            for rival in (address, every, *(held if address == every else ())):
                if rival in held:
                    return held[rival], rival
        return None


_EVERY = {4: ANY4, 6: ANY6}


def _covered(host_ip: str) -> list[tuple[int, str]]:
    if not host_ip:
        return [(4, ANY4), (6, ANY6)]
    return [(6 if ":" in host_ip else 4, host_ip)]
