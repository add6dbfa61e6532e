# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run may be started with: nothing that is not on a list gets through, whatever it looks like."""

from __future__ import annotations

import re
from typing import Any

import pytest
from crosshost_webui.runs.options import PLAYBOOKS, RunOptions, unknown_in
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError


def refused(**options: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        RunOptions(**{"playbook": "site", **options})
    return str(caught.value.errors()[0]["msg"])


@pytest.mark.parametrize(
    "limit",
    ["-e", "--extra-vars=x=1", "web1,-i", "web1:--help", "@/etc/passwd", "~web.*", "a b", "web1;id", "{{ x }}", "$(id)", "a\nb", "a\0", "!-x"],
)  # fmt: skip
def test_limits_that_are_refused(limit: str) -> None:
    assert "no host or group" in refused(limit=limit)


@pytest.mark.parametrize(
    ("limit", "stored"),
    [
        ("", ""),
        ("web1, web2", "web1,web2"),
        ("all:!db*", "all,!db*"),
        ("web[0:3],&rack_1", "web[0:3],&rack_1"),
        ("host-1.example.net", "host-1.example.net"),
    ],
)
def test_limits_that_are_taken(limit: str, stored: str) -> None:
    assert RunOptions(playbook="site", limit=limit).limit == stored


@given(st.text(max_size=60))
def test_no_limit_begins_with_a_dash_or_names_a_file(limit: str) -> None:
    try:
        found = RunOptions(playbook="site", limit=limit).limit
    except ValidationError:
        return
    for part in filter(None, found.split(",")):
        assert re.fullmatch(r"[!&]?[A-Za-z0-9_*][A-Za-z0-9_.*:\[\]-]*", part)


def test_tags_are_those_of_the_playbook() -> None:
    assert RunOptions(playbook="site", tags="overlay, firewall").tags == "overlay,firewall"
    assert "has no such tag" in refused(tags="--list-hosts")
    assert "has no such tag" in refused(playbook="teardown", tags="overlay")


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"ansible_connection": "local"}, "how Ansible reaches hosts"),
        ({"ansible_python_interpreter": "/bin/sh"}, "how Ansible reaches hosts"),
        ({"crosshost_state": "{{ lookup('pipe', 'id') }}"}, "a template is not taken"),
        ({"crosshost_state": "{% raw %}"}, "a template is not taken"),
        ({"crosshost_state": "everything"}, "use one of overridden, replaced, merged"),
        ({"crosshost_install_packages": "yes"}, "use true or false"),
        ({"crosshost_install_packages": 1}, "use true or false"),
        ({"crosshost_vtep": "10.0.0.1"}, "takes no such variable"),
        ({"": "x"}, "takes no such variable"),
    ],
)
def test_variables_that_are_refused(variables: dict[str, Any], reason: str) -> None:
    assert reason in refused(variables=variables)


def test_variables_that_are_taken() -> None:
    found = RunOptions(
        playbook="site", variables={"crosshost_state": "merged", "crosshost_install_packages": False}
    )
    assert found.variables == {"crosshost_state": "merged", "crosshost_install_packages": False}
    assert RunOptions(playbook="doctor", variables={"crosshost_doctor_peers": 0}).variables
    assert "number from 0 to" in refused(playbook="doctor", variables={"crosshost_doctor_peers": 1000})


def test_other_things_that_are_refused() -> None:
    refused(playbook="../../etc/passwd")
    refused(nonsense=1)
    refused(forks=0)
    refused(secrets=[-1])
    refused(check="yes")


def test_what_is_stored_gives_the_same_again() -> None:
    found = RunOptions(
        playbook="site", check=True, limit="web1", tags="overlay", variables={"crosshost_state": "merged"}
    )
    assert RunOptions(**found.stored()) == found
    assert found.stored()["playbook"] == "site"


def test_names_of_a_limit_are_looked_up() -> None:
    groups, hosts = {"crosshost": {}, "rack1": {}}, {"web1": {}}
    assert unknown_in("web1,!rack1,all,web*", groups, hosts) == ""
    assert unknown_in("web1,wbe2", groups, hosts) == "wbe2"


def test_every_playbook_is_in_the_collection() -> None:
    from crosshost_webui.executor import command

    for name in PLAYBOOKS:
        assert command.playbook(name).is_file(), name
