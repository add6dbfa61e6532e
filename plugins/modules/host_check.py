# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_check
short_description: Tell whether a host has what crosshost needs
version_added: 0.1.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Reads the versions, the programs and the kernel features that the other modules need, and the host's addresses. It
    fails for nothing of this; RV(problems) says what is missing and what to do about it.
  - Kernel features are tried in a network namespace that is gone afterwards. A kernel that keeps them in modules loads
    these, which is all that the module changes.
  - It needs nothing but Python.
extends_documentation_fragment:
  - crosshost.network.attributes.info
options: {}
seealso:
  - module: crosshost.network.host_view
  - module: crosshost.network.network_info
"""

EXAMPLES = r"""
- name: See what the host has
  crosshost.network.host_check:
  register: crosshost_host_check

- name: Stop where something is missing
  ansible.builtin.assert:
    that: crosshost_host_check.problems | length == 0
    fail_msg: "{{ crosshost_host_check.problems | join('; ') }}"
"""

RETURN = r"""
python:
  description: The version of the Python that the modules run with.
  returned: success
  type: str
  sample: 3.11.2
interpreter:
  description: The path of that Python.
  returned: success
  type: str
  sample: /usr/bin/python3
kernel:
  description: The kernel's release.
  returned: success
  type: str
  sample: 6.1.0-18-amd64
root:
  description: Whether the module runs as root.
  returned: success
  type: bool
  sample: true
sysfs:
  description: Whether C(/sys) is mounted.
  returned: success
  type: bool
  sample: true
features:
  description: The kernel features and whether the kernel has them. Empty if the module does not run as root.
  returned: success
  type: dict
  sample:
    vxlan: true
    bridge: true
    veth: true
    nf_tables: true
pyroute2:
  description: The version of the Python library pyroute2, empty if it does not tell, null if it is not there.
  returned: success
  type: str
  sample: 0.7.2
nft:
  description: The path of the program C(nft), or null.
  returned: success
  type: str
  sample: /usr/sbin/nft
dnsmasq:
  description: The path of the program C(dnsmasq), or null. It serves names, and is not needed where none are served.
  returned: success
  type: str
  sample: /usr/sbin/dnsmasq
debian:
  description: Whether the distribution is Debian or one made from it, which decides on the names of packages.
  returned: success
  type: bool
  sample: true
recorded:
  description:
    - The kinds of objects that crosshost has recorded on the host, by the names of their modules. What is neither recorded
      nor declared needs no module to be run.
  returned: success
  type: list
  elements: str
  sample: [endpoint, gwbridge, overlay_network]
engines:
  description: The container engines whose programs are there.
  returned: success
  type: list
  elements: str
  sample: [docker]
missing:
  description: What a package can bring and is not there, of V(pyroute2), V(nft) and V(dnsmasq).
  returned: success
  type: list
  elements: str
  sample: []
problems:
  description: What no package can bring, each with its remedy.
  returned: success
  type: list
  elements: str
  sample: []
underlay:
  description: The host's addresses.
  returned: success
  type: dict
  contains:
    interfaces:
      description: The interfaces with global addresses, each with C(name), C(mtu) in bytes and C(addresses), IPv4 first.
      type: list
      elements: dict
    default:
      description: The addresses that the host uses towards its default gateways, IPv4 first.
      type: list
      elements: str
    routes:
      description: The networks that the host has other routes to, but for those of crosshost's own devices.
      type: list
      elements: str
    nameservers:
      description: The host's name servers.
      type: list
      elements: str
  sample:
    interfaces:
      - name: eth0
        mtu: 1500
        addresses: [10.97.0.1]
    default: [10.97.0.1]
    routes: [10.97.0.0/24]
    nameservers: [10.97.0.254]
"""

import contextlib
import os
import platform
import sys
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError
from ansible_collections.crosshost.network.plugins.module_utils.kernel import probe
from ansible_collections.crosshost.network.plugins.module_utils.record import STATE_DIR

PYTHON_LEAST = (3, 9)


def check() -> dict[str, Any]:
    """All that RETURN lists."""
    root = os.geteuid() == 0
    sysfs = os.path.isdir("/sys/class/net")
    problems: list[str] = []
    features: dict[str, bool] = {}
    if not root:
        problems.append("the user is not root: set become: true")
    else:
        try:
            features = probe.features()
        except CrosshostError as error:
            problems.append(str(error))
    lacking = [name for name, there in features.items() if not there]
    if lacking:
        problems.append(
            f"kernel {platform.release()} has no {', '.join(lacking)}: install the distribution's full kernel, "
            "or load the modules on the machine below if this is a container"
        )
    if sys.version_info[:2] < PYTHON_LEAST:
        problems.append(
            f"{sys.executable} is Python {platform.python_version()}: 3.9 or newer is needed, set ansible_python_interpreter"
        )
    if not sysfs:
        problems.append("/sys is not mounted: mount sysfs there")
    wanted = {
        "pyroute2": probe.library("pyroute2"),
        "nft": probe.program("nft"),
        "dnsmasq": probe.program("dnsmasq"),
    }
    return {
        "python": platform.python_version(),
        "interpreter": sys.executable,
        "kernel": platform.release(),
        "root": root,
        "sysfs": sysfs,
        "features": features,
        **wanted,
        "debian": os.path.exists("/etc/debian_version"),
        "recorded": recorded(),
        "engines": [name for name in ("docker", "podman") if probe.program(name)],
        "missing": [name for name, found in wanted.items() if found is None],
        "problems": problems,
        "underlay": probe.underlay(),
    }


def recorded() -> list[str]:
    """The kinds of which something is recorded on this host; [] where that cannot be read."""
    with contextlib.suppress(OSError):
        return sorted(name[: -len(".json")] for name in os.listdir(STATE_DIR) if name.endswith(".json"))
    return []


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        found = check()
    except (CrosshostError, OSError) as error:
        module.fail_json(msg=f"host_check: {error}")
    else:
        module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
