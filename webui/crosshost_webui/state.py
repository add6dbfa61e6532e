# SPDX-License-Identifier: GPL-3.0-or-later
"""What one server consists of, made once and handed to every route by its context."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import Request

from .accounts.keys import Keys
from .accounts.service import authenticate
from .db.engine import Database
from .operations.metrics import Metrics
from .settings import Settings
from .web.access import Principal
from .web.broker import Broker


@dataclass
class State:
    settings: Settings
    db: Database
    keys: Keys
    broker: Broker = field(default_factory=Broker)
    metrics: Metrics = field(init=False)

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.db)

    def authenticate(self, request: Request) -> Principal:
        return authenticate(self, request)

    def close(self) -> None:
        self.db.close()
