# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What results of crosshost's own modules tell of a host: what it is, and the addresses, VNIs and ports that are on it. Pure.

An item is ``[network, name, field, family, value]``; ``name``: of the endpoint or service, the subnet's CIDR, or "".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError
from ansible_collections.crosshost.network.plugins.module_utils.spec.publish import parse_all

Item = list[str]
PREFIX = "crosshost.network."
MOST = 20_000  # items of one event


def short_name(action: str) -> str:
    """The module's name if it is one of ours, else ""."""
    return action[len(PREFIX) :] if action.startswith(PREFIX) else ""


def report_of(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """What host_check has found out about its host."""
    underlay = result.get("underlay")
    if not isinstance(underlay, Mapping):
        return None
    return {
        **{name: underlay.get(name, []) for name in ("interfaces", "default", "routes", "nameservers")},
        **{name: result.get(name) for name in ("kernel", "python", "engines")},
    }


def seen_of(module: str, result: Mapping[str, Any], check: bool) -> Iterator[tuple[str, list[Item]]]:
    """The items by the module that they belong to. In check mode the declarations that were recorded before count."""
    if module == "network_info":
        for kind, (name, of_fact) in _FACTS.items():
            facts = result.get(kind)
            if isinstance(facts, list):
                yield name, _all(of_fact, (one for one in facts if one.get("present")))
        return
    of_config = _CONFIGS.get(module)
    declared = result.get("before" if check else "after")
    if of_config is not None and isinstance(declared, list):
        yield module, _all(of_config, declared)


def _all(reader: Callable[[Mapping[str, Any]], Iterator[Item]], objects: Iterable[Any]) -> list[Item]:
    found: list[Item] = []
    for one in objects:
        if isinstance(one, Mapping):
            found += reader(one)
        if len(found) > MOST:
            break
    return found[:MOST]


def _subnets(item: Mapping[str, Any]) -> Iterator[Item]:
    network = str(item.get("name") or "")
    for one in item.get("subnets") or ():
        cidr = _plain_cidr(one.get("subnet"))
        if not cidr:
            continue
        yield [network, cidr, "subnet", "subnet", cidr]
        if one.get("vni") is not None:
            yield [network, cidr, "vni", "vni", str(one["vni"])]


def _gwbridge(item: Mapping[str, Any]) -> Iterator[Item]:
    for field in ("subnet", "subnet6"):
        cidr = _plain_cidr(item.get(field))
        if cidr:
            yield [str(item.get("name") or ""), cidr, "subnet", "subnet", cidr]


def _ingress(item: Mapping[str, Any]) -> Iterator[Item]:
    network = str(item.get("name") or "ingress")
    yield from _subnets({**item, "name": network})
    yield from _addresses(network, "", {"ip": item.get("address"), "ip6": item.get("address6")})
    for leg in item.get("legs") or ():
        name = str(leg.get("name") or leg.get("sandbox") or leg.get("container") or "")
        yield from _addresses(network, name, leg)
    for port in item.get("ports") or ():
        value = f"{port.get('published')}/{port.get('protocol') or 'tcp'}"
        yield [network, str(port.get("service") or ""), "published", "port", value]


def _endpoint(item: Mapping[str, Any]) -> Iterator[Item]:
    network, name = str(item.get("network") or ""), _endpoint_name(item)
    yield from _addresses(network, name, item)
    try:
        ports = parse_all("endpoint", "publish", item.get("publish"))
    except CrosshostError:
        return
    for port in ports:
        if port.fixed:
            yield [network, name, "published", "port", f"{port.first}/{port.protocol}"]


def _endpoint_name(item: Mapping[str, Any]) -> str:
    pid = item.get("pid")
    return str(
        item.get("name") or item.get("sandbox") or item.get("container") or (f"pid-{pid}" if pid else "")
    )


def _service(item: Mapping[str, Any]) -> Iterator[Item]:
    yield from _addresses(str(item.get("network") or ""), str(item.get("name") or ""), item, ("vip", "vip6"))


def _addresses(
    network: str, name: str, item: Mapping[str, Any], fields: tuple[str, ...] = ("ip", "ip6")
) -> Iterator[Item]:
    for field in fields:
        address = _plain_address(item.get(field))
        if address:
            yield [network, name, field, "address", address]


def _endpoint_fact(fact: Mapping[str, Any]) -> Iterator[Item]:
    network, _, name = str(fact.get("id") or "").partition("/")
    for one in fact.get("addresses") or ():
        address = _plain_address(str(one).partition("/")[0])
        if address and not address.startswith("fe80:"):
            yield [network, name, "ip6" if ":" in address else "ip", "address", address]
    for one in fact.get("published") or ():
        ends, _, protocol = str(one).partition("/")
        port = ends.rpartition(":")[0].rpartition(":")[2]
        if port:
            yield [network, name, "published", "port", f"{port}/{protocol or 'tcp'}"]


def _service_fact(fact: Mapping[str, Any]) -> Iterator[Item]:
    network, _, name = str(fact.get("id") or "").partition("/")
    for one in fact.get("vips") or ():
        address = _plain_address(one)
        if address:
            yield [network, name, "vip6" if ":" in address else "vip", "address", address]


def _config_of(reader: Callable[[Mapping[str, Any]], Iterator[Item]]) -> Callable[..., Iterator[Item]]:
    """A reader of a fact that holds the declaration which was recorded."""

    def read(fact: Mapping[str, Any]) -> Iterator[Item]:
        config = fact.get("config")
        if isinstance(config, Mapping):
            yield from reader(config)

    return read


_CONFIGS: dict[str, Callable[[Mapping[str, Any]], Iterator[Item]]] = {
    "overlay_network": _subnets,
    "bridge_network": _subnets,
    "macvlan": _subnets,
    "gwbridge": _gwbridge,
    "ingress": _ingress,
    "endpoint": _endpoint,
    "service": _service,
}
_FACTS: dict[str, tuple[str, Callable[[Mapping[str, Any]], Iterator[Item]]]] = {
    "overlay_networks": ("overlay_network", _config_of(_subnets)),
    "bridge_networks": ("bridge_network", _config_of(_subnets)),
    "macvlans": ("macvlan", _config_of(_subnets)),
    "gwbridges": ("gwbridge", _config_of(_gwbridge)),
    "ingress": ("ingress", _config_of(_ingress)),
    "endpoints": ("endpoint", _endpoint_fact),
    "services": ("service", _service_fact),
}


def _plain_address(value: Any) -> str:
    try:
        return str(ipaddress.ip_address(str(value)))
    except ValueError:
        return ""


def _plain_cidr(value: Any) -> str:
    try:
        return str(ipaddress.ip_network(str(value), strict=False))
    except ValueError:
        return ""
