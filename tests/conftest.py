# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests share: the collection's import path, the markers' conditions, Hypothesis' settings."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
from hypothesis import HealthCheck, settings

from scripts.link_collection import link_collection

COLLECTIONS = str(link_collection())
# Before any test imports Ansible: its collection loader reads the variable once.
os.environ["ANSIBLE_COLLECTIONS_PATH"] = COLLECTIONS
if COLLECTIONS not in sys.path:
    sys.path.insert(0, COLLECTIONS)

# Time limits per example say more about a busy machine than about the code.
settings.register_profile("crosshost", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("crosshost"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "crosshost"))

LAB_PROGRAMS = ("systemd-nspawn", "mmdebstrap", "ip", "ssh")


def missing_for(marker: str) -> str | None:
    """What the machine lacks for tests with this marker, or None."""
    if os.geteuid() != 0:
        return "needs root: network namespaces and netlink changes"
    if marker == "lab":
        absent = [program for program in LAB_PROGRAMS if shutil.which(program) is None]
        if absent:
            return f"needs lab hosts: {', '.join(absent)} not installed (make setup)"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what cannot run here."""
    reasons = {marker: missing_for(marker) for marker in ("root", "lab")}
    for item in items:
        for marker, reason in reasons.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
