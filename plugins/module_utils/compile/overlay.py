# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An overlay network as resources of one host's kernel. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from ..resources import (
    ZERO_MAC,
    Address,
    Attrs,
    FdbEntry,
    Link,
    Neighbour,
    Netns,
    Resource,
    Sysctl,
    mark_of,
    netns_name,
)
from ..spec.overlay import Overlay
from ..spec.subnets import Subnet

FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
BRIDGE_ATTRS: Attrs = (("default_pvid", 0), ("mcast_snooping", 0))


def bridge_name(vni: int) -> str:
    return f"br{vni}"


def tunnel_name(vni: int) -> str:
    return f"vx{vni}"


def compile_overlay(overlay: Overlay, vtep: str, dev: str, mtu: int) -> list[Resource]:
    """All resources of the network on the host whose VTEP is ``vtep`` on ``dev``; ``mtu`` is the one inside."""
    netns = netns_name(overlay.name)
    segments = overlay.segments()
    found: list[Resource] = [Netns(netns, mark_of(overlay.name)), *settings(overlay)]
    for vni, subnets in segments.items():
        found.extend(_segment(overlay, vni, subnets, vtep, dev, mtu))
    if overlay.control_plane == "static":
        found.extend(_endpoints(overlay, vtep))
    elif overlay.control_plane == "flood":
        far = [peer.vtep for peer in overlay.peers if peer.vtep != vtep]
        found.extend(FdbEntry(netns, tunnel_name(vni), ZERO_MAC, one) for vni in segments for one in far)
    return found


def settings(overlay: Overlay) -> list[Sysctl]:
    """Forwarding inside the network's namespace, where subnets of one family are to reach each other."""
    netns = netns_name(overlay.name)
    versions = [subnet.version for subnet in overlay.subnets]
    found = []
    if versions.count(4) > 1:
        found.append(Sysctl(netns, FORWARDING[0], "1"))
    if versions.count(6) > 1:
        found.append(Sysctl(netns, FORWARDING[1], "1"))
    return found


def _segment(
    overlay: Overlay, vni: int, subnets: list[Subnet], vtep: str, dev: str, mtu: int
) -> Iterator[Resource]:
    netns, alias = netns_name(overlay.name), mark_of(overlay.name)
    bridge = bridge_name(vni)
    yield Link(netns, bridge, "bridge", alias, mtu, mac=bridge_mac(vtep, vni), attrs=BRIDGE_ATTRS)
    static = overlay.control_plane == "static"
    gateways = [subnet for subnet in subnets if subnet.gateway]
    attrs: dict[str, object] = {
        "id": vni,
        "learning": 0 if static else 1,
        "local": vtep,
        "port": overlay.data_path_port,
        "proxy": 1 if static else 0,
    }
    if overlay.control_plane == "multicast":
        attrs.update(group=overlay.multicast_group, dev=dev)
    port: Attrs = ()
    if static:
        # what is not in the tables does not exist: the bridge learns nothing from the tunnel either
        port = (("learning", 0),)
    elif gateways:
        # every host bears the gateway's address: who asks for it must get the answer of its own host only
        port = (("neigh_suppress", 1),)
    yield Link(
        netns,
        tunnel_name(vni),
        "vxlan",
        alias,
        mtu,
        master=bridge,
        attrs=tuple(sorted(attrs.items())),  # type: ignore[arg-type]
        port=port,
    )
    for subnet in gateways:
        yield Address(netns, bridge, subnet.gateway, subnet.prefixlen)


def _endpoints(overlay: Overlay, vtep: str) -> list[Resource]:
    netns = netns_name(overlay.name)
    names: dict[int, str] = {vni: tunnel_name(vni) for vni in overlay.segments()}
    away = [end for end in overlay.endpoints if end.vtep != vtep]
    return [
        *[FdbEntry(netns, names[vni or vni6], mac, far) for _ip, _ip6, mac, far, vni, vni6 in away],
        *[Neighbour(netns, names[vni], ip, mac) for ip, _ip6, mac, _far, vni, _vni6 in away if ip],
        *[Neighbour(netns, names[vni6], ip6, mac) for _ip, ip6, mac, _far, _vni, vni6 in away if ip6],
    ]


def bridge_mac(vtep: str, vni: int) -> str:
    """A locally administered MAC that is this host's and this segment's alone. Fixed, because a bridge without one takes
    its lowest port's, which changes as sandboxes come and go."""
    digest = hashlib.sha256(f"{vtep} {vni}".encode()).digest()
    return (b"\x5a" + digest[:5]).hex(":")
