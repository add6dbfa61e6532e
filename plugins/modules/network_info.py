# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: network_info
short_description: Read the overlay networks, gateway bridges and endpoints of a host, and their drift
version_added: 0.1.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Returns what crosshost has recorded on this host, what the kernel has of it, and the drift between the two, as the
    commands that would mend it.
  - Changes nothing, and needs no options.
extends_documentation_fragment:
  - crosshost.network.attributes.info
requirements:
  - pyroute2 (Debian's python3-pyroute2 will do)
options:
  gather:
    description: What to read.
    type: list
    elements: str
    choices: [overlay_networks, gwbridges, bridge_networks, macvlans, endpoints, services, ingress, names]
    default: [overlay_networks, gwbridges, bridge_networks, macvlans, endpoints, services, ingress, names]
"""

EXAMPLES = r"""
- name: Everything
  crosshost.network.network_info:
  register: found

- name: Fail when a host has drifted
  ansible.builtin.assert:
    that: not found.drifted
    fail_msg: "{{ found.drift }}"

- name: The overlay networks alone
  crosshost.network.network_info:
    gather: [overlay_networks]
"""

RETURN = r"""
overlay_networks:
  description: The overlay networks.
  returned: when gathered
  type: list
  elements: dict
  sample: [{name: web, namespace: xh-web, present: true, config: {name: web}, links: [], fdb_rows: 2, neighbours: 4, endpoints: [shop]}]
gwbridges:
  description: The gateway bridges.
  returned: when gathered
  type: list
  elements: dict
  sample: [{name: xh_gwbridge, present: true, addresses: [172.30.0.1/16], config: {name: xh_gwbridge}, sandboxes: [shop]}]
bridge_networks:
  description: The bridge networks.
  returned: when gathered
  type: list
  elements: dict
  sample: [{name: front, present: true, bridge: xb-front, addresses: [172.20.0.1/16], mtu: 1500, config: {name: front}, endpoints: [shop]}]
macvlans:
  description: The macvlan and ipvlan networks.
  returned: when gathered
  type: list
  elements: dict
  sample: [{name: lan, present: true, parent: eth0, driver: macvlan, mode: bridge, mtu: 1500, shim: [], config: {name: lan}, endpoints: [shop]}]
endpoints:
  description: The endpoints on this host.
  returned: when gathered
  type: list
  elements: dict
  sample: [{id: web/shop, present: true, interface: eth0, netns: shop, addresses: [10.0.1.11/24], published: ['8080:80/tcp'], config: {network: web}}]
services:
  description: The services, with the sandboxes of this host in which their virtual addresses answer.
  returned: when gathered
  type: list
  elements: dict
  sample: [{id: web/shop, present: true, vips: [10.0.1.100], sandboxes: [cart, shop], config: {network: web, name: shop}}]
ingress:
  description: The ingress network, with the ports that it publishes on this host and the tasks that it has here.
  returned: when gathered
  type: list
  elements: dict
  sample: [{name: ingress, namespace: xh-ingress, sandbox: crosshost-ingress, present: true, addresses: [10.255.0.11/24, 172.30.255.254/16], ports: [8080/tcp], legs: [web.shop], config: {name: ingress}}]
names:
  description:
    - The name servers on this host, by their networks. Those whose names have colons serve the sandboxes that are in these
      networks together.
  returned: when gathered
  type: list
  elements: dict
  sample: [{name: web, present: true, records: 3, services: 1, config: {network: web}}]
drift:
  description: For each kind, the commands that would bring the kernel back to what was recorded; none where it agrees.
  returned: success
  type: dict
  sample: {overlay_network: [], gwbridge: [], endpoint: ["ip -n shop addr add 10.0.1.11/24 dev eth0"]}
drifted:
  description: Whether there is any drift.
  returned: success
  type: bool
  sample: true
errors:
  description: For each kind that cannot be compared, the reason, such as a VTEP that is no address of the host any more.
  returned: success
  type: dict
  sample: {}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError
from ansible_collections.crosshost.network.plugins.module_utils.info import gather
from ansible_collections.crosshost.network.plugins.module_utils.module_run import need_pyroute2

CHOICES = [
    "overlay_networks",
    "gwbridges",
    "bridge_networks",
    "macvlans",
    "endpoints",
    "services",
    "ingress",
    "names",
]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "gather": {"type": "list", "elements": "str", "choices": CHOICES, "default": CHOICES},
        },
        supports_check_mode=True,
    )
    try:
        need_pyroute2()
        found = gather(module.params["gather"])
    except CrosshostError as error:
        module.fail_json(msg=str(error))
    else:
        module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
