# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way, as people go it in a browser: from the first start over a plan that a second person approves to the drift of next
week. What an executor would do is done by the test, on the same data; what the pages show of it, they show by themselves."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Dashboard
from tests.browser.support import Watched, sign_in
from tests.support import dashboard_record as record
from tests.support import dashboard_seed as seed

INVENTORY = """\
crosshost:
  hosts:
    alpha: {ansible_host: 192.0.2.11, crosshost_vtep: 10.98.0.11}
    beta: {ansible_host: 192.0.2.12, crosshost_vtep: 10.98.0.12}
"""


def test_from_the_first_start_to_the_drift_of_next_week(
    empty: Dashboard, opened: Callable[..., Watched]
) -> None:
    ann, oli = opened(empty).page, opened(empty).page
    sign_in(ann, "admin", empty.server.password)
    expect(ann.get_by_text("Bring your hosts")).to_be_visible()
    password = _add_a_colleague(ann)
    _import(ann)
    _add_a_network(ann)
    _add_an_endpoint(ann)
    _see_it_in_the_topology(ann)
    plan = _preview(ann, empty)
    sign_in(oli, "oli", password)
    _approve(oli, plan)
    _apply(ann, plan, empty)
    _drift(ann, empty)
    _sign_out(ann)


def _add_a_colleague(page: Page) -> str:
    """The password that is shown once."""
    page.goto("/users")
    page.get_by_role("link", name="Add a user").click()
    page.get_by_label("Name", exact=True).fill("Oli")
    page.get_by_role("button", name="Add the user").click()
    password = page.locator("#password").inner_text()
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("oli")
    page.reload()
    expect(page.get_by_text(password)).to_have_count(0)
    return password


def _import(page: Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="Import an inventory").click()
    page.get_by_label("Or paste it").fill("crosshost:\n  hosts: [\n")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("alert")).to_contain_text("line")
    page.get_by_label("Or paste it").fill(INVENTORY)
    page.get_by_role("button", name="Preview").click()
    expect(page.locator(".lead")).to_contain_text("3 added")
    expect(page.locator(".diff .add", has_text="vtep: 10.98.0.11")).to_be_visible()
    page.get_by_role("button", name="Import it").click()
    expect(page.get_by_role("status").first).to_contain_text("Imported as revision 1")
    page.goto("/hosts")
    expect(page.get_by_role("link", name="alpha")).to_be_visible()


def _add_a_network(page: Page) -> None:
    page.goto("/networks")
    page.get_by_role("link", name="Add a network").first.click()
    page.get_by_label("Name").fill("bad name!")
    page.get_by_label("MTU").fill("much")
    page.get_by_role("button", name="Add the overlay network").click()
    expect(page.locator("#f-mtu-fault")).to_contain_text("no whole number")
    page.get_by_label("MTU").fill("")
    page.get_by_role("button", name="Add the overlay network").click()
    expect(page.locator("#f-name-fault")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Name").fill("web")
    page.get_by_role("button", name="Add one").click()
    page.get_by_label("If automatic").last.select_option("6")
    page.get_by_role("button", name="Add the overlay network").click()
    told = page.get_by_role("status").first
    expect(told).to_contain_text("It has the subnet 10.0.0.0/24, the VNI 1048577 and the subnet fd")
    expect(page.get_by_role("link", name="10.0.0.0/24", exact=True)).to_be_visible()


def _add_an_endpoint(page: Page) -> None:
    page.get_by_role("link", name="Add an endpoint").click()
    expect(page.get_by_label("Network", exact=True)).to_have_value("web")
    page.get_by_label("Host").fill("alpha")
    page.get_by_label("Container", exact=True).fill("shop")
    page.get_by_role("button", name="Add the endpoint").click()
    expect(page.get_by_role("status").first).to_contain_text("the address 10.0.0.2")
    # from the address over the pool to the declaration and back
    page.get_by_role("link", name="10.0.0.2", exact=True).click()
    expect(page.locator(".chain")).to_contain_text("on no host")
    page.locator(".chain").get_by_role("link", name="endpoint alpha/web/shop").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("shop")


def _see_it_in_the_topology(page: Page) -> None:
    page.goto("/topology")
    crossing = page.get_by_role("link", name="web on alpha: 1 endpoint, not looked at")
    expect(crossing).to_be_visible()
    crossing.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/endpoints\?host=alpha&network=web"))


def _preview(page: Page, dashboard: Dashboard) -> int:
    """A check run, watched while it goes on; its plan."""
    page.goto("/networks/overlay/web")
    page.get_by_role("button", name="Preview the plan").click()
    expect(page.locator("#run-head .state")).to_have_text("queued")
    run_id = int(page.url.rpartition("/")[2])
    done = record.checked(("alpha", "beta"))
    seed.begin(dashboard.state, run_id)
    expect(page.locator("#run-head .state")).to_have_text("running")
    seed.feed(dashboard.state, run_id, done[:9])
    expect(page.get_by_role("link", name="alpha: ok").first).to_be_visible()
    expect(page.locator("[data-count=ok] b")).to_have_text("2")
    seed.feed(dashboard.state, run_id, done[9:])
    expect(page.get_by_role("link", name="beta: changed").first).to_be_visible()
    seed.finish(dashboard.state, run_id, "ok")
    expect(page.get_by_text("The run has ended.")).to_be_visible()
    page.get_by_role("link", name="beta: changed").first.click()
    expect(page.locator("pre", has_text="ip netns add xh-web")).to_be_visible()
    expect(page.locator(".diff .add", has_text="vni: 1048577")).to_be_visible()
    page.go_back()
    page.get_by_role("link", name="Open the plan").click()
    expect(page.get_by_text("somebody else has to approve it")).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    return int(page.url.rpartition("/")[2])


def _approve(page: Page, plan: int) -> None:
    page.goto("/")
    page.get_by_role("link", name="Open the plan").click()
    expect(page).to_have_url(re.compile(f"/plans/{plan}$"))
    expect(page.get_by_role("heading", name="alpha")).to_be_visible()
    page.get_by_role("button", name="Approve", exact=True).click()
    page.get_by_role("dialog").get_by_label("Note").fill("fine")
    page.get_by_role("button", name="Approve it").click()
    expect(page.locator(".chain .state")).to_have_text("approved")


def _apply(page: Page, plan: int, dashboard: Dashboard) -> None:
    page.goto(f"/plans/{plan}")
    page.get_by_role("button", name="Apply", exact=True).click()
    page.get_by_role("button", name="Apply it").click()
    expect(page.locator("#run-head .state")).to_have_text("queued")
    run_id = int(page.url.rpartition("/")[2])
    seed.begin(dashboard.state, run_id)
    seed.feed(dashboard.state, run_id, record.checked(("alpha", "beta")))
    seed.saw(dashboard.state, run_id)
    seed.finish(dashboard.state, run_id, "ok")
    expect(page.get_by_text("The run has ended.")).to_be_visible()
    page.goto("/ipam?q=10.0.0.2")
    page.get_by_role("link", name="10.0.0.2", exact=True).click()
    expect(page.locator(".chain")).to_contain_text("on 1 host")
    page.locator(".chain").get_by_role("link", name=f"site {run_id}").click()
    expect(page.locator("#run-head h1")).to_have_text(f"site {run_id}")


def _drift(page: Page, dashboard: Dashboard) -> None:
    page.goto("/schedules/new")
    page.get_by_label("Name").fill("Drift, each morning")
    page.get_by_label("When, in UTC").fill("0 6 * *")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#f-cron-fault")).to_contain_text("five fields")
    page.get_by_label("When, in UTC").fill("0 6 * * *")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("link", name="Drift, each morning")).to_be_visible()
    page.goto("/drift")
    page.get_by_role("button", name="Look now").click()
    expect(page.locator("#run-head .state")).to_have_text("queued")
    run_id = int(page.url.rpartition("/")[2])
    seed.begin(dashboard.state, run_id)
    seed.feed(dashboard.state, run_id, record.drifting())
    seed.finish(dashboard.state, run_id, "ok")
    page.goto("/drift")
    expect(page.get_by_role("heading", name="beta")).to_be_visible()
    expect(page.locator("pre", has_text="ip -n xh-web link set vx0 mtu 1400").first).to_be_visible()
    page.goto("/topology")
    expect(page.get_by_role("link", name="web on beta: 0 endpoints, differs")).to_be_visible()


def _sign_out(page: Page) -> None:
    page.get_by_role("button", name="Account of admin").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto("/hosts")
    expect(page).to_have_url(re.compile(r"/sign-in\?next=/hosts"))
