# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_network
short_description: Converge networks of a single host
version_added: 0.2.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Makes bridges that join sandboxes of one host with each other, with the host and, by its address, with the outside, as
    Docker's C(docker0) does. Ports of the sandboxes are published by their endpoints (M(crosshost.network.endpoint)).
  - Networks are apart. From another network or from outside, also by a route, a sandbox is reached at its published ports
    alone, by an address of the host. The rules are chains and maps of the nft table C(inet crosshost); they need no
    br_netfilter.
  - Turns on forwarding on the host (C(net.ipv4.ip_forward), and C(net.ipv6.conf.all.forwarding) for IPv6 subnets), unless
    all networks are internal. Where the host uses IPv6 router advertisements, C(accept_ra) is set to 2 first, so that it
    keeps the routes that it learned from them.
  - A network is changed in place; sandboxes stay attached. A bridge that dockerd or anybody else made is never touched.
  - With O(state=deleted) a network that sandboxes use is refused. With O(state=overridden) the endpoints of a network that
    is not listed any more go with it.
extends_documentation_fragment:
  - crosshost.network.attributes
  - crosshost.network.converging
requirements:
  - pyroute2 (Debian's python3-pyroute2 will do)
  - nft (package nftables)
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
      bridge:
        description: The bridge's name, at most 15 bytes. The default is C(xb-) and the network's name, or a digest of that.
        type: str
      subnets:
        description: The subnets, IPv4 and IPv6. A new network needs at least one. They are merged by O(config[].subnets[].subnet).
        type: list
        elements: dict
        suboptions:
          subnet:
            description: A block as ADDRESS/LENGTH. No two may overlap, in one network or in two.
            type: str
            required: true
          gateway:
            description:
              - The bridge's address, over which the sandboxes reach the outside. The default is the first address of
                O(config[].subnets[].ip_range), or of the subnet. V(none) leaves the bridge without one.
            type: str
          ip_range:
            description: The part of the subnet from which endpoints without an address get one.
            type: str
          aux_addresses:
            description: Names with addresses that are refused to endpoints.
            type: dict
      internal:
        description:
          - Whether the network leads nowhere. Its sandboxes then reach each other and the host at the bridge's address, and
            nothing is forwarded in or out. The default is V(false).
        type: bool
      icc:
        description: Whether its sandboxes reach each other. The default is V(true).
        type: bool
      ip_masquerade:
        description:
          - Whether what leaves the host from a sandbox gets the host's address. Without, others need routes to the subnets.
            The default is V(true).
        type: bool
      mtu:
        description: The MTU of the bridge and of the endpoints. The default is 1500.
        type: int
      host_ip:
        description:
          - The address of the host at which its endpoints' ports are published that do not say it themselves, such as
            V(127.0.0.1). The default is all addresses, IPv4 and IPv6; V(::) is all of IPv6.
        type: str
      labels:
        description: Names with values of your own; they are recorded.
        type: dict
seealso:
  - module: crosshost.network.endpoint
"""

EXAMPLES = r"""
- name: A network for IPv4 and IPv6
  crosshost.network.bridge_network:
    config:
      - name: front
        subnets:
          - {subnet: 172.20.0.0/16}
          - {subnet: "fd00:172:20::/64"}

- name: Its sandboxes, one with a published port
  crosshost.network.endpoint:
    config:
      - {network: front, container: shop, publish: ["8080:80"]}
      - {network: front, sandbox: probe, create: true}

- name: A network with a bridge name, gateway, range and reserved address of its own, published at 127.0.0.1 by default
  crosshost.network.bridge_network:
    config:
      - name: local
        bridge: br-local
        subnets:
          - subnet: 172.21.0.0/16
            gateway: 172.21.0.254
            ip_range: 172.21.5.0/24
            aux_addresses: {printer: 172.21.5.9}
        host_ip: 127.0.0.1
        mtu: 1400
        labels: {team: shop}

- name: Databases that nobody outside reaches, and tenants that do not reach each other
  crosshost.network.bridge_network:
    config:
      - name: data
        subnets: [{subnet: 172.22.0.0/24}]
        internal: true
      - name: tenants
        subnets: [{subnet: 172.23.0.0/24}]
        icc: false

- name: Sandboxes that go out with their own addresses, where the LAN's router has a route to them
  crosshost.network.bridge_network:
    config:
      - name: routed
        subnets: [{subnet: "2001:db8:1::/64"}]
        ip_masquerade: false

- name: Remove a network, once no endpoint uses it any more
  crosshost.network.bridge_network:
    state: deleted
    config:
      - name: tenants
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
  sample: [{name: front, subnets: [{subnet: 172.20.0.0/16}]}]
commands:
  description:
    - The plan, as the iproute2, nft and sysctl lines that an expert would type. Empty when nothing changed.
    - Beyond 200 rows of one table the rest is counted instead of listed.
  returned: success
  type: list
  elements: str
  sample: ["ip link add xb-front address 5a:70:a5:da:4e:f6 group 30840 type bridge vlan_default_pvid 0 mcast_snooping 0"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.crosshost.network.plugins.module_utils.kinds.bridge import BridgeKind
from ansible_collections.crosshost.network.plugins.module_utils.module_run import common_options, run

SUBNET_OPTIONS: dict[str, Any] = {
    "subnet": {"type": "str", "required": True},
    "gateway": {"type": "str"},
    "ip_range": {"type": "str"},
    "aux_addresses": {"type": "dict"},
}
NETWORK_OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "bridge": {"type": "str"},
    "subnets": {"type": "list", "elements": "dict", "options": SUBNET_OPTIONS},
    "internal": {"type": "bool"},
    "icc": {"type": "bool"},
    "ip_masquerade": {"type": "bool"},
    "mtu": {"type": "int"},
    "host_ip": {"type": "str"},
    "labels": {"type": "dict"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=common_options(NETWORK_OPTIONS), supports_check_mode=True)
    run(module, lambda: BridgeKind(with_endpoints=module.params["state"] == "overridden"))


if __name__ == "__main__":
    main()
