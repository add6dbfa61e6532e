# SPDX-License-Identifier: GPL-3.0-or-later
"""The output of a run in the browser: a window on a file of any size, followed while it grows, searched by the server."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Dashboard
from tests.browser.support import Watched
from tests.support import dashboard_record as record
from tests.support import dashboard_seed as seed

WINDOW = 2000  # as in static/js/output.js


def test_a_large_output_is_shown_in_a_window(grown: Dashboard, opened: Callable[..., Watched]) -> None:
    assert grown.seeded is not None
    run_id = grown.seeded.running
    seed.write(grown.state, run_id, [f"line {n} of many" for n in range(20_000)])
    page = opened(grown, "ann").page
    page.goto(f"/runs/{run_id}?view=output")
    lines = page.locator(".log .line")
    expect(lines.last).to_have_text("line 19999 of many")
    for _ in range(5):
        before = int(lines.first.get_attribute("data-offset") or 0)
        page.locator("[data-earlier]").click()
        page.wait_for_function(
            "n => Number(document.querySelector('.log .line').dataset.offset) < n", arg=before
        )
    assert lines.count() <= WINDOW
    page.get_by_role("button", name="Begin").click()
    expect(lines.first).to_have_attribute("data-number", "1")
    page.get_by_role("button", name="End").click()
    expect(lines.last).to_have_text("line 19999 of many")


def test_search_finds_what_is_not_in_the_window(grown: Dashboard, opened: Callable[..., Watched]) -> None:
    assert grown.seeded is not None
    run_id = grown.seeded.applied
    seed.write(
        grown.state,
        run_id,
        [*(f"filler {n}" for n in range(5000)), "the <b>needle</b>", *(f"more {n}" for n in range(5000))],
    )
    page = opened(grown, "vic").page
    page.goto(f"/runs/{run_id}?view=output")
    page.get_by_label("Find in the output").fill("NEEDLE")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("button", name="the <b>needle</b>").click()
    expect(page.locator(".line.is-found")).to_have_text("the <b>needle</b>")
    expect(page.locator(".line.is-found")).to_be_in_viewport()
    page.get_by_label("Find in the output").fill("not there at all")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_text("It is not in the output.")).to_be_visible()


def test_the_output_is_followed_until_somebody_turns_it_off(
    grown: Dashboard, opened: Callable[..., Watched]
) -> None:
    assert grown.seeded is not None
    run_id = grown.seeded.running
    page = opened(grown, "ann").page
    page.goto(f"/runs/{run_id}?view=output")
    last = page.locator(".log .line").last
    for number in range(3):
        seed.write(grown.state, run_id, [f"news {number}, {n}" for n in range(700)])
        expect(last).to_have_text(f"news {number}, 699", timeout=10_000)
    page.get_by_label("Follow").uncheck()
    seed.write(grown.state, run_id, ["this comes later"])
    expect(page.locator("[data-later]")).to_be_visible(timeout=10_000)
    expect(last).to_have_text("news 2, 699")
    page.locator("[data-later]").click()
    expect(last).to_have_text("this comes later")


def test_two_pages_of_a_run_show_the_same_as_one_that_is_loaded_anew(
    grown: Dashboard, opened: Callable[..., Watched]
) -> None:
    """What the stream built up is what the server would draw."""
    assert grown.seeded is not None
    seed.finish(grown.state, grown.seeded.running, "ok")  # of the cluster's runs one at a time is active
    run_id = seed.start(grown.state, "oli", limit="rack_a")
    page = opened(grown, "ann").page
    page.goto(f"/runs/{run_id}")
    done = record.checked(("alpha", "beta", "gamma"))
    seed.begin(grown.state, run_id)
    for begin in range(0, len(done), 7):
        seed.feed(grown.state, run_id, done[begin : begin + 7])
    seed.finish(grown.state, run_id, "ok")
    expect(page.get_by_text("The run has ended.")).to_be_visible(timeout=10_000)
    cells = "[...document.querySelectorAll('#matrix tr')].map(row => [...row.cells].map(cell => cell.textContent.trim()).join('|'))"
    live = page.evaluate(cells)
    page.reload()
    assert page.evaluate(cells) == live
    assert len(live) > 8
