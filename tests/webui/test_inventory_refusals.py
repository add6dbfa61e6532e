# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations that cannot be right: each is refused in one line, and changes nothing.

The cases are those of the engine's own tests, so what it learns to refuse is refused here; and some that only the dashboard has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from crosshost_webui.db.engine import Database
from crosshost_webui.inventory import service
from crosshost_webui.inventory.emit import LISTS
from crosshost_webui.inventory.service import Edit
from crosshost_webui.web.problem import Problem
from starlette.testclient import TestClient

from tests.support.clusters import DB, ENDS, WEB
from tests.unit import test_view, test_view_ingress, test_view_networks, test_view_services
from tests.webui.support_inventory import ANN, change, end, everything

KIND_OF = {variable: kind for kind, variable in LISTS.items()}
# what the dashboard cannot even say: lists of single hosts that differ, and variables that are no lists
UNSAID = object()


def cases() -> Iterator[Any]:
    for module in (test_view, test_view_networks, test_view_ingress, test_view_services):
        (mark,) = (one for one in module.test_mistakes.pytestmark if one.name == "parametrize")
        for place, (given, *_words) in enumerate(mark.args[1]):
            yield pytest.param(module, given, id=f"{module.__name__.rpartition('_')[2]}-{place}")


def edits(module: Any, given: dict[str, Any]) -> Any:
    """The declaration of a case, as items; UNSAID if that is not possible."""
    variables = dict(given)
    networks = variables.pop("networks", [WEB] if module is test_view_networks else [WEB, DB])
    ends = variables.pop("ends", [] if module is test_view_networks else ENDS)
    each = variables.pop("each", {})
    found = [Edit("group", None, {"name": "front"}), Edit("group", None, {"name": "empty"})]
    shared = {}
    for variable, value in {"crosshost_networks": networks, "crosshost_endpoints": ends, **variables}.items():
        if variable in KIND_OF:
            if not isinstance(value, list | tuple) or not all(isinstance(one, dict) for one in value):
                return UNSAID
            found += [Edit(KIND_OF[variable], None, dict(one)) for one in value]
        elif variable in ("crosshost_ingress", "crosshost_gwbridge"):
            if not isinstance(value, dict):
                return UNSAID
            kind = variable.removeprefix("crosshost_")
            found.append(Edit(kind, None, dict(value) if value or kind == "ingress" else {"enabled": False}))
        else:
            shared[variable] = value
    found.append(Edit("group", None, {"name": "crosshost", "variables": shared}))
    for number in (1, 2, 3):
        own = dict(each.get(f"h{number}", {}))
        body: dict[str, Any] = {"name": f"h{number}", "groups": ["crosshost"], "vtep": f"10.98.0.{number}"}
        if number == 1:
            body["groups"] = ["crosshost", "front"]
        for option in ("vtep", "data_path_interface"):
            if f"crosshost_{option}" in own:
                body[option] = own.pop(f"crosshost_{option}")
        if any(
            variable.startswith("crosshost_")
            and (
                "networks" in variable
                or variable in ("crosshost_ingress", "crosshost_services", "crosshost_gwbridge")
            )
            for variable in own
        ):
            return UNSAID
        found.append(Edit("host", None, {**body, "variables": own}))
    return found


@pytest.fixture(scope="module")
def shared_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path_factory.mktemp('refusals') / 'crosshost.db'}")
    found.create()
    change(found, Edit("gwbridge", None, {"enabled": False}))  # the default pools are made
    change(found, Edit("gwbridge", "xh_gwbridge", None))
    yield found
    found.close()


# what the dashboard makes of it: a stand-in for an address that is not known before the first run, or one from a pool
ALLOWED = (
    {"each": {"h2": {"crosshost_vtep": None}}},
    {"each": {"h3": {"crosshost_vtep": None, "crosshost_data_path_interface": "eth1"}}},
    {"crosshost_ingress": {"name": "x"}},
    {"crosshost_services": [{"name": "api", "network": "web", "vip": None, "tasks": ["a", "b"]}]},
)


@pytest.mark.parametrize(("module", "given"), list(cases()))
def test_what_the_engine_refuses(shared_database: Database, module: Any, given: dict[str, Any]) -> None:
    found = edits(module, given)
    if found is UNSAID:
        pytest.skip("the dashboard has no words for it")
    before = everything(shared_database)
    if given in ALLOWED:
        assert service.check(shared_database, ANN, found).changes
    else:
        with pytest.raises(Problem) as error:
            service.check(shared_database, ANN, found)
        assert error.value.status == 422 and error.value.detail.isprintable()
    assert everything(shared_database) == before


HERE: list[tuple[str, dict[str, Any], str]] = [
    ("overlay", {"name": "web", "subnets": [{"version": 5}]}, "there is no such option"),
    ("overlay", {"name": "web", "subnets": [{"subnet": "10.5.0.0/24", "version": 6}]}, "version 6"),
    ("overlay", {"name": "web", "subnets": [{"length": "x"}]}, "no such option"),
    ("overlay", {"name": "web", "subnets": [{"length": 33}]}, "/33"),
    ("overlay", {"name": "web", "subnets": [{"length": 4}]}, "no free /4"),
    ("overlay", {"name": "web", "subnets": "10.0.0.0/24"}, "give a list"),
    ("overlay", {"name": "web", "subnets": ["10.0.0.0/24"]}, "give a mapping"),
    ("overlay", {"name": "web", "subnets": []}, "declare at least one"),
    ("overlay", {"name": "web", "subnets": [{"subnet": "10.0.0.1/24"}]}, "the network is 10.0.0.0/24"),
    ("overlay", {"name": "web", "subnets": [{"vni": 0}]}, "a VNI is a number"),
    ("overlay", {"name": "web", "subnets": [{"vni": "x"}]}, "a VNI is a number"),
    ("overlay", {"name": "web", "subnets": [{"gateway": "10.0.0.1"}, {"gateway": "x"}]}, "gateway"),
    ("overlay", {"name": "web", "host": "h1"}, "host 'h1': there is no such option"),
    ("overlay", {"name": "web", "hosts": ["h9"]}, "no such host in the cluster"),
    ("overlay", {"name": "web", "mtu": "1e9"}, "an MTU"),
    ("overlay", {"name": "all\nof"}, "use letters"),
    ("macvlan", {"name": "lan", "parent": "eth0", "subnets": [{}]}, "subnet None"),
    ("macvlan", {"name": "lan", "parent": "eth0"}, "declare at least one"),
    ("macvlan", {"name": "lan", "host": "h1", "parent": "eth0", "subnets": [{"subnet": "192.168.1.0/24"}]}, "no such option"),
    ("bridge", {"name": "front", "host": "h1", "hosts": ["h2"]}, "that host does not have this list"),
    ("bridge", {"name": "front", "hosts": "h1"}, "give a list"),
    ("bridge", {"name": "front", "host": ["h1"]}, "use letters"),
    ("bridge", {"name": "front", "subnets": [{"vni": 5}]}, "no such option"),
    ("gwbridge", {"subnet": "fd00::/64"}, "IPv4"),
    ("gwbridge", {"gateway": "10.0.0.1"}, "gateway"),
    ("gwbridge", {"subnet": "10.98.0.0/16"}, "the VTEP of host h1"),
    ("gwbridge", {"enabled": "no"}, "use true or false"),
    ("ingress", {"subnets": [{}, {}]}, "ingress"),
    ("ingress", {"addresses": {"h9": "10.0.0.9"}}, "no such host"),
    ("ingress", {"tasks": []}, "no such option"),
    ("endpoint", end("h1", "nowhere", "a"), "there is no such network"),
    ("endpoint", end("h9", "old", "a"), "no such host"),
    ("endpoint", end("h1", "old", "a", ip="10.0.0.1.2"), "give an IPv4 address"),
    ("endpoint", end("h1", "old", "a", ip="10.61.0.0"), "it is the network address"),
    ("endpoint", end("h1", "old", "a", ip="10.61.0.1"), "gateway"),
    ("endpoint", end("h1", "old", "a", ip6="fd00::1"), "in no subnet"),
    ("endpoint", end("h1", "old", "a", publish=["80:80:80:80"]), "publish"),
    ("endpoint", end("h1", "old", "a", pid=4), "exclude each other"),
    ("endpoint", end("h1", "host", "a", ip="10.0.0.1"), "with network host"),
    ("endpoint", {"host": {"a": 1}, "network": "old", "sandbox": "a"}, "use letters"),
    ("endpoint", {"host": "h1", "network": ["old"], "sandbox": "a"}, "use letters"),
    ("service", {"name": "api", "network": "nowhere"}, "there is no such network"),
    ("service", {"name": "api", "network": "old", "vip": "10.0.0.300"}, "give an IPv4 address"),
    ("service", {"name": "api", "network": "old", "mode": "dnsrr", "vip": "10.61.0.9"}, "no virtual address"),
    ("service", {"name": "api", "network": "old", "tasks": ["nobody"]}, "no endpoint of that name"),
    ("service", {"name": "api", "network": "old", "ports": [{"target": 80}]}, "takes an ingress network"),
    ("service", {"name": "api", "network": "old", "ports": [{"target": "x"}]}, "port"),
    ("service", {"name": "api", "network": "old", "ports": 8080}, "give a list"),
    ("host", {"name": "h9", "vtep": "10.98.0.1"}, "host h1 has it"),
    ("host", {"name": "h9", "vtep": 5}, "crosshost_vtep 5"),
    ("host", {"name": "h9", "vtep": ["x"]}, "crosshost_vtep"),
    ("host", {"name": "h9", "data_path_interface": "much-too-long-a-name"}, "crosshost_data_path_interface"),
    ("host", {"name": "h9", "vtep": "10.98.0.9", "variables": {"crosshost_data_path_port": 1}}, "one port for all"),
    ("group", {"name": "crosshost2", "variables": {"crosshost_dns": []}}, ""),
]  # fmt: skip


@pytest.fixture
def cluster(operator: TestClient) -> TestClient:
    edits = [{"kind": "host", "body": {"name": f"h{n}", "vtep": f"10.98.0.{n}"}} for n in (1, 2)]
    edits.append({"kind": "overlay", "body": {"name": "old", "subnets": [{"subnet": "10.61.0.0/24"}]}})
    assert operator.post("/api/v1/changes", json={"edits": edits}).status_code == 201
    return operator


def test_what_the_dashboard_refuses(cluster: TestClient, state: Any) -> None:
    before = everything(state.db)
    wrong = []
    for kind, body, words in HERE:
        sent = {"edits": [{"kind": kind, "body": body}]}
        answer = cluster.post("/api/v1/changes", json=sent)
        told = answer.json()
        if not words:
            assert answer.status_code == 201
            before = everything(state.db)
            continue
        rehearsed = cluster.post("/api/v1/validate", json=sent).json()
        if (
            answer.status_code != 422
            or words not in told["detail"]
            or not told["detail"].isprintable()
            or rehearsed["detail"] != told["detail"]
        ):
            wrong.append((kind, body, answer.status_code, told.get("detail"), rehearsed.get("detail")))
    assert wrong == []
    assert everything(state.db) == before
