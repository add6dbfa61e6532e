# SPDX-License-Identifier: GPL-3.0-or-later
"""The pools that there are without anybody making one, and which pool serves which purpose."""

from __future__ import annotations

import ipaddress
import secrets

from ..db.engine import WriteSession
from . import store, store_read, store_scopes
from .models import CLUSTER, Pool
from .values import PORT_MOST, VNI_MOST, address_slots, bits_of, network_value, packed, subnet_unit

DECLARED = "declared"
LEAVING = "leaving"
# Docker counts its VNIs up from 4096.
VNI_FIRST = 2**20 + 1
# Kubernetes' range of node ports: below those that Linux takes for connections of its own.
PORT_FIRST, PORT_LAST = 30000, 32767
LENGTHS = {4: 24, 6: 64}  # of a subnet, if its pool does not say it

# by purpose: the kind, the version, and whose pools serve it, one after the other
KINDS: dict[str, tuple[str, int]] = {
    **{f"{word}{version}": ("subnet", version) for word in ("overlay", "bridge", "gwbridge", "ingress") for version in (4, 6)},
    "lan": ("subnet", 0),
    "vni": ("vni", 0),
    "port": ("port", 0),
    "address": ("address", 0),
}  # fmt: skip
SERVED_BY: dict[str, tuple[str, ...]] = {
    **{f"{word}{version}": (f"{word}{version}", f"network{version}") for word in ("overlay", "bridge", "ingress") for version in (4, 6)},
    "gwbridge4": ("gwbridge4",),
    "gwbridge6": ("gwbridge6", "network6"),
    "vni": ("vni",),
    "port": ("port",),
}  # fmt: skip
POOL_PURPOSES: dict[str, tuple[str, int]] = {
    "network4": ("subnet", 4),
    "network6": ("subnet", 6),
    **{purpose: kind for purpose, kind in KINDS.items() if purpose not in ("lan", "address")},
}


def ensure_defaults(s: WriteSession) -> None:
    """Make the scope of the cluster with its pools, if there is none. Pools that somebody deletes stay deleted."""
    if store_read.scope(s, CLUSTER) is not None:
        return
    scope_id = store_scopes.add_scope(s, CLUSTER)
    private = ipaddress.IPv6Network((bytes([0xFD]) + secrets.token_bytes(5) + bytes(10), 48))
    for name, cidr, purpose, length in (
        ("networks IPv4", "10.0.0.0/8", "network4", 24),
        ("gateway bridges IPv4", "172.16.0.0/12", "gwbridge4", 16),
        ("networks IPv6", str(private), "network6", 64),
    ):
        found = subnet_pool(scope_id, name, cidr, length, purpose)
        if purpose == "network6":
            found.note = "a private prefix of this installation's own, drawn at random (RFC 4193)"
        store.add_pool(s, found)
    numbers = ((1, VNI_FIRST - 1, ""), (VNI_FIRST, VNI_MOST, "vni"))
    for first, last, purpose in numbers:
        name = f"VNIs {first}-{last}"
        store.add_pool(s, number_pool(scope_id, name, "vni", "", first, last, purpose))
    for protocol in ("tcp", "udp"):
        ensure_ports(s, scope_id, protocol)


def ensure_ports(s: WriteSession, scope_id: int, protocol: str) -> None:
    """Make a scope's pools of the host ports of a protocol, unless it has any."""
    if store_read.has_ports(s, scope_id, protocol):
        return
    parts = ((1, PORT_FIRST - 1, ""), (PORT_FIRST, PORT_LAST, "port"), (PORT_LAST + 1, PORT_MOST, ""))
    for first, last, purpose in parts:
        name = f"{protocol} ports {first}-{last}"
        store.add_pool(s, number_pool(scope_id, name, "port", protocol, first, last, purpose))


def subnet_pool(scope_id: int, name: str, cidr: str, length: int, purpose: str, unit: int = 0) -> Pool:
    """A pool that is cut into subnets, of ``length`` if nobody says another one; ``unit``: the smallest, 0: as small as can be.
    ValueError if the CIDR block is not one."""
    value = network_value("subnet", cidr)
    whole = prefix_length(cidr)
    found = Pool(
        scope_id=scope_id, name=name, kind="subnet", purpose=purpose, cidr=cidr, length=length,
        unit=unit or subnet_unit(value.version, whole),
    )  # fmt: skip
    found.size = 1 << (found.unit - whole)
    return _addressed(found, value.version, value.first, value.last)


def address_pool(scope_id: int, name: str, cidr: str, block_id: int | None) -> Pool:
    """The pool of the addresses of a subnet."""
    value = network_value("address", cidr)
    size = address_slots(value.version, prefix_length(cidr))
    found = Pool(
        scope_id=scope_id, name=name, kind="address", cidr=cidr, unit=bits_of(value.version),
        block_id=block_id, size=size,
    )  # fmt: skip
    return _addressed(found, value.version, value.first, value.last)


def number_pool(
    scope_id: int, name: str, kind: str, protocol: str, first: int, last: int, purpose: str
) -> Pool:
    """A pool of VNIs or ports."""
    return Pool(
        scope_id=scope_id, name=name, kind=kind, protocol=protocol, purpose=purpose, first_value=first,
        size=last - first + 1,
    )  # fmt: skip


def prefix_length(cidr: str) -> int:
    return int(cidr.rpartition("/")[2])


def _addressed(found: Pool, version: int, first: int, last: int) -> Pool:
    found.version = version
    found.base, found.top = packed(version, first), packed(version, last)
    return found
