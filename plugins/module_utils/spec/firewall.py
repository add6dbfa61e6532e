# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The specification of `firewall_ports`: which ports a host opens, and to whom; whose forwarded traffic passes.

Pure: no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any, NamedTuple, Optional, Union

from ..errors import SpecError
from . import fields

MODULE = "firewall_ports"
BACKENDS = ("firewalld", "ufw", "nftables", "iptables")
STATES = ("merged", "replaced", "overridden", "deleted", "gathered", "rendered")
PROTOCOLS = ("tcp", "udp", "sctp")
DEFAULT_NAME = "crosshost"
DEFAULT_PORTS = ("2377/tcp", "7946/tcp", "7946/udp", "4789/udp")
# IANA's VXLAN port, and the one that Linux used before the assignment.
VXLAN_PORTS = (4789, 8472)
WORLD = {4: "0.0.0.0/0", 6: "::/0"}

_NAME = re.compile(r"[a-z0-9_-]{1,32}\Z")
_PORT = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?/([A-Za-z0-9]+)\Z")
# What firewalld accepts as a zone and the kernel as an interface; both go into argument lists.
_ZONE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_/.-]{0,63}\Z")
_INTERFACE = re.compile(r"[^\s/:-][^\s/:]{0,14}\Z")

Network = Union[IPv4Network, IPv6Network]


class Port(NamedTuple):
    """Ports `first` to `last` (both included) of one transport protocol; prints as `2377/tcp`."""

    protocol: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.text('-')}/{self.protocol}"

    def text(self, dash: str) -> str:
        """The number or the range without its protocol, as a firewall writes it with this `dash`."""
        return str(self.first) if self.first == self.last else f"{self.first}{dash}{self.last}"


class RuleSet(NamedTuple):
    """A named set of rules, normalised. `sources` holds canonical addresses and CIDR blocks, /0 for "anyone"."""

    name: str
    ports: tuple[Port, ...]
    esp: bool
    sources: tuple[str, ...]
    zone: Optional[str] = None

    @property
    def open_to_world(self) -> bool:
        return any(self.world(family) for family in (4, 6))

    def world(self, family: int) -> bool:
        """Whether everyone of that IP version (4 or 6) is let in."""
        return WORLD[family] in self.sources

    def of_family(self, family: int) -> tuple[str, ...]:
        """The sources of one IP version, 4 or 6."""
        return tuple(s for s in self.sources if (":" in s) == (family == 6))

    def protocols(self) -> tuple[str, ...]:
        return tuple(p for p in PROTOCOLS if any(port.protocol == p for port in self.ports))

    def ports_of(self, protocol: str) -> tuple[Port, ...]:
        return tuple(port for port in self.ports if port.protocol == protocol)

    def as_dict(self) -> dict[str, Any]:
        """The shape of a `config` item, as `before` and `after` show it."""
        out: dict[str, Any] = {
            "name": self.name,
            "ports": [str(p) for p in self.ports],
            "esp": self.esp,
            "sources": list(self.sources),
            "open_to_world": self.open_to_world,
        }
        if self.zone is not None:
            out["zone"] = self.zone
        return out


class Wanted(NamedTuple):
    """A `config` item as it was written: None marks what the operator left out."""

    name: str
    ports: Optional[tuple[Port, ...]] = None
    esp: Optional[bool] = None
    sources: Optional[tuple[str, ...]] = None
    open_to_world: Optional[bool] = None
    zone: Optional[str] = None
    interface: Optional[str] = None


class Spec(NamedTuple):
    """`forwards`: the interfaces of `forward_interfaces`; None marks that the operator left it out."""

    backend: str
    state: str
    config: tuple[Wanted, ...]
    forwards: Optional[frozenset[str]] = None


def normalise_ports(ports: Iterable[Port]) -> tuple[Port, ...]:
    """Sorted by protocol and number; overlapping and adjacent ranges become one, as nftables lists them."""
    out: list[Port] = []
    for port in sorted(set(ports), key=lambda p: (PROTOCOLS.index(p.protocol), p.first, p.last)):
        if out and out[-1].protocol == port.protocol and port.first <= out[-1].last + 1:
            out[-1] = out[-1]._replace(last=max(out[-1].last, port.last))
        else:
            out.append(port)
    return tuple(out)


def text_of(net: Network) -> str:
    """A host as a bare address, a network with its prefix length."""
    return str(net.network_address) if net.prefixlen == net.max_prefixlen else str(net)


def collapse(sources: Iterable[str]) -> tuple[Network, ...]:
    """The least list of networks that covers the same addresses, IPv4 first, each version sorted."""
    nets = [ip_network(s) for s in sources]
    four = [n for n in nets if isinstance(n, IPv4Network)]
    six = [n for n in nets if isinstance(n, IPv6Network)]
    return (*collapse_addresses(four), *collapse_addresses(six))


def in_order(nets: Iterable[Network]) -> list[Network]:
    """IPv4 first, by address, the wider of two with one address first."""
    return sorted(nets, key=lambda n: (n.version, int(n.network_address), n.prefixlen))


def normalise_sources(sources: Iterable[str]) -> tuple[str, ...]:
    """Sorted, without duplicates and without what a wider entry covers; two halves of everything are /0."""
    nets = in_order(ip_network(s) for s in set(sources))
    everything = {n.version: n for n in collapse(text_of(n) for n in nets) if n.prefixlen == 0}
    kept: list[Network] = []
    for net in (everything.get(n.version, n) for n in nets):
        # In this order, a net that is covered at all is covered by the last one that was kept.
        last = kept[-1] if kept else None
        if (
            last is None
            or last.version != net.version
            or int(net.network_address) > int(last.broadcast_address)
        ):
            kept.append(net)
    return tuple(text_of(n) for n in kept)


def parse_port(obj: str, value: Any) -> Port:
    """`2377/tcp` or `30000-30100/tcp`."""
    match = _PORT.match(str(value))
    if not match:
        raise SpecError(obj, "ports", value, "write PORT/PROTOCOL or FIRST-LAST/PROTOCOL, like 7946/udp")
    first, last, protocol = int(match[1]), int(match[2] or match[1]), match[3].lower()
    if protocol not in PROTOCOLS:
        hint = "; ESP is a protocol without ports: set esp: true" if protocol == "esp" else ""
        raise SpecError(obj, "ports", value, f"the protocol must be one of {', '.join(PROTOCOLS)}{hint}")
    for number in (first, last):
        if not 1 <= number <= 65535:
            raise SpecError(obj, "ports", value, "a port is a number from 1 to 65535")
    if first > last:
        raise SpecError(obj, "ports", value, f"the range runs backwards: write {last}-{first}/{protocol}")
    return Port(protocol, first, last)


def parse_source(obj: str, value: Any) -> str:
    """An IPv4 or IPv6 address or CIDR block, in canonical text."""
    text = str(value).strip()
    try:
        net = ip_network(text, strict=False)
    except ValueError:
        raise SpecError(
            obj,
            "sources",
            value,
            "give an IPv4 or IPv6 address or a CIDR block, like 10.98.0.0/24 or fd98::/64",
        ) from None
    if "%" in text:
        raise SpecError(
            obj, "sources", value, "leave out the %interface: a firewall rule knows addresses only"
        )
    if (
        "/" in text
        and text.split("/")[0]
        and ip_network(text.split("/")[0]).network_address != net.network_address
    ):
        raise SpecError(
            obj,
            "sources",
            value,
            f"host bits are set: write the network {net}, or the address {text.split('/')[0]}",
        )
    mapped = getattr(net.network_address, "ipv4_mapped", None)
    if mapped is not None:
        raise SpecError(obj, "sources", value, f"an IPv4-mapped address never is on the wire: write {mapped}")
    return text_of(net)


def refuse_world(obj: str, ports: Sequence[Port], esp: bool, sources: Sequence[str]) -> None:
    """Raise SpecError: `sources` lets anyone in and `open_to_world` was not given."""
    what = "is empty, which would let anyone in" if not sources else "lets anyone in"
    vxlan = next(
        (str(p) for p in ports if p.protocol == "udp" and any(p.first <= v <= p.last for v in VXLAN_PORTS)),
        None,
    )
    if vxlan:
        why = f"{vxlan} is VXLAN, which has no authentication: who can send to it injects frames into every overlay"
    elif esp:
        why = "ESP from anyone lets strangers spend this host's time on decryption"
    else:
        why = "ports stay closed unless a source is named"
    raise SpecError(
        obj, "sources", list(sources), f"{what}; {why}; name the peers, or set open_to_world: true"
    )


def _strings(obj: str, field: str, value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise SpecError(obj, field, value, "give a list")
    return list(value)


def _flag(obj: str, field: str, value: Any) -> Optional[bool]:
    if value is not None and not isinstance(value, bool):
        raise SpecError(obj, field, value, "give true or false")
    return value


def _matching(obj: str, field: str, value: Any, pattern: re.Pattern[str], remedy: str) -> Optional[str]:
    if value is not None and not (isinstance(value, str) and pattern.match(value)):
        raise SpecError(obj, field, value, remedy)
    return value


def parse_item(item: Mapping[str, Any], names_only: bool = False) -> Wanted:
    """One `config` item. With `names_only` (state `deleted`) the rest of it is not looked at."""
    name = item.get("name")
    name = DEFAULT_NAME if name is None else name
    if not isinstance(name, str) or not _NAME.match(name):
        raise SpecError(MODULE, "name", name, "use 1 to 32 of the characters a-z 0-9 _ -")
    if names_only:
        return Wanted(name)
    obj = f"{MODULE} {name}"
    ports = sources = None
    if item.get("ports") is not None:
        ports = normalise_ports(parse_port(obj, p) for p in _strings(obj, "ports", item["ports"]))
    if item.get("sources") is not None:
        sources = normalise_sources([parse_source(obj, s) for s in _strings(obj, "sources", item["sources"])])
    wanted = Wanted(
        name,
        ports,
        _flag(obj, "esp", item.get("esp")),
        sources,
        _flag(obj, "open_to_world", item.get("open_to_world")),
        _matching(obj, "zone", item.get("zone"), _ZONE, "this cannot be the name of a firewalld zone"),
        _matching(
            obj, "interface", item.get("interface"), _INTERFACE, "this cannot be the name of an interface"
        ),
    )
    _check_open(obj, wanted)
    return wanted


def _check_open(obj: str, wanted: Wanted) -> None:
    """What can be told about sources and open_to_world before the host is looked at."""
    if wanted.sources is None:
        return
    anyone = not wanted.sources or any(w in wanted.sources for w in WORLD.values())
    if anyone and not wanted.open_to_world:
        ports = wanted.ports if wanted.ports is not None else _default_ports()
        refuse_world(obj, ports, bool(wanted.esp), wanted.sources)
    if wanted.open_to_world and not anyone:
        raise SpecError(
            obj,
            "open_to_world",
            True,
            "sources names who may come: leave out sources, or set open_to_world: false",
        )


def _default_ports() -> tuple[Port, ...]:
    return normalise_ports(parse_port(MODULE, p) for p in DEFAULT_PORTS)


def parse(params: Mapping[str, Any]) -> Spec:
    """The module's options, checked. Raises SpecError naming the item, the field, the value and the remedy."""
    backend, state = params.get("backend") or "auto", params.get("state") or "merged"
    if backend != "auto" and backend not in BACKENDS:
        raise SpecError(MODULE, "backend", backend, f"must be auto or one of {', '.join(BACKENDS)}")
    if state not in STATES:
        raise SpecError(MODULE, "state", state, f"must be one of {', '.join(STATES)}")
    items: list[Wanted] = []
    if state != "gathered":
        items = [parse_item(item, state == "deleted") for item in params.get("config") or []]
    seen = set()
    for item in items:
        if item.name in seen:
            raise SpecError(MODULE, "name", item.name, "two items of config bear it: join them or rename one")
        seen.add(item.name)
    forwards = None
    if params.get("forward_interfaces") is not None and state != "gathered":
        listed = _strings(MODULE, "forward_interfaces", params["forward_interfaces"])
        forwards = frozenset(fields.ifname(MODULE, "forward_interfaces", i) for i in listed)
    if not items and forwards is None and state in ("merged", "replaced", "rendered"):
        remedy = f"state {state} needs at least one item, with the peers in sources, or forward_interfaces"
        raise SpecError(MODULE, "config", [], remedy)
    return Spec(backend, state, tuple(items), forwards)


def complete(wanted: Wanted, zone: Optional[str], old: Optional[RuleSet] = None) -> RuleSet:
    """The rule set that `wanted` means, added to `old` where there is one (state `merged`).

    Lists are joined; esp, open_to_world and the zone are taken from `wanted` where it states them.
    """
    obj = f"{MODULE} {wanted.name}"
    esp = wanted.esp if wanted.esp is not None else bool(old and old.esp)
    opened = wanted.open_to_world if wanted.open_to_world is not None else bool(old and old.open_to_world)
    ports = (
        wanted.ports
        if wanted.ports is not None
        else (() if old and (old.ports or old.esp) else _default_ports())
    )
    ports = normalise_ports((*ports, *(old.ports if old else ())))
    if not ports and not esp:
        raise SpecError(obj, "ports", [], "nothing to open: list a port, or set esp: true")
    kept = [s for s in (old.sources if old else ()) if opened or s not in WORLD.values()]
    if wanted.open_to_world and not wanted.sources:
        kept = list(WORLD.values())
    sources = normalise_sources([*(wanted.sources or ()), *kept])
    if not opened and (not sources or any(w in sources for w in WORLD.values())):
        refuse_world(obj, ports, esp, sources)
    if old and wanted.zone is None and wanted.interface is None:
        zone = old.zone
    return RuleSet(wanted.name, ports, esp, sources, zone)


def desired_sets(
    spec: Spec, observed: Mapping[str, RuleSet], zones: Mapping[str, Optional[str]]
) -> dict[str, RuleSet]:
    """What the host should hold afterwards: name to rule set. `zones` maps each named set to its zone."""
    if spec.state == "gathered":
        return dict(observed)
    if spec.state == "deleted":
        everything = set() if spec.forwards else set(observed)
        names = {item.name for item in spec.config} or everything
        return {n: s for n, s in observed.items() if n not in names}
    out = dict(observed) if spec.state in ("merged", "replaced") else {}
    for item in spec.config:
        old = observed.get(item.name) if spec.state == "merged" else None
        out[item.name] = complete(item, zones.get(item.name), old)
    return {name: out[name] for name in sorted(out)}


def desired_forwards(spec: Spec, base: frozenset[str]) -> frozenset[str]:
    """The interfaces whose forwarded traffic shall pass afterwards. `base`: those of the last run."""
    named = spec.forwards or frozenset()
    if spec.state == "deleted":
        return base - named if spec.config or named else frozenset()
    if spec.state == "overridden" or (spec.state == "replaced" and spec.forwards is not None):
        return named
    return base | named
