# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API of the audit log gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class AuditEntryOut(BaseModel):
    """Who did what to which object."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(examples=[42])
    at: datetime
    who: str = Field(description="empty: nobody who is signed in", examples=["ann"])
    through: str = Field(description="`token NAME`, `command line`; empty: a browser", examples=["token ci"])
    action: str = Field(examples=["create"])
    object_type: str = Field(examples=["user"])
    object_id: str = Field(examples=["7"])
    object_name: str = Field(examples=["bob"])
    before: dict[str, Any] | None = Field(description="null: it is new", examples=[None])
    after: dict[str, Any] | None = Field(
        description="null: it is gone", examples=[{"name": "bob", "role": "viewer"}]
    )
    request_id: str = Field(description="as in the server's log")
    address: str = Field(examples=["192.0.2.7"])
