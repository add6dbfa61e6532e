# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab, as its users see it: real hosts are booted, and looked at with ip, ping, ssh, ps and find."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.slow]

CHECKOUT = Path(__file__).resolve().parents[2]
LAB = str(CHECKOUT / "lab" / "lab")
NAME, OTHER, KILLED = "t-lab", "t-lab2", "t-labkill"


def run(argv: Sequence[str], check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a program of the machine."""
    result = subprocess.run(
        list(argv), input=stdin, capture_output=True, text=True, timeout=180, check=False, cwd=CHECKOUT
    )
    if check:
        assert result.returncode == 0, f"{argv}: {result.stdout}{result.stderr}"
    return result


def lab(*arguments: str, name: str = NAME, check: bool = True, stdin: str = "") -> str:
    """Runs the lab's program."""
    return run([LAB, "--name", name, *arguments], check, stdin).stdout


def on(host: str, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs a program on a host of the lab NAME."""
    return run([LAB, "--name", NAME, "exec", host, *argv], check)


def reaches(host: str, target: str, *options: str) -> bool:
    return on(host, "ping", "-c1", "-W1", *options, target, check=False).returncode == 0


def leftovers(name: str) -> list[str]:
    """All that a lab could have left on the machine, by tools that know nothing of the lab."""
    mark = f"xhlab-{name}"
    seen = [
        *run(["ip", "netns", "list"]).stdout.splitlines(),
        *run(["ip", "-o", "link"]).stdout.splitlines(),
        *Path("/proc/mounts").read_text().splitlines(),
        *run(["find", "/run", "/sys/fs/cgroup", "-name", f"{mark}*"], check=False).stdout.splitlines(),
    ]
    # A zombie is its parent's to collect.
    listing = run(["ps", "-eo", "stat=,args="]).stdout.splitlines()
    seen += [line for line in listing if not line.startswith("Z")]
    found = [
        line for line in seen if f"{mark} " in line + " " or f"{mark}-" in line or f"--name {name} " in line
    ]
    folder = CHECKOUT / ".lab" / name
    return found + ([str(folder)] if folder.exists() else [])


@pytest.fixture(scope="module", autouse=True)
def two_hosts() -> Iterator[None]:
    """A lab of two hosts; no lab of these tests is there before or after."""
    names = (NAME, OTHER, KILLED)
    for name in names:
        lab("down", name=name)
    try:
        lab("up", "--hosts", "2")
        yield
    finally:
        for name in names:
            lab("down", name=name)


def test_hosts_run_debian_with_systemd_and_both_links() -> None:
    for number in (1, 2):
        host = f"h{number}"
        assert on(host, "systemctl", "is-system-running").stdout.strip() == "running"
        assert on(host, "hostname").stdout.strip() == host
        addresses = on(host, "ip", "-o", "addr").stdout
        for expected in ("eth0", f"10.97.0.{number}/24", f"fd97::{number}/64", f"10.98.0.{number}/24"):
            assert expected in addresses
        assert f"eth1    inet6 fd98::{number}/64" in addresses
        assert "via 10.97.0.254 dev eth0" in on(host, "ip", "route").stdout
    assert on("h1", "ls", "/sys/class/net").stdout.split() == ["eth0", "eth1", "lo"]
    assert on("h1", "systemctl", "is-enabled", "firewalld", check=False).stdout.strip() == "disabled"
    assert on("h1", "ufw", "status").stdout.strip() == "Status: inactive"


def test_a_host_can_do_what_the_collection_needs() -> None:
    on("h2", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    on("h2", "ip", "netns", "add", "box")
    on("h2", "ip", "link", "add", "vx7", "type", "vxlan", "id", "7", "dstport", "4789", "local", "10.98.0.2")
    on("h2", "ip", "link", "set", "vx7", "netns", "box")
    assert "vxlan id 7" in on("h2", "ip", "-n", "box", "-d", "link", "show", "vx7").stdout
    on("h2", "nft", "add", "table", "inet", "t")
    on("h2", "ip", "netns", "exec", "box", "nft", "add", "table", "inet", "t")
    on("h2", "python3", "-c", "import pyroute2; pyroute2.IPRoute().get_links()")
    on("h2", "ip", "netns", "del", "box")


def test_exec_passes_input_output_arguments_and_exit_code() -> None:
    argv = [
        "exec",
        "h1",
        "sh",
        "-c",
        'cat; printf "%s|" "$@"; echo err >&2; exit 7',
        "sh",
        "a b",
        "--hosts",
        "$X",
    ]
    result = run([LAB, "--name", NAME, *argv], check=False, stdin="in\n")
    assert (result.returncode, result.stdout, result.stderr) == (7, "in\na b|--hosts|$X|", "err\n")
    assert run([LAB, "--name", NAME, "exec", "h3", "true"], check=False).returncode == 2


def test_the_inventory_works() -> None:
    ansible = CHECKOUT / ".venv" / "bin" / "ansible"
    if not ansible.exists():
        pytest.skip("needs Ansible in .venv (make setup)")
    inventory = str(CHECKOUT / ".lab" / NAME / "inventory.yml")
    pings = run([str(ansible), "-i", inventory, "crosshost", "-m", "ping"]).stdout
    assert pings.count("SUCCESS") == 2 and "h1 |" in pings and "h2 |" in pings
    assert lab("inventory") == Path(inventory).read_text()


def test_the_outside_answers_hosts_but_not_what_is_not_translated() -> None:
    assert reaches("h1", "203.0.113.10") and reaches("h1", "2001:db8:113::10")
    on("h1", "ip", "addr", "add", "10.77.0.1/32", "dev", "lo")
    try:
        assert not reaches("h1", "203.0.113.10", "-I", "10.77.0.1")
    finally:
        on("h1", "ip", "addr", "del", "10.77.0.1/32", "dev", "lo")


def test_partition_and_heal() -> None:
    targets = ("10.97.0.2", "10.98.0.2", "fd97::2", "fd98::2")
    assert all(reaches("h1", target) for target in targets)
    lab("partition", "h2", "h1")
    try:
        assert not any(reaches("h1", target) for target in targets)
        assert not reaches("h2", "10.98.0.1")
        assert reaches("h1", "203.0.113.10")  # only from each other
        assert json.loads(lab("status", "--json"))["partitions"] == [["h1", "h2"]]
        assert "h2" in lab("status").splitlines()[1]
    finally:
        lab("heal")
    assert all(reaches("h1", target) for target in targets)
    assert json.loads(lab("status", "--json"))["partitions"] == []


@pytest.mark.parametrize("option", [[], ["--hard"]], ids=["soft", "hard"])
def test_reboot_keeps_the_disk_and_loses_kernel_state(option: list[str]) -> None:
    before = on("h2", "readlink", "/proc/1/ns/net").stdout
    on("h2", "sh", "-c", "echo kept > /root/kept; echo 1 > /proc/sys/net/ipv4/ip_forward")
    on("h2", "ip", "link", "add", "lost", "type", "bridge")
    on("h2", "ip", "netns", "add", "lost")
    on("h2", "nft", "add", "table", "inet", "lost")
    lab("reboot", *option, "h2")
    assert on("h2", "cat", "/root/kept").stdout == "kept\n"
    assert on("h2", "readlink", "/proc/1/ns/net").stdout != before
    links = [line.split()[0].split("@")[0] for line in on("h2", "ip", "-br", "link").stdout.splitlines()]
    assert sorted(links) == ["eth0", "eth1", "lo"]
    assert on("h2", "ip", "netns").stdout == on("h2", "nft", "list", "ruleset").stdout == ""
    assert on("h2", "cat", "/proc/sys/net/ipv4/ip_forward").stdout == "0\n"
    assert reaches("h1", "10.98.0.2") and reaches("h2", "203.0.113.10")
    assert on("h2", "systemctl", "is-system-running").stdout == "running\n"


def test_up_again_is_quick_and_starts_what_is_off() -> None:
    pids = [host["pid"] for host in json.loads(lab("status", "--json"))["hosts"]]
    started = time.monotonic()
    lab("up")
    assert time.monotonic() - started < 3  # a boot takes longer; a busy machine does not
    assert [host["pid"] for host in json.loads(lab("status", "--json"))["hosts"]] == pids
    os.kill(pids[1], 9)
    lab("up")
    hosts = json.loads(lab("status", "--json"))["hosts"]
    assert [host["state"] for host in hosts] == ["running", "running"]
    assert hosts[0]["pid"] == pids[0] and hosts[1]["pid"] != pids[1]


def test_two_labs_at_once_and_nothing_in_the_machines_own_namespace() -> None:
    lab("up", "--hosts", "1", "--mtu", "9000", name=OTHER)
    ids = [
        run([LAB, "--name", name, "exec", "h1", "cat", "/etc/machine-id"]).stdout for name in (NAME, OTHER)
    ]
    by_ssh = [
        run(["ssh", "-F", f".lab/{name}/ssh/config", "10.97.0.1", "cat", "/etc/machine-id"]).stdout
        for name in (NAME, OTHER)
    ]
    assert by_ssh == ids and ids[0] != ids[1]
    big = ["ping", "-c1", "-W1", "-M", "do", "-s", "8972", "10.98.0.254"]
    assert run([LAB, "--name", OTHER, "exec", "h1", *big]).returncode == 0
    assert on("h1", *big, check=False).returncode != 0
    own = "".join(
        run(argv).stdout
        for argv in (["ip", "-o", "addr"], ["ip", "route", "show", "table", "all"], ["ip", "-6", "route"])
    )
    assert not any(
        part in own for part in ("10.97.0", "10.98.0", "fd97:", "fd98:", "203.0.113.", "2001:db8:113:")
    )
    lab("up", "--hosts", "2", name=OTHER)  # grows
    assert [h["state"] for h in json.loads(lab("status", "--json", name=OTHER))["hosts"]] == ["running"] * 2
    lab("up", "--hosts", "1", name=OTHER)  # shrinks
    assert len(json.loads(lab("status", "--json", name=OTHER))["hosts"]) == 1
    lab("down", name=OTHER)
    assert leftovers(OTHER) == []
    assert on("h1", "systemctl", "is-system-running").stdout == "running\n"
    lab("down", name=OTHER)  # again: nothing to do


@pytest.mark.parametrize("seconds", [0.1, 0.25, 0.5, 0.9])
def test_down_cleans_after_a_killed_up(seconds: float) -> None:
    child = subprocess.Popen(
        [sys.executable, LAB, "--name", KILLED, "up", "--hosts", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(seconds)
    finally:
        child.kill()
        child.wait()
    lab("down", name=KILLED)
    assert leftovers(KILLED) == []


def test_down_ends_what_runs_in_the_labs_namespaces() -> None:
    lab("up", "--hosts", "1", name=KILLED)
    assert leftovers(KILLED) != []  # else the check sees nothing
    watcher = subprocess.Popen(["ip", "netns", "exec", f"xhlab-{KILLED}", "sleep", "600"])
    try:
        time.sleep(0.2)
        lab("down", name=KILLED)
        assert watcher.wait(5) == -9
        assert leftovers(KILLED) == []
    finally:
        watcher.kill()
        watcher.wait()
