# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_restore
short_description: Bring the networks back at boot
version_added: 0.1.0
author:
  - Crosshost contributors (@crosshost)
description:
  - Kernel state does not outlive a reboot. This module installs the engine on the host as the command C(crosshost), and the
    unit C(crosshost-restore.service), which runs C(crosshost restore) once at boot. No process stays behind.
  - C(crosshost status) shows what is there, and where it differs from what was recorded.
  - The files are C(/usr/local/lib/crosshost/engine/), C(/usr/local/bin/crosshost) and
    C(/etc/systemd/system/crosshost-restore.service). On a host without systemd the unit is left out.
extends_documentation_fragment:
  - crosshost.network.attributes
options:
  state:
    description: Whether they are there.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: The networks come back after a reboot
  crosshost.network.host_restore:

- name: Remove the command and the unit
  crosshost.network.host_restore:
    state: absent
"""

RETURN = r"""
files:
  description: The files that were written or removed; in check mode, those that would be.
  returned: success
  type: list
  elements: str
  sample: [/usr/local/bin/crosshost]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.crosshost.network.plugins.module_utils import cli, installation
from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError


def main() -> None:
    module = AnsibleModule(
        argument_spec={"state": {"type": "str", "choices": ["present", "absent"], "default": "present"}},
        supports_check_mode=True,
    )
    package = cli.__name__.rpartition(".")[0]
    try:
        files = installation.converge(package, module.params["state"] == "present", module.check_mode)
    except CrosshostError as error:
        module.fail_json(msg=str(error))
    else:
        diff = {"before": "", "after": ""}
        diff["after" if module.params["state"] == "present" else "before"] = "".join(
            f"{name}\n" for name in files
        )
        module.exit_json(changed=bool(files), files=files, diff=diff)


if __name__ == "__main__":
    main()
