# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures: samples, their ratio pair by pair, a target, and the table that shows them. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple


class BenchError(Exception):
    """A measurement failed: it says nothing about a target. One line."""


class Figure(NamedTuple):
    """One measured figure. ``ours`` and ``other`` are samples in ``unit``; the one measured right after, or before,
    ``ours[i]`` is ``other[i]``, so that a busy machine slows both of a pair. Without ``other`` the value is ours alone.

    ``target`` is the greatest value that is good enough (with ``at_least``: the least), or None for a figure that only
    explains another."""

    name: str
    what: str
    ours: list[float]
    other: list[float]
    unit: str
    target: float | None
    at_least: bool = False

    @property
    def values(self) -> list[float]:
        """What the target is about, a sample: the ratios of the pairs, or our samples themselves."""
        if not self.other:
            return self.ours
        return [a / b for a, b in zip(self.ours, self.other, strict=True)]

    @property
    def value(self) -> float:
        """The median ratio; without another side the worst sample, because a limit is a limit for each."""
        if self.other or self.target is None:
            return statistics.median(self.values)
        return min(self.values) if self.at_least else max(self.values)

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    def as_dict(self) -> dict[str, Any]:
        """For the JSON file: the samples and all that is worked out from them."""
        return {
            **self._asdict(),
            "value": self.value,
            "value_min": min(self.values),
            "value_max": max(self.values),
            "met": self.met,
        }


HEADER = ("figure", "ours", "the other", "ratio (min .. max)", "target", "")


def table(figures: Sequence[Figure], markdown: bool = False) -> str:
    """One line a figure: the medians of both sides, the value with its spread, the target, and whether it is met."""
    rows = [HEADER, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append(f"| {' | '.join(cells)} |" if markdown else "  ".join(cells).rstrip())
    if markdown:
        lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    return "\n".join(lines)


def _row(figure: Figure) -> tuple[str, ...]:
    ours = statistics.median(figure.ours) if figure.other else figure.value
    other = _amount(statistics.median(figure.other), figure.unit) if figure.other else "-"
    spread = "-"
    if figure.other:
        spread = f"{figure.value:.2f} ({min(figure.values):.2f} .. {max(figure.values):.2f})"
    return figure.what, _amount(ours, figure.unit), other, spread, _target(figure), _verdict(figure)


def _target(figure: Figure) -> str:
    if figure.target is None:
        return "-"
    sign = ">=" if figure.at_least else "<="
    return f"{sign} {figure.target:g}" + ("" if figure.other else f" {figure.unit}")


def _verdict(figure: Figure) -> str:
    return {None: "", True: "met", False: "NOT MET"}[figure.met]


def _amount(value: float, unit: str) -> str:
    if unit == "calls":
        return f"{value:.0f} calls"
    if unit == "s" and value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.2f} {unit}" if value < 100 else f"{value:.0f} {unit}"
