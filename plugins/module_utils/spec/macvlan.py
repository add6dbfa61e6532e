# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration of a macvlan or ipvlan network: sandboxes as machines of their own on a LAN."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..errors import SpecError
from . import fields
from .overlay import declared_mtu
from .peers import reserved
from .subnets import Subnet, find, parse_plain_subnets, refuse_overlaps, usable

MODES = {"macvlan": ("bridge", "private", "vepa", "passthru"), "ipvlan": ("l2", "l3", "l3s")}
VLAN_MAX = 4094
OPTIONS = (
    "name",
    "driver",
    "parent",
    "mode",
    "subnets",
    "host_range",
    "promiscuous",
    "shim",
    "shim6",
    "internal",
    "mtu",
    "labels",
)
# children that reach each other inside the host reach the host's own child too
_SHIM_MODES = ("bridge", "vepa", "l2")


class Macvlan(NamedTuple):
    """A macvlan or ipvlan network as one host sees it. ``parent`` "": internal, on a dummy device. ``vlan``: the 802.1Q id of
    a parent named after it, else 0; ``base`` the interface that carries it. ``mtu`` None: the parent's. ``host_range``: the
    parts of the ranges that are this host's. ``shim``: the addresses of the host's own child, one a family at most."""

    name: str
    driver: str
    parent: str
    base: str
    vlan: int
    mode: str
    subnets: tuple[Subnet, ...]
    host_range: tuple[str, ...]
    promiscuous: bool
    shim: tuple[str, ...]
    internal: bool
    mtu: Optional[int]
    labels: tuple[tuple[str, str], ...]

    @property
    def obj(self) -> str:
        return label(self.name)

    @property
    def attachable(self) -> bool:
        return True

    @property
    def alone(self) -> bool:
        """True when one endpoint a host is all that the parent takes."""
        return self.mode == "passthru"

    @property
    def reserved(self) -> dict[str, str]:
        """The addresses that no endpoint may have, with the reason and the remedy."""
        own = dict.fromkeys(self.shim, "it is the host's own (shim); take another address")
        return {**reserved(self.subnets), **own}

    @property
    def routed(self) -> bool:
        """True when the children's packets are routed by the parent instead of bridged: no broadcast, no gateway."""
        return self.mode in ("l3", "l3s")


def label(name: object) -> str:
    """How errors call a network."""
    return f"macvlan {name}"


def parse(item: Mapping[str, Any]) -> Macvlan:
    """One network's declaration. SpecError names the field that cannot be right."""
    name = fields.name(label(repr(item.get("name"))), "name", item.get("name"), most=60)
    obj = label(name)
    fields.known_only(obj, item, OPTIONS)
    given = {field: value for field, value in item.items() if value is not None}
    driver = fields.choice(obj, "driver", given.get("driver", "macvlan"), tuple(MODES))
    mode = fields.choice(obj, "mode", given.get("mode", MODES[driver][0]), MODES[driver])
    parent, base, vlan = _parent(obj, given.get("parent"))
    internal = _internal(obj, given.get("internal"), parent)
    subnets = parse_plain_subnets(obj, given.get("subnets"), default_gateway=False)
    _gateways(obj, subnets, internal, mode)
    network = Macvlan(
        name=name,
        driver=driver,
        parent=parent,
        base=base,
        vlan=vlan,
        mode=mode,
        subnets=subnets,
        host_range=_host_range(obj, given.get("host_range"), subnets),
        promiscuous=_promiscuous(obj, given.get("promiscuous", False), driver, parent),
        shim=(),
        internal=internal,
        mtu=declared_mtu(obj, given.get("mtu"), subnets),
        labels=fields.labels(obj, given.get("labels", {})),
    )
    shims = [_shim(network, field, given[field]) for field in ("shim", "shim6") if given.get(field)]
    return network._replace(shim=tuple(shims))


def parse_all(items: Sequence[Mapping[str, Any]]) -> list[Macvlan]:
    """All networks of one host: each by itself, then names, subnets and parents against each other."""
    networks = [parse(item) for item in items]
    names = set()
    for network in networks:
        if network.name in names:
            raise SpecError(network.obj, "name", network.name, "it is declared twice; names are unique")
        names.add(network.name)
    refuse_overlaps([(network.obj, network.subnets) for network in networks])
    _refuse_shared_parents(networks)
    return networks


def _refuse_shared_parents(networks: Sequence[Macvlan]) -> None:
    """What the kernel does not let share a device: macvlan beside ipvlan, passthru beside anything, two modes of ipvlan."""
    first: dict[str, Macvlan] = {}
    for network in networks:
        other = first.setdefault(network.parent, network) if network.parent else network
        if other is network:
            continue
        if other.driver != network.driver:
            remedy = f"{other.obj} is {other.driver} on {network.parent}, and a device carries one of the two; take another parent"
            raise SpecError(network.obj, "driver", network.driver, remedy)
        for one, rest in ((network, other), (other, network)):
            if one.alone:
                remedy = (
                    f"passthru needs the device for itself and {rest.obj} is on it too; take another parent"
                )
                raise SpecError(one.obj, "parent", one.parent, remedy)
        if network.driver == "ipvlan":
            remedy = f"{other.obj} has it, and a parent carries one ipvlan network; take another, such as a VLAN of it"
            raise SpecError(network.obj, "parent", network.parent, remedy)


def _parent(obj: str, value: Any) -> tuple[str, str, int]:
    """(parent, the interface below, VLAN id or 0); a dot in the name makes it a VLAN."""
    if value in (None, ""):
        return "", "", 0
    parent = fields.ifname(obj, "parent", value)
    if parent == "lo":
        raise SpecError(
            obj, "parent", parent, "the loopback device has no LAN; name an interface such as eth0"
        )
    base, *rest = parent.split(".")
    if not rest:
        return parent, parent, 0
    if len(rest) > 1:
        remedy = (
            "it has two dots, and VLANs inside of VLANs are not made; give INTERFACE.VLAN, such as eth0.10"
        )
        raise SpecError(obj, "parent", parent, remedy)
    if base == "lo":
        raise SpecError(obj, "parent", parent, "the loopback device has no LAN; name a VLAN such as eth0.10")
    number = rest[0]
    vlan = int(number) if number.isascii() and number.isdigit() else 0
    if not 1 <= vlan <= VLAN_MAX or str(vlan) != number:
        remedy = f"what follows the dot is a VLAN id, a number from 1 to {VLAN_MAX} without leading zeros"
        raise SpecError(obj, "parent", parent, remedy)
    return parent, base, vlan


def _internal(obj: str, value: Any, parent: str) -> bool:
    internal = not parent if value is None else fields.flag(obj, "internal", value)
    if internal and parent:
        remedy = f"an internal network has no parent, and {parent} leads out of the host; drop one of the two"
        raise SpecError(obj, "internal", True, remedy)
    if not internal and not parent:
        raise SpecError(
            obj, "parent", None, "name the interface that leads to the LAN, or set internal: true"
        )
    return internal


def _promiscuous(obj: str, value: Any, driver: str, parent: str) -> bool:
    wanted = fields.flag(obj, "promiscuous", value)
    if wanted and not parent:
        raise SpecError(obj, "promiscuous", True, "an internal network has no parent that could be; drop it")
    if wanted and driver == "ipvlan":
        remedy = "ipvlan has the parent's own MAC address and does not need it; drop it"
        raise SpecError(obj, "promiscuous", True, remedy)
    return wanted


def _gateways(obj: str, subnets: Sequence[Subnet], internal: bool, mode: str) -> None:
    """A gateway is a machine on the LAN: there is none without a LAN, and none is asked where the parent routes."""
    for subnet in subnets:
        if subnet.gateway and internal:
            remedy = "an internal network leads nowhere; drop the gateway, or give the network a parent"
            raise SpecError(obj, f"subnets[{subnet.cidr}].gateway", subnet.gateway, remedy)
        if subnet.gateway and mode in ("l3", "l3s"):
            remedy = f"in mode {mode} the host itself routes what leaves the sandbox; drop the gateway"
            raise SpecError(obj, f"subnets[{subnet.cidr}].gateway", subnet.gateway, remedy)


def _host_range(obj: str, value: Any, subnets: Sequence[Subnet]) -> tuple[str, ...]:
    """The parts of the subnets' ranges from which endpoints of this host take their addresses; one a subnet."""
    if value is None:
        return ()
    found: dict[str, str] = {}
    for text in [value] if isinstance(value, str) else fields.sequence(obj, "host_range", value):
        block = fields.network(obj, "host_range", text)
        subnet = find(subnets, block.network_address.packed)
        if subnet is None or not _inside(block, subnet.ip_range or subnet.cidr):
            known = ", ".join(one.ip_range or one.cidr for one in subnets)
            raise SpecError(
                obj, "host_range", text, f"it is outside the network's ranges; give a part of {known}"
            )
        if subnet.cidr in found:
            remedy = f"{found[subnet.cidr]} is this host's part of {subnet.cidr} already; give one a subnet"
            raise SpecError(obj, "host_range", text, remedy)
        found[subnet.cidr] = str(block)
    return tuple(found.values())


def _inside(block: fields.Network, whole: str) -> bool:
    """Whether a block is part of another one of its family."""
    outer = ipaddress.ip_network(whole)
    return block.network_address in outer and block.broadcast_address in outer


def _shim(network: Macvlan, field: str, value: Any) -> str:
    """The address of the host's own child: one that nobody else on the LAN has."""
    obj, version = network.obj, 6 if field.endswith("6") else 4
    if network.mode not in _SHIM_MODES:
        why = {
            "private": "children do not reach each other in mode private, the host's own neither",
            "passthru": "passthru leaves room for one child, the sandbox's",
        }.get(network.mode, f"in mode {network.mode} there is no LAN for the host to be on")
        raise SpecError(obj, field, value, f"{why}; drop it, or take one of {', '.join(_SHIM_MODES)}")
    packed = fields.pack(value)
    if packed is None or len(packed) != (4 if version == 4 else 16):
        raise SpecError(obj, field, value, f"give an IPv{version} address without a prefix length")
    subnet = find(network.subnets, packed)
    if subnet is None:
        known = ", ".join(one.cidr for one in network.subnets)
        raise SpecError(obj, field, value, f"it is in no subnet of the network ({known})")
    text = usable(obj, field, value, ipaddress.ip_network(subnet.cidr))
    if text == subnet.gateway:
        raise SpecError(obj, field, value, "it is the gateway; give the host an address of its own")
    return text
