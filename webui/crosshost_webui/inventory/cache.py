# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest revision in the memory of this server: to read and to check all items takes longer than any page has time for.

What is kept belongs to a revision by its number and time, and each use asks the database which one is the newest; so it does not
matter which server has made the newest one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ansible_collections.crosshost.network.plugins.module_utils.spec.cluster_hosts import Facts

from ..db.base import Json
from ..db.engine import ReadSession, WriteSession
from ..web.problem import Invalid
from . import declared, store
from .declared import Parsed
from .kinds import Items, Key
from .models import Revision

KEPT = 2  # databases: a server has one


@dataclass(frozen=True)
class _Ahead:
    """What a change of these items means, before it is made: ``differing`` from the newest revision's."""

    differing: Mapping[Key, tuple[Json, Json] | None]
    facts: Mapping[str, Facts]
    parsed: Parsed | Invalid


@dataclass
class Held:
    """The items of a revision, and what they mean, as far as somebody has asked."""

    mark: tuple[int, datetime]
    items: Items
    parsed: Parsed | None = None
    facts: Mapping[str, Facts] | None = None
    packed: dict[str, bytes] = field(default_factory=dict)  # answers that are made once, by what they are
    _ahead: _Ahead | None = None

    def parse(self, facts: Mapping[str, Facts]) -> Parsed:
        found = self.parsed
        if found is None or self.facts != facts:
            found = declared.parse(self.items, facts)
            self.parsed, self.facts = found, facts
        return found

    def parse_ahead(self, items: Items, facts: Mapping[str, Facts]) -> Parsed:
        """What the items of a change of this revision mean. Asked for the same change again, it is known."""
        differing = {
            key: (one.body, one.resolved) for key, one in items.items() if self.items.get(key) is not one
        }
        whole = {**differing, **dict.fromkeys(self.items.keys() - items.keys())}
        ahead = self._ahead
        if ahead is None or ahead.differing != whole or ahead.facts != facts:
            found: Parsed | Invalid
            try:
                found = declared.parse(items, facts)
            except Invalid as error:
                found = error
            ahead = self._ahead = _Ahead(whole, facts, found)
        if isinstance(ahead.parsed, Invalid):
            raise Invalid(ahead.parsed.detail, ahead.parsed.fields)
        return ahead.parsed


_lock = threading.Lock()
_held: dict[str, Held] = {}


def current(s: ReadSession, newest: Revision | None = None) -> Held:
    """The newest revision as this session sees it. Nobody may change what it holds."""
    newest = newest or store.newest(s)
    mark = (newest.id, newest.at)
    key = _key(s)
    with _lock:
        found = _held.get(key)
    if found is not None and found.mark == mark:
        return found
    found = Held(mark, store.items(s))
    _keep(key, found)
    return found


def keep_later(s: WriteSession, held: Held) -> None:
    """Keep it when it is committed."""
    key = _key(s)
    s.afterwards(lambda: _keep(key, held))


def _keep(key: str, held: Held) -> None:
    with _lock:
        there = _held.pop(key, None)
        _held[key] = there if there is not None and there.mark[0] > held.mark[0] else held
        while len(_held) > KEPT:
            del _held[next(iter(_held))]


def _key(s: ReadSession) -> str:
    return s.get_bind().url.render_as_string(hide_password=True)  # type: ignore[union-attr]
