# SPDX-License-Identifier: GPL-3.0-or-later
"""Random valid states: what crosshost can want a host to be. Seeded; :mod:`.shrinking` makes them smaller.

``wide`` states also hold what the planner must treat rightly though no compiler makes it today (links that are down,
tunnels in the host's namespace, rows of every device), files, and second names of namespaces; states that are not wide can be put into a real kernel.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator

from ansible_collections.crosshost.network.plugins.module_utils.resources import (
    HOST,
    ZERO_MAC,
    Address,
    FdbEntry,
    File,
    Link,
    Neighbour,
    Netns,
    NftChain,
    NftElement,
    NftMap,
    Peer,
    Record,
    Resource,
    Route,
    State,
    Sysctl,
    state_of,
)

from .shrinking import NAMED, UNDERLAY, without

NETWORKS, SANDBOXES = ("a", "b", "c"), ("box1", "box2")
SETTINGS = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
VTEPS = ("10.98.0.2", "10.98.0.3", "10.98.0.4")
BRIDGE_ATTRS = ((("default_pvid", 0), ("mcast_snooping", 0)), (("default_pvid", 0), ("mcast_snooping", 1)))
_PORTS = (
    (),
    (("learning", 0),),
    (("neigh_suppress", 1),),
    (("flood", 0), ("learning", 0)),
    (("isolated", 1),),
)
_MAPS = {"at": ("ipv4_addr",), "ports": ("inet_proto", "inet_service")}
_LEFT = {
    "at": {"payload": {"protocol": "ip", "field": "daddr"}},
    "ports": {"concat": [{"meta": {"key": "l4proto"}}, {"payload": {"protocol": "th", "field": "dport"}}]},
}
_KEYS: dict[str, Callable[[int], str]] = {
    "at": lambda number: f'"10.9.0.{number + 1}"',
    "ports": lambda number: f'{{"concat":["{("tcp", "udp")[number % 2]}",{8000 + number}]}}',
}
_HOOKS = (("nat", "postrouting", 100), ("filter", "forward", 0))


def pair(seed: int, wide: bool) -> tuple[State, State]:
    """Two states between which a plan may be asked for: settings of common namespaces are in both."""
    chance = random.Random(seed)  # noqa: S311  (no secret)
    settings = {
        netns: [name for name in SETTINGS if chance.random() < 0.4]
        for netns in (HOST, *(f"xh-{name}" for name in NETWORKS))
    }
    first = Builder(chance, wide, settings).build()
    kind = chance.random()
    if kind < 0.4:
        second = _neighbour_of(state_of(first), chance)
        return (second, state_of(first)) if chance.random() < 0.5 else (state_of(first), second)
    keep = [item for item in first if chance.random() < 0.8] if kind < 0.7 else []
    return state_of(first), state_of(Builder(chance, wide, settings, keep).build())


def _neighbour_of(state: State, chance: random.Random) -> State:
    """The state with a few resources left out and a few links changed."""
    for identity in chance.sample(list(state), min(len(state), chance.randrange(7))):
        if identity in state and identity[0] != "Sysctl":
            state = without(state, identity)
    bridges = [item for item in state.values() if isinstance(item, Link) and item.kind == "bridge"]
    for identity, item in list(state.items()):
        # a bridge of 1500 bytes, the kernel's default, takes the least MTU of its ports
        if isinstance(item, Link) and item.master != "gwb" and chance.random() < 0.2:
            masters = [one.name for one in bridges if one.netns == item.netns] if item.master else [""]
            state[identity] = item._replace(
                mtu=chance.choice((1400, item.mtu)), master=chance.choice(masters)
            )
    return state


class Builder:
    """Puts a state together, never anything on what is not there. ``keep`` are resources to take over where valid."""

    def __init__(
        self,
        chance: random.Random,
        wide: bool,
        settings: dict[str, list[str]],
        keep: list[Resource] | None = None,
    ) -> None:
        self._chance = chance
        self._wide = wide
        self._settings = settings
        self._keep = keep or []

    def build(self) -> list[Resource]:
        chance = self._chance
        networks = [name for name in NETWORKS if chance.random() < 0.6]
        boxes = [name for name in SANDBOXES if chance.random() < 0.6]
        items: list[Resource] = [Netns(f"xh-{name}", f"crosshost:{name}") for name in networks]
        items += [Netns(name, "crosshost:sandbox") for name in boxes]
        if self._wide and chance.random() < 0.2:
            items = [
                item._replace(mark="crosshost:old") if isinstance(item, Netns) else item for item in items
            ]
        places = [f"xh-{name}" for name in networks]
        for netns in [HOST, *places]:
            items += [Sysctl(netns, name, str(chance.randrange(2))) for name in self._settings[netns]]
        for place, netns in enumerate(places):
            items += self._network(netns, netns[3:], place)
        if chance.random() < 0.4:
            items += self._gateway_bridge()
        for netns in [HOST, *places]:
            items += self._joined(netns, boxes, items)
        for number, box in enumerate(boxes):
            if chance.random() < 0.4:
                items += self._child(box, number, items)
        items += self._chains()
        if self._wide:
            items += [
                Record("overlay_network", name, json.dumps({"name": name, "n": chance.randrange(2)}))
                for name in networks
            ]
            items += self._beside(boxes)
            if chance.random() < 0.2:
                items += self._tunnel(HOST, "a", 90 + chance.randrange(2), "", 1400)
        return self._settled(items)

    def _settled(self, items: list[Resource]) -> list[Resource]:
        """With rows and addresses of the kept state where their device is still the same one."""
        found = state_of(items)
        for item in self._keep:
            if not isinstance(item, (FdbEntry, Neighbour)):
                continue
            link = found.get(("Link", item.netns, item.dev))
            of_tunnel = isinstance(item, Neighbour) or bool(item.dst)
            if isinstance(link, Link) and (link.kind == "vxlan" if of_tunnel else bool(link.master)):
                found.setdefault(_identity(item), item)
        return list(found.values())

    def _network(self, netns: str, name: str, place: int) -> Iterator[Resource]:
        chance = self._chance
        for segment in range(chance.randrange(1, 3)):
            vni = 10 * (place + 1) + segment + (chance.random() < 0.2) * 2
            mtu = chance.choice((1450, 1430))
            bridge = f"br{vni}"
            mac = f"5a:00:00:00:00:{vni:02x}" if chance.random() < 0.9 else f"5a:00:00:00:01:{vni:02x}"
            yield Link(
                netns,
                bridge,
                "bridge",
                f"crosshost:{name}",
                mtu,
                mac,
                attrs=chance.choice(BRIDGE_ATTRS),
                up=self._up(),
            )
            if chance.random() < 0.8:
                yield Address(netns, bridge, f"10.{vni}.0.{chance.choice((1, 254))}", chance.choice((16, 24)))
            if chance.random() < 0.4:
                yield Address(netns, bridge, f"fd{vni}::1", 64)
            master = bridge if not self._wide or chance.random() < 0.9 else ""
            yield from self._tunnel(netns, name, vni, master, mtu)

    def _up(self) -> bool:
        return not self._wide or self._chance.random() < 0.9

    def _tunnel(self, netns: str, name: str, vni: int, master: str, mtu: int) -> Iterator[Resource]:
        chance = self._chance
        static = chance.random() < 0.5
        attrs: dict[str, str | int] = {
            "id": vni,
            "learning": 0 if static else 1,
            "local": "10.98.0.1",
            "port": chance.choice((4789, 4789, 4790)),
            "proxy": 1 if static else 0,
        }
        if not static and chance.random() < 0.3:
            attrs.update(group="239.1.1.1", dev="eth1")
        dev = f"vx{vni}"
        port = chance.choice(_PORTS) if master else ()
        yield Link(
            netns,
            dev,
            "vxlan",
            f"crosshost:{name}",
            mtu,
            "",
            master,
            self._up(),
            tuple(sorted(attrs.items())),
            port,
        )
        yield from self._rows(netns, dev, vni)

    def _rows(self, netns: str, dev: str, vni: int) -> Iterator[Resource]:
        chance = self._chance
        for number in range(2, 2 + chance.randrange(4)):
            mac = f"02:42:0a:{vni:02x}:00:{number:02x}"
            if chance.random() < 0.8:
                yield FdbEntry(netns, dev, mac, chance.choice(VTEPS))
            if chance.random() < 0.8:
                near = mac if chance.random() < 0.8 else f"02:42:0b:{vni:02x}:00:{number:02x}"
                yield Neighbour(netns, dev, f"10.{vni}.0.{number}", near)
            if chance.random() < 0.3:
                yield Neighbour(netns, dev, f"fd{vni}::{number}", mac)
        for vtep in VTEPS:
            if chance.random() < 0.2:
                yield FdbEntry(netns, dev, ZERO_MAC, vtep)

    def _gateway_bridge(self) -> Iterator[Resource]:
        chance = self._chance
        attrs = chance.choice(BRIDGE_ATTRS)
        yield Link(
            HOST,
            "gwb",
            "bridge",
            "crosshost:gwbridge",
            chance.choice((1500, 1400)),
            "5a:00:00:00:09:09",
            attrs=attrs,
        )
        yield Address(HOST, "gwb", f"172.30.0.{chance.choice((1, 2))}", 24)

    def _joined(self, netns: str, boxes: list[str], items: list[Resource]) -> list[Resource]:
        """Pairs from this namespace into sandboxes, with what is on both ends."""
        chance = self._chance
        bridges = [
            item for item in items if isinstance(item, Link) and item.netns == netns and item.kind == "bridge"
        ]
        found: list[Resource] = []
        for number, box in enumerate(boxes):
            if not bridges or chance.random() < 0.4:
                continue
            bridge = chance.choice(bridges)
            name = f"ve{netns[3:]}{number}" if netns else f"vg{number}"
            inner = (f"eth{netns[3:]}" if netns else "gw0") + (
                "x" if self._wide and chance.random() < 0.1 else ""
            )
            block = "172.30.0" if not netns else f"10.{bridge.name[2:]}.0"
            last = chance.choice((20, 21))
            fixed = chance.random() < 0.5  # the MAC stays the same whatever the address
            mac = (
                f"02:42:0f:00:{number:02x}:{ord(netns[3]) if netns else 0:02x}"
                if fixed
                else f"02:42:0f:01:{number:02x}:{last:02x}"
            )
            peer = Peer(box, inner, mac, bridge.mtu)
            alias = f"crosshost:{netns[3:] or 'gwbridge'}/{box}"
            port = chance.choice(_PORTS)
            found.append(
                Link(
                    netns, name, "veth", alias, bridge.mtu, "", bridge.name, self._up(), port=port, peer=peer
                )
            )
            found.append(Address(box, inner, f"{block}.{last}", 24))
            if netns and chance.random() < 0.7:
                found.append(FdbEntry(netns, name, mac))
            elif netns and self._wide:
                found.append(FdbEntry(netns, name, f"02:42:0e:00:00:{number:02x}"))
            found += self._routes(box, inner, block, netns)
        return found

    def _routes(self, box: str, inner: str, block: str, netns: str) -> Iterator[Resource]:
        chance = self._chance
        far = 200 + (ord(netns[3]) - ord("a") if netns else 9)
        if not netns and chance.random() < 0.8:
            yield Route(box, "0.0.0.0/0", inner, f"{block}.{chance.choice((1, 2))}")
        if chance.random() < 0.4:
            yield Route(box, f"10.{far}.0.0/24", inner, f"{block}.1" if chance.random() < 0.5 else "")
        if chance.random() < 0.3:
            yield Address(box, inner, f"fd00:{far}::20", 64)
            yield Route(box, f"fd00:{far + 20}::/64", inner, f"fd00:{far}::{chance.choice((1, 2))}")

    def _child(self, box: str, number: int, items: list[Resource]) -> Iterator[Resource]:
        """A macvlan in a sandbox, on the underlay or on the gateway bridge."""
        chance = self._chance
        bridges = [item.name for item in items if isinstance(item, Link) and item.name == "gwb"]
        parent = chance.choice((UNDERLAY, *bridges))
        # a child's MTU is at most its parent's, which may become less
        mtu = chance.choice((1500, 1400)) if parent == UNDERLAY else 1400
        mac = f"02:42:0d:00:{number:02x}:{chance.choice((20, 21)):02x}"
        attrs = (("link", parent), ("mode", chance.choice(("bridge", "private"))))
        yield Link(box, "lan0", "macvlan", f"crosshost:lan/{box}", mtu, mac, up=self._up(), attrs=attrs)
        yield Address(box, "lan0", f"10.99.0.{chance.choice((20, 21))}", 24)
        yield from self._routes(box, "lan0", "10.99.0", "xh-d")

    def _beside(self, boxes: list[str]) -> Iterator[Resource]:
        chance = self._chance
        for name in ("one", "other"):
            if chance.random() < 0.3:
                yield File(f"/run/crosshost/{name}", f"{chance.randrange(2)}\n")
        if chance.random() < 0.3:
            target = chance.choice(("/proc/self/ns/net", *(f"{NAMED}{box}" for box in boxes)))
            yield Netns("twin", "", target)

    def _chains(self) -> Iterator[Resource]:
        chance = self._chance
        targets = [f"to-{number}" for number in range(4) if chance.random() < 0.4]
        for name in targets:
            rules = [_rule(chance) for _ in range(chance.randrange(2))]
            yield NftChain(HOST, "inet", name, "", "", 0, tuple(rules))
        maps = [(name, keys) for name, keys in _MAPS.items() if targets and chance.random() < 0.5]
        for name, keys in maps:
            yield NftMap(HOST, "inet", name, keys)
            for number in range(4):
                if chance.random() < 0.5:
                    yield NftElement(HOST, "inet", name, _KEYS[name](number), chance.choice(targets))
        for kind, hook, prio in _HOOKS:
            if chance.random() < 0.3:
                rules = [_rule(chance) for _ in range(chance.randrange(3))]
                rules += [_look_up(name) for name, _keys in maps if chance.random() < 0.5]
                yield NftChain(HOST, "inet", f"gwb-{kind}", kind, hook, prio, tuple(rules))


def _look_up(name: str) -> str:
    return _json([{"vmap": {"key": _LEFT[name], "data": f"@{name}"}}])


def _rule(chance: random.Random) -> str:
    match = {
        "match": {"op": chance.choice(("==", "!=")), "left": {"meta": {"key": "oifname"}}, "right": "gwb"}
    }
    prefix = {"prefix": {"addr": f"10.{chance.randrange(9)}.0.0", "len": 16}}
    source = {
        "match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": prefix}
    }
    return _json([match, source, {"accept": None}])


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _identity(item: Resource) -> tuple[object, ...]:
    return next(iter(state_of([item])))
