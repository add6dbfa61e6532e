# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API of drift gives."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from ..runs.models import Drift
from .store import HostDrift


class DriftOut(BaseModel):
    """What differs on a host."""

    host: str = Field(examples=["web1"])
    module: str = Field(
        description="that would mend it, or has found it", examples=["crosshost.network.overlay_network"]
    )
    subject: str = Field(
        description="the network or object; empty: the module does not say", examples=["web"]
    )
    commands: list[str] = Field(
        description="that would mend it", examples=[["ip -n shop addr add 10.0.1.11/24 dev eth0"]]
    )
    since: datetime
    seen_at: datetime = Field(description="when it was last found to be so")
    first_run: int
    last_run: int


def drift_out(one: Drift) -> DriftOut:
    return DriftOut(
        host=one.host, module=one.module, subject=one.subject, commands=one.commands, since=one.since, seen_at=one.seen_at,
        first_run=one.first_run_id, last_run=one.last_run_id,
    )  # fmt: skip


class HostDriftOut(BaseModel):
    """How much differs on a host."""

    host: str
    objects: int
    since: datetime


def host_drift_out(one: HostDrift) -> HostDriftOut:
    return HostDriftOut(host=one.host, objects=one.objects, since=one.since)
