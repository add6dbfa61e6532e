# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration of an endpoint: what joins a sandbox to a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import SpecError
from . import fields
from .gwbridge import NAME_DEFAULT, Gwbridge
from .overlay import Overlay
from .peers import reserved
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
)
_PID_MAX = 1 << 22
GATEWAY_INTERFACE = "gw0"


class Endpoint(NamedTuple):
    """An endpoint of an overlay network. Exactly one of ``sandbox``, ``pid`` and ``container`` is set; ``interface`` "" takes
    the first free of eth0, eth1, ..."""

    name: str
    network: str
    sandbox: str
    pid: int
    container: str
    create: bool
    ip: str
    ip6: str
    mac: str
    interface: str
    default_route: bool
    gwbridge: str
    vni: int

    @property
    def obj(self) -> str:
        return label(self.network, self.name)

    @property
    def id(self) -> str:
        return f"{self.network}/{self.name}"

    @property
    def place(self) -> str:
        """The sandbox in one word: it tells the sandboxes of a host apart."""
        return place(self.sandbox, self.pid, self.container)


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
    network = fields.name(shown, "network", given.get("network"), most=60)
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


def parse(
    item: Mapping[str, Any], networks: Mapping[str, Overlay], bridges: Mapping[str, Gwbridge]
) -> Endpoint:
    """One endpoint's declaration, against the networks and gateway bridges that are known on the host."""
    at = where(item)
    obj = label(at.network, at.name)
    fields.known_only(obj, item, OPTIONS)
    given = {field: value for field, value in item.items() if value is not None}
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
    ip, subnet = _ip(obj, "ip", given.get("ip"), 4, network)
    ip6, subnet6 = _ip(obj, "ip6", given.get("ip6"), 6, network)
    if subnet is None and subnet6 is None:
        known = ", ".join(one.cidr for one in network.subnets)
        raise SpecError(obj, "ip", None, f"give the endpoint an address of the network's subnets ({known})")
    if subnet and subnet6 and subnet.vni != subnet6.vni:
        remedy = f"it is in segment {subnet6.vni} and {ip} in segment {subnet.vni}; give both subnets one VNI"
        raise SpecError(obj, "ip6", ip6, remedy)
    wants_route = fields.flag(obj, "default_route", given.get("default_route", True))
    bridge = fields.ifname(obj, "gwbridge", given.get("gwbridge", NAME_DEFAULT))
    if wants_route and not network.internal and bridge not in bridges:
        known = ", ".join(sorted(bridges)) or "none"
        remedy = f"there is no such gateway bridge on this host (there are: {known}); declare it or set default_route: false"
        raise SpecError(obj, "gwbridge", bridge, remedy)
    segment = subnet or subnet6
    assert segment is not None
    return Endpoint(
        name=at.name,
        network=at.network,
        sandbox=at.sandbox,
        pid=at.pid,
        container=at.container,
        create=fields.flag(obj, "create", given.get("create", False)),
        ip=ip,
        ip6=ip6,
        mac=fields.mac(obj, "mac", given["mac"]) if given.get("mac", "") != "" else fields.mac_of(ip or ip6),
        interface=_interface(obj, given.get("interface")),
        default_route=wants_route and not network.internal,
        gwbridge=bridge,
        vni=segment.vni,
    )


def _interface(obj: str, value: Any) -> str:
    if value in (None, ""):
        return ""
    name = fields.ifname(obj, "interface", value)
    if name in ("lo", GATEWAY_INTERFACE):
        raise SpecError(
            obj, "interface", name, "that name is taken in every sandbox; take another, such as eth0"
        )
    return name


def _ip(obj: str, field: str, value: Any, version: int, network: Overlay) -> tuple[str, Subnet | None]:
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
    taken = reserved(network.subnets)
    if text in taken:
        raise SpecError(obj, field, value, taken[text])
    return text, subnet


def parse_all(
    items: Sequence[Mapping[str, Any]], networks: Mapping[str, Overlay], bridges: Mapping[str, Gwbridge]
) -> list[Endpoint]:
    """All endpoints of one host: no address, MAC or interface twice, here or among the networks' remote endpoints."""
    endpoints = [parse(item, networks, bridges) for item in items]
    taken: dict[tuple[str, str], str] = {}
    for name in {one.network for one in endpoints}:
        for far in networks[name].endpoints:
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
        if one.default_route and bridges.setdefault(one.place, one.gwbridge) != one.gwbridge:
            remedy = (
                f"another endpoint of this sandbox uses {bridges[one.place]}; a sandbox has one default route"
            )
            raise SpecError(one.obj, "gwbridge", one.gwbridge, remedy)
