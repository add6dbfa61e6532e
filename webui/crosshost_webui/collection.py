# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the collection is that this dashboard runs and validates with: in the wheel, or the checkout's own."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import yaml

PACKAGED = Path(__file__).parent / "collection"
CHECKOUT = Path(__file__).parents[2]


def collections_path() -> Path:
    """The folder that ``ansible_collections`` is in, for Ansible's search path and for Python's. FileNotFoundError when the
    installation has none."""
    if (PACKAGED / "ansible_collections").is_dir():
        return PACKAGED
    linked = CHECKOUT / ".build"
    if (linked / "ansible_collections" / "crosshost" / "network" / "galaxy.yml").is_file():
        return linked
    raise FileNotFoundError(
        f"{PACKAGED}: the collection crosshost.network is not in this installation; install the wheel again, "
        "or run `make setup` in a checkout"
    )


@cache
def version() -> str:
    """The version of the collection, which is the dashboard's as well."""
    path = collections_path() / "ansible_collections" / "crosshost" / "network" / "galaxy.yml"
    return str(yaml.safe_load(path.read_text(encoding="utf-8"))["version"])


def provide() -> None:
    """Let Python import the collection."""
    path = str(collections_path())
    if path not in sys.path:
        sys.path.insert(0, path)
