# SPDX-License-Identifier: GPL-3.0-or-later
"""All pages of the inventory."""

from __future__ import annotations

from fastapi import APIRouter

from . import host_routes, item_routes, member_routes, network_routes, revision_routes, transfer_routes

router = APIRouter()
for part in (host_routes, item_routes, member_routes, network_routes, revision_routes, transfer_routes):
    router.include_router(part.router)
