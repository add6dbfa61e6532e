# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has of the things that crosshost needs: kernel features, libraries, programs, addresses. Needs no library."""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import ipaddress
import os
import shutil
import socket
import struct
from typing import Any, Optional

from ..errors import HostError
from . import netns, resolv
from .netlink import NLM_CREATE, NLM_EXCL, RTM_NEWLINK, Message, NetlinkError, Socket
from .session import NsView, Session

LINK_KINDS = ("vxlan", "bridge", "veth")
ROUTES_MOST = 1000
FEATURES = (*LINK_KINDS, "nf_tables")
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 18, 1
_NETLINK_NETFILTER, _NFT_GETGEN, _NFT_NEWGEN = 12, 10 << 8 | 16, 10 << 8 | 15
# documentation addresses: no host has a route to them but its default route, and connecting a UDP socket sends nothing
_FAR = ((socket.AF_INET, "203.0.113.1"), (socket.AF_INET6, "2001:db8::1"))


def features() -> dict[str, bool]:
    """For each of FEATURES, whether the kernel has it, tried in a network namespace that is gone afterwards. A kernel that
    keeps a feature in a module loads it. HostError when no namespace can be made."""
    try:
        with netns.new():
            sock = Socket()
            nft = _has_nf_tables()
    except OSError as error:
        raise HostError(f"network namespaces: {error.strerror}; the host must let root make them") from None
    try:
        return {**{kind: _has_link_kind(sock, kind) for kind in LINK_KINDS}, "nf_tables": nft}
    finally:
        sock.close()


def _attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", len(payload) + 4, kind) + payload + b"\0" * (-len(payload) & 3)


def _has_link_kind(sock: Socket, kind: str) -> bool:
    """Ask for a link of the kind with no particulars. A kernel that knows the kind makes it or misses something; one that
    does not says that the operation is not supported."""
    info = _attribute(_IFLA_LINKINFO, _attribute(_IFLA_INFO_KIND, kind.encode() + b"\0"))
    header = struct.pack("=BBHiII", 0, 0, 0, 0, 0, 0)
    payload = header + _attribute(_IFLA_IFNAME, b"probe0\0") + info
    try:
        sock.send([Message(RTM_NEWLINK, NLM_CREATE | NLM_EXCL, payload)])
    except NetlinkError as error:
        return error.errno not in (errno.EOPNOTSUPP, errno.ENODEV)
    return True


def _has_nf_tables() -> bool:
    """Ask for the generation of the rule set, as nft does before all else."""
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        ) as sock:
            sock.settimeout(5)
            sock.send(struct.pack("=IHHIIBBH", 20, _NFT_GETGEN, 1, 1, 0, 0, 0, 0))
            answer = sock.recv(4096)
    except OSError:
        return False
    return bool(struct.unpack_from("=H", answer, 4)[0] == _NFT_NEWGEN)


def library(name: str) -> Optional[str]:
    """The version of an installed Python library, "" if it does not say, None if it is not there. Nothing is imported."""
    if importlib.util.find_spec(name) is None:
        return None
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def program(name: str) -> Optional[str]:
    """The path of a program, also where the login's PATH leaves out the system's folders."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")


def underlay() -> dict[str, Any]:
    """The interfaces with global addresses that are not crosshost's, the host's addresses on the way to its default gateways
    (IPv4 first), the networks that it has other routes to, and its name servers: ``{"interfaces": [{"name", "mtu",
    "addresses"}], "default": [...], "routes": [...], "nameservers": [...]}``."""
    with Session() as session:
        host = session.host
        found: dict[int, list[str]] = {}
        for one in host.addresses:
            parsed = ipaddress.ip_address(one.address)
            if not (parsed.is_loopback or parsed.is_link_local):
                found.setdefault(one.ifindex, []).append(one.address)
        interfaces = [
            {"name": link.name, "mtu": link.mtu, "addresses": sorted(found[link.ifindex], key=_is_ipv6)}
            for link in host.links
            if link.ifindex in found and not link.owned
        ]
        routes = _routes(host)
    return {
        "interfaces": interfaces,
        "default": [one for one in map(_source_towards, _FAR) if one],
        "routes": routes,
        "nameservers": resolv.listed(),
    }


def _routes(host: NsView) -> list[str]:
    """Where the host's routes lead that are neither crosshost's nor the default ones. Of a router's, the first thousand."""
    found = {
        route.dst
        for route in host.routes
        if not route.dst.endswith("/0") and not getattr(host.by_index.get(route.dev), "owned", False)
    }
    return sorted(found, key=lambda text: (_is_ipv6(text), text))[:ROUTES_MOST]


def _is_ipv6(address: str) -> bool:
    return ":" in address


def _source_towards(far: tuple[int, str]) -> str:
    family, address = far
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((address, 9))
            return str(sock.getsockname()[0])
    except OSError:
        return ""
