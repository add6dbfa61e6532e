# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the declaration the wishes of an item depend on, looked up in the items. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.spec import cluster_ports, fields, publish
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster_hosts import GWBRIDGE_DEFAULT

from ..db.base import Json
from .declared import members
from .emit import cluster_group, of_kind, skeleton
from .kinds import Items
from .wishes import Setting


class Surrounding:
    """Of these items, which may change while it is in use, but for hosts and groups."""

    def __init__(self, items: Items) -> None:
        self._items = items

    @cached_property
    def setting(self) -> Setting:
        return Setting(
            self._network, self.hosts_of, self._gateways, lambda: self._addresses, lambda: self._host_ports
        )

    @cached_property
    def _groups(self) -> Mapping[str, Sequence[str]]:
        return members(skeleton(self._items))

    @cached_property
    def _cluster(self) -> Sequence[str]:
        return self._groups.get(cluster_group(self._items), ())

    def hosts_of(self, body: Mapping[str, Any]) -> list[str]:
        """The hosts on which a bridge network is."""
        if "host" in body:
            return [body["host"]]
        if "hosts" not in body:
            return list(self._cluster)
        listed = body["hosts"] if isinstance(body["hosts"], list) else []
        chosen: set[str] = set()
        for one in listed:
            if isinstance(one, str):
                chosen.update(self._groups.get(one, (one,)))
        return [host for host in self._cluster if host in chosen]

    def _network(self, host: str | None, name: str) -> tuple[str, Json] | None:
        for kind, key in (
            ("overlay", name),
            ("bridge", f"{host}/{name}"),
            ("bridge", name),
            ("macvlan", name),
        ):
            found = self._items.get((kind, key))
            if found is not None and (kind != "bridge" or host in self.hosts_of(found.body)):
                return kind, found.resolved
        return None

    def _gateways(self) -> Collection[str]:
        found = set()
        for one in of_kind(self._items, "gwbridge"):
            if "host" not in one.body and "group" not in one.body:
                found |= {str(one.resolved.get(option)) for option in ("subnet", "subnet6")}
        return found

    @cached_property
    def _addresses(self) -> tuple[str, ...]:
        """What no automatic subnet may have in it: hosts' own addresses, and the gateway bridge that nobody declares."""
        found: dict[str, None] = {}
        for one in of_kind(self._items, "host"):
            for value in (one.body.get("vtep"), one.body.get("variables", {}).get("ansible_host"), one.name):
                if fields.pack(value) is not None:
                    found[str(value)] = None
        if not self._gateways():
            found.update(dict.fromkeys(GWBRIDGE_DEFAULT.values()))
        return tuple(found)

    @cached_property
    def _host_ports(self) -> tuple[str, ...]:
        """The ports of hosts that endpoints and services have for themselves."""
        found: dict[str, None] = {}
        for kind, option in (("endpoint", "publish"), ("service", "ports")):
            for one in of_kind(self._items, kind):
                try:
                    if kind == "endpoint":
                        ports = list(publish.parse_all("", option, one.body.get(option)))
                    else:
                        parsed = cluster_ports.parse_ports("", one.body.get(option, []))
                        ports = [port.publish for port in parsed]
                except SpecError:
                    continue
                found.update({f"{port.first}/{port.protocol}": None for port in ports if port.fixed})
        return tuple(found)
