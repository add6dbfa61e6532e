# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action crosshost.network.host_view; its documentation is that of the module of this name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible import constants as C  # noqa: N812 - Ansible's own name for it
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster import Cluster, parse_cluster
from ansible_collections.crosshost.network.plugins.module_utils.view import LONG
from ansible_collections.crosshost.network.plugins.plugin_utils.inventory import Reader, members, plain
from ansible_collections.crosshost.network.plugins.plugin_utils.store import Store

OPTIONS = {"group": {"type": "str"}, "brief": {"type": "bool", "default": False}}
display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """Runs on the controller alone, in check mode as well."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _checked, options = self.validate_argument_spec(argument_spec=OPTIONS)
        variables = task_vars or {}
        group = options["group"]
        if group is None:
            group = plain(self._templar.template(variables.get("crosshost_group")))
        host = str(variables["inventory_hostname"])
        # a task's uuid is the same in all workers, and another in each task: a later one sees what has changed
        store = Store.of_task(C.DEFAULT_LOCAL_TMP, f"{self._task._uuid} {group}")

        def build() -> Cluster:
            groups = variables["groups"]
            reader = Reader(variables["hostvars"], host, variables, self._evaluate)
            return parse_cluster([reader.declared(host) for host in members(groups, group)], groups)

        try:
            for warning in store.prepare(build):
                display.warning(warning)
            found = store.view(host, () if options["brief"] else LONG)
        except CrosshostError as error:
            raise AnsibleActionFail(str(error)) from None
        return {**result, "changed": False, "store": store.folder, **found}

    def _evaluate(self, value: Any, variables: Mapping[str, Any]) -> Any:
        return self._templar.copy_with_new_env(available_variables=variables).template(value)
