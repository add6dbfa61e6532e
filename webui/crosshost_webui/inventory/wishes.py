# SPDX-License-Identifier: GPL-3.0-or-later
"""What each kind of item wants of the pools, and how a body gets what they granted. Pure.

A body that is malformed wishes for less, or nothing: the engine, which looks at it afterwards, says what is wrong with it.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.spec import endpoint, fields, subnets
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster_ports import parse_ports

from ..db.base import Json

NAME_MOST = 98  # characters of what IPAM keeps
SCOPE_MOST = 60


class Wish(NamedTuple):
    """One block of an owner. ``value`` None: any. ``within``: the subnet that an address is of, or the name of the wish for it.
    ``scope`` None: the cluster's. ``length``: of an automatic subnet."""

    name: str
    purpose: str
    value: str | None = None
    within: str | None = None
    avoid: tuple[str, ...] = ()
    scope: str | None = None
    length: int | None = None


class Setting(NamedTuple):
    """What of the declaration an item's wishes depend on. ``network(host, name)``: kind and resolved body of a network that
    endpoints of the host can join, or None. ``hosts_of(body)``: the hosts on which a bridge network is. ``gateways``: the subnets
    of the cluster's own gateway bridge. ``avoid``: addresses that automatic subnets leave out. ``ports``: those of hosts that
    automatic ones leave out."""

    network: Callable[[str | None, str], tuple[str, Json] | None]
    hosts_of: Callable[[Mapping[str, Any]], Sequence[str]]
    gateways: Callable[[], Collection[str]]
    avoid: Callable[[], tuple[str, ...]]
    ports: Callable[[], tuple[str, ...]]


def scope_of(host: str) -> str:
    """The scope of what is a host's own."""
    return _short(f"host {host}", SCOPE_MOST)


def _short(text: str, most: int = NAME_MOST) -> str:
    if len(text) <= most:
        return text
    return f"{text[: most - 13]}~{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def wishes(kind: str, body: Json, setting: Setting) -> list[Wish]:
    """What the item wants."""
    make = _WISHES.get(kind)
    return list(make(body, setting)) if make else []


def resolve(kind: str, body: Json, granted: Mapping[str, str]) -> Json:
    """The body as the engine takes it: with what was granted, by the names of the wishes, where it says nothing itself."""
    fill = _FILL.get(kind)
    return fill(body, granted) if fill else body


# ---- subnets


def _subnets(body: Mapping[str, Any]) -> list[Json]:
    """The subnets of a network; without any there is one of IPv4."""
    listed = body.get("subnets", [{}])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        return []
    return listed


def _version(subnet: Mapping[str, Any]) -> int:
    block = _block(subnet.get("subnet"))
    return block.version if block else 6 if subnet.get("version") == 6 else 4


def _block(value: Any) -> fields.Network | None:
    try:
        return fields.network("", "", value)
    except SpecError:
        return None


def _is_open(subnet: Mapping[str, Any]) -> bool:
    """Whether the subnet leaves it to us which block it is."""
    length = subnet.get("length")
    return (
        "subnet" not in subnet
        and subnet.get("version", 4) in (4, 6)
        and (length is None or (isinstance(length, int) and not isinstance(length, bool)))
    )


def _blocks(body: Json, purpose: str, scopes: Sequence[str | None], setting: Setting) -> Iterator[Wish]:
    """Subnets with their gateways and reserved addresses. One that is declared is wanted in each of ``scopes``. An automatic one
    is the cluster's, so that it differs from all others."""
    for place, subnet in enumerate(_subnets(body)):
        name = f"subnet {place}"
        kind = purpose if purpose == "lan" else f"{purpose}{_version(subnet)}"
        block = _block(subnet.get("subnet"))
        if block is not None:
            for scope in scopes:
                yield Wish(_in(name, scope), kind, str(block), scope=scope)
                yield from _inside(place, subnet, block, scope, purpose)
        elif _is_open(subnet) and purpose != "lan":
            yield Wish(name, kind, avoid=setting.avoid(), length=subnet.get("length"))
            if subnet.get("gateway") is None:
                # the first address, as the engine takes it
                yield Wish(f"gateway {place}", "address", within=name)


def _in(name: str, scope: str | None) -> str:
    return name if scope is None else _short(f"{name}, {scope}")


def _inside(
    place: int, subnet: Json, block: fields.Network, scope: str | None, purpose: str
) -> Iterator[Wish]:
    """The gateway and the reserved addresses."""
    plain = {key: value for key, value in subnet.items() if key not in ("vni", "version")}
    try:
        (parsed,) = subnets.parse_plain_subnets("", [plain], default_gateway=purpose != "lan")
    except SpecError:
        return
    if parsed.gateway:
        yield Wish(_in(f"gateway {place}", scope), "address", parsed.gateway, str(block), scope=scope)
    for name, address in parsed.aux:
        yield Wish(_in(f"aux {place} {name}", scope), "address", address, str(block), scope=scope)


def _vnis(body: Json) -> Iterator[Wish]:
    """A VNI for each subnet, where no other subnet of the network has it already."""
    segments: dict[object, set[int]] = {}
    listed = _subnets(body)
    for place, subnet in enumerate(listed):
        vni = subnet.get("vni")
        if isinstance(vni, int) and not isinstance(vni, bool):
            if vni not in segments and 1 <= vni <= fields.VNI_MAX:
                yield Wish(f"vni {place}", "vni", str(vni))
            segments.setdefault(vni, set()).add(_version(subnet))
    for place, subnet in enumerate(listed):
        if "vni" in subnet:
            continue
        if _version(subnet) == 4:
            yield Wish(f"vni {place}", "vni")
            segments[place, "own"] = {4}
        elif not _shares(segments):
            yield Wish(f"vni {place}", "vni")


def _shares(segments: dict[object, set[int]]) -> bool:
    """Whether an IPv6 subnet finds a segment with IPv4 alone, as the engine gives it one. It has that then."""
    for versions in segments.values():
        if versions == {4}:
            versions.add(6)
            return True
    return False


def _fill_subnets(body: Json, granted: Mapping[str, str]) -> Json:
    filled = []
    for place, subnet in enumerate(_subnets(body)):
        mine = dict(subnet)
        if _is_open(subnet) and f"subnet {place}" in granted:
            mine = {key: value for key, value in mine.items() if key not in ("version", "length")}
            mine["subnet"] = granted[f"subnet {place}"]
        elif mine.get("version") == _version(subnet):
            del mine["version"]
        if "vni" not in mine and f"vni {place}" in granted:
            mine["vni"] = int(granted[f"vni {place}"])
        filled.append(mine)
    return {**body, "subnets": filled} if filled else body


# ---- networks


def _overlay(body: Json, setting: Setting) -> Iterator[Wish]:
    yield from _blocks(body, "overlay", (None,), setting)
    yield from _vnis(body)


def _bridge(body: Json, setting: Setting) -> Iterator[Wish]:
    yield from _blocks(body, "bridge", [scope_of(host) for host in setting.hosts_of(body)], setting)


def _macvlan(body: Json, setting: Setting) -> Iterator[Wish]:
    yield from _blocks(body, "lan", (None,), setting)
    for option in ("shims", "shims6"):
        yield from _by_hand(body, option)


def _ingress(body: Json, setting: Setting) -> Iterator[Wish]:
    yield from _blocks(body, "ingress", (None,), setting)
    yield from _vnis(body)
    for option in ("addresses", "addresses6"):
        yield from _by_hand(body, option)


def _by_hand(body: Mapping[str, Any], option: str) -> Iterator[Wish]:
    """Addresses that are declared for hosts."""
    given = body.get(option)
    for host, address in given.items() if isinstance(given, dict) else ():
        found = _normal(address)
        cidr = _holder(body, found)
        if cidr:
            yield Wish(_short(f"{option} {host}"), "address", found, cidr)


def _gwbridge(body: Json, setting: Setting) -> Iterator[Wish]:
    if body.get("enabled", True) is not True:
        return
    scope = None
    if "host" in body:
        scope = scope_of(str(body["host"]))
    elif "group" in body:
        scope = _short(f"group {body['group']}", SCOPE_MOST)
    if "subnet" not in body and "subnet6" not in body:
        yield Wish("subnet", "gwbridge4", avoid=setting.avoid())
        if "gateway" not in body:
            yield Wish("gateway", "address", within="subnet")
        return
    for version, suffix in ((4, ""), (6, "6")):
        block = _block(body.get(f"subnet{suffix}"))
        # one that takes the place of the cluster's may have the same addresses
        shared = scope is not None and str(block) in setting.gateways()
        if block is None or block.version != version or block.num_addresses < 4 or shared:
            continue
        yield Wish(f"subnet{suffix}", f"gwbridge{version}", str(block), scope=scope)
        field = f"gateway{suffix}"
        gateway = _normal(body[field]) if field in body else str(block.network_address + 1)
        if gateway and ipaddress.ip_address(gateway) in block:
            yield Wish(field, "address", gateway, str(block), scope=scope)


def _fill_gwbridge(body: Json, granted: Mapping[str, str]) -> Json:
    if "subnet" not in body and "subnet6" not in body and "subnet" in granted:
        return {**body, "subnet": granted["subnet"]}
    return body


# ---- addresses of endpoints and services


def _normal(value: Any) -> str:
    """An address as IPAM writes it, "" if it is none."""
    packed = fields.pack(value)
    return "" if packed is None else str(ipaddress.ip_address(packed))


def _holder(network: Mapping[str, Any], address: str) -> str:
    """The subnet of a network that an address is in."""
    if address:
        for subnet in _subnets(network):
            block = _block(subnet.get("subnet"))
            if block and ipaddress.ip_address(address) in block:
                return str(block)
    return ""


def _endpoint(body: Json, setting: Setting) -> Iterator[Wish]:
    network = body.get("network")
    if not isinstance(network, str) or endpoint.is_mode(network):
        return
    found = setting.network(str(body.get("host")), network)
    if found is None:
        return
    kind, resolved = found
    scope = scope_of(str(body["host"])) if kind == "bridge" else None
    # of a LAN, hosts hand out the parts that they have themselves
    yield from _addresses(body, resolved, ("ip", "ip6"), scope, kind != "macvlan")


def _service(body: Json, setting: Setting) -> Iterator[Wish]:
    network = body.get("network")
    found = setting.network(None, network) if isinstance(network, str) else None
    if found is not None and found[0] == "overlay":
        automatic = body.get("mode", "vip") == "vip"
        yield from _addresses(body, found[1], ("vip", "vip6"), None, automatic)
    yield from _ports(body, setting)


def _addresses(
    body: Json, network: Json, options: tuple[str, str], scope: str | None, automatic: bool
) -> Iterator[Wish]:
    declared = [option for option in options if body.get(option) not in (None, "")]
    for option in declared:
        address = _normal(body[option])
        cidr = _holder(network, address)
        if cidr:
            yield Wish(option, "address", address, cidr, scope=scope)
    if declared or not automatic:
        return
    four, six = _pair(network)
    for option, subnet in zip(options, (four, six), strict=True):
        if subnet is not None:
            yield Wish(option, "address", within=subnet.ip_range or subnet.cidr, scope=scope)


def _pair(network: Json) -> tuple[subnets.Subnet | None, subnets.Subnet | None]:
    """The subnets in which who says no address gets one: the first, with the one of the other family in the same segment."""
    try:
        has_vnis = any("vni" in one for one in _subnets(network))
        parse = subnets.parse_subnets if has_vnis else subnets.parse_plain_subnets
        parsed = parse("", network.get("subnets"))
    except SpecError:
        return None, None
    four = next((one for one in parsed if one.version == 4), None)
    six = next((one for one in parsed if one.version == 6 and (four is None or one.vni == four.vni)), None)
    return four, six


def _fill_options(*options: str) -> Callable[[Json, Mapping[str, str]], Json]:
    def fill(body: Json, granted: Mapping[str, str]) -> Json:
        missing = [option for option in options if option in granted and body.get(option) in (None, "")]
        return {**body, **{option: granted[option] for option in missing}}

    return fill


# ---- published ports of services


def _ports(body: Json, setting: Setting) -> Iterator[Wish]:
    """Ports that every host answers on; those in mode host are the tasks' hosts' own, which the engine looks after."""
    listed = body.get("ports")
    for place, raw in enumerate(listed if isinstance(listed, list) else ()):
        if _is_chosen(raw):
            protocol = raw.get("protocol", "tcp")
            yield Wish(f"port {place}/{protocol}", "port", avoid=setting.ports())
            continue
        try:
            ports = list(parse_ports("", [raw]))
        except SpecError:
            continue
        for one in ports:
            if one.mode == "ingress":
                text = f"{one.publish.first}/{one.publish.protocol}"
                yield Wish(f"port {text}", "port", text)


def _is_chosen(raw: Any) -> bool:
    """Whether a port leaves to us which one of the hosts it is."""
    return (
        isinstance(raw, dict)
        and "published" not in raw
        and "target" in raw
        and raw.get("mode", "ingress") == "ingress"
        and raw.get("protocol", "tcp") in ("tcp", "udp", "sctp")
    )


def _fill_service(body: Json, granted: Mapping[str, str]) -> Json:
    found = _fill_options("vip", "vip6")(body, granted)
    listed = body.get("ports")
    if not isinstance(listed, list) or not any(_is_chosen(raw) for raw in listed):
        return found
    ports = []
    for place, raw in enumerate(listed):
        name = f"port {place}/{raw.get('protocol', 'tcp')}" if _is_chosen(raw) else ""
        ports.append({**raw, "published": int(granted[name])} if name in granted else raw)
    return {**found, "ports": ports}


_WISHES: dict[str, Callable[[Json, Setting], Iterator[Wish]]] = {
    "overlay": _overlay,
    "bridge": _bridge,
    "macvlan": _macvlan,
    "ingress": _ingress,
    "gwbridge": _gwbridge,
    "endpoint": _endpoint,
    "service": _service,
}
_FILL: dict[str, Callable[[Json, Mapping[str, str]], Json]] = {
    "overlay": _fill_subnets,
    "bridge": _fill_subnets,
    "ingress": _fill_subnets,
    "gwbridge": _fill_gwbridge,
    "endpoint": _fill_options("ip", "ip6"),
    "service": _fill_service,
}
