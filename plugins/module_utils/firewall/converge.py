# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of firewall_ports: observe, plan, apply, verify, record; undone as a whole when a step fails."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Optional

from ..errors import ApplyError, CrosshostError, HostError
from ..spec.firewall import MODULE, RuleSet, Spec, complete, desired_sets, parse, parse_item
from .detect import choose, leftovers, load
from .model import STATE_DIR, Backend, Host, Op

RECORD = f"{STATE_DIR}/firewall_ports.json"
LOCK = "/run/crosshost.lock"


class Part(NamedTuple):
    """What one backend goes through: where it is, where it shall be, and the steps between."""

    backend: Backend
    now: Any
    goal: Any
    ops: tuple[Op, ...]


@contextmanager
def locked() -> Iterator[None]:
    """One crosshost run at a time changes this host."""
    try:
        fd = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise HostError(f"{MODULE}: file {LOCK!r}: cannot be opened: {exc.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def converge(params: Mapping[str, Any], check_mode: bool, host: Optional[Host] = None) -> dict[str, Any]:
    """The result of the module: changed, backend, before, after, commands, diff, warnings.

    `params` are the module's options. Raises CrosshostError, one line for a reader.
    """
    host = host or Host()
    spec = parse(params)
    if spec.state == "rendered":
        return _rendered(spec, host)
    if os.geteuid() != 0:
        raise HostError(
            f"{MODULE}: user {os.geteuid()}: only root reads and changes the firewall: set become: true"
        )
    if check_mode or spec.state == "gathered":
        return _run(spec, host, False)
    with locked():
        return _run(spec, host, True)


def _rendered(spec: Spec, host: Host) -> dict[str, Any]:
    """The commands for a host that has nothing of ours yet; of the host only its circumstances are asked."""
    name = choose(host, spec.backend) if spec.backend == "auto" else spec.backend
    backend = load(name, host)
    blank = backend.blank()
    zones = _zones(spec, name, blank)
    sets = {item.name: complete(item, zones[item.name]) for item in spec.config}
    goal = backend.compile(sets, blank)
    return {
        "changed": False,
        "backend": name,
        "warnings": [],
        "before": [],
        "after": [sets[n].as_dict() for n in sorted(sets)],
        "commands": [line for op in backend.plan(blank, goal) for line in op.render()],
        "diff": {"before": "", "after": _text([(backend, goal)])},
    }


def _run(spec: Spec, host: Host, act: bool) -> dict[str, Any]:
    name = choose(host, spec.backend)
    backend = load(name, host)
    others, warnings = leftovers(host, name)
    now = backend.observe()
    states = [(b, b.observe()) for b in others]
    # Sets in a firewall that the host has left behind are ours as well: they move.
    before: dict[str, RuleSet] = {}
    for other, state in states:
        before.update({n: s._replace(zone=None) for n, s in other.sets(state).items()})
    before.update(backend.sets(now))
    zones = _zones(spec, name, now)
    after = desired_sets(spec, {**before, **_bases(spec, before, host)}, zones)
    parts: list[Part] = []
    if spec.state != "gathered":
        parts = [_part(backend, now, after), *(_part(b, state, {}) for b, state in states)]
    elif states:
        warnings.append(_left_behind(name, states))
    warnings += backend.warnings(after, now)
    ops = [op for part in parts for op in part.ops]
    if act and ops:
        apply(parts)
        _record(host, name, after)
    return {
        "changed": bool(ops),
        "backend": name,
        "warnings": warnings,
        "before": [before[n].as_dict() for n in sorted(before)],
        "after": [after[n].as_dict() for n in sorted(after)],
        "commands": [line for op in ops for line in op.render()],
        "diff": {
            "before": _text([(p.backend, p.now) for p in parts] or [(backend, now)]),
            "after": _text([(p.backend, p.goal) for p in parts] or [(backend, now)]),
        },
    }


def _zones(spec: Spec, name: str, state: Any) -> dict[str, Optional[str]]:
    """Each item's firewalld zone; None with the other backends."""
    if name != "firewalld" or spec.state == "deleted":
        return {item.name: None for item in spec.config}
    from .firewalld import zone_of

    return {item.name: zone_of(item, state) for item in spec.config}


def _left_behind(name: str, states: list[tuple[Backend, Any]]) -> str:
    held = ", ".join(b.name for b, _state in states)
    return f"Rules of crosshost are also in {held}, while this host runs {name}: any other state moves them."


def _part(backend: Backend, now: Any, sets: Mapping[str, RuleSet]) -> Part:
    goal = backend.compile(sets, now)
    return Part(backend, now, goal, tuple(backend.plan(now, goal)))


def _text(states: list[tuple[Backend, Any]]) -> str:
    return "".join(f"{line}\n" for backend, state in states for line in backend.describe(state))


def apply(parts: list[Part]) -> None:
    """Do all steps and look whether the host is as planned. On a failure everything is put back; ApplyError."""
    done: list[Part] = []
    try:
        for part in parts:
            if part.ops:
                done.append(part)
            for op in part.ops:
                part.backend.execute(op)
        for part in done:
            left = part.backend.plan(part.backend.observe(), part.goal)
            if left:
                raise ApplyError(
                    f"{MODULE}: backend {part.backend.name!r}: after the change the host still differs: "
                    f"{left[0].render()[0]} is undone or refused: see what else manages this firewall"
                )
    except (CrosshostError, OSError) as exc:
        raise ApplyError(f"{exc}; {_undo(done)}") from None


def _undo(done: list[Part]) -> str:
    """Go back from wherever the host is now; says in words how that went."""
    failed = [said for part in reversed(done) for said in _undo_one(part)]
    return f"and the way back failed as well: {'; '.join(failed)}" if failed else "everything was undone"


def _undo_one(part: Part) -> list[str]:
    """What went wrong on the way back, if anything did."""
    try:
        for op in part.backend.plan(part.backend.observe(), part.now):
            part.backend.execute(op)
    except (CrosshostError, OSError) as exc:
        return [str(exc)]
    return []


# --- the record of what was applied


def _bases(spec: Spec, before: Mapping[str, RuleSet], host: Host) -> dict[str, RuleSet]:
    """What state `merged` adds to: the set as it was last applied, so that drift in it is repaired, not adopted."""
    if spec.state != "merged":
        return {}
    named = {item.name for item in spec.config} & set(before)
    return {n: s._replace(zone=before[n].zone) for n, s in recorded(host).items() if n in named}


def recorded(host: Host) -> dict[str, RuleSet]:
    """The sets of the last run; empty where the record is missing or unreadable."""
    try:
        items = json.loads(host.read(RECORD) or "{}").get("config", [])
        return {item["name"]: complete(parse_item(_respecified(item)), item.get("zone")) for item in items}
    except (ValueError, KeyError, TypeError, AttributeError, CrosshostError):
        return {}


def _respecified(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        k: v for k, v in item.items() if k in ("name", "ports", "esp", "sources", "open_to_world", "zone")
    }


def _record(host: Host, backend: str, sets: Mapping[str, RuleSet]) -> None:
    data = {"backend": backend, "config": [sets[n].as_dict() for n in sorted(sets)]}
    text = json.dumps(data, indent=2, sort_keys=True) + "\n"
    host.execute(Op("write", path=RECORD, text=text) if sets else Op("remove", path=RECORD))
