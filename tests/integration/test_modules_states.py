# SPDX-License-Identifier: GPL-3.0-or-later
"""The six states of overlay_network, gwbridge and endpoint on a real host: what each adds, changes, keeps and removes; check
mode tells the truth; the second run changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from tests.integration.lab_run import Lab, Result, lab, look, picture, session_lab, step  # noqa: F401

pytestmark = [pytest.mark.lab, pytest.mark.slow]
Config = list[dict[str, Any]]
HOST = {"vtep": "10.98.0.1", "underlay": "eth1", "underlay_mtu": 1500}
PATH = {"data_path_address": "10.98.0.1", "peers": [{"host": "h2", "vtep": "10.98.0.2", "mtu": 1500}]}


class Case(NamedTuple):
    """From ``base`` by one run to ``after``. ``words`` have to be in the commands, ``shown`` in the text of the diff."""

    name: str
    state: str
    config: Config
    after: Config
    words: Sequence[str]
    shown: str


# -- networks

WEB: dict[str, Any] = {
    "name": "web",
    **PATH,
    "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}, {"subnet": "fd50::/64"}],
    "endpoints": [
        {"ip": "10.50.0.12", "ip6": "fd50::12", "vtep": "10.98.0.2"},
        {"ip": "10.50.0.13", "vtep": "10.98.0.2"},
    ],
    "labels": {"owner": "shop"},
}
OPEN: dict[str, Any] = {
    "name": "open",
    **PATH,
    "control_plane": "flood",
    "subnets": [{"subnet": "10.51.0.0/24", "vni": 5001}],
}
NEW: dict[str, Any] = {"name": "new", **PATH, "subnets": [{"subnet": "10.52.0.0/24", "vni": 5002}]}
MORE = {
    "name": "web",
    "mtu": 1400,
    "endpoints": [{"ip": "10.50.0.14", "vtep": "10.98.0.2"}],
    "labels": {"tier": "front"},
}
WEB_MORE = {
    **WEB,
    "mtu": 1400,
    "endpoints": [*WEB["endpoints"], *MORE["endpoints"]],  # type: ignore[misc]
    "labels": {"owner": "shop", "tier": "front"},
}
WEB_LESS = {**PATH, "name": "web", "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}]}
NETWORK_CASES = [
    Case("merged-adds", "merged", [NEW], [WEB, OPEN, NEW], ["ip netns add xh-new"], "xh-new"),
    Case("merged-changes", "merged", [MORE], [WEB_MORE, OPEN], ["mtu 1400", "02:42:0a:32:00:0e"], "1400"),
    Case(
        "replaced",
        "replaced",
        [WEB_LESS],
        [WEB_LESS, OPEN],
        ["fdb del 02:42:0a:32:00:0c", "fd50::1"],
        "fd50::1",
    ),
    Case(
        "overridden",
        "overridden",
        [OPEN, NEW],
        [OPEN, NEW],
        ["ip netns del xh-web", "netns add xh-new"],
        "xh-web",
    ),
    Case("deleted-named", "deleted", [{"name": "web"}], [OPEN], ["ip netns del xh-web"], "xh-web"),
    Case("deleted-all", "deleted", [], [], ["ip netns del xh-web", "ip netns del xh-open"], "xh-open"),
]

# -- gateway bridges

FIRST: dict[str, Any] = {"name": "xh_gwbridge", "subnet": "172.30.0.0/16", "subnet6": "fd30::/64"}
SECOND: dict[str, Any] = {"name": "xh_second", "subnet": "172.31.0.0/16", "icc": True, "ip_masquerade": False}
THIRD: dict[str, Any] = {"name": "xh_third", "subnet": "172.29.0.0/24", "gateway": "172.29.0.9", "mtu": 1400}
FIRST_MORE = {**FIRST, "icc": True, "mtu": 1400}
FIRST_LESS = {"name": "xh_gwbridge", "subnet": "172.30.0.0/16"}
BRIDGE_CASES = [
    Case("merged-adds", "merged", [THIRD], [FIRST, SECOND, THIRD], ["172.29.0.9/24"], "xh_third"),
    Case(
        "merged-changes", "merged", [{"icc": True, "mtu": 1400}], [FIRST_MORE, SECOND], ["mtu 1400"], "1400"
    ),
    Case("replaced", "replaced", [FIRST_LESS], [FIRST_LESS, SECOND], ["addr del fd30::1/64"], "fd30::1"),
    Case("overridden", "overridden", [SECOND, THIRD], [SECOND, THIRD], ["link del xh_gwbridge"], "xh_third"),
    Case("deleted-named", "deleted", [{"name": "xh_second"}], [FIRST], ["link del xh_second"], "xh_second"),
    Case("deleted-all", "deleted", [], [], ["link del xh_gwbridge", "link del xh_second"], "xh_second"),
]

# -- endpoints

A: dict[str, Any] = {"network": "web", "sandbox": "a", "create": True, "ip": "10.50.0.21", "ip6": "fd50::21"}
A_OPEN: dict[str, Any] = {"network": "open", "sandbox": "a", "ip": "10.51.0.21", "interface": "lan"}
B: dict[str, Any] = {
    "network": "web",
    "sandbox": "b",
    "create": True,
    "ip": "10.50.0.22",
    "default_route": False,
}
C: dict[str, Any] = {"network": "open", "sandbox": "c", "create": True, "ip": "10.51.0.23"}
A_MORE = {**A, "ip": "10.50.0.31", "mac": "02:00:5e:00:00:31"}
B_MOVED = {"network": "web", "sandbox": "b", "create": True, "ip": "10.50.0.32"}
ENDPOINT_CASES = [
    Case("merged-adds", "merged", [C], [A, A_OPEN, B, C], ["ip netns add c", "10.51.0.23/24"], "10.51.0.23"),
    Case(
        "merged-changes",
        "merged",
        [{"network": "web", "sandbox": "a", "ip": "10.50.0.31", "mac": "02:00:5E:00:00:31"}],
        [{**A_MORE, "mac": "02:00:5E:00:00:31"}, A_OPEN, B],
        ["02:00:5e:00:00:31", "10.50.0.31/24", "10.50.0.21/24"],
        "10.50.0.31",
    ),
    Case("replaced", "replaced", [B_MOVED], [A, A_OPEN, B_MOVED], ["10.50.0.32/24", "gw0"], "10.50.0.32"),
    Case("overridden", "overridden", [B, C], [B, C], ["ip netns del a", "ip netns add c"], "10.50.0.21"),
    Case(
        "deleted-named",
        "deleted",
        [{"network": "web", "sandbox": "b"}],
        [A, A_OPEN],
        ["ip netns del b"],
        "10.50.0.22",
    ),
    Case("deleted-all", "deleted", [], [], ["ip netns del a", "ip netns del b"], "10.51.0.21"),
]

KINDS: dict[str, tuple[str, Config, list[Case]]] = {
    "overlay_network": ("overlay_networks", [WEB, OPEN], NETWORK_CASES),
    "gwbridge": ("gwbridges", [FIRST, SECOND], BRIDGE_CASES),
    "endpoint": ("endpoints", [A, A_OPEN, B], ENDPOINT_CASES),
}


def below(module: str) -> list[tuple[str, Config]]:
    """What has to be on the host before a module has something to do."""
    return [("overlay_network", [WEB, OPEN]), ("gwbridge", [FIRST])] if module == "endpoint" else []


@pytest.fixture(scope="module")
def dirty() -> Iterator[dict[str, str]]:
    """Which module the host was last prepared for: its cases start from where the one before stopped."""
    yield {}


def prepare(lab: Lab, module: str, dirty: dict[str, str]) -> list[Any]:
    """The steps that bring h1 to the module's base."""
    first = []
    if dirty.get("module") != module:
        lab.reset()
        first = [step("h1", name, {"config": config}) for name, config in below(module)]
        dirty["module"] = module
    return [*first, step("h1", module, {"state": "overridden", "config": KINDS[module][1]})]


def as_declared(lab: Lab, module: str, config: Config) -> None:
    found: dict[str, Any] = {**HOST, "overlay_networks": [], "gwbridges": [], "endpoints": []}
    names = {"overlay_network": "overlay_networks", "gwbridge": "gwbridges", "endpoint": "endpoints"}
    for name, items in [*below(module), (module, config)]:
        found[names[name]] = items
    lab.check({"h1": found})


CASES = [
    pytest.param(module, case, id=f"{module}-{case.name}") for module in KINDS for case in KINDS[module][2]
]


@pytest.mark.parametrize(("module", "case"), CASES)
def test_state(session_lab: Lab, dirty: dict[str, str], module: str, case: Case) -> None:
    args = {"state": case.state, "config": case.config}
    steps = [
        *prepare(session_lab, module, dirty),
        look(),
        step("h1", module, args, check_mode=True, diff=True),
        look(),
        step("h1", module, args, diff=True),
        step("h1", module, args, diff=True),
    ]
    *first, was, checked, still, done, again = (found["h1"] for found in session_lab.play(*steps))
    for result in (*first, checked, done, again):
        assert not result.get("failed"), result
    assert picture(still["stdout"]) == picture(was["stdout"]), "check mode touched something"
    assert checked["changed"] and done["changed"]
    for field in ("commands", "before", "after", "diff"):
        assert checked[field] == done[field]
    assert by_name(done["before"]) == by_name(KINDS[module][1])
    assert by_name(done["after"]) == by_name(case.after)
    for word in case.words:
        assert any(word in line for line in done["commands"]), done["commands"]
    assert case.shown in done["diff"]["before"] + done["diff"]["after"]
    assert done["diff"]["before"] != done["diff"]["after"]
    nothing = {"before": "", "after": ""}
    assert (again["changed"], again["commands"], again["diff"]) == (False, [], nothing)
    assert by_name(again["before"]) == by_name(again["after"]) == by_name(case.after)
    as_declared(session_lab, module, case.after)


def by_name(config: Config) -> Config:
    """Declarations in an order of their own; options that were not given do not count."""
    plain = [{k: v for k, v in item.items() if v is not None} for item in config]
    return sorted(
        plain, key=lambda item: (item.get("network", ""), item.get("name", ""), item.get("sandbox", ""))
    )


@pytest.mark.parametrize("module", KINDS)
def test_gathered_and_rendered(lab: Lab, module: str) -> None:
    """``rendered`` needs nothing of it on the host and gives the very lines that the run then carries out; ``gathered``
    returns what was declared. Neither touches anything."""
    config = KINDS[module][1]
    first = [step("h1", name, {"config": items}) for name, items in below(module)]
    steps = [
        *first,
        look(),
        step("h1", module, {"state": "gathered"}),
        step("h1", module, {"state": "rendered", "config": config}),
        look(),
        step("h1", module, {"config": config}),
        look(),
        step("h1", module, {"state": "gathered"}),
        step("h1", module, {"state": "rendered", "config": config}),
        look(),
    ]
    results: list[Result] = [found["h1"] for found in lab.play(*steps)][len(first) :]
    empty, none, rendered, untouched, done, full, gathered, rendered_again, still = results
    assert picture(untouched["stdout"]) == picture(empty["stdout"])
    assert picture(still["stdout"]) == picture(full["stdout"]) != picture(empty["stdout"])
    assert (none["changed"], none["before"], none["after"], none["commands"]) == (False, [], [], [])
    assert done["changed"] and not rendered["changed"] and not rendered_again["changed"]
    assert rendered["commands"] == done["commands"] == rendered_again["commands"]
    assert not gathered["changed"] and by_name(gathered["after"]) == by_name(config)
