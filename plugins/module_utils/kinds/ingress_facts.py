# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is of the ingress network on this host."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..compile.ingress import PORTS
from ..kernel import observe
from ..kernel.session import Session
from ..resources import HOST, NftElement, netns_name
from ..spec.ingress import SANDBOX
from .ingress import IngressKind


def facts(session: Session, recorded: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The network that is recorded and the one that the kernel has; as a rule they are the same."""
    kind = IngressKind()
    configs = {kind.key(item): item for item in recorded}
    present = kind.owned(session)
    view = session.view(SANDBOX)
    found = []
    for name in dict.fromkeys([*configs, *present]):
        here = view if name in present else None
        legs = [pair.outer.alias.partition("/")[2] for pair in observe.pairs(session, [netns_name(name)], [])]
        found.append(
            {
                "name": name,
                "namespace": netns_name(name),
                "sandbox": SANDBOX,
                "present": name in present,
                "config": configs.get(name),
                "addresses": [
                    f"{one.address}/{one.prefixlen}"
                    for one in (here.addresses if here else ())
                    if here and here.by_index[one.ifindex].kind == "veth"
                ],
                "ports": sorted(_published(session)),
                "legs": sorted(leg for leg in legs if leg != SANDBOX),
            }
        )
    return found


def _published(session: Session) -> Iterator[str]:
    for item in session.nft(HOST):
        if isinstance(item, NftElement) and item.map == PORTS:
            protocol, port = json.loads(item.key)["concat"]
            yield f"{port}/{protocol}"
