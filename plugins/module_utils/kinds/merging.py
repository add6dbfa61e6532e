# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Merging lists of declarations by what identifies their members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Union


def merge_lists(
    old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], identity: Union[str, tuple[str, ...]]
) -> list[dict[str, Any]]:
    """``old`` with the members of ``new`` added, or laid over the member of the same identity."""
    parts = (identity,) if isinstance(identity, str) else identity
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for item in [*old, *new]:
        place = tuple(item.get(part) for part in parts)
        found[place] = {**found.get(place, {}), **item}
    return list(found.values())
