# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of several files: virtual machines, started once for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.vms.image import missing
from tests.support.vms.machine import Machine, running


@pytest.fixture(scope="session")
def booted() -> Iterator[list[Machine]]:
    """Two machines with a stock Debian kernel, eth1 of each on one wire."""
    absent = missing()
    if absent:
        pytest.skip(f"needs virtual machines: {', '.join(absent)} not installed (make setup)")
    with running(2) as machines:
        yield machines


@pytest.fixture
def machines(booted: list[Machine]) -> list[Machine]:
    """The two machines, with nothing on them of an earlier test."""
    for machine in booted:
        machine.reset()
    return booted
