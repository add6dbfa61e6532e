# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of a cluster: nothing overlaps, all is inside, and nothing that is asked for is missing."""

from __future__ import annotations

from itertools import pairwise

from crosshost_webui.topology.layout import (
    CHAR,
    LABEL_WIDTH,
    NAME_TURNED,
    RAIL_STEP,
    Cell,
    Host,
    Network,
    Picture,
    layout,
)
from hypothesis import given
from hypothesis import strategies as st

names = st.text(min_size=1, max_size=80)
hosts = st.lists(st.builds(Host, names, st.sampled_from(["", "rack a", "rack b", "x" * 90])), max_size=60,
                 unique_by=lambda host: host.name)  # fmt: skip
networks = st.lists(
    st.builds(Network, st.sampled_from(["overlay", "bridge", "macvlan"]), names), max_size=40, unique=True
)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[list[Host], list[Network], dict[tuple[str, tuple[str, str]], Cell]]:
    some_hosts, some_networks = draw(hosts), draw(networks)
    states = st.builds(Cell, st.integers(0, 5000), st.sampled_from(["converged", "drift", "unknown"]))
    pairs = [(host.name, network.key) for host in some_hosts for network in some_networks]
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=80, unique=True)) if pairs else []
    return some_hosts, some_networks, {pair: draw(states) for pair in chosen}


def boxes(picture: Picture) -> list[tuple[float, float, float, float]]:
    """Left, top, right, bottom of everything that is drawn."""
    found = [(one.x, one.y, one.x + one.width, one.y + one.height) for one in picture.groups]
    found += [(one.x, one.top, one.x, one.bottom) for one in picture.columns]
    found += [(one.left, one.y, one.right, one.y) for one in picture.rails]
    found += [
        (one.x - one.radius, one.y - one.radius, one.x + one.radius, one.y + one.radius)
        for one in picture.crossings
    ]
    found += [
        (rail.label.x, rail.y - 14, rail.label.x + len(rail.label.text) * CHAR, rail.y + 14)
        for rail in picture.rails
    ]
    return found


@given(clusters())
def test_everything_is_inside(
    cluster: tuple[list[Host], list[Network], dict[tuple[str, tuple[str, str]], Cell]],
) -> None:
    picture = layout(*cluster)
    for left, top, right, bottom in boxes(picture):
        assert 0 <= left <= right <= picture.width
        assert 0 <= top <= bottom <= picture.height


@given(clusters())
def test_nothing_overlaps(
    cluster: tuple[list[Host], list[Network], dict[tuple[str, tuple[str, str]], Cell]],
) -> None:
    picture = layout(*cluster)
    for one, other in pairwise(picture.groups):
        assert one.x + one.width < other.x
    for left, right in pairwise(picture.columns):
        room = right.x - left.x
        assert room >= 2 * 12 + 2, "crossings of two columns touch"
        if not picture.turned:
            assert max(len(left.label.text), len(right.label.text)) * CHAR <= room
    for upper, lower in pairwise(picture.rails):
        assert lower.y - upper.y == RAIL_STEP
    for rail in picture.rails:
        assert rail.label.x + len(rail.label.text) * CHAR <= rail.left <= rail.label.x + LABEL_WIDTH
    for column in picture.columns:
        if picture.turned:
            assert len(column.label.text) * CHAR <= NAME_TURNED
    for group in picture.groups:
        assert len(group.label.text) * CHAR <= group.width


@given(clusters())
def test_nothing_is_missing_and_each_is_in_its_place(
    cluster: tuple[list[Host], list[Network], dict[tuple[str, tuple[str, str]], Cell]],
) -> None:
    some_hosts, some_networks, cells = cluster
    picture = layout(*cluster)
    assert {column.host for column in picture.columns} == set(some_hosts)
    assert {rail.network for rail in picture.rails} == set(some_networks)
    assert {(one.host.name, one.network.key): one.cell for one in picture.crossings} == cells
    x = {column.host.name: column.x for column in picture.columns}
    y = {rail.network.key: rail.y for rail in picture.rails}
    for one in picture.crossings:
        assert (one.x, one.y) == (x[one.host.name], y[one.network.key])
    for column in picture.columns:
        group = next(one for one in picture.groups if one.name == column.host.group)
        assert group.x < column.x < group.x + group.width


@given(clusters())
def test_the_order_of_the_input_says_nothing(
    cluster: tuple[list[Host], list[Network], dict[tuple[str, tuple[str, str]], Cell]],
) -> None:
    some_hosts, some_networks, cells = cluster
    assert layout(some_hosts[::-1], some_networks[::-1], cells) == layout(some_hosts, some_networks, cells)


def test_a_name_that_does_not_fit_keeps_both_ends() -> None:
    picture = layout([Host("h1")], [Network("overlay", "customer-of-the-north-production-blue")], {})
    label = picture.rails[0].label
    assert label.text == "customer-of-the-n…ion-blue"
    assert label.full == "customer-of-the-north-production-blue"
