# SPDX-License-Identifier: GPL-3.0-or-later
"""What browsers load: files of others are those that the manifest names, and ours keep to the policy."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import crosshost_webui
import pytest
from crosshost_webui.web.pages import STATIC, environment

TEMPLATES = Path(crosshost_webui.__file__).parent / "templates"
OURS = [path for path in sorted(STATIC.rglob("*")) if path.is_file() and path.parent.name != "vendor"]
PAGES = sorted(TEMPLATES.rglob("*.html"))


def manifest() -> dict[str, list[str]]:
    """By the file's name: package, version, file, its name in the package, sha256, licence."""
    lines = (STATIC / "vendor" / "MANIFEST").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    return {row[2]: row for row in rows}


def test_vendored_files_are_those_of_the_manifest() -> None:
    listed = manifest()
    there = {path.name for path in (STATIC / "vendor").iterdir()} - {"MANIFEST", "LICENSE.tabler"}
    assert there == set(listed)
    for name, (_, version, _, _, digest, licence) in listed.items():
        content = (STATIC / "vendor" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest, name
        assert version in name
        assert licence in ("MIT", "0BSD")


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_our_files_say_their_licence_and_load_nothing_from_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "SPDX-License-Identifier: GPL-3.0-or-later" in "\n".join(text.splitlines()[:4])
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.search(
        r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write", text
    )
    assert text.count("\n") < 400


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_templates_keep_to_the_policy(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("{# SPDX-License-Identifier: GPL-3.0-or-later #}\n")
    assert not re.search(r"\|\s*safe\b|Markup\(|autoescape", text), "everything that is shown is escaped"
    assert not re.search(r"<style|\sstyle\s*=|\son[a-z]+\s*=\s*[\"']|javascript:", text, re.I), (
        "the policy refuses it"
    )
    assert not re.search(r"<script(?![^>]*\ssrc=)", text), "the policy refuses scripts in a page"
    assert "hx-boost" not in text
    assert not re.search(r"hx-(on|vals=['\"]js:|headers=['\"]js:)|hx-trigger=\"[^\"]*\[", text), (
        "these need eval"
    )
    assert not re.search(r"(src|href)=\"(https?:)?//(?!www\.gnu\.org/)", text)
    assert text.count("\n") < 400


def test_every_template_can_be_compiled() -> None:
    for path in PAGES:
        environment.get_template(str(path.relative_to(TEMPLATES)))


def test_icons_that_templates_name_are_there() -> None:
    sprite = (STATIC / "icons.svg").read_text(encoding="utf-8")
    known = set(re.findall(r'<symbol id="([a-z-]+)"', sprite))
    named = {
        name
        for path in PAGES
        for name in re.findall(
            r'\bicon\("([a-z-]+)"\)|\bempty\("([a-z-]+)"', path.read_text(encoding="utf-8")
        )
        for name in name
        if name
    }
    assert named <= known
