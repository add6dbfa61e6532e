# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab of three hosts for all tests of the modules: running modules on it, traffic, captures, snapshots.

A *place* is where a command runs: ``h1`` (a host), ``h1/shop`` (the namespace shop of that host), ``outside``, or
``switch`` (where the underlay can be seen).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests import checker
from tests.integration.lab_picture import SNAPSHOT, picture

CHECKOUT = Path(__file__).resolve().parents[2]
NAME = "t-mod"
HOSTS = ("h1", "h2", "h3")
MODULES = "crosshost.network."
Result = dict[str, Any]

# Everything that crosshost or a test may have left on a host. A tunnel goes before its namespace, which the kernel
# takes down later while the VNI stays taken.
_RESET = r"""
systemctl stop 'crosshost-*@*.service' 2>/dev/null
rm -rf /run/crosshost /etc/netns /run/systemd/system/crosshost-*
[ -e /run/t-pids ] && kill -9 $(cat /run/t-pids) 2>/dev/null; rm -f /run/t-pids
for ns in $(ls /run/netns 2>/dev/null); do
  for dev in $(ip -n "$ns" -o link show type vxlan 2>/dev/null | cut -d: -f2 | cut -d@ -f1); do
    ip -n "$ns" link del "$dev"
  done
  ip netns del "$ns" 2>/dev/null || rm -f "/run/netns/$ns"
done
for dev in $(ls /sys/class/net); do case $dev in lo|eth0|eth1) ;; *) ip link del "$dev" 2>/dev/null;; esac; done
nft flush ruleset
rm -rf /var/lib/crosshost /usr/local/bin/docker /usr/local/bin/podman
nf=/proc/sys/net/bridge/bridge-nf-call-iptables; [ ! -e $nf ] || echo 1 > $nf
echo 0 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv6/conf/all/forwarding
"""


class Step(NamedTuple):
    """One task on some hosts. ``args`` are the module's options, or for each host its own."""

    hosts: tuple[str, ...]
    module: str
    args: dict[str, Any]
    keywords: dict[str, Any]


def step(
    hosts: str | Sequence[str], module: str, args: Mapping[str, Any] | None = None, **keywords: Any
) -> Step:
    """A task, such as ``step("h1", "gwbridge", {"state": "gathered"}, check_mode=True)``."""
    chosen = (hosts,) if isinstance(hosts, str) else tuple(hosts)
    name = module if "." in module else MODULES + module
    return Step(chosen, name, dict(args or {}), keywords)


def look(hosts: str | Sequence[str] = "h1") -> Step:
    """A snapshot as a step between others; read it with :func:`picture`."""
    return step(hosts, "ansible.builtin.raw", {"_raw_params": SNAPSHOT})


def _task(number: int, one: Step) -> dict[str, Any]:
    if one.args and set(one.args) == set(one.hosts):
        options = dict.fromkeys(field for args in one.args.values() for field in args)
        args = {
            field: "{{ steps[%d][inventory_hostname]['%s'] | default(omit) }}" % (number, field)  # noqa: UP031
            for field in options
        }
    else:
        args = one.args
    return {"name": str(number), one.module: args, "ignore_errors": True, **one.keywords}


class Lab:
    """A running lab; its name is the class's."""

    name = NAME

    def __init__(self) -> None:
        self.pids: dict[str, int] = {}

    def program(self, *arguments: str) -> str:
        """Runs the lab's own program."""
        return command([str(CHECKOUT / "lab" / "lab"), "--name", self.name, *arguments], timeout=180)

    def up(self) -> None:
        self.program("up", "--hosts", str(len(HOSTS)), "--mtu", "1500")
        self.find()

    def find(self) -> None:
        """Looks where the hosts are; needed after a reboot."""
        status = json.loads(self.program("status", "--json"))
        self.pids = {host["name"]: host["pid"] for host in status["hosts"]}

    def argv(self, place: str, *words: str, own: bool = False) -> list[str]:
        """The command that runs ``words`` at a place. ``own``: the process that is started is the one that runs them, so
        that it can be ended; it then has no /proc/self on the host."""
        host, _, netns = place.partition("/")
        if host in ("outside", "switch"):
            name = f"xhlab-{self.name}" + ("-out" if host == "outside" else "")
            return ["nsenter", f"--net=/run/netns/{name}", "--", *words]
        spaces = ["--mount", "--uts", "--ipc", "--net", *([] if own else ["--pid"]), "--root", "--wd"]
        inner = ["nsenter", f"--net=/run/netns/{netns}", "--"] if netns else []
        return ["nsenter", f"--target={self.pids[host]}", *spaces, "--", *inner, *words]

    def run(self, place: str, *words: str, check: bool = True, stdin: str = "") -> str:
        """The output of a command at a place. AssertionError when it fails and ``check``."""
        return command(self.argv(place, *words), check, stdin)

    def script(self, place: str, text: str, check: bool = True) -> str:
        """The output of lines for sh at a place."""
        return self.run(place, "sh", "-ec" if check else "-c", text, check=check)

    def sleeper(self, host: str, *before: str) -> int:
        """The process id, as the host counts, of a program that sleeps; ended with the next reset."""
        words = " ".join([*before, "sleep", "1000"])
        text = f"{words} </dev/null >/dev/null 2>&1 & echo $! | tee -a /run/t-pids"
        return int(self.run(host, "sh", "-c", text))

    def reset(self) -> None:
        """Brings all hosts back to what they were after boot, without the engine's help."""

        with ThreadPoolExecutor(len(HOSTS)) as pool:
            list(pool.map(lambda host: self.script(host, _RESET, check=False), HOSTS))

    def picture(self, host: str = "h1") -> Any:
        """All that a module could touch on a host, to be compared."""
        return picture(self.script(host, SNAPSHOT, check=False))

    # -- modules

    def play(self, *steps: Step) -> list[dict[str, Result]]:
        """Runs steps with ansible-playbook, one after another, whatever the one before did. By step: results by host."""
        plays = [
            {"hosts": ",".join(one.hosts), "gather_facts": False, "tasks": [_task(number, one)]}
            for number, one in enumerate(steps)
        ]
        with tempfile.TemporaryDirectory(prefix="crosshost-play-") as folder:
            Path(folder, "play.yml").write_text(yaml.safe_dump(plays, sort_keys=False), encoding="utf-8")
            each = {"steps": [one.args for one in steps]}
            Path(folder, "vars.json").write_text(json.dumps(each), encoding="utf-8")
            results = Path(folder, "results")
            self._ansible(folder, results)
            lines = results.read_text(encoding="utf-8").splitlines()
        found: list[dict[str, Result]] = [{} for _step in steps]
        for line in map(json.loads, lines):
            found[int(line["task"])][line["host"]] = line["result"]
        assert [set(one) for one in found] == [set(one.hosts) for one in steps], "a step was not run"
        return found

    def _ansible(self, folder: str, results: Path) -> None:
        variables = {
            "ANSIBLE_STDOUT_CALLBACK": "lab_results",
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "lab_callback"),
            "LAB_RESULTS": str(results),
            "LC_ALL": "C.UTF-8",
        }
        inventory = str(CHECKOUT / ".lab" / self.name / "inventory.yml")
        program = str(CHECKOUT / ".venv" / "bin" / "ansible-playbook")
        argv = [program, "-i", inventory, "-e", f"@{folder}/vars.json", f"{folder}/play.yml"]
        done = subprocess.run(
            argv,
            cwd=CHECKOUT,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert results.exists(), f"ansible-playbook ended with {done.returncode}: {done.stdout}{done.stderr}"

    def module(
        self, host: str, module: str, args: Mapping[str, Any] | None = None, **keywords: Any
    ) -> Result:
        """The result of one module on one host."""
        return self.play(step(host, module, args, **keywords))[0][host]

    def converge(self, hosts: Mapping[str, Mapping[str, Any]], again: bool = False) -> None:
        """Makes each host exactly what is declared for it (see :func:`declare`), proves by the independent checker that it
        is, and with ``again`` by a second run that there is nothing left to do. Kinds of which no host declares anything
        are left alone."""
        kinds = {"overlay_network": "overlay_networks", "gwbridge": "gwbridges", "endpoint": "endpoints"}
        once = [
            step(tuple(hosts), module, _each(hosts, what))
            for module, what in kinds.items()
            if any(declared[what] for declared in hosts.values())
        ]
        results = self.play(*once, *(once if again else []))
        for number, found in enumerate(results):
            for host, result in found.items():
                assert not result.get("failed"), (
                    f"{host}: {result.get('msg')} {result.get('module_stderr', '')}"
                )
                assert number < len(once) or not result["changed"], f"{host}: {result['commands']}"
        self.check(hosts)

    def check(self, hosts: Mapping[str, Mapping[str, Any]]) -> None:
        """AssertionError unless the independent checker finds each host as declared."""

        def one(host: str) -> list[str]:
            runner = checker.prefixed_runner(self.argv(host))
            return [f"{host}: {line}" for line in checker.check(hosts[host], runner)]

        with ThreadPoolExecutor(len(hosts)) as pool:
            wrong = [line for lines in pool.map(one, hosts) for line in lines]
        assert not wrong, "\n".join(wrong)

    # -- traffic

    def pings(self, pairs: Sequence[tuple[str, str]], options: Sequence[str], wait: float) -> list[bool]:
        """For each (place, target) whether it answered a ping within ``wait`` seconds; all at once."""
        argvs = [
            self.argv(place, "ping", "-n", "-q", "-c1", f"-W{wait:g}", *options, target)
            for place, target in pairs
        ]
        children = [
            subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for argv in argvs
        ]
        return [child.wait(30) == 0 for child in children]

    def reach(self, *pairs: tuple[str, str], options: Sequence[str] = ()) -> None:
        """AssertionError unless every target answers from its place."""
        found = self.pings(pairs, options, 3)
        silent = [pair for pair, good in zip(pairs, found) if not good]
        assert not silent, f"no answer: {silent}"

    def miss(self, *pairs: tuple[str, str], options: Sequence[str] = ()) -> None:
        """AssertionError if any target answers from its place."""
        found = self.pings(pairs, options, 1)
        heard = [pair for pair, good in zip(pairs, found) if good]
        assert not heard, f"answered: {heard}"

    @contextlib.contextmanager
    def running(self, place: str, *words: str, ready: str = "") -> Iterator[subprocess.Popen[str]]:
        """A program at a place, ended with the block, or after a minute if the block waits for it in vain; ``ready`` is a
        word that it says when it can begin."""
        child = subprocess.Popen(
            self.argv(place, *words, own=True),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        alarm = threading.Timer(60, child.kill)
        alarm.start()
        try:
            assert child.stdout is not None
            while ready:
                line = child.stdout.readline()
                assert line, f"{words}: ended before it was ready"
                if ready in line:
                    break
            yield child
        finally:
            alarm.cancel()
            child.kill()
            child.communicate(timeout=10)

    @contextlib.contextmanager
    def capture(self, device: str, *expression: str, place: str = "switch") -> Iterator[list[str]]:
        """The packets that pass a device while the block runs, as tcpdump prints them; filled when the block ends."""
        found: list[str] = []
        argv = ["tcpdump", "-lnn", "--immediate-mode", "-i", device, *expression]
        with self.running(place, *argv, ready="listening on") as child:
            yield found
            time.sleep(0.2)  # what is on its way to tcpdump
            child.terminate()
            assert child.stdout is not None
            found += [
                line
                for line in child.stdout.read().splitlines()
                if line[:2].isdigit() or line[:1] == " " or line.startswith(("ARP", "IP"))
            ]

    def connects(self, place: str, target: str, port: int) -> bool:
        """Whether a TCP connection opens within a second."""
        done = subprocess.run(
            self.argv(place, "nc", "-z", "-w1", target, str(port)),
            capture_output=True,
            check=False,
            timeout=30,
        )
        return done.returncode == 0


def _each(hosts: Mapping[str, Mapping[str, Any]], what: str) -> dict[str, Any]:
    return {host: {"state": "overridden", "config": declared[what]} for host, declared in hosts.items()}


def declare(
    networks: Sequence[Mapping[str, Any]],
    endpoints: Sequence[Mapping[str, Any]] = (),
    gwbridges: Sequence[Mapping[str, Any]] = (),
    hosts: Sequence[str] = ("h1", "h2"),
    six: bool = False,
) -> dict[str, dict[str, Any]]:
    """From a cluster to its hosts: networks with the other hosts as peers and their endpoints. An endpoint says its
    ``host``. ``six``: the underlay is IPv6."""
    found = {}
    for host in hosts:
        others = [other for other in hosts if other != host]
        nets = []
        for network in networks:
            item: dict[str, Any] = {
                "data_path_address": vtep(host, six),
                "peers": [{"host": other, "vtep": vtep(other, six)} for other in others],
                **network,
            }
            if item.get("control_plane", "static") == "static":
                far = [end for end in endpoints if end["network"] == item["name"] and end["host"] in others]
                item["endpoints"] = [_far(end, six) for end in far] + list(network.get("endpoints", ()))
            nets.append(item)
        own = [{k: v for k, v in end.items() if k != "host"} for end in endpoints if end["host"] == host]
        base = {"vtep": vtep(host, six), "underlay": "eth1", "underlay_mtu": 1500}
        found[host] = {**base, "overlay_networks": nets, "gwbridges": list(gwbridges), "endpoints": own}
    return found


def _far(end: Mapping[str, Any], six: bool) -> dict[str, Any]:
    return {k: end[k] for k in ("ip", "ip6", "mac") if k in end} | {"vtep": vtep(end["host"], six)}


def vtep(host: str, six: bool = False) -> str:
    return f"fd98::{host[1:]}" if six else f"10.98.0.{host[1:]}"


def command(argv: Sequence[str], check: bool = True, stdin: str = "", timeout: float = 60) -> str:
    done = subprocess.run(
        list(argv), input=stdin, capture_output=True, text=True, timeout=timeout, check=False, cwd=CHECKOUT
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{argv}: ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


_running: list[Lab] = []


@pytest.fixture(scope="session")
def session_lab() -> Iterator[Lab]:
    """The lab; each test file that imports this fixture gets the same one."""
    if _running:
        yield _running[0]
        return
    made = Lab()
    made.program("down")
    try:
        made.up()
        _running.append(made)
        yield made
    finally:
        _running.clear()
        made.program("down")


@pytest.fixture
def lab(session_lab: Lab) -> Lab:
    """The lab with clean hosts."""
    session_lab.reset()
    return session_lab
