# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one flow of every module: declare, compile, observe, plan, apply, verify, record.

Nothing is written before the whole plan has been made and checked. When an operation fails, the state that is found
then is planned back to the one found at first, and the error says which operation it was and why.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional, Protocol, runtime_checkable

from . import record
from .errors import ApplyError, HostError, SpecError
from .kernel import netns
from .kernel.session import Session
from .plan import Op, plan
from .resources import FdbEntry, Link, Record, State, state_of
from .spec import fields

STATES = ("merged", "replaced", "overridden", "deleted", "gathered", "rendered")
Item = dict[str, Any]


class Kind(Protocol):
    """One kind of declared object. Implementations are in kinds/."""

    name: str

    def key(self, item: Mapping[str, Any]) -> str:
        """The item's name, checked."""
        ...

    def complete(self, item: Item) -> Item:
        """The item with what the task declares for all its items."""
        ...

    def merge(self, old: Item, new: Item) -> Item:
        """The declaration ``old`` with what ``new`` says added and changed."""
        ...

    def check(self, items: Sequence[Item]) -> None:
        """Refuse (SpecError) declarations that cannot be right, alone or together."""
        ...

    def owned(self, session: Session) -> list[str]:
        """The names of the objects that the kernel has."""
        ...

    def desired(self, session: Session, names: Sequence[str]) -> State:
        """The resources of these of the items that were checked last."""
        ...

    def observed(self, session: Session, names: Sequence[str], desired: State) -> State:
        """What the kernel has of the named objects."""
        ...

    def guard(self, session: Session, ops: Sequence[Op]) -> None:
        """Refuse (CollisionError) a plan that would touch or collide with what is not ours."""
        ...


@runtime_checkable
class Settling(Protocol):
    """A kind that has something left to do once the host is as declared, which no plan can show."""

    def settle(self, recorded: Sequence[Item]) -> None:
        """Do it; ``recorded`` is what was declared before."""
        ...


@runtime_checkable
class Lenient(Protocol):
    """A kind that does without what is missing on the host, and says so in the end."""

    def refuse_missing(self) -> None:
        """HostError if something was missing."""
        ...


class Outcome(NamedTuple):
    """What a module returns. ``before`` and ``after`` are declarations, ``diff`` text."""

    changed: bool
    before: list[Item]
    after: list[Item]
    commands: list[str]
    diff: dict[str, str]


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Ten thousand rows are a hundred thousand small tuples and no cycles: looking for some is time lost."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@_no_collection()
def converge(
    kind: Kind, config: Optional[Sequence[Mapping[str, Any]]], state: str, check: bool = False
) -> Outcome:
    """Bring the host to what is declared. With ``check``, say what would be done and do nothing.

    Errors are CrosshostError with one line; the host is then as it was.
    """
    if state not in STATES:
        raise SpecError(kind.name, "state", state, f"use one of {', '.join(STATES)}")
    items = [kind.complete(_given(item)) for item in config or []]
    names = [kind.key(item) for item in items]
    _refuse_doubles(kind, names)
    if state in ("replaced", "rendered") and not items:
        raise SpecError(kind.name, "config", config, f"state {state} needs at least one item")
    need_root()
    with record.locked(), Session() as session:
        if not check and state not in ("gathered", "rendered"):
            netns.sweep()
            record.sweep()
        outcome = _converge(kind, items, names, state, check, session)
    if isinstance(kind, Lenient):
        kind.refuse_missing()
    return outcome


def need_root() -> None:
    """HostError without root: reading another namespace needs it as much as writing."""
    if os.geteuid() != 0:
        raise HostError("crosshost: effective user is not root; run the task with become: true")


def _converge(
    kind: Kind, items: list[Item], names: list[str], state: str, check: bool, session: Session
) -> Outcome:
    recorded = record.load(kind.name)
    if state == "gathered":
        return Outcome(False, recorded, recorded, [], {"before": "", "after": ""})
    if state == "rendered":
        kind.check(items)
        whole = _without_ports(kind.desired(session, names))
        ops = plan({}, {**whole, **_records(kind, [], items, names)[1]})
        from . import transaction

        return Outcome(False, [], items, transaction.Words(ops).commands, {"before": "", "after": ""})
    after, scope = _target(kind, recorded, items, names, state, session)
    kind.check(after)
    wanted = set(map(kind.key, after))
    desired = kind.desired(session, [name for name in scope if name in wanted])
    observed = kind.observed(session, scope, desired)
    old, new = _records(kind, recorded, after, scope)
    ops = plan({**observed, **old}, {**desired, **new})
    if not ops:
        return Outcome(False, recorded, after, [], {"before": "", "after": ""})
    from . import transaction  # late: a run that changes nothing is spared its compilation

    words = transaction.Words(ops)
    kind.guard(session, ops)
    if not check:
        kernel_ops = [op for op in ops if not isinstance(op.subject, Record)]
        if kernel_ops:
            transaction.apply(kind, session, kernel_ops, scope, observed, desired, words)
        try:
            record.save(kind.name, after)
        except OSError as error:
            reason = f"{record.STATE_DIR}: the record cannot be saved ({error.strerror}); mend that, then run again"
            found = kind.observed(session, scope, desired)
            undone = transaction.undo(kind, session, scope, found, observed, desired)
            raise ApplyError(f"{kind.name}: {reason}; {undone}") from None
        if isinstance(kind, Settling):
            kind.settle(recorded)
    return Outcome(True, recorded, after, words.commands, words.diff)


def _without_ports(state: State) -> State:
    """The state without ports of other objects' pairs, of which it holds only the outer ends: nothing to make anew."""
    ports = {
        (item.netns, item.name)
        for item in state.values()
        if isinstance(item, Link) and item.kind == "veth" and item.peer is None
    }
    return {
        k: item
        for k, item in state.items()
        if not (isinstance(item, Link) and (item.netns, item.name) in ports)
        and not (isinstance(item, FdbEntry) and (item.netns, item.dev) in ports)
    }


def _given(item: Mapping[str, Any]) -> Item:
    if not isinstance(item, Mapping):
        raise SpecError("config", "item", item, "give a mapping")
    found: Item = fields.given(item)
    return found


def _refuse_doubles(kind: Kind, names: Sequence[str]) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise SpecError(kind.name, "name", name, "it is declared twice; names are unique")
        seen.add(name)


def _target(
    kind: Kind, recorded: list[Item], items: list[Item], names: list[str], state: str, session: Session
) -> tuple[list[Item], list[str]]:
    """The declarations that are to hold afterwards, and the names that this run is responsible for."""
    old = {kind.key(item): item for item in recorded}
    new = dict(zip(names, items))
    if state == "merged":
        merged = {name: kind.merge(old[name], item) if name in old else item for name, item in new.items()}
        return list({**old, **merged}.values()), names
    if state == "replaced":
        return list({**old, **new}.values()), names
    everything = list(dict.fromkeys([*names, *old, *kind.owned(session)]))
    if state == "overridden":
        return items, everything
    gone = set(names or everything)
    return [item for name, item in old.items() if name not in gone], [
        name for name in everything if name in gone
    ]


def _records(
    kind: Kind, recorded: Iterable[Item], after: Iterable[Item], names: Iterable[str]
) -> tuple[State, State]:
    """What is recorded of these names and what is to be recorded, without the records that stay as they are."""
    canonical = record.Canonical()
    sides: list[dict[str, Item]] = [{kind.key(item): item for item in items} for items in (recorded, after)]
    changed = [
        name
        for name in names
        if not all(name in side for side in sides) or not canonical.same(*(side[name] for side in sides))
    ]
    old, new = (
        state_of(Record(kind.name, name, canonical.text(side[name])) for name in changed if name in side)
        for side in sides
    )
    return old, new
