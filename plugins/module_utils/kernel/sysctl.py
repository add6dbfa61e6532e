# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel settings below /proc/sys/net, read and written in a namespace."""

from __future__ import annotations

from typing import Optional

from . import netns as _netns


def _path(name: str) -> str:
    # sysctl(8)'s rule: dots separate, and a slash inside a name stands for a dot (eth0/10 is the device eth0.10)
    return "/proc/sys/" + name.translate(str.maketrans("./", "/."))


def read(netns: str, name: str) -> Optional[str]:
    """The value, or None when the kernel or the namespace has no such setting."""
    try:
        with _netns.inside(netns), open(_path(name), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def write(netns: str, name: str, value: str) -> None:
    with _netns.inside(netns), open(_path(name), "w", encoding="ascii") as file:
        file.write(value)
