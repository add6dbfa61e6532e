# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The firewalld backend: an ipset for each set and family, and a rich rule for each port that refers to it.

1,000 peers are one rule a port. Runtime and permanent configuration are both compared and both changed; firewalld can
make a new ipset only by a reload, so the first run does one and puts back what others had at runtime only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from ipaddress import ip_network

from ..errors import ApplyError, HostError, SpecError
from ..spec.firewall import MODULE, Network, RuleSet, Wanted, collapse, normalise_sources, text_of
from . import firewalld_read as read
from .firewalld_read import ETC, IpSet, Layer, State, parse_rich, rich_rule
from .firewalld_reload import reload_keeping
from .forward import forwards_left
from .model import OWNER, Gathering, Host, Op, run_op

_NAME_LIMIT = 31  # of an ipset, in the kernel and in firewalld
_INLINE = 8  # entries that fit on a command line one still wants to read
# A hash:net holds no /0, so that "anyone" is its two halves.
_HALVES = {"0.0.0.0/0": ("0.0.0.0/1", "128.0.0.0/1"), "::/0": ("::/1", "8000::/1")}


def ipset_name(name: str, family: int) -> str:
    """`xh4-crosshost`; a name that is too long is cut and told apart by a hash."""
    full = f"xh{family}-{name}"
    if len(full) <= _NAME_LIMIT:
        return full
    return f"{full[: _NAME_LIMIT - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def entries_of(sources: Iterable[str]) -> frozenset[str]:
    return frozenset(e for s in sources for e in _HALVES.get(s, (s,)))


def _same(one: Iterable[str], other: Iterable[str]) -> bool:
    try:
        return collapse(one) == collapse(other)
    except ValueError:
        return False


def compile_layer(sets: Mapping[str, RuleSet]) -> Layer:
    ipsets: dict[str, IpSet] = {}
    rules: set[tuple[str, str]] = set()
    for rs in sets.values():
        for family in (4, 6):
            sources = rs.of_family(family)
            if sources:
                name = ipset_name(rs.name, family)
                ipsets[name] = IpSet(family, rs.name, entries_of(sources))
                rules |= {(str(rs.zone), rich_rule(family, name, port)) for port in rs.ports}
                rules |= {(str(rs.zone), rich_rule(family, name, None))} if rs.esp else set()
    return Layer(ipsets, frozenset(rules))


# --- the plan of one layer; `how` is ("--permanent",) or ()


def _entries(how: tuple[str, ...], name: str, verb: str, entries: frozenset[str]) -> list[Op]:
    if not entries:
        return []
    listed = sorted(entries)
    if len(listed) <= _INLINE:
        return [run_op("firewall-cmd", *how, f"--ipset={name}", *(f"--{verb}-entry={e}" for e in listed))]
    # One request to the daemon instead of one for each entry, which makes 1,000 entries 0.2 s instead of 10 s.
    argv = ("firewall-cmd", *how, f"--ipset={name}", f"--{verb}-entries-from-file=/dev/stdin")
    return [run_op(*argv, text="\n".join([*listed, ""]), lines=[f"{' '.join(argv)} <<'EOF'", *listed, "EOF"])]


def _change_ipset(how: tuple[str, ...], name: str, have: frozenset[str], want: frozenset[str]) -> list[Op]:
    if _same(have, want):
        return []
    # firewalld refuses an entry that overlaps another one, so the old ones leave first.
    return [*_entries(how, name, "remove", have - want), *_entries(how, name, "add", want - have)]


def _rules(how: tuple[str, ...], verb: str, rules: Iterable[tuple[str, str]]) -> list[Op]:
    by_zone: dict[str, list[str]] = {}
    for zone, rule in sorted(rules):
        by_zone.setdefault(zone, []).append(f"--{verb}-rich-rule={rule}")
    return [run_op("firewall-cmd", *how, f"--zone={zone}", *options) for zone, options in by_zone.items()]


def _plan_permanent(now: Layer, goal: Layer) -> list[Op]:
    how = ("--permanent",)
    ops: list[Op] = []
    for name, ipset in sorted(goal.ipsets.items()):
        if name not in now.ipsets:
            family = "inet6" if ipset.family == 6 else "inet"
            ops.append(
                run_op(
                    "firewall-cmd",
                    *how,
                    f"--new-ipset={name}",
                    "--type=hash:net",
                    f"--option=family={family}",
                )
            )
            ops.append(
                run_op("firewall-cmd", *how, f"--ipset={name}", f"--set-description={OWNER}{ipset.owner}")
            )
        have = now.ipsets[name].entries if name in now.ipsets else frozenset()
        ops += _change_ipset(how, name, have, ipset.entries)
    ops += _rules(how, "add", goal.rules - now.rules)
    ops += _rules(how, "remove", now.rules - goal.rules)
    ops += [
        run_op("firewall-cmd", *how, f"--delete-ipset={n}")
        for n in sorted(now.ipsets)
        if n not in goal.ipsets
    ]
    return ops


def _plan_runtime(now: Layer, goal: Layer) -> list[Op]:
    """Every ipset of `goal` is in the daemon already. One that is to go is emptied: a reload removes it."""
    ops: list[Op] = []
    for name, ipset in sorted(goal.ipsets.items()):
        have = now.ipsets[name].entries if name in now.ipsets else frozenset()
        ops += _change_ipset((), name, have, ipset.entries)
    ops += _rules((), "add", goal.rules - now.rules)
    ops += _rules((), "remove", now.rules - goal.rules)
    for name, ipset in sorted(now.ipsets.items()):
        if name not in goal.ipsets:
            ops += _entries((), name, "remove", ipset.entries)
    return ops


class Firewalld:
    name = "firewalld"

    def __init__(self, host: Host) -> None:
        self.host = host

    def present(self) -> bool:
        if not self.host.has("firewall-cmd"):
            return False
        return forwards_left(self.host) or (
            any(
                entry.startswith(("xh4-", "xh6-")) and entry.endswith(".xml")
                for entry in self.host.listdir(f"{ETC}/ipsets")
            )
            and bool(read.permanent(self.host).ipsets)
        )

    def observe(self) -> State:
        return read.observe(self.host)

    def blank(self) -> State:
        """Zones and interfaces are asked of the daemon if it answers, else the default zone is read from its file."""
        nothing = Layer({}, frozenset())
        try:
            state = read.observe(self.host)
        except (ApplyError, HostError):
            state = State(nothing, nothing, read.configured_default(self.host), (), {})
        return state._replace(permanent=nothing, runtime=nothing, spare=frozenset())

    def sets(self, state: State) -> dict[str, RuleSet]:
        found = Gathering()
        for layer in (state.permanent, state.runtime):
            for ipset in layer.ipsets.values():
                found.add(ipset.owner, sources=[text_of(n) for n in _networks(ipset.entries)])
            for zone, rule in layer.rules:
                parsed = parse_rich(rule)
                if parsed and parsed[1] in layer.ipsets:
                    port = parsed[2]
                    found.add(
                        layer.ipsets[parsed[1]].owner, [port] if port else [], esp=port is None, zone=zone
                    )
        return found.result()

    def compile(self, sets: Mapping[str, RuleSet], state: State) -> State:
        zoned = {name: rs if rs.zone else rs._replace(zone=state.default_zone) for name, rs in sets.items()}
        layer = compile_layer(zoned)
        for name in layer.ipsets:
            taken = state.permanent.ipsets.get(name)
            if taken is not None and taken.owner != layer.ipsets[name].owner:
                raise SpecError(
                    f"{MODULE} {layer.ipsets[name].owner}",
                    "name",
                    layer.ipsets[name].owner,
                    f"the ipset {name} belongs to the set {taken.owner}: choose another name",
                )
        return state._replace(permanent=layer, runtime=layer)

    def plan(self, now: State, goal: State) -> list[Op]:
        permanent = _plan_permanent(now.permanent, goal.permanent)
        loaded = set(now.runtime.ipsets) | now.spare
        if any(name not in loaded for name in goal.runtime.ipsets):
            return [*permanent, Op("reload", ("firewall-cmd", "--reload"))]
        return [*permanent, *_plan_runtime(now.runtime, goal.runtime)]

    def describe(self, state: State) -> list[str]:
        lines: list[str] = []
        for word, layer in (("permanent", state.permanent), ("runtime", state.runtime)):
            for name, ipset in sorted(layer.ipsets.items()):
                lines += [f"{word} ipset {name} {text_of(n)}" for n in _networks(ipset.entries)]
            lines += [f"{word} zone {zone} {rule}" for zone, rule in sorted(layer.rules)]
        return lines

    def warnings(self, sets: Mapping[str, RuleSet], state: State) -> list[str]:
        zones = {rs.zone or state.default_zone for rs in sets.values()}
        return [
            f"The firewalld zone {zone} accepts everything, so that everyone reaches these ports: "
            "choose another zone for the interface."
            for zone in sorted(zones)
            if read.zone_target(self.host, zone) == "ACCEPT"
        ]

    def execute(self, op: Op) -> None:
        if op.kind == "reload":
            reload_keeping(self.host)
        else:
            self.host.execute(op)


def _networks(entries: Iterable[str]) -> list[Network]:
    """The entries in order; both halves of everything come back as /0."""
    return [ip_network(s) for s in normalise_sources(entries)]


def zone_of(wanted: Wanted, state: State) -> str:
    """The zone that an item means. Raises SpecError where firewalld has none of that name."""
    obj = f"{MODULE} {wanted.name}"
    if wanted.zone is not None:
        if state.zones and wanted.zone not in state.zones:
            raise SpecError(
                obj,
                "zone",
                wanted.zone,
                f"firewalld has no such zone; it has {', '.join(sorted(state.zones))}",
            )
        return wanted.zone
    if wanted.interface is not None:
        # An interface that is in no zone is handled by the default zone.
        return state.interfaces.get(wanted.interface, state.default_zone)
    return state.default_zone
