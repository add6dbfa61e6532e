# SPDX-License-Identifier: GPL-3.0-or-later
"""Services: whole converges against ``nft -f`` loading the same rules, and connections through virtual addresses against
HAProxy. In private mount and network namespaces."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ansible_collections.crosshost.network.plugins.module_utils.converge import converge
from ansible_collections.crosshost.network.plugins.module_utils.kinds.endpoint import EndpointKind
from ansible_collections.crosshost.network.plugins.module_utils.kinds.overlay import OverlayKind
from ansible_collections.crosshost.network.plugins.module_utils.kinds.service import ServiceKind

from tests.support.child import CLONE_NEWNET, system_call

from . import batch
from .figures import BenchError, Figure
from .kernel import private_host, timed, within

TASKS = 3
SANDBOXES = 3
_PDEATHSIG = 1
_NO_LINGER = struct.pack("ii", 1, 0)  # a reset instead of minutes in TIME_WAIT: the ports have to last
_CALLERS = 8  # processes; in one, an event loop would cost more than the connections
_PORT = 80
# In front of the same tasks, in a sandbox of its own in the same network; as many threads as there are processors.
_HAPROXY = """
global
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen shop
  bind {own}:{port}
  balance random
"""


def declared(network: str, block: int, count: int) -> list[dict[str, Any]]:
    """Services of a network; the tasks of all of them are different endpoints, but for the first one's."""
    return [
        {
            "network": network,
            "name": f"s{place}",
            "vip": f"10.{block}.{200 + place // 250}.{place % 250 + 1}",
            "tasks": [
                {"name": f"t{one}", "ip": f"10.{block}.{number // 250}.{number % 250 + 2}"}
                for one, number in enumerate(range(place * TASKS, place * TASKS + TASKS))
            ],
        }
        for place in range(count)
    ]


def _join(network: str, block: int, sandboxes: dict[str, str]) -> None:
    """The network, and sandboxes with these addresses in it."""
    item = {"name": network, "internal": True, "subnets": [{"subnet": f"10.{block}.0.0/16", "vni": block}]}
    converge(OverlayKind({"data_path_address": batch.VTEP}), [item], "merged")
    joined = {"network": network, "create": True}
    ends = [{**joined, "sandbox": name, "ip": address} for name, address in sandboxes.items()]
    converge(EndpointKind(), ends, "merged")


# -- converging


def services(folder: Path, count: int, pairs: int) -> list[Figure]:
    """First converges of ``count`` services in the host's sandboxes, and the same again with nothing to change."""
    config = declared("web", 100, count)
    boxes = [f"box{place}" for place in range(SANDBOXES)]
    firsts, agains, others = [], [], []
    with private_host(folder) as host:
        within(host, _join, "web", 100, {name: f"10.100.100.{place + 2}" for place, name in enumerate(boxes)})
        _expect(within(host, _converge, config, "merged"), True)
        text, wanted = within(host, _list, boxes[0])
        within(host, Path("/run/rules.nft").write_text, text)
        commands = [["nsenter", f"--net=/run/netns/{name}", "nft", "-f", "/run/rules.nft"] for name in boxes]
        _expect(within(host, _converge, [], "deleted"), True)
        for place in range(pairs):
            for ours in (True, False) if place % 2 == 0 else (False, True):
                if ours:
                    firsts.append(_expect(within(host, _converge, config, "merged"), True))
                    agains.append(_expect(within(host, _converge, config, "merged"), False))
                else:
                    others.append(within(host, timed, commands))
                for name in boxes:
                    if within(host, _list, name)[1] != wanted:
                        raise BenchError(f"the rules in {name} are not the same")
                if ours:
                    _expect(within(host, _converge, [], "deleted"), True)
                else:
                    within(host, _flush, boxes)
    what = f"{count:,} services of {TASKS} tasks in {SANDBOXES} sandboxes"
    return [
        Figure("services", f"{what}: whole converge, and nft -f", firsts, others, "s", 2.0),
        Figure("services-again", f"{what}: nothing to change, and the first", agains, firsts, "s", 0.5),
    ]


def _converge(declared_: list[dict[str, Any]], state: str) -> tuple[float, bool]:
    config = json.loads(json.dumps(declared_))  # as a module gets it: in memory of its own
    begun = time.perf_counter()
    outcome = converge(ServiceKind(), config, state)
    return time.perf_counter() - begun, outcome.changed


def _expect(done: tuple[float, bool], changed: bool) -> float:
    if done[1] is not changed:
        raise BenchError(f"a converge says changed={done[1]}, which is wrong here")
    return done[0]


def _list(sandbox: str) -> tuple[str, list[str]]:
    """The rules in nft's own language, and their lines in an order of their own: the two sides write in different ones."""
    text = batch.run(["nsenter", f"--net=/run/netns/{sandbox}", "nft", "list", "ruleset"])
    parts = text.removeprefix("table inet crosshost {").removesuffix("}\n").split("\n\n")
    return text, sorted(part.strip() for part in parts)


def _flush(boxes: list[str]) -> None:
    for name in boxes:
        batch.run(["nsenter", f"--net=/run/netns/{name}", "nft", "flush", "ruleset"])


# -- connections


def connections(folder: Path, count: int, rounds: int, size: int) -> list[Figure]:
    """Connections a second through a virtual address: beside ``count`` others, alone, and through HAProxy."""
    with private_host(folder) as host:
        found = within(host, _measure, count, rounds, size)
    return [
        Figure(
            "service-rate",
            f"connections through one of {count:,} virtual addresses, and through the only one",
            found["many"],
            found["one"],
            "/s",
            0.9,
            at_least=True,
        ),
        Figure(
            "service-haproxy",
            "connections through a virtual address, and through HAProxy before the same tasks",
            found["many"],
            found["haproxy"],
            "/s",
            1.5,
            at_least=True,
        ),
    ]


def _measure(count: int, rounds: int, size: int) -> dict[str, list[float]]:
    with contextlib.ExitStack() as stack:
        targets = {}
        for network, block, number in (("one", 101, 1), ("many", 102, count)):
            config = declared(network, block, number)
            # the first service's tasks have servers, and the last one's address leads to them
            config[-1]["tasks"] = config[0]["tasks"]
            tasks = [str(task["ip"]) for task in config[0]["tasks"]]
            boxes = {f"{network}{place}": address for place, address in enumerate(tasks)}
            own = f"10.{block}.100.2"
            _join(network, block, {**boxes, f"{network}-lb": own, f"{network}-c": f"10.{block}.100.3"})
            converge(ServiceKind(), config, "merged")
            for name, address in boxes.items():
                stack.enter_context(_process(name, _serve, address, name[-1:].encode()))
            targets[network] = (f"{network}-c", str(config[-1]["vip"]))
        stack.enter_context(_haproxy("many-lb", own, tasks))
        targets["haproxy"] = ("many-c", own)
        found: dict[str, list[float]] = {name: [] for name in targets}
        for place in range(rounds + 1):
            names = list(targets)
            for name in names[place % 3 :] + names[: place % 3]:
                rate = _rate(*targets[name], size)
                if place:  # the first round warms up
                    found[name].append(rate)
        return found


@contextlib.contextmanager
def _process(sandbox: str, function: Callable[..., None], *args: Any) -> Iterator[None]:
    """A child in a sandbox that does this until it is killed."""
    pid = _fork(sandbox, lambda: function(*args))
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _fork(sandbox: str, function: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            system_call("prctl", _PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            with open(f"/run/netns/{sandbox}", "rb") as file:
                system_call("setns", file.fileno(), CLONE_NEWNET)
            function()
        finally:
            os._exit(0)
    return pid


def _serve(address: str, says: bytes) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, _PORT))
        sock.listen(4096)
        while True:
            connection, _peer = sock.accept()
            with connection, contextlib.suppress(OSError):
                connection.send(says)


@contextlib.contextmanager
def _haproxy(sandbox: str, own: str, tasks: list[str]) -> Iterator[None]:
    config = Path("/run/haproxy.cfg")
    servers = [f"  server t{place} {address}:{_PORT}" for place, address in enumerate(tasks)]
    config.write_text(_HAPROXY.format(own=own, port=_PORT) + "\n".join([*servers, ""]))
    enter = ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/run/netns/{sandbox}"]
    process = subprocess.Popen(
        [*enter, "haproxy", "-db", "-f", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        time.sleep(1)
        if process.poll() is not None:
            assert process.stderr
            raise BenchError(
                f"haproxy ended: {process.stderr.read().decode(errors='replace').strip()[-300:]}"
            )
        yield
    finally:
        process.kill()
        process.wait()


def _rate(sandbox: str, address: str, size: int) -> float:
    """Connections a second, each until the task has said who it is."""
    reader, writer = os.pipe()
    begun = time.perf_counter()
    pids = [_fork(sandbox, lambda: _call(writer, address, size // _CALLERS)) for _ in range(_CALLERS)]
    os.close(writer)
    with open(reader, encoding="ascii") as answers:
        drawn = Counter(answers.read())
    seconds = time.perf_counter() - begun
    for pid in pids:
        os.waitpid(pid, 0)
    if drawn.total() != size // _CALLERS * _CALLERS:
        raise BenchError(f"of {size} connections to {address} only {drawn.total()} were answered")
    if len(drawn) != TASKS or min(drawn.values()) < size / TASKS / 2:
        raise BenchError(f"the tasks behind {address} were not drawn alike: {dict(drawn)}")
    return drawn.total() / seconds


def _call(writer: int, address: str, count: int) -> None:
    target, drawn = (address, _PORT), bytearray()
    for _ in range(count):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        sock.connect(target)
        drawn += sock.recv(8)
        sock.close()
    os.write(writer, drawn)
