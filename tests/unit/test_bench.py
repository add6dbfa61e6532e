# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the benchmarks that decide: ratios, targets, and whether two states are the same."""

from __future__ import annotations

import pytest

from tests.bench.batch import first_difference
from tests.bench.figures import Figure, table
from tests.bench.hosts import executions


def figure(ours: list[float], other: list[float], target: float | None, at_least: bool = False) -> Figure:
    return Figure("one", "one thing", ours, other, "s", target, at_least)


def test_the_figure_is_the_median_of_the_pairs_ratios() -> None:
    found = figure([1.0, 20.0, 3.0], [2.0, 10.0, 3.0], 1.0)
    assert found.values == [0.5, 2.0, 1.0]
    assert found.value == 1.0


def test_without_another_side_the_worst_sample_counts() -> None:
    assert figure([5.0, 9.0, 7.0], [], 8.0).met is False
    assert figure([5.0, 9.0, 7.0], [], 6.0, at_least=True).met is False


@pytest.mark.parametrize(
    ("target", "at_least", "met"),
    [(1.0, False, True), (0.9, False, False), (1.0, True, True), (1.1, True, False), (None, False, None)],
)
def test_targets(target: float | None, at_least: bool, met: bool | None) -> None:
    assert figure([2.0], [2.0], target, at_least).met is met


def test_pairs_have_two_sides() -> None:
    with pytest.raises(ValueError, match="zip"):
        _ = figure([1.0, 2.0], [1.0], 1.0).values


def test_the_table_says_which_targets_are_missed() -> None:
    lines = table([figure([0.5], [0.25], 1.0), figure([0.5], [1.0], 1.0)]).splitlines()
    assert lines[1].split("  ") != lines[2].split("  ")
    assert lines[1].endswith("NOT MET")
    assert "2.00 (2.00 .. 2.00)" in lines[1]
    assert not lines[2].endswith("NOT MET") and lines[2].endswith("met")
    markdown = table([figure([0.5], [0.25], 1.0)], markdown=True).splitlines()
    assert {line.count("|") for line in markdown} == {7}


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"links": [{"mtu": 1450, "name": "br1"}]}, None),
        ({"links": [{"mtu": 1400, "name": "br1"}]}, "/links[0]/mtu: ours 1450, the other 1400"),
        ({"links": [{"mtu": 1450}]}, "/links[0]/name: only ours has it"),
        ({"links": [{"mtu": 1450, "name": "br1"}], "x": []}, "/x: only the other has it"),
        ({"links": []}, "/links: ours [{'mtu': 1450, 'name': 'br1'}], the other []"),
    ],
)
def test_the_first_difference_of_two_states(other: object, found: str | None) -> None:
    assert first_difference({"links": [{"mtu": 1450, "name": "br1"}]}, other) == found


def test_module_calls_are_counted_a_host() -> None:
    text = "<10.97.0.1> SSH: EXEC ssh ..\n<10.97.0.1> (0, b'')\n<10.97.0.12> SSH: EXEC ssh ..\n" * 2
    assert executions(text) == {"h1": 2, "h12": 2}
