# SPDX-License-Identifier: GPL-3.0-or-later
"""Every page in both themes and widths: it is there, it is accessible (WCAG 2.1 AA, by axe-core), and it is no wider than the window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.conftest import NARROW, WIDE, Dashboard
from tests.browser.places import SIGNED_OUT, places
from tests.browser.support import Watched, too_wide

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]


def violations(watched: Watched) -> list[str]:
    """What axe-core finds, with where."""
    found: dict[str, Any] = (
        Axe().run(watched.page, options={"runOnly": RULES, "resultTypes": ["violations"]}).response
    )
    return [
        f"{one['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:300]}"
        for one in found["violations"]
        for node in one["nodes"][:3]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_pages_are_accessible_and_fit(
    seeded: Dashboard, opened: Callable[..., Watched], width: int, theme: str
) -> None:
    watched = opened(seeded, "ann", width=width, theme=theme)
    assert seeded.seeded is not None
    told: list[str] = []
    for name, path in places(seeded.seeded).items():
        answer = watched.page.goto(path)
        assert answer is not None
        found = [f"status {answer.status}"] if answer.status != (404 if name == "not-found" else 200) else []
        found += [f"{wide} pixels too wide"] if (wide := too_wide(watched.page)) else []
        found += violations(watched)
        told += [f"{name}: {one}" for one in found]
    assert not told, "\n".join(told)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_sign_in_page(seeded: Dashboard, opened: Callable[..., Watched], theme: str) -> None:
    watched = opened(seeded, width=NARROW, theme=theme)
    watched.page.goto(SIGNED_OUT["sign-in"])
    assert violations(watched) == []
    assert too_wide(watched.page) == 0
    assert watched.page.locator("html").get_attribute("data-bs-theme") == theme
