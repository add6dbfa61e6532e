# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that a user is meant to read: one line each."""

from __future__ import annotations


def _printable(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")


class CrosshostError(Exception):
    """Base of every error that ends a run with one line instead of a traceback. What a terminal would not print as it
    is (line breaks, control characters in a declared value) is shown escaped."""

    def __init__(self, message: str) -> None:
        super().__init__("".join(map(_printable, message)))


class SpecError(CrosshostError):
    """A declared value that cannot be right.

    The message names the object (``overlay_network web``), the field, the value, and what would be right.
    """

    def __init__(self, obj: str, field: str, value: object, remedy: str) -> None:
        super().__init__(f"{obj}: {field} {value!r}: {remedy}")
        self.obj, self.field, self.value, self.remedy = obj, field, value, remedy


class CollisionError(CrosshostError):
    """The declaration would collide with something on the host that crosshost does not own."""


class HostError(CrosshostError):
    """The host lacks something that the declaration needs (an address, a kernel feature, a package)."""


class ApplyError(CrosshostError):
    """The kernel refused an operation; what had been done before it has been undone."""
