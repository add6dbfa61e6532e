# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the networks of a host, of all drivers, must not share: their names and their addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .. import record
from ..errors import SpecError
from ..spec.networks import Network
from ..spec.subnets import Subnet, parse_plain_subnets, parse_subnets, refuse_overlaps

_DRIVERS = {
    "overlay_network": parse_subnets,
    "bridge_network": parse_plain_subnets,
    "macvlan": parse_plain_subnets,
}


def refuse_shared(kind: str, networks: Sequence[Network]) -> None:
    """SpecError if one of these has the name of a recorded network of another kind, or its subnet overlaps one of those, or
    a gateway bridge's."""
    if not networks:
        return
    others = list(_recorded(kind))
    names = {name: obj for name, obj, _subnets in others}
    for network in networks:
        if network.name in names:
            remedy = f"{names[network.name]} has this name; networks of all drivers share their names"
            raise SpecError(network.obj, "name", network.name, remedy)
    taken = [(obj, subnets) for _name, obj, subnets in others]
    refuse_overlaps([*taken, *_gateways(), *((network.obj, network.subnets) for network in networks)])


def _recorded(but: str) -> Iterator[tuple[str, str, tuple[Subnet, ...]]]:
    for kind, parse in _DRIVERS.items():
        for item in record.load(kind) if kind != but else ():
            obj = f"{kind} {item['name']}"
            yield str(item["name"]), obj, parse(obj, item.get("subnets"))


def _gateways() -> Iterator[tuple[str, tuple[Subnet, ...]]]:
    items = record.load("gwbridge")
    if items:
        from ..spec import gwbridge  # late: not every host has one

        for one in gwbridge.parse_all(items):
            yield one.obj, one.subnets
