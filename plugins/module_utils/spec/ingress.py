# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration of the ingress network as one host has it: a port that it publishes answers on every host, and leads to a
task on any of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import SpecError
from . import endpoint, fields, overlay
from .gwbridge import NAME_DEFAULT as GWBRIDGE_DEFAULT
from .gwbridge import Gwbridge
from .overlay import Overlay
from .publish import PROTOCOLS
from .service import AFFINITIES, WEIGHT_DEFAULT, WEIGHT_MAX, Task
from .subnets import find

NAME_DEFAULT = "ingress"
SANDBOX = "crosshost-ingress"  # the namespace, and the leg that is not a task's
NETWORK_OPTIONS = (
    "name", "subnets", "mtu", "labels", "peers", "endpoints",
    "data_path_address", "data_path_interface", "data_path_port",
)  # fmt: skip
OPTIONS = (*NETWORK_OPTIONS, "address", "address6", "gwbridge", "legs", "ports")
PLACE_OPTIONS = ("sandbox", "pid", "container")
LEG_OPTIONS = ("name", *PLACE_OPTIONS, "ip", "ip6")
TASK_OPTIONS = ("ip", "ip6", "weight")
LOCAL_OPTIONS = (*PLACE_OPTIONS, "weight")
PORT_OPTIONS = (
    "published", "target", "protocol", "service", "affinity", "keep_client_address", "tasks", "local",
)  # fmt: skip


class Place(NamedTuple):
    """A sandbox of this host. Exactly one of the three is set."""

    sandbox: str
    pid: int
    container: str

    @property
    def word(self) -> str:
        """As endpoints have it: it tells the sandboxes of a host apart."""
        return endpoint.place(*self)


class Leg(NamedTuple):
    """A task of this host in the ingress network. ``ip`` or ``ip6`` is "" when it has none of that family."""

    name: str
    place: Place
    ip: str
    ip6: str


class Local(NamedTuple):
    """A task of a port that is on this host, by the sandbox it is in."""

    place: Place
    weight: int


class Port(NamedTuple):
    """A published port. ``tasks`` are those of all hosts by their addresses in the ingress network; ``local``, with
    ``keep_client_address``, those of this host."""

    published: int
    target: int
    protocol: str
    service: str
    affinity: str
    keep_client_address: bool
    tasks: tuple[Task, ...]
    local: tuple[Local, ...]

    @property
    def id(self) -> str:
        return f"{self.published}/{self.protocol}"


class Ingress(NamedTuple):
    """The ingress network on one host. ``address`` and ``address6`` are its sandbox's."""

    network: Overlay
    address: str
    address6: str
    gwbridge: str
    legs: tuple[Leg, ...]
    ports: tuple[Port, ...]

    @property
    def name(self) -> str:
        return self.network.name

    @property
    def obj(self) -> str:
        return label(self.name)

    @property
    def versions(self) -> tuple[int, ...]:
        """The IP versions that it speaks."""
        return tuple(subnet.version for subnet in self.network.subnets)


def label(name: object) -> str:
    """How errors call an ingress network."""
    return f"ingress {name}"


def name_of(item: Mapping[str, Any]) -> str:
    """The network's name, checked."""
    name = item.get("name")
    return fields.name(label(repr(name)), "name", NAME_DEFAULT if name is None else name, most=60)


def port_key(item: Mapping[str, Any]) -> tuple[Any, Any]:
    """What tells a declared port from the others of its list."""
    return item.get("published"), item.get("protocol") or PROTOCOLS[0]


def parse(item: Mapping[str, Any], bridges: Mapping[str, Gwbridge]) -> Ingress:
    """The declaration, against the gateway bridges that are known on the host. SpecError names what cannot be right."""
    name = name_of(item)
    obj = label(name)
    fields.known_only(obj, item, OPTIONS)
    given = fields.given(item)
    network = parse_network(obj, name, given)
    reader = _Reader(obj, network)
    address = reader.own("address", given.get("address"), 4)
    address6 = reader.own("address6", given.get("address6"), 6)
    legs = tuple(reader.leg(place, one) for place, one in enumerate(_list(obj, given, "legs")))
    _refuse_double_places(obj, legs)
    ports = tuple(reader.port(place, one) for place, one in enumerate(_list(obj, given, "ports")))
    _refuse_double_ports(obj, ports)
    return Ingress(network, address, address6, _bridge(obj, network, given, bridges), legs, ports)


def _list(obj: str, given: Mapping[str, Any], field: str) -> list[Any]:
    return fields.sequence(obj, field, given.get(field, []))


def parse_network(obj: str, name: str, given: Mapping[str, Any]) -> Overlay:
    """The overlay that carries it: one segment, so that every sandbox and task is in it by one interface."""
    item = {field: given[field] for field in NETWORK_OPTIONS if field in given}
    try:
        network = overlay.parse({**item, "name": name, "attachable": False})
    except SpecError as error:
        raise SpecError(obj, error.field, error.value, error.remedy) from None
    for version in (4, 6):
        if sum(one.version == version for one in network.subnets) > 1:
            remedy = f"declare one IPv{version} subnet: every host and task has one address in it"
            raise SpecError(obj, "subnets", [one.cidr for one in network.subnets], remedy)
    if len(network.segments()) > 1:
        remedy = "give both subnets one VNI: every host and task is in both by one interface"
        raise SpecError(obj, "subnets", [one.cidr for one in network.subnets], remedy)
    return network


def _bridge(obj: str, network: Overlay, given: Mapping[str, Any], bridges: Mapping[str, Gwbridge]) -> str:
    name = fields.ifname(obj, "gwbridge", given.get("gwbridge", GWBRIDGE_DEFAULT))
    bridge = bridges.get(name)
    if bridge is None:
        known = ", ".join(sorted(bridges)) or "none"
        remedy = f"there is no such gateway bridge on this host (there are: {known}); declare it"
        raise SpecError(obj, "gwbridge", name, remedy)
    led = {subnet.version for subnet in bridge.subnets}
    for subnet in network.subnets:
        if subnet.version not in led:
            field = "subnet" if subnet.version == 4 else "subnet6"
            remedy = (
                f"it has no IPv{subnet.version} subnet, by which ports would lead into {subnet.cidr}; "
                f"give the bridge one ({field}), or leave that subnet out"
            )
            raise SpecError(obj, "gwbridge", name, remedy)
    return name


class _Reader:
    """Addresses of one network: each is in one of its subnets, and nobody else's."""

    def __init__(self, obj: str, network: Overlay) -> None:
        self._obj = obj
        self._subnets = network.subnets
        self._reserved = network.reserved
        self._holders: dict[str, str] = {}
        self._own: set[str] = set()
        self._names = {SANDBOX}
        for end in network.endpoints:
            for text in filter(None, (end.ip, end.ip6)):
                self._holders[text] = f"an endpoint behind {end.vtep}"

    def own(self, field: str, value: Any, version: int) -> str:
        """This host's address in the subnet of an IP version, which it needs if there is such a subnet."""
        block = next((one.cidr for one in self._subnets if one.version == version), "")
        if block and value in (None, ""):
            raise SpecError(self._obj, field, None, f"give this host's sandbox an address of {block}")
        text = self._address(field, value, version)
        self._take(field, text, "the host's own sandbox")
        self._own.add(text)
        return text

    def leg(self, place: int, item: Any) -> Leg:
        where = f"legs[{place}]"
        given = fields.mapping(self._obj, where, item)
        fields.known_only(self._obj, given, LEG_OPTIONS)
        at = self._place(where, given)
        default = at.sandbox or at.container or f"pid-{at.pid}"
        name = fields.name(self._obj, f"{where}.name", given.get("name", default), most=128)
        if name in self._names:
            raise SpecError(self._obj, f"{where}.name", name, "it is taken; give each leg its own name")
        self._names.add(name)
        pair = self._pair(where, given)
        for field, text in zip(("ip", "ip6"), pair):
            self._take(f"{where}.{field}", text, f"leg {name}")
        return Leg(name, at, *pair)

    def port(self, place: int, item: Any) -> Port:
        where = f"ports[{place}]"
        given = fields.mapping(self._obj, where, item)
        fields.known_only(self._obj, given, PORT_OPTIONS)
        published = self._number(f"{where}.published", given.get("published"))
        protocol = fields.choice(
            self._obj, f"{where}.protocol", given.get("protocol", PROTOCOLS[0]), PROTOCOLS
        )
        where = f"ports[{published}/{protocol}]"
        kept = fields.flag(self._obj, f"{where}.keep_client_address", given.get("keep_client_address", False))
        if "local" in given and not kept:
            remedy = "it needs keep_client_address: true; leave it out, or set that"
            raise SpecError(self._obj, f"{where}.local", given["local"], remedy)
        return Port(
            published=published,
            target=self._number(f"{where}.target", given.get("target", published)),
            protocol=protocol,
            service=str(given.get("service", "")),
            affinity=fields.choice(
                self._obj, f"{where}.affinity", given.get("affinity", AFFINITIES[0]), AFFINITIES
            ),
            keep_client_address=kept,
            tasks=tuple(self._tasks(where, given.get("tasks", []))),
            local=tuple(self._locals(where, given.get("local", []))),
        )

    def _number(self, field: str, value: Any) -> int:
        return fields.integer(self._obj, field, value, 1, 65535, "a port")

    def _weight(self, where: str, given: Mapping[str, Any]) -> int:
        value = given.get("weight", WEIGHT_DEFAULT)
        return fields.integer(self._obj, f"{where}.weight", value, 0, WEIGHT_MAX, "a weight")

    def _tasks(self, port: str, value: Any) -> Iterator[Task]:
        """In the order of their addresses: all hosts choose alike, whatever the order of their declarations."""
        found: dict[str, Task] = {}
        for place, item in enumerate(fields.sequence(self._obj, f"{port}.tasks", value)):
            where = f"{port}.tasks[{place}]"
            given = fields.mapping(self._obj, where, item)
            fields.known_only(self._obj, given, TASK_OPTIONS)
            pair = self._pair(where, given)
            for field, text in zip(("ip", "ip6"), pair):
                self._known(f"{where}.{field}", text)
                if text in found:
                    remedy = "it is there twice; list each task once, with its weight"
                    raise SpecError(self._obj, f"{where}.{field}", text, remedy)
            task = Task(pair[0] or pair[1], *pair, self._weight(where, given))
            found.update((text, task) for text in pair if text)
        yield from sorted(dict.fromkeys(found.values()), key=lambda task: (_order(task.ip), _order(task.ip6)))

    def _locals(self, port: str, value: Any) -> Iterator[Local]:
        seen = set()
        for place, item in enumerate(fields.sequence(self._obj, f"{port}.local", value)):
            where = f"{port}.local[{place}]"
            given = fields.mapping(self._obj, where, item)
            fields.known_only(self._obj, given, LOCAL_OPTIONS)
            at = self._place(where, given)
            if at in seen:
                raise SpecError(self._obj, where, at.word, "it is there twice; list each sandbox once")
            seen.add(at)
            yield Local(at, self._weight(where, given))

    def _known(self, field: str, text: str) -> None:
        if text and (text in self._own or text not in self._holders):
            remedy = (
                "no task has this address; list it among the legs of this host, or the endpoints of others"
            )
            raise SpecError(self._obj, field, text, remedy)

    def _place(self, where: str, given: Mapping[str, Any]) -> Place:
        chosen = {field: given[field] for field in PLACE_OPTIONS if field in given}
        try:
            at = endpoint.where({"network": "any", **chosen})
        except SpecError as error:
            raise SpecError(self._obj, f"{where}.{error.field}", error.value, error.remedy) from None
        if at.sandbox == SANDBOX:
            remedy = "that is where ports come in, and no task; name a task's sandbox"
            raise SpecError(self._obj, f"{where}.sandbox", SANDBOX, remedy)
        return Place(at.sandbox, at.pid, at.container)

    def _pair(self, where: str, given: Mapping[str, Any]) -> tuple[str, str]:
        pair = tuple(
            self._address(f"{where}.{field}", given.get(field), version)
            for field, version in (("ip", 4), ("ip6", 6))
        )
        if not any(pair):
            known = ", ".join(one.cidr for one in self._subnets)
            raise SpecError(self._obj, f"{where}.ip", None, f"give an address of the network ({known})")
        return pair[0], pair[1]

    def _address(self, field: str, value: Any, version: int) -> str:
        """An address of the network in its normal form; "" when there is none."""
        if value in (None, ""):
            return ""
        packed = fields.pack(value)
        if packed is None or len(packed) != (4 if version == 4 else 16):
            raise SpecError(self._obj, field, value, f"give an IPv{version} address")
        text = fields.address(self._obj, field, value)
        if find(self._subnets, packed) is None:
            known = ", ".join(one.cidr for one in self._subnets)
            raise SpecError(self._obj, field, value, f"it is in no subnet of the network ({known})")
        if text in self._reserved:
            raise SpecError(self._obj, field, value, self._reserved[text])
        return text

    def _take(self, field: str, text: str, holder: str) -> None:
        if text and self._holders.setdefault(text, holder) != holder:
            remedy = f"{self._holders[text]} has it already; give each its own"
            raise SpecError(self._obj, field, text, remedy)


def _order(address: str) -> bytes:
    return fields.pack(address) or b""


def _refuse_double_places(obj: str, legs: Sequence[Leg]) -> None:
    seen: dict[Place, str] = {}
    for leg in legs:
        if seen.setdefault(leg.place, leg.name) != leg.name:
            remedy = f"leg {seen[leg.place]} is in the same sandbox, where one is enough for all its ports"
            raise SpecError(obj, f"legs[{leg.name}]", leg.place.word, remedy)


def _refuse_double_ports(obj: str, ports: Iterable[Port]) -> None:
    seen: dict[str, Port] = {}
    for port in ports:
        other = seen.setdefault(port.id, port)
        if other is not port:
            owner = f"service {other.service}" if other.service else "another entry"
            raise SpecError(obj, "ports", port.id, f"{owner} publishes it already; publish each port once")
