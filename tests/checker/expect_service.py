# SPDX-License-Identifier: GPL-3.0-or-later
"""Services: in each sandbox of the network, a look-up by the virtual address and a draw among the tasks."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable, Mapping
from typing import Any

from .expect import Host, Wanted, sandbox_of
from .rules import by_source, drawn
from .settle import End

_REFUSAL = "ct state in new l4proto == tcp reject tcp reset; ct state in new reject icmpx port-unreachable"


def add_services(spaces: Mapping[str, Wanted], host: Host, ends: list[End]) -> None:
    """Their part of the sandboxes' tables."""
    for place in {sandbox_of(end) for end in ends}:
        near = {end["network"] for end in ends if sandbox_of(end) == place}
        services = [
            one
            for one in host.get("services") or []
            if one["network"] in near and (one.get("vip") or one.get("vip6"))
        ]
        if not services:
            continue
        table = spaces[place].table
        table.base("nat output -100", "ip daddr vmap @service-vip4", "ip6 daddr vmap @service-vip6")
        for version, field in ((4, "vip"), (6, "vip6")):
            elements = table.map(f"service-vip{version}", f"ipv{version}_addr")
            for one in services:
                if one.get(field):
                    family = "ip" if version == 4 else "ip6"
                    to = draw(one.get("tasks") or [], one.get("affinity"), family)
                    chain = f"service-{one['network']}/{one['name']}-{version}"
                    does = f"dnat {family} to {to}" if to else _REFUSAL
                    elements[str(ipaddress.ip_address(one[field]))] = (chain, does)


def draw(tasks: Iterable[Mapping[str, Any]], affinity: Any, family: str) -> str:
    """Who gets which share of the new connections; "" when nobody takes any."""
    shares = {}
    for task in tasks:
        text = task.get("ip" if family == "ip" else "ip6")
        weight = 1 if task.get("weight") is None else int(task["weight"])
        if text and weight:
            shares[str(ipaddress.ip_address(text))] = weight
    if len(shares) < 2:
        return next(iter(shares), "")
    common = math.gcd(*shares.values())
    lowest = {address: weight // common for address, weight in shares.items()}
    return by_source(family, lowest) if affinity == "source" else drawn(lowest)
