# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: host_view
short_description: Read parts of the view that host_view has derived
version_added: 0.1.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Gives what M(crosshost.network.host_view) returns, also what its option O(crosshost.network.host_view#module:brief)
    leaves out. What a lookup gives is not kept after its task, unlike what a task returns.
  - Only what belongs to the values that are asked for is read.
options:
  _terms:
    description: Names of return values of M(crosshost.network.host_view), such as V(networks).
    type: list
    elements: str
    required: true
  view:
    description: What M(crosshost.network.host_view) has returned in this run.
    type: dict
    required: true
seealso:
  - module: crosshost.network.host_view
"""

EXAMPLES = r"""
- name: Derive the host's view of the cluster
  crosshost.network.host_view:
    brief: true
  register: crosshost_view

- name: Have exactly the declared networks
  crosshost.network.overlay_network:
    config: "{{ lookup('crosshost.network.host_view', 'networks', view=crosshost_view) }}"
    peers: "{{ lookup('crosshost.network.host_view', 'peers', view=crosshost_view) }}"
    state: overridden
"""

RETURN = r"""
_raw:
  description: The values of these names.
  type: list
  elements: raw
"""

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError
from ansible_collections.crosshost.network.plugins.module_utils.view import LONG
from ansible_collections.crosshost.network.plugins.plugin_utils.store import Store


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible has no types
    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[Any]:
        self.set_options(var_options=variables, direct=kwargs)
        given = self.get_option("view")
        if "store" not in given or "host" not in given:
            raise AnsibleError("host_view: view: give what the task crosshost.network.host_view has returned")
        try:
            found = Store(str(given["store"])).view(str(given["host"]), terms)
        except CrosshostError as error:
            raise AnsibleError(str(error)) from None
        for term in terms:
            if term not in found:
                raise AnsibleError(
                    f"host_view: {term!r}: there is no such value; there are {', '.join([*found, *(name for name in LONG if name not in found)])}"
                )
        return [found[term] for term in terms]
