# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway bridges of this host, as they are recorded or declared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Optional

from .. import record
from ..spec import gwbridge
from ..spec.gwbridge import Gwbridge


def known_bridges(declared: Optional[Iterable[Mapping[str, Any]]]) -> dict[str, Gwbridge]:
    """The bridges by name; ``declared`` stands in for what is not yet recorded, and is newer than what is."""
    found = {str(item.get("name", gwbridge.NAME_DEFAULT)): item for item in record.load("gwbridge")}
    found.update({str(item.get("name") or gwbridge.NAME_DEFAULT): dict(item) for item in declared or ()})
    return {one.name: one for one in gwbridge.parse_all(list(found.values()))}
