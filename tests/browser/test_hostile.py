# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever somebody writes, or a host returns, is shown as text: no page runs it, and the policy has nothing to refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from crosshost_webui.accounts import users
from crosshost_webui.audit.store import Actor
from crosshost_webui.inventory import service as inventory

from tests.browser.conftest import Dashboard
from tests.browser.support import Watched, too_wide
from tests.support import dashboard_seed as seed

EVIL = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>\"'`&lt;${1}"
LONG = "x" * 3000
ANSI = "\x1b]8;;javascript:window.hacked=1\x07link\x1b]8;;\x07\x1b[31mred\x1b[2J\x1b[1;1H"


@pytest.fixture
def poisoned(grown: Dashboard) -> tuple[Dashboard, dict[str, str]]:
    """A dashboard with such strings wherever any can be, and the pages that show them."""
    state = grown.state
    assert grown.seeded is not None
    seed.finish(state, grown.seeded.running, "ok")
    with state.db.write() as s:
        actor = Actor(EVIL, through=EVIL)
        user = users.create(s, actor, "eve", "viewer", None, EVIL)
        body = inventory.one(s, "overlay", "web").body
        edits = [
            inventory.Edit("overlay", "web", {**body, "labels": {"note": EVIL, "long": LONG}}),
            inventory.Edit(
                "host", "alpha", {**inventory.one(s, "host", "alpha").body, "variables": {"note": EVIL}}
            ),
        ]
        inventory.change(s, actor, edits, EVIL)
    run_id = seed.start(state, EVIL)
    seed.begin(state, run_id)
    seed.feed(state, run_id, _record())
    seed.write(state, run_id, [EVIL, ANSI, LONG * 4, "tab\tnul\0bell\x07 carriage\rreturn"])
    seed.finish(state, run_id, "failed", 2)
    return grown, {
        "overview": "/", "host": "/hosts/alpha", "network": "/networks/overlay/web", "user": f"/users/{user.id}",
        "form": "/items/overlay/edit/web", "history": "/items/overlay/history/web", "revisions": "/revisions",
        "revision": "/revisions/6", "audit": "/audit", "runs": "/runs", "run": f"/runs/{run_id}",
        "problems": f"/runs/{run_id}?view=problems", "output": f"/runs/{run_id}?view=output",
        "result": f"/runs/{run_id}/results/4", "failure": f"/runs/{run_id}/results/5", "drift": "/drift",
        "search": f"/hosts?q={EVIL}", "find": f"/ipam?q={EVIL[:90]}", "next": f"/sign-in?next={EVIL}",
    }  # fmt: skip


def _record() -> list[dict[str, Any]]:
    body = {
        "msg": f"{EVIL}\n{ANSI}", "commands": [EVIL, LONG], "diff": {"before": EVIL, "after": f"{EVIL}\n{LONG}"},
        "warnings": [EVIL], "stdout": f"{ANSI}\n{EVIL}", EVIL: {EVIL: [EVIL]},
    }  # fmt: skip
    report = {
        "interfaces": [{"name": EVIL, "mtu": EVIL, "addresses": [EVIL]}], "kernel": EVIL, "engines": [EVIL], "nameservers": EVIL,
    }  # fmt: skip
    return [
        {"kind": "play", "name": EVIL},
        {"kind": "task", "task": 1, "name": EVIL, "action": EVIL, "play": EVIL},
        {"kind": "report", "host": "alpha", "body": report},
        {"kind": "result", "task": 1, "host": "alpha", "status": "changed", "body": body},
        {"kind": "result", "task": 1, "host": EVIL[:200], "status": "failed", "body": body},
        {"kind": "warning", "text": EVIL},
    ]


@pytest.mark.parametrize("width", [1280, 390])
def test_hostile_strings_are_text(
    poisoned: tuple[Dashboard, dict[str, str]], opened: Callable[..., Watched], width: int
) -> None:
    dashboard, pages = poisoned
    watched = opened(dashboard, "ann", width=width)
    shown = 0
    for name, path in pages.items():
        answer = watched.page.goto(path)
        assert answer is not None
        assert answer.status < 500, name
        watched.page.wait_for_timeout(150)
        assert watched.page.evaluate("window.hacked") is None, name
        assert watched.page.locator("img[src=x], main script").count() == 0, name
        assert too_wide(watched.page) == 0, name
        shown += EVIL[:20] in watched.page.locator("body").inner_text()
    assert shown >= 12, "the strings are shown, and not left out"


def test_forms_show_what_was_written(grown: Dashboard, opened: Callable[..., Watched]) -> None:
    page = opened(grown, "ann").page
    page.goto("/items/overlay/new")
    page.get_by_label("Name").fill(EVIL)
    page.get_by_label("Other options").fill(f"note: '{EVIL}")
    page.get_by_role("button", name="Add the overlay network").click()
    assert page.get_by_label("Name").input_value() == EVIL
    assert page.evaluate("window.hacked") is None
