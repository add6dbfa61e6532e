# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration of a bridge network: sandboxes of one host on a bridge of their own, as on Docker's docker0."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import SpecError
from . import fields
from .overlay import declared_mtu
from .peers import reserved
from .publish import host_address
from .subnets import Subnet, parse_plain_subnets, refuse_overlaps

OPTIONS = (
    "name",
    "bridge",
    "subnets",
    "internal",
    "icc",
    "ip_masquerade",
    "mtu",
    "host_ip",
    "labels",
)
PREFIX = "xb-"
MTU_DEFAULT = 1500


class Bridge(NamedTuple):
    """A bridge network. ``bridge`` is the device; ``host_ip`` is where its endpoints' ports are published that do not say it
    themselves, "" for all addresses."""

    name: str
    bridge: str
    subnets: tuple[Subnet, ...]
    internal: bool
    icc: bool
    ip_masquerade: bool
    mtu: int
    host_ip: str
    labels: tuple[tuple[str, str], ...]

    @property
    def obj(self) -> str:
        return label(self.name)

    @property
    def driver(self) -> str:
        return "bridge"

    @property
    def attachable(self) -> bool:
        return True

    @property
    def reserved(self) -> dict[str, str]:
        """The addresses that no endpoint may have, with the reason and the remedy."""
        return reserved(self.subnets)


def label(name: object) -> str:
    """How errors call a bridge network."""
    return f"bridge_network {name}"


def device_name(name: str) -> str:
    """The bridge's name when none is declared: the network's, if that fits an interface's 15 bytes."""
    text = f"{PREFIX}{name}"
    if len(text) <= fields.IFNAME_MAX:
        return text
    return PREFIX + hashlib.sha256(name.encode()).hexdigest()[: fields.IFNAME_MAX - len(PREFIX)]


def parse(item: Mapping[str, Any]) -> Bridge:
    """One network's declaration. SpecError names the field that cannot be right."""
    name = fields.name(label(repr(item.get("name"))), "name", item.get("name"), most=60)
    obj = label(name)
    fields.known_only(obj, item, OPTIONS)
    given = {field: value for field, value in item.items() if value is not None}
    subnets = parse_plain_subnets(obj, given.get("subnets"))
    host_ip = given.get("host_ip", "")
    if not isinstance(host_ip, str):
        raise SpecError(obj, "host_ip", host_ip, "give an address of the host, such as 127.0.0.1")
    return Bridge(
        name=name,
        bridge=_device(obj, given.get("bridge", device_name(name))),
        subnets=subnets,
        internal=fields.flag(obj, "internal", given.get("internal", False)),
        icc=fields.flag(obj, "icc", given.get("icc", True)),
        ip_masquerade=fields.flag(obj, "ip_masquerade", given.get("ip_masquerade", True)),
        mtu=declared_mtu(obj, given.get("mtu"), subnets) or MTU_DEFAULT,
        host_ip=host_address(obj, "host_ip", host_ip, host_ip),
        labels=fields.labels(obj, given.get("labels", {})),
    )


def _device(obj: str, value: Any) -> str:
    name = fields.ifname(obj, "bridge", value)
    if name in ("lo", "all", "default"):
        raise SpecError(
            obj, "bridge", name, f"the kernel means something else by it; take another, such as {PREFIX}web"
        )
    return name


def parse_all(items: Sequence[Mapping[str, Any]]) -> list[Bridge]:
    """All bridge networks of one host: each by itself, then names, devices and subnets against each other."""
    networks = [parse(item) for item in items]
    names: set[str] = set()
    devices: dict[str, str] = {}
    for network in networks:
        if network.name in names:
            raise SpecError(network.obj, "name", network.name, "it is declared twice; names are unique")
        names.add(network.name)
        other = devices.setdefault(network.bridge, network.obj)
        if other != network.obj:
            raise SpecError(network.obj, "bridge", network.bridge, f"{other} has it; give each its own")
    refuse_overlaps([(network.obj, network.subnets) for network in networks])
    return networks
