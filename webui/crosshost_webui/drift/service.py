# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs on which host since when, learnt from runs as they end.

A check run of site tells what it would change; doctor tells by which commands a host's kernel differs from what was recorded
there. A run that makes the hosts as declared ends what it has mended. What a run does not look at stays as it is known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..db.engine import WriteSession
from ..runs import events
from ..runs.eventstore import Change
from ..runs.models import Drift, Run
from . import store

COMMANDS_MOST = 200  # of one object
Key = tuple[str, str, str]  # host, module, subject
INFO = "crosshost.network.network_info"
_SUBJECTS = (
    re.compile(r"^# (?:record|forget) \S+ (\S+)"),
    re.compile(r"\bcrosshost:([A-Za-z0-9][A-Za-z0-9_.-]*)"),
    re.compile(r"(?:-n|netns add|netns del|netns exec) xh-([A-Za-z0-9][A-Za-z0-9_.-]*)"),
    re.compile(r"\bcrosshost-dns@([A-Za-z0-9][A-Za-z0-9_.-]*)"),
)


def subject_of(command: str) -> str:
    """The network or object that a command is about, as far as it says so; else ""."""
    for pattern in _SUBJECTS:
        found = pattern.search(command)
        if found:
            return found[1].rstrip(".")[:200]
    return ""


def by_subject(commands: Sequence[str]) -> dict[str, list[str]]:
    """The commands by what they are about. One that says nothing belongs with the one before it."""
    found: dict[str, list[str]] = {}
    subject = ""
    for command in commands:
        subject = subject_of(command) or subject
        rows = found.setdefault(subject, [])
        if len(rows) < COMMANDS_MOST:
            rows.append(command[:2000])
    return found


def learn(s: WriteSession, run: Run, found: Sequence[Change]) -> None:
    """Bring what is known up to date with an ended run. ``found``: its results, in order."""
    if not _tells(run):
        return
    looked, differs = _read(run, found)
    known = {
        (one.host, one.module, one.subject): one for one in store.of_hosts(s, {host for host, _ in looked})
    }
    for key, commands in differs.items():
        row = known.pop(key, None)
        if row is None:
            host, module, subject = key
            store.add(
                s,
                Drift(
                    host=host, module=module, subject=subject, commands=commands, since=run.ended_at, seen_at=run.ended_at,
                    first_run_id=run.id, last_run_id=run.id,
                ),
            )  # fmt: skip
        else:
            row.commands, row.seen_at, row.last_run_id = commands, run.ended_at or row.seen_at, run.id
    store.remove(s, [row.id for key, row in known.items() if (key[0], key[1]) in looked])


def _tells(run: Run) -> bool:
    return run.playbook.removesuffix(".yml") in ("site", "doctor")


def _read(run: Run, found: Sequence[Change]) -> tuple[set[tuple[str, str]], dict[Key, list[str]]]:
    """The hosts and modules that the run has looked at, and what differs by host, module and subject."""
    looked: set[tuple[str, str]] = set()
    lines: dict[tuple[str, str], list[str]] = {}
    differs: dict[Key, list[str]] = {}
    for one in found:
        if one.status in ("failed", "unreachable", "ignored"):
            continue
        module = one.action[:60]
        if one.action == INFO:
            looked.add((one.host, module))
            differs.update(_of_info(one, events.unpack(one.body)))
            continue
        if run.playbook.removesuffix(".yml") != "site":
            continue
        looked.add((one.host, module))
        if one.status == "changed" and run.check_mode:
            body = events.unpack(one.body)
            commands = [str(line) for line in body.get("commands") or ()] or [f"{one.action}: {one.name}"]
            lines.setdefault((one.host, module), []).extend(commands)
    for (host, module), commands in lines.items():
        for subject, mine in by_subject(commands).items():
            differs[(host, module, subject)] = mine
    return looked, differs


def _of_info(one: Change, body: dict[str, Any]) -> dict[Key, list[str]]:
    """From what network_info tells: commands by kind, and kinds that could not be compared."""
    found: dict[Key, list[str]] = {}
    for field in ("drift", "errors"):
        told = body.get(field)
        for kind, value in told.items() if isinstance(told, dict) else ():
            commands = value if isinstance(value, list) else [f"# {value}"]
            if commands:
                found[(one.host, INFO[:60], str(kind)[:200])] = [
                    str(line)[:2000] for line in commands[:COMMANDS_MOST]
                ]
    return found
