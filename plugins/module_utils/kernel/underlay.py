# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies below the overlays: this host's data-path address, and the MTU that passes to each peer."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple, Optional

from ..errors import HostError, SpecError
from ..spec.overlay import MTU_MIN_IPV4, MTU_MIN_IPV6, Overlay
from .decode import LinkInfo, ip_text
from .netlink import RTM_GETROUTE, RTM_NEWROUTE, NetlinkError, attributes, number
from .session import Session

# outer Ethernet 14, IP 20 or 40, UDP 8, VXLAN 8
OVERHEAD_IPV4, OVERHEAD_IPV6 = 50, 70


class Underlay(NamedTuple):
    """How one overlay leaves this host: VTEP address, the device that bears it, and the MTU inside."""

    vtep: str
    dev: str
    mtu: int


class _Way(NamedTuple):
    dev: int
    source: str
    mtu: int


class Finder:
    """Answers for all networks of one run; the kernel is asked once a peer."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ways: dict[str, _Way] = {}

    def resolve(self, overlay: Overlay) -> Underlay:
        """The underlay of a network. SpecError or HostError when the declared address, interface or MTU cannot be."""
        vtep, dev = self._vtep(overlay)
        overhead = OVERHEAD_IPV6 if ":" in vtep else OVERHEAD_IPV4
        passes, narrow = self._passes(overlay, dev)
        most = passes - overhead
        mtu = most if overlay.mtu is None else overlay.mtu
        if mtu > most:
            remedy = f"the underlay ({narrow}) passes {passes} bytes, which leaves {most} inside; declare at most that"
            raise SpecError(overlay.obj, "mtu", mtu, remedy)
        least = MTU_MIN_IPV6 if any(subnet.version == 6 for subnet in overlay.subnets) else MTU_MIN_IPV4
        if mtu < least:
            raise SpecError(
                overlay.obj,
                "mtu",
                mtu,
                f"the underlay ({narrow}) passes {passes} bytes; {least + overhead} are needed",
            )
        return Underlay(vtep, dev.name, mtu)

    def _vtep(self, overlay: Overlay) -> tuple[str, LinkInfo]:
        host = self._session.host
        if overlay.data_path_address:
            for found in host.addresses:
                if found.address == overlay.data_path_address:
                    dev = host.by_index[found.ifindex]
                    if overlay.data_path_interface not in ("", dev.name):
                        remedy = f"it is an address of {dev.name}, not of {overlay.data_path_interface}; declare one of the two"
                        raise SpecError(overlay.obj, "data_path_address", found.address, remedy)
                    return found.address, dev
            raise SpecError(
                overlay.obj,
                "data_path_address",
                overlay.data_path_address,
                "it is not an address of this host; declare one that 'ip address' shows here (crosshost_vtep)",
            )
        if overlay.data_path_interface:
            return self._of_interface(overlay)
        return self._towards_peers(overlay)

    def _of_interface(self, overlay: Overlay) -> tuple[str, LinkInfo]:
        host = self._session.host
        dev = host.by_name.get(overlay.data_path_interface)
        if dev is None:
            raise SpecError(
                overlay.obj,
                "data_path_interface",
                overlay.data_path_interface,
                "this host has no such interface",
            )
        six = _speaks_ipv6(overlay)
        for found in host.addresses:
            if found.ifindex == dev.ifindex and six in (None, ":" in found.address):
                return found.address, dev
        family = {None: "", True: "IPv6 ", False: "IPv4 "}[six]
        raise SpecError(
            overlay.obj, "data_path_interface", dev.name, f"it has no {family}address; give it one"
        )

    def _towards_peers(self, overlay: Overlay) -> tuple[str, LinkInfo]:
        targets = _targets(overlay)
        if not targets:
            remedy = (
                "declare the host's data-path address (crosshost_vtep), as there is no peer to find it by"
            )
            raise SpecError(overlay.obj, "data_path_address", None, remedy)
        way = self._way(overlay, *targets[0])
        return way.source, self._session.host.by_index[way.dev]

    def _passes(self, overlay: Overlay, dev: LinkInfo) -> tuple[int, str]:
        """The smallest MTU on the way to any peer, with the name of the place where it is."""
        found = [(dev.mtu, dev.name)] if dev.kind != "loopback" and dev.name != "lo" else []
        far = min((peer for peer in overlay.peers if peer.mtu), key=lambda peer: peer.mtu, default=None)
        if far is not None:
            found.append((far.mtu, f"at {far.host or far.vtep}"))
        for name, vtep in _targets(overlay):
            way = self._way(overlay, name, vtep)
            found.append((way.mtu, f"{self._session.host.name_of(way.dev)} towards {name}"))
        return min(found) if found else (dev.mtu, dev.name)

    def _way(self, overlay: Overlay, name: str, vtep: str) -> _Way:
        if vtep not in self._ways:
            try:
                self._ways[vtep] = self._ask(vtep)
            except NetlinkError as error:
                raise HostError(
                    f"{overlay.obj}: peer {name}: no way to its VTEP {vtep} ({error.reason}); add a route"
                ) from None
        return self._ways[vtep]

    def _ask(self, vtep: str) -> _Way:
        family = socket.AF_INET6 if ":" in vtep else socket.AF_INET
        packed = socket.inet_pton(family, vtep)
        header = struct.pack("=BBBBBBBBI", family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
        target = struct.pack("=HH", len(packed) + 4, 1) + packed
        answer = self._session.sockets.of("").ask(RTM_GETROUTE, header + target, RTM_NEWROUTE)
        found = attributes(answer, 12)
        dev = number(found.get(4))
        limit = number(attributes(found[8]).get(2)) if 8 in found else 0
        own = self._session.host.by_index[dev].mtu
        return _Way(dev, ip_text(found.get(7)), min(limit or own, own))


def _targets(overlay: Overlay) -> list[tuple[str, str]]:
    """(name, VTEP) of all that packets are sent to."""
    found = {peer.vtep: peer.host or peer.vtep for peer in overlay.peers}
    for vtep in {end.vtep: None for end in overlay.endpoints}:
        found.setdefault(vtep, vtep)
    own = overlay.data_path_address
    return [(name, vtep) for vtep, name in found.items() if vtep != own]


def _speaks_ipv6(overlay: Overlay) -> Optional[bool]:
    """The underlay's family as far as the declaration tells; None when it does not."""
    known: Sequence[str] = [vtep for _name, vtep in _targets(overlay)] or [overlay.multicast_group]
    return ":" in known[0] if known[0] else None
