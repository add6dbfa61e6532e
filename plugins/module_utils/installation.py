# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting the engine on a host as the command ``crosshost``, from the code that is running."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import shutil
import subprocess
import sys

from .converge import need_root
from .errors import HostError

HOME = "/usr/local/lib/crosshost"
COMMAND = "/usr/local/bin/crosshost"
UNIT = "/etc/systemd/system/crosshost-restore.service"
WANTED = "/etc/systemd/system/multi-user.target.wants/crosshost-restore.service"
_RUNS_SYSTEMD = "/run/systemd/system"

_LAUNCHER = """#!{python}
# SPDX-License-Identifier: GPL-3.0-or-later
import sys

sys.path.insert(0, "{home}")
from engine.cli import main

sys.exit(main())
"""
_SERVICE = """# SPDX-License-Identifier: GPL-3.0-or-later
[Unit]
Description=Bring back the overlay networks that crosshost has recorded
Wants=network-online.target
After=network-online.target docker.service podman.service
ConditionDirectoryNotEmpty=/var/lib/crosshost

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={command} restore --wait 60

[Install]
WantedBy=multi-user.target
"""


def converge(package: str, present: bool, check: bool) -> list[str]:
    """Install or remove; the files that change. ``package`` is the one that holds the engine's modules."""
    need_root()
    wanted = _files(package) if present else {}
    wrong = [path for path, text in wanted.items() if _read(path) != text]
    extra = [path for path in _installed() if path not in wanted]
    link = os.path.isdir(os.path.dirname(UNIT)) and present and not os.path.islink(WANTED)
    changes = sorted([*wrong, *extra, *([WANTED] if link else [])])
    if changes and not check:
        try:
            _write(wanted, wrong, extra, link)
        except OSError as error:
            raise HostError(
                f"host_restore: {error.filename or HOME}: {error.strerror}; make it writable"
            ) from None
    return changes


def _files(package: str) -> dict[str, str]:
    """The text of every file that belongs on the host, by its path."""
    files = {f"{HOME}/engine/{name}": text for name, text in _sources(package).items()}
    files[COMMAND] = _LAUNCHER.format(python=sys.executable, home=HOME)
    if os.path.isdir(os.path.dirname(UNIT)):
        files[UNIT] = _SERVICE.format(command=COMMAND)
    return files


def _sources(package: str) -> dict[str, str]:
    """The engine's source files by their relative path, wherever they were loaded from: a folder or Ansible's archive."""
    root = importlib.import_module(package)
    found = {"__init__.py": ""}
    for module in pkgutil.walk_packages(root.__path__, prefix=f"{package}."):
        path = module.name[len(package) + 1 :].replace(".", "/")
        loaded = importlib.util.find_spec(module.name)
        loader = loaded.loader if loaded else None
        text = (
            loader.get_source(module.name) if loader is not None and hasattr(loader, "get_source") else None
        )
        found[f"{path}/__init__.py" if module.ispkg else f"{path}.py"] = text or ""
    return found


def _installed() -> list[str]:
    found = [path for path in (COMMAND, UNIT, WANTED) if os.path.lexists(path)]
    for folder, _folders, names in os.walk(HOME):
        found += [os.path.join(folder, name) for name in names if name.endswith(".py")]
    return [path for path in found if path != WANTED or not os.path.lexists(UNIT)]


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None


def _write(wanted: dict[str, str], wrong: list[str], extra: list[str], link: bool) -> None:
    for path in extra:
        os.unlink(path)
    for path in wrong:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        part = f"{path}.part"
        mode = 0o755 if path == COMMAND else 0o644
        with open(part, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(wanted[path])
        os.replace(part, path)
    if not wanted:
        shutil.rmtree(HOME, ignore_errors=True)
        if os.path.islink(WANTED):
            os.unlink(WANTED)
    elif link:
        os.makedirs(os.path.dirname(WANTED), exist_ok=True)
        os.symlink(UNIT, WANTED)
    if os.path.isdir(_RUNS_SYSTEMD) and (UNIT in wrong or UNIT in extra or link):
        subprocess.run(["systemctl", "daemon-reload"], check=False, capture_output=True)
