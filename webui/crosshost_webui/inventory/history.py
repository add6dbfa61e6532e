# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of the declaration: revisions, what differs between two, and the way back to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..audit.store import Actor
from ..db.base import Json
from ..db.engine import ReadSession, WriteSession
from ..web.problem import NotFound
from . import cache, changing, store
from .changing import Outcome
from .kinds import Entry, Items, Key
from .models import Change, Revision
from .planning import Edit
from .store import Altered


class Step(NamedTuple):
    """What a revision did to an object."""

    change: Change
    revision: Revision


def revision(s: ReadSession, revision_id: int) -> Revision:
    """NotFound if there is no such revision."""
    found = store.revision(s, revision_id) if 0 <= revision_id < 1 << 63 else None
    if found is None:
        raise NotFound(f"revision {revision_id}: there is none; the list of revisions has their numbers")
    return found


def of_object(s: ReadSession, kind: str, name: str, limit: int, before_id: int | None = None) -> list[Step]:
    """The newest first. Also of what is gone."""
    return [Step(*one) for one in store.history(s, kind, name, limit, before_id)]


def difference(s: ReadSession, first: int, second: int) -> list[Altered]:
    """What differs between two revisions: as if one change led from the first to the second."""
    revision(s, first)
    revision(s, second)
    low, high = sorted((first, second))
    ends: dict[Key, tuple[Json | None, Json | None]] = {}
    for one in store.changes_since(s, low, high):  # the newest first
        key = (one.kind, one.name)
        ends[key] = (one.before, ends[key][1] if key in ends else one.after)
    found = [Altered(*key, before, after) for key, (before, after) in ends.items() if before != after]
    if first > second:
        found = [Altered(one.kind, one.name, one.after, one.before) for one in found]
    return sorted(found, key=lambda one: one[:2])


def items_at(s: ReadSession, revision_id: int) -> Items:
    """The items as they were: those of now, with what was done since undone."""
    wanted = revision(s, revision_id)
    held = cache.current(s)
    if held.mark == (wanted.id, wanted.at):
        return held.items
    found: dict[Key, Entry] = dict(held.items)
    for one in store.changes_since(s, revision_id):
        key = (one.kind, one.name)
        if one.before is None:
            found.pop(key, None)
            continue
        there = found.get(key)
        created = there.created_at if there else wanted.at
        body: Json = one.before["body"]
        resolved: Json = one.before.get("resolved") or body
        found[key] = Entry(one.before["id"], *key, body, resolved, wanted.id, created, wanted.at)
    return found


def revert(
    s: WriteSession, actor: Actor, revision_id: int, message: str = "", *, is_admin: bool = False
) -> Outcome:
    """Make the declaration what it was at a revision, as a new one. What had automatic values gets the same ones, if nobody has got
    them meanwhile."""
    store.begin(s)
    wanted, there = items_at(s, revision_id), cache.current(s).items
    edits = [Edit(*key, None) for key in there if key not in wanted]
    edits += [
        Edit(*key, dict(one.body), None, one.id if key not in there else None)
        for key, one in wanted.items()
        if key not in there or there[key].body != one.body
    ]
    return changing.apply(s, actor, edits, message or f"Back to revision {revision_id}", is_admin)


def altered(changes: Sequence[Change]) -> list[Altered]:
    return [Altered(one.kind, one.name, one.before, one.after) for one in changes]
