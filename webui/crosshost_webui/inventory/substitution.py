# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates of a foreign inventory, as far as they are names: `{{ name }}` is replaced by the variable of that name of the same host.
Everything else that is a template is refused. Pure; nothing is ever evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..db.base import Json
from ..web.problem import Invalid
from . import shape
from .declared import by_precedence, groups_of
from .emit import Group, Inventory

_NAME = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_DEPTH_MOST = 10  # names that stand for names
VALUES_MOST = 3_000_000  # in all that is looked through: a list with a template counts for each host again


def substitute(found: Inventory) -> Inventory:
    """The same without templates. A group's variable that differs between its hosts becomes theirs. Invalid names the host and the
    variable that cannot be told."""
    if not any(_has_template(value) for variables in _all(found) for value in variables.values()):
        return found
    left = [VALUES_MOST]
    order = by_precedence(found.groups)
    above = groups_of(found)
    hosts = {}
    moved: dict[str, dict[str, dict[str, Any]]] = {}  # by group and variable, what each host makes of it
    for host, own in found.hosts.items():
        sources = _sources([name for name in order if name in above[host]], found.groups, own)
        scope = {name: value for name, (value, _group) in sources.items()}
        scope["inventory_hostname"] = host
        mine = dict(own)
        for name, (value, group) in sources.items():
            if _has_template(value):
                plain = _Reader(host, scope, left).value(name, value)
                if group is None:
                    mine[name] = plain
                else:
                    moved.setdefault(group, {}).setdefault(name, {})[host] = plain
        hosts[host] = mine
    groups = {name: _settled(group, moved.get(name, {}), hosts) for name, group in found.groups.items()}
    return Inventory(groups, hosts)


def _all(found: Inventory) -> Iterator[Json]:
    yield from found.hosts.values()
    for group in found.groups.values():
        yield group.variables


def _sources(names: list[str], groups: Mapping[str, Group], own: Json) -> dict[str, tuple[Any, str | None]]:
    """The variables in force for a host, with the group that each is of; None: its own."""
    found: dict[str, tuple[Any, str | None]] = {}
    for group in names:
        found.update({name: (value, group) for name, value in groups[group].variables.items()})
    found.update({name: (value, None) for name, value in own.items()})
    return found


def _settled(group: Group, values: Mapping[str, Mapping[str, Any]], hosts: dict[str, Json]) -> Group:
    """The group with plain variables; what its hosts make of them differently goes to the hosts."""
    variables = {}
    for name, value in group.variables.items():
        if not _has_template(value):
            variables[name] = value
            continue
        made = values.get(name, {})
        first = next(iter(made.values()), None)
        if made and all(one == first for one in made.values()):
            variables[name] = first
            continue
        for host, one in made.items():
            hosts[host][name] = one
    return group._replace(variables=variables)


class _Reader:
    """The variables of one host."""

    def __init__(self, host: str, scope: Mapping[str, Any], left: list[int]) -> None:
        self.host = host
        self.scope = scope
        self.left = left

    def value(self, name: str, value: Any, depth: int = 0) -> Any:
        self.left[0] -= 1
        if self.left[0] < 0:
            why = "the templates stand for too much in all; write the values"
            raise Invalid(f"host {self.host}: {name}: {why}", {"variables": why})
        if shape.is_vault(value):
            return value
        if isinstance(value, str):
            return self._text(name, value, depth) if shape.TEMPLATE.search(value) else value
        if isinstance(value, dict):
            return {key: self.value(name, inner, depth) for key, inner in value.items()}
        return [self.value(name, inner, depth) for inner in value] if isinstance(value, list) else value

    def _text(self, name: str, text: str, depth: int) -> Any:
        whole = _NAME.fullmatch(text.strip())
        if whole:
            return self._named(name, text, whole[1], depth)
        found = _NAME.sub(lambda match: self._plain(name, text, match[1], depth), text)
        if shape.TEMPLATE.search(found):
            raise self._refused(
                name, text, "only {{ NAME }} of another variable of the host is replaced here"
            )
        return found

    def _named(self, name: str, text: str, other: str, depth: int) -> Any:
        if other not in self.scope:
            raise self._refused(name, text, f"the host has no variable {other}")
        if depth > _DEPTH_MOST:
            raise self._refused(name, text, "the variables stand for each other")
        return self.value(other, self.scope[other], depth + 1)

    def _plain(self, name: str, text: str, other: str, depth: int) -> str:
        value = self._named(name, text, other, depth)
        if isinstance(value, str | int | float):
            return str(value)
        raise self._refused(name, text, f"{other} is no plain text or number")

    def _refused(self, name: str, text: str, why: str) -> Invalid:
        remedy = f"{why}; write the value itself, for each host"
        return Invalid(f"host {self.host}: {name} {shape.shown(text, 120)}: {remedy}", {"variables": remedy})


def _has_template(value: Any) -> bool:
    if isinstance(value, str):
        return shape.TEMPLATE.search(value) is not None
    if isinstance(value, dict):
        return not shape.is_vault(value) and any(_has_template(inner) for inner in value.values())
    return isinstance(value, list) and any(_has_template(one) for one in value)
