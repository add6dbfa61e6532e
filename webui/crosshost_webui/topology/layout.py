# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are in the picture of a cluster: networks are rails, hosts are columns grouped by their group, and a crossing is a
network that is on a host. Pure: the same input gives the same picture, whatever its order. All lengths in pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

MARGIN = 16
LABEL_WIDTH = 208  # of networks, left of the rails
LABEL_CHARS = 26
RAIL_STEP = 44
GROUP_HEIGHT = 30
GROUP_GAP = 14
COLUMN_LEAST, COLUMN_MOST = 34, 132
WIDTH_WANTED = 1120  # columns shrink from their most to their least to fit it
UPRIGHT_FROM = 84  # a column this wide has its name upright; narrower ones have it turned
NAME_TURNED, NAME_UPRIGHT = 132, 30
CHAR = 7.3  # of the font in the style sheet, at most
RADIUS = 12


@dataclass(frozen=True)
class Host:
    name: str
    group: str = ""


@dataclass(frozen=True)
class Network:
    kind: str
    name: str

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.name


@dataclass(frozen=True)
class Cell:
    """A network on a host. ``state``: converged, drift, or unknown: never looked at."""

    endpoints: int = 0
    state: str = "unknown"


@dataclass(frozen=True)
class Label:
    """``text``: what fits; ``full``: all of it, to point at."""

    x: float
    y: float
    text: str
    full: str


@dataclass(frozen=True)
class Column:
    host: Host
    x: float
    top: float
    bottom: float
    label: Label


@dataclass(frozen=True)
class Group:
    name: str
    x: float
    y: float
    width: float
    height: float
    label: Label


@dataclass(frozen=True)
class Rail:
    network: Network
    y: float
    left: float
    right: float
    label: Label


@dataclass(frozen=True)
class Crossing:
    host: Host
    network: Network
    cell: Cell
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Picture:
    """``turned``: names of hosts are written upwards."""

    width: float
    height: float
    turned: bool
    groups: Sequence[Group]
    columns: Sequence[Column]
    rails: Sequence[Rail]
    crossings: Sequence[Crossing]


def layout(
    hosts: Iterable[Host], networks: Iterable[Network], cells: Mapping[tuple[str, tuple[str, str]], Cell]
) -> Picture:
    """``cells``: by the host's name and the network's key; those of hosts or networks that are not shown are left out."""
    ordered = sorted(set(hosts), key=lambda host: (host.group == "", host.group, host.name))
    shown = sorted(set(networks), key=lambda network: network.key)
    step = _step(ordered)
    turned = step < UPRIGHT_FROM
    head = MARGIN + GROUP_HEIGHT + (NAME_TURNED if turned else NAME_UPRIGHT)
    bottom = head + max(len(shown), 1) * RAIL_STEP
    groups, columns = _columns(ordered, step, turned, head, bottom)
    right = max((group.x + group.width for group in groups), default=MARGIN + LABEL_WIDTH + COLUMN_MOST)
    rails = tuple(_rail(network, head + (n + 0.5) * RAIL_STEP, right) for n, network in enumerate(shown))
    crossings = tuple(
        Crossing(column.host, rail.network, cell, column.x, rail.y, RADIUS)
        for rail in rails
        for column in columns
        if (cell := cells.get((column.host.name, rail.network.key))) is not None
    )
    return Picture(right + MARGIN, bottom + MARGIN, turned, groups, columns, rails, crossings)


def _step(hosts: Sequence[Host]) -> float:
    """The width of a column."""
    gaps = len({host.group for host in hosts}) * GROUP_GAP
    room = WIDTH_WANTED - 2 * MARGIN - LABEL_WIDTH - gaps
    return min(max(room / max(len(hosts), 1), COLUMN_LEAST), COLUMN_MOST)


def _columns(
    hosts: Sequence[Host], step: float, turned: bool, head: float, bottom: float
) -> tuple[tuple[Group, ...], tuple[Column, ...]]:
    groups: list[Group] = []
    columns: list[Column] = []
    x: float = MARGIN + LABEL_WIDTH
    for name, members in groupby(hosts, key=lambda host: host.group):
        begin = x
        for host in members:
            columns.append(_column(host, x + step / 2, step, turned, head, bottom))
            x += step
        label = Label(
            begin + 8, MARGIN + GROUP_HEIGHT - 10, _fitting(name, int((x - begin - 16) / CHAR)), name
        )
        groups.append(Group(name, begin, MARGIN, x - begin, bottom - MARGIN, label))
        x += GROUP_GAP
    return tuple(groups), tuple(columns)


def _column(host: Host, x: float, step: float, turned: bool, head: float, bottom: float) -> Column:
    room = NAME_TURNED - 16 if turned else step - 8
    label = Label(x, head - 10, _fitting(host.name, int(room / CHAR)), host.name)
    return Column(host, x, head, bottom, label)


def _rail(network: Network, y: float, right: float) -> Rail:
    label = Label(MARGIN, y - 2, _fitting(network.name, LABEL_CHARS), network.name)
    return Rail(network, y, MARGIN + LABEL_WIDTH - 12, right, label)


def _fitting(text: str, chars: int) -> str:
    """As much of it as fits. Names of machines differ at their ends as often as at their beginnings, so both stay."""
    if len(text) <= chars:
        return text
    if chars < 3:
        return ""
    tail = (chars - 1) // 3
    return f"{text[: chars - 1 - tail]}…{text[len(text) - tail :]}"
