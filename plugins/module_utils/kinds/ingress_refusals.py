# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an ingress network must not lose and must not take from others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import record
from ..compile import ingress as parts
from ..errors import CollisionError, SpecError
from ..kernel.session import Session
from ..plan import Op
from ..resources import HOST, NftChain, NftElement
from ..spec import fields, ingress
from ..spec.gwbridge import Gwbridge
from ..spec.ingress import Ingress
from ..spec.subnets import Subnet, parse_plain_subnets, parse_subnets
from ..spec.subnets import refuse_overlaps as refuse_two


def refuse_silence(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """A network that is made anew brings its ports back only if they are declared."""
    changed = [field for field in ("name", "subnets", "mtu") if old.get(field) != new.get(field)]
    if changed and old.get("ports") and "ports" not in new:
        remedy = (
            f"the network is made anew, which would withdraw {_shown(old['ports'])}; "
            "declare the ports too (ports: [] for none)"
        )
        raise SpecError(ingress.label(new["name"]), changed[0], new.get(changed[0]), remedy)


def refuse_loss(old: Mapping[str, Any]) -> None:
    """A network does not go while it publishes ports."""
    if old.get("ports"):
        remedy = (
            f"it publishes {_shown(old['ports'])}; withdraw them first (ports: []), or use state overridden"
        )
        raise SpecError(ingress.label(old["name"]), "state", "deleted", remedy)


def _shown(ports: Sequence[Mapping[str, Any]]) -> str:
    keys = [ingress.port_key(port) for port in ports]
    shown = ", ".join(f"{published}/{protocol}" for published, protocol in keys[:5])
    return f"the ports {shown}" + (", ..." if len(keys) > 5 else "")


def refuse_overlaps(one: Ingress, bridges: Iterable[Gwbridge]) -> None:
    """The network's subnets and its name are nobody else's."""
    owners: list[tuple[str, Sequence[Subnet]]] = [(bridge.obj, bridge.subnets) for bridge in bridges]
    for kind, read in (
        ("overlay_network", parse_subnets),
        ("bridge_network", parse_plain_subnets),
        ("macvlan", parse_plain_subnets),
    ):
        for item in record.load(kind):
            label = f"{kind} {item.get('name')}"
            if item.get("name") == one.name:
                remedy = f"{label} has it; networks of all drivers share their names"
                raise SpecError(one.obj, "name", one.name, remedy)
            if item.get("subnets"):
                owners.append((label, read(label, fields.given(item["subnets"]))))
    for owner in owners:
        refuse_two([owner, (one.obj, one.network.subnets)])


def refuse_taken_ports(session: Session, one: Ingress, ops: Sequence[Op]) -> None:
    """A port of the host that somebody has is not taken from him."""
    new = {
        op.after.key
        for op in ops
        if op.before is None
        and isinstance(op.after, NftElement)
        and (op.after.netns, op.after.map) == (HOST, parts.PORTS)
    }
    added = [port for port in one.ports if parts.key_of(port.protocol, port.published) in new]
    if not added:
        return
    from ..kernel import listeners  # late: only a new port needs it
    from ..spec.publish import port_of_chain

    held = listeners.owners({(port.protocol, "", port.published) for port in added})
    chains = (item.name for item in session.nft(HOST) if isinstance(item, NftChain))
    published = {(at[0], at[2]): at[1] for at in map(port_of_chain, chains) if at is not None}
    for port in added:
        owner = held.get((port.protocol, "", port.published))
        if owner is not None:
            who = f"process {owner.pid} ({owner.name})" if owner.pid else owner.name
            raise CollisionError(
                f"{one.obj}: port {port.id}: {who} listens on {owner.address} port {port.published}; "
                "publish another port, or stop that"
            )
        if (port.protocol, port.published) in published:
            where = published[port.protocol, port.published] or "all addresses"
            raise CollisionError(
                f"{one.obj}: port {port.id}: an endpoint of this host publishes it on {where}; publish another port"
            )
