# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host loses when it begins to forward, and keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..kernel import sysctl
from ..kernel.session import Session
from ..resources import HOST, Resource, Sysctl


def keep_router_advertisements(session: Session, wanted: Iterable[Resource]) -> Iterator[Sysctl]:
    """A host that forwards ignores router advertisements and so loses a default route that it learned from them, unless
    accept_ra is 2: set that, before forwarding is turned on, where they are in use now."""
    if not any(isinstance(one, Sysctl) and one.name == "net.ipv6.conf.all.forwarding" for one in wanted):
        return
    if sysctl.read(HOST, "net.ipv6.conf.all.forwarding") != "0":
        return
    for link in session.host.links:
        name = f"net.ipv6.conf.{link.name.replace('.', '/')}.accept_ra"
        if not link.owned and link.name != "lo" and sysctl.read(HOST, name) == "1":
            yield Sysctl(HOST, name, "2")
