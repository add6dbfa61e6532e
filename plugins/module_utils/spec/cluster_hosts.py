# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a cluster: their data-path addresses (VTEPs), what their underlay passes, and who they are to a firewall."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..errors import SpecError
from . import fields
from .overlay import MTU_MAX, MTU_MIN_IPV4, PORT_DEFAULT

# What a host gets when crosshost_gwbridge is not declared; {} means none.
GWBRIDGE_DEFAULT = {"subnet": "172.30.0.0/16"}
DNS_OPTIONS = ("enabled", "servers")


class Interface(NamedTuple):
    """An interface of a host, as facts tell it: MTU in bytes (0: not told), addresses in the order of preference."""

    mtu: int
    addresses: tuple[str, ...]


class Facts(NamedTuple):
    """What is known of a host's interfaces, by name, and its addresses on the way to the default gateway."""

    interfaces: Mapping[str, Interface] = {}
    default: tuple[str, ...] = ()

    def bearer(self, address: str) -> Optional[str]:
        """The name of the interface that has the address."""
        for name, interface in self.interfaces.items():
            if address in interface.addresses:
                return name
        return None


class Declared(NamedTuple):
    """A host of the inventory: its crosshost_* variables (with ansible_host) and its facts. Plain Python only."""

    name: str
    variables: Mapping[str, Any]
    facts: Facts = Facts()


class Host(NamedTuple):
    """A host of the cluster. ``mtu`` 0: not known. What follows ``management`` matters to the host itself only."""

    name: str
    vtep: str
    mtu: int
    management: tuple[str, ...]
    interface: str = ""
    gwbridge: Optional[dict[str, Any]] = None
    firewall_ports: Optional[list[str]] = None
    extra_sources: tuple[str, ...] = ()
    dns: bool = True
    dns_servers: tuple[str, ...] = ()


def label(name: str) -> str:
    """How errors call a host."""
    return f"host {name}"


def facts_of(ansible_facts: Mapping[str, Any]) -> Facts:
    """The same from what ``ansible.builtin.setup`` gathers with its subset ``network``."""
    found: dict[str, Interface] = {}
    for name in ansible_facts.get("interfaces") or []:
        one = ansible_facts.get(str(name).replace("-", "_").replace(".", "_").replace(":", "_"))
        if isinstance(one, Mapping):
            found[str(name)] = Interface(_mtu_told(one.get("mtu")), tuple(_addresses(one)))
    default = []
    for family in ("default_ipv4", "default_ipv6"):
        one = ansible_facts.get(family)
        if isinstance(one, Mapping) and one.get("address"):
            default.append(str(one["address"]))
            if one.get("interface"):
                found.setdefault(
                    str(one["interface"]), Interface(_mtu_told(one.get("mtu")), tuple(default[-1:]))
                )
    return Facts(found, tuple(default))


def _mtu_told(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _addresses(interface: Mapping[str, Any]) -> list[str]:
    four = interface.get("ipv4")
    rows = [four] if isinstance(four, Mapping) else []
    rows += interface.get("ipv4_secondaries") or []
    rows += [row for row in interface.get("ipv6") or [] if row.get("scope") in (None, "global")]
    return [str(row["address"]) for row in rows if isinstance(row, Mapping) and row.get("address")]


def parse_host(declared: Declared) -> Host:
    """One host. SpecError names the host and the variable when its VTEP cannot be told or a value cannot be right."""
    obj, given = label(declared.name), declared.variables
    interface = given.get("crosshost_data_path_interface") or ""
    if interface:
        fields.ifname(obj, "crosshost_data_path_interface", interface)
    vtep = _vtep(obj, declared, interface)
    serves, servers = _dns(obj, given.get("crosshost_dns"))
    return Host(
        name=declared.name,
        vtep=vtep,
        mtu=_mtu(obj, declared, vtep),
        management=_management(declared),
        interface=interface,
        gwbridge=_gwbridge(obj, given.get("crosshost_gwbridge")),
        firewall_ports=_ports(obj, given.get("crosshost_firewall_ports")),
        extra_sources=tuple(_extra(obj, given.get("crosshost_firewall_extra_sources"))),
        dns=serves,
        dns_servers=servers,
    )


def port_of(declared: Declared) -> int:
    """The UDP port of the host's VXLAN traffic."""
    value = number(declared.variables.get("crosshost_data_path_port"))
    if value is None:
        return PORT_DEFAULT
    return fields.integer(label(declared.name), "crosshost_data_path_port", value, 1, 65535, "a UDP port")


def number(value: Any) -> Any:
    """A variable's value, as a number where an INI inventory or ``-e`` has made a string of it."""
    return int(value) if isinstance(value, str) and value.isdecimal() and value.isascii() else value


def _vtep(obj: str, declared: Declared, interface: str) -> str:
    value = declared.variables.get("crosshost_vtep")
    if value is not None and value != "":
        vtep = fields.host_address(obj, "crosshost_vtep", value)
        bearer = declared.facts.bearer(vtep)
        if interface and bearer not in (None, interface):
            remedy = f"the host has it on {bearer}, not on crosshost_data_path_interface {interface}; declare one of the two"
            raise SpecError(obj, "crosshost_vtep", value, remedy)
        return vtep
    if interface:
        return _vtep_on(obj, declared.facts, interface)
    if declared.facts.default:
        return fields.host_address(obj, "default address", declared.facts.default[0])
    remedy = (
        "set it, the host's address towards its peers; it could not be taken from facts, as none are there: "
        "hosts outside of --limit and unreachable ones have none"
    )
    raise SpecError(obj, "crosshost_vtep", None, remedy)


def _vtep_on(obj: str, facts: Facts, interface: str) -> str:
    if not facts.interfaces:
        remedy = (
            "its address is not known, as there are no facts of this host (outside of --limit, or unreachable); "
            "set crosshost_vtep"
        )
        raise SpecError(obj, "crosshost_data_path_interface", interface, remedy)
    found = facts.interfaces.get(interface)
    if found is None:
        known = ", ".join(sorted(facts.interfaces))
        remedy = f"the host has no such interface with an address; it has {known}"
        raise SpecError(obj, "crosshost_data_path_interface", interface, remedy)
    for address in found.addresses:
        if not ipaddress.ip_address(address).is_link_local:
            return fields.host_address(obj, "crosshost_data_path_interface", address)
    raise SpecError(
        obj,
        "crosshost_data_path_interface",
        interface,
        "it has no address; give it one, or set crosshost_vtep",
    )


def _mtu(obj: str, declared: Declared, vtep: str) -> int:
    value = number(declared.variables.get("crosshost_underlay_mtu"))
    if value is not None:
        return fields.integer(obj, "crosshost_underlay_mtu", value, MTU_MIN_IPV4, MTU_MAX, "an MTU in bytes")
    bearer = declared.facts.bearer(vtep)
    # loopback's 65536 says nothing of the way to a peer
    told = declared.facts.interfaces[bearer].mtu if bearer and bearer != "lo" else 0
    return told if MTU_MIN_IPV4 <= told <= MTU_MAX else 0


def _management(declared: Declared) -> tuple[str, ...]:
    """The addresses by which the host may speak to others besides its VTEP; a name alone is none."""
    found = []
    for value in (declared.variables.get("ansible_host"), declared.name, *declared.facts.default):
        packed = fields.pack(value)
        if packed is not None and not ipaddress.ip_address(packed).is_loopback:
            found.append(str(ipaddress.ip_address(packed)))
    return tuple(dict.fromkeys(found))


def _gwbridge(obj: str, value: Any) -> Optional[dict[str, Any]]:
    if value is None:
        return dict(GWBRIDGE_DEFAULT)
    return fields.mapping(obj, "crosshost_gwbridge", value) or None


def _ports(obj: str, value: Any) -> Optional[list[str]]:
    if value is None:
        return None
    return [str(port) for port in fields.sequence(obj, "crosshost_firewall_ports", value)]


def _extra(obj: str, value: Any) -> list[str]:
    if value is None:
        return []
    return [str(source) for source in fields.sequence(obj, "crosshost_firewall_extra_sources", value)]


def _dns(obj: str, value: Any) -> tuple[bool, tuple[str, ...]]:
    """Whether the host serves the names of its networks, and whom it asks for other names."""
    given = fields.mapping(obj, "crosshost_dns", value if value is not None else {})
    fields.known_only(f"{obj}: crosshost_dns", given, DNS_OPTIONS)
    enabled = fields.flag(obj, "crosshost_dns.enabled", given.get("enabled", True))
    listed = fields.sequence(obj, "crosshost_dns.servers", given.get("servers") or [])
    return enabled, tuple(fields.address(obj, "crosshost_dns.servers", server) for server in listed)


def refuse_shared_vteps(hosts: Sequence[Host]) -> None:
    """SpecError if two hosts have one VTEP."""
    seen: dict[str, str] = {}
    for host in hosts:
        other = seen.setdefault(host.vtep, host.name)
        if other != host.name:
            remedy = f"host {other} has it too; each host needs its own (crosshost_vtep)"
            raise SpecError(label(host.name), "VTEP", host.vtep, remedy)
