# SPDX-License-Identifier: GPL-3.0-or-later
"""A model of the kernel that is stricter than the planner's own: it takes one operation after another and refuses what
a kernel would refuse at that moment. It shares no code with the planner."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from ansible_collections.crosshost.network.plugins.module_utils.plan import Op
from ansible_collections.crosshost.network.plugins.module_utils.resources import (
    Address,
    FdbEntry,
    File,
    Link,
    Neighbour,
    Netns,
    Nft,
    NftChain,
    NftElement,
    NftMap,
    Record,
    Resource,
    Route,
    State,
    Sysctl,
    key,
)

UNDERLAY, NAMED = "eth1", "/run/netns/"
_OF_NO_SPACE = (Netns, File, Record)
_LOOKED_UP = re.compile(r'"@([^"]+)"')


class RefusedError(AssertionError):
    """The operation cannot be carried out in the state that is there at that moment."""


class Kernel:
    """What is there; :meth:`run` changes it."""

    def __init__(self, state: State) -> None:
        self.state = dict(state)

    def run(self, ops: Iterable[Op]) -> State:
        for op in ops:
            self._one(op)
        return self.state

    def _need(self, condition: bool, op: Op, reason: str) -> None:
        if not condition:
            raise RefusedError(f"{op.verb} {op.subject}: {reason}")

    def _one(self, op: Op) -> None:
        item = op.subject
        there = self.state.get(key(item))
        if op.before is None:
            self._need(there is None, op, f"it is there already: {there}")
        else:
            self._need(there == op.before, op, f"the plan takes it for {op.before}, it is {there}")
        if op.after is None:
            self._delete(op)
        else:
            self._write(op, op.after)

    # -- deleting

    def _delete(self, op: Op) -> None:
        item = op.subject
        self._need(not isinstance(item, Sysctl), op, "settings cannot be deleted")
        del self.state[key(item)]
        if isinstance(item, Nft):
            self._unreferenced(op, item)
        if isinstance(item, Netns):
            inside = [
                one
                for one in self._links()
                if one.netns == item.name or (one.peer and one.peer.netns == item.name)
            ]
            late = [one.name for one in inside if one.kind != "bridge"]
            self._need(
                not late, op, f"{late} would go later than the namespace's name, when the kernel gets to it"
            )
            for link in inside:
                del self.state[key(link)]
            self._forget(lambda one: not isinstance(one, _OF_NO_SPACE) and one.netns == item.name)
        elif isinstance(item, Link):
            self._link_gone(item)
        elif isinstance(item, Address):
            self._address_gone(item)

    def _unreferenced(self, op: Op, item: Resource) -> None:
        for other in self.state.values():
            if isinstance(item, NftChain) and isinstance(other, NftElement):
                self._need(other.target != item.name, op, f"an element of {other.map} goes there")
            if isinstance(item, NftMap) and isinstance(other, NftElement):
                self._need(other.map != item.name, op, "it has elements")
            if isinstance(item, NftMap) and isinstance(other, NftChain):
                self._need(
                    not any(f'"@{item.name}"' in rule for rule in other.rules), op, "a rule looks it up"
                )

    def _link_gone(self, link: Link) -> None:
        devices = {(link.netns, link.name)}
        if link.peer:
            devices.add((link.peer.netns, link.peer.name))
        self._forget(
            lambda one: (
                isinstance(one, (Address, Route, Neighbour, FdbEntry)) and (one.netns, one.dev) in devices
            )
        )
        if not link.netns:
            for child in self._links():
                if child.kind == "macvlan" and dict(child.attrs)["link"] == link.name:
                    del self.state[key(child)]
                    self._link_gone(child)
        for port in self._links():
            if port.master == link.name and port.netns == link.netns:
                self.state[key(port)] = port._replace(master="", port=())
                self._rows_of_port_gone(port)

    def _rows_of_port_gone(self, port: Link) -> None:
        self._forget(
            lambda one: (
                isinstance(one, FdbEntry) and not one.dst and (one.netns, one.dev) == (port.netns, port.name)
            )
        )

    def _address_gone(self, item: Address) -> None:
        """IPv4 routes go with the last address of their device (fib_disable_ip)."""
        six = ":" in item.address
        left = [
            one for one in self.state.values() if isinstance(one, Address) and _place(one) == _place(item)
        ]
        if not six and not any(":" not in one.address for one in left):
            self._forget(
                lambda one: isinstance(one, Route) and _place(one) == _place(item) and ":" not in one.dst
            )

    def _forget(self, gone: object) -> None:
        self.state = {k: one for k, one in self.state.items() if not gone(one)}  # type: ignore[operator]

    def _links(self) -> list[Link]:
        return [one for one in self.state.values() if isinstance(one, Link)]

    # -- creating and changing

    def _write(self, op: Op, item: Resource) -> None:
        if not isinstance(item, _OF_NO_SPACE):
            self._need(
                not item.netns or ("Netns", item.netns) in self.state, op, "there is no such namespace"
            )
        if isinstance(item, Link):
            self._link(op, item)
        elif isinstance(item, (Address, Route, Neighbour, FdbEntry)):
            self._row(op, item)
        else:
            assert isinstance(item, (Netns, Sysctl, *Nft, File, Record))
        if isinstance(item, Netns) and item.of.startswith(NAMED):
            target = ("Netns", item.of[len(NAMED) :])
            self._need(target in self.state, op, "there is no namespace that it could be a name of")
        if isinstance(item, NftElement):
            self._need(("NftMap", item.netns, "inet", item.map) in self.state, op, "there is no such map")
            chain = ("NftChain", item.netns, "inet", item.target)
            self._need(chain in self.state, op, "there is no such chain")
        if isinstance(item, NftChain):
            for name in _LOOKED_UP.findall("".join(item.rules)):
                self._need(("NftMap", item.netns, "inet", name) in self.state, op, f"there is no map {name}")
        self.state[key(item)] = item

    def _link(self, op: Op, link: Link) -> None:
        if link.master:
            master = self.state.get(("Link", link.netns, link.master))
            self._need(isinstance(master, Link) and master.kind == "bridge", op, "there is no such bridge")
        if op.before is None:
            self._new_link(op, link)
            return
        before = op.before
        assert isinstance(before, Link)
        self._need(before.kind == link.kind, op, "a link cannot change its kind")
        fixed = link.kind in ("vxlan", "macvlan")
        self._need(not fixed or before.attrs == link.attrs, op, "the attributes are fixed")
        self._need(_ends(before) == _ends(link), op, "a pair cannot move")
        if before.master != link.master:
            self._rows_of_port_gone(link)

    def _new_link(self, op: Op, link: Link) -> None:
        taken = {(one.netns, one.name) for one in self._links()}
        taken |= {(one.peer.netns, one.peer.name) for one in self._links() if one.peer}
        self._need((link.netns, link.name) not in taken, op, "the name is taken")
        if link.peer:
            self._need((link.peer.netns, link.peer.name) not in taken, op, "the peer's name is taken")
            there = not link.peer.netns or ("Netns", link.peer.netns) in self.state
            self._need(there, op, "there is no namespace for the peer")
        if link.kind == "macvlan":
            parent = dict(link.attrs)["link"]
            there = parent == UNDERLAY or ("Link", "", parent) in self.state
            self._need(there, op, "there is no such device")
        if link.kind == "vxlan":
            mine = dict(link.attrs)
            for other in self._links():
                theirs = dict(other.attrs)
                same = other.kind == "vxlan" and (theirs["id"], theirs["port"]) == (mine["id"], mine["port"])
                self._need(not same, op, f"{other.name} has this VNI")

    def _row(self, op: Op, item: Address | Route | Neighbour | FdbEntry) -> None:
        device: Link | None = None
        found = False
        for link in self._links():
            if (link.netns, link.name) == _place(item):
                device, found = link, True
            elif link.peer and (link.peer.netns, link.peer.name) == _place(item):
                found = True
        self._need(found, op, "there is no such device")
        if isinstance(item, FdbEntry):
            if item.dst:
                self._need(device is not None and device.kind == "vxlan", op, "the device is no tunnel")
            else:
                self._need(device is not None and bool(device.master), op, "the device is no bridge port")
        if isinstance(item, Route) and item.gateway:
            gateway = ipaddress.ip_address(item.gateway)
            blocks = [
                ipaddress.ip_interface(f"{one.address}/{one.prefixlen}").network
                for one in self.state.values()
                if isinstance(one, Address) and _place(one) == _place(item)
            ]
            self._need(any(gateway in block for block in blocks), op, "the gateway cannot be reached")


def _place(item: Address | Route | Neighbour | FdbEntry) -> tuple[str, str]:
    return item.netns, item.dev


def _ends(link: Link) -> tuple[str, str] | None:
    return (link.peer.netns, link.peer.name) if link.peer else None
