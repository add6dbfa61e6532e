# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel objects that crosshost converges, as plain immutable values.

Every resource has an identity (:func:`key`) and attributes. A state is a dict from identity to resource, so that
comparing two states is comparing two dicts. Namespaces are named by a string: ``""`` is the host's own, a bare name is
``/run/netns/<name>``, a string with a slash is the path of a namespace file (``/proc/<pid>/ns/net``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple, Optional, Union

HOST = ""
OWNER = "crosshost"
GROUP = 30840  # IFLA_GROUP of each link that crosshost makes: set by the same message that creates the link ("xx")
ZERO_MAC = "00:00:00:00:00:00"
NFT_TABLE = "crosshost"

Attrs = tuple[tuple[str, Union[str, int]], ...]


class Netns(NamedTuple):
    """A named namespace; ``mark`` is the ifalias of its loopback device, which says whose it is. With ``of``, the path of a
    namespace file, it is one name more for a namespace that exists, and bears no mark of its own."""

    name: str
    mark: str
    of: str = ""


class Peer(NamedTuple):
    """The other end of a veth pair."""

    netns: str
    name: str
    mac: str
    mtu: int


class Link(NamedTuple):
    """A network device. ``attrs`` depend on the kind (sorted pairs); ``port`` holds the bridge port flags that are not
    at the kernel's default (sorted pairs of hairpin, learning, flood, isolated, neigh_suppress). A macvlan's, ipvlan's or vlan's
    ``link`` is a device of the host's namespace, from which it is made."""

    netns: str
    name: str
    kind: str  # bridge | vxlan | veth | macvlan | ipvlan | vlan | dummy
    alias: str
    mtu: int
    mac: str = ""  # "" leaves the kernel's choice
    master: str = ""
    up: bool = True
    attrs: Attrs = ()
    port: Attrs = ()
    peer: Optional[Peer] = None


class Address(NamedTuple):
    netns: str
    dev: str
    address: str
    prefixlen: int


class Route(NamedTuple):
    """A route of the main table; ``dst`` is always a CIDR (``0.0.0.0/0`` and ``::/0`` are the default routes)."""

    netns: str
    dst: str
    dev: str
    gateway: str = ""


class Neighbour(NamedTuple):
    """A permanent neighbour entry."""

    netns: str
    dev: str
    address: str
    mac: str


class FdbEntry(NamedTuple):
    """A permanent forwarding entry: with ``dst`` a row of a VXLAN device, without it a static row of a bridge port."""

    netns: str
    dev: str
    mac: str
    dst: str = ""


class Promiscuous(NamedTuple):
    """A device that takes in every frame because crosshost told it to."""

    netns: str
    dev: str


class Sysctl(NamedTuple):
    """A kernel setting below net/, dotted in the name as in sysctl(8), with slashes inside an interface's name kept."""

    netns: str
    name: str
    value: str


class NftChain(NamedTuple):
    """A chain of the table ``crosshost``; ``rules`` are nft JSON expressions, each dumped as one canonical string. A regular
    chain, one that others jump to, has neither type nor hook."""

    netns: str
    family: str
    name: str
    type: str
    hook: str
    prio: int
    rules: tuple[str, ...]
    policy: str = "accept"


class NftMap(NamedTuple):
    """A verdict map of the table ``crosshost``: from keys of these types to regular chains."""

    netns: str
    family: str
    name: str
    keys: tuple[str, ...]


class NftElement(NamedTuple):
    """An element of a verdict map. ``key`` is its nft JSON as a canonical string, ``target`` the chain that it goes to."""

    netns: str
    family: str
    map: str
    key: str
    target: str


class File(NamedTuple):
    """A file of crosshost's own, written as a whole."""

    path: str
    content: str
    mode: int = 0o644


class Unit(NamedTuple):
    """A systemd unit that runs. ``config`` and ``data`` are digests: of what it was started with, and of what it was last
    told to read. Another config means a restart, other data a reload."""

    name: str
    config: str
    data: str


class Record(NamedTuple):
    """What crosshost remembers of one declared object: the declaration, as canonical JSON."""

    kind: str
    name: str
    config: str


Resource = Union[
    Netns,
    Link,
    Address,
    Route,
    Neighbour,
    FdbEntry,
    Promiscuous,
    Sysctl,
    NftChain,
    NftMap,
    NftElement,
    File,
    Unit,
    Record,
]
Nft = (NftChain, NftMap, NftElement)
Key = tuple[object, ...]
State = dict[Key, Resource]


def key(item: Resource) -> Key:
    """The identity of a resource: two resources with one key are two versions of one object."""
    if isinstance(item, FdbEntry):
        if item.mac == ZERO_MAC:  # the flood list: one entry a destination
            return ("FdbEntry", item.netns, item.dev, item.mac, item.dst)
        return ("FdbEntry", item.netns, item.dev, item.mac)
    if isinstance(item, Neighbour):
        return ("Neighbour", item.netns, item.dev, item.address)
    if isinstance(item, Address):
        return ("Address", *item)
    if isinstance(item, Link):
        return ("Link", item.netns, item.name)
    return _rare_key(item)


def _rare_key(item: Resource) -> Key:
    if isinstance(item, (Netns, Unit)):
        return (type(item).__name__, item.name)
    if isinstance(item, Route):
        return ("Route", item.netns, item.dst)
    if isinstance(item, Promiscuous):
        return ("Promiscuous", *item)
    if isinstance(item, Sysctl):
        return ("Sysctl", item.netns, item.name)
    if isinstance(item, (NftChain, NftMap)):
        return (type(item).__name__, item.netns, item.family, item.name)
    if isinstance(item, NftElement):
        return ("NftElement", item.netns, item.family, item.map, item.key)
    if isinstance(item, File):
        return ("File", item.path)
    assert isinstance(item, Record)
    return ("Record", item.kind, item.name)


def state_of(items: Iterable[Resource]) -> State:
    """Index resources by identity. Two resources with one identity are a fault of the caller: ValueError."""
    found = list(items)
    state: State = {key(item): item for item in found}
    if len(state) < len(found):
        for item in found:
            if state[key(item)] != item:
                raise ValueError(
                    f"two different resources with the identity {key(item)}: {item} and {state[key(item)]}"
                )
    return state


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))  # made once: there are thousands of rules


def nft_name(item: Resource) -> str:
    """The name of a chain or a map, and of an element its map's: it begins with a prefix that says whose it is."""
    if isinstance(item, NftElement):
        return item.map
    return item.name if isinstance(item, (NftChain, NftMap)) else ""


def canonical(expression: object) -> str:
    """An nft rule's expression list as one string, so that rules compare and hash as text."""
    return _ENCODER.encode(expression)


def first_name(link: Link) -> str:
    """The name under which a link comes into its namespace from the host's, whose kernel may refuse a name that a device of
    the host itself has (an older Linux looks it up there)."""
    if link.netns == HOST:
        return link.name
    return "xm" + hashlib.sha256(f"{link.netns} {link.name}".encode()).hexdigest()[:10]


def netns_name(network: str) -> str:
    """The namespace of an overlay network, by its name below /run/netns."""
    return f"xh-{network}"


def mark_of(owner: str) -> str:
    """The ifalias that marks a link or a namespace as crosshost's: ``crosshost:<owner>``."""
    return f"{OWNER}:{owner}"
