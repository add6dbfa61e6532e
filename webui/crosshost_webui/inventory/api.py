# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory's part of the API."""

from __future__ import annotations

from fastapi import APIRouter

from . import api_inventory, api_items, api_revisions

router = APIRouter(tags=["inventory"])
router.include_router(api_items.router)
router.include_router(api_revisions.router)
router.include_router(api_inventory.router)
