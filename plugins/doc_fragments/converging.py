# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that the converging modules have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """``crosshost.network.converging`` (state) and ``.data_path`` (how a network leaves the host)."""

    DOCUMENTATION = r"""
options:
  state:
    description:
      - V(merged) adds the listed objects and changes what an item says; what it does not say stays as it was recorded.
      - V(replaced) makes each listed object exactly as declared.
      - V(overridden) does that and removes all other objects of this kind that crosshost made.
      - V(deleted) removes the listed objects, or all of this kind if O(config) is empty.
      - V(gathered) returns what was recorded, and touches nothing.
      - V(rendered) returns the commands for a host that has none of it yet, and touches nothing.
    type: str
    choices: [merged, replaced, overridden, deleted, gathered, rendered]
    default: merged
"""

    DATA_PATH = r"""
options:
  data_path_address:
    description:
      - The host's own VTEP address for all networks that do not say otherwise. It must be an address of the host.
      - Without it and O(data_path_interface), the address that the host uses towards its first peer.
    type: str
  data_path_interface:
    description: The interface whose first address is the VTEP, instead of O(data_path_address).
    type: str
  data_path_port:
    description: The UDP port of all networks that do not say otherwise, 4789 by default.
    type: int
  peers:
    description: The other hosts of all networks that do not say otherwise.
    type: list
    elements: dict
    suboptions:
      host:
        description: The host's name, for messages.
        type: str
      vtep:
        description: The host's VTEP address. It is needed; a peer without one is refused.
        type: str
      mtu:
        description: The MTU of the underlay at that host, where it may be smaller than here.
        type: int
"""
