# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab was made of, kept in its folder: the rest is read from the kernel each time."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Optional

from .layout import Lab, LabError
from .system import write


@dataclass(frozen=True)
class State:
    """`hosts`: how many; `mtu`: of the data network, bytes; `rootfs`: folder name below the cache."""

    hosts: int
    mtu: int
    rootfs: str


def find(lab: Lab) -> Optional[State]:
    """The lab's state, or None when there is no such lab."""
    try:
        fields = json.loads(lab.state_file.read_text())
        return State(int(fields["hosts"]), int(fields["mtu"]), str(fields["rootfs"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise LabError(f"{lab.state_file}: not readable; run `lab --name {lab.name} down`") from None


def load(lab: Lab) -> State:
    """The lab's state. Raises LabError when there is no such lab."""
    found = find(lab)
    if found is None:
        raise LabError(f"lab {lab.name} is not up: run `lab --name {lab.name} up`")
    return found


def save(lab: Lab, state: State) -> None:
    """Records `state`."""
    write(lab.state_file, json.dumps(asdict(state), indent=2) + "\n")
