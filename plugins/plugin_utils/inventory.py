# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's variables of many hosts as plain Python, each value once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster import VARIABLES
from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster_hosts import (
    Declared,
    Facts,
    Interface,
    facts_of,
)

PREFIX = "crosshost_"
CHECKED = "crosshost_host_check"  # where the role host registers what the module host_check returns
DEFAULT_GROUP = "crosshost"
# set by the roles, not declared
_OWN = (CHECKED, "crosshost_view")


def members(groups: Mapping[str, Sequence[str]], group: str | None) -> list[str]:
    """The cluster's hosts: of the group; without one, of the group `crosshost` or, if there is none, all."""
    if group is not None:
        if group not in groups:
            known = ", ".join(sorted(name for name in groups if name not in ("all", "ungrouped"))) or "none"
            raise CrosshostError(
                f"crosshost_group {group!r}: the inventory has no such group (it has: {known}); name one of them"
            )
        return list(groups[group])
    return list(groups.get(DEFAULT_GROUP) or groups.get("all") or [])


def plain(value: Any) -> Any:
    """The value in Python's own types: dict, list, str, int, float, bool, None. Templates in it are evaluated, where
    Ansible does so on access. JSON's encoder alone would miss them, as it reads a dict's memory."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {str.__str__(key) if isinstance(key, str) else key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(one) for one in value]
    return str(value)


def needs_templating(value: Any) -> bool:
    """False if the value is as it stands: no string of it can be a template, and nothing in it is encrypted."""
    if value is None or isinstance(value, (bool, int, float)):
        return False
    if isinstance(value, str):
        return "{{" in value or "{%" in value or "{#" in value
    if isinstance(value, dict):
        return any(needs_templating(one) for one in value.values())
    if isinstance(value, (list, tuple)):
        return any(needs_templating(one) for one in value)
    return True


class Reader:
    """Reads hosts' variables. A value that many hosts share (a group's) and that has no template is converted once, and
    is one object afterwards: who collects from all hosts sees that it is the same.

    ``hostvars``: Ansible's. ``own``: the host whose task this is, ``here`` the task's variables: what these have besides
    that host's, or otherwise, comes from the play or the role, and so holds for all hosts. ``evaluate(value,
    variables)``: the value with its templates evaluated.
    """

    def __init__(
        self,
        hostvars: Any,
        own: str,
        here: Mapping[str, Any],
        evaluate: Callable[[Any, Mapping[str, Any]], Any],
    ) -> None:
        self._hostvars = hostvars
        self._here = here
        self._evaluate = evaluate
        # the raw value is kept, so that its id stays its own
        self._known: dict[int, tuple[Any, Any]] = {}
        inventory = hostvars.raw_get(own)
        mine = {name: here[name] for name in VARIABLES if name in here}
        self._defaults = {name: value for name, value in mine.items() if name not in inventory}
        self._overrides = {
            name: value
            for name, value in mine.items()
            if name in inventory and value is not inventory[name] and value != inventory[name]
        }

    def declared(self, host: str) -> Declared:
        """CrosshostError names the host and the variable that cannot be evaluated."""
        raw = self._hostvars.raw_get(host)
        chosen = {name: value for name, value in raw.items() if name.startswith(PREFIX) and name not in _OWN}
        if "ansible_host" in raw:
            chosen["ansible_host"] = raw["ansible_host"]
        chosen = {**self._defaults, **chosen, **self._overrides}
        context = {**self._here, **self._defaults, **raw, **self._overrides}
        found = {}
        for name, value in chosen.items():
            if self._is_plain(value):
                found[name] = self._known[id(value)][1] if id(value) in self._known else plain(value)
            else:
                found[name] = self._evaluated(host, name, value, context)
        return Declared(host, found, self._facts(raw))

    def _is_plain(self, value: Any) -> bool:
        if id(value) in self._known:
            return True
        if needs_templating(value):
            return False
        if isinstance(value, (dict, list)):
            self._known[id(value)] = (value, plain(value))
        return True

    def _evaluated(self, host: str, name: str, value: Any, context: Mapping[str, Any]) -> Any:
        try:
            return plain(self._evaluate(value, context))
        except AnsibleError as error:
            reason = " ".join(str(error).split())
            raise CrosshostError(
                f"host {host}: {name} cannot be evaluated: {reason}; define what it refers to for that host"
            ) from None

    def _facts(self, raw: Mapping[str, Any]) -> Facts:
        """From the check of this run; else what was gathered."""
        checked = raw.get(CHECKED)
        underlay = checked.get("underlay") if isinstance(checked, Mapping) else None
        if isinstance(underlay, Mapping):
            interfaces = {
                str(one["name"]): Interface(int(one["mtu"]), tuple(map(str, one["addresses"])))
                for one in underlay["interfaces"]
            }
            return Facts(interfaces, tuple(map(str, underlay["default"])))
        return facts_of(plain(raw.get("ansible_facts") or {}))
