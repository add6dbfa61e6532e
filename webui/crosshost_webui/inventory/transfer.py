# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories in and out: what importing one would add, change and remove; doing so as one revision; and the export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..audit.store import Actor
from ..db.base import Json
from ..db.engine import Database, ReadSession, WriteSession
from ..web.problem import Invalid
from . import (
    cache,
    changing,
    declared,
    emit,
    foreign,
    history,
    importing,
    service,
    shape,
    store,
    substitution,
)
from .changing import Outcome
from .emit import Inventory
from .foreign import Read
from .kinds import CLUSTER_GROUP, Items, Key
from .models import Revision
from .planning import Edit
from .store import Altered

MODES = ("merge", "replace")


class Imported(NamedTuple):
    """What an import did, or would do. ``revision``: the newest one afterwards. ``changes``: what became of which item."""

    revision: Revision
    changes: Sequence[Altered]
    unchanged: int
    warnings: Sequence[str]

    @property
    def added(self) -> list[Key]:
        return [(one.kind, one.name) for one in self.changes if one.before is None]

    @property
    def changed(self) -> list[Key]:
        return [(one.kind, one.name) for one in self.changes if one.before and one.after]

    @property
    def removed(self) -> list[Key]:
        return [(one.kind, one.name) for one in self.changes if one.after is None]


def import_path(
    db: Database, actor: Actor, path: Path, mode: str = "merge", message: str = "", *, dry_run: bool = False
) -> Imported:
    """An inventory file, or a folder, of this machine; for the command line, whose user may do anything."""
    return bring(
        db,
        actor,
        foreign.read_path(path),
        mode,
        message or f"Import of {path}",
        dry_run=dry_run,
        is_admin=True,
    )


def import_bytes(
    db: Database,
    actor: Actor,
    name: str,
    content: bytes,
    mode: str = "merge",
    message: str = "",
    *,
    dry_run: bool = False,
    is_admin: bool = False,
) -> Imported:
    """An inventory file that was sent."""
    read = foreign.read_bytes(name, content)
    return bring(db, actor, read, mode, message or f"Import of {name}", dry_run=dry_run, is_admin=is_admin)


def bring(
    db: Database, actor: Actor, read: Read, mode: str, message: str, *, dry_run: bool, is_admin: bool
) -> Imported:
    """Make the declaration what was read. merge: what is only here stays. replace: it goes. An item that both have is taken as it
    was read; one that means the same stays as it is."""
    if mode not in MODES:
        raise Invalid(
            f"mode {shape.shown(mode)}: use one of {', '.join(MODES)}", {"mode": "merge or replace"}
        )
    plain = substitution.substitute(read.inventory)
    with db.read() as s:
        # before the lock that keeps others from writing
        found = understood(
            plain, {host: declared.facts_of_report(body) for host, body in store.reports(s).items()}
        )
    warnings = [*read.warnings, *found.warnings]
    if CLUSTER_GROUP not in plain.groups:
        warnings.append("there is no group crosshost: all hosts are the cluster")
    wanted = importing.bodies(found)

    def act(s: WriteSession) -> Imported:
        store.begin(s)
        edits, unchanged = _edits(cache.current(s).items, wanted, mode)
        done: Outcome = changing.apply(s, actor, edits, message, is_admin)
        return Imported(done.revision, done.changes, unchanged, warnings)

    return service.rehearse(db, act) if dry_run else _write(db, act)


def _write(db: Database, act: Any) -> Imported:
    with db.write() as s:
        found: Imported = act(s)
    return found


def understood(found: Inventory, facts: Mapping[str, Any]) -> declared.Parsed:
    """The inventory as the engine reads it. Invalid names what cannot be right, in the inventory's own words."""
    for host, variables in found.hosts.items():
        shape.check(f"host {shape.host_name(host)}", {"variables": variables})
    for name, group in found.groups.items():
        shape.check(f"group {shape.group_name(name)}", {"variables": group.variables})
    return declared.parse_inventory(found, facts)


def _edits(items: Items, wanted: Mapping[Key, Json], mode: str) -> tuple[list[Edit], int]:
    edits = []
    unchanged = 0
    for key, body in wanted.items():
        there = items.get(key)
        if there is not None and body in (there.body, there.resolved):
            unchanged += 1
        else:
            edits.append(Edit(key[0], key[1], body))
    if mode == "replace":
        edits += [Edit(*key, None) for key in items if key not in wanted]
    return edits, unchanged


# ---- export


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes what is encrypted as Ansible reads it."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


class _Vault(str):
    __slots__ = ()


_Dumper.add_representer(
    _Vault, lambda dumper, value: dumper.represent_scalar("!vault", str(value), style="|")
)


def export_yaml(s: ReadSession, revision_id: int | None = None) -> str:
    """The inventory of the newest revision, or of another one, as YAML that Ansible takes: with what the pools granted."""
    newest = store.newest(s)
    items = service.items(s) if revision_id is None else history.items_at(s, revision_id)
    number = newest.id if revision_id is None else revision_id
    head = f"# The inventory of revision {number}. Run it with:\n#   ansible-playbook -i THIS-FILE crosshost.network.site\n---\n"
    return head + dump(emit.inventory(items))


def dump(found: Inventory) -> str:
    """As a YAML inventory. Nothing in it is a template."""
    whole: Json = {}
    if found.hosts:
        whole["hosts"] = {host: _vaulted(variables) or None for host, variables in found.hosts.items()}
    if found.groups["all"].variables:
        whole["vars"] = _vaulted(found.groups["all"].variables)
    children = {}
    for name, group in found.groups.items():
        if name != "all":
            mine = {
                "hosts": dict.fromkeys(group.hosts), "children": dict.fromkeys(group.children),
                "vars": _vaulted(group.variables),
            }  # fmt: skip
            children[name] = {key: value for key, value in mine.items() if value} or None
    if children:
        whole["children"] = children
    return str(
        yaml.dump(
            {"all": whole},
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=110,
            default_flow_style=None,
        )
    )


def _vaulted(value: Any) -> Any:
    if shape.is_vault(value):
        return _Vault(value[shape.VAULT])
    if isinstance(value, dict):
        return {key: _vaulted(inner) for key, inner in value.items()}
    return [_vaulted(one) for one in value] if isinstance(value, list) else value
