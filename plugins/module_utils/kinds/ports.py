# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's ports: which may be given away, and which belong to somebody already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..compile.publish import PREFIX, Ground, Published
from ..errors import CollisionError, HostError
from ..kernel import listeners, sysctl
from ..kernel.session import Session
from ..plan import Op
from ..resources import HOST, NftElement
from ..spec.publish import ANY4, ANY6
from . import mesh

_RANGE_DEFAULT = (49153, 65535)  # as in Docker, where the kernel does not say


def ground() -> Ground:
    """Where ports are chosen from, as this host's settings have it, and who listens now."""
    ends = [int(text) for text in (sysctl.read(HOST, "net.ipv4.ip_local_port_range") or "").split()]
    low, high = (ends[0], ends[1]) if len(ends) == 2 else _RANGE_DEFAULT
    at: dict[tuple[str, int], list[listeners.Listener]] = {}
    for one in listeners.listening():
        at.setdefault((one.protocol, one.port), []).append(one)

    meshed = mesh.ports()

    def free(protocol: str, host_ip: str, port: int) -> bool:
        return (protocol, port) not in meshed and not listeners.conflicts(
            [(protocol, host_ip, port)], at.get((protocol, port), ())
        )

    return Ground(low, high, _reserved(), free)


def _reserved() -> frozenset[int]:
    found: set[int] = set()
    for part in (sysctl.read(HOST, "net.ipv4.ip_local_reserved_ports") or "").split(","):
        first, _, last = part.partition("-")
        if first:
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def refuse_taken_ports(session: Session, ops: Sequence[Op], ports: Iterable[Published]) -> None:
    """CollisionError for a port that is to be published and that a process listens on; HostError when the host does not have
    the address. ``ports``: all that are to be published."""
    new = {
        op.after.target
        for op in ops
        if op.before is None and isinstance(op.after, NftElement) and op.after.map.startswith(PREFIX)
    }
    added = [one for one in ports if one.chain in new]
    if not added:
        return
    _refuse_foreign_addresses(session, added)
    found = listeners.owners({(one.protocol, one.host_ip, one.host_port) for one in added})
    meshed = mesh.ports()
    for one in added:
        if (one.protocol, one.host_port) in meshed:
            raise CollisionError(
                f"endpoint {one.owner}: publish {_said(one)}: the ingress network publishes port {one.host_port} on every host; "
                "publish another port"
            )
        owner = found.get((one.protocol, one.host_ip, one.host_port))
        if owner is not None:
            who = f"process {owner.pid} ({owner.name})" if owner.pid else owner.name
            raise CollisionError(
                f"endpoint {one.owner}: publish {_said(one)}: {who} listens on {owner.address} port {one.host_port}; "
                "publish another port, or stop that"
            )


def _refuse_foreign_addresses(session: Session, ports: Iterable[Published]) -> None:
    own = {info.address for info in session.host.addresses}
    for one in ports:
        address = one.host_ip
        if address in ("", ANY4, ANY6) or address in own or address.startswith("127."):
            continue
        version = "ipv6" if ":" in address else "ipv4"
        if sysctl.read(HOST, f"net.{version}.ip_nonlocal_bind") == "1":
            continue  # an address that comes and goes, as keepalived's
        raise HostError(
            f"endpoint {one.owner}: publish {_said(one)}: this host does not have the address {address}; "
            "publish on one of its own, or on all"
        )


def _said(one: Published) -> str:
    address = f"[{one.host_ip}]:" if ":" in one.host_ip else f"{one.host_ip}:" if one.host_ip else ""
    return f"{address}{one.host_port}:{one.port}/{one.protocol}"
