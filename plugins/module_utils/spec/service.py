# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration of a service: a name for several endpoints of a network, its tasks, reached by a virtual address or by
their own addresses. Written for a thousand services and more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ..errors import SpecError
from . import fields
from .subnets import Subnet, find

OPTIONS = ("name", "network", "mode", "vip", "vip6", "tasks", "affinity")
TASK_OPTIONS = ("name", "ip", "ip6", "weight")
_TASK_KEYS = frozenset(TASK_OPTIONS)
MODES = ("vip", "dnsrr")
AFFINITIES = ("none", "source")
WEIGHT_DEFAULT, WEIGHT_MAX = 1, 1000


class Task(NamedTuple):
    """One endpoint behind a service. ``ip`` or ``ip6`` is "" when it has none of that family; weight 0 takes no new
    connections."""

    name: str
    ip: str
    ip6: str
    weight: int


class Service(NamedTuple):
    """A service of a network. ``vip`` and ``vip6`` are "" in mode dnsrr, and where that family has none."""

    name: str
    network: str
    mode: str
    vip: str
    vip6: str
    tasks: tuple[Task, ...]
    affinity: str

    @property
    def obj(self) -> str:
        return label(self.network, self.name)

    @property
    def id(self) -> str:
        return f"{self.network}/{self.name}"


class Network(Protocol):
    """What counts of a network of any driver: its subnets, and the addresses that nobody may have, with the reason and the
    remedy."""

    @property
    def subnets(self) -> Sequence[Subnet]: ...

    @property
    def reserved(self) -> Mapping[str, str]: ...


class Bounds(NamedTuple):
    """A network's part that counts, worked out once."""

    subnets: Sequence[Subnet]
    reserved: Mapping[str, str]


class End(NamedTuple):
    """An endpoint that is known of, anywhere in the cluster, with its addresses in their normal form; ``name`` "" where only
    they are known."""

    network: str
    name: str
    ip: str
    ip6: str


def label(network: object, name: object) -> str:
    """How errors call a service."""
    return f"service {network}/{name}"


def identity(item: Mapping[str, Any]) -> tuple[str, str]:
    """Network and name of an item, checked."""
    obj = label(item.get("network", "?"), item.get("name", "?"))
    network = fields.name(obj, "network", item.get("network"), most=60)
    return network, fields.name(obj, "name", item.get("name"))


def parse(item: Mapping[str, Any], networks: Mapping[str, Bounds]) -> Service:
    """One service's declaration, against the networks that are known on the host."""
    network, name = identity(item)
    obj = label(network, name)
    fields.known_only(obj, item, OPTIONS)
    bounds = networks.get(network)
    if bounds is None:
        known = ", ".join(sorted(networks)) or "none"
        remedy = f"there is no such network on this host (there are: {known}); declare it"
        raise SpecError(obj, "network", network, remedy)
    mode = fields.choice(obj, "mode", _or(item.get("mode"), "vip"), MODES)
    vip, vip6 = _vips(obj, mode, item, bounds)
    return Service(
        name=name,
        network=network,
        mode=mode,
        vip=vip,
        vip6=vip6,
        tasks=_tasks(obj, item.get("tasks"), bounds),
        affinity=fields.choice(obj, "affinity", _or(item.get("affinity"), "none"), AFFINITIES),
    )


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _vips(obj: str, mode: str, item: Mapping[str, Any], bounds: Bounds) -> tuple[str, str]:
    vip = _address(obj, "", "vip", item.get("vip"), 4, bounds)
    vip6 = _address(obj, "", "vip6", item.get("vip6"), 6, bounds)
    if mode == "dnsrr" and (vip or vip6):
        field = "vip" if vip else "vip6"
        remedy = "a service in mode dnsrr has no virtual address; leave it out, or use mode: vip"
        raise SpecError(obj, field, vip or vip6, remedy)
    if mode == "vip" and not (vip or vip6):
        blocks = ", ".join(one.cidr for one in bounds.subnets)
        remedy = f"give the service a free address of its network ({blocks}), or use mode: dnsrr"
        raise SpecError(obj, "vip", None, remedy)
    return vip, vip6


def _tasks(obj: str, value: Any, bounds: Bounds) -> tuple[Task, ...]:
    """The tasks in the order of their names: a declaration in another order is the same service."""
    found: dict[str, Task] = {}
    owners: dict[str, str] = {}
    for place, item in enumerate(fields.sequence(obj, "tasks", _or(value, []))):
        task = _task(obj, place, item, bounds)
        if task.name in found:
            raise SpecError(obj, f"tasks[{place}].name", task.name, "it is there twice; list each task once")
        for field, text in (("ip", task.ip), ("ip6", task.ip6)):
            if text and owners.setdefault(text, task.name) != task.name:
                remedy = f"task {owners[text]} has it already; list each endpoint once, with its weight"
                raise SpecError(obj, f"tasks[{task.name}].{field}", text, remedy)
        found[task.name] = task
    return tuple(found[name] for name in sorted(found))


def _task(obj: str, place: int, item: Any, bounds: Bounds) -> Task:
    if not isinstance(item, (dict, Mapping)):  # asking for a dict first is fast
        raise SpecError(obj, f"tasks[{place}]", item, "give a mapping with name, ip, ip6 and weight")
    where = f"tasks[{place}]."
    if not _TASK_KEYS.issuperset(item):
        fields.known_only(obj, item, TASK_OPTIONS)
    ip = _address(obj, where, "ip", item.get("ip"), 4, bounds)
    ip6 = _address(obj, where, "ip6", item["ip6"], 6, bounds) if "ip6" in item else ""
    if not ip and not ip6:
        raise SpecError(obj, f"{where}ip", None, "give the address of one of the network's endpoints")
    name = item.get("name")
    name = fields.name(obj, f"{where}name", name, most=128) if name not in (None, "") else ip or ip6
    weight = item.get("weight")
    if weight is None:
        return Task(name, ip, ip6, WEIGHT_DEFAULT)
    return Task(name, ip, ip6, fields.integer(obj, f"{where}weight", weight, 0, WEIGHT_MAX, "a weight"))


def _address(obj: str, where: str, field: str, value: Any, version: int, bounds: Bounds) -> str:
    """An address of one of the subnets in its normal form; "" when there is none."""
    if value is None or value == "":
        return ""
    packed = fields.pack(value)
    if packed is None or len(packed) != (4 if version == 4 else 16):
        raise SpecError(obj, where + field, value, f"give an IPv{version} address")
    if find(bounds.subnets, packed) is None:
        known = ", ".join(one.cidr for one in bounds.subnets)
        raise SpecError(obj, where + field, value, f"it is in no subnet of the network ({known})")
    text = str(value) if version == 4 else fields.address(obj, field, value)
    if text in bounds.reserved:
        raise SpecError(obj, where + field, value, bounds.reserved[text])
    return text


def parse_all(
    items: Sequence[Mapping[str, Any]], networks: Mapping[str, Network], ends: Iterable[End] = ()
) -> list[Service]:
    """All services of one host, or of a cluster: their virtual addresses are their own, and no endpoint has the name of a
    service of its network."""
    bounds = {name: Bounds(one.subnets, one.reserved) for name, one in networks.items()}
    services = [parse(item, bounds) for item in items]
    names: dict[tuple[str, str], Service] = {}
    vips: dict[tuple[str, str], Service] = {}
    for one in services:
        if names.setdefault((one.network, one.name), one) is not one:
            raise SpecError(one.obj, "name", one.name, "it is declared twice; names are unique")
        for field, text in (("vip", one.vip), ("vip6", one.vip6)):
            other = vips.setdefault((one.network, text), one) if text else one
            if other is not one:
                raise SpecError(one.obj, field, text, f"{other.obj} has it already; give each its own")
    for end in ends:
        _refuse_shared(end, names, vips)
    for one in services:
        for task in one.tasks:
            _refuse_virtual(one, task, vips)
    return services


def _refuse_virtual(one: Service, task: Task, vips: Mapping[tuple[str, str], Service]) -> None:
    for field, text in (("ip", task.ip), ("ip6", task.ip6)):
        other = vips.get((one.network, text))
        if other is not None:
            remedy = f"it is the virtual address of {other.obj}; a task is an endpoint"
            raise SpecError(one.obj, f"tasks[{task.name}].{field}", text, remedy)


def _refuse_shared(
    end: End, names: Mapping[tuple[str, str], Service], vips: Mapping[tuple[str, str], Service]
) -> None:
    namesake = names.get((end.network, end.name))
    if namesake is not None:
        remedy = (
            "an endpoint of the network has this name; endpoints and services share the names of a network"
        )
        raise SpecError(namesake.obj, "name", namesake.name, remedy)
    for field, text in (("vip", end.ip), ("vip6", end.ip6)):
        one = vips.get((end.network, text))
        if one is not None:
            owner = f"endpoint {end.network}/{end.name}" if end.name else "an endpoint on another host"
            raise SpecError(one.obj, field, text, f"{owner} has it already; give each its own")
