# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: names
short_description: Converge the name servers of overlay networks on a host
version_added: 0.2.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Runs a name server (dnsmasq) for each overlay network, in the network's namespace on the gateways' addresses. It knows the
    names of endpoints and services, C(name.network), C(tasks.<service>) and the names of their addresses, and asks the host's
    name servers for others.
  - Points the sandboxes of this host's endpoints to it by their resolv.conf. A sandbox in several networks gets a name server
    that knows the names of all of them.
  - A change of records restarts nothing. The answers may be kept for a second.
  - What a network's sandboxes see of it is the same on every host, with or without a dockerd on it.
extends_documentation_fragment:
  - crosshost.network.attributes
  - crosshost.network.converging
requirements:
  - pyroute2 (Debian's python3-pyroute2 will do)
  - nft (package nftables)
  - dnsmasq (package dnsmasq-base on Debian and Ubuntu, dnsmasq elsewhere)
  - systemd
options:
  config:
    description: The networks' names.
    type: list
    elements: dict
    suboptions:
      network:
        description: The overlay network. At least one of its subnets needs a gateway, where the name server listens.
        type: str
        required: true
      records:
        description: The names of endpoints, on all hosts.
        type: list
        elements: dict
        suboptions:
          name:
            description: The endpoint's name, unique in the network. Case does not matter.
            type: str
            required: true
          aliases:
            description: Its other names. Endpoints may share one, which then means all of them.
            type: list
            elements: str
          addresses:
            description: Its addresses, IPv4 and IPv6, in the network's subnets. Several of a family are told in turns.
            type: list
            elements: str
            required: true
      services:
        description: The names of services.
        type: list
        elements: dict
        suboptions:
          name:
            description: The service's name. No endpoint has the same name or alias.
            type: str
            required: true
          aliases:
            description: Its other names.
            type: list
            elements: str
          addresses:
            description: Its virtual addresses. For a service without, the addresses of its tasks.
            type: list
            elements: str
          tasks:
            description: The addresses of its tasks, which C(tasks.<name>) means.
            type: list
            elements: str
      forward:
        description:
          - Whether other names are asked for at O(config[].upstream). The default is V(true), but for internal networks, where
            it is always V(false).
          - The questions leave by the gateway bridge. On a host without one, other names are refused at once.
        type: bool
      upstream:
        description:
          - The addresses of the name servers to ask. The default are those of the host. Behind a loopback address only
            systemd-resolved's are found; where the host runs another one there, give the addresses that it asks.
        type: list
        elements: str
      gwbridge:
        description: The gateway bridge by which they are reached. The default is V(xh_gwbridge).
        type: str
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
  endpoints:
    description: The endpoints, with the options of M(crosshost.network.endpoint), likewise.
    type: list
    elements: dict
seealso:
  - module: crosshost.network.overlay_network
  - module: crosshost.network.endpoint
  - module: crosshost.network.service
"""

EXAMPLES = r"""
- name: The names of a network
  crosshost.network.names:
    config:
      - network: web
        records:
          - {name: shop, aliases: [frontend], addresses: [10.0.1.11, "fd00:0:1::11"]}
          - {name: cart, addresses: [10.0.1.12]}
        services:
          - {name: api, addresses: [10.0.1.100], tasks: [10.0.1.11, 10.0.1.12]}

- name: One record more; what else the network knows stays
  crosshost.network.names:
    config:
      - network: web
        records:
          - {name: db, addresses: [10.0.1.13]}

- name: Ask other name servers than the host's own
  crosshost.network.names:
    config:
      - {network: web, upstream: [192.0.2.53]}

- name: No names any more
  crosshost.network.names:
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
  sample: [{network: web, records: [{name: shop, addresses: [10.0.1.11]}]}]
commands:
  description:
    - The plan, as the iproute2, nft, sysctl and systemctl lines that an expert would type. Empty when nothing changed.
  returned: success
  type: list
  elements: str
  sample: ["systemctl reload crosshost-dns@web.service"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.crosshost.network.plugins.module_utils.kinds.names import NamesKind
from ansible_collections.crosshost.network.plugins.module_utils.module_run import common_options, run

_STRINGS: dict[str, Any] = {"type": "list", "elements": "str"}
RECORD_OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "aliases": _STRINGS,
    "addresses": {**_STRINGS, "required": True},
}
SERVICE_OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "aliases": _STRINGS,
    "addresses": _STRINGS,
    "tasks": _STRINGS,
}
NAMES_OPTIONS: dict[str, Any] = {
    "network": {"type": "str", "required": True},
    "records": {"type": "list", "elements": "dict", "options": RECORD_OPTIONS},
    "services": {"type": "list", "elements": "dict", "options": SERVICE_OPTIONS},
    "forward": {"type": "bool"},
    "upstream": _STRINGS,
    "gwbridge": {"type": "str"},
}


def main() -> None:
    more = {field: {"type": "list", "elements": "dict"} for field in ("networks", "gwbridges", "endpoints")}
    module = AnsibleModule(
        argument_spec={**common_options(NAMES_OPTIONS), **more},
        supports_check_mode=True,
    )
    params = module.params
    run(
        module,
        lambda: NamesKind(params["networks"], params["gwbridges"], params["endpoints"], module.check_mode),
    )


if __name__ == "__main__":
    main()
