# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `lab`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, NoReturn, Optional

from . import disk, lifecycle, network, processes, ready, rootfs, state, supervisor
from .layout import Lab, LabError, UsageError, address, address6, host_count, host_number, mtu
from .system import check_machine

_DESCRIPTION = """\
Real Debian hosts on one machine, for the demo and the tests: systemd, sshd, a disk and a network namespace each.

Host hN: eth0 10.97.0.N fd97::N (management, default route), eth1 10.98.0.N fd98::N (data path).
Outside of the lab: 203.0.113.10 and 2001:db8:113::10; it knows the way back to these two ranges only.
"""
_EPILOG = """\
files, all below .lab/ of the checkout:
  cache/              the root file system, built once; the only thing that `down` keeps
  NAME/hosts/hN/upper the disk of a host
  NAME/logs/hN.log    its console
  NAME/ssh/config     `ssh -F .lab/NAME/ssh/config h1`
  NAME/inventory.yml  Ansible's inventory; of the lab demo it is lab/inventory.yml:
                      `ansible-playbook -i lab/inventory.yml site.yml`
network namespaces: xhlab-NAME (the switch, bridges mgmt and data, ports hN-mgmt and hN-data), xhlab-NAME-out
(the outside), xhlab-NAME-hN. `ip netns exec xhlab-NAME tcpdump -ni data` shows the underlay.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `lab --help`")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="lab",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--name", default="demo", help="which lab (default: demo); several can run at once")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    up = commands.add_parser("up", help="start the lab, or add to, repair or shrink the one that runs")
    up.add_argument("--hosts", help="how many, 1 to 20 (default: 3, or as many as there are)")
    up.add_argument("--mtu", help="of the data path, bytes (default: 1500)")
    commands.add_parser("down", help="remove the lab and all that it made, except the cache")
    reboot = commands.add_parser("reboot", help="reboot a host; its disk stays, kernel state goes")
    reboot.add_argument("--hard", action="store_true", help="cut the power instead of shutting down")
    reboot.add_argument("host")
    run = commands.add_parser("exec", help="run a command as root on a host, or in the namespace `outside`")
    run.add_argument("host")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="command")
    partition = commands.add_parser("partition", help="drop all between two hosts, on both networks")
    partition.add_argument("one", metavar="host")
    partition.add_argument("other", metavar="host")
    commands.add_parser("heal", help="end all partitions")
    status = commands.add_parser("status", help="show the hosts")
    status.add_argument("--json", action="store_true")
    commands.add_parser("inventory", help="print the inventory")
    commands.add_parser("build", help="build the root file system only")
    hidden = commands.add_parser("_host")
    hidden.add_argument("host")
    hidden.add_argument("phase", nargs="?", choices=["boot"])
    return parser


def _say(line: str) -> None:
    print(f"lab: {line}", file=sys.stderr, flush=True)


def main(argv: Optional[list[str]] = None) -> int:
    """Runs the command; returns its exit code: 2 for bad input, 1 for a failure."""
    try:
        arguments = _parser().parse_args(argv)
        lab = Lab(Path(__file__).resolve().parents[2], arguments.name)
        return _run(lab, arguments)
    except LabError as error:
        _say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141


def _run(lab: Lab, arguments: argparse.Namespace) -> int:
    command = arguments.command
    if command == "up":
        _up(lab, arguments)
    elif command == "down":
        lifecycle.down(lab)
    elif command == "reboot":
        number = host_number(arguments.host, state.load(lab).hosts)
        lifecycle.reboot(lab, number, arguments.hard, _say)
    elif command == "exec":
        if not arguments.argv:
            raise UsageError(f"exec {arguments.host}: name the command to run")
        lifecycle.enter(lab, arguments.host, arguments.argv)
    elif command == "partition":
        _partition(lab, arguments.one, arguments.other)
    elif command == "heal":
        check_machine()
        state.load(lab)
        network.heal(lab)
    elif command == "status":
        _status(lab, arguments.json)
    elif command == "inventory":
        print(disk.inventory(lab, state.load(lab).hosts), end="")
    elif command == "build":
        check_machine()
        print(rootfs.ensure(lab, _say))
    else:
        return _host(lab, arguments)
    return 0


def _up(lab: Lab, arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    count = None if arguments.hosts is None else host_count(arguments.hosts)
    size = None if arguments.mtu is None else mtu(arguments.mtu)
    lifecycle.up(lab, count, size, _say)
    _say(
        f"{state.load(lab).hosts} hosts are up ({time.monotonic() - started:.1f} s); inventory: {lab.inventory}"
    )


def _host(lab: Lab, arguments: argparse.Namespace) -> int:
    host = lab.host(host_number(arguments.host, state.load(lab).hosts))
    if arguments.phase == "boot":
        supervisor.boot(host)
    return supervisor.supervise(host)


def _partition(lab: Lab, one: str, other: str) -> None:
    check_machine()
    count = state.load(lab).hosts
    first, second = host_number(one, count), host_number(other, count)
    if first == second:
        raise UsageError(f"partition {one} {other}: name two hosts")
    network.cut(lab, lab.host(first), lab.host(second))


def _report(lab: Lab) -> dict[str, Any]:
    check_machine()
    current = state.load(lab)
    leaders = processes.leaders(lab.hosts(current.hosts))
    hosts = []
    for host in lab.hosts(current.hosts):
        leader = leaders.get(host.number)
        hosts.append(
            {
                "name": host.name,
                "state": "off" if leader is None else ready.system_state(leader),
                "uptime": None if leader is None else round(processes.uptime(leader), 1),
                "pid": None if leader is None else leader.pid,
                "mgmt": [address("mgmt", host.number), address6("mgmt", host.number)],
                "data": [address("data", host.number), address6("data", host.number)],
            }
        )
    pairs = network.cuts(lab)
    return {
        "name": lab.name,
        "mtu": current.mtu,
        "hosts": hosts,
        "partitions": pairs,
        "inventory": str(lab.inventory),
    }


def _status(lab: Lab, as_json: bool) -> None:
    report = _report(lab)
    if as_json:
        print(json.dumps(report, indent=2))
        return
    row = "{:<5} {:<10} {:>9}  {:<22} {:<22} {}"
    print(row.format("HOST", "STATE", "UPTIME", "MGMT (eth0)", "DATA (eth1)", "CUT OFF FROM"))
    for host in report["hosts"]:
        name = host["name"]
        others = [b if a == name else a for a, b in report["partitions"] if name in (a, b)]
        seconds = "-" if host["uptime"] is None else "{:.0f} s".format(host["uptime"])
        print(
            row.format(
                name,
                host["state"],
                seconds,
                " ".join(host["mgmt"]),
                " ".join(host["data"]),
                ", ".join(others) or "-",
            )
        )
