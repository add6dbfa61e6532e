# SPDX-License-Identifier: GPL-3.0-or-later
"""An ingress network whose run is refused or killed at any place: all as it was, or finished by the next run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.crosshost.network.plugins.module_utils import record
from ansible_collections.crosshost.network.plugins.module_utils.errors import ApplyError

from tests.integration.test_ingress_states import FULL, host, moved, net
from tests.support import engine, eye, faults
from tests.support.mesh import Mesh
from tests.support.world import Host

pytestmark = [pytest.mark.root, pytest.mark.slow]
__all__ = ["host", "net"]  # fixtures

STEPS: dict[str, tuple[bool, Callable[[Mesh], object]]] = {
    "create": (False, lambda net: engine.ingress([net.item(1, FULL)])),
    "move": (True, lambda net: engine.ingress([moved(net, 1)], "replaced")),
    "rename": (True, lambda net: engine.ingress([{**net.item(1, FULL), "name": "mesh"}], "overridden")),
    "remove": (True, lambda _net: engine.ingress([], "overridden")),
}

STRIDES = {"create": 3, "move": 2, "rename": 3, "remove": 1}


def refuse(run: Callable[[Mesh], object], net: Mesh, target: int) -> tuple[str, int]:
    places = faults.refuse_at(target)
    try:
        run(net)
    except ApplyError as error:
        return str(error), places.count
    return "", places.count


@pytest.mark.parametrize("step", STEPS)
def test_a_refusal_anywhere_leaves_all_as_it_was(net: Mesh, host: Host, step: str) -> None:
    """Place by place; of long runs every second or third."""
    there, run = STEPS[step]
    if there:
        host.call(engine.ingress, [net.item(1, FULL)])
    was = host.call(eye.snapshot), host.call(record.load, "ingress")
    target = 0
    while True:
        error, count = host.call(refuse, run, net, target)
        if not error:
            break
        assert error.endswith("everything done before it was undone"), f"place {target}: {error}"
        wrong = eye.differences(was[0], host.call(eye.snapshot))
        assert not wrong, f"place {target}: {error}: afterwards:\n{wrong}"
        assert host.call(record.load, "ingress") == was[1]
        target += STRIDES[step]
    assert target >= count > 10, f"only {count} places: the harness misses writes"


@pytest.mark.parametrize("step", ["move", "remove"])
def test_a_killed_run_is_finished_by_the_next(net: Mesh, host: Host, step: str) -> None:
    there, run = STEPS[step]
    if there:
        host.call(engine.ingress, [net.item(1, FULL)])
    run_it = lambda: run(net)  # noqa: E731
    host.call(run_it)
    sound = host.call(eye.snapshot)
    target, killed = 0, True
    while killed:
        host.call(engine.ingress, [net.item(1, FULL)] if there else [], "overridden")
        ended = host.fork(lambda place=target: (faults.kill_at(place), run_it()))  # type: ignore[misc]
        killed = ended.signal != 0
        host.call(run_it)
        wrong = eye.differences(sound, host.call(eye.snapshot))
        assert not wrong, f"place {target}: {wrong}"
        target += STRIDES[step] + 1
    assert target > 10
