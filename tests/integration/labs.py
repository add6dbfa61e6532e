# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of three hosts for the playbooks: running them against an inventory, and counting what they ask of the hosts."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.integration.lab_run import CHECKOUT, Lab

NAME = "t-site"
_CALL = re.compile(r"<10\.97\.0\.([0-9]+)> SSH: EXEC ")
_RECAP = re.compile(r"^(h[0-9]+) +: (.*)$", re.MULTILINE)


class Run(NamedTuple):
    """A run of ansible-playbook. ``recap``: counters by host; ``calls``: commands that were run on each host over ssh,
    counted when the run was verbose."""

    code: int
    text: str
    recap: dict[str, dict[str, int]]
    calls: Counter[str]

    def changed(self) -> dict[str, int]:
        return {host: counters["changed"] for host, counters in self.recap.items()}


class SiteLab(Lab):
    """The lab of the playbooks' tests."""

    name = NAME

    def playbook(self, playbook: str, variables: Mapping[str, Any], folder: Path, *options: str) -> Run:
        """Runs a playbook against the lab's hosts, with these variables of their group."""
        extra = folder / "cluster.yml"
        extra.write_text(yaml.safe_dump({"crosshost": {"vars": dict(variables)}}), encoding="utf-8")
        inventories = ["-i", str(CHECKOUT / ".lab" / NAME / "inventory.yml"), "-i", str(extra)]
        done = subprocess.run(
            [str(CHECKOUT / ".venv/bin/ansible-playbook"), *inventories, *options, playbook],
            cwd=CHECKOUT,
            env={**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        recap = {
            host: {name: int(count) for name, count in (one.split("=") for one in counters.split())}
            for host, counters in _RECAP.findall(done.stdout)
        }
        calls = Counter(f"h{number}" for number in _CALL.findall(done.stdout))
        return Run(done.returncode, done.stdout + done.stderr, recap, calls)


@pytest.fixture(scope="session")
def site_session() -> Iterator[SiteLab]:
    made = SiteLab()
    made.program("down")
    try:
        made.up()
        yield made
    finally:
        made.program("down")


@pytest.fixture
def site_lab(site_session: SiteLab) -> SiteLab:
    """The lab with clean hosts."""
    site_session.reset()
    return site_session
