# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of the domains: their pages, their part of the API, and what runs in the background."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache

import yaml
from fastapi import APIRouter

from .collection import collections_path
from .state import State


def pages() -> Sequence[APIRouter]:
    return ()


def api() -> Sequence[APIRouter]:
    return ()


@asynccontextmanager
async def background(_state: State) -> AsyncIterator[None]:
    yield


@cache
def version() -> str:
    """The version of the collection, which is the dashboard's as well."""
    path = collections_path() / "ansible_collections" / "crosshost" / "network" / "galaxy.yml"
    return str(yaml.safe_load(path.read_text(encoding="utf-8"))["version"])
