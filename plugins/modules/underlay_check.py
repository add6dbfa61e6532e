# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: underlay_check
short_description: Try whether peers answer over the underlay, in packets of full size
version_added: 0.3.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Sends each peer ICMP echo requests, small ones and some that fill the MTU and may not be cut on the way. All peers are asked at
    the same time.
  - A peer that answers has a way to this host and back. That says nothing of UDP. A firewall may pass one and not the other.
  - A peer that does not answer either cannot be reached, or is where ICMP is filtered.
  - It needs nothing but Python.
extends_documentation_fragment:
  - crosshost.network.attributes.info
options:
  peers:
    description: The peers.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: The host's name, for messages.
        type: str
      vtep:
        description: Its data-path address.
        type: str
        required: true
      mtu:
        description: The MTU of the underlay at that host, where it may be smaller than here.
        type: int
  mtu:
    description: The MTU of the underlay at this host, in bytes.
    type: int
    default: 1500
  timeout:
    description: How long to wait for answers, in seconds, 60 at most.
    type: float
    default: 2
seealso:
  - module: crosshost.network.host_view
  - module: crosshost.network.network_info
"""

EXAMPLES = r"""
- name: See whether the peers answer
  crosshost.network.underlay_check:
    peers:
      - {host: web2, vtep: 10.98.0.12}
      - {host: web3, vtep: 10.98.0.13}
  register: found

- name: Tell those that do not
  ansible.builtin.debug:
    msg: "{{ found.problems }}"
"""

RETURN = r"""
peers:
  description: The peers, in the order in which they were given.
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: The host's name.
      type: str
    vtep:
      description: Its data-path address.
      type: str
    reached:
      description: Whether it has answered.
      type: bool
    size:
      description: The size of the large packets, in bytes.
      type: int
    full_size:
      description: Whether it has answered to one of them.
      type: bool
    ms:
      description: How long the first answer took, or null.
      type: float
  sample:
    - {host: web2, vtep: 10.98.0.12, reached: true, size: 1500, full_size: true, ms: 0.31}
problems:
  description: What is wrong, each with its remedy.
  returned: success
  type: list
  elements: str
  sample: []
"""

import ipaddress
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.crosshost.network.plugins.module_utils.kernel import echo

SMALL = 64  # bytes
SECONDS_MOST = 60
MTU_LEAST, MTU_MOST = 576, 65535
PEER_OPTIONS: dict[str, Any] = {
    "host": {"type": "str"},
    "vtep": {"type": "str", "required": True},
    "mtu": {"type": "int"},
}


def check(peers: list[dict[str, Any]], mtu: int, timeout: float) -> dict[str, Any]:
    """All that RETURN lists. OSError without root."""
    sizes = [min(mtu, peer.get("mtu") or mtu) for peer in peers]
    probes = [
        (echo.Probe(peer["vtep"], SMALL), echo.Probe(peer["vtep"], size)) for peer, size in zip(peers, sizes)
    ]
    answers = echo.ask((one for pair in probes for one in pair), timeout)
    rows, problems = [], []
    for peer, size, (small, large) in zip(peers, sizes, probes):
        whole = answers[large] is not None
        reached = whole or answers[small] is not None
        ms = answers[small] if answers[small] is not None else answers[large]
        name = peer.get("host") or peer["vtep"]
        rows.append(
            {
                "host": name,
                "vtep": peer["vtep"],
                "reached": reached,
                "size": size,
                "full_size": whole,
                "ms": ms,
            }
        )
        if not reached:
            problems.append(
                f"{name}: {peer['vtep']} does not answer: it is down, there is no way to it, or ICMP is filtered between"
            )
        elif not whole:
            problems.append(
                f"{name}: {peer['vtep']} answers to {SMALL} bytes and not to {size}: declare crosshost_underlay_mtu for one of the hosts"
            )
    return {"peers": rows, "problems": problems}


def wrong_in(peers: list[dict[str, Any]], mtu: int, timeout: float) -> str:
    """What is wrong with the options; "": nothing."""
    for peer in peers:
        try:
            ipaddress.ip_address(peer["vtep"])
        except ValueError:
            return f"underlay_check: peers: vtep {peer['vtep']!r}: give one IPv4 or IPv6 address"
    for value in (mtu, *(peer["mtu"] for peer in peers if peer.get("mtu") is not None)):
        if not MTU_LEAST <= value <= MTU_MOST:
            return f"underlay_check: mtu {value}: give bytes from {MTU_LEAST} to {MTU_MOST}"
    if not 0 < timeout <= SECONDS_MOST:
        return f"underlay_check: timeout {timeout}: give seconds, more than 0 and at most {SECONDS_MOST}"
    return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "peers": {"type": "list", "elements": "dict", "required": True, "options": PEER_OPTIONS},
            "mtu": {"type": "int", "default": 1500},
            "timeout": {"type": "float", "default": 2},
        },
        supports_check_mode=True,
    )
    peers, mtu, timeout = (module.params[name] for name in ("peers", "mtu", "timeout"))
    told = wrong_in(peers, mtu, timeout)
    if told:
        module.fail_json(msg=told)
    try:
        found = check(peers, mtu, timeout)
    except PermissionError:
        module.fail_json(msg="underlay_check: the user is not root: set become: true")
    except OSError as error:
        module.fail_json(msg=f"underlay_check: {error}")
    else:
        module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
