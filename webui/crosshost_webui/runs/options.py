# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is started with. Only what is on the lists here gets near a command line, and only in these shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

Playbook = Literal["site", "doctor", "teardown"]
Value = StrictBool | StrictInt | StrictStr
LIMIT_MOST = 500
TAGS_MOST = 300
# Names, groups, and Ansible's signs for "and", "not", "all of" and ranges. No `~` (expressions) and no `@` (files).
_PATTERN = re.compile(r"[!&]?[A-Za-z0-9_*][A-Za-z0-9_.*-]*(?:\[[0-9:-]+\])?")
_BETWEEN = re.compile(r",|:(?![^\[]*\])")
_TEMPLATE = re.compile(r"\{[{%#]|[%#}]\}")


class Variable(NamedTuple):
    """An extra variable that a playbook takes. ``choices``: of a text; without, it is a boolean, or a number to ``most``."""

    name: str
    what: str
    choices: tuple[str, ...] = ()
    most: int = 0

    @property
    def kind(self) -> str:
        return "choice" if self.choices else "number" if self.most else "boolean"


class Known(NamedTuple):
    """A playbook of the collection. ``lock``: of those with the same one, one runs at a time."""

    name: str
    title: str
    tags: tuple[str, ...]
    variables: tuple[Variable, ...]
    changes: bool
    lock: str = "cluster"

    def variable(self, name: str) -> Variable | None:
        return next((one for one in self.variables if one.name == name), None)


_STATE = Variable(
    "crosshost_state",
    "what becomes of objects that are not declared",
    ("overridden", "replaced", "merged"),
)
_FIREWALL = Variable(
    "crosshost_firewall_backend",
    "the firewall that is written to",
    ("auto", "firewalld", "ufw", "nftables", "iptables"),
)
PLAYBOOKS = {
    one.name: one
    for one in (
        Known(
            "site", "Make the hosts as declared",
            ("firewall", "gwbridge", "bridge", "macvlan", "overlay", "services", "ingress"),
            (
                _STATE, _FIREWALL,
                Variable("crosshost_install_packages", "install what a host lacks"),
                Variable("crosshost_restore_at_boot", "bring the networks back at boot"),
            ),
            changes=True,
        ),
        Known(
            "doctor", "Look what is wrong, and change nothing", ("host", "networks", "underlay"),
            (Variable("crosshost_doctor_peers", "peers that each host tries to reach; 0: none", most=64),),
            changes=False, lock="doctor",
        ),
        Known("teardown", "Remove all networks from the hosts", (), (_FIREWALL,), changes=True),
    )
}  # fmt: skip


class RunOptions(BaseModel):
    """What is run, where, and how."""

    model_config = ConfigDict(
        extra="forbid", frozen=True,
        json_schema_extra={"examples": [{"playbook": "site", "check": True, "diff": True, "limit": "web1,web2"}]},
    )  # fmt: skip

    playbook: Playbook = Field(description="of the collection")
    check: StrictBool = Field(default=False, description="say what would be changed, and change nothing")
    diff: StrictBool = Field(default=True, description="show the differences of what is changed")
    limit: str = Field(
        default="", max_length=LIMIT_MOST, description="hosts and groups, separated by commas; empty: all"
    )
    tags: str = Field(default="", max_length=TAGS_MOST, description="parts, separated by commas; empty: all")
    forks: int | None = Field(default=None, ge=1, le=500, description="hosts at the same time")
    variables: dict[str, Value] = Field(default_factory=dict, max_length=20, description="extra variables")
    secrets: list[int] = Field(default_factory=list, max_length=20, description="ids of secrets")

    @field_validator("limit")
    @classmethod
    def _limit(cls, value: str) -> str:
        parts = [part.strip() for part in _BETWEEN.split(value)] if value.strip() else []
        for part in parts:
            if not _PATTERN.fullmatch(part):
                raise ValueError(
                    f"{part[:80]!r} is no host or group: use names with *, !, & and [0:3] where needed, separated by commas"
                )
        return ",".join(parts)

    @field_validator("tags")
    @classmethod
    def _tags(cls, value: str) -> str:
        return ",".join(part.strip() for part in value.split(",")) if value.strip() else ""

    @field_validator("secrets")
    @classmethod
    def _secrets(cls, value: list[int]) -> list[int]:
        if any(not 0 < one < 2**63 for one in value):
            raise ValueError("ids of secrets are numbers from 1")
        return list(dict.fromkeys(value))

    @model_validator(mode="after")
    def _of_the_playbook(self) -> Self:
        known = PLAYBOOKS[self.playbook]
        for tag in filter(None, self.tags.split(",")):
            if tag not in known.tags:
                told = ", ".join(known.tags) or "none"
                raise ValueError(f"tags: {tag[:80]!r}: {known.name} has no such tag; it has {told}")
        for name, value in self.variables.items():
            told = _refusal(known, name, value)
            if told:
                raise ValueError(f"variables: {name[:80]!r}: {told}")
        return self

    @property
    def known(self) -> Known:
        return PLAYBOOKS[self.playbook]

    def stored(self) -> dict[str, Any]:
        """As a schedule and the audit log keep it."""
        return self.model_dump(mode="json", exclude_defaults=True) | {"playbook": self.playbook}


def _refusal(known: Known, name: str, value: object) -> str:
    """What is wrong with an extra variable; "": nothing."""
    if name.startswith("ansible_"):
        return "it decides how Ansible reaches hosts; declare it for the host instead"
    wanted = known.variable(name)
    if wanted is None:
        names = ", ".join(one.name for one in known.variables) or "none"
        return f"{known.name} takes no such variable; it takes {names}"
    if isinstance(value, str) and _TEMPLATE.search(value):
        return "a template is not taken here; write the value itself"
    if wanted.kind == "choice":
        return (
            "" if value in wanted.choices else f"{str(value)[:80]!r}: use one of {', '.join(wanted.choices)}"
        )
    if wanted.kind == "boolean":
        return "" if isinstance(value, bool) else f"{str(value)[:80]!r}: use true or false"
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= wanted.most
    return "" if fits else f"{str(value)[:80]!r}: use a number from 0 to {wanted.most}"


def unknown_in(limit: str, groups: Mapping[str, object], hosts: Mapping[str, object]) -> str:
    """The first name of a limit that is neither a host nor a group; "" if all are known."""
    for part in filter(None, limit.split(",")):
        name = part.lstrip("!&")
        plain = not set(name) & set("*[]")
        if plain and name not in hosts and name not in groups and name not in ("all", "ungrouped"):
            return name
    return ""
