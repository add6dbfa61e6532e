# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: macvlan
short_description: Converge macvlan and ipvlan networks on a host
version_added: 0.2.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Makes what a host needs of networks that put sandboxes on its LAN, each as a machine of its own. The sandboxes' devices
    themselves are made by M(crosshost.network.endpoint).
  - A parent such as V(eth0.10) is made (802.1Q) if it is not there. All networks that name it share it, and it goes with the
    last of them. One that somebody else made is used and stays.
  - The kernel passes nothing between a device and its macvlan or ipvlan children. With O(config[].shim) the host gets a
    child of its own, and routes over it to its sandboxes, so that both reach each other. The LAN's own route stays as it is.
  - What cannot share a device is refused before anything is touched. That is ipvlan beside macvlan, V(passthru) beside
    anything, and two ipvlan networks, whether the other one is crosshost's or somebody else's.
  - With O(state=deleted) the devices of a network's sandboxes go along with it.
extends_documentation_fragment:
  - crosshost.network.attributes
  - crosshost.network.converging
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
      driver:
        description:
          - V(macvlan) gives each sandbox a MAC address of its own. It is the default for a new network.
          - V(ipvlan) gives all of them the parent's, for LANs that take one MAC address a port.
        type: str
        choices: [macvlan, ipvlan]
      parent:
        description:
          - The interface that leads to the LAN, or INTERFACE.VLAN with a VLAN id from 1 to 4094, such as V(eth0.10). It must
            be up.
          - Without one the network is internal. It is on a dummy device and its sandboxes reach each other alone.
        type: str
      mode:
        description:
          - For macvlan, V(bridge) (the default) lets the host's sandboxes reach each other inside the host; V(private) does
            not, whatever the switch does; V(vepa) leaves it to the switch, which has to send frames back (reflective relay);
            V(passthru) gives the parent to one sandbox alone, with the parent's MAC address.
          - For ipvlan, V(l2) (the default) is like V(bridge); in V(l3) and V(l3s) the host routes for the sandboxes, without
            broadcasts, and needs no gateway. In V(l3s) its firewall sees their packets too.
        type: str
        choices: [bridge, private, vepa, passthru, l2, l3, l3s]
      subnets:
        description: The LAN's subnets, IPv4 and IPv6. A new network needs at least one. They are merged by O(config[].subnets[].subnet).
        type: list
        elements: dict
        suboptions:
          subnet:
            description: A block as ADDRESS/LENGTH. No two may overlap, in one network or in two.
            type: str
            required: true
          gateway:
            description: The LAN's router, over which the sandboxes reach the outside. It is not made. The default is V(none).
            type: str
          ip_range:
            description: The part of the subnet from which endpoints of all hosts get addresses.
            type: str
          aux_addresses:
            description: Names with addresses of other machines on the LAN, which are refused to endpoints.
            type: dict
      host_range:
        description:
          - This host's parts of the ranges, one a subnet at most, from which endpoints without an address get one. The hosts'
            parts must not overlap; M(crosshost.network.host_view) makes them.
        type: list
        elements: str
      shim:
        description:
          - An IPv4 address for the host's own child, which nobody else on the LAN has.
          - The host reaches its O(config[].host_range) over it, and each of its endpoints outside of that.
        type: str
      shim6:
        description: Likewise, an IPv6 address.
        type: str
      promiscuous:
        description:
          - Whether the parent takes in every frame, for network cards and hypervisors that drop what is for other MAC
            addresses than the card's. The default is V(false).
          - It is undone with the last network that asks for it, unless somebody else had set it before.
        type: bool
      internal:
        description: Whether the network leads nowhere. The default is V(true) without O(config[].parent), else V(false).
        type: bool
      mtu:
        description: The MTU of the sandboxes' devices, at most the parent's, which is the default.
        type: int
      labels:
        description: Names with values of your own; they are recorded.
        type: dict
seealso:
  - module: crosshost.network.endpoint
"""

EXAMPLES = r"""
- name: Sandboxes on the LAN, reached by their host too
  crosshost.network.macvlan:
    config:
      - name: lan
        parent: eth0
        subnets:
          - subnet: 192.168.1.0/24
            gateway: 192.168.1.1
            ip_range: 192.168.1.128/25
        host_range: [192.168.1.128/28]
        shim: 192.168.1.128

- name: A network on VLAN 10, made if it is missing, and one that leads nowhere
  crosshost.network.macvlan:
    config:
      - name: cameras
        parent: eth0.10
        mode: private
        subnets:
          - {subnet: 10.10.0.0/16, gateway: 10.10.0.1}
      - name: backstage
        subnets:
          - {subnet: 10.11.0.0/24}

- name: The host routes for its sandboxes
  crosshost.network.macvlan:
    config:
      - name: routed
        driver: ipvlan
        mode: l3
        parent: eth1
        subnets:
          - {subnet: 10.12.0.0/24}

- name: Remove all of them
  crosshost.network.macvlan:
    state: deleted
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
  sample: [{name: lan, parent: eth0, subnets: [{subnet: 192.168.1.0/24, gateway: 192.168.1.1}]}]
commands:
  description: The plan, as the iproute2 lines that an expert would type. Empty when nothing changed.
  returned: success
  type: list
  elements: str
  sample: ["ip link add link eth0 name eth0.10 group 30840 type vlan id 10"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.crosshost.network.plugins.module_utils.kinds.macvlan import MacvlanKind
from ansible_collections.crosshost.network.plugins.module_utils.module_run import common_options, run

SUBNET_OPTIONS: dict[str, Any] = {
    "subnet": {"type": "str", "required": True},
    "gateway": {"type": "str"},
    "ip_range": {"type": "str"},
    "aux_addresses": {"type": "dict"},
}
NETWORK_OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "driver": {"type": "str", "choices": ["macvlan", "ipvlan"]},
    "parent": {"type": "str"},
    "mode": {"type": "str", "choices": ["bridge", "private", "vepa", "passthru", "l2", "l3", "l3s"]},
    "subnets": {"type": "list", "elements": "dict", "options": SUBNET_OPTIONS},
    "host_range": {"type": "list", "elements": "str"},
    "shim": {"type": "str"},
    "shim6": {"type": "str"},
    "promiscuous": {"type": "bool"},
    "internal": {"type": "bool"},
    "mtu": {"type": "int"},
    "labels": {"type": "dict"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=common_options(NETWORK_OPTIONS), supports_check_mode=True)
    run(module, MacvlanKind)


if __name__ == "__main__":
    main()
