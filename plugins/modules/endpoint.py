# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: endpoint
short_description: Join sandboxes of this host to networks
version_added: 0.1.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Joins a sandbox (a named network namespace, a process's, or a container's) to an overlay network by a veth pair, with the
    addresses, the MAC, the MTU and the routes that belong to it.
  - A sandbox with an endpoint in a network that is not internal gets one leg more, C(gw0), to the gateway bridge, and its
    default route over it.
  - When an endpoint goes, its pair goes; the sandbox's leg and the sandbox itself, if crosshost made it, go with the last.
extends_documentation_fragment:
  - crosshost.network.attributes
  - crosshost.network.converging
  - crosshost.network.converging.data_path
requirements:
  - pyroute2 (Debian's python3-pyroute2 will do)
options:
  config:
    description: The endpoints on this host.
    type: list
    elements: dict
    suboptions:
      network:
        description:
          - The network, of any driver (overlay, bridge, macvlan).
          - V(host) puts the sandbox into the host's own namespace, V(none) gives it a loopback device alone, and
            V(container:NAME) the namespace of another sandbox or container. A sandbox in one of these is in no network. What a
            container or process was started with is checked, as it cannot change.
        type: str
        required: true
      name:
        description: The endpoint's name, unique in its network. The default is the sandbox's or container's name, or C(pid-PID).
        type: str
      sandbox:
        description: A network namespace by its name in C(/run/netns).
        type: str
      pid:
        description: A process whose network namespace is the sandbox.
        type: int
      container:
        description: A running container of Docker or Podman on this host, by its name or id.
        type: str
      create:
        description:
          - Make the namespace O(config[].sandbox) if there is none. The default is V(false), and a sandbox that does not exist
            is refused.
        type: bool
      ip:
        description:
          - The IPv4 address, in one of the network's subnets.
          - On a bridge network, and on a macvlan network with a range, the default is the first free one of the host's range. The
            endpoint keeps it as long as its interface lives.
        type: str
      ip6:
        description: The IPv6 address, in one of the network's subnets of the same segment. The default is as for O(config[].ip).
        type: str
      mac:
        description: The MAC address. The default is 02:42 and the IPv4 address.
        type: str
      interface:
        description: The interface's name in the sandbox. The default is the first free one of C(eth0), C(eth1) and so on.
        type: str
      default_route:
        description:
          - Whether the sandbox's default route may go over this endpoint, through the network's gateway or, from an overlay,
            through the gateway bridge. Never over an internal network. The default is V(true).
        type: bool
      gwbridge:
        description: The gateway bridge of an overlay's endpoint. The default is V(xh_gwbridge).
        type: str
      gw_priority:
        description:
          - Which of a sandbox's endpoints gives it its default route. The highest wins; among equals one whose network has a
            gateway of its own before one that goes over the gateway bridge, one for both families before one for a single, and
            the first by the network's name. IPv4 and IPv6 are told apart. The default is V(0).
        type: int
      publish:
        description:
          - Ports of the sandbox that answer at the host, as Docker's C(--publish) takes them,
            C([ip:][host port or range:]container port or range[/tcp|udp|sctp]). Without a host port a free one is chosen.
          - A mapping with C(target), C(published), C(protocol) and C(host_ip) says the same.
          - From a bridge network, or from an overlay over the gateway bridge, where the sandbox's default route has to lead.
        type: list
        elements: raw
      aliases:
        description: Further names by which others in the network find it (M(crosshost.network.names)).
        type: list
        elements: str
      dns:
        description: Whether the sandbox's C(resolv.conf) names the network's name server. The default is V(true).
        type: bool
  networks:
    description:
      - The networks, with the options of M(crosshost.network.overlay_network), where they may not have been converged on this
        host yet. This makes check mode right on a new host; otherwise what is recorded on the host is enough.
    type: list
    elements: dict
  gwbridges:
    description: The gateway bridges, with the options of M(crosshost.network.gwbridge), likewise.
    type: list
    elements: dict
  bridge_networks:
    description: The bridge networks, with the options of M(crosshost.network.bridge_network), likewise.
    type: list
    elements: dict
  macvlan_networks:
    description: The macvlan networks, with the options of M(crosshost.network.macvlan), likewise.
    type: list
    elements: dict
seealso:
  - module: crosshost.network.overlay_network
  - module: crosshost.network.gwbridge
"""

EXAMPLES = r"""
- name: A sandbox of its own, with IPv4 and IPv6
  crosshost.network.endpoint:
    config:
      - network: web
        sandbox: shop
        create: true
        ip: 10.0.1.11
        ip6: "fd00:0:1::11"

- name: A running container, in two networks
  crosshost.network.endpoint:
    config:
      - {network: web, container: frontend, ip: 10.0.1.20, interface: web0}
      - {network: db, container: frontend, ip: 10.0.9.20, interface: db0, default_route: false}

- name: A process, with a MAC address of its own
  crosshost.network.endpoint:
    config:
      - {network: web, pid: 4711, name: probe, ip: 10.0.1.30, mac: "02:00:5e:10:00:30"}

- name: On a bridge of the host, with an address that the host chooses and two published ports
  crosshost.network.endpoint:
    config:
      - network: front
        container: shop
        publish: ["8080:80", "127.0.0.1:9000:9000/udp"]

- name: In two networks, with the default route over the second, and known by another name as well
  crosshost.network.endpoint:
    config:
      - {network: web, container: frontend, ip: 10.0.1.20}
      - {network: front, container: frontend, gw_priority: 10, aliases: [www]}

- name: A sandbox in the host's own namespace, one with a loopback device alone, one that shares a container's
  crosshost.network.endpoint:
    config:
      - {network: host, sandbox: monitor, create: true}
      - {network: none, sandbox: vault, create: true}
      - {network: "container:frontend", sandbox: sidecar, create: true}

- name: Leave the container's resolv.conf alone
  crosshost.network.endpoint:
    config:
      - {network: web, container: legacy, ip: 10.0.1.40, dns: false}

- name: Disconnect one
  crosshost.network.endpoint:
    state: deleted
    config:
      - {network: web, sandbox: shop}
"""

RETURN = r"""
before:
  description: The declarations that were recorded on the host before.
  returned: success
  type: list
  elements: dict
  sample: []
after:
  description: The declarations that hold now; in check mode, those that would.
  returned: success
  type: list
  elements: dict
  sample: [{network: web, sandbox: shop, ip: 10.0.1.11}]
commands:
  description:
    - The plan, as the iproute2, nft and sysctl lines that an expert would type. Empty when nothing changed.
    - Beyond 200 rows of one table the rest is counted instead of listed.
  returned: success
  type: list
  elements: str
  sample: ["ip -n shop addr add 10.0.1.11/24 dev eth0"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.crosshost.network.plugins.module_utils.kinds.endpoint import EndpointKind
from ansible_collections.crosshost.network.plugins.module_utils.kinds.ground import Ground
from ansible_collections.crosshost.network.plugins.module_utils.module_run import (
    DATA_PATH_OPTIONS,
    common_options,
    run,
)

ENDPOINT_OPTIONS: dict[str, Any] = {
    "network": {"type": "str", "required": True},
    "name": {"type": "str"},
    "sandbox": {"type": "str"},
    "pid": {"type": "int"},
    "container": {"type": "str"},
    "create": {"type": "bool"},
    "ip": {"type": "str"},
    "ip6": {"type": "str"},
    "mac": {"type": "str"},
    "interface": {"type": "str"},
    "default_route": {"type": "bool"},
    "gwbridge": {"type": "str"},
    "gw_priority": {"type": "int"},
    "publish": {"type": "list", "elements": "raw"},
    "aliases": {"type": "list", "elements": "str"},
    "dns": {"type": "bool"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **common_options(ENDPOINT_OPTIONS),
            "networks": {"type": "list", "elements": "dict"},
            "gwbridges": {"type": "list", "elements": "dict"},
            "bridge_networks": {"type": "list", "elements": "dict"},
            "macvlan_networks": {"type": "list", "elements": "dict"},
            **DATA_PATH_OPTIONS,
        },
        supports_check_mode=True,
    )
    params = module.params
    defaults = {field: params[field] for field in DATA_PATH_OPTIONS}
    run(
        module,
        lambda: EndpointKind(
            Ground(
                params["networks"],
                params["gwbridges"],
                defaults,
                params["bridge_networks"],
                params["macvlan_networks"],
            ),
            module.check_mode,
        ),
    )


if __name__ == "__main__":
    main()
