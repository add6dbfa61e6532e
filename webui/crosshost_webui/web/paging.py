# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists in parts: `?limit=50&after=...`. By key and not by offset: the last part costs what the first one does, and nothing is
missed or doubled when rows come and go."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel

from .problem import Invalid

LIMIT_DEFAULT = 50
LIMIT_MOST = 1000
T = TypeVar("T")


class Part(BaseModel, Generic[T]):
    """One part of a list. ``next``: what to send as `after` for the following one; null at the end."""

    items: list[T]
    next: str | None = None


class Paging(BaseModel):
    limit: int = LIMIT_DEFAULT
    after: str | None = None


def _paging(
    limit: Annotated[int, Query(ge=1, le=LIMIT_MOST, description="how many at most")] = LIMIT_DEFAULT,
    after: Annotated[str | None, Query(max_length=500, description="`next` of the part before")] = None,
) -> Paging:
    return Paging(limit=limit, after=after)


Paged = Annotated[Paging, Depends(_paging)]


def number_after(paging: Paging) -> int | None:
    """`after` of a list whose parts are known by a number. Invalid if it is none."""
    if paging.after is None:
        return None
    if not paging.after.isascii() or not paging.after.isdigit() or len(paging.after) > 18:
        raise Invalid(
            "after: it is not the `next` of a part of this list; begin again without it",
            {"after": "it is not the `next` of a part of this list"},
        )
    return int(paging.after)
