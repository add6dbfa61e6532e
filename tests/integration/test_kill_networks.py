# SPDX-License-Identifier: GPL-3.0-or-later
"""As test_kill.py, for networks of the other drivers, endpoints in them, services, ingress and names, all on one host: what
is refused at any place leaves everything as it was; what is killed at any place is finished by the next run. There is no
systemd here: a stand-in for systemctl remembers what it was told."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.converge import Outcome, converge
from ansible_collections.crosshost.network.plugins.module_utils.errors import ApplyError
from ansible_collections.crosshost.network.plugins.module_utils.kinds.names import NamesKind

from tests.support import engine, eye, faults
from tests.support.child import share, system_call
from tests.support.scenarios import GWBRIDGE
from tests.support.world import Host, command, world

pytestmark = [pytest.mark.root, pytest.mark.slow]
Config = list[dict[str, Any]]
Declared = dict[str, Config]
DEFAULTS = {"data_path_address": "10.98.0.1"}


def names(config: Config, state: str) -> Outcome:
    return converge(NamesKind(), config, state)


def overlays(config: Config, state: str) -> Outcome:
    return engine.overlays(config, state, DEFAULTS)


# in the order in which a host's roles run them
RUNS = {
    "gwbridge": engine.gwbridges,
    "overlay_network": overlays,
    "bridge_network": engine.bridges,
    "macvlan": engine.macvlans,
    "endpoint": engine.endpoints,
    "service": engine.services,
    "ingress": engine.ingress,
    "names": names,
}

WEB = {
    "name": "web",
    "control_plane": "static",
    "subnets": [{"subnet": "10.50.0.0/24", "vni": 5000}, {"subnet": "fd50::/64"}],
    "endpoints": [{"ip": "10.50.0.99", "vtep": "10.98.0.2"}],
}
SHOP = {"name": "shop", "subnets": [{"subnet": "10.70.0.0/24"}, {"subnet": "fd70::/64"}]}
LAN = {
    "name": "lan",
    "parent": "eth1",
    "subnets": [{"subnet": "10.98.0.0/24", "gateway": "10.98.0.254", "ip_range": "10.98.0.128/25"}],
    "host_range": ["10.98.0.128/28"],
    "shim": "10.98.0.128",
}


def end(network: str, sandbox: str, **more: Any) -> dict[str, Any]:
    return {"network": network, "sandbox": sandbox, "create": True, **more}


ENDS = [
    *(
        end("web", f"t{n}", ip=f"10.50.0.{10 + n}", ip6=f"fd50::{10 + n}", publish=["9090:90"] * (n == 1))
        for n in (1, 2, 3)
    ),
    end("shop", "b", publish=["8081:80", "5353:53/udp"]),
    end("lan", "b", gw_priority=1, interface="lan0"),
    end("lan", "m", ip="10.98.0.150"),
    {"network": "container:b", "sandbox": "shared", "create": True},
]
TASKS = [{"name": f"t{n}", "ip": f"10.50.0.{10 + n}", "ip6": f"fd50::{10 + n}"} for n in (1, 2, 3)]
SERVICE = {"network": "web", "name": "shop", "vip": "10.50.0.100", "vip6": "fd50::100", "tasks": TASKS}
NEAR = {"name": "web.t1", "sandbox": "t1", "ip": "10.255.0.101", "ip6": "fd55::101"}
FAR = {"ip": "10.255.0.102", "ip6": "fd55::102"}
PORT = {"published": 8080, "target": 80, "tasks": [{"ip": "10.255.0.101", "ip6": "fd55::101"}, FAR]}
INGRESS = {
    "subnets": [{"subnet": "10.255.0.0/24", "vni": 4096}, {"subnet": "fd55::/64"}],
    "address": "10.255.0.11",
    "address6": "fd55::11",
    "data_path_address": "10.98.0.1",
    "endpoints": [{**FAR, "vtep": "10.98.0.2"}],
    "legs": [NEAR],
    "ports": [PORT],
}
RECORDS = [{"name": f"t{n}", "addresses": [f"10.50.0.{10 + n}"]} for n in (1, 2, 3)]
NAMES = {"network": "web", "records": RECORDS, "upstream": ["10.98.0.2"]}
FULL: Declared = {
    "gwbridge": [GWBRIDGE],
    "overlay_network": [WEB],
    "bridge_network": [SHOP],
    "macvlan": [LAN],
    "endpoint": ENDS,
    "service": [SERVICE],
    "ingress": [INGRESS],
    "names": [NAMES],
}

# -- what each kind changes to: everything that can change in it does, and something comes and something goes

OTHER: Declared = {
    "bridge_network": [
        {**SHOP, "icc": False, "mtu": 1400, "host_ip": "10.98.0.1", "ip_masquerade": False},
        {"name": "back", "subnets": [{"subnet": "10.71.0.0/24"}], "internal": True},
    ],
    "macvlan": [
        {**LAN, "shim": "10.98.0.140", "host_range": ["10.98.0.144/28"], "promiscuous": True, "mtu": 1400}
    ],
    "endpoint": [
        end("web", "t1", ip="10.50.0.21", ip6="fd50::11"),
        end("web", "t2", ip="10.50.0.12", ip6="fd50::12", publish=["9090:91", "9091:91/udp"]),
        end("shop", "t3", publish=["8081:80"]),
        end("shop", "b", ip="10.70.0.77", publish=["8082:80", "5353:53/udp"], gw_priority=2),
        end("lan", "b", interface="lan1"),
        end("lan", "n"),
        {"network": "none", "sandbox": "shared", "create": True},
    ],
    "service": [
        {**SERVICE, "vip6": "fd50::101", "affinity": "source", "tasks": [{**TASKS[0], "weight": 5}, TASKS[1]]},
        {**SERVICE, "name": "cart", "vip": "10.50.0.101", "vip6": "fd50::102", "tasks": []},
    ],
    "ingress": [
        {
            **INGRESS,
            "address": "10.255.0.12",
            "legs": [NEAR, {"name": "web.t2", "sandbox": "t2", "ip": "10.255.0.103", "ip6": "fd55::103"}],
            "ports": [
                {**PORT, "target": 81, "tasks": [{"ip": "10.255.0.103", "ip6": "fd55::103"}]},
                {**PORT, "published": 5354, "protocol": "udp"},
                {**PORT, "published": 8443, "keep_client_address": True, "local": [{"sandbox": "t1"}]},
            ],
        }
    ],
    "names": [{**NAMES, "records": [*RECORDS[1:], {"name": "db", "addresses": ["10.50.0.99"]}]}],
}  # fmt: skip
# what needs a kind has to wait for it: these come after it, and go before it
NEEDED_BY = {
    "bridge_network": ("endpoint", "service", "ingress", "names"),
    "macvlan": ("endpoint", "service", "ingress", "names"),
    "endpoint": ("service", "ingress", "names"),
}
KINDS = tuple(OTHER)


def without(kind: str) -> Declared:
    return {one: config for one, config in FULL.items() if one not in (kind, *NEEDED_BY.get(kind, ()))}


def bring(declared: Declared) -> list[str]:
    """The whole host to what is declared. Which kinds had something to do."""
    done = [kind for kind in reversed(RUNS) if kind not in declared and RUNS[kind]([], "overridden").changed]
    return done + [kind for kind, run in RUNS.items() if kind in declared and run(declared[kind], "overridden").changed]


class Step:
    """One run of one kind: from a host that is as ``before``, to ``config``."""

    def __init__(self, kind: str, before: Declared, config: Config) -> None:
        self.kind = kind
        self.before = before
        self.config = config

    def run(self) -> Outcome:
        return RUNS[self.kind](self.config, "overridden")


STEPS = {
    **{f"{kind}, create": Step(kind, without(kind), FULL[kind]) for kind in KINDS},
    **{f"{kind}, change": Step(kind, FULL, OTHER[kind]) for kind in KINDS},
    **{f"{kind}, delete": Step(kind, FULL, []) for kind in KINDS},
}

# -- a host without systemd

SYSTEMCTL = """#!/bin/sh
# a unit is running when there is a file of its name
cd /run/units || exit 1
case $1 in
start|restart) touch "$2" ;;
reload-or-restart) test -e "$2" ;;
stop) rm -f "$2" ;;
show) for unit in *@*; do
    test -e "$unit" && printf 'Id=%s\\nActiveState=active\\nMainPID=1\\nNetworkNamespacePath=\\n\\n' "$unit"
done ;;
esac
exit 0
"""
JOURNALCTL = "#!/bin/sh\necho nothing was said\n"


def own_system() -> None:
    """Programs of our own before the others, and an /etc of our own."""
    for folder in ("/run/units", "/run/programs", "/run/systemd/system", "/run/etc"):
        os.makedirs(folder)
    for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL), ("dnsmasq", "#!/bin/sh\n")):
        path = Path("/run/programs", name)
        path.write_text(text)
        path.chmod(0o755)
    command(["cp", "-a", "/etc/.", "/run/etc"])
    system_call("mount", b"/run/etc", b"/etc", None, 0x1000, None)


def with_programs() -> None:
    os.environ["PATH"] = f"/run/programs:{os.environ['PATH']}"


# -- looking

FOLDERS = ["/run/crosshost", "/run/systemd/system", "/run/units", "/etc/netns", "/var/lib/crosshost"]
SETTINGS = ("forwarding", "route_localnet", "disable_ipv6", "accept_ra", "proxy_arp", "rp_filter", "arp_ignore", "accept_local", "keep_addr_on_down")  # fmt: skip


def snapshot() -> set[eye.Fact]:
    """The kernel with all settings of devices, what it takes in, and every file."""
    found = eye.snapshot()
    for netns in ("", *sorted(os.listdir("/run/netns"))):
        found |= {("setting", netns, *line.split(":")) for line in _settings(netns)}
    for line in command(["ip", "-d", "-o", "link"]).splitlines():
        if "PROMISC" in line.split("<")[1].split(">")[0]:
            found.add(("promiscuous", line.split()[1]))
    return found | set(files())


def _settings(netns: str) -> list[str]:
    listed = "/proc/sys/net/ipv[46]/conf/*/"
    script = "grep -s '' /proc/sys/net/ipv4/ip_forward " + " ".join(f"{listed}{name}" for name in SETTINGS)
    inside = ["nsenter", f"--net=/run/netns/{netns}"] if netns else []
    return command([*inside, "sh", "-c", f"{script}; true"]).splitlines()


def files() -> Iterator[eye.Fact]:
    for folder in FOLDERS:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                yield "file", str(path), path.stat().st_mode, path.read_text()
            else:
                yield "folder", str(path)
    for path in Path("/run").iterdir():
        yield "in /run", path.name


# -- refused


def refused(step: Step, target: int) -> tuple[str, int]:
    """The error's line, or "" when the run has fewer places."""
    with_programs()
    places = faults.refuse_at(target)
    try:
        step.run()
    except ApplyError as error:
        return str(error), places.count
    return "", places.count


@pytest.mark.parametrize("name", STEPS)
def test_a_refusal_anywhere_leaves_all_as_it_was(name: str) -> None:
    """The error names the operation, as the line that the plan has for it."""
    step = STEPS[name]
    places = max(share_out(lambda host, worker, workers: refuse_everywhere(host, step, range(worker, 10_000, workers))))
    print(name, places)
    assert places >= 3, f"only {places} places: the harness misses writes"


def share_out(work: Any, workers: int = 4) -> list[Any]:
    engine.warm()

    def one(worker: int, workers: int) -> Any:
        with world() as made:
            made[1].call(own_system)
            return work(made[1], worker, workers)

    return share(one, workers)


def inside(host: Host, function: Any, *args: Any) -> Any:
    def run() -> Any:
        with_programs()
        return function(*args)

    return host.call(run)


def refuse_everywhere(host: Host, step: Step, targets: Iterable[int]) -> int:
    """The number of places of the run, each of the targets having been refused once."""
    inside(host, bring, step.before)
    was = inside(host, snapshot)
    for target in targets:
        error, count = host.call(refused, step, target)
        if not error:
            assert target >= count, f"place {target} of {count} was refused, and nobody noticed"
            return int(count)
        assert error.endswith("everything done before it was undone"), f"place {target}: {error}"
        assert error.isprintable()
        wrong = eye.differences(was, inside(host, snapshot))
        assert not wrong, f"place {target}: {error}: afterwards:\n{wrong}"
    raise AssertionError("the run has no end")


# -- killed


@pytest.mark.parametrize("name", STEPS)
def test_what_is_killed_anywhere_is_finished_by_the_next_run(name: str) -> None:
    step = STEPS[name]
    places = min(share_out(lambda host, worker, workers: kill_everywhere(host, step, range(worker, 10_000, workers))))
    print(name, places)
    assert places >= 3, f"only {places} places: the harness misses writes"


def killed(host: Host, step: Step, target: int) -> bool:
    """Run and kill at a place; False when the run came to its end before."""

    def child() -> None:
        with_programs()
        faults.kill_at(target)
        step.run()

    ended = host.fork(child)
    if ended.signal == signal.SIGKILL:
        return True
    assert ended.signal == 0
    if ended.error:
        raise ended.error
    return False


def kill_everywhere(host: Host, step: Step, targets: Iterable[int]) -> int:
    """The first of the targets that the run did not reach; it was killed at all the others."""
    inside(host, bring, step.before)
    before = inside(host, snapshot)
    inside(host, step.run)
    expected = inside(host, snapshot)
    for target in targets:
        inside(host, bring, step.before)
        wrong = eye.differences(before, inside(host, snapshot))
        assert not wrong, f"place {target}: the way back from the run before leaves:\n{wrong}"
        done = not killed(host, step, target)
        if not done:
            inside(host, step.run)
        wrong = eye.differences(expected, inside(host, snapshot))
        assert not wrong, f"killed at place {target}: after the next run:\n{wrong}"
        again = inside(host, step.run)
        assert not again.changed, f"killed at place {target}: a second run does {again.commands}"
        if done:
            return target
    raise AssertionError("the run has no end")
