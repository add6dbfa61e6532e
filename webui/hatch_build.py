# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the collection into the package: what it runs playbooks of and validates with. From the checkout around it; a source
distribution has it already, so that a wheel made of it is the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TARGET = "crosshost_webui/collection/ansible_collections/crosshost/network"
PARTS = ("LICENSE", "README.md", "galaxy.yml", "meta", "playbooks", "plugins", "roles")
LEFT_OUT = frozenset({"__pycache__", ".pytest_cache", ".ansible", "molecule", "tests"})


class CollectionHook(BuildHookInterface[Any]):
    """Called by hatchling for each target."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """FileNotFoundError if there is no collection, neither here nor around."""
        root = Path(self.root)
        if version == "editable" or (root / TARGET).is_dir():
            return
        checkout = root.parent
        if not (checkout / "galaxy.yml").is_file():
            raise FileNotFoundError(
                f"{checkout}: no galaxy.yml: build in a checkout, or of a source distribution"
            )
        for source in files(checkout):
            build_data["force_include"][str(source)] = f"{TARGET}/{source.relative_to(checkout)}"


def files(checkout: Path) -> Iterator[Path]:
    """The collection's files that a server needs, in a fixed order."""
    for part in PARTS:
        path = checkout / part
        for one in sorted([path] if path.is_file() else path.rglob("*")):
            if (
                one.is_file()
                and one.suffix != ".pyc"
                and LEFT_OUT.isdisjoint(one.relative_to(checkout).parts)
            ):
                yield one
