# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration of a network's names: what its name server on each host knows, and whom it asks for the rest."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..errors import SpecError
from . import fields
from .gwbridge import NAME_DEFAULT, Gwbridge
from .subnets import Subnet, find, parse_subnets

OPTIONS = ("network", "records", "services", "forward", "upstream", "gwbridge")
RECORD_OPTIONS = ("name", "aliases", "addresses")
SERVICE_OPTIONS = (*RECORD_OPTIONS, "tasks")
TASKS = "tasks."
_LABEL_MAX, _NAME_MAX = 63, 253  # RFC 1035: a label's octets, and a name's as text without the last dot


class Ground(NamedTuple):
    """What counts of a network here."""

    name: str
    subnets: tuple[Subnet, ...]
    internal: bool

    @property
    def gateways(self) -> tuple[str, ...]:
        """Where its name server listens."""
        return tuple(subnet.gateway for subnet in self.subnets if subnet.gateway)


class Record(NamedTuple):
    """A name with its other names. Names are in lower case, and shared ``aliases`` mean all who have them."""

    name: str
    aliases: tuple[str, ...]
    addresses: tuple[str, ...]


class Service(NamedTuple):
    """A service: ``addresses`` are what its name means, ``tasks`` what tasks.<name> means."""

    name: str
    aliases: tuple[str, ...]
    addresses: tuple[str, ...]
    tasks: tuple[str, ...]


class Names(NamedTuple):
    """The names of a network. ``gwbridge`` is the bridge by which the name server reaches others, "" when it asks nobody;
    ``upstream`` None: the host's own name servers."""

    network: str
    subnets: tuple[Subnet, ...]
    gateways: tuple[str, ...]
    records: tuple[Record, ...]
    services: tuple[Service, ...]
    gwbridge: str
    upstream: Optional[tuple[str, ...]]

    @property
    def obj(self) -> str:
        return label(self.network)


def label(network: object) -> str:
    """How errors call a network's names."""
    return f"names {network}"


def ground(item: Mapping[str, Any]) -> Ground:
    """The part of an overlay network's declaration that counts here; it was checked when it was recorded."""
    name = str(item.get("name"))
    return Ground(
        name, parse_subnets(f"overlay_network {name}", item.get("subnets")), bool(item.get("internal"))
    )


def network_of(item: Mapping[str, Any]) -> str:
    """The network of an item, checked."""
    obj = label(item.get("network", "?"))
    return fields.name(obj, "network", item.get("network"), most=60)


def parse(item: Mapping[str, Any], networks: Mapping[str, Ground], bridges: Mapping[str, Gwbridge]) -> Names:
    """One network's names, against the networks and gateway bridges that are known on the host."""
    name = network_of(item)
    obj = label(name)
    fields.known_only(obj, item, OPTIONS)
    given = {field: value for field, value in item.items() if value is not None}
    network = networks.get(name)
    if network is None:
        known = ", ".join(sorted(networks)) or "none"
        remedy = f"there is no such overlay network on this host (there are: {known}); declare it"
        raise SpecError(obj, "network", name, remedy)
    _domain(obj, "network", name, "x")
    if not network.gateways:
        remedy = (
            "no subnet of it has a gateway, where its name server would listen; give one subnet a gateway"
        )
        raise SpecError(obj, "network", name, f"{remedy}, or leave its names out")
    bridge = _way_out(obj, given, network, bridges)
    records = [_record(obj, place, one, network) for place, one in enumerate(_list(obj, given, "records"))]
    services = [_service(obj, place, one, network) for place, one in enumerate(_list(obj, given, "services"))]
    _refuse_clashes(obj, name.lower(), records, services)
    return Names(
        network=name,
        subnets=network.subnets,
        gateways=network.gateways,
        records=tuple(records),
        services=tuple(services),
        gwbridge=bridge,
        upstream=_upstream(obj, given.get("upstream"), bridges.get(bridge)),
    )


def parse_all(
    items: Sequence[Mapping[str, Any]], networks: Mapping[str, Ground], bridges: Mapping[str, Gwbridge]
) -> list[Names]:
    """The names of all networks of one host."""
    return [parse(item, networks, bridges) for item in items]


def _list(obj: str, given: Mapping[str, Any], field: str) -> list[Any]:
    return fields.sequence(obj, field, given.get(field, []))


def _way_out(obj: str, given: Mapping[str, Any], network: Ground, bridges: Mapping[str, Gwbridge]) -> str:
    """The gateway bridge by which other names are asked for. A host without one has no way to ask."""
    forward = fields.flag(obj, "forward", given.get("forward", not network.internal))
    bridge = fields.ifname(obj, "gwbridge", given.get("gwbridge", NAME_DEFAULT))
    if forward and network.internal:
        remedy = "the network is internal, nothing leaves it; leave forward out, or declare internal: false"
        raise SpecError(obj, "forward", True, remedy)
    if forward and bridge not in bridges and "gwbridge" in given:
        known = ", ".join(sorted(bridges)) or "none"
        remedy = f"there is no such gateway bridge on this host (there are: {known}); declare it"
        raise SpecError(obj, "gwbridge", bridge, remedy)
    return bridge if forward and bridge in bridges else ""


def _upstream(obj: str, value: Any, bridge: Optional[Gwbridge]) -> Optional[tuple[str, ...]]:
    if value is None:
        return None
    found = [
        _server(obj, f"upstream[{place}]", one)
        for place, one in enumerate(fields.sequence(obj, "upstream", value))
    ]
    if bridge is None:
        return tuple(found)
    reached = {subnet.version for subnet in bridge.subnets}
    for one in found:
        if (6 if ":" in one else 4) not in reached:
            remedy = f"{bridge.obj} has no subnet of its family; give it one, or another name server"
            raise SpecError(obj, "upstream", one, remedy)
    return tuple(dict.fromkeys(found))


def _server(obj: str, field: str, value: Any) -> str:
    text = fields.address(obj, field, value)
    parsed = ipaddress.ip_address(text)
    if parsed.is_loopback:
        remedy = "it is the host's own loopback, which the network's name server cannot reach; give the address of the server behind it"
        raise SpecError(obj, field, value, remedy)
    if parsed.is_unspecified or parsed.is_multicast or parsed.is_link_local or text == "255.255.255.255":
        raise SpecError(obj, field, value, "give the unicast address of a name server, not a link-local one")
    return text


def _domain(obj: str, field: str, value: Any, network: str) -> str:
    """A name that DNS can carry, alone and with the network's behind it, in lower case."""
    text = fields.name(obj, field, value, most=_NAME_MAX).lower()
    for part in text.split("."):
        if not 0 < len(part) <= _LABEL_MAX:
            why = f"{part!r} has {len(part)} characters" if part else "it ends with a dot"
            raise SpecError(obj, field, value, f"{why}; a part of a name in DNS has 1 to {_LABEL_MAX}")
    if len(f"{TASKS}{text}.{network}") > _NAME_MAX:
        raise SpecError(
            obj, field, value, f"with the network's name it is longer than {_NAME_MAX} characters"
        )
    return text


def _common(obj: str, where: str, item: Any, network: Ground, options: Sequence[str]) -> Record:
    given = fields.given(fields.mapping(obj, where, item))
    fields.known_only(f"{obj}: {where}", given, options)
    name = _domain(obj, f"{where}.name", given.get("name"), network.name)
    where = f"{where.partition('[')[0]}[{name}]"
    aliases = [
        _domain(obj, f"{where}.aliases", one, network.name)
        for one in fields.sequence(obj, f"{where}.aliases", given.get("aliases", []))
    ]
    others = tuple(one for one in dict.fromkeys(aliases) if one != name)
    return Record(name, others, _addresses(obj, f"{where}.addresses", given.get("addresses", []), network))


def _addresses(obj: str, field: str, value: Any, network: Ground) -> tuple[str, ...]:
    found = []
    for one in fields.sequence(obj, field, value):
        text = fields.address(obj, field, one)
        if find(network.subnets, fields.pack(text) or b"") is None:
            known = ", ".join(subnet.cidr for subnet in network.subnets)
            raise SpecError(obj, field, one, f"it is in no subnet of the network ({known})")
        found.append(text)
    return tuple(dict.fromkeys(found))


def _record(obj: str, place: int, item: Any, network: Ground) -> Record:
    found = _common(obj, f"records[{place}]", item, network, RECORD_OPTIONS)
    if not found.addresses:
        field = f"records[{found.name}].addresses"
        raise SpecError(obj, field, [], "give at least one address, or leave the record out")
    return found


def _service(obj: str, place: int, item: Any, network: Ground) -> Service:
    where = f"services[{place}]"
    found = _common(obj, where, item, network, SERVICE_OPTIONS)
    tasks = _addresses(obj, f"services[{found.name}].tasks", item.get("tasks") or [], network)
    return Service(*found, tasks)


def _refuse_clashes(obj: str, network: str, records: Sequence[Record], services: Sequence[Service]) -> None:
    """Endpoints may share aliases, and then the alias means all of them. All other names are one object's alone."""
    owners: dict[str, str] = {}
    for record in records:
        _claim(obj, owners, f"records[{record.name}]", (record.name,), network)
    aliases: dict[str, str] = {}
    for record in records:
        for name in record.aliases:
            aliases.update(dict.fromkeys((name, f"{name}.{network}"), f"records[{record.name}]"))
    for service in services:
        field = f"services[{service.name}]"
        mine = (service.name, *service.aliases)
        for name in [*mine, *(f"{TASKS}{one}" for one in mine)]:
            for text in (name, f"{name}.{network}"):
                if text in aliases:
                    remedy = f"it is an alias of {aliases[text]}; names of services and endpoints must differ"
                    raise SpecError(obj, field, text, remedy)
            _claim(obj, owners, field, (name,), network)


def _claim(obj: str, owners: dict[str, str], field: str, names: Iterable[str], network: str) -> None:
    for name in names:
        for text in (name, f"{name}.{network}"):
            if text in owners:
                remedy = f"{owners[text]} has that name already; names of services and endpoints must differ"
                raise SpecError(obj, field, text, remedy)
            owners[text] = field
