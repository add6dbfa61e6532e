# SPDX-License-Identifier: GPL-3.0-or-later
"""A private world with an ingress network: hosts with a task each, and one host outside that knows nothing of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.converge import Outcome

from . import engine
from .traffic import TCP, UDP, Place, ask, named, outside, server
from .world import Host, World, world

GATEWAYS = {"subnet": "172.30.0.0/16", "subnet6": "fd30::/64"}
WEB = {"name": "web", "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}]}
SUBNETS = [{"subnet": "10.255.0.0/24", "vni": 4096}, {"subnet": "fd55::/64"}]
OTHERS = [{"subnet": "10.254.0.0/24", "vni": 4096}, {"subnet": "fd54::/64"}]
SANDBOX = "crosshost-ingress"
_BLOCKS = {"10.255.0.0/24": ("10.255.0.", "fd55::"), "10.254.0.0/24": ("10.254.0.", "fd54::")}


def address(
    host: int, version: int, task: bool = False, subnets: Sequence[Mapping[str, Any]] = SUBNETS
) -> str:
    """The address of a host's sandbox in the network, or of its task."""
    return f"{_BLOCKS[subnets[0]['subnet']][version == 6]}{(100 if task else 10) + host}"


def pair(host: int, task: bool = False, subnets: Sequence[Mapping[str, Any]] = SUBNETS) -> dict[str, Any]:
    return {"ip": address(host, 4, task, subnets), "ip6": address(host, 6, task, subnets)}


def tasks(weights: Mapping[int, int], subnets: Sequence[Mapping[str, Any]] = SUBNETS) -> list[dict[str, Any]]:
    """The tasks of these hosts, with their weights."""
    return [{**pair(host, True, subnets), "weight": weight} for host, weight in weights.items()]


def port(published: int, target: int, weights: Mapping[int, int], **more: Any) -> dict[str, Any]:
    """A published port with tasks on these hosts."""
    return {
        "published": published,
        "target": target,
        "tasks": tasks(weights, more.pop("subnets", SUBNETS)),
        **more,
    }


class Mesh:
    """``hosts`` have a sandbox ``t<number>`` each; the last host of the world is outside."""

    def __init__(self, made: World) -> None:
        self.world = made
        self.hosts = made.hosts[:-1]
        self.numbers = [host.number for host in self.hosts]
        self.outside = outside(made.hosts[-1])

    def item(self, host: int, ports: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """What a host declares."""
        subnets = more.get("subnets", SUBNETS)
        far = [
            {**pair(other, task, subnets), "vtep": self.world[other].vtep}
            for other in self.numbers
            if other != host
            for task in (False, True)
        ]
        return {
            "subnets": subnets,
            "address": address(host, 4, subnets=subnets),
            "address6": address(host, 6, subnets=subnets),
            "data_path_address": self.world[host].vtep,
            "endpoints": far,
            "legs": [{"name": f"web.t{host}", "sandbox": f"t{host}", **pair(host, True, subnets)}],
            "ports": [self._near(host, dict(one)) for one in ports],
            **more,
        }

    @staticmethod
    def _near(host: int, one: dict[str, Any]) -> dict[str, Any]:
        """Whoever keeps clients' addresses says which tasks are here."""
        if one.get("keep_client_address"):
            mine = [task for task in one["tasks"] if task["ip"] == pair(host, True)["ip"]]
            one["local"] = [{"sandbox": f"t{host}", "weight": task["weight"]} for task in mine]
        return one

    def publish(self, *ports: dict[str, Any], state: str = "overridden", **more: Any) -> list[Outcome]:
        """Let every host publish these ports; a second run has nothing to do."""
        done = []
        for host in self.hosts:
            item = self.item(host.number, ports, **more)
            done.append(host.call(engine.ingress, [item], state))
            again = host.call(engine.ingress, [item], state)
            assert (again.changed, again.commands) == (False, [])
        return done

    def clear(self) -> None:
        for host in self.hosts:
            host.call(engine.ingress, [], "overridden")


def settle(host: Host, netns: str = "") -> None:
    """A new link has no use of IPv6 for a second: duplicate address detection of its link-local address."""
    inside = ("ip", "netns", "exec", netns) if netns else ()
    deadline = time.monotonic() + 5
    while host.run(*inside, "ip", "-6", "addr", "show", "tentative") and time.monotonic() < deadline:
        time.sleep(0.1)


@contextlib.contextmanager
def mesh(hosts: int = 3) -> Iterator[Mesh]:
    """Hosts with a gateway bridge and a sandbox in an overlay."""
    engine.warm()
    with world(hosts + 1) as made:
        found = Mesh(made)
        for host in found.hosts:
            host.call(engine.gwbridges, [GATEWAYS])
            host.call(engine.overlays, [{**WEB, "data_path_address": host.vtep}])
            end = {
                "network": "web",
                "sandbox": f"t{host.number}",
                "create": True,
                "ip": f"10.50.0.1{host.number}",
            }
            host.call(engine.endpoints, [end])
        for host in found.hosts:
            settle(host)
        yield found


@contextlib.contextmanager
def serving(found: Mesh, number: int) -> Iterator[dict[int, Place]]:
    """A server in each host's task, on this port of both families, TCP and UDP; it says its name and who comes."""
    with contextlib.ExitStack() as stack:
        places = {}
        for host in found.hosts:
            (place,) = stack.enter_context(named(host, f"t{host.number}"))
            places[host.number] = place
            for every in ("0.0.0.0", "::"):
                for kind in (TCP, UDP):
                    stack.enter_context(server(place, every, number, kind))
        yield places


def heard(place: Place, target: str, number: int, kind: int = TCP, times: int = 24) -> dict[str, set[str]]:
    """Who answers, asked so many times, each with the clients' addresses that it saw."""
    found: dict[str, set[str]] = {}
    for _ in range(times):
        who, _space, client = ask(place, target, number, kind, timeout=2).partition(" ")
        found.setdefault(who, set()).add(client)
    return found
