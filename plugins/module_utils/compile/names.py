# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name servers as files and systemd units of one host. Pure.

A name server is dnsmasq. It is started with a file that changes with the network's gateways alone; what it knows is in two
files that it reads again when told to.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Union

from ..resources import File, Resource, Unit, netns_name
from ..spec.names import TASKS, Names, Record, Service
from ..spec.subnets import Subnet

FOLDER = "/run/crosshost/dns"
UNITS = "/run/systemd/system"
TEMPLATE = f"{UNITS}/crosshost-dns@.service"
PATTERN = "crosshost-dns@*.service"
PORT = 53
TTL = 1  # seconds that an answer may be kept: what changes is to be seen at once
_FILES = ("dnsmasq.conf", "hosts", "servers")
Entries = list[tuple[str, tuple[str, ...]]]

# Started as a user of its own. It returns once it listens, and systemd finds its one process by itself.
_TEMPLATE = f"""# SPDX-License-Identifier: GPL-3.0-or-later
[Unit]
Description=Names of the crosshost network %i
StartLimitIntervalSec=60
StartLimitBurst=30

[Service]
Type=forking
NetworkNamespacePath=/run/netns/{netns_name("%i")}
ExecStart=dnsmasq --conf-file={FOLDER}/%i/dnsmasq.conf --pid-file=
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=500ms
DynamicUser=yes
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
"""


class Server(NamedTuple):
    """A name server: of a network, or of several that sandboxes are in together. ``netns`` is where it runs, ``upstream``
    whom it asks for other names."""

    instance: str
    netns: str
    listen: tuple[str, ...]
    port: int
    networks: tuple[Names, ...]
    upstream: tuple[str, ...]


def instance_name(networks: Sequence[str]) -> str:
    """A server's name in that of its unit. Names of networks have no colon."""
    text = ":".join(networks)
    return text if len(text) <= 150 else f"{networks[0]}:{_digest(text)}"


def unit_name(instance: str) -> str:
    return f"crosshost-dns@{instance}.service"


def instance_of(unit: str) -> str:
    """The server whose unit this is."""
    return unit.partition("@")[2].rpartition(".")[0]


def paths(instance: str) -> list[str]:
    """All files that a server may have."""
    return [*(f"{FOLDER}/{instance}/{name}" for name in _FILES), _drop_in(instance)]


def template() -> File:
    """The unit of all name servers."""
    return File(TEMPLATE, _TEMPLATE)


def compile_server(server: Server) -> Iterator[Resource]:
    """The server's files and its unit."""
    conf, hosts, servers, drop_in = paths(server.instance)
    texts = {conf: _conf(server, hosts, servers), hosts: _hosts(server), servers: _servers(server)}
    if server.netns != netns_name(server.instance):
        texts[drop_in] = f"[Service]\nNetworkNamespacePath=/run/netns/{server.netns}\n"
    for path, text in texts.items():
        yield File(path, text)
    yield unit_of(server.instance, {TEMPLATE: _TEMPLATE, **texts})


def unit_of(instance: str, texts: Mapping[str, str]) -> Unit:
    """The unit of a server that was started with these files, by path, and has read them."""
    conf, hosts, servers, drop_in = (texts.get(path, "") for path in paths(instance))
    config = _digest(texts.get(TEMPLATE, ""), conf, drop_in)
    return Unit(unit_name(instance), config, _digest(hosts, servers))


def _drop_in(instance: str) -> str:
    return f"{UNITS}/{unit_name(instance)}.d/namespace.conf"


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _conf(server: Server, hosts: str, servers: str) -> str:
    lines = [f"# crosshost: {server.instance}", f"port={server.port}", "bind-interfaces"]
    lines += [f"listen-address={address}" for address in server.listen]
    lines += ["no-resolv", "no-hosts", "no-poll", f"addn-hosts={hosts}", f"servers-file={servers}"]
    lines += [f"local-ttl={TTL}", "cache-size=1000", "dns-forward-max=1000"]
    return "".join(f"{line}\n" for line in lines)


def _hosts(server: Server) -> str:
    """The hosts of all its networks. A name that two networks have means what it means in the first."""
    lines = []
    claimed: set[str] = set()
    for names in server.networks:
        found = entries(names)
        for address, texts in found:
            mine = [text for text in texts if text not in claimed]
            if mine:
                lines.append(f"{address} {' '.join(mine)}\n")
        claimed.update(text for _address, texts in found for text in texts)
    return "".join(lines)


def _servers(server: Server) -> str:
    """What is never asked of others: plain names, our own, and the addresses of our subnets; then whom to ask."""
    own = [""]  # names without a dot
    for names in server.networks:
        own += domains(names)
        own += [zone for subnet in names.subnets for zone in reverse_zones(subnet)]
    lines = [f"server=/{one}/\n" for one in dict.fromkeys(own)]
    return "".join(lines + [f"server={one}\n" for one in server.upstream])


def entries(names: Names) -> Entries:
    """The lines of a hosts file. The first name of an address's first line is the one that its address leads back to."""
    found: Entries = []
    for record in names.records:
        texts = _with_network((record.name, *record.aliases), names.network)
        found += [(address, texts) for address in record.addresses]
    for service in names.services:
        own = (service.name, *service.aliases)
        texts = _with_network(own, names.network)
        found += [(address, texts) for address in service.addresses]
    for service in names.services:
        own = (service.name, *service.aliases)
        texts = _with_network([f"{TASKS}{one}" for one in own], names.network)
        found += [(address, texts) for address in service.tasks]
    return found


def _with_network(names: Iterable[str], network: str) -> tuple[str, ...]:
    return tuple(text for name in names for text in (f"{name}.{network.lower()}", name))


def domains(names: Names) -> Iterator[str]:
    """The names with a dot that are the network's own, with all below them."""
    owners: list[Union[Record, Service]] = [*names.records, *names.services]
    for one in owners:
        for name in (one.name, *one.aliases):
            yield f"{name}.{names.network.lower()}"
            if "." in name:
                yield name
    for service in names.services:
        for name in (service.name, *service.aliases):
            yield f"{TASKS}{name}"


def reverse_zones(subnet: Subnet) -> Iterator[str]:
    """The zones of in-addr.arpa and ip6.arpa that make up a subnet: at most 128, as zones end at whole bytes or nibbles."""
    step = 8 if subnet.version == 4 else 4
    block = ipaddress.ip_network(subnet.cidr)
    length = -(-block.prefixlen // step) * step
    for part in block.subnets(new_prefix=length):
        labels = part.network_address.reverse_pointer.split(".")
        yield ".".join(labels[(part.max_prefixlen - length) // step :])
