# SPDX-License-Identifier: GPL-3.0-or-later
"""What a change asks for: its edits, checked each by itself and against what there is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..db.base import Json
from ..web.problem import Changed, Conflict, Forbidden, Invalid, NotFound
from . import kinds, shape
from .kinds import CLUSTER_GROUP, Entry, Items, Key, label


class Edit(NamedTuple):
    """What is to become of an item. ``name`` None: a new one, which must not be there. ``body`` None: remove it. ``expected``: the
    revision that the item is of, 0: that it is not there, None: whatever. ``item_id``: which id it gets back."""

    kind: str
    name: str | None
    body: Json | None
    expected: int | None = None
    item_id: int | None = None


def plan(items: Items, edits: Sequence[Edit], is_admin: bool) -> dict[Key, Planned]:
    """The edits that change something, by item."""
    found = _planned(items, edits)
    if not is_admin:
        _refuse_privileged(found)
    return found


def kinds_of(items: Items, kind: str) -> Iterable[Entry]:
    return (one for key, one in items.items() if key[0] == kind)


class Planned(NamedTuple):
    """An item before, and its body after; None: not there."""

    before: Entry | None
    body: Json | None
    item_id: int | None


def _planned(items: Items, edits: Sequence[Edit]) -> dict[Key, Planned]:
    """The edits that change something, by item."""
    found: dict[Key, Planned] = {}
    for edit in edits:
        key, body = _read(edit)
        before = items.get(key)
        if key in found:
            raise Invalid(f"{label(*key)}: it is in this change twice; say once what is to become of it")
        _refuse_other_version(edit, key, before)
        if before is None and body is None:
            raise NotFound(f"{label(*key)}: there is none; nothing was removed")
        found[key] = Planned(before, body, edit.item_id)
    _complete_groups(items, found)
    return {key: one for key, one in found.items() if one.before is None or one.before.body != one.body}


def _read(edit: Edit) -> tuple[Key, Json | None]:
    kind = kinds.known(edit.kind)
    if edit.body is None:
        if edit.name is None:
            raise Invalid(f"{kind}: say by its name which one is to be removed")
        return (kind, edit.name), None
    body = edit.body
    if edit.name is not None and kind in ("host", "group") and isinstance(body, dict):
        body = {"name": edit.name, **body}
    body = kinds.tidy(kind, body)
    name = kinds.identity(kind, body)
    if edit.name not in (None, name):
        remedy = f"it is called {shape.shown(edit.name)}; names stay: add another one, and remove this one"
        raise Invalid(f"{label(kind, name)}: name: {remedy}", {"name": remedy})
    return (kind, name), body


def _refuse_other_version(edit: Edit, key: Key, before: Entry | None) -> None:
    what = label(*key)
    if before is not None and (edit.expected == 0 or (edit.name is None and edit.expected is None)):
        raise Conflict(f"{what}: there is one already; change that one, or take another name", {"name": what})
    if edit.expected and before is None:
        raise Changed(f"{what}: it was removed meanwhile; add it anew if it is still wanted")
    if edit.expected and before is not None and before.revision_id != edit.expected:
        raise Changed(
            f"{what}: it is at revision {before.revision_id} now, not at {edit.expected}; read it again and repeat the change"
        )


def _complete_groups(items: Items, planned: dict[Key, Planned]) -> None:
    """A host that says no groups keeps those it has. A new one is in the cluster's group, which is made with the first host."""
    cluster = ("group", CLUSTER_GROUP)
    grouped = cluster in items or cluster in planned or not any(True for _ in kinds_of(items, "host"))
    for (kind, _name), one in list(planned.items()):
        if kind != "host" or one.body is None or "groups" in one.body:
            continue
        if one.before is not None:
            one.body["groups"] = list(one.before.body.get("groups", ()))
        elif grouped:
            one.body["groups"] = [CLUSTER_GROUP]
            if cluster not in items:
                planned.setdefault(cluster, Planned(None, {"name": CLUSTER_GROUP}, None))
        else:
            one.body["groups"] = []


def _refuse_privileged(planned: Mapping[Key, Planned]) -> None:
    for key, one in planned.items():
        if key[0] in ("host", "group"):
            had = kinds.privileged(one.before.body if one.before else None)
            for name, value in kinds.privileged(one.body).items():
                if name not in had or had[name] != value:
                    raise Forbidden(
                        f"{label(*key)}: variables: {name}: by it the server itself runs what it says; only an admin sets it"
                    )
