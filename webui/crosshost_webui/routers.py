# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of the domains: their pages, their part of the API, and what runs in the background."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter

from .accounts import api as accounts_api
from .accounts import maintenance
from .accounts import routes as accounts_routes
from .audit import api as audit_api
from .audit import routes as audit_routes
from .drift import api as drift_api
from .drift import routes as drift_routes
from .executor import supervisor
from .inventory import api as inventory_api
from .inventory import routes as inventory_routes
from .ipam import api as ipam_api
from .ipam import routes as ipam_routes
from .ipam import service as ipam
from .operations import api as operations_api
from .operations.background import Chore, chores
from .overview import routes as overview_routes
from .runs import api as runs_api
from .runs import routes as runs_routes
from .state import State
from .topology import routes as topology_routes


def pages() -> Sequence[APIRouter]:
    return (
        operations_api.router, accounts_routes.router, audit_routes.router, inventory_routes.router, ipam_routes.router,
        runs_routes.router, drift_routes.router, topology_routes.router, overview_routes.router,
    )  # fmt: skip


def api() -> Sequence[APIRouter]:
    """Below /api/v1."""
    return (
        accounts_api.router, audit_api.router, inventory_api.router, ipam_api.router, runs_api.router, drift_api.router,
    )  # fmt: skip


@asynccontextmanager
async def background(state: State) -> AsyncIterator[None]:
    """The executor, and what comes round. When the server stops, the chores end first: what they would start is not begun."""
    async with supervisor.running(state) as executor, chores(_chores(state, executor), state.metrics):
        yield


def _chores(state: State, executor: supervisor.Supervisor) -> Sequence[Chore]:
    return (
        *supervisor.chores(state, executor),
        Chore("accounts", 300, lambda: maintenance.sweep(state)),
        Chore("quarantine", 30, lambda: _free(state)),
    )


def _free(state: State) -> None:
    """What has been in quarantine long enough is handed out again: a part at a time, so that others get their turn to write."""
    freed = 1
    while freed:
        with state.db.write() as s:
            freed = ipam.reap(s, state.settings.quarantine)
