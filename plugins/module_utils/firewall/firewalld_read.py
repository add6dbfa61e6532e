# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads firewalld: the runtime state from the daemon, the permanent one from its files.

A call of firewall-cmd starts a Python and takes 150 ms; busctl asks the same daemon in 7 ms. Hosts without busctl
are read through firewall-cmd.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Container, Mapping
from typing import Any, NamedTuple, Optional

from ..errors import HostError
from ..spec.firewall import MODULE, Port
from .model import OWNER, Host

ETC, LIB = "/etc/firewalld", "/usr/lib/firewalld"
BUS = "org.fedoraproject.FirewallD1"
_PATH = "/org/fedoraproject/FirewallD1"
_SET = re.compile(r"xh[46]-[a-z0-9_-]{1,27}\Z")
_RICH = re.compile(
    r'rule family="ipv([46])" source ipset="(xh[46]-[a-z0-9_-]+)" '
    r'(?:port port="(\d+)(?:-(\d+))?" protocol="(tcp|udp|sctp)"|protocol value="(esp)") accept\Z'
)


class IpSet(NamedTuple):
    """An ipset of ours: `owner` is the name of the rule set, `entries` as firewalld holds them."""

    family: int
    owner: str
    entries: frozenset[str]


class Layer(NamedTuple):
    """The runtime or the permanent half: ipsets by name, rich rules with their zone."""

    ipsets: Mapping[str, IpSet]
    rules: frozenset[tuple[str, str]]


class State(NamedTuple):
    """`interfaces`: active interface to zone. `spare`: runtime ipsets of ours that nothing permanent stands behind;
    empty ones are no drift, as only a reload removes them."""

    permanent: Layer
    runtime: Layer
    default_zone: str
    zones: tuple[str, ...]
    interfaces: Mapping[str, str]
    spare: frozenset[str] = frozenset()


def rich_rule(family: int, ipset: str, port: Optional[Port]) -> str:
    """A rich rule in the words in which firewalld gives it back; without a port, for ESP."""
    what = f'port port="{port.text("-")}" protocol="{port.protocol}"' if port else 'protocol value="esp"'
    return f'rule family="ipv{family}" source ipset="{ipset}" {what} accept'


def parse_rich(rule: str) -> Optional[tuple[int, str, Optional[Port]]]:
    """Family, ipset and port of a rule that we would write, else None."""
    match = _RICH.match(rule)
    if not match:
        return None
    family, ipset, first, last, protocol, _esp = match.groups()
    port = Port(protocol, int(first), int(last or first)) if protocol else None
    return int(family), ipset, port


def owner_of(name: str, description: str) -> Optional[str]:
    """The rule set that an ipset belongs to: its name begins like ours and its description says so."""
    ours = _SET.match(name) and description.startswith(OWNER)
    return description[len(OWNER) :] if ours else None


def _refers_to(rule: str, ipsets: Container[str]) -> bool:
    """A rule is ours through the ipset that it names."""
    parsed = parse_rich(rule)
    return parsed is not None and parsed[1] in ipsets


# --- permanent


def parse_xml(text: Optional[str]) -> Any:
    import xml.etree.ElementTree as ElementTree  # 10 ms that only this backend pays

    try:
        # Root's own files, and firewalld parses the same ones.
        return ElementTree.fromstring(text or "<none/>")  # noqa: S314
    except ElementTree.ParseError:
        return ElementTree.fromstring("<none/>")  # noqa: S314


def _xml_rule(rule: Any) -> str:
    """A <rule> element as a rich rule, if it has just the parts that ours have."""
    parts = {child.tag: child for child in rule}
    if set(parts) == {"source", "port", "accept"}:
        what = f'port port="{parts["port"].get("port")}" protocol="{parts["port"].get("protocol")}"'
    elif set(parts) == {"source", "protocol", "accept"}:
        what = f'protocol value="{parts["protocol"].get("value")}"'
    else:
        return ""
    return f'rule family="{rule.get("family")}" source ipset="{parts["source"].get("ipset")}" {what} accept'


def permanent(host: Host) -> Layer:
    ipsets: dict[str, IpSet] = {}
    for entry in host.listdir(f"{ETC}/ipsets"):
        name = entry[:-4]
        if entry.endswith(".xml") and _SET.match(name):
            root = parse_xml(host.read(f"{ETC}/ipsets/{entry}"))
            owner = owner_of(name, root.findtext("description") or "")
            if owner is not None:
                family = next((6 for o in root.findall("option") if o.get("value") == "inet6"), 4)
                entries = frozenset(e.text or "" for e in root.findall("entry"))
                ipsets[name] = IpSet(family, owner, entries)
    rules: set[tuple[str, str]] = set()
    for entry in host.listdir(f"{ETC}/zones"):
        text = host.read(f"{ETC}/zones/{entry}") if entry.endswith(".xml") else None
        if text and 'ipset="xh' in text:
            for element in parse_xml(text).findall("rule"):
                rule = _xml_rule(element)
                if _refers_to(rule, ipsets):
                    rules.add((entry[:-4], rule))
    return Layer(ipsets, frozenset(rules))


def zone_target(host: Host, zone: str) -> str:
    """`default`, `ACCEPT`, `DROP` or `%%REJECT%%`."""
    text = host.read(f"{ETC}/zones/{zone}.xml") or host.read(f"{LIB}/zones/{zone}.xml")
    return str(parse_xml(text).get("target") or "default")


def configured_default(host: Host) -> str:
    """The default zone of firewalld.conf; `public` is firewalld's own default."""
    for line in (host.read(f"{ETC}/firewalld.conf") or "").splitlines():
        if line.startswith("DefaultZone="):
            return line.partition("=")[2].strip()
    return "public"


# --- runtime


class Daemon:
    """The running firewalld, asked through busctl, or through firewall-cmd where that is missing."""

    def __init__(self, host: Host) -> None:
        self.host, self.bus = host, host.has("busctl")

    def running(self) -> bool:
        if not self.host.has("firewall-cmd"):
            return False
        if not self.bus:
            return self.host.attempt("firewall-cmd", "--state")[0] == 0
        rc, out, _err = self.host.attempt(
            "busctl",
            "--json=short",
            "call",
            "org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "NameHasOwner",
            "s",
            BUS,
        )
        return rc == 0 and bool(json.loads(out)["data"][0])

    def _call(self, interface: str, method: str, *args: str) -> Any:
        """All our calls take strings."""
        signature = ["s" * len(args), *args] if args else []
        out = self.host.run("busctl", "--json=short", "call", BUS, _PATH, interface, method, *signature)
        return json.loads(out)["data"][0]

    def default_zone(self) -> str:
        if self.bus:
            return str(self._call(BUS, "getDefaultZone"))
        return self.host.run("firewall-cmd", "--get-default-zone").strip()

    def zones(self) -> tuple[str, ...]:
        if self.bus:
            return tuple(self._call(f"{BUS}.zone", "getZones"))
        return tuple(self.host.run("firewall-cmd", "--get-zones").split())

    def interfaces(self) -> dict[str, str]:
        """Active interface to its zone."""
        if self.bus:
            active = self._call(f"{BUS}.zone", "getActiveZones")
            return {i: zone for zone, held in active.items() for i in held.get("interfaces", [])}
        out: dict[str, str] = {}
        zone = ""
        for line in self.host.run("firewall-cmd", "--get-active-zones").splitlines():
            if not line.startswith(" "):
                zone = line.split()[0] if line.split() else ""
            elif line.strip().startswith("interfaces:"):
                out.update(dict.fromkeys(line.split()[1:], zone))
        return out

    def rich_rules(self, zone: str) -> list[str]:
        if self.bus:
            return list(self._call(f"{BUS}.zone", "getRichRules", zone))
        return self.host.run("firewall-cmd", f"--zone={zone}", "--list-rich-rules").splitlines()

    def policies(self) -> Optional[tuple[str, ...]]:
        """None with a firewalld before 0.9, which knows no policies: a zone's target is for both directions there."""
        if self.bus:
            method = (f"{BUS}.policy", "getPolicies")
            rc, out, _err = self.host.attempt("busctl", "--json=short", "call", BUS, _PATH, *method)
            return tuple(json.loads(out)["data"][0]) if rc == 0 else None
        rc, out, _err = self.host.attempt("firewall-cmd", "--get-policies")
        return tuple(out.split()) if rc == 0 else None

    def direct_rules(self) -> list[list[str]]:
        """Each as its words: ipv, table, chain, priority, and what iptables is given."""
        if self.bus:
            rules = self._call(f"{BUS}.direct", "getAllRules")
            return [[*map(str, rule[:4]), *rule[4]] for rule in rules]
        text = self.host.run("firewall-cmd", "--direct", "--get-all-rules")
        return [shlex.split(line) for line in text.splitlines()]

    def ipset_names(self) -> list[str]:
        if self.bus:
            return list(self._call(f"{BUS}.ipset", "getIPSets"))
        return self.host.run("firewall-cmd", "--get-ipsets").split()

    def ipset(self, name: str) -> tuple[int, str, frozenset[str]]:
        """Family, description and entries."""
        if self.bus:
            data = self._call(f"{BUS}.ipset", "getIPSetSettings", name)
            return (6 if data[4].get("family") == "inet6" else 4), str(data[2]), frozenset(data[5])
        text = self.host.run("firewall-cmd", f"--info-ipset={name}", "--verbose")
        info = dict(line.strip().partition(": ")[::2] for line in text.splitlines() if ": " in line)
        entries = self.host.run("firewall-cmd", f"--ipset={name}", "--get-entries").split()
        return (
            (6 if "inet6" in info.get("options", "") else 4),
            info.get("description", ""),
            frozenset(entries),
        )


def observe(host: Host) -> State:
    """Both halves; raises HostError where the daemon does not answer."""
    daemon = Daemon(host)
    if not daemon.running():
        raise HostError(
            f"{MODULE}: backend 'firewalld': the daemon does not run on this host: "
            "start it, or choose another backend"
        )
    perm = permanent(host)
    interfaces, default = daemon.interfaces(), daemon.default_zone()
    ipsets: dict[str, IpSet] = {}
    spare: set[str] = set()
    for name in daemon.ipset_names():
        if _SET.match(name):
            family, description, entries = daemon.ipset(name)
            owner = owner_of(name, description)
            if owner is None:
                continue
            if name in perm.ipsets or entries:
                ipsets[name] = IpSet(family, owner, entries)
            if name not in perm.ipsets:
                spare.add(name)
    zones = {default, *interfaces.values(), *(zone for zone, _rule in perm.rules)}
    known = daemon.zones()
    rules = frozenset(
        (zone, rule)
        for zone in sorted(zones)
        if zone in known
        for rule in daemon.rich_rules(zone)
        if _refers_to(rule, {*ipsets, *spare, *perm.ipsets})
    )
    return State(perm, Layer(ipsets, rules), default, known, interfaces, frozenset(spare))
