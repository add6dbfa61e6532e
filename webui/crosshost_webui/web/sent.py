# SPDX-License-Identifier: GPL-3.0-or-later
"""What a browser sends of a form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, NamedTuple, TypeAlias

from fastapi import Depends, Request
from starlette.datastructures import UploadFile

FIELDS_MOST = 10_000
PART_MOST = 2 * 2**20  # bytes of one field


class File(NamedTuple):
    """A file with the form's other fields. ``name`` "": none was chosen."""

    name: str
    content: bytes
    fields: Mapping[str, str]


async def _sent(request: Request) -> Mapping[str, str]:
    form = await request.form(max_files=0, max_fields=FIELDS_MOST, max_part_size=PART_MOST)
    return {name: value for name, value in form.items() if isinstance(value, str)}


async def _sent_file(request: Request) -> File:
    form = await request.form(max_files=1, max_fields=100, max_part_size=PART_MOST)
    fields = {name: value for name, value in form.items() if isinstance(value, str)}
    found = next((value for value in form.values() if isinstance(value, UploadFile)), None)
    if found is None:
        return File("", b"", fields)
    return File((found.filename or "")[:200], await found.read(), fields)


Sent: TypeAlias = Annotated[Mapping[str, str], Depends(_sent)]
SentFile: TypeAlias = Annotated[File, Depends(_sent_file)]
