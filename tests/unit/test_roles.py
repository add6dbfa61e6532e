# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles and playbooks say of themselves what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.crosshost.network.plugins.module_utils.spec import (
    cluster,
    cluster_bridges,
    cluster_endpoints,
    cluster_hosts,
    cluster_ingress,
    cluster_macvlan,
    cluster_networks,
    cluster_ports,
    cluster_services,
    gwbridge,
    subnets,
)

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("bridge", "firewall", "gwbridge", "host", "ingress", "macvlan", "overlay", "services")
NETWORKS = {
    "crosshost_networks": ("overlay", cluster_networks.NETWORK_OPTIONS, subnets.OPTIONS),
    "crosshost_bridge_networks": ("bridge", cluster_bridges.OPTIONS, subnets.PLAIN_OPTIONS),
    "crosshost_macvlan_networks": ("macvlan", cluster_macvlan.OPTIONS, subnets.PLAIN_OPTIONS),
    "crosshost_ingress": ("ingress", cluster_ingress.OPTIONS, subnets.OPTIONS),
}
OTHERS = {
    "crosshost_endpoints": ("overlay", cluster_endpoints.OPTIONS),
    "crosshost_services": ("services", cluster_services.OPTIONS),
    "crosshost_dns": ("services", cluster_hosts.DNS_OPTIONS),
    "crosshost_gwbridge": ("gwbridge", gwbridge.OPTIONS),
}
_VARIABLE = re.compile(r"\bcrosshost_[a-z0-9_]+")
# made by the roles themselves
_MADE = {"crosshost_view", "crosshost_host_check"}


def specs(role: str) -> dict[str, Any]:
    text = (ROOT / "roles" / role / "meta/argument_specs.yml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)["argument_specs"]
    return found


def options(role: str) -> dict[str, Any]:
    return {name: one for entry in specs(role).values() for name, one in entry["options"].items()}


def undescribed(where: str, found: dict[str, Any]) -> list[str]:
    wrong = [
        f"{where}{name}" for name, one in found.items() if not one.get("description") or not one.get("type")
    ]
    for name, one in found.items():
        wrong += undescribed(f"{where}{name}.", one.get("options", {}))
    return wrong


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_and_variable_is_described(role: str) -> None:
    entries = {path.stem for path in (ROOT / "roles" / role / "tasks").glob("*.yml")} - {"view", "packages"}
    assert set(specs(role)) == entries
    assert all(entry["description"] and entry["short_description"] for entry in specs(role).values())
    assert undescribed("", options(role)) == []


@pytest.mark.parametrize("role", ROLES)
def test_tasks_use_described_variables_only(role: str) -> None:
    text = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "roles" / role / "tasks").glob("*.yml")
    )
    used = {name for name in _VARIABLE.findall(text) if name not in _MADE}
    assert used <= set(options(role))


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_the_documented_ones(role: str) -> None:
    path = ROOT / "roles" / role / "defaults/main.yml"
    defaults = yaml.safe_load(path.read_text(encoding="utf-8"))
    documented = {name: one["default"] for name, one in options(role).items() if "default" in one}
    # the view has [] for these by itself; a role's default would hide a group's variable from nobody, but say it twice
    documented = {name: value for name, value in documented.items() if value != []}
    assert defaults == documented


def test_the_roles_together_describe_what_the_view_reads() -> None:
    described = {name for role in ROLES for name in options(role)}
    assert set(cluster.VARIABLES) <= described
    assert described - set(cluster.VARIABLES) == {
        "crosshost_install_packages",
        "crosshost_packages",
        "crosshost_restore_at_boot",
    }


def test_nested_options_are_those_of_the_parsers() -> None:
    for variable, (role, wanted, blocks) in NETWORKS.items():
        found = options(role)[variable]["options"]
        assert set(found) == set(wanted)
        assert set(found["subnets"]["options"]) == set(blocks)
    for variable, (role, wanted) in OTHERS.items():
        assert set(options(role)[variable]["options"]) == set(wanted)


def test_the_inventorys_document_names_every_variable() -> None:
    text = (ROOT / "docs/inventory.md").read_text(encoding="utf-8")
    described = {name for role in ROLES for name in options(role)}
    assert {name for name in described if f"`{name}`" not in text} == set()
    nested = {name for _role, wanted, blocks in NETWORKS.values() for name in (*wanted, *blocks)}
    nested |= {name for _role, wanted in OTHERS.values() for name in wanted}
    nested |= {*cluster_ports.OPTIONS, *cluster_services.TASK_OPTIONS}
    assert {name for name in nested if f"`{name}`" not in text} == set()
    assert set(_VARIABLE.findall(text)) <= described | _MADE


def test_examples_are_right() -> None:
    """Every inventory in docs/examples is a cluster that the view accepts."""
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar
    from ansible.vars.hostvars import HostVars
    from ansible.vars.manager import VariableManager
    from ansible_collections.crosshost.network.plugins.plugin_utils.inventory import Reader, members

    paths = sorted((ROOT / "docs/examples").glob("*.yml"))
    assert paths
    for path in paths:
        loader = DataLoader()
        inventory = InventoryManager(loader=loader, sources=[str(path)])
        variables = VariableManager(loader=loader, inventory=inventory)
        hostvars = HostVars(inventory=inventory, variable_manager=variables, loader=loader)
        groups = inventory.get_groups_dict()
        hosts = members(groups, None)
        own = variables.get_vars(host=inventory.get_host(hosts[0]))

        def evaluate(value: Any, given: Any, loader: Any = loader) -> Any:
            return Templar(loader=loader, variables=given).template(value)

        reader = Reader(hostvars, hosts[0], own, evaluate)
        found = cluster.parse_cluster([reader.declared(host) for host in hosts], groups)
        assert found.networks or any(found.bridges.values()) or any(found.macvlans.values()), path
        assert found.warnings == (), path


@pytest.mark.parametrize("name", ["site", "teardown"])
def test_the_roots_playbook_is_the_collections(name: str) -> None:
    (play,) = yaml.safe_load((ROOT / f"{name}.yml").read_text(encoding="utf-8"))
    assert play["ansible.builtin.import_playbook"] == f"crosshost.network.{name}"


def test_site_goes_through_the_roles_in_order_and_teardown_back() -> None:
    order = {}
    for name in ("site", "teardown"):
        (play,) = yaml.safe_load((ROOT / f"playbooks/{name}.yml").read_text(encoding="utf-8"))
        assert play["gather_facts"] is False and play["become"] is True
        order[name] = [
            task["ansible.builtin.import_role"]["name"].rpartition(".")[2] for task in play["tasks"]
        ]
    assert order == {
        "site": ["host", "firewall", "gwbridge", "bridge", "macvlan", "overlay", "services", "ingress"],
        "teardown": ["ingress", "services", "overlay", "macvlan", "bridge", "gwbridge", "firewall", "host"],
    }
    assert {*order["site"]} == {*ROLES}


def test_a_kind_that_is_neither_declared_nor_recorded_costs_no_call() -> None:
    """The roles of what not every cluster has call their modules under a condition that names the module's own record."""
    calls = {}
    for role in ("bridge", "macvlan", "services", "ingress"):
        path = ROOT / "roles" / role / "tasks/main.yml"
        for task in yaml.safe_load(path.read_text(encoding="utf-8")):
            for action in task:
                if action.startswith("crosshost.network."):
                    calls[action.rpartition(".")[2]] = task["when"]
    assert set(calls) == {"bridge_network", "macvlan", "service", "names", "ingress"}
    for module, condition in calls.items():
        recorded = f"'{module}' in (crosshost_host_check.recorded | default(['{module}']))"
        assert condition.endswith(f"or (crosshost_state == 'overridden' and {recorded})"), module
