# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing a lab up and down. Each step looks at what is there, so it may follow a step that was killed half-way."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Callable, Optional

from . import cgroups, disk, network, processes, ready, rootfs, state, supervisor
from .layout import DEFAULT_MTU, MAX_HOSTS, Host, Lab, LabError, UsageError, host_number
from .state import State
from .system import attempt, check_machine, locked, remove_tree

Say = Callable[[str], None]
_SETTLE_SECONDS = 10
_REBOOT_SECONDS = 40


@contextlib.contextmanager
def _held(lab: Lab) -> Iterator[None]:
    """One command at a time changes a lab."""
    check_machine()
    with locked(lab.cache / f"{lab.name}.lock"):
        yield


def up(lab: Lab, count: Optional[int], mtu: Optional[int], say: Say) -> None:
    """Makes the lab have `count` running hosts; starts what is missing, removes what is too many."""
    with _held(lab):
        before = state.find(lab)
        wanted = _wanted(lab, before, count, mtu, say)
        _claim(lab)
        if not _switch_works(lab):
            _clear_kernel(lab)
            network.create_switch(lab, wanted.mtu)
        # Recorded before anything is made of it: a supervisor reads it, and `down` needs none of it.
        state.save(lab, wanted)
        _remove_hosts([lab.host(n) for n in range(wanted.hosts + 1, MAX_HOSTS + 1)])
        hosts = lab.hosts(wanted.hosts)
        disk.prepare_lab(lab)
        for host in hosts:
            disk.prepare_host(host)
        disk.write_access(lab, wanted.hosts)
        _start_missing(hosts)
        ready.wait(hosts, say)


def _wanted(lab: Lab, before: Optional[State], count: Optional[int], mtu: Optional[int], say: Say) -> State:
    if before is not None:
        if not (lab.cache / before.rootfs).is_dir():
            raise LabError(f"{lab.cache / before.rootfs} is gone: run `lab --name {lab.name} down` first")
        if mtu is not None and mtu != before.mtu:
            raise UsageError(f"--mtu {mtu}: the lab {lab.name} was made with {before.mtu}; run `down` first")
        return before if count is None else replace(before, hosts=count)
    return State(count or 3, mtu or DEFAULT_MTU, rootfs.ensure(lab, say).name)


def _claim(lab: Lab) -> None:
    """Marks the lab's name on this machine as this checkout's."""
    owner = lab.run / "owner"
    lab.run.mkdir(mode=0o700, exist_ok=True)
    _refuse_foreign(lab)
    owner.write_text(str(lab.checkout))


def _refuse_foreign(lab: Lab) -> None:
    try:
        owner = Path((lab.run / "owner").read_text())
    except OSError:
        return
    if owner != lab.checkout and (owner / ".lab" / lab.name).is_dir():
        raise LabError(f"a lab named {lab.name} runs from {owner}: choose another --name")


def _switch_works(lab: Lab) -> bool:
    # The rules are the last that create_switch makes.
    try:
        network.cuts(lab)
    except LabError:
        return False
    return processes.netns_id(lab.outside) is not None


def _start_missing(hosts: list[Host]) -> None:
    _settle(hosts)
    missing = _unsupervised(hosts)
    if missing:
        _stop(missing)  # a host that lost its supervisor still has the disk mounted
    for host in missing:
        supervisor.start(host)


def _unsupervised(hosts: list[Host]) -> list[Host]:
    there = processes.supervisors(hosts)
    return [h for h in hosts if not any(processes.is_supervisor(process.argv, h) for process in there)]


def _settle(hosts: list[Host]) -> None:
    """A host that has just lost its power has a supervisor for a moment, and so has one that boots: wait which it is."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < deadline:
        off = set(_unsupervised(hosts))
        found = processes.leaders(hosts)
        if all(host.number in found or host in off for host in hosts):
            return
        time.sleep(0.05)


def _stop(hosts: list[Host]) -> None:
    """Cuts the power of `hosts`."""
    processes.power_off(hosts)
    processes.kill_until_none(
        lambda: (
            processes.supervisors(hosts)
            + processes.nspawns(hosts)
            + processes.inside(host.netns for host in hosts)
        )
    )


def _remove_hosts(hosts: list[Host]) -> None:
    there = [host for host in hosts if host.folder.exists()]
    if there:
        _stop(there)
    for host in there:
        network.remove_host(host)
        remove_tree(host.folder)


def _clear_kernel(lab: Lab) -> None:
    """Ends the lab's processes and removes its namespaces and control groups."""
    processes.power_off(lab.hosts(MAX_HOSTS))
    rest = processes.kill_until_none(lambda: processes.lab_processes(lab))
    if rest:
        raise LabError("process {} does not end: {}".format(rest[0].pid, " ".join(rest[0].argv)))
    network.remove_all(lab)
    cgroups.remove(lab)
    with contextlib.suppress(OSError):  # the machine's own nspawn may use it
        supervisor.NSPAWN_RUN.rmdir()


def down(lab: Lab) -> None:
    """Removes the lab and all that it made, except the cache. May be run again, and after any crash."""
    with _held(lab):
        _refuse_foreign(lab)
        _clear_kernel(lab)
        remove_tree(lab.run)
        remove_tree(lab.inventory)
        remove_tree(lab.folder)


def reboot(lab: Lab, number: int, hard: bool, say: Say) -> None:
    """Reboots a host: its disk stays, all kernel state of its namespaces goes. `hard`: as if the power failed."""
    with _held(lab):
        host = lab.host(number)
        leader = leader_of(host)
        disconnect(host)
        if hard:
            _stop([host])
        else:
            ready.inside(leader, ["systemctl", "reboot"])
            _wait_new_leader(host, leader)
        _start_missing([host])
        ready.wait([host], say)


def _wait_new_leader(host: Host, old: processes.Process) -> None:
    deadline = time.monotonic() + _REBOOT_SECONDS
    while time.monotonic() < deadline:
        now = processes.leaders([host]).get(host.number)
        if now is not None and now != old:
            return
        if not processes.supervisors([host]):
            raise LabError(f"{host.name} did not come back: see {host.log}")
        time.sleep(0.05)
    raise LabError(f"{host.name} does not shut down: run `reboot --hard {host.name}`")


def disconnect(host: Host) -> None:
    """Ends the controller's shared ssh connection to `host`, which would wait for a host that is gone."""
    argv = ["ssh", "-F", str(host.lab.ssh / "config"), "-o", f"ControlPath={host.lab.run}/%r@%h"]
    attempt([*argv, "-O", "exit", host.name])


def leader_of(host: Host) -> processes.Process:
    """The first process of `host`. Raises LabError when the host is off."""
    leader = processes.leaders([host]).get(host.number)
    if leader is None:
        raise LabError(f"{host.name} is off: run `lab --name {host.lab.name} up`")
    return leader


def enter(lab: Lab, name: str, argv: list[str]) -> None:
    """Becomes `argv` on the host `name`, or in the namespace of the outside. Does not return."""
    check_machine()
    state.load(lab)
    if name == "outside":
        command = ["nsenter", f"--net=/run/netns/{lab.outside}", "--", *argv]
    else:
        host = lab.host(host_number(name, state.load(lab).hosts))
        command = ready.entering(leader_of(host), argv)
    os.execvpe(command[0], command, ready.environment())  # noqa: S606  (as in supervisor.boot)
