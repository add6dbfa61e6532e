# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of firewall_ports: observe, plan, apply, verify, record; undone as a whole when a step fails.

The ports are one backend's; the forwarded traffic of bridges may have to pass several firewalls.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Optional, Union

from ..errors import ApplyError, CrosshostError, HostError
from ..spec import fields
from ..spec.firewall import (
    MODULE,
    RuleSet,
    Spec,
    complete,
    desired_forwards,
    desired_sets,
    parse,
    parse_item,
)
from . import forward
from .detect import choose, found, leftovers, load
from .model import STATE_DIR, Backend, Host, Op

RECORD = f"{STATE_DIR}/firewall_ports.json"
LOCK = "/run/crosshost.lock"


class Part(NamedTuple):
    """What one backend goes through: where it is, where it shall be, and the steps between."""

    backend: Union[Backend, forward.Passage]
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
    if spec.forwards is not None and not spec.config and spec.backend == "auto" and found(host) is None:
        return _unhindered(spec)
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


def _unhindered(spec: Spec) -> dict[str, Any]:
    """Only forwarded traffic is asked about, and no firewall keeps it out."""
    passing = desired_forwards(spec, frozenset())
    return {"backend": "none", "warnings": [], **_result((), {}, {}), **_forwards(frozenset(), passing)}


def _rendered(spec: Spec, host: Host) -> dict[str, Any]:
    """The commands for a host that has nothing of ours yet; of the host only its circumstances are asked."""
    name = choose(host, spec.backend) if spec.backend == "auto" else spec.backend
    backend = load(name, host)
    blank = backend.blank()
    zones = _zones(spec, name, blank)
    sets = {item.name: complete(item, zones[item.name]) for item in spec.config}
    passing = desired_forwards(spec, frozenset())
    parts = [_passing(way, way.blank(), passing) for way in forward.own(name, host)]
    result = _result([*parts, _part(backend, blank, sets)], {}, sets)
    result["diff"]["before"] = ""
    return {
        **result,
        **_forwards(frozenset(), passing),
        "backend": name,
        "warnings": [],
        "changed": False,
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
    ways = forward.observe(name, host)
    passing = ways.held if spec.state == "gathered" else desired_forwards(spec, _forwards_base(ways, host))
    if spec.state == "gathered":
        parts = [*(Part(w, s, s, ()) for w, s in ways.own), Part(backend, now, now, ())]
        warnings += [_left_behind(name, states)] if states else []
    else:
        # firewalld's way first: the ports may reload it, and a reload takes a dockerd's chains away for a moment.
        parts = [*(_passing(w, s, passing) for w, s in ways.own), _part(backend, now, after)]
        parts += [_part(b, s, {}) for b, s in states] + [_passing(w, s, frozenset()) for w, s in ways.left]
        warnings += ways.warnings(passing)
    warnings += backend.warnings(after, now)
    if act:
        _act(parts, host, name, after, passing)
    told = {"backend": name, "warnings": list(dict.fromkeys(warnings))}
    return {**told, **_result(parts, before, after), **_forwards(ways.held, passing)}


def _act(
    parts: list[Part], host: Host, name: str, sets: Mapping[str, RuleSet], passing: frozenset[str]
) -> None:
    """Carry out what is to be done, and record it."""
    needed = any(part.ops for part in parts)
    if needed:
        apply(parts)
    if needed or passing != (recorded_forwards(host) or frozenset()):
        _record(host, name, sets, passing)


def _result(
    parts: Sequence[Part], before: Mapping[str, RuleSet], after: Mapping[str, RuleSet]
) -> dict[str, Any]:
    ops = [op for part in parts for op in part.ops]
    return {
        "changed": bool(ops),
        "before": [before[n].as_dict() for n in sorted(before)],
        "after": [after[n].as_dict() for n in sorted(after)],
        "commands": [line for op in ops for line in op.render()],
        "diff": {
            "before": _text([(p.backend, p.now) for p in parts]),
            "after": _text([(p.backend, p.goal) for p in parts]),
        },
    }


def _forwards(before: frozenset[str], after: frozenset[str]) -> dict[str, list[str]]:
    return {"forward_interfaces_before": sorted(before), "forward_interfaces_after": sorted(after)}


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


def _passing(way: forward.Passage, now: Any, interfaces: frozenset[str]) -> Part:
    goal = way.compile(interfaces, now)
    return Part(way, now, goal, tuple(way.plan(now, goal)))


def _text(states: list[tuple[Union[Backend, forward.Passage], Any]]) -> str:
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
        items = _read_record(host).get("config", [])
        return {item["name"]: complete(parse_item(_respecified(item)), item.get("zone")) for item in items}
    except (ValueError, KeyError, TypeError, AttributeError, CrosshostError):
        return {}


def recorded_forwards(host: Host) -> Optional[frozenset[str]]:
    """The interfaces of the last run; None where the record does not say."""
    try:
        listed = _read_record(host)["forward_interfaces"]
        return frozenset(fields.ifname(MODULE, "forward_interfaces", i) for i in listed)
    except (ValueError, KeyError, TypeError, AttributeError, CrosshostError):
        return None


def _forwards_base(ways: forward.Ways, host: Host) -> frozenset[str]:
    """As with the sets: what was applied counts, so that drift is repaired, not adopted."""
    applied = recorded_forwards(host)
    return ways.held if applied is None else applied


def _read_record(host: Host) -> Any:
    return json.loads(host.read(RECORD) or "{}")


def _respecified(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        k: v for k, v in item.items() if k in ("name", "ports", "esp", "sources", "open_to_world", "zone")
    }


def _record(host: Host, backend: str, sets: Mapping[str, RuleSet], passing: frozenset[str]) -> None:
    data = {
        "backend": backend,
        "config": [sets[n].as_dict() for n in sorted(sets)],
        "forward_interfaces": sorted(passing),
    }
    text = json.dumps(data, indent=2, sort_keys=True) + "\n"
    host.execute(Op("write", path=RECORD, text=text) if sets or passing else Op("remove", path=RECORD))
