# SPDX-License-Identifier: GPL-3.0-or-later
"""What underlay_check makes of answers; and the echo itself, to this machine."""

from __future__ import annotations

import subprocess
from typing import Any, Optional

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.kernel import echo, netns
from ansible_collections.crosshost.network.plugins.module_utils.kernel.echo import Probe
from ansible_collections.crosshost.network.plugins.modules import underlay_check


def answering(monkeypatch: pytest.MonkeyPatch, most: dict[str, int]) -> None:
    """Addresses that answer to packets up to a size."""

    def ask(probes: Any, _seconds: float) -> dict[Probe, Optional[float]]:
        return {one: 0.5 if one.size <= most.get(one.address, 0) else None for one in probes}

    monkeypatch.setattr(echo, "ask", ask)


def test_what_is_told_of_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, {"10.0.0.2": 1500, "10.0.0.3": 1400, "10.0.0.5": 1450})
    peers = [
        {"host": "b", "vtep": "10.0.0.2", "mtu": None},
        {"host": "c", "vtep": "10.0.0.3", "mtu": None},
        {"host": None, "vtep": "10.0.0.4", "mtu": None},
        {"host": "e", "vtep": "10.0.0.5", "mtu": 1450},
    ]
    found = underlay_check.check(peers, 1500, 1)
    assert [(one["host"], one["reached"], one["full_size"], one["size"]) for one in found["peers"]] == [
        ("b", True, True, 1500),
        ("c", True, False, 1500),
        ("10.0.0.4", False, False, 1500),
        ("e", True, True, 1450),
    ]
    assert len(found["problems"]) == 2
    assert "not to 1500: declare crosshost_underlay_mtu" in found["problems"][0]
    assert "does not answer" in found["problems"][1]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (([{"vtep": "no"}], 1500, 1.0), "vtep 'no'"),
        (([{"vtep": "10.0.0.2"}], 20, 1.0), "mtu 20"),
        (([{"vtep": "10.0.0.2", "mtu": 70000}], 1500, 1.0), "mtu 70000"),
        (([], 1500, 0.0), "timeout 0.0"),
        (([{"vtep": "fd00::1", "mtu": None}], 1500, 1.0), ""),
    ],
)
def test_options(options: Any, word: str) -> None:
    told = underlay_check.wrong_in(*options)
    assert (word in told) if word else told == ""


@pytest.mark.root
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_this_machine_answers(address: str) -> None:
    with netns.new():
        subprocess.run(["ip", "link", "set", "lo", "up", "mtu", "9000"], check=True)
        small, large, larger = Probe(address, 64), Probe(address, 9000), Probe(address, 9001)
        found = echo.ask([small, large, larger], 0.6)
    assert found[small] is not None and found[large] is not None and found[larger] is None


@pytest.mark.root
def test_nobody_answers_where_there_is_nobody() -> None:
    with netns.new():
        assert echo.ask([Probe("192.0.2.1", 64), Probe("2001:db8::1", 1280)], 0.2) == {
            Probe("192.0.2.1", 64): None,
            Probe("2001:db8::1", 1280): None,
        }
