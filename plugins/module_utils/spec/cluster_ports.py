# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The published ports of services: on every host (mode ingress), or on the hosts of their tasks (mode host)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..errors import SpecError
from . import fields, publish
from .publish import Publish

MODES = ("ingress", "host")
# in a service's port; a host's address is for endpoints alone
OPTIONS = ("published", "target", "protocol", "mode", "keep_client_address")


class Port(NamedTuple):
    """A port of a service. With ``keep_client_address``, a task sees whoever connects to the host on which it runs."""

    publish: Publish
    mode: str
    keep_client_address: bool


class Claim(NamedTuple):
    """A port of a host that something publishes; ``obj`` and ``field`` say what, in errors."""

    obj: str
    field: str
    publish: Publish


def parse_ports(obj: str, value: Any) -> Iterator[Port]:
    """The ports of one service; ranges are a port each."""
    for place, raw in enumerate(fields.sequence(obj, "ports", value)):
        field = f"ports[{place}]"
        given, rest = _split(obj, field, raw)
        mode = fields.choice(obj, f"{field}.mode", rest.get("mode", "ingress"), MODES)
        keep = fields.flag(obj, f"{field}.keep_client_address", rest.get("keep_client_address", False))
        if keep and mode == "host":
            remedy = "a port of mode host keeps the client's address always; leave it out"
            raise SpecError(obj, f"{field}.keep_client_address", keep, remedy)
        for one in publish.parse(obj, field, given):
            if one.host_ip:
                remedy = "a service's port is on all addresses; leave the address out, or publish it on an endpoint"
                raise SpecError(obj, field, raw, remedy)
            if mode == "ingress" and not one.fixed:
                many = one.last - one.first + 1
                remedy = f"{many} published ports and one target port: give ranges of one length"
                if not one.first:
                    remedy = "say which port of the hosts it is, such as 8080:80"
                raise SpecError(obj, field, raw, remedy)
            yield Port(one, mode, keep)


def _split(obj: str, field: str, raw: Any) -> tuple[Any, dict[str, Any]]:
    """What Publish reads of a port, and the rest. A port that stands alone is that of the hosts and of the tasks."""
    if isinstance(raw, str) and "=" not in raw:
        return (raw if ":" in raw else f"{raw.partition('/')[0]}:{raw}"), {}
    if isinstance(raw, str):
        pairs = (pair.partition("=") for pair in raw.split(","))
        found: dict[str, Any] = {name: _FLAGS.get(text, text) for name, _equals, text in pairs}
    else:
        found = {key: one for key, one in fields.mapping(obj, field, raw).items() if one is not None}
    fields.known_only(obj, found, OPTIONS)
    rest: dict[str, Any] = {
        name: found.pop(name) for name in ("mode", "keep_client_address") if name in found
    }
    return {"target": found.get("published", ""), **found}, rest


_FLAGS = {"true": True, "false": False}


def refuse_taken(meshed: Iterable[Claim], by_host: Mapping[str, Iterable[Claim]]) -> None:
    """SpecError if two claims want one port: ``meshed`` are on every host, ``by_host`` on theirs."""
    everywhere = list(meshed)
    publish.refuse_doubles(((one.obj, one.publish) for one in everywhere), "ports")
    taken = {(one.publish.protocol, one.publish.first): one for one in everywhere}
    for host, claims in by_host.items():
        mine = list(claims)
        for one in mine:
            other = taken.get((one.publish.protocol, one.publish.first)) if one.publish.fixed else None
            if other is not None:
                remedy = f"{other.obj} publishes port {one.publish.first}/{one.publish.protocol} on every host; take another"
                raise SpecError(f"{one.obj} on host {host}", one.field, str(one.publish), remedy)
        publish.refuse_doubles(((f"{one.obj} on host {host}", one.publish) for one in mine), "ports")
