# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration of an endpoint: what joins a sandbox to a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..errors import SpecError
from . import fields
from .gwbridge import NAME_DEFAULT, Gwbridge
from .networks import Network
from .publish import Publish, refuse_doubles
from .publish import parse_all as parse_published
from .subnets import Subnet, find

OPTIONS = (
    "name",
    "network",
    "sandbox",
    "pid",
    "container",
    "create",
    "ip",
    "ip6",
    "mac",
    "interface",
    "default_route",
    "gwbridge",
    "gw_priority",
    "publish",
    "aliases",
    "dns",
)
HOST, NONE, SHARED = "host", "none", "container:"
_NOT_IN_A_MODE = ("ip", "ip6", "mac", "interface", "gwbridge", "gw_priority", "publish")
_PID_MAX = 1 << 22
GATEWAY_INTERFACE = "gw0"


class Endpoint(NamedTuple):
    """A sandbox in a network. Exactly one of ``sandbox``, ``pid`` and ``container`` is set; ``interface`` "" takes the first
    free of eth0, eth1, ...; ``ip`` and ``ip6`` both "": the host chooses, and the MAC with them. ``network`` is a network's
    name or a mode: host, none, container:<other>."""

    name: str
    network: str
    sandbox: str
    pid: int
    container: str
    create: bool
    ip: str = ""
    ip6: str = ""
    mac: str = ""
    interface: str = ""
    default_route: bool = False
    gwbridge: str = ""
    vni: int = 0
    gw_priority: int = 0
    publish: tuple[Publish, ...] = ()
    aliases: tuple[str, ...] = ()
    dns: bool = True

    @property
    def obj(self) -> str:
        return label(self.network, self.name)

    @property
    def id(self) -> str:
        return f"{self.network}/{self.name}"

    @property
    def mode(self) -> str:
        """host, none or container:<other> instead of a network; else ""."""
        return self.network if is_mode(self.network) else ""

    @property
    def place(self) -> str:
        """The sandbox in one word: it tells the sandboxes of a host apart."""
        return place(self.sandbox, self.pid, self.container)


def is_mode(network: str) -> bool:
    """True for what Docker has in place of a network's name: host, none, container:<other>."""
    return network in (HOST, NONE) or network.startswith(SHARED)


def label(network: object, name: object) -> str:
    """How errors call an endpoint."""
    return f"endpoint {network}/{name}"


def place(sandbox: str, pid: int, container: str) -> str:
    """A sandbox in one word: its name, ``pid:123`` or ``container:web``."""
    return sandbox or (f"pid:{pid}" if pid else f"container:{container}")


class Where(NamedTuple):
    """The part of a declaration that says which endpoint it is."""

    network: str
    name: str
    sandbox: str
    pid: int
    container: str


def where(item: Mapping[str, Any]) -> Where:
    """Network, name and sandbox of an item, checked; the name defaults to the sandbox's."""
    given = {field: value for field, value in item.items() if value is not None}
    shown = label(
        given.get("network", "?"), given.get("name", given.get("sandbox", given.get("container", "?")))
    )
    network = _network_name(shown, given.get("network"))
    chosen = [field for field in ("sandbox", "pid", "container") if field in given]
    if len(chosen) != 1:
        what = f"{' and '.join(chosen)} exclude each other" if chosen else "nothing says which"
        raise SpecError(
            shown, "sandbox", given.get("sandbox"), f"{what}; give one of sandbox, pid, container"
        )
    sandbox = fields.name(shown, "sandbox", given["sandbox"]) if "sandbox" in given else ""
    if sandbox.startswith("xh-"):
        raise SpecError(
            shown, "sandbox", sandbox, "names with xh- are the networks' own namespaces; take another"
        )
    pid = fields.integer(shown, "pid", given["pid"], 1, _PID_MAX, "a process id") if "pid" in given else 0
    container = fields.name(shown, "container", given["container"], 128) if "container" in given else ""
    default = sandbox or container or f"pid-{pid}"
    name = fields.name(shown, "name", given.get("name", default), most=128)
    return Where(network, name, sandbox, pid, container)


def _network_name(shown: str, value: Any) -> str:
    if isinstance(value, str) and value.startswith(SHARED):
        return SHARED + fields.name(shown, "network", value[len(SHARED) :], most=128)
    return fields.name(shown, "network", value, most=60)


def parse(
    item: Mapping[str, Any], networks: Mapping[str, Network], bridges: Mapping[str, Gwbridge]
) -> Endpoint:
    """One endpoint's declaration, against the networks and gateway bridges that are known on the host."""
    at = where(item)
    obj = label(at.network, at.name)
    fields.known_only(obj, item, OPTIONS)
    given = {field: value for field, value in item.items() if value is not None}
    create = fields.flag(obj, "create", given.get("create", False))
    plain = Endpoint(at.name, at.network, at.sandbox, at.pid, at.container, create)
    plain = plain._replace(
        aliases=_aliases(obj, given.get("aliases")), dns=fields.flag(obj, "dns", given.get("dns", True))
    )
    if plain.mode:
        return _in_mode(obj, plain, given)
    network = networks.get(at.network)
    if network is None:
        known = ", ".join(sorted(networks)) or "none"
        raise SpecError(
            obj,
            "network",
            at.network,
            f"there is no such network on this host (there are: {known}); declare it",
        )
    if not network.attachable:
        raise SpecError(
            obj, "network", at.network, "it is not attachable; set attachable: true on the network"
        )
    return _joined(obj, plain, network, given, bridges)


def _in_mode(obj: str, plain: Endpoint, given: Mapping[str, Any]) -> Endpoint:
    for field in _NOT_IN_A_MODE:
        if field in given:
            remedy = f"with network {plain.network} the sandbox has no interface of crosshost's; leave it out"
            raise SpecError(obj, field, given[field], remedy)
    if plain.network == SHARED + (plain.sandbox or plain.container):
        raise SpecError(obj, "network", plain.network, "that is the sandbox itself; name another")
    return plain


def _joined(
    obj: str, plain: Endpoint, network: Network, given: Mapping[str, Any], bridges: Mapping[str, Gwbridge]
) -> Endpoint:
    ip, subnet = _ip(obj, "ip", given.get("ip"), 4, network)
    ip6, subnet6 = _ip(obj, "ip6", given.get("ip6"), 6, network)
    if subnet is None and subnet6 is None and network.driver == "overlay":
        known = ", ".join(one.cidr for one in network.subnets)
        raise SpecError(obj, "ip", None, f"give the endpoint an address of the network's subnets ({known})")
    if subnet and subnet6 and subnet.vni != subnet6.vni:
        remedy = f"it is in segment {subnet6.vni} and {ip} in segment {subnet.vni}; give both subnets one VNI"
        raise SpecError(obj, "ip6", ip6, remedy)
    wants_route = fields.flag(obj, "default_route", given.get("default_route", True)) and not network.internal
    bridge = fields.ifname(obj, "gwbridge", given.get("gwbridge", NAME_DEFAULT))
    published = parse_published(obj, "publish", given.get("publish"), getattr(network, "host_ip", ""))
    _refuse_publishing(obj, published, network, wants_route, given)
    needs_bridge = network.driver == "overlay" and wants_route
    if needs_bridge and bridge not in bridges:
        known = ", ".join(sorted(bridges)) or "none"
        remedy = f"there is no such gateway bridge on this host (there are: {known}); declare it or set default_route: false"
        raise SpecError(obj, "gwbridge", bridge, remedy)
    segment = subnet or subnet6
    mac = fields.mac(obj, "mac", given["mac"]) if given.get("mac", "") != "" else ""
    priority = given.get("gw_priority", 0)
    return plain._replace(
        ip=ip,
        ip6=ip6,
        mac=mac or (fields.mac_of(ip or ip6) if ip or ip6 else ""),
        interface=_interface(obj, given.get("interface")),
        default_route=wants_route,
        gwbridge=bridge if network.driver == "overlay" else "",
        vni=segment.vni if segment else 0,
        gw_priority=fields.integer(obj, "gw_priority", priority, -(1 << 31), (1 << 31) - 1, "a priority"),
        publish=published,
    )


def _refuse_publishing(
    obj: str, published: Sequence[Publish], network: Network, wants_route: bool, given: Mapping[str, Any]
) -> None:
    """What is published is answered by way of the host, where the sandbox's default route has to lead."""
    if not published:
        return
    if network.driver not in ("overlay", "bridge"):
        remedy = "its sandboxes are on the LAN by themselves, where all their ports are; leave publish out"
        raise SpecError(obj, "publish", given["publish"], f"the network is {network.driver}: {remedy}")
    if not wants_route:
        why = "the network is internal" if network.internal else "default_route is false"
        remedy = f"{why}, so that no answer would find its way; leave publish out or change that"
        raise SpecError(obj, "publish", given["publish"], remedy)


def _aliases(obj: str, value: Any) -> tuple[str, ...]:
    found = [
        fields.name(obj, f"aliases[{place}]", one)
        for place, one in enumerate(fields.sequence(obj, "aliases", value if value is not None else []))
    ]
    return tuple(dict.fromkeys(found))


def _interface(obj: str, value: Any) -> str:
    if value in (None, ""):
        return ""
    name = fields.ifname(obj, "interface", value)
    if name in ("lo", GATEWAY_INTERFACE):
        raise SpecError(
            obj, "interface", name, "that name is taken in every sandbox; take another, such as eth0"
        )
    return name


def _ip(obj: str, field: str, value: Any, version: int, network: Network) -> tuple[str, Optional[Subnet]]:
    if value is None or value == "":
        return "", None
    packed = fields.pack(value)
    if packed is None or len(packed) != (4 if version == 4 else 16):
        raise SpecError(obj, field, value, f"give an IPv{version} address")
    text = fields.address(obj, field, value)
    subnet = find(network.subnets, packed)
    if subnet is None:
        known = ", ".join(one.cidr for one in network.subnets)
        raise SpecError(obj, field, value, f"it is in no subnet of the network ({known})")
    taken = network.reserved
    if text in taken:
        raise SpecError(obj, field, value, taken[text])
    return text, subnet


def parse_all(
    items: Sequence[Mapping[str, Any]], networks: Mapping[str, Network], bridges: Mapping[str, Gwbridge]
) -> list[Endpoint]:
    """All endpoints of one host: no address, MAC or interface twice, here or among the networks' remote endpoints."""
    endpoints = [parse(item, networks, bridges) for item in items]
    taken: dict[tuple[str, str], str] = {}
    for name in {one.network for one in endpoints if not one.mode}:
        for far in getattr(networks[name], "endpoints", ()):
            for text in (far.ip, far.ip6, far.mac):
                if text:
                    taken[(name, text)] = f"an endpoint behind {far.vtep}"
    for one in endpoints:
        for field, text in (("ip", one.ip), ("ip6", one.ip6), ("mac", one.mac)):
            if text and (one.network, text) in taken:
                raise SpecError(
                    one.obj, field, text, f"{taken[(one.network, text)]} has it already; give each its own"
                )
        for text in filter(None, (one.ip, one.ip6, one.mac)):
            taken[(one.network, text)] = one.obj
    _refuse_double_interfaces(endpoints)
    _refuse_mixed_modes(endpoints)
    _refuse_several_alone(endpoints, networks)
    refuse_doubles((one.obj, port) for one in endpoints for port in one.publish)
    return endpoints


def _refuse_double_interfaces(endpoints: Sequence[Endpoint]) -> None:
    seen: dict[tuple[str, str], str] = {}
    bridges: dict[str, str] = {}
    for one in endpoints:
        if one.interface:
            other = seen.setdefault((one.place, one.interface), one.obj)
            if other != one.obj:
                raise SpecError(
                    one.obj, "interface", one.interface, f"{other} has it in the same sandbox; take another"
                )
        uses_bridge = one.default_route and one.gwbridge
        if uses_bridge and bridges.setdefault(one.place, one.gwbridge) != one.gwbridge:
            remedy = f"another endpoint of this sandbox uses {bridges[one.place]}; a sandbox has one gateway bridge"
            raise SpecError(one.obj, "gwbridge", one.gwbridge, remedy)


def _refuse_mixed_modes(endpoints: Iterable[Endpoint]) -> None:
    """A sandbox that is in a mode is in it alone."""
    first: dict[str, Endpoint] = {}
    for one in endpoints:
        other = first.setdefault(one.place, one)
        if other is not one and (one.mode or other.mode):
            remedy = f"{other.obj} has the same sandbox; with network host, none or container:<other> it has no other"
            raise SpecError(one.obj, "network", one.network, remedy)


def _refuse_several_alone(endpoints: Iterable[Endpoint], networks: Mapping[str, Network]) -> None:
    """A device in mode passthru carries one endpoint."""
    first: dict[str, Endpoint] = {}
    for one in endpoints:
        network = networks.get(one.network)
        if network is not None and getattr(network, "alone", False):
            other = first.setdefault(one.network, one)
            if other is not one:
                remedy = (
                    f"{other.obj} has the device already, which mode passthru gives to one endpoint a host"
                )
                raise SpecError(one.obj, "network", one.network, remedy)
