# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A macvlan or ipvlan network as resources of one host's kernel. Pure.

On the host a network is no more than the device that its sandboxes' children are made on. What is there besides: a VLAN
device, a dummy, or the host's own child (the shim), since the kernel passes nothing between a device and its children.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..resources import HOST, Address, File, Link, Resource, Route, Sysctl, mark_of
from ..spec import fields
from ..spec.macvlan import Macvlan
from ..spec.subnets import find

MARK = mark_of("macvlan")  # of a VLAN device, which networks may share
ASKED = "/run/crosshost/promiscuous"


class Parent(NamedTuple):
    """What a network stands on, on this host. ``made``: crosshost makes it, and removes it. ``mtu`` is the network's."""

    name: str
    made: bool
    mtu: int
    own_mtu: int


def mark(name: str) -> str:
    """The ifalias of a network's own devices: its dummy, its shim. No endpoint's has this form."""
    return mark_of(f"macvlan:{name}")


def name_of(alias: str) -> str:
    """The network whose device bears this alias, or ""."""
    head = mark("")
    return alias[len(head) :] if alias.startswith(head) else ""


def _device(prefix: str, name: str) -> str:
    return prefix + hashlib.sha256(name.encode()).hexdigest()[:10]


def dummy_name(name: str) -> str:
    """The device that an internal network stands on."""
    return _device("xd", name)


def shim_name(name: str) -> str:
    """The host's own child."""
    return _device("xs", name)


def parent_of(network: Macvlan) -> str:
    """The device that the network's children are made on."""
    return network.parent or dummy_name(network.name)


def compile_macvlan(network: Macvlan, parent: Parent) -> Iterator[Resource]:
    """What the host has of a network, but for what is set on a parent and the routes to single endpoints."""
    if network.internal:
        yield Link(HOST, parent.name, "dummy", mark(network.name), parent.own_mtu)
    elif parent.made:
        attrs = (("id", network.vlan), ("link", network.base))
        yield Link(HOST, parent.name, "vlan", MARK, parent.own_mtu, attrs=attrs)
    if not network.shim:
        return
    dev = shim_name(network.name)
    mac = fields.mac_of(network.shim[0]) if network.driver == "macvlan" else ""
    yield compile_child(network, HOST, dev, mac, parent.mtu)
    for address in network.shim:
        if ":" in address:
            yield Sysctl(HOST, f"net.ipv6.conf.{dev}.disable_ipv6", "0")
        # alone in its prefix: the LAN's own route stays where it is
        yield Address(HOST, dev, address, 128 if ":" in address else 32)
    for block in routed(network):
        yield Route(HOST, block, dev)


def compile_child(network: Macvlan, netns: str, interface: str, mac: str, mtu: int) -> Link:
    """A device on the network's parent, the host's own but for the alias. Where it has its parent's MAC address, ``mac`` does
    not count."""
    own = mac if network.driver == "macvlan" and not network.alone else ""
    attrs = (("link", parent_of(network)), ("mode", network.mode))
    return Link(netns, interface, network.driver, mark(network.name), mtu, mac=own, attrs=attrs)


def routed(network: Macvlan) -> Iterator[str]:
    """The blocks that the host reaches over its own child: what is its own to hand out."""
    versions = {6 if ":" in address else 4 for address in network.shim}
    for block in network.host_range:
        if (6 if ":" in block else 4) in versions:
            yield block


def routes_to(network: Macvlan, addresses: Iterable[str]) -> Iterator[Route]:
    """The host's routes to endpoints of its own whose addresses are outside of those blocks."""
    blocks = [ipaddress.ip_network(block) for block in routed(network)]
    versions = {6 if ":" in address else 4 for address in network.shim}
    for text in addresses:
        address = ipaddress.ip_address(text)
        known = find(network.subnets, address.packed) is not None
        if address.version in versions and known and not any(address in block for block in blocks):
            yield Route(HOST, f"{text}/{address.max_prefixlen}", shim_name(network.name))


def asked_path(dev: str) -> str:
    """The file that says that crosshost, and nobody else, made a device promiscuous."""
    return f"{ASKED}/{dev}"


def memory_of(dev: str, index: int) -> File:
    """The content of that file: of a later device of the same name it is not true."""
    return File(asked_path(dev), f"{index}\n")
