# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks and gateway bridges of this host, as they are recorded or declared: what endpoints stand on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Optional

from .. import record
from ..errors import SpecError
from ..spec import overlay
from ..spec.gwbridge import Gwbridge
from ..spec.networks import Network
from .gateways import known_bridges
from .overlay import NAME as OVERLAYS
from .overlay import OverlayKind

BRIDGES, MACVLANS = "bridge_network", "macvlan"
Items = Optional[Iterable[Mapping[str, Any]]]


class Ground:
    """``networks``, ``bridge_networks``, ``macvlan_networks`` and ``gwbridges`` are declarations that stand in for those not
    yet recorded on the host, so that check mode is true before the first run; ``defaults`` as for OverlayKind."""

    def __init__(
        self,
        networks: Items = None,
        bridges: Items = None,
        defaults: Optional[Mapping[str, Any]] = None,
        bridge_networks: Items = None,
        macvlan_networks: Items = None,
    ) -> None:
        reader = OverlayKind(defaults or {})
        # what is recorded has the remote endpoints; a declaration that differs from it is newer
        known = {item["name"]: item for item in record.load(OVERLAYS)}
        for item in networks or ():
            given = reader.complete({field: value for field, value in item.items() if value is not None})
            known[reader.key(given)] = {**known.get(str(given["name"]), {}), **given}
        self.overlays = {one.name: one for one in overlay.parse_all(list(known.values()))}
        self.networks: dict[str, Network] = {**self.overlays}
        for kind, items in ((BRIDGES, bridge_networks), (MACVLANS, macvlan_networks)):
            for name, network in _plain(kind, items).items():
                if name in self.networks:
                    remedy = (
                        f"{self.networks[name].obj} has this name; networks of all drivers share their names"
                    )
                    raise SpecError(network.obj, "name", name, remedy)
                self.networks[name] = network
        self.bridges: dict[str, Gwbridge] = known_bridges(bridges)


def _plain(kind: str, items: Items) -> dict[str, Network]:
    """Networks of a driver that is seldom there: its code is loaded only when it is."""
    known = {str(item.get("name")): item for item in record.load(kind)}
    known.update({str(item.get("name")): dict(item) for item in items or ()})
    if not known:
        return {}
    from ..spec import fields

    declared = [fields.given(item) for item in known.values()]
    if kind == BRIDGES:
        from ..spec import bridge

        return {one.name: one for one in bridge.parse_all(declared)}
    from ..spec import macvlan

    return {one.name: one for one in macvlan.parse_all(declared)}
