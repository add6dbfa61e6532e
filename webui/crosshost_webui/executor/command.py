# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line and the environment of a run. Every value that came from somebody stands behind `--option=`, and every secret in
a pipe."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..collection import collections_path
from ..runs.models import Run
from .folder import Folder, Phase

# What of the server's environment a run gets. What is not named here is not passed on.
KEPT = ("PATH", "HOME", "USER", "LOGNAME", "TZ")
PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def playbook(name: str) -> Path:
    """The collection's playbook of this name, which is one of runs.options.PLAYBOOKS."""
    return collections_path() / "ansible_collections" / "crosshost" / "network" / "playbooks" / f"{name}.yml"


def argv(
    run: Run, folder: Folder, check: bool, forks: int, vaults: Sequence[int] = (), has_become: bool = False
) -> list[str]:
    """``vaults``: descriptors that passwords are read from. The one for becoming root comes by the standard input."""
    found = [
        sys.executable,
        "-P",
        "-m",
        "ansible",
        "playbook",
        f"--inventory={folder.inventory}",
        f"--forks={forks}",
    ]
    if run.variables:
        found.append(f"--extra-vars=@{folder.variables}")
    if run.limit:
        found.append(f"--limit={run.limit}")
    if run.tags:
        found.append(f"--tags={run.tags}")
    if check:
        found.append("--check")
    if run.diff_mode or check:
        found.append("--diff")
    found += [
        f"--vault-id=secret{number}@/dev/fd/{descriptor}" for number, descriptor in enumerate(vaults, 1)
    ]
    if has_become:
        found.append("--become-password-file=-")
    return [*found, "--", str(playbook(run.playbook))]


def environment(
    folder: Folder, phase: Phase, mask: int | None, given: Mapping[str, str], has_keys: bool
) -> dict[str, str]:
    """``given``: the server's own. ``mask``: the descriptor from which the recorder learns what to hide."""
    found = {name: given[name] for name in KEPT if name in given}
    found.setdefault("PATH", PATH_DEFAULT)
    if not has_keys and "SSH_AUTH_SOCK" in given:
        found["SSH_AUTH_SOCK"] = given["SSH_AUTH_SOCK"]
    found |= {
        "LC_ALL": "C.UTF-8",
        # No ansible.cfg of a user or of the working directory.
        "ANSIBLE_CONFIG": str(folder.settings),
        "ANSIBLE_COLLECTIONS_PATH": str(collections_path()),
        "ANSIBLE_HOME": str(folder.temporary / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(folder.temporary),
        "ANSIBLE_CALLBACKS_ENABLED": "crosshost.network.record",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
        "ANSIBLE_FORCE_COLOR": "1",
        "ANSIBLE_NOCOWS": "1",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.yaml",
        "ANSIBLE_PYTHON_INTERPRETER": "auto_silent",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "CROSSHOST_RECORD_FILE": str(phase.record),
    }  # fmt: skip
    if mask is not None:
        found["CROSSHOST_RECORD_MASK_FD"] = str(mask)
    return found


def piped(content: bytes) -> int:
    """The reading end of a pipe that holds this and nothing more. It must have room: 64 KB."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        os.set_blocking(writing, False)
        if os.write(writing, content) != len(content):
            raise ValueError(f"{len(content)} bytes have no room in a pipe")
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return reading


def masked(secrets: Sequence[str]) -> bytes:
    """What the recorder reads."""
    return json.dumps(list(secrets)).encode()
