# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules share: from Ansible's parameters to converge() and back, every expected error as one line."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any, Callable, Optional

from .converge import STATES, Kind, converge, need_root
from .errors import CrosshostError, HostError

PEER_OPTIONS: dict[str, Any] = {"host": {"type": "str"}, "vtep": {"type": "str"}, "mtu": {"type": "int"}}
DATA_PATH_OPTIONS: dict[str, Any] = {
    "data_path_address": {"type": "str"},
    "data_path_interface": {"type": "str"},
    "data_path_port": {"type": "int"},
    "peers": {"type": "list", "elements": "dict", "options": PEER_OPTIONS},
}


def common_options(item_options: dict[str, Any]) -> dict[str, Any]:
    """The argument_spec of a module whose items have these options."""
    return {
        "config": {"type": "list", "elements": "dict", "options": item_options},
        "state": {"type": "str", "default": "merged", "choices": list(STATES)},
    }


def run(module: Any, kind: Callable[[], Kind]) -> None:
    """Converge what an AnsibleModule was given, and leave through exit_json or fail_json."""
    state: str = module.params["state"]
    config: Optional[list[dict[str, Any]]] = module.params["config"]
    try:
        need_pyroute2()
        need_root()  # before anything is read: who may not read the record would be told to mend it
        outcome = converge(kind(), config, state, module.check_mode)
    except CrosshostError as error:
        module.fail_json(msg=str(error))
        return
    result: dict[str, Any] = {
        "changed": outcome.changed,
        "before": outcome.before,
        "after": outcome.after,
        "commands": outcome.commands,
    }
    if module._diff:
        result["diff"] = outcome.diff
    module.exit_json(**result)


def need_pyroute2() -> None:
    """HostError when the library is missing. It is looked for, not imported: that is left to runs that need it."""
    if importlib.util.find_spec("pyroute2") is None:
        raise HostError(
            f"pyroute2: {sys.executable} has no such library: install the package python3-pyroute2, "
            "or set ansible_python_interpreter to a Python that has it"
        )
