# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: service
short_description: Converge the virtual addresses of services
version_added: 0.2.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Gives several endpoints of a network, the tasks of a service, one virtual address (VIP). In each sandbox of this host that
    is in the network, a new connection to that address goes to one of the tasks, wherever in the cluster that is. All
    protocols follow it, and the task sees the caller's own address.
  - The balancing is done by nftables in the caller's own sandbox, in its table C(inet crosshost). Nothing runs for it, and a
    new connection costs one look-up however many services there are.
  - Only the first packet of a connection is balanced. Whatever is changed here, connections that there are go on, as long as
    their task does; those through the address of the last service that a sandbox loses end.
  - A UDP flow that never falls silent goes to another task once its own is no task any more.
  - Needs the sandboxes to be joined already, by M(crosshost.network.endpoint), and does nothing on a host that has no sandbox
    in the service's network. The names of services are the matter of M(crosshost.network.names).
extends_documentation_fragment:
  - crosshost.network.attributes
  - crosshost.network.converging
requirements:
  - pyroute2 (Debian's python3-pyroute2 will do)
  - nft (package nftables)
options:
  config:
    description: The services.
    type: list
    elements: dict
    suboptions:
      network:
        description: The network whose endpoints are the tasks, of any driver.
        type: str
        required: true
      name:
        description: The service's name. No other service and no endpoint of the network has it.
        type: str
        required: true
      mode:
        description:
          - V(vip) (the default) gives the service a virtual address.
          - V(dnsrr) gives it none. Its name stands for the addresses of its tasks, and there is nothing to balance.
        type: str
        choices: [vip, dnsrr]
      vip:
        description:
          - The virtual IPv4 address, a free one of the network's subnets. It is on no interface.
          - Mode V(vip) needs this or O(config[].vip6).
        type: str
      vip6:
        description: The virtual IPv6 address, likewise.
        type: str
      tasks:
        description:
          - The endpoints behind the service. Those of other hosts count as those of this one do.
          - Without any that takes connections (and has an address of the family), a connection is refused at once.
          - They are merged by O(config[].tasks[].name).
        type: list
        elements: dict
        suboptions:
          name:
            description: The task's name, unique in the service. The default is its address.
            type: str
          ip:
            description: The endpoint's IPv4 address. A task needs this or O(config[].tasks[].ip6).
            type: str
          ip6:
            description: The endpoint's IPv6 address.
            type: str
          weight:
            description:
              - Its share of the new connections, from 0 to 1000, in proportion to those of the other tasks. The default is 1.
              - V(0) drains it. It gets no new connections, and keeps those that it has.
            type: int
      affinity:
        description:
          - V(none) (the default) draws a task at random for each connection.
          - V(source) has all connections from one address go to the same task, on whichever host the caller is. When the
            tasks or their weights change, callers may move.
        type: str
        choices: [none, source]
  networks:
    description:
      - The networks, with the options of M(crosshost.network.overlay_network), where they may not have been converged on this
        host yet. This makes check mode right on a new host; otherwise what is recorded on the host is enough.
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
  endpoints:
    description: This host's endpoints, with the options of M(crosshost.network.endpoint), likewise.
    type: list
    elements: dict
seealso:
  - module: crosshost.network.endpoint
  - module: crosshost.network.names
"""

EXAMPLES = r"""
- name: A service of three tasks, with IPv4 and IPv6
  crosshost.network.service:
    config:
      - network: web
        name: shop
        vip: 10.0.1.100
        vip6: "fd00:0:1::100"
        tasks:
          - {name: shop1, ip: 10.0.1.11, ip6: "fd00:0:1::11"}
          - {name: shop2, ip: 10.0.1.12, ip6: "fd00:0:1::12"}
          - {name: shop3, ip: 10.0.1.13, ip6: "fd00:0:1::13"}

- name: A new version beside the old one, for one connection in ten
  crosshost.network.service:
    config:
      - network: web
        name: cart
        vip: 10.0.1.101
        tasks:
          - {name: cart-old, ip: 10.0.1.21, weight: 9}
          - {name: cart-new, ip: 10.0.1.22, weight: 1}

- name: Drain the old one; who is connected to it stays
  crosshost.network.service:
    config:
      - {network: web, name: cart, tasks: [{name: cart-old, weight: 0}]}

- name: Each caller stays with one task
  crosshost.network.service:
    config:
      - {network: web, name: shop, affinity: source}

- name: A service by its name alone, without a virtual address
  crosshost.network.service:
    config:
      - network: web
        name: search
        mode: dnsrr
        tasks:
          - {name: search1, ip: 10.0.1.31}
          - {name: search2, ip: 10.0.1.32}

- name: Remove one
  crosshost.network.service:
    state: deleted
    config:
      - {network: web, name: search}

- name: What would be done on a host that has nothing yet
  crosshost.network.service:
    config: "{{ services }}"
    networks: "{{ overlays }}"
    bridge_networks: "{{ bridges }}"
    macvlan_networks: "{{ lans }}"
    endpoints: "{{ sandboxes }}"
  check_mode: true
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
  sample: [{network: web, name: shop, vip: 10.0.1.100, tasks: [{name: shop1, ip: 10.0.1.11}]}]
commands:
  description:
    - The plan, as the nft lines that an expert would type. Empty when nothing changed.
    - Beyond 200 chains of one sandbox the rest is counted instead of listed.
  returned: success
  type: list
  elements: str
  sample: ["ip netns exec shop nft add rule inet crosshost service-web/shop-4 dnat ip to 10.0.1.11"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.crosshost.network.plugins.module_utils.kinds.service import ServiceKind
from ansible_collections.crosshost.network.plugins.module_utils.module_run import common_options, run

TASK_OPTIONS: dict[str, Any] = {
    "name": {"type": "str"},
    "ip": {"type": "str"},
    "ip6": {"type": "str"},
    "weight": {"type": "int"},
}
SERVICE_OPTIONS: dict[str, Any] = {
    "network": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "mode": {"type": "str", "choices": ["vip", "dnsrr"]},
    "vip": {"type": "str"},
    "vip6": {"type": "str"},
    "tasks": {"type": "list", "elements": "dict", "options": TASK_OPTIONS},
    "affinity": {"type": "str", "choices": ["none", "source"]},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **common_options(SERVICE_OPTIONS),
            "networks": {"type": "list", "elements": "dict"},
            "bridge_networks": {"type": "list", "elements": "dict"},
            "macvlan_networks": {"type": "list", "elements": "dict"},
            "endpoints": {"type": "list", "elements": "dict"},
        },
        supports_check_mode=True,
    )
    params = module.params
    networks = {
        "overlay_network": params["networks"],
        "bridge_network": params["bridge_networks"],
        "macvlan": params["macvlan_networks"],
    }
    planned = module.check_mode or params["state"] == "rendered"
    run(module, lambda: ServiceKind(networks, params["endpoints"], planned))


if __name__ == "__main__":
    main()
