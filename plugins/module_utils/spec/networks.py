# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What networks of all drivers have in common, as their endpoints see them."""

from __future__ import annotations

from typing import Protocol

from .subnets import Subnet


class Network(Protocol):
    """A network of any driver (overlay, bridge, macvlan, ipvlan)."""

    @property
    def name(self) -> str: ...

    @property
    def obj(self) -> str:
        """How errors call it."""
        ...

    @property
    def driver(self) -> str: ...

    @property
    def subnets(self) -> tuple[Subnet, ...]: ...

    @property
    def internal(self) -> bool: ...

    @property
    def attachable(self) -> bool: ...

    @property
    def reserved(self) -> dict[str, str]:
        """The addresses that no endpoint may have, with the reason and the remedy."""
        ...
