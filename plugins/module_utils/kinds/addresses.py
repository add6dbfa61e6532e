# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that the host itself hands out: to endpoints of networks of its own that declare none. The kernel remembers
them: an endpoint keeps what its interface has."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from ..compile.endpoint import endpoint_alias
from ..errors import SpecError
from ..kernel.session import Session
from ..spec import fields
from ..spec.endpoint import Endpoint
from ..spec.networks import Network

_FIELDS = {4: "ip", 6: "ip6"}


class Addresses:
    """``places``: where the sandbox of each endpoint is (its namespace, "" when it is gone), by the endpoint's id."""

    def __init__(
        self, session: Session, endpoints: Mapping[str, Endpoint], places: Mapping[str, str]
    ) -> None:
        self._session = session
        self._endpoints = endpoints
        self._places = places
        self._chosen: dict[str, Endpoint] = {}

    def settle(self, one: Endpoint, network: Network) -> Endpoint:
        """The endpoint with the addresses and the MAC that it gets. SpecError when there is none left, or none to give."""
        if one.id in self._chosen:
            return self._chosen[one.id]
        settled = one
        for version in self._missing(one, network):
            text = self._address(settled, network, version)
            settled = settled._replace(ip=text) if version == 4 else settled._replace(ip6=text)
        if not (settled.ip or settled.ip6):
            remedy = "give ip, or declare the part of the subnet that this host may hand out (ip_range)"
            raise SpecError(one.obj, "ip", None, remedy)
        if not settled.mac:
            settled = settled._replace(mac=fields.mac_of(settled.ip or settled.ip6))
        self._chosen[one.id] = settled
        return settled

    @staticmethod
    def _missing(one: Endpoint, network: Network) -> Iterator[int]:
        """On a bridge an endpoint gets an address of every family; on a LAN only what was asked for."""
        if network.driver != "bridge" and (one.ip or one.ip6):
            return
        for version, field in _FIELDS.items():
            if not getattr(one, field) and any(True for _block in _ranges(network, version)):
                yield version

    def _address(self, one: Endpoint, network: Network, version: int) -> str:
        blocks = list(_ranges(network, version))
        taken = set(network.reserved) | self._declared(one)
        for text in self._held(one, version):
            if text not in taken and any(ipaddress.ip_address(text) in block for block in blocks):
                return text
        taken |= self._others(one, version)
        for block in blocks:
            for number in range(int(block.network_address), int(block.broadcast_address) + 1):
                text = str(block.network_address + (number - int(block.network_address)))
                if text not in taken and not (version == 6 and number == int(block.network_address)):
                    return text
        remedy = "it has no address left; give ip, or declare a larger one"
        raise SpecError(one.obj, "ip range", ", ".join(map(str, blocks)), remedy)

    def _declared(self, one: Endpoint) -> set[str]:
        others = (other for other in self._endpoints.values() if other.network == one.network)
        return {text for other in others if other.id != one.id for text in (other.ip, other.ip6) if text}

    def _others(self, one: Endpoint, version: int) -> set[str]:
        """What the network's other endpoints that declare nothing hold, or have been given in this run."""
        found: set[str] = set()
        for other in self._endpoints.values():
            if other.network == one.network and other.id != one.id:
                found.update(self._held(other, version))
                chosen = self._chosen.get(other.id, other)
                found.update(filter(None, (chosen.ip, chosen.ip6)))
        return found

    def _held(self, one: Endpoint, version: int) -> Iterable[str]:
        netns = self._places.get(one.id, "")
        view = self._session.view(netns) if netns else None
        alias = endpoint_alias(one.id)
        mine = {info.ifindex for info in view.links if info.alias == alias} if view else set()
        for found in view.addresses if view and mine else ():
            if found.ifindex in mine and (":" in found.address) == (version == 6):
                yield found.address


def _ranges(network: Network, version: int) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The blocks from which this host may hand out addresses of a family."""
    own = [ipaddress.ip_network(text) for text in getattr(network, "host_range", ())]
    mine = [block for block in own if block.version == version]
    if mine:
        yield from mine
        return
    for subnet in network.subnets:
        if subnet.version == version and (subnet.ip_range or network.driver == "bridge"):
            yield ipaddress.ip_network(subnet.ip_range or subnet.cidr)
