# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others need to know of this host's ingress network, without the code that makes it."""

from __future__ import annotations

from collections.abc import Iterable

from .. import record
from ..errors import SpecError

NAME = "ingress"


def network_name() -> str:
    """The name of the ingress network that is recorded on this host; "" when there is none."""
    return next((str(item.get("name")) for item in record.load(NAME)), "")


def ports() -> set[tuple[str, int]]:
    """(protocol, port) of what it publishes on this host, on all addresses."""
    found = (port for item in record.load(NAME) for port in item.get("ports") or ())
    return {(str(port.get("protocol") or "tcp"), int(port["published"])) for port in found}


def refuse_its_name(names: Iterable[tuple[str, str]]) -> None:
    """SpecError if a network has the name of the ingress network; ``names``: (name, how errors call it)."""
    taken = network_name()
    for name, obj in names:
        if name == taken:
            remedy = "the ingress network has this name; networks of all drivers share their names"
            raise SpecError(obj, "name", name, remedy)
