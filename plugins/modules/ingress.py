# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ingress
short_description: Converge the ingress network, by which published ports answer on every host
version_added: 0.2.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Makes this host's part of the ingress network. A port that it publishes answers on all addresses of every host that has the
    network, and leads to one of the port's tasks, on whichever host that is. TCP, UDP and SCTP, IPv4 and IPv6.
  - The network is an overlay of its own. On each host it has a sandbox, the namespace C(crosshost-ingress), with one interface
    in the overlay and one on the gateway bridge. The host leads a new connection into the sandbox, and the sandbox on to a task.
    Both are done by nftables, in the tables C(inet crosshost). Nothing runs for it, and a new connection costs a look-up on each
    way, however many ports there are.
  - All of it is one plan and one transaction, a change of subnet or MTU with the ports that stay included. When anything is
    refused, everything is as it was.
  - Only the first packet of a connection is balanced. Whatever is changed here, connections that there are go on, as long as
    their task does and the host publishes any port at all. A UDP flow that never falls silent goes to another task once its own
    is no task any more.
  - A port of the host that a process listens on, or that an endpoint publishes, is refused.
  - A task whose sandbox is missing is left out, and the run fails in the end and names it. All the rest is done by then.
  - Needs the gateway bridge, by M(crosshost.network.gwbridge), and the tasks' sandboxes, by M(crosshost.network.endpoint).
extends_documentation_fragment:
  - crosshost.network.attributes
  - crosshost.network.converging
  - crosshost.network.converging.data_path
requirements:
  - pyroute2 (Debian's python3-pyroute2 will do)
  - nft (package nftables)
options:
  config:
    description:
      - The ingress network. There is one, and another beside it is refused. With O(state=overridden) another takes its place.
      - While it publishes ports, O(state=deleted) is refused. O(state=overridden) without a network removes it with its ports.
    type: list
    elements: dict
    suboptions:
      name:
        description: The network's name, which no other network has. The default is V(ingress).
        type: str
      subnets:
        description:
          - Its subnet, at most one of each family, in one segment. A new network needs at least one.
          - Another subnet makes the network anew. The ports have to be declared with it, and come back with it.
        type: list
        elements: dict
        suboptions:
          subnet:
            description: A block as ADDRESS/LENGTH. It overlaps no other network's.
            type: str
            required: true
          gateway:
            description: The address that every host's bridge bears. The default is the first one, V(none) means none.
            type: str
          ip_range:
            description: The part of the subnet from which hosts and tasks get addresses.
            type: str
          aux_addresses:
            description: Names with addresses that are reserved, and refused to hosts and tasks.
            type: dict
          vni:
            description:
              - The VXLAN network identifier, 1 to 16777215, unique among the networks with one data-path port.
              - An IPv6 subnet without one shares that of the IPv4 subnet.
            type: int
      mtu:
        description:
          - The MTU inside the network. The default is what the underlay passes to every peer, less 50 bytes over IPv4 or 70 over
            IPv6. More than that is refused.
          - The MTU outside may be larger. TCP learns of the smaller one when a connection opens.
        type: int
      labels:
        description: Names with values, kept with the network.
        type: dict
      address:
        description: The IPv4 address of this host's sandbox in the network. It is needed with an IPv4 subnet.
        type: str
      address6:
        description: Its IPv6 address, likewise.
        type: str
      gwbridge:
        description:
          - The gateway bridge by which ports lead into the sandbox. It has a subnet of each family that the network has.
          - The default is V(xh_gwbridge).
        type: str
      endpoints:
        description: The sandboxes and the tasks of the other hosts. They are merged by O(config[].endpoints[].ip).
        type: list
        elements: dict
        suboptions:
          ip:
            description: The IPv4 address.
            type: str
          ip6:
            description: The IPv6 address.
            type: str
          mac:
            description: The MAC address. The default is 02:42 and the IPv4 address.
            type: str
          vtep:
            description: The VTEP of the host that holds it.
            type: str
          name:
            description: Its name; for the reader.
            type: str
          host:
            description: The host's name; for the reader.
            type: str
      legs:
        description:
          - The tasks of this host. Each gets an interface C(ingress0) in the network, which nobody reaches but by a published port.
          - They are merged by O(config[].legs[].name).
        type: list
        elements: dict
        suboptions:
          name:
            description: The task's name, unique among the legs. The default is the sandbox's.
            type: str
          sandbox:
            description: The task's sandbox, by the name of its namespace. One of this, O(config[].legs[].pid) and O(config[].legs[].container) is needed.
            type: str
          pid:
            description: The task's sandbox, by a process in it.
            type: int
          container:
            description: The task's sandbox, by the name of a container of docker or podman that is running.
            type: str
          ip:
            description: Its IPv4 address in the network. It needs this or O(config[].legs[].ip6).
            type: str
          ip6:
            description: Its IPv6 address in the network.
            type: str
      ports:
        description:
          - The published ports, the same on all hosts. They are merged by O(config[].ports[].published) and
            O(config[].ports[].protocol).
        type: list
        elements: dict
        suboptions:
          published:
            description: The port of the hosts.
            type: int
            required: true
          target:
            description: The port of the tasks. The default is the same.
            type: int
          protocol:
            description: The protocol. The default is V(tcp).
            type: str
            choices: [tcp, udp, sctp]
          service:
            description: Whose port it is; for the reader.
            type: str
          affinity:
            description:
              - V(none) (the default) draws a task at random for each connection.
              - V(source) has all connections from one address go to the same task, on whichever host they arrive. When the tasks or
                their weights change, clients may move.
            type: str
            choices: [none, source]
          keep_client_address:
            description:
              - Whether this host leads connections straight to tasks of its own, where it has any, so that they see the client's
                address. Otherwise they see that of the host's sandbox. The default is V(false).
              - Without a task on this host, connections go to those of others, which see the sandbox's address all the same. So
                they do from the host itself and from its sandboxes.
            type: bool
          tasks:
            description:
              - The tasks by their addresses in the network, those of this host and of others.
              - Without any that takes connections (and has an address of the family), a connection is refused at once.
            type: list
            elements: dict
            suboptions:
              ip:
                description: The IPv4 address, of one of O(config[].legs) or O(config[].endpoints).
                type: str
              ip6:
                description: The IPv6 address, likewise.
                type: str
              weight:
                description:
                  - Its share of the new connections, from 0 to 1000, in proportion to those of the other tasks. The default is 1.
                  - V(0) drains it. It gets no new connections, and keeps those that it has.
                type: int
          local:
            description: With O(config[].ports[].keep_client_address), the tasks of this host by their sandboxes.
            type: list
            elements: dict
            suboptions:
              sandbox:
                description: The sandbox, as M(crosshost.network.endpoint) has it, with its default route over the gateway bridge.
                type: str
              pid:
                description: The sandbox, by a process in it.
                type: int
              container:
                description: The sandbox, by a container.
                type: str
              weight:
                description: As that of a task.
                type: int
      data_path_address:
        description:
          - The host's own VTEP address for this network. It must be an address of the host.
          - Without it and O(config[].data_path_interface), the address that the host uses towards its first peer.
        type: str
      data_path_interface:
        description: The interface whose first address is the VTEP, instead of O(config[].data_path_address).
        type: str
      peers:
        description: The other hosts of this network.
        type: list
        elements: dict
        suboptions:
          host:
            description: The host's name, for messages.
            type: str
          vtep:
            description: The host's VTEP address. It is needed; a peer without one is refused.
            type: str
          mtu:
            description: The MTU of the underlay at that host, where it may be smaller than here.
            type: int
      data_path_port:
        description: The UDP port of this network's VXLAN, 4789 by default.
        type: int
  gwbridges:
    description:
      - The gateway bridges, with the options of M(crosshost.network.gwbridge), where they may not have been converged on this
        host yet. This makes check mode right on a new host; otherwise what is recorded on the host is enough.
    type: list
    elements: dict
seealso:
  - module: crosshost.network.gwbridge
  - module: crosshost.network.endpoint
  - module: crosshost.network.service
"""

EXAMPLES = r"""
- name: Port 8080 of every host leads to two tasks, the first of them on this host
  crosshost.network.ingress:
    data_path_address: 192.0.2.1
    config:
      - subnets:
          - {subnet: 10.255.0.0/24, vni: 4096}
        address: 10.255.0.11
        legs:
          - {name: shop1, sandbox: shop, ip: 10.255.0.101}
        endpoints:
          - {ip: 10.255.0.12, vtep: 192.0.2.2, name: the sandbox of h2}
          - {ip: 10.255.0.102, vtep: 192.0.2.2, name: shop2}
        ports:
          - published: 8080
            target: 80
            tasks:
              - {ip: 10.255.0.101}
              - {ip: 10.255.0.102}

- name: Drain the task on this host; who is connected to it stays
  crosshost.network.ingress:
    config:
      - ports:
          - published: 8080
            tasks:
              - {ip: 10.255.0.101, weight: 0}
              - {ip: 10.255.0.102}

- name: A port whose task on this host sees who its clients are
  crosshost.network.ingress:
    config:
      - ports:
          - published: 25
            keep_client_address: true
            tasks:
              - {ip: 10.255.0.101}
            local:
              - {sandbox: shop}

- name: Remove the network with all its ports
  crosshost.network.ingress:
    state: overridden
    config: []
"""

RETURN = r"""
before:
  description: The declaration that was recorded on the host before.
  returned: success
  type: list
  elements: dict
  sample: []
after:
  description: The declaration that holds now; in check mode, the one that would.
  returned: success
  type: list
  elements: dict
  sample: [{name: ingress, subnets: [{subnet: 10.255.0.0/24, vni: 4096}], address: 10.255.0.11, ports: [{published: 8080, target: 80}]}]
commands:
  description: The plan, as the iproute2, nft and sysctl lines that an expert would type. Empty when nothing changed.
  returned: success
  type: list
  elements: str
  sample: ["nft add element inet crosshost ingress-ports '{ tcp . 8080 : goto ingress-enter }'"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.crosshost.network.plugins.module_utils.kinds.ingress import IngressKind
from ansible_collections.crosshost.network.plugins.module_utils.module_run import (
    DATA_PATH_OPTIONS,
    common_options,
    run,
)

_STR, _INT = {"type": "str"}, {"type": "int"}
SUBNET_OPTIONS: dict[str, Any] = {
    "subnet": {"type": "str", "required": True},
    "gateway": _STR,
    "ip_range": _STR,
    "aux_addresses": {"type": "dict"},
    "vni": _INT,
}
PLACE_OPTIONS: dict[str, Any] = {"sandbox": _STR, "pid": _INT, "container": _STR}
PORT_OPTIONS: dict[str, Any] = {
    "published": {"type": "int", "required": True},
    "target": _INT,
    "protocol": {"type": "str", "choices": ["tcp", "udp", "sctp"]},
    "service": _STR,
    "affinity": {"type": "str", "choices": ["none", "source"]},
    "keep_client_address": {"type": "bool"},
    "tasks": {"type": "list", "elements": "dict", "options": {"ip": _STR, "ip6": _STR, "weight": _INT}},
    "local": {"type": "list", "elements": "dict", "options": {**PLACE_OPTIONS, "weight": _INT}},
}
INGRESS_OPTIONS: dict[str, Any] = {
    "name": _STR,
    "subnets": {"type": "list", "elements": "dict", "options": SUBNET_OPTIONS},
    "mtu": _INT,
    "labels": {"type": "dict"},
    "address": _STR,
    "address6": _STR,
    "gwbridge": _STR,
    "endpoints": {
        "type": "list",
        "elements": "dict",
        "options": dict.fromkeys(("ip", "ip6", "mac", "vtep", "name", "host"), _STR),
    },
    "legs": {
        "type": "list",
        "elements": "dict",
        "options": {"name": _STR, **PLACE_OPTIONS, "ip": _STR, "ip6": _STR},
    },
    "ports": {"type": "list", "elements": "dict", "options": PORT_OPTIONS},
    **DATA_PATH_OPTIONS,
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **common_options(INGRESS_OPTIONS),
            "gwbridges": {"type": "list", "elements": "dict"},
            **DATA_PATH_OPTIONS,
        },
        supports_check_mode=True,
    )
    params = module.params
    defaults: dict[str, Any] = {field: params[field] for field in DATA_PATH_OPTIONS}
    run(
        module,
        lambda: IngressKind(
            defaults,
            params["gwbridges"],
            withdraw=params["state"] == "overridden",
            planned=module.check_mode or params["state"] == "rendered",
        ),
    )


if __name__ == "__main__":
    main()
