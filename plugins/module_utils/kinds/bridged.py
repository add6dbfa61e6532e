# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints of bridge networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from ..compile.bridge import port_flags
from ..compile.endpoint import Segment, compile_bridged
from ..resources import Resource
from ..spec.bridge import Bridge
from ..spec.endpoint import Endpoint
from ..spec.networks import Network


def resources(end: Endpoint, network: Network, netns: str, interface: str) -> Iterator[Resource]:
    """The pair between the network's bridge and the sandbox, and what is inside of it."""
    known = cast(Bridge, network)
    segment = Segment(known.bridge, known.mtu, port_flags(known))
    yield from compile_bridged(end, known.subnets, segment, netns, interface)
