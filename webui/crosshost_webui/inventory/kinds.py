# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of declared objects: what they are called, which variable each becomes, and what a body may be.

A body has the words of the engine (docs/inventory.md). The dashboard adds a few of its own, which no variable has:

- a subnet without ``subnet`` gets one from the pools, of IP ``version`` 4 unless that says 6;
- ``host`` of a bridge network: it is that host's own, so that another host may have another one of the same name;
- ``host`` or ``group`` of a gateway bridge: whose it is, instead of the cluster's; ``enabled: false``: there is to be none;
- ``parents`` of a macvlan network: the parents of single hosts by their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.spec import (
    bridge,
    cluster_networks,
    endpoint,
    fields,
    gwbridge,
    ingress,
    macvlan,
    overlay,
    service,
)

from ..db.base import Json
from ..web.problem import Invalid
from . import shape
from .models import KINDS

CLUSTER_GROUP = "crosshost"
NETWORKS = ("overlay", "bridge", "macvlan")
HOST_OPTIONS = ("name", "groups", "variables", "vtep", "data_path_interface", "labels")
GROUP_OPTIONS = ("name", "children", "variables")
GWBRIDGE_OPTIONS = (*gwbridge.OPTIONS, "host", "group", "enabled")
DETAIL_MOST = 1000  # characters of an error that the engine makes of a large value
# what is an object of its own here, or an option of a host
DECLARED_VARIABLES = {
    "crosshost_networks": "overlay networks",
    "crosshost_bridge_networks": "bridge networks",
    "crosshost_macvlan_networks": "macvlan networks",
    "crosshost_endpoints": "endpoints",
    "crosshost_services": "services",
    "crosshost_ingress": "the ingress network",
    "crosshost_gwbridge": "gateway bridges",
}
HOST_VARIABLES = {
    "crosshost_vtep": "vtep",
    "crosshost_data_path_interface": "data_path_interface",
    "crosshost_labels": "labels",
}
MAGIC = frozenset(
    ("group_names", "groups", "hostvars", "inventory_hostname", "inventory_hostname_short", "omit", "play_hosts", "vars")
)  # fmt: skip
# Other variables of Ansible's own choose programs that the server itself starts, or their arguments: for admins alone.
HARMLESS = frozenset(
    (
        "ansible_host", "ansible_port", "ansible_user", "ansible_ssh_host", "ansible_ssh_port", "ansible_ssh_user",
        "ansible_become", "ansible_become_user", "ansible_python_interpreter", "ansible_group_priority",
    )
)  # fmt: skip
_SECRET = ("_pass", "_password", "_passphrase", "_secret", "_token")


@dataclass(frozen=True, slots=True)
class Entry:
    """An item, as the table of this name has it."""

    id: int
    kind: str
    name: str
    body: Json
    resolved: Json
    revision_id: int
    created_at: datetime
    updated_at: datetime

    @property
    def key(self) -> Key:
        return (self.kind, self.name)


Key = tuple[str, str]
Items = Mapping[Key, Entry]


@contextmanager
def engine() -> Iterator[None]:
    """What the engine refuses becomes a problem of the same one line."""
    try:
        yield
    except SpecError as error:
        raise told(error) from None


def told(error: SpecError) -> Invalid:
    text = shape.printable(str(error))
    detail = text if len(text) <= DETAIL_MOST else f"{text[:DETAIL_MOST]}…"
    return Invalid(detail, {str(error.field)[:200]: error.remedy[:DETAIL_MOST]})


def label(kind: str, name: str) -> str:
    """What people call an item."""
    words = {"overlay": "network", "bridge": "network", "macvlan": "network"}
    return f"{words.get(kind, kind)} {name}"


def known(kind: str) -> str:
    if kind not in KINDS:
        raise Invalid(f"kind {shape.shown(kind)}: use one of {', '.join(KINDS)}")
    return kind


def tidy(kind: str, body: Any) -> Json:
    """The body as it is kept: checked for its shape, without what is null or empty. Invalid if that cannot be right; whether the
    options make sense is for the engine to say."""
    known(kind)
    named = body.get("name") if isinstance(body, dict) else None
    obj = f"{kind} {shape.printable(str(named))[:100]}" if isinstance(named, str) else kind
    shape.check(obj, body)
    found = _TIDY.get(kind, _declared)(obj, body)
    identity(kind, found)
    return found


def identity(kind: str, body: Mapping[str, Any]) -> str:
    """The item's name in its kind."""
    with engine():
        return _IDENTITY[kind](body)


def parts(kind: str, body: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The host and the network that the item is of."""
    host = body.get("host") if kind in ("endpoint", "bridge", "gwbridge") else None
    network = body.get("network") if kind in ("endpoint", "service") else None
    return host, network


def _declared(_obj: str, body: Json) -> Json:
    found: Json = shape.without_nulls(body)
    if isinstance(found.get("host"), str):
        shape.host_name(found["host"])
    return found


def _host(obj: str, body: Json) -> Json:
    with engine():
        fields.known_only(obj, body, HOST_OPTIONS)
        found = {key: value for key, value in body.items() if value not in (None, "", {})}
        if "labels" in found:
            fields.labels(obj, found["labels"])
    if "groups" in body and body["groups"] is not None:
        found["groups"] = _names(obj, "groups", body["groups"])
        if "all" in found["groups"]:
            found["groups"].remove("all")
    _with_variables(obj, found)
    for variable, option in HOST_VARIABLES.items():
        if variable in found.get("variables", {}):
            remedy = f"it is the option {option} of a host; give it there"
            raise Invalid(f"{obj}: variables: {variable}: {remedy}", {"variables": remedy})
    return found


def _group(obj: str, body: Json) -> Json:
    with engine():
        fields.known_only(obj, body, GROUP_OPTIONS)
    found = {key: value for key, value in body.items() if value not in (None, "", {}, [])}
    if "children" in found:
        found["children"] = _names(obj, "children", found["children"])
        if found.get("name") == "all":
            remedy = "every group is in it anyway; leave children out"
            raise Invalid(f"{obj}: children: {remedy}", {"children": remedy})
    _with_variables(obj, found)
    priority = found.get("variables", {}).get("ansible_group_priority", 1)
    if isinstance(priority, bool) or not isinstance(priority, int):
        remedy = "the priority of a group is a number"
        raise Invalid(
            f"{obj}: ansible_group_priority {shape.shown(priority)}: {remedy}", {"variables": remedy}
        )
    return found


def _names(obj: str, field: str, value: Any) -> list[str]:
    with engine():
        listed = fields.sequence(obj, field, value)
    return sorted({shape.group_name(one) for one in listed})


def _with_variables(obj: str, found: Json) -> None:
    with engine():
        variables = fields.mapping(obj, "variables", found.get("variables", {}))
    shape.variable_names(obj, variables)
    for name, value in variables.items():
        remedy = _refusal(name, value)
        if remedy:
            raise Invalid(f"{obj}: variables: {name}: {remedy}", {"variables": f"{name}: {remedy}"})


def _refusal(name: str, value: Any) -> str:
    if name in DECLARED_VARIABLES:
        return f"{DECLARED_VARIABLES[name]} are objects of their own here; declare them there"
    if name in MAGIC:
        return "Ansible sets it by itself; take another name"
    if name == "crosshost_group" and value != CLUSTER_GROUP:
        return f"the playbooks' group is {CLUSTER_GROUP} here; make a group of that name with the children that you mean"
    if is_secret(name) and not shape.is_vault(value):
        return "everybody who reads the inventory would read it; add it to the secrets, or encrypt it with ansible-vault"
    return ""


def is_secret(name: str) -> bool:
    return name.startswith("ansible_") and name.endswith(_SECRET)


def privileged(body: Mapping[str, Any] | None) -> dict[str, Any]:
    """The variables of a host or a group by which the server starts programs of the inventory's choice."""
    variables = body.get("variables", {}) if body else {}
    return {
        name: value
        for name, value in variables.items()
        if name.startswith("ansible_") and name not in HARMLESS and not is_secret(name)
    }


def _identity_bridge(body: Mapping[str, Any]) -> str:
    name = fields.name(bridge.label(repr(body.get("name"))), "name", body.get("name"), most=60)
    return f"{shape.host_name(body['host'])}/{name}" if "host" in body else name


def _identity_gwbridge(body: Mapping[str, Any]) -> str:
    name = fields.ifname(
        gwbridge.label(repr(body.get("name"))), "name", body.get("name", gwbridge.NAME_DEFAULT)
    )
    obj = gwbridge.label(name)
    fields.known_only(obj, body, GWBRIDGE_OPTIONS)
    if not fields.flag(obj, "enabled", body.get("enabled", True)):
        for field in gwbridge.OPTIONS:
            if field in body and field != "name":
                raise SpecError(obj, field, body[field], "with enabled: false there is no bridge; drop one")
    if "host" in body and "group" in body:
        raise SpecError(obj, "group", body["group"], "it is of a host or of a group; drop one of the two")
    if "host" in body:
        return f"{shape.host_name(body['host'])}/{name}"
    return f"{shape.group_name(body['group'])}/{name}" if "group" in body else name


def _identity_endpoint(body: Mapping[str, Any]) -> str:
    item = {field: value for field, value in body.items() if field != "host"}
    where = endpoint.where(item)
    if "host" not in body:
        raise SpecError(
            endpoint.label(where.network, where.name), "host", None, "say on which host the sandbox is"
        )
    return f"{shape.host_name(body['host'])}/{where.network}/{where.name}"


def _named(labelled: Callable[[object], str]) -> Callable[[Mapping[str, Any]], str]:
    return lambda body: fields.name(labelled(repr(body.get("name"))), "name", body.get("name"), most=60)


_IDENTITY: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "host": lambda body: shape.host_name(body.get("name")),
    "group": lambda body: shape.group_name(body.get("name")),
    "overlay": _named(overlay.label),
    "macvlan": _named(macvlan.label),
    "bridge": _identity_bridge,
    "gwbridge": _identity_gwbridge,
    "ingress": ingress.name_of,
    "endpoint": _identity_endpoint,
    "service": lambda body: "/".join(service.identity(body)),
}
_TIDY: dict[str, Callable[[str, Json], Json]] = {"host": _host, "group": _group}

_ORDER = {
    "host": HOST_OPTIONS,
    "group": GROUP_OPTIONS,
    "overlay": cluster_networks.NETWORK_OPTIONS,
    "bridge": ("name", "host", "hosts", *bridge.OPTIONS),
    "macvlan": macvlan.OPTIONS,
    "gwbridge": GWBRIDGE_OPTIONS,
    "ingress": ingress.OPTIONS,
    "endpoint": ("host", "network", "name", *endpoint.OPTIONS),
    "service": service.OPTIONS,
}


def ordered(kind: str, body: Json) -> Json:
    """The same in the order of the documentation: one of the databases keeps none."""
    place = {option: number for number, option in enumerate(dict.fromkeys(_ORDER[kind]))}
    return dict(sorted(body.items(), key=lambda pair: (place.get(pair[0], len(place)), pair[0])))
