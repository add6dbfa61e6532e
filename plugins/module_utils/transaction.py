# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan in words, and carried out as a whole: looked at afterwards, undone when anything fails.

Only runs that change something import this: on a host every module is compiled anew at each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from . import render
from .errors import ApplyError, CrosshostError
from .kernel.apply import Executor, OpError
from .kernel.session import Session
from .plan import Op, plan
from .resources import Nft, State, key

if TYPE_CHECKING:
    from .converge import Kind


class Words:
    """A plan in words. They are found when they are first asked for: while the kernel works is the best time."""

    def __init__(self, ops: Sequence[Op]) -> None:
        self._ops = ops

    @cached_property
    def commands(self) -> list[str]:
        """The plan as the lines that an expert would type."""
        return render.commands(self._ops)

    @cached_property
    def diff(self) -> dict[str, str]:
        """The two sides of what changes: of an object that is changed in place, only the lines that differ."""
        before, after = (
            render.listing(item for item in side if item is not None).splitlines(keepends=True)
            for side in ((op.before for op in self._ops), (op.after for op in self._ops))
        )
        both = set(before) & set(after)
        return {
            "before": "".join(line for line in before if line not in both),
            "after": "".join(line for line in after if line not in both),
        }


def apply(
    kind: Kind,
    session: Session,
    ops: list[Op],
    scope: list[str],
    observed: State,
    desired: State,
    words: Words,
) -> None:
    """Carry out the plan and look whether the kernel agrees; if anything goes wrong, go back. ``words`` are found while nft
    lists what was written."""
    failure = ""
    try:
        Executor(session).run(ops)
        session.forget()
        session.read_ahead(dict.fromkeys(op.subject.netns for op in ops if isinstance(op.subject, Nft)))
        _ = words.commands, words.diff
    except OpError as error:
        failure = f"{_line(error.op)}: {error.reason}"
    except (CrosshostError, OSError) as error:
        failure = str(error)
    except Exception:
        # a fault of ours must not leave a half-made host either; then the traceback may come
        session.forget()
        undo(kind, session, scope, kind.observed(session, scope, desired), observed, desired)
        raise
    if failure:
        session.forget()
    found = kind.observed(session, scope, desired)
    if not failure:
        rest = plan(found, desired)
        if not rest:
            return
        failure = f"the kernel does not show what was written: {_line(rest[0])} ({len(rest)} differences)"
    raise ApplyError(f"{kind.name}: {failure}; {undo(kind, session, scope, found, observed, desired)}")


def _line(op: Op) -> str:
    lines = render.commands([op])
    return lines[0] if lines else str(key(op.subject))


def undo(
    kind: Kind,
    session: Session,
    scope: list[str],
    found: State,
    observed: State,
    desired: State,
) -> str:
    """Plan back from what is there to what was there, carry it out, and say in words how that went."""
    try:
        Executor(session).run(plan(found, observed))
    except OpError as error:
        return f"undoing it failed too: {_line(error.op)}: {error.reason}"
    except (CrosshostError, OSError) as error:
        return f"undoing it failed too: {error}"
    finally:
        session.forget()
    rest = plan(kind.observed(session, scope, desired), observed)
    if rest:
        return f"it was undone but for {len(rest)} differences, the first: {_line(rest[0])}"
    return "everything done before it was undone"
