# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: firewall_ports
short_description: Open the ports between the hosts to the peers alone
version_added: 0.1.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Opens ports to a list of peers, in the firewall that the host runs. The defaults are the ports of a swarm,
    2377/tcp for management, 7946/tcp and 7946/udp for the gossip between the nodes, 4789/udp for VXLAN.
  - The listed ports accept from O(config[].sources) only. With the backends V(nftables) and V(iptables) everyone else
    is dropped at these ports, whatever the host's own rules say; loopback passes, and so do replies to connections that
    the host itself has opened. With V(firewalld) and V(ufw) everyone else meets the zone's target or the default policy;
    the module warns where that accepts everything.
  - Lets the forwarded traffic of bridges past that firewall as well (O(forward_interfaces)), and past the FORWARD policy of
    a C(dockerd) that runs beside it. A firewall that drops what it forwards keeps sandboxes from the outside, whatever other
    tables accept.
  - Rules are kept over a reboot. C(firewalld) and C(ufw) do so themselves; for V(nftables) and V(iptables) the module
    writes a file in C(/var/lib/crosshost) and a systemd unit (C(crosshost-ports-nftables.service) or
    C(crosshost-ports-iptables.service)) which loads it at boot, and again when the service that flushes is restarted or
    reloaded. For forwarded traffic the units are C(crosshost-ports-forward-nftables.service) and
    C(crosshost-ports-forward-iptables.service).
  - Nothing that the module did not make is changed. When a host has moved to another firewall since, the rules of the
    module in the old one move as well.
  - When a step fails, what was done is undone and the error names the command and its message.
extends_documentation_fragment:
  - crosshost.network.attributes
requirements:
  - one of firewalld, ufw, nftables, iptables
options:
  backend:
    description:
      - The firewall to write to.
      - V(auto) takes firewalld if it runs, else ufw if it is enabled, else nftables if C(nft) is there, else iptables.
    type: str
    choices: [auto, firewalld, ufw, nftables, iptables]
    default: auto
  state:
    description:
      - V(merged) adds the listed ports and sources to the named sets, and changes O(config[].esp),
        O(config[].open_to_world) and the zone where they are given. It adds the O(forward_interfaces).
      - V(replaced) makes each named set exactly as listed, and O(forward_interfaces) if they are given.
      - V(overridden) does that and removes all other sets of the module; O(forward_interfaces) left out means none.
      - V(deleted) removes the named sets and the named O(forward_interfaces), or all that the module has made if neither
        names anything.
      - V(gathered) only reads.
      - V(rendered) gives the commands for a host that has none of the rules, and touches nothing.
    type: str
    choices: [merged, replaced, overridden, deleted, gathered, rendered]
    default: merged
  config:
    description:
      - The sets of rules.
      - May be empty where O(forward_interfaces) are given.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name of the set, 1 to 32 of the characters V(a-z), V(0-9), V(_), V(-).
        type: str
        default: crosshost
      ports:
        description:
          - Ports as V(2377/tcp) or ranges as V(30000-30100/tcp). The protocols are V(tcp), V(udp) and V(sctp); ufw knows no
            V(sctp).
          - The default for a new set is V(2377/tcp), V(7946/tcp), V(7946/udp), V(4789/udp). With O(state=merged) an existing
            set keeps its ports if this is left out.
        type: list
        elements: str
      esp:
        description:
          - Let IP protocol 50 (ESP) through as well, which encrypted overlays need.
          - The default for a new set is V(false).
          - With V(nftables) and V(iptables) this also drops ESP from everyone else, which includes any other VPN of the host
            that uses ESP without UDP encapsulation. List its peers in a set of their own.
        type: bool
      sources:
        description:
          - Who may come, as IPv4 or IPv6 addresses or CIDR blocks.
          - An empty list and a V(/0) mean everyone. Both are refused unless O(config[].open_to_world) is V(true).
        type: list
        elements: str
      open_to_world:
        description:
          - Let everyone in. The default for a new set is V(false).
          - Leave out O(config[].sources) then, or name the V(/0) of the IP version that is meant.
          - VXLAN has no authentication. Who can send to its port injects frames into every overlay of the host.
        type: bool
      zone:
        description:
          - The firewalld zone that the rules go to.
          - The default is the zone of O(config[].interface), else firewalld's default zone. The other backends ignore it.
        type: str
      interface:
        description:
          - The interface by which the peers come in. Its firewalld zone is used if O(config[].zone) is not given.
          - The other backends ignore it.
        type: str
  forward_interfaces:
    description:
      - Bridges whose forwarded traffic passes the host's firewall, what comes in on them and what goes out of them, IPv4 and
        IPv6. What may reach the sandboxes behind them is decided by the chains of the collection.
      - They need not exist yet. Where nothing keeps their traffic out, nothing is done.
      - If this is left out, the list stays as it was applied last, but for O(state=overridden). With O(state=replaced), an
        empty list removes all.
    type: list
    elements: str
notes:
  - With V(firewalld), O(forward_interfaces) are in a zone C(crosshost). Of the host itself, sandboxes reach what that zone
    allows, which is ICMP at first; C(firewall-cmd --zone=crosshost --add-service) adds to it.
  - With V(nftables), an accept in the module's table does not override a drop in another table. The module warns of
    input chains whose policy is drop.
  - With V(firewalld), the first run for a set reloads firewalld, as it can load a new ipset only so. What zones of others
    hold at runtime only is put back; direct rules and policies that exist at runtime only are not.
  - With V(firewalld) and V(ufw), a connection that is established stays so when its source is taken out. With V(nftables)
    and V(iptables) it ends at once.
  - With V(ufw), each source takes about 0.1 s for each protocol. Name networks rather than hundreds of addresses.
"""

EXAMPLES = r"""
- name: Open the swarm's ports to the peers
  crosshost.network.firewall_ports:
    config:
      - sources:
          - 10.98.0.2
          - 10.98.0.3
          - fd98::/64

- name: Encrypted overlays on a data path of their own
  crosshost.network.firewall_ports:
    state: replaced
    config:
      - name: overlay
        ports:
          - 4789/udp
        esp: true
        sources:
          - 10.98.0.0/24
        interface: eth1

- name: Have exactly these sets, and no other one of the module
  crosshost.network.firewall_ports:
    state: overridden
    config:
      - name: crosshost
        sources: "{{ crosshost_view.firewall_sources }}"
      - name: web
        ports:
          - 443/tcp
          - 30000-30100/tcp
        open_to_world: true

- name: Write to firewalld's zone internal
  crosshost.network.firewall_ports:
    backend: firewalld
    config:
      - sources:
          - 10.98.0.0/24
        zone: internal

- name: Let the traffic of the bridges past the firewall, and of no other interface
  crosshost.network.firewall_ports:
    state: replaced
    forward_interfaces:
      - xh_gwbridge

- name: See the commands without touching the host
  crosshost.network.firewall_ports:
    backend: nftables
    state: rendered
    config:
      - sources:
          - 10.98.0.0/24
  register: firewall_commands

- name: Read what is there
  crosshost.network.firewall_ports:
    state: gathered
  register: firewall_now

- name: Take one set out
  crosshost.network.firewall_ports:
    state: deleted
    config:
      - name: web

- name: Take out all that the module has made
  crosshost.network.firewall_ports:
    state: deleted
"""

RETURN = r"""
backend:
  description:
    - The firewall that was written to or read.
    - V(none) where the host has none and only O(forward_interfaces) are given.
  returned: success
  type: str
  sample: nftables
before:
  description: The sets before the run, shaped like O(config).
  returned: success
  type: list
  elements: dict
  sample: []
after:
  description: The sets after the run; in check mode, as they would be.
  returned: success
  type: list
  elements: dict
  sample:
    - name: crosshost
      ports: [2377/tcp, 7946/tcp, 4789/udp, 7946/udp]
      esp: false
      sources: [10.98.0.0/24]
      open_to_world: false
forward_interfaces_before:
  description: The interfaces whose forwarded traffic the module's rules let past the firewall before the run.
  returned: success
  type: list
  elements: str
  sample: []
forward_interfaces_after:
  description: Those whose traffic passes after the run, by such rules or because nothing keeps it out.
  returned: success
  type: list
  elements: str
  sample: [xh_gwbridge]
commands:
  description:
    - The plan as the lines that one would type. In check mode, what would be done.
    - Empty exactly when RV(ignore:changed) is false, but for O(state=rendered).
  returned: success
  type: list
  elements: str
  sample:
    - "firewall-cmd --ipset=xh4-crosshost --add-entry=10.98.0.9"
diff:
  description: The rules before and after in the words of the backend, with the files that load them at boot.
  returned: success
  type: dict
  contains:
    before:
      description: The rules before the run.
      type: str
    after:
      description: The rules after the run.
      type: str
  sample:
    before: ""
    after: "ufw allow proto udp from 10.98.0.2 to any port 4789,7946 comment crosshost:crosshost"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError
from ansible_collections.crosshost.network.plugins.module_utils.firewall.converge import converge
from ansible_collections.crosshost.network.plugins.module_utils.spec.firewall import BACKENDS, STATES

ITEM = {
    "name": {"type": "str", "default": "crosshost"},
    "ports": {"type": "list", "elements": "str"},
    "esp": {"type": "bool"},
    "sources": {"type": "list", "elements": "str"},
    "open_to_world": {"type": "bool"},
    "zone": {"type": "str"},
    "interface": {"type": "str"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "backend": {"type": "str", "choices": ["auto", *BACKENDS], "default": "auto"},
            "state": {"type": "str", "choices": list(STATES), "default": "merged"},
            "config": {"type": "list", "elements": "dict", "options": ITEM, "default": []},
            "forward_interfaces": {"type": "list", "elements": "str"},
        },
        supports_check_mode=True,
    )
    try:
        result = converge(module.params, module.check_mode)
    except CrosshostError as exc:
        module.fail_json(msg=str(exc))
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
