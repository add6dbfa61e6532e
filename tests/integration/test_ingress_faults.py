# SPDX-License-Identifier: GPL-3.0-or-later
"""An ingress network whose run is refused or killed at any place: all as it was, or finished by the next run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.crosshost.network.plugins.module_utils import record
from ansible_collections.crosshost.network.plugins.module_utils.converge import converge
from ansible_collections.crosshost.network.plugins.module_utils.errors import ApplyError, CrosshostError
from ansible_collections.crosshost.network.plugins.module_utils.kinds.gwbridge import GwbridgeKind

from tests.integration.test_ingress_states import FULL, T1, Config, host, moved, net, snapshot
from tests.support import engine, eye, faults
from tests.support.mesh import GATEWAYS, SANDBOX, Mesh
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


def test_the_gateway_bridge_under_it(net: Mesh, host: Host) -> None:
    """It does not go while ports lead over it; with another in its place the network asks for that one."""
    item = net.item(1, FULL)
    host.call(engine.ingress, [item])
    other_bridge = {"name": "other", "subnet": "172.31.0.0/16", "subnet6": "fd31::/64"}

    def gateways(config: Config, state: str, target: int = -1) -> str:
        if target >= 0:
            faults.refuse_at(target)
        try:
            converge(GwbridgeKind(with_legs=state == "overridden"), config, state)
        except CrosshostError as error:
            return str(error)
        return ""

    assert "sandboxes use it" in host.call(gateways, [], "deleted")
    sound = snapshot(host)
    for target in (1, 3, 6):
        assert "was undone" in host.call(gateways, [other_bridge], "overridden", target)
        # the bridge's own settings come back with the next run of what set them
        host.call(engine.ingress, [item])
        wrong = eye.differences(sound, snapshot(host))
        assert not wrong, wrong
    assert host.call(gateways, [{"subnet": "172.29.0.0/16", "subnet6": "fd29::/64"}], "merged") == ""
    host.call(engine.endpoints, [T1], "overridden")
    host.call(engine.ingress, [item])
    assert "172.29.255.254" in host.run("ip", "-n", SANDBOX, "addr", "show", "gw0")
    host.call(gateways, [GATEWAYS], "overridden")
    host.call(engine.endpoints, [T1], "overridden")
    host.call(engine.ingress, [item])
    wrong = eye.differences(sound, snapshot(host))
    assert not wrong, wrong
