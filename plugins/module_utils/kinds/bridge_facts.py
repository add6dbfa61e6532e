# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bridge networks as facts."""

from __future__ import annotations

from typing import Any

from ..kernel import observe
from ..kernel.session import Session
from ..resources import HOST, Address, Link
from .bridge import devices


def facts(session: Session, recorded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The networks that are recorded or of which the host has bridges."""
    configs = {item["name"]: item for item in recorded}
    present = dict(devices(session))
    pairs = [pair.outer for pair in observe.pairs(session, [HOST], [])]
    found = []
    for name in dict.fromkeys([*configs, *present]):
        device = present.get(name, "")
        items = observe.bridge(session, device)
        found.append(
            {
                "name": name,
                "present": bool(items),
                "config": configs.get(name),
                "bridge": device or None,
                "addresses": [f"{one.address}/{one.prefixlen}" for one in items if isinstance(one, Address)],
                "mtu": next((one.mtu for one in items if isinstance(one, Link)), None),
                "endpoints": sorted(
                    link.alias.partition("/")[2] for link in pairs if device and link.master == device
                ),
            }
        )
    return found
