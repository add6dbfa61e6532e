# SPDX-License-Identifier: GPL-3.0-or-later
"""One change of the declaration: what is asked for, what the pools grant, whether the whole is valid, and what is then written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from ..audit import store as audit
from ..audit.store import Actor
from ..db.base import Json, now
from ..db.engine import Database, ReadSession, WriteSession
from ..ipam import service as ipam
from ..web.problem import Problem
from . import cache, declared, kinds, planning, setting, shape, store, wishes
from .cache import Held
from .declared import Parsed, facts_of_report
from .kinds import Entry, Items, Key, label
from .models import Revision
from .planning import Edit, Planned, kinds_of
from .store import Altered

__all__ = ["MESSAGE_MOST", "Edit", "Outcome", "apply", "facts", "prepare", "rehearse"]

MESSAGE_MOST = 500
AUDITED_MOST = 50  # changes of a revision that get an entry of their own in the audit log
LARGE = 1000  # items, from which on checking the whole takes long enough to be done ahead
_MEMBERS = ("endpoint", "service")
T = TypeVar("T")


class Outcome(NamedTuple):
    """What a change has done, or would do. ``parsed``: the declaration after it."""

    revision: Revision
    changes: Sequence[Altered]
    parsed: Parsed


def apply(s: WriteSession, actor: Actor, edits: Sequence[Edit], message: str, is_admin: bool) -> Outcome:
    """All of the edits, or an exception and nothing of them. Nothing to change makes no revision."""
    newest = store.begin(s)
    held = cache.current(s, newest)
    planned = planning.plan(held.items, edits, is_admin)
    if not planned:
        return Outcome(newest, (), held.parse(facts(s, held.items)))
    work = _resolved(s, actor, newest, held, planned, message)
    known = facts(s, work.items)
    parsed = held.parse_ahead(work.items, known)
    changes = work.finish()
    cache.keep_later(s, Held((work.revision.id, work.revision.at), work.items, parsed, known))
    return Outcome(work.revision, changes, parsed)


def prepare(db: Database, actor: Actor, edits: Sequence[Edit], is_admin: bool) -> None:
    """Check a change of a large declaration before anybody waits for it: the pools are asked, and left as they were; then the whole is
    checked while others may write. The change itself, if the pools grant the same then, has nothing left to check. Tells no error:
    the change does."""
    try:
        with db.read() as reading:
            if len(cache.current(reading).items) < LARGE:
                return
        found = rehearse(db, lambda s: _rehearsed(s, actor, edits, is_admin))
        if found is not None:
            held, items, known = found
            held.parse_ahead(items, known)
    except Problem:
        return


def _rehearsed(
    s: WriteSession, actor: Actor, edits: Sequence[Edit], is_admin: bool
) -> tuple[Held, Items, Mapping[str, Any]] | None:
    """The items after a change, with those before, and what hosts reported. None if there is nothing to change."""
    newest = store.begin(s)
    held = cache.current(s, newest)
    planned = planning.plan(held.items, edits, is_admin)
    if not planned:
        return None
    work = _resolved(s, actor, newest, held, planned, "")
    return held, work.items, facts(s, work.items)


class _Unwound(Exception):  # noqa: N818 - no error
    """Ends the transaction of a rehearsal."""


def rehearse(db: Database, act: Callable[[WriteSession], T]) -> T:
    """What ``act`` returns in a transaction that is then undone: it is exactly what would happen."""
    found: list[T] = []
    try:
        with db.write() as s:
            found.append(act(s))
            s.flush()
            s.expunge_all()  # what is returned outlives the session
            raise _Unwound
    except _Unwound:
        return found[0]


def _resolved(
    s: WriteSession, actor: Actor, newest: Revision, held: Held, planned: Mapping[Key, Planned], message: str
) -> _Work:
    """The items with what the pools grant them, not yet checked as a whole."""
    message = shape.printable(message)[:MESSAGE_MOST]
    revision = store.add_revision(s, newest.id + 1, actor.who, message, len(planned))
    work = _Work(s, actor, revision, held.items)
    work.write(planned)
    work.claim(planned)
    return work


def facts(s: ReadSession, items: Items) -> Mapping[str, Any]:
    """What hosts reported, of those whose data-path address is not declared."""
    asked = [one.name for one in kinds_of(items, "host") if "vtep" not in one.body]
    return {host: facts_of_report(body) for host, body in store.reports(s, asked).items()} if asked else {}


# ---- what becomes of it


class _Work:
    """The items while they change."""

    def __init__(self, s: WriteSession, actor: Actor, revision: Revision, items: Items) -> None:
        self.s, self.actor, self.revision = s, actor, revision
        self.before = items
        self.items: dict[Key, Entry] = dict(items)
        self.at = now()
        self.surrounding = setting.Surrounding(self.items)
        self.former = setting.Surrounding(items)

    def write(self, planned: Mapping[Key, Planned]) -> None:
        """The bodies, so that each item has its id; what the pools grant comes later."""
        new = [(key, one) for key, one in planned.items() if one.before is None and one.body is not None]
        rows = [self._row(key, one.body or {}, one.item_id) for key, one in new]
        ids = store.add_items(self.s, rows)
        for (key, one), item_id in zip(new, ids, strict=True):
            body = one.body or {}
            self.items[key] = Entry(item_id, *key, body, body, self.revision.id, self.at, self.at)
        for key, one in planned.items():
            if one.body is None:
                del self.items[key]
            elif one.before is not None:
                self.items[key] = replace(
                    one.before, body=one.body, resolved=one.body, revision_id=self.revision.id, updated_at=self.at
                )  # fmt: skip

    def _row(self, key: Key, body: Json, item_id: int | None) -> Json:
        kind, name = key
        host, network = kinds.parts(kind, body)
        found: Json = {
            "kind": kind, "name": name, "host": host, "network": network, "body": body, "resolved": body,
            "revision_id": self.revision.id, "created_at": self.at, "updated_at": self.at,
        }  # fmt: skip
        return found if item_id is None else {**found, "id": item_id}

    def claim(self, planned: Mapping[Key, Planned]) -> None:
        """Have the pools follow: first what goes, then networks, then what is in them; what is declared before what is chosen."""
        declared.check(self.items)
        for one in planned.values():
            if one.body is None and one.before is not None:
                self._claim(one.before, [])
        changed = {key for key, one in planned.items() if one.body is not None}
        self._let_go(changed, planned)
        networks = {key for key in changed if key[0] not in _MEMBERS} | self._networks_beside(planned)
        self._claim_all(networks)
        members = {key for key in changed if key[0] in _MEMBERS} | self._members_beside(planned, networks)
        self._claim_all(members)
        ipam.settle(self.s)

    def _let_go(self, changed: Iterable[Key], planned: Mapping[Key, Planned]) -> None:
        """What changes its declared values gives up the former ones before anybody gets his: two may change places."""
        if len(planned) < 2:
            return
        for key in changed:
            before = self.before.get(key)
            if before is None:
                continue
            had = _values(wishes.wishes(key[0], before.body, self.former.setting))
            wanted = wishes.wishes(key[0], self.items[key].body, self.surrounding.setting)
            # what is automatic now keeps the value that it has
            kept = [
                one
                for one in wanted
                if (one.name, one.scope) in had and one.value in (None, had[one.name, one.scope])
            ]
            names = _values(kept)
            if any(value is not None and place not in names for place, value in had.items()):
                self._claim(before, kept)

    def _networks_beside(self, planned: Mapping[Key, Planned]) -> set[Key]:
        """Networks that are not edited but have other hosts now, and gateway bridges that may share the cluster's addresses."""
        found: set[Key] = set()
        touched = {kind for kind, _name in planned}
        if touched & {"host", "group"}:
            for one in kinds_of(self.items, "bridge"):
                was = self.before.get(one.key)
                if was and self.surrounding.hosts_of(one.body) != self.former.hosts_of(was.body):
                    found.add(one.key)
        if "gwbridge" in touched:
            found |= {
                one.key for one in kinds_of(self.items, "gwbridge") if {"host", "group"} & one.body.keys()
            }
        return found

    def _members_beside(self, planned: Mapping[Key, Planned], networks: Iterable[Key]) -> set[Key]:
        """Endpoints and services that are not edited, in networks whose addresses may be others now."""
        moved: set[str] = set()
        for key in {*networks, *(key for key, one in planned.items() if one.body is None)}:
            if key[0] in kinds.NETWORKS:
                there, was = self.items.get(key), self.before.get(key)
                if not (there and was) or key[0] == "bridge" or _blocks(was) != _blocks(there):
                    moved.add(key[1].rpartition("/")[2])
        if not moved:
            return set()
        return {
            key for key, one in self.items.items() if key[0] in _MEMBERS and one.body.get("network") in moved
        }

    def _claim_all(self, keys: Iterable[Key]) -> None:
        waiting = []
        for key in keys:
            entry = self.items[key]
            wanted = wishes.wishes(entry.kind, entry.body, self.surrounding.setting)
            waiting.append((any(one.value is None for one in wanted), entry.id, entry, wanted))
        for automatic, _id, entry, wanted in waiting if len(waiting) > 1 else ():
            declared_ones = [one for one in wanted if one.value is not None]
            if automatic and declared_ones and entry.key not in self.before:
                # nobody's automatic value is to be one of these
                self._claim(entry, declared_ones)
        for _automatic, _id, entry, wanted in sorted(waiting, key=lambda one: one[:2]):
            granted = self._claim(entry, wanted)
            resolved = wishes.resolve(entry.kind, entry.body, granted)
            self.items[entry.key] = replace(entry, resolved=resolved)

    def _claim(self, entry: Entry, wanted: Sequence[wishes.Wish]) -> dict[str, str]:
        if not wanted and entry.kind in ("host", "group"):
            return {}
        owner = ipam.Owner("item", str(entry.id), label(entry.kind, entry.name), self.revision.id)
        listed = [ipam.Wanted(**_given(one)) for one in wanted]
        return {one.name: one.value for one in ipam.claim(self.s, owner, listed, self.actor)}

    def finish(self) -> list[Altered]:
        """Write what was resolved, what is gone, and what became of what."""
        changes = []
        rows = []
        for key, found in self.items.items():
            was = self.before.get(key)
            if was is found:
                continue
            if was is not None and (was.body, was.resolved) == (found.body, found.resolved):
                self.items[key] = was
                continue
            one = self.items[key] = replace(found, revision_id=self.revision.id, updated_at=self.at)
            if was is not None or one.resolved != one.body:
                host, network = kinds.parts(one.kind, one.body)
                rows.append(
                    {
                        "id": one.id, "body": one.body, "resolved": one.resolved, "host": host, "network": network,
                        "revision_id": one.revision_id, "updated_at": one.updated_at,
                    }
                )  # fmt: skip
            changes.append(Altered(*key, _kept(was), _kept(one)))
        gone = [one for key, one in self.before.items() if key not in self.items]
        store.change_items(self.s, rows)
        store.remove_items(self.s, [one.id for one in gone])
        changes += [Altered(*one.key, _kept(one), None) for one in gone]
        store.add_changes(self.s, self.revision.id, changes)
        self.revision.changes = len(changes)
        self._audit(changes)
        return changes

    def _audit(self, changes: Sequence[Altered]) -> None:
        if len(changes) > AUDITED_MOST:
            counts: Json = {}
            for one in changes:
                verb = "added" if one.before is None else "removed" if one.after is None else "changed"
                counts[f"{one.kind} {verb}"] = counts.get(f"{one.kind} {verb}", 0) + 1
            audit.record(
                self.s, self.actor, "change", "revision", self.revision.id, self.revision.message, None, counts
            )  # fmt: skip
            return
        for one in changes:
            verb = "add" if one.before is None else "remove" if one.after is None else "change"
            item_id = (one.after or one.before or {}).get("id", "")
            audit.record(
                self.s, self.actor, verb, one.kind, item_id, one.name, _audited(one.before), _audited(one.after)
            )  # fmt: skip


def _values(listed: Iterable[wishes.Wish]) -> dict[tuple[str, str | None], str | None]:
    return {(one.name, one.scope): one.value for one in listed}


def _given(wish: wishes.Wish) -> dict[str, Any]:
    found = wish._asdict()
    if wish.scope is None:
        del found["scope"]
    return found


def _blocks(entry: Entry) -> list[Any]:
    """The address blocks of a network."""
    listed = entry.resolved.get("subnets")
    return [one.get("subnet") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _kept(entry: Entry | None) -> Json | None:
    if entry is None:
        return None
    found: Json = {"id": entry.id, "body": entry.body}
    return found if entry.resolved == entry.body else {**found, "resolved": entry.resolved}


def _audited(kept: Json | None) -> Json | None:
    """What was declared, with what is encrypted left out."""
    return None if kept is None else _masked(kept.get("resolved", kept["body"]))


def _masked(value: Any) -> Any:
    if shape.is_vault(value):
        return "(encrypted)"
    if isinstance(value, dict):
        return {key: _masked(inner) for key, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list) else value
