# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory's API takes and gives. The options of a body are the engine's to judge, so bodies are open here; their
description names the usual ones."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field, RootModel

from ..db.base import Json
from .changing import MESSAGE_MOST, Outcome
from .kinds import Entry
from .models import Revision
from .store import Altered

EDITS_MOST = 20_000
# no control characters: PostgreSQL keeps no NUL
PLAIN = r"^[^\x00-\x1f\x7f\ud800-\udfff]*$"
Kind = Literal["group", "host", "gwbridge", "overlay", "bridge", "macvlan", "ingress", "endpoint", "service"]
Driver = Literal["overlay", "bridge", "macvlan"]
Name = Annotated[
    str, Path(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\x7f]+$", description="its name")
]
Message = Annotated[
    str, Query(max_length=MESSAGE_MOST, pattern=r"^[^\x00-\x1f\x7f]*$", description="why, for the history")
]
Search = Annotated[
    str | None, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="in the name")
]
RevisionId = Annotated[int, Path(ge=0, le=2**63 - 1, description="its number; 0: the empty inventory")]


class Body(RootModel[dict[str, Any]]):
    """The declaration of an object, in the words of docs/inventory.md."""


class ItemOut(BaseModel):
    """A declared object."""

    id: int = Field(description="as the owner of its addresses in IPAM")
    kind: Kind
    name: str = Field(
        description="unique in its kind; of an endpoint host/network/name, of a service network/name"
    )
    body: Json = Field(description="as it was declared")
    resolved: Json = Field(
        description="the same with what the pools have granted: as the inventory of a run has it"
    )
    revision: int = Field(description="that changed it last; also its ETag")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, entry: Entry) -> ItemOut:
        return cls.model_construct(
            id=entry.id, kind=entry.kind, name=entry.name, body=entry.body, resolved=entry.resolved,
            revision=entry.revision_id, created_at=entry.created_at, updated_at=entry.updated_at,
        )  # fmt: skip


class RevisionOut(BaseModel):
    """One change of the declaration, as a whole."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(examples=[12])
    at: datetime
    who: str = Field(examples=["ann"])
    message: str = Field(examples=["a network for the shop"])
    changes: int = Field(description="how many objects it changed", examples=[3])

    @classmethod
    def of(cls, found: Revision) -> RevisionOut:
        return cls.model_validate(found)


class ChangeOut(BaseModel):
    """What became of an object. ``before`` or ``after`` null: it was not there. Each has `id`, `body`, and `resolved` if that differs
    from the body."""

    kind: Kind
    name: str
    action: Literal["add", "change", "remove"]
    before: Json | None
    after: Json | None

    @classmethod
    def of(cls, one: Altered) -> ChangeOut:
        action = "add" if one.before is None else "remove" if one.after is None else "change"
        return cls.model_validate({**one._asdict(), "action": action})


class OutcomeOut(BaseModel):
    """What a change has done, or would do."""

    revision: RevisionOut = Field(description="the newest one; of a rehearsal the one that there would be")
    changes: list[ChangeOut] = Field(
        description="with the values that the pools grant; empty: there was nothing to change"
    )
    warnings: list[str] = Field(examples=[["host h1 has the variable crosshost_vtepp, which nothing reads"]])

    @classmethod
    def of(cls, outcome: Outcome) -> OutcomeOut:
        return cls(
            revision=RevisionOut.of(outcome.revision),
            changes=[ChangeOut.of(one) for one in outcome.changes],
            warnings=list(outcome.parsed.warnings),
        )


class EditIn(BaseModel):
    """What is to become of an object."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    name: str | None = Field(
        None, min_length=1, max_length=400, description="null: a new one, called as its body says"
    )
    body: Json | None = Field(None, description="null: remove it")
    expected: int | None = Field(
        None,
        ge=0,
        le=2**63 - 1,
        description="the revision that was read; 0: there is none yet; null: whatever",
    )


class ChangesIn(BaseModel):
    """Edits that are made together, or not at all."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "message": "a network for the shop",
                    "edits": [
                        {"kind": "overlay", "body": {"name": "shop", "subnets": [{"version": 4}]}},
                        {"kind": "endpoint", "body": {"host": "h1", "network": "shop", "container": "web"}},
                    ],
                }
            ]
        },
    )

    message: str = Field("", max_length=MESSAGE_MOST)
    edits: list[EditIn] = Field(min_length=1, max_length=EDITS_MOST)


class RevertIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    message: str = Field("", max_length=MESSAGE_MOST, examples=["the new subnets were wrong"])


class DifferenceOut(BaseModel):
    """What differs between two revisions."""

    first: int
    second: int
    changes: list[ChangeOut]


class StepOut(BaseModel):
    """What a revision did to one object."""

    revision: RevisionOut
    change: ChangeOut


class ImportedOut(BaseModel):
    """What an import did, or would do."""

    dry_run: bool
    revision: RevisionOut
    added: list[str] = Field(examples=[["host h1", "overlay web"]])
    changed: list[str]
    removed: list[str]
    unchanged: int
    changes: list[ChangeOut]
    warnings: list[str]


def described(kind: str) -> dict[str, Any]:
    """Of a body: its usual options and an example, for the description of the API."""
    text, options, example = _DESCRIBED[kind]
    properties = {name: {"description": meaning} for name, meaning in options.items()}
    return {"description": text, "properties": properties, "examples": [example]}


_SUBNETS = (
    "a list; each has `subnet` (automatic if it is left out, then `version` 4 or 6 and `length`), `gateway`, `ip_range`, "
    "`aux_addresses`"
)
_HOSTS = "names of hosts and groups; all of the cluster if it is left out"
_DESCRIBED: dict[str, tuple[str, dict[str, str], Json]] = {
    "host": (
        "A machine.",
        {
            "name": "as Ansible knows it",
            "groups": "names; the cluster's group if it is left out",
            "variables": "its own variables by name",
            "vtep": "its data-path address",
            "data_path_interface": "the interface that bears it",
            "labels": "names with plain values",
        },
        {"name": "h1", "variables": {"ansible_host": "192.0.2.11"}, "vtep": "10.98.0.11"},
    ),
    "group": (
        "Hosts that share variables.",
        {"name": "its name", "children": "names of the groups inside of it", "variables": "by name"},
        {"name": "rack1", "variables": {"crosshost_underlay_mtu": 9000}},
    ),
    "overlay": (
        "An overlay network.",
        {
            "name": "its name", "subnets": f"{_SUBNETS}, `vni` (automatic if it is left out)", "hosts": _HOSTS,
            "control_plane": "static, flood or multicast", "internal": "whether there is no way to the outside",
            "mtu": "bytes", "labels": "names with plain values",
        },
        {"name": "web", "subnets": [{"version": 4}, {"version": 6}]},
    ),
    "bridge": (
        "A bridge network.",
        {
            "name": "its name", "subnets": _SUBNETS, "hosts": _HOSTS,
            "host": "whose it is alone, so that another host can have another one of this name",
            "icc": "whether its sandboxes reach each other", "labels": "names with plain values",
        },
        {"name": "front", "hosts": ["h1"], "subnets": [{"subnet": "10.30.0.0/24"}]},
    ),
    "macvlan": (
        "A macvlan or ipvlan network.",
        {
            "name": "its name", "driver": "macvlan or ipvlan", "parent": "the interface that leads to the LAN",
            "parents": "those of single hosts by their names", "subnets": "the LAN's own", "hosts": _HOSTS,
            "mode": "bridge, private, vepa, passthru; l2, l3, l3s",
        },
        {
            "name": "lan", "parent": "eth0",
            "subnets": [{"subnet": "192.168.1.0/24", "gateway": "192.168.1.1", "ip_range": "192.168.1.128/25"}],
        },
    ),
    "ingress": (
        "The cluster's ingress network.",
        {"name": "its name, `ingress`", "subnets": f"{_SUBNETS}, `vni`", "addresses": "of hosts by their names"},
        {"subnets": [{"version": 4}]},
    ),
    "gwbridge": (
        "A gateway bridge.",
        {
            "name": "its name, `xh_gwbridge`", "subnet": "automatic if both are left out", "subnet6": "its IPv6 network",
            "host": "whose it is, instead of the cluster's", "group": "the same of a group",
            "enabled": "false: there is to be none",
        },
        {"subnet": "172.30.0.0/16"},
    ),
    "endpoint": (
        "Joins a sandbox to a network.",
        {
            "host": "where the sandbox is", "network": "which it joins", "container": "a running container, or",
            "sandbox": "a network namespace, or", "pid": "a process", "name": "that of the sandbox if it is left out",
            "ip": "automatic if both are left out", "ip6": "its IPv6 address", "publish": 'such as ["8080:80"]',
        },
        {"host": "h1", "network": "web", "container": "shop"},
    ),
    "service": (
        "A name for several endpoints.",
        {
            "name": "its name", "network": "an overlay network", "tasks": "names of endpoints", "mode": "vip or dnsrr",
            "vip": "automatic if both are left out", "vip6": "its IPv6 address",
            "ports": 'such as ["8080:80"]; `{target: 80}` gets a free port of the hosts',
        },
        {"name": "api", "network": "web", "tasks": ["shop"], "ports": [{"target": 80}]},
    ),
}  # fmt: skip
