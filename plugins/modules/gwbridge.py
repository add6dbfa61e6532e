# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gwbridge
short_description: Converge the gateway bridge of a host
version_added: 0.1.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Makes the bridge through which the sandboxes of overlay networks reach the outside, with its masquerading and its
    isolation. It is what C(docker_gwbridge) is to a swarm; by default it is called C(xh_gwbridge), so that a dockerd on the
    same host keeps its own.
  - Nobody outside can open a connection to a sandbox over it, and with O(config[].icc=false) sandboxes cannot reach each
    other over it. Neither needs br_netfilter. The rules are chains of the nft table C(inet crosshost).
  - Turns on forwarding on the host (C(net.ipv4.ip_forward), and C(net.ipv6.conf.all.forwarding) with
    O(config[].subnet6)). Where the host uses IPv6 router advertisements, C(accept_ra) is set to 2 first, so that it keeps
    the routes that it learned from them.
  - The bridge is changed in place; sandboxes stay attached. A bridge that dockerd or anybody else made is never touched.
  - With O(state=deleted) a bridge that sandboxes use is refused. With O(state=overridden) the legs of a bridge that is not
    listed any more go with it, and the next M(crosshost.network.endpoint) task joins the sandboxes to the listed one.
extends_documentation_fragment:
  - crosshost.network.attributes
  - crosshost.network.converging
requirements:
  - pyroute2 (Debian's python3-pyroute2 will do)
  - nft (package nftables)
options:
  config:
    description: The gateway bridges. One is the rule.
    type: list
    elements: dict
    suboptions:
      name:
        description: The bridge's name, at most 15 bytes. The default is V(xh_gwbridge).
        type: str
      subnet:
        description: Its IPv4 block. A new bridge needs this or O(config[].subnet6).
        type: str
      gateway:
        description: The bridge's IPv4 address. The default is the first of the subnet.
        type: str
      subnet6:
        description: Its IPv6 block.
        type: str
      gateway6:
        description: The bridge's IPv6 address. The default is the first of the subnet.
        type: str
      icc:
        description: Whether sandboxes can reach each other over the bridge. The default is V(false).
        type: bool
      ip_masquerade:
        description: Whether what leaves the host from a sandbox gets the host's address. The default is V(true).
        type: bool
      mtu:
        description: The MTU of the bridge and of the sandboxes' legs. The default is 1500.
        type: int
seealso:
  - module: crosshost.network.endpoint
"""

EXAMPLES = r"""
- name: The gateway bridge for IPv4 and IPv6
  crosshost.network.gwbridge:
    config:
      - subnet: 172.30.0.0/16
        subnet6: "fd00:172:30::/64"

- name: The bridge as Docker's documentation makes it, on a host without dockerd
  crosshost.network.gwbridge:
    config:
      - name: docker_gwbridge
        subnet: 10.11.0.0/16
        icc: false
        ip_masquerade: true

- name: Let sandboxes reach each other over it, and lower its MTU
  crosshost.network.gwbridge:
    state: merged
    config:
      - icc: true
        mtu: 1400

- name: Remove it, once no endpoint uses it any more
  crosshost.network.gwbridge:
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
  sample: [{name: xh_gwbridge, subnet: 172.30.0.0/16}]
commands:
  description:
    - The plan, as the iproute2, nft and sysctl lines that an expert would type. Empty when nothing changed.
    - Beyond 200 rows of one table the rest is counted instead of listed.
  returned: success
  type: list
  elements: str
  sample: ["ip link add xh_gwbridge address 5a:74:7a:7a:64:ca group 30840 type bridge vlan_default_pvid 0 mcast_snooping 0"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.crosshost.network.plugins.module_utils.kinds.gwbridge import GwbridgeKind
from ansible_collections.crosshost.network.plugins.module_utils.module_run import common_options, run

BRIDGE_OPTIONS: dict[str, Any] = {
    "name": {"type": "str"},
    "subnet": {"type": "str"},
    "gateway": {"type": "str"},
    "subnet6": {"type": "str"},
    "gateway6": {"type": "str"},
    "icc": {"type": "bool"},
    "ip_masquerade": {"type": "bool"},
    "mtu": {"type": "int"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=common_options(BRIDGE_OPTIONS), supports_check_mode=True)
    run(module, lambda: GwbridgeKind(with_legs=module.params["state"] == "overridden"))


if __name__ == "__main__":
    main()
