# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the sandboxes of recorded endpoints are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import record
from ..errors import HostError
from ..kernel import containers
from ..spec import endpoint

NAME = "endpoint"


def known_path(item: Mapping[str, Any]) -> str:
    """Where a recorded endpoint's sandbox is; "" when it is gone, and its end of the pair with it."""
    at = endpoint.where(item)
    if at.sandbox:
        return at.sandbox
    try:
        return containers.namespace_of(NAME, at.pid or containers.pid_of(NAME, at.container))
    except HostError:
        return ""


def sandboxes() -> set[str]:
    """The namespaces of all endpoints that are recorded on this host and still there."""
    return {path for path in map(known_path, record.load(NAME)) if path}
