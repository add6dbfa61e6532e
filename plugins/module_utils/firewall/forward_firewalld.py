# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forwarded traffic past firewalld: a zone that holds the interfaces, and a policy for what goes to them.

The zone's target ACCEPT is for what comes from it; its last rule keeps it from the host itself, as libvirt's zone does.
Beside a dockerd, direct rules: a reload of firewalld empties iptables' tables, and then puts back only its own.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Optional, Union

from ..errors import CollisionError, HostError
from ..spec.firewall import MODULE
from .firewalld_read import ETC, Daemon, parse_xml
from .firewalld_reload import ZONE, reload_keeping
from .forward import COMMENT
from .forward_iptables import DOCKER, Filter, filters, of_dockerd
from .iptables import program
from .model import Host, Op, run_op

POLICY = f"{ZONE}-in"
_RULE = 'rule priority="32767" reject'
Setting = tuple[str, str]
ZONE_SETTINGS: tuple[Setting, ...] = (
    ("set-description", COMMENT),
    ("set-target", "ACCEPT"),
    ("add-protocol", "icmp"),
    ("add-protocol", "ipv6-icmp"),
    ("add-rich-rule", _RULE),
)
POLICY_SETTINGS: tuple[Setting, ...] = (
    ("set-description", COMMENT),
    ("set-target", "ACCEPT"),
    ("add-ingress-zone", "ANY"),
    ("add-egress-zone", ZONE),
)
_PERMANENT = ("--permanent",)


class Direct(NamedTuple):
    """A direct rule of ours: what comes in on (`-i`) or goes out of (`-o`) an interface is accepted."""

    family: int
    chain: str
    way: str
    interface: str

    def words(self) -> tuple[str, ...]:
        return (self.way, self.interface, "-m", "comment", "--comment", COMMENT, "-j", "ACCEPT")

    def argv(self) -> tuple[str, ...]:
        return (f"ipv{self.family}", "filter", self.chain, "0", *self.words())

    def saved(self) -> str:
        """As iptables-save prints it."""
        return f'-A {self.chain} {self.way} {self.interface} -m comment --comment "{COMMENT}" -j ACCEPT'


class Permanent(NamedTuple):
    """`zone`, `policy`: which of the settings they have, None where there is none. `chains`: families for which
    DOCKER-USER is among the direct chains, so that a reload makes it before dockerd does."""

    zone: Optional[frozenset[Setting]]
    policy: Optional[frozenset[Setting]]
    interfaces: frozenset[str]
    direct: frozenset[Direct]
    chains: frozenset[int]


NOTHING = Permanent(None, None, frozenset(), frozenset(), frozenset())


class Circumstances(NamedTuple):
    """`elsewhere`: interface to the zone of others that holds it permanently. `targets`: by family, the chains of iptables
    that have to accept. `shared`: families whose DOCKER-USER has direct rules of others. `policies`: this firewalld knows
    them. `taken`: a zone or policy of our name that is not ours."""

    elsewhere: Mapping[str, str]
    targets: Mapping[int, tuple[str, ...]]
    shared: frozenset[int]
    policies: bool
    taken: str


class State(NamedTuple):
    """`interfaces`, `direct`: what is in force. `loaded`: the daemon has the zone and the policy. `missing`: of `direct`,
    what something else has taken out of the kernel."""

    permanent: Permanent
    interfaces: frozenset[str]
    direct: frozenset[Direct]
    missing: frozenset[Direct]
    loaded: bool
    host: Circumstances


# --- what is there


def targets_of(table: Filter) -> tuple[str, ...]:
    """Both chains: a reload may leave DOCKER-USER without a way to it, and DOCKER-USER may drop what FORWARD accepts."""
    docker = DOCKER in table.policies
    needed = docker or of_dockerd(table) or table.policies.get("FORWARD") == "DROP"
    return (*([DOCKER] if docker else []), *(["FORWARD"] if needed else []))


def read_direct(words: Iterable[str]) -> Optional[Direct]:
    """A direct rule, given as ipv, table, chain, priority and iptables' words, if it is one of ours."""
    ipv, _table, chain, _priority, *rest = words
    if len(rest) < 2 or ipv not in ("ipv4", "ipv6"):
        return None
    rule = Direct(int(ipv[-1]), chain, rest[0], rest[1])
    return rule if rule.way in ("-i", "-o") and tuple(rest) == rule.words() else None


def read_permanent(host: Host) -> tuple[Permanent, frozenset[int], str]:
    """What is ours in /etc/firewalld, the families whose DOCKER-USER has rules of others, what bears our name."""
    zone, policy = (_settings(host, kind, name) for kind, name in (("zones", ZONE), ("policies", POLICY)))
    taken = [
        f"{kind} {name}"
        for kind, name, found in (("zone", ZONE, zone), ("policy", POLICY, policy))
        if found is not None and ("set-description", COMMENT) not in found
    ]
    root = parse_xml(host.read(f"{ETC}/direct.xml"))
    direct: set[Direct] = set()
    shared: set[int] = set()
    for element in root.findall("rule"):
        words = [*(element.get(k, "") for k in ("ipv", "table", "chain", "priority"))]
        rule = read_direct([*words, *shlex.split(element.text or "")])
        if rule:
            direct.add(rule)
        elif words[2] == DOCKER and words[0] in ("ipv4", "ipv6"):
            shared.add(int(words[0][-1]))
    chains = {int(c.get("ipv", "")[-1]) for c in root.findall("chain") if c.get("chain") == DOCKER}
    held = frozenset(_interfaces(host, ZONE)) if zone is not None else frozenset()
    found = Permanent(zone, policy, held, frozenset(direct), frozenset(chains))
    return found, frozenset(shared), taken[0] if taken else ""


def _settings(host: Host, kind: str, name: str) -> Optional[frozenset[Setting]]:
    text = host.read(f"{ETC}/{kind}/{name}.xml")
    if text is None:
        return None
    root = parse_xml(text)
    found = {
        ("set-description", root.findtext("description") or ""),
        ("set-target", root.get("target") or ""),
    }
    found |= {("add-protocol", e.get("value", "")) for e in root.findall("protocol")}
    for side in ("ingress-zone", "egress-zone"):
        found |= {(f"add-{side}", e.get("name", "")) for e in root.findall(side)}
    for rule in root.findall("rule"):
        if dict(rule.attrib) == {"priority": "32767"} and [child.tag for child in rule] == ["reject"]:
            found.add(("add-rich-rule", _RULE))
    return frozenset(found & {*ZONE_SETTINGS, *POLICY_SETTINGS})


def _interfaces(host: Host, zone: str) -> list[str]:
    root = parse_xml(host.read(f"{ETC}/zones/{zone}.xml"))
    return [str(e.get("name")) for e in root.findall("interface")]


def _elsewhere(host: Host) -> dict[str, str]:
    zones = [e[:-4] for e in host.listdir(f"{ETC}/zones") if e.endswith(".xml") and e != f"{ZONE}.xml"]
    return {interface: zone for zone in zones for interface in _interfaces(host, zone)}


# --- the plan


def _call(how: tuple[str, ...], *words: str) -> Op:
    return run_op("firewall-cmd", *how, *words)


def _set(kind: str, name: str, have: frozenset[Setting], want: frozenset[Setting]) -> list[Op]:
    """A kind of option a call; what is in the way of an older state goes."""
    ops: list[Op] = []
    gone = {
        (option.replace("add-", "remove-"), value) for option, value in have - want if option[:4] == "add-"
    }
    changes = sorted(gone | (want - have))
    # The description first, as it says whose the thing is.
    options = sorted({option for option, _value in changes}, key=lambda o: (o != "set-description", o))
    for option in options:
        values = [f"--{option}={value}" for o, value in changes if o == option]
        ops.append(_call(_PERMANENT, f"--{kind}={name}", *values))
    return ops


def _object(
    kind: str, name: str, have: Optional[frozenset[Setting]], want: Optional[frozenset[Setting]]
) -> list[Op]:
    if want is None:
        return [_call(_PERMANENT, f"--delete-{kind}={name}")] if have is not None else []
    new = [_call(_PERMANENT, f"--new-{kind}={name}")] if have is None else []
    return [*new, *_set(kind, name, have or frozenset(), want)]


def _directs(how: tuple[str, ...], have: frozenset[Direct], want: frozenset[Direct]) -> list[Op]:
    ops = [_call(how, "--direct", "--add-rule", *rule.argv()) for rule in sorted(want - have)]
    return ops + [_call(how, "--direct", "--remove-rule", *rule.argv()) for rule in sorted(have - want)]


def _plan_permanent(now: Permanent, goal: Permanent) -> list[Op]:
    ops = _object("zone", ZONE, now.zone, goal.zone) if goal.zone is not None else []
    ops += _object("policy", POLICY, now.policy, goal.policy)
    if goal.zone is not None:
        for verb, part in (
            ("add", goal.interfaces - now.interfaces),
            ("remove", now.interfaces - goal.interfaces),
        ):
            options = [f"--{verb}-interface={i}" for i in sorted(part)]
            ops += [_call(_PERMANENT, f"--zone={ZONE}", *options)] if options else []
    else:
        # Last: the policy refers to it.
        ops += _object("zone", ZONE, now.zone, None)
    chain = [("--direct", f"--{verb}-chain") for verb in ("add", "remove")]
    ops += [
        _call(_PERMANENT, *chain[0], f"ipv{f}", "filter", DOCKER) for f in sorted(goal.chains - now.chains)
    ]
    ops += _directs(_PERMANENT, now.direct, goal.direct)
    return ops + [
        _call(_PERMANENT, *chain[1], f"ipv{f}", "filter", DOCKER) for f in sorted(now.chains - goal.chains)
    ]


def _needs_reload(now: State, goal: State) -> bool:
    """Only a reload makes a zone or a policy known to the daemon."""
    if goal.permanent.zone is None:
        return False
    known = (now.permanent.zone, now.permanent.policy) == (goal.permanent.zone, goal.permanent.policy)
    return not (known and now.loaded)


class FirewalldForward:
    name = "firewalld"

    def __init__(self, host: Host) -> None:
        self.host = host

    def observe(self) -> State:
        daemon = Daemon(self.host)
        if not daemon.running():
            raise HostError(
                f"{MODULE}: backend 'firewalld': the daemon does not run on this host: "
                "start it, or choose another backend"
            )
        permanent, shared, taken = read_permanent(self.host)
        policies = daemon.policies()
        loaded = ZONE in daemon.zones() and (policies is None or POLICY in policies)
        active = frozenset(i for i, zone in daemon.interfaces().items() if zone == ZONE)
        direct = frozenset(rule for rule in map(read_direct, daemon.direct_rules()) if rule)
        tables = filters(self.host)
        kernel = {(f, rule) for f, table in tables.items() for held in table.rules.values() for rule in held}
        missing = frozenset(rule for rule in direct if (rule.family, rule.saved()) not in kernel)
        targets = {family: targets_of(table) for family, table in tables.items()}
        around = Circumstances(_elsewhere(self.host), targets, shared, policies is not None, taken)
        return State(permanent, active, direct, missing, loaded, around)

    def blank(self) -> State:
        around = Circumstances({}, {}, frozenset(), True, "")
        return State(NOTHING, frozenset(), frozenset(), frozenset(), False, around)

    def held(self, state: State) -> frozenset[str]:
        if state.host.taken:
            return frozenset()
        directs = {rule.interface for rule in (*state.permanent.direct, *state.direct)}
        return state.permanent.interfaces | state.interfaces | directs

    def compile(self, interfaces: frozenset[str], state: State) -> State:
        empty = state._replace(
            permanent=NOTHING, interfaces=frozenset(), direct=frozenset(), missing=frozenset()
        )
        if state.host.taken and interfaces:
            raise CollisionError(
                f"{MODULE}: forward_interfaces {sorted(interfaces)}: firewalld has a {state.host.taken} that is not "
                "crosshost's: rename it, or choose another backend"
            )
        if state.host.taken:
            return state
        for interface in sorted(interfaces & set(state.host.elsewhere)):
            zone = state.host.elsewhere[interface]
            raise CollisionError(
                f"{MODULE}: forward_interfaces {interface!r}: firewalld has it in the zone {zone}: take it out there: "
                f"firewall-cmd --permanent --zone={zone} --remove-interface={interface}"
            )
        shared = state.permanent.chains & state.host.shared
        if not interfaces:
            return empty._replace(permanent=NOTHING._replace(chains=shared))
        direct = frozenset(
            Direct(family, chain, way, interface)
            for family, chains in state.host.targets.items()
            for chain in chains
            for way in ("-i", "-o")
            for interface in interfaces
        )
        chains = frozenset(rule.family for rule in direct if rule.chain == DOCKER) | shared
        policy = frozenset(POLICY_SETTINGS) if state.host.policies else None
        permanent = Permanent(frozenset(ZONE_SETTINGS), policy, interfaces, direct, chains)
        return empty._replace(permanent=permanent, interfaces=interfaces, direct=direct, loaded=True)

    def plan(self, now: State, goal: State) -> list[Op]:
        if now.host.taken:
            return []
        ops = _plan_permanent(now.permanent, goal.permanent)
        if _needs_reload(now, goal):
            return [*ops, Op("reload", ("firewall-cmd", "--reload"))]
        ops += [
            _call((), f"--zone={ZONE}", f"--change-interface={i}")
            for i in sorted(goal.interfaces - now.interfaces)
        ]
        ops += [
            _call((), f"--zone={ZONE}", f"--remove-interface={i}")
            for i in sorted(now.interfaces - goal.interfaces)
        ]
        # The daemon believes them to be there: they are put back behind its back.
        ops += [run_op(program(r.family), "-w", "-I", r.chain, "1", *r.words()) for r in sorted(now.missing)]
        return ops + _directs((), now.direct, goal.direct)

    def describe(self, state: State) -> list[str]:
        lines: list[str] = []
        for kind, name, settings in (
            ("zone", ZONE, state.permanent.zone),
            ("policy", POLICY, state.permanent.policy),
        ):
            if settings is not None and not state.host.taken:
                lines += [f"permanent {kind} {name} --{option}={value}" for option, value in sorted(settings)]
        layers: tuple[tuple[str, Union[Permanent, State]], ...]
        layers = (("permanent", state.permanent), ("runtime", state))
        for word, layer in layers:
            lines += [f"{word} zone {ZONE} interface {i}" for i in sorted(layer.interfaces)]
            lines += [f"{word} direct {' '.join(rule.argv())}" for rule in sorted(layer.direct)]
        return lines + [f"not in the kernel: {rule.saved()}" for rule in sorted(state.missing)]

    def warnings(self, goal: State) -> list[str]:  # noqa: ARG002
        return []

    def execute(self, op: Op) -> None:
        if op.kind == "reload":
            reload_keeping(self.host)
        else:
            self.host.execute(op)
