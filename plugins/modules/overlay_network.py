# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: overlay_network
short_description: Converge overlay networks (VXLAN) on a host
version_added: 0.1.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Makes this host's part of networks that span hosts. Each network is a namespace C(xh-NAME) that holds, for each segment
    (VNI), a bridge C(brVNI) with the gateway addresses and a VXLAN device C(vxVNI), whose forwarding and neighbour tables
    hold exactly what is declared.
  - The whole list is one plan. It is checked first, applied as one transaction and read back. When the kernel refuses an
    operation, what was done before is undone, and the message says which one and why.
  - Links and namespaces that crosshost did not make are never changed or deleted. A collision with them (a name, a VNI on
    the same port, a subnet that the host routes elsewhere) is refused before anything is touched.
extends_documentation_fragment:
  - crosshost.network.attributes
  - crosshost.network.converging
  - crosshost.network.converging.data_path
requirements:
  - pyroute2 (Debian's python3-pyroute2 will do)
options:
  config:
    description: The networks.
    type: list
    elements: dict
    suboptions:
      name:
        description: The network's name, up to 60 letters, digits, dots, dashes and underscores.
        type: str
        required: true
      subnets:
        description:
          - The network's subnets, IPv4 and IPv6. Subnets of one network are routed to each other in its namespace.
          - A new network needs at least one.
        type: list
        elements: dict
        suboptions:
          subnet:
            description: A block as ADDRESS/LENGTH. No two may overlap, in one network or in two.
            type: str
            required: true
          gateway:
            description:
              - The gateway's address, which every host's bridge bears.
              - The default is the first address of O(config[].subnets[].ip_range), else of the subnet.
              - V(none) gives the bridge no address.
            type: str
          ip_range:
            description: The part of the subnet from which endpoints get addresses.
            type: str
          aux_addresses:
            description: Names with addresses that are reserved for devices of your own, and refused to endpoints.
            type: dict
          vni:
            description:
              - The subnet's VXLAN network identifier, 1 to 16777215, unique among the networks with one data-path port.
              - An IPv6 subnet without one shares the segment of the first IPv4 subnet that has no IPv6 subnet yet, so that
                an endpoint has both addresses on one interface. The same can be said by giving both subnets one VNI.
            type: int
      mtu:
        description:
          - The MTU inside the network, at least 576, with IPv6 at least 1280.
          - The default is what the underlay passes to every peer, less 50 bytes over IPv4 or 70 over IPv6. More than that is
            refused.
        type: int
      control_plane:
        description:
          - How the network learns what is where. The default for a new network is V(static).
          - V(static) knows the declared endpoints only, and nothing floods.
          - V(flood) sends broadcasts to every peer and learns from what comes back, so that endpoints may come and go without
            a run.
          - V(multicast) does the same by a multicast group of the underlay.
        type: str
        choices: [static, flood, multicast]
      multicast_group:
        description: The group for O(config[].control_plane=multicast), such as 239.1.1.1.
        type: str
      endpoints:
        description: The endpoints on other hosts, for O(config[].control_plane=static). They are merged by O(config[].endpoints[].ip).
        type: list
        elements: dict
        suboptions:
          ip:
            description: The endpoint's IPv4 address.
            type: str
          ip6:
            description: The endpoint's IPv6 address.
            type: str
          mac:
            description: Its MAC address. The default is 02:42 and the IPv4 address.
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
      internal:
        description: Whether its sandboxes get no way to the outside. The default is V(false).
        type: bool
      attachable:
        description: Whether endpoints may join it. The default is V(true).
        type: bool
      labels:
        description: Names with values, kept with the network.
        type: dict
seealso:
  - module: crosshost.network.endpoint
  - module: crosshost.network.gwbridge
"""

EXAMPLES = r"""
- name: A network for IPv4 and IPv6 between this host and two others
  crosshost.network.overlay_network:
    data_path_address: 192.0.2.1
    peers:
      - {host: h2, vtep: 192.0.2.2}
      - {host: h3, vtep: 192.0.2.3}
    config:
      - name: web
        subnets:
          - {subnet: 10.0.1.0/24, vni: 4101}
          - {subnet: "fd00:0:1::/64"}
        endpoints:
          - {ip: 10.0.1.12, ip6: "fd00:0:1::12", vtep: 192.0.2.2}
          - {ip: 10.0.1.13, ip6: "fd00:0:1::13", vtep: 192.0.2.3}

- name: Several subnets with their own gateways, a range and reserved addresses
  crosshost.network.overlay_network:
    data_path_interface: eth1
    config:
      - name: wide
        subnets:
          - subnet: 192.168.0.0/16
            vni: 4110
            gateway: 192.168.0.100
            ip_range: 192.168.1.0/24
            aux_addresses:
              my-router: 192.168.1.5
              my-switch: 192.168.1.16
          - subnet: 192.170.0.0/16
            vni: 4111
            gateway: 192.170.0.100

- name: Endpoints come and go without a run
  crosshost.network.overlay_network:
    data_path_interface: eth1
    peers:
      - {host: h2, vtep: 192.0.2.2}
    config:
      - name: build
        control_plane: flood
        mtu: 1400
        subnets:
          - {subnet: 10.0.2.0/24, vni: 4102}

- name: By a multicast group of the underlay, on another port, without a way to the outside
  crosshost.network.overlay_network:
    data_path_interface: eth1
    config:
      - name: lab
        control_plane: multicast
        multicast_group: 239.1.1.1
        data_path_port: 8472
        internal: true
        labels:
          owner: research
        subnets:
          - {subnet: 10.0.3.0/24, vni: 4103, gateway: none}

- name: See what would be done if these were the only networks
  crosshost.network.overlay_network:
    state: overridden
    config: "{{ networks }}"
  check_mode: true
  diff: true

- name: Remove one network
  crosshost.network.overlay_network:
    state: deleted
    config:
      - name: lab
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
  sample: [{name: web, subnets: [{subnet: 10.0.1.0/24, vni: 4101}]}]
commands:
  description:
    - The plan, as the iproute2, nft and sysctl lines that an expert would type. Empty when nothing changed.
    - Beyond 200 rows of one table the rest is counted instead of listed.
  returned: success
  type: list
  elements: str
  sample: ["ip netns add xh-web", "ip link add vx4101 netns xh-web group 30840 type vxlan id 4101 local 192.0.2.1 dstport 4789 nolearning proxy"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.crosshost.network.plugins.module_utils.kinds.overlay import OverlayKind
from ansible_collections.crosshost.network.plugins.module_utils.module_run import (
    DATA_PATH_OPTIONS,
    common_options,
    run,
)

SUBNET_OPTIONS: dict[str, Any] = {
    "subnet": {"type": "str", "required": True},
    "gateway": {"type": "str"},
    "ip_range": {"type": "str"},
    "aux_addresses": {"type": "dict"},
    "vni": {"type": "int"},
}
ENDPOINT_OPTIONS: dict[str, Any] = {
    field: {"type": "str"} for field in ("ip", "ip6", "mac", "vtep", "name", "host")
}
NETWORK_OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "subnets": {"type": "list", "elements": "dict", "options": SUBNET_OPTIONS},
    "mtu": {"type": "int"},
    "control_plane": {"type": "str", "choices": ["static", "flood", "multicast"]},
    "multicast_group": {"type": "str"},
    "endpoints": {"type": "list", "elements": "dict", "options": ENDPOINT_OPTIONS},
    "internal": {"type": "bool"},
    "attachable": {"type": "bool"},
    "labels": {"type": "dict"},
    **DATA_PATH_OPTIONS,
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={**common_options(NETWORK_OPTIONS), **DATA_PATH_OPTIONS},
        supports_check_mode=True,
    )
    defaults: dict[str, Any] = {field: module.params[field] for field in DATA_PATH_OPTIONS}
    run(module, lambda: OverlayKind(defaults))


if __name__ == "__main__":
    main()
