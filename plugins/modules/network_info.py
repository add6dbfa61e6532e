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
    choices: [overlay_networks, gwbridges, endpoints]
    default: [overlay_networks, gwbridges, endpoints]
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
endpoints:
  description: The endpoints on this host.
  returned: when gathered
  type: list
  elements: dict
  sample: [{id: web/shop, present: true, interface: eth0, netns: shop, addresses: [10.0.1.11/24], config: {network: web}}]
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

CHOICES = ["overlay_networks", "gwbridges", "endpoints"]


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
