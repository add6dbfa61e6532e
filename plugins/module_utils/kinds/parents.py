# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices that macvlan and ipvlan networks stand on: whether they are there, and can carry them."""

from __future__ import annotations

from ..compile.macvlan import MARK, Parent, dummy_name
from ..errors import CollisionError, HostError, SpecError
from ..kernel.children import users
from ..kernel.decode import CHILD_KINDS, LinkInfo
from ..kernel.session import Session
from ..spec.macvlan import Macvlan

_MTU_DEFAULT = 1500


def resolve(session: Session, network: Macvlan) -> Parent:
    """The network's parent as it is, or as it will be. HostError or SpecError when it cannot carry the network."""
    if network.internal:
        mtu = network.mtu or _MTU_DEFAULT
        return Parent(dummy_name(network.name), True, mtu, mtu)
    info = session.host.by_name.get(network.parent)
    made = network.vlan > 0 and (info is None or is_made(info))
    if made:
        below = _usable(session, network, network.base)
        _refuse_other_vlan(session, network, below)
    else:
        below = _usable(session, network, network.parent)
        number = dict(below.attrs).get("id")
        if network.vlan and below.kind == "vlan" and number != network.vlan:
            remedy = f"it carries VLAN {number} in spite of its name; rename it, or name another"
            raise CollisionError(f"{network.obj}: parent {network.parent!r}: {remedy}")
    if network.mtu and network.mtu > below.mtu:
        remedy = f"{below.name} passes {below.mtu} bytes; declare at most that"
        raise SpecError(network.obj, "mtu", network.mtu, remedy)
    return Parent(network.parent, made, network.mtu or below.mtu, below.mtu)


def is_made(info: LinkInfo) -> bool:
    """True for a VLAN device that crosshost made as a parent, also for one half made by a run that was killed."""
    return info.kind == "vlan" and info.owned and info.alias in ("", MARK)


def _usable(session: Session, network: Macvlan, name: str) -> LinkInfo:
    head = f"{network.obj}: parent {network.parent!r}"
    info = session.host.by_name.get(name)
    if info is None:
        raise HostError(f"{head}: this host has no interface {name}; name one that 'ip link' shows")
    if not info.up:
        raise HostError(f"{head}: {name} is down; bring it up first ('ip link set {name} up')")
    if not info.ethernet:
        raise HostError(f"{head}: {name} does not carry Ethernet; name an interface that does")
    if name == network.parent:
        _refuse_busy(session, head, info)
    return info


def _refuse_busy(session: Session, head: str, info: LinkInfo) -> None:
    """A device hands what comes in to one taker."""
    if info.kind in CHILD_KINDS:
        below = session.host.name_of(info.lower) if info.lower_nsid < 0 else "the device that it is on"
        raise HostError(f"{head}: it is {info.kind} itself; name {below}")
    if info.carrier_kind not in ("", "vrf"):
        master = session.host.name_of(info.master)
        remedy = (
            f"it is a port of the {info.carrier_kind} {master}, which takes all that comes in; name {master}"
        )
        raise HostError(f"{head}: {remedy}")


def _refuse_other_vlan(session: Session, network: Macvlan, base: LinkInfo) -> None:
    """A device carries each VLAN once."""
    for info in session.host.links:
        values = dict(info.attrs)
        same = info.kind == "vlan" and info.lower == base.ifindex and info.lower_nsid < 0
        if same and values.get("id") == network.vlan and info.name != network.parent:
            remedy = (
                f"{info.name} carries VLAN {network.vlan} of {base.name} already; name that as the parent"
            )
            raise CollisionError(f"{network.obj}: parent {network.parent!r}: {remedy}")


def refuse_taken(session: Session, network: Macvlan) -> None:
    """CollisionError if somebody else uses the parent in a way that excludes the network."""
    info = session.host.by_name.get(network.parent)
    if info is None:
        return
    for user in users(session, info):
        remedy = ""
        if user.kind != network.driver:
            remedy = f"a device carries either macvlan or ipvlan; take driver {user.kind}, or another parent"
        elif "passthru" in (user.mode, network.mode):
            remedy = "passthru needs the device for itself; take another parent"
        elif network.driver == "ipvlan" and user.mode != network.mode:
            remedy = f"a device carries ipvlan in one mode; take mode {user.mode}, or another parent"
        if remedy:
            raise CollisionError(
                f"{network.obj}: parent {network.parent!r}: {user}, not made by crosshost: {remedy}"
            )
