# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts behind the Makefile, and what they build."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from scripts.link_collection import CHECKOUT, link_collection

# What a controller needs of the collection, and nothing of what a checkout has besides.
ARCHIVED = {
    "CHANGELOG.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md",
    "changelogs", "docs", "meta", "playbooks", "plugins", "roles",
}  # fmt: skip
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def archived_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The paths in the archive that `make build` builds."""
    target = tmp_path_factory.mktemp("dist")
    argv = [str(BIN / "ansible-galaxy"), "collection", "build", "--output-path", str(target), str(CHECKOUT)]
    subprocess.run(
        argv, check=True, capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8"}, timeout=120
    )
    (archive,) = target.iterdir()
    with tarfile.open(archive) as tar:
        return set(tar.getnames())


def test_archive_holds_collection_parts_only(archived_names: set[str]) -> None:
    assert {name.split("/")[0] for name in archived_names} <= ARCHIVED


def test_archive_is_complete(archived_names: set[str]) -> None:
    kept = {"LICENSE", "README.md", "meta/runtime.yml"}
    for folder in ("plugins", "roles", "playbooks"):
        paths = (CHECKOUT / folder).rglob("*")
        kept |= {str(p.relative_to(CHECKOUT)) for p in paths if p.is_file() and "__pycache__" not in p.parts}
    assert kept <= archived_names


def test_action_group_names_every_module() -> None:
    runtime = yaml.safe_load((CHECKOUT / "meta/runtime.yml").read_text())
    modules = {path.stem for path in (CHECKOUT / "plugins/modules").glob("*.py")} - {"__init__"}
    assert set(runtime["action_groups"]["crosshost"]) == modules


def test_link_is_made_and_repaired(tmp_path: Path) -> None:
    root = link_collection(tmp_path)
    link = root / "ansible_collections/crosshost/network"
    assert link.resolve() == tmp_path
    link.unlink()
    link.symlink_to("/nonexistent")
    assert link_collection(tmp_path) == root
    assert link.resolve() == tmp_path
    assert [entry.name for entry in link.parent.iterdir()] == ["network"]


def test_link_moves_with_the_checkout(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    link_collection(before)
    after = before.rename(tmp_path / "after")
    assert (after / ".build/ansible_collections/crosshost/network").resolve() == after


def test_a_folder_in_the_way_of_the_link_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / ".build/ansible_collections/crosshost/network"
    folder.mkdir(parents=True)
    with pytest.raises(OSError, match="network"):
        link_collection(tmp_path)
    assert folder.is_dir()
    assert [entry.name for entry in folder.parent.iterdir()] == ["network"]


def direct_requirements() -> list[str]:
    lines = (CHECKOUT / "requirements.in").read_text().splitlines()
    return [re.split(r"[=<>]", line)[0].lower() for line in lines if line and not line.startswith("#")]


def test_lock_pins_every_requirement_with_checksums() -> None:
    entries = re.split(r"\n(?=\S)", (CHECKOUT / "requirements.lock").read_text())
    pinned = {entry.split("==")[0]: entry for entry in entries if not entry.startswith("#")}
    assert set(direct_requirements()) <= set(pinned)
    assert [name for name, entry in pinned.items() if "--hash=sha256:" not in entry] == []


def test_lock_names_no_download_address() -> None:
    lock = (CHECKOUT / "requirements.lock").read_text()
    assert re.findall(r"\w+://\S+|--(?:extra-)?index-url|--find-links", lock) == []


def test_every_requirement_and_package_says_why() -> None:
    lines = (CHECKOUT / "requirements.in").read_text().splitlines()
    silent = [
        line
        for above, line in zip(["", *lines], lines)
        if line and line[0] != "#" and not above.startswith("# ")
    ]
    packages = (CHECKOUT / "packages.txt").read_text().splitlines()
    silent += [
        line for line in packages if line and not re.match(r"#|[a-z0-9.+-]+ +(disabled )? *# \w", line)
    ]
    assert silent == []
