# SPDX-License-Identifier: GPL-3.0-or-later
"""The form of each kind of item: fields for the usual options, in the words of docs/inventory.md, and YAML for the others. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from ..web import forms
from ..web.forms import REST, Body, Field, Filled
from .kinds import GROUP_OPTIONS, HOST_OPTIONS


class Form(NamedTuple):
    """``title``: what the object is called; ``lead``: what it is for; ``rest``: the YAML field's name for people."""

    title: str
    lead: str
    fields: tuple[Field, ...]
    rest: str = "Other options"


_NAME = Field("name", "Name", required=True, hint="Letters, digits, - _ and .")
_SUBNET = Field("subnet", "Subnet", placeholder="automatic")
_VERSION = Field("version", "If automatic", "number", options=(("", "IPv4"), ("6", "IPv6")))
_VNI = Field("vni", "VNI", "number", placeholder="automatic")
_GATEWAY = Field("gateway", "Gateway", placeholder="first address")
_FROM_POOLS = "What is left empty comes from the pools, and stays. Without any, there is one of IPv4."
_HOSTS = Field(
    "hosts",
    "On which hosts",
    "words",
    hint="Names of hosts and groups; empty: on all of the cluster.",
    suggest="places",
)
_LABELS = Field("labels", "Labels", "mapping", hint="For your own use: name: value, one a line.", wide=True)
_MTU = Field("mtu", "MTU", "number", hint="Bytes; empty: derived from what carries it.")
_ALIASES = Field("aliases", "Further names", "words", hint="By which it is found in the network.")
_PUBLISH_HINT = "One a line: 8080:80, 127.0.0.1:5353:53/udp, or {target: 80, published: 8080}."


def _subnets(*columns: Field, hint: str) -> Field:
    return Field("subnets", "Subnets", "rows", columns=columns, hint=hint, wide=True)


FORMS = {
    "host": Form(
        "host", "A machine that containers run on, and that runs reach by SSH.",
        (
            Field("name", "Name", required=True, hint="As Ansible knows it."),
            Field("groups", "Groups", "words", placeholder="crosshost", hint="A host of the cluster is in crosshost.", suggest="groups"),
            Field("ansible_host", "Address for SSH", placeholder="192.0.2.11", hint="Empty: its name is looked up."),
            Field("ansible_user", "User for SSH", placeholder="root"),
            Field("ansible_port", "Port for SSH", "number", placeholder="22"),
            Field("vtep", "Data-path address", placeholder="10.98.0.11", hint="Between hosts; empty: that of the interface, or towards the default gateway."),
            Field("data_path_interface", "Data-path interface", placeholder="eth0"),
            _LABELS,
        ),
        "Other variables",
    ),
    "group": Form(
        "group", "Hosts that share variables. The group crosshost is the cluster.",
        (
            _NAME,
            Field("children", "Groups inside of it", "words", suggest="groups"),
        ),
        "Variables",
    ),
    "overlay": Form(
        "overlay network", "One network for containers on several hosts, carried by VXLAN.",
        (
            _NAME, _HOSTS,
            _subnets(_SUBNET, _VERSION, _VNI, _GATEWAY, hint=_FROM_POOLS),
            Field(
                "control_plane", "Control plane", "choice", default="static",
                options=(
                    ("static", "static: only declared endpoints exist"),
                    ("flood", "flood: endpoints come and go without a run"),
                    ("multicast", "multicast: unknown destinations go to a group"),
                ),
            ),
            Field("multicast_group", "Multicast group", hint="Of the control plane multicast."),
            _MTU,
            Field("data_path_port", "UDP port", "number", placeholder="4789"),
            Field("internal", "Internal: no way to the outside", "flag", default=False),
            Field("attachable", "Attachable: endpoints can join", "flag", default=True),
            _LABELS,
        ),
    ),
    "bridge": Form(
        "bridge network", "A network of one host, as Docker's own bridge networks are, with published ports.",
        (
            _NAME,
            Field("host", "Of which host", hint="Empty: the same on each of the hosts that the next field names.", suggest="hosts"),
            _HOSTS,
            _subnets(_SUBNET, _VERSION, _GATEWAY, hint=_FROM_POOLS),
            Field("host_ip", "Publish ports on", placeholder="all addresses"),
            Field("bridge", "The bridge's name", placeholder="xb-NAME"),
            _MTU,
            Field("internal", "Internal: no way to the outside", "flag", default=False),
            Field("icc", "Its containers reach each other", "flag", default=True),
            Field("ip_masquerade", "They appear outside with the host's address", "flag", default=True),
            _LABELS,
        ),
    ),
    "macvlan": Form(
        "macvlan network", "Containers as machines of their own on the hosts' LAN.",
        (
            _NAME, _HOSTS,
            Field("parent", "Parent", placeholder="eth0 or eth0.10", hint="The interface that leads to the LAN; empty: internal."),
            _subnets(_SUBNET, replace(_GATEWAY, placeholder="the LAN's router"), Field("ip_range", "Handed out"), hint="Those of the LAN."),
            Field("driver", "Driver", "choice", default="macvlan", options=("macvlan", ("ipvlan", "ipvlan: with the parent's MAC"))),
            Field("mode", "Mode", placeholder="bridge", hint="bridge, private, vepa, passthru; of ipvlan l2, l3, l3s."),
            Field("host_prefix", "Each host's part", "number", placeholder="28", hint="The length of its prefix."),
            _MTU,
            Field("shim", "Each host reaches its containers by a child of its own", "flag", default=False),
            Field("promiscuous", "Make the parent promiscuous", "flag", default=False),
            _LABELS,
        ),
    ),
    "gwbridge": Form(
        "gateway bridge", "By which containers of overlay networks reach the outside.",
        (
            Field("name", "Name", placeholder="xh_gwbridge"),
            Field("host", "Of which host", hint="Empty: of the cluster, or of the group.", suggest="hosts"),
            Field("group", "Of which group", suggest="groups"),
            Field("enabled", "There is one", "flag", default=True),
            Field("subnet", "IPv4 subnet", placeholder="automatic"),
            Field("subnet6", "IPv6 subnet"),
            Field("gateway", "IPv4 address of the bridge", placeholder="first address"),
            Field("gateway6", "IPv6 address of the bridge", placeholder="first address"),
            _MTU,
            Field("icc", "Containers reach each other through it", "flag", default=False),
            Field("ip_masquerade", "They appear outside with the host's address", "flag", default=True),
        ),
    ),
    "ingress": Form(
        "ingress network", "By which a published port answers on every host, whichever hosts its tasks are on.",
        (
            Field("name", "Name", placeholder="ingress"),
            _subnets(_SUBNET, _VERSION, _VNI, _GATEWAY, hint="At most one of each version. Every host and task with a published port has an address of it."),
            _MTU,
            Field("data_path_port", "UDP port", "number", placeholder="4789"),
            _LABELS,
        ),
    ),
    "endpoint": Form(
        "endpoint", "Joins one container, or another network namespace, to one network.",
        (
            Field("host", "Host", required=True, hint="Where the container is.", suggest="hosts"),
            Field("network", "Network", required=True, suggest="networks"),
            Field("container", "Container", hint="Of Docker or Podman; or"),
            Field("sandbox", "Network namespace", hint="By its name."),
            Field("create", "Make the namespace if there is none", "flag", default=False),
            Field("name", "Name of the endpoint", placeholder="that of the container"),
            Field("ip", "IPv4 address", placeholder="automatic"),
            Field("ip6", "IPv6 address", placeholder="automatic"),
            Field("mac", "MAC", placeholder="from the address"),
            Field("interface", "Interface in the container", placeholder="eth0, eth1, …"),
            _ALIASES,
            Field("gw_priority", "Priority for the default route", "number", placeholder="0"),
            Field("publish", "Published ports", "lines", hint=_PUBLISH_HINT, wide=True),
            Field("default_route", "The default route may go by this network", "flag", default=True),
            Field("dns", "Its resolv.conf names the network's name server", "flag", default=True),
        ),
    ),
    "service": Form(
        "service", "One name for several endpoints, its tasks, on any hosts.",
        (
            _NAME,
            Field("network", "Network", required=True, hint="An overlay network.", suggest="networks"),
            Field(
                "mode", "Mode", "choice", default="vip",
                options=(("vip", "vip: one address, tasks are balanced behind it"), ("dnsrr", "dnsrr: the name means all tasks, in turns")),
            ),
            Field("affinity", "A client comes to", "choice", default="none", options=(("none", "any task"), ("source", "the same task always"))),
            Field("vip", "IPv4 address", placeholder="automatic"),
            Field("vip6", "IPv6 address", placeholder="automatic"),
            Field("tasks", "Tasks", "lines", hint="Names of endpoints, one a line; or {endpoint: shop, host: alpha, weight: 2}.", wide=True),
            Field("ports", "Published ports", "lines", hint="One a line: 8080:80, or {published: 8443, target: 443, mode: host}.", wide=True),
            _ALIASES,
        ),
    ),
}  # fmt: skip
_OWN = {"host": HOST_OPTIONS, "group": GROUP_OPTIONS}
NEW: dict[str, Body] = {
    "host": {"groups": ["crosshost"]},
    "overlay": {"subnets": [{}]},
    "bridge": {"subnets": [{}]},
    "ingress": {"subnets": [{}]},
}


def show(kind: str, body: Mapping[str, object]) -> Body:
    """The form's values for this body."""
    return forms.show(FORMS[kind].fields, _flat(kind, body))


def read(kind: str, sent: Mapping[str, str]) -> Filled:
    """What was sent, as values and as a body."""
    found = forms.read(FORMS[kind].fields, sent)
    if kind in _OWN:
        _nest(found, _OWN[kind])
    return found


def place(kind: str, fields: Mapping[str, str]) -> dict[str, str]:
    """The errors of a refused declaration, each at the field of the form that it is about."""
    known = {one.name for one in FORMS[kind].fields}
    found: dict[str, str] = {}
    for name, text in fields.items():
        base = re.split(r"[\[.]", name, maxsplit=1)[0]
        found.setdefault(base if base in known else REST, text if base in known else f"{name}: {text}")
    return found


def _flat(kind: str, body: Mapping[str, object]) -> Body:
    """The variables of hosts and groups beside their options, as the form has them. One that is called like an option stays."""
    found = dict(body)
    variables = found.pop("variables", None) if kind in _OWN else None
    if not isinstance(variables, dict):
        return found
    hidden = {name: value for name, value in variables.items() if name in _OWN[kind]}
    found.update({name: value for name, value in variables.items() if name not in hidden})
    return {**found, "variables": hidden} if hidden else found


def _nest(found: Filled, options: tuple[str, ...]) -> None:
    variables = {name: value for name, value in found.body.items() if name not in options}
    given = found.body.get("variables", {})
    if not isinstance(given, dict):
        found.errors[REST] = "variables: write name: value, one a line"
        return
    variables.update(given)
    found.body = {
        name: value for name, value in found.body.items() if name in options and name != "variables"
    }
    if variables:
        found.body["variables"] = variables
