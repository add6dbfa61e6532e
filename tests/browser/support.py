# SPDX-License-Identifier: GPL-3.0-or-later
"""What the browser tests and the pictures have in common."""

from __future__ import annotations

from playwright.sync_api import ConsoleMessage, Page

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Watched:
    """A page with all that the browser complained of: scripts that failed, what the policy refused, dialogs that nobody wanted."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._told)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", self._dialog)

    def _told(self, message: ConsoleMessage) -> None:
        # an answer of 404 or 422 is what some tests want, and the page shows it
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def _dialog(self, dialog: object) -> None:
        self.complaints.append(f"a dialog: {getattr(dialog, 'message', '')}")
        dialog.dismiss()  # type: ignore[attr-defined]


def sign_in(page: Page, name: str, password: str) -> None:
    page.goto("/sign-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)


def too_wide(page: Page) -> int:
    """By how many pixels the page is wider than the window; 0: it is not."""
    wide: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wide
