# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless browser, and servers in processes of their own on free ports of the loopback interface."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from crosshost_webui import server
from crosshost_webui.settings import Settings
from crosshost_webui.state import State
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.support import FLAGS, Watched, sign_in
from tests.support import dashboard_seed
from tests.support.dashboard_seed import Seeded
from tests.webui.support_server import Server

CHROMIUM = shutil.which("chromium")
WIDE, NARROW = 1280, 390
Theme = Literal["light", "dark"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM is None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(
                    pytest.mark.skip(reason="needs a browser: chromium is not installed (make setup)")
                )


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


class Dashboard:
    """A server's process, and a state of this process on the same data: for tests to do what an executor does."""

    def __init__(self, data_dir: Path, seed: bool) -> None:
        settings = Settings(data_dir=data_dir, executors=0)
        self.state: State = server.make_state(settings)
        self.seeded: Seeded | None = dashboard_seed.seed(self.state) if seed else None
        self.server = Server(data_dir, "--executors", "0")
        self.address = self.server.address

    def stop(self) -> None:
        self.server.stop()
        self.state.close()


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard with something in it, which tests look at and do not change."""
    found = Dashboard(tmp_path_factory.mktemp("seeded"), seed=True)
    yield found
    found.stop()


@pytest.fixture
def grown(tmp_path: Path) -> Iterator[Dashboard]:
    """One with something in it, for a test to change."""
    found = Dashboard(tmp_path / "data", seed=True)
    yield found
    found.stop()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Dashboard]:
    """A dashboard right after its first start."""
    found = Dashboard(tmp_path / "data", seed=False)
    yield found
    found.stop()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """Opens a page: `opened(dashboard, "ann", width=390, theme="dark")`; without a name nobody is signed in. What the browser
    complains of fails the test."""
    contexts: list[BrowserContext] = []
    pages: list[Watched] = []

    def made(dashboard: Dashboard, name: str = "", width: int = WIDE, theme: Theme = "light") -> Watched:
        context = browser.new_context(
            base_url=dashboard.address, viewport={"width": width, "height": 900}, color_scheme=theme
        )
        contexts.append(context)
        page: Page = context.new_page()
        if name:
            sign_in(page, name, dashboard_seed.PASSWORD)
        found = Watched(page)
        pages.append(found)
        return found

    yield made
    complaints = [text for one in pages for text in one.complaints]
    for context in contexts:
        context.close()
    assert complaints == []
