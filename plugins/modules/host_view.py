# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_view
short_description: Derive what one host needs from the declaration of the whole cluster
version_added: 0.1.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Reads the C(crosshost_*) variables of all hosts of the cluster, checks them against each other, and returns what the
    other modules need on this host, in the words of their options.
  - Runs on the controller. The host is not contacted, so that the whole declaration is checked before any host is touched.
  - All hosts of the cluster are considered, those outside of C(--limit) as well.
  - The variables are those of the inventory, of C(set_fact), of the play and of the role, and extra variables. Templates
    in them are evaluated for the host that has them. A list without templates that many hosts share, as a group's
    variable, is read once; one with a template is evaluated for each host.
  - A host's data-path address is C(crosshost_vtep). Without it, that of C(crosshost_data_path_interface) or the one
    towards the default gateway is taken, from what M(crosshost.network.host_check) has returned into the variable
    C(crosshost_host_check) or from the facts of M(ansible.builtin.setup).
  - The declaration is read once for each task, by the first of its hosts, and kept in Ansible's temporary folder of the
    run. With the strategy C(free), hosts that come first do not know the facts of those that come later.
options:
  group:
    description:
      - The inventory's group that is the cluster.
      - The default is the variable C(crosshost_group), then the group C(crosshost), then all hosts.
    type: str
  brief:
    description:
      - Leave out RV(networks), RV(peers), RV(firewall_sources), RV(services), RV(names) and RV(ingress), which grow with the
        cluster.
      - Ansible keeps what a task returns for all hosts at once. With a thousand hosts that is a million peers. The lookup
        P(crosshost.network.host_view#lookup) gives them where they are needed.
    type: bool
    default: false
attributes:
  check_mode:
    description: Whether the action can run in check mode.
    support: full
    details:
      - Nothing is changed, so that check mode makes no difference.
  diff_mode:
    description: Whether the action says what it has changed, or in check mode would change.
    support: N/A
    details:
      - Nothing is changed.
  idempotent:
    description: Whether a second run with the same options, with nothing else changing in between, changes nothing.
    support: full
    details:
      - Nothing is changed.
  platform:
    description: The systems on which the action works.
    platforms: posix
    support: full
    details:
      - The action runs on the controller.
seealso:
  - plugin: crosshost.network.host_view
    plugin_type: lookup
  - module: crosshost.network.overlay_network
  - module: crosshost.network.endpoint
"""

EXAMPLES = r"""
- name: Derive the host's view of the cluster
  crosshost.network.host_view:
  register: crosshost_view

- name: Have exactly the declared networks
  crosshost.network.overlay_network:
    config: "{{ crosshost_view.networks }}"
    peers: "{{ crosshost_view.peers }}"
    data_path_address: "{{ crosshost_view.data_path_address }}"
    data_path_port: "{{ crosshost_view.data_path_port }}"
    state: overridden
"""

RETURN = r"""
store:
  description: Where the declaration is kept until the end of the run, for the lookup P(crosshost.network.host_view#lookup).
  returned: success
  type: str
  sample: /root/.ansible/tmp/ansible-local-4711abc/crosshost-0123456789abcdef
host:
  description: The host's name in the inventory.
  returned: success
  type: str
  sample: h1
networks:
  description:
    - The networks that are on this host, as O(crosshost.network.overlay_network#module:config).
    - With a static control plane each has the C(endpoints) of the other hosts; a network that is not on all hosts has
      its own C(peers).
  returned: success and O(brief=false)
  type: list
  elements: dict
  sample:
    - name: web
      subnets:
        - subnet: 10.0.1.0/24
          vni: 4101
      endpoints:
        - ip: 10.0.1.3
          mac: 02:42:0a:00:01:03
          vtep: 10.98.0.2
networks_brief:
  description: The same without C(endpoints) and C(peers), as O(crosshost.network.endpoint#module:networks).
  returned: success
  type: list
  elements: dict
  sample:
    - name: web
      subnets:
        - subnet: 10.0.1.0/24
          vni: 4101
bridge_networks:
  description: The bridge networks of this host, as O(crosshost.network.bridge_network#module:config).
  returned: success
  type: list
  elements: dict
  sample:
    - name: front
      subnets:
        - subnet: 10.30.0.0/24
macvlan_networks:
  description:
    - The macvlan networks that are on this host, as O(crosshost.network.macvlan#module:config).
    - Each has the C(host_range) that is this host's part of the network's ranges, and the addresses of the host's own child.
  returned: success
  type: list
  elements: dict
  sample:
    - name: lan
      parent: eth0
      subnets:
        - subnet: 192.168.1.0/24
          ip_range: 192.168.1.128/25
      host_range: [192.168.1.144/28]
peers:
  description: The other hosts of the cluster, as O(crosshost.network.overlay_network#module:peers).
  returned: success and O(brief=false)
  type: list
  elements: dict
  sample:
    - host: h2
      vtep: 10.98.0.2
      mtu: 1500
gwbridges:
  description: The gateway bridge of this host, as O(crosshost.network.gwbridge#module:config). Empty if there is to be none.
  returned: success
  type: list
  elements: dict
  sample:
    - subnet: 172.30.0.0/16
endpoints:
  description:
    - The endpoints of this host, as O(crosshost.network.endpoint#module:config).
    - Ports that services publish in mode C(host) are among their C(publish).
  returned: success
  type: list
  elements: dict
  sample:
    - network: web
      sandbox: app
      ip: 10.0.1.2
uses:
  description: Which of RV(services), RV(names) and RV(ingress) are not empty.
  returned: success
  type: list
  elements: str
  sample: [services, names]
services:
  description: The services of the overlay networks in which this host has endpoints, as O(crosshost.network.service#module:config).
  returned: success and O(brief=false)
  type: list
  elements: dict
  sample:
    - network: web
      name: shop
      vip: 10.0.1.100
      tasks:
        - {name: app.h1, ip: 10.0.1.2, weight: 1}
        - {name: app.h2, ip: 10.0.1.3, weight: 1}
names:
  description:
    - The names of endpoints and services on all hosts, as O(crosshost.network.names#module:config).
    - Of the overlay networks in which this host has endpoints, and of those on it that do not have a static control plane.
      Empty if C(crosshost_dns) says so.
  returned: success and O(brief=false)
  type: list
  elements: dict
  sample:
    - network: web
      records:
        - {name: app, addresses: [10.0.1.2, 10.0.1.3]}
      services:
        - {name: shop, addresses: [10.0.1.100], tasks: [10.0.1.2, 10.0.1.3]}
ingress:
  description:
    - The ingress network, as O(crosshost.network.ingress#module:config). Empty if the cluster has none.
    - The addresses of hosts' sandboxes and of tasks are made of what these are called, where none are declared.
  returned: success and O(brief=false)
  type: list
  elements: dict
  sample:
    - name: ingress
      subnets:
        - subnet: 10.255.0.0/24
          vni: 4100
      gwbridge: xh_gwbridge
      address: 10.255.0.81
      endpoints:
        - {ip: 10.255.0.20, mac: "02:42:0a:ff:00:14", vtep: 10.98.0.2}
      legs:
        - {name: web.app, sandbox: app, ip: 10.255.0.199}
      ports:
        - published: 8080
          target: 80
          protocol: tcp
          service: web/shop
          tasks:
            - {ip: 10.255.0.199, weight: 1}
firewall_sources:
  description:
    - The data-path and management addresses of the other hosts and C(crosshost_firewall_extra_sources).
    - A name in C(ansible_host) is not resolved; the address towards the default gateway stands for it, if facts tell it.
  returned: success and O(brief=false)
  type: list
  elements: str
  sample: [10.98.0.2, 10.97.0.2]
firewall_ports:
  description: The ports to open to them. By default those of a swarm, and the UDP ports that the networks use for VXLAN.
  returned: success
  type: list
  elements: str
  sample: [2377/tcp, 7946/tcp, 7946/udp, 4789/udp]
firewall_forwards:
  description:
    - The bridges of crosshost on this host, as O(crosshost.network.firewall_ports#module:forward_interfaces).
    - The gateway bridge, and those of bridge networks.
  returned: success
  type: list
  elements: str
  sample: [xh_gwbridge, xb-front]
data_path_address:
  description: The host's data-path address (VTEP).
  returned: success
  type: str
  sample: 10.98.0.1
data_path_interface:
  description: The variable C(crosshost_data_path_interface), or null.
  returned: success
  type: str
  sample: eth1
data_path_port:
  description: The UDP port of networks that do not declare their own.
  returned: success
  type: int
  sample: 4789
data_path_mtu:
  description: What the host's underlay passes in bytes, C(crosshost_underlay_mtu) or the interface's MTU, or null.
  returned: success
  type: int
  sample: 1500
"""
