# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages by the keyboard alone, on a small screen, without scripts, and with the other theme."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Browser, expect

from tests.browser.conftest import NARROW, Dashboard
from tests.browser.support import Watched, sign_in
from tests.support.dashboard_seed import PASSWORD


def test_the_first_stop_leads_to_the_content(seeded: Dashboard, opened: Callable[..., Watched]) -> None:
    page = opened(seeded, "vic").page
    page.goto("/hosts")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_every_stop_is_visible(seeded: Dashboard, opened: Callable[..., Watched]) -> None:
    """What has the focus has an outline, or, in a picture, a wider stroke."""
    page = opened(seeded, "ann").page
    for path in ("/", "/networks/overlay/web", "/items/overlay/edit/web", "/topology", "/ipam/pools/1"):
        page.goto(path)
        for _ in range(45):
            page.keyboard.press("Tab")
            told = page.evaluate(
                """() => {
                    const one = document.activeElement;
                    const style = getComputedStyle(one);
                    const inside = one.closest('svg') && one.querySelector('circle, rect, text');
                    const stroke = inside ? getComputedStyle(inside) : null;
                    const seen = (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2)
                        || (stroke && (parseFloat(stroke.strokeWidth) >= 3 || Number(stroke.fontWeight) >= 700));
                    return one === document.body || seen ? '' : one.outerHTML.slice(0, 200);
                }"""
            )
            assert told == "", path


def test_the_menu_on_a_small_screen(seeded: Dashboard, opened: Callable[..., Watched]) -> None:
    page = opened(seeded, "vic", width=NARROW).page
    page.goto("/")
    menu = page.get_by_role("navigation", name="Main")
    expect(menu).to_be_hidden()
    page.get_by_role("button", name="Menu").press("Enter")
    expect(menu).to_be_visible()
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    menu.get_by_role("link", name="Topology").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Topology")


def test_a_question_can_be_answered_and_left_by_keys(
    seeded: Dashboard, opened: Callable[..., Watched]
) -> None:
    page = opened(seeded, "ann").page
    page.goto("/networks/overlay/web")
    page.get_by_role("button", name="Remove", exact=True).press("Enter")
    question = page.get_by_role("dialog")
    expect(question).to_contain_text("Remove the overlay network web?")
    page.keyboard.press("Escape")
    expect(question).to_be_hidden()
    expect(page.get_by_role("button", name="Remove", exact=True)).to_be_focused()


def test_the_theme_is_kept(seeded: Dashboard, opened: Callable[..., Watched]) -> None:
    page = opened(seeded, "vic", theme="light").page
    page.goto("/")
    page.get_by_role("button", name="Change between light and dark").click()
    page.goto("/hosts")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")


def test_who_may_only_look_has_nothing_to_press(seeded: Dashboard, opened: Callable[..., Watched]) -> None:
    page = opened(seeded, "vic").page
    for path in ("/hosts", "/networks/overlay/web", "/runs", "/ipam", "/schedules", "/drift"):
        page.goto(path)
        assert page.locator("main form[method=post]").count() == 0, path
        assert page.locator("main a[href*='/new'], main a[href*='/edit/']").count() == 0, path
    assert page.goto("/users").status == 403  # type: ignore[union-attr]


def test_pages_work_without_scripts(seeded: Dashboard, browser: Browser) -> None:
    context = browser.new_context(base_url=seeded.address, java_script_enabled=False)
    page = context.new_page()
    sign_in(page, "vic", PASSWORD)
    page.goto("/hosts")
    page.get_by_label("Name").fill("alp")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert seeded.seeded is not None
    page.goto(f"/runs/{seeded.seeded.applied}?view=output")
    expect(page.locator(".log")).to_contain_text("PLAY RECAP")
    context.close()
