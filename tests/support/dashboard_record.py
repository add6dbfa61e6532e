# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of runs, as the callback plugin would write them, and the output that they would have had: for a dashboard to show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

HOSTS = {
    "alpha": ("rack_a", "192.0.2.11", "10.98.0.11"),
    "beta": ("rack_a", "192.0.2.12", "10.98.0.12"),
    "gamma": ("rack_a", "192.0.2.13", "10.98.0.13"),
    "delta": ("rack_b", "192.0.2.14", "10.98.0.14"),
    "epsilon": ("rack_b", "192.0.2.15", "10.98.0.15"),
}
TASKS = (
    ("Look at the host", "crosshost.network.host_check", "Hosts"),
    ("Open the ports for the peers", "crosshost.network.firewall_ports", "Networks"),
    ("Make the gateway bridge", "crosshost.network.gwbridge", "Networks"),
    ("Make the bridge networks", "crosshost.network.bridge_network", "Networks"),
    ("Make the overlay networks", "crosshost.network.overlay_network", "Networks"),
    ("Join the endpoints", "crosshost.network.endpoint", "Networks"),
    ("Make the services", "crosshost.network.service", "Networks"),
    ("Make the ingress network", "crosshost.network.ingress", "Networks"),
)
OVERLAY, ENDPOINT = 5, 6


def lines_of(done: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """As ansible-playbook prints it, in its colours."""
    colours = {"ok": "0;32", "changed": "0;33", "failed": "0;31", "unreachable": "1;31", "skipped": "0;36"}
    words = {"failed": "fatal", "unreachable": "fatal", "skipped": "skipping"}
    for one in done:
        if one["kind"] == "play":
            yield f"\nPLAY [{one['name']}] {'*' * 60}"
        elif one["kind"] == "task":
            yield f"\nTASK [{one['name']}] {'*' * 60}"
        elif one["kind"] == "result" and "item" not in one:
            body = one.get("body") or {}
            told = f" => {body['msg']}" if body.get("msg") else ""
            yield from (f"+{line}" for line in body.get("commands") or ())
            yield f"\x1b[{colours[one['status']]}m{words.get(one['status'], one['status'])}: [{one['host']}]{told}\x1b[0m"
        elif one["kind"] == "stats":
            yield f"\nPLAY RECAP {'*' * 66}"
            for host, counts in one["hosts"].items():
                yield f"{host:24}: " + "  ".join(f"{name}={number}" for name, number in counts.items())


def _result(task: int, host: str, status: str = "ok", **body: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": "result",
        "task": task,
        "host": host,
        "status": status,
        "ms": 180 + 37 * task,
    }
    return {**found, "body": body} if body else found


def record(hosts: Iterable[str], results: Mapping[tuple[int, str], dict[str, Any]]) -> list[dict[str, Any]]:
    """A record in which every task is ok on every host, but for the results given."""
    hosts = list(hosts)
    found: list[dict[str, Any]] = [{"kind": "start", "playbook": "site.yml"}]
    play, gone = "", set()
    for number, (name, action, of) in enumerate(TASKS, 1):
        if of != play:
            play = of
            found.append({"kind": "play", "name": of})
        found.append({"kind": "task", "task": number, "name": name, "action": action, "play": of})
        for host in hosts:
            if host in gone:
                continue
            one = results.get((number, host)) or _result(
                number, host, "skipped" if number == 4 and host != "alpha" else "ok"
            )
            found.append(one)
            if one["status"] in ("failed", "unreachable"):
                gone.add(host)
            if number == 1 and one["status"] == "ok":
                found.append({"kind": "report", "host": host, "body": _report(host)})
    counts = dict.fromkeys(("ok", "changed", "failed", "unreachable", "skipped"), 0)
    stats = {host: dict(counts) for host in hosts}
    for one in found:
        if one["kind"] == "result":
            stats[one["host"]][one["status"]] += 1
    return [*found, {"kind": "stats", "hosts": stats}, {"kind": "end"}]


def _report(host: str) -> dict[str, Any]:
    _, address, vtep = HOSTS[host]
    return {
        "interfaces": [
            {"name": "eth0", "mtu": 1500, "addresses": [address]}, {"name": "eth1", "mtu": 9000, "addresses": [vtep]},
        ],
        "default": [address], "routes": ["192.0.2.0/24", "10.98.0.0/24"], "nameservers": ["192.0.2.1"],
        "kernel": "6.1.0-41-amd64", "python": "3.11.2", "engines": ["docker"],
    }  # fmt: skip


def _overlay_commands(host: str) -> list[str]:
    vtep = HOSTS[host][2]
    return [
        "ip netns add xh-web",
        f"ip -n xh-web link add vx0 type vxlan id 1048577 local {vtep} dstport 4789 nolearning # crosshost:web",
        "ip -n xh-web link add br0 type bridge",
        "ip -n xh-web link set vx0 master br0 mtu 1450 up",
        "bridge -n xh-web fdb replace 02:42:0a:00:00:03 dev vx0 dst 10.98.0.12 self permanent",
    ]


def _planned(host: str, task: int, commands: list[str], before: str, after: str) -> dict[str, Any]:
    header = f"{TASKS[task - 1][1]} on {host}"
    return _result(
        task, host, "changed", commands=commands,
        diff={"before": before, "after": after, "before_header": f"{header}, now", "after_header": f"{header}, then"},
    )  # fmt: skip


def changes(hosts: Iterable[str]) -> dict[tuple[int, str], dict[str, Any]]:
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for host in hosts:
        found[OVERLAY, host] = _planned(
            host,
            OVERLAY,
            _overlay_commands(host),
            "",
            "networks:\n- name: web\n  subnet: 10.0.0.0/24\n  vni: 1048577\n  mtu: 1450\n",
        )
        found[ENDPOINT, host] = _planned(
            host, ENDPOINT, ["ip link add veth-shop type veth peer eth0 netns shop", "ip -n shop addr add 10.0.0.2/24 dev eth0"],
            "", "endpoints:\n- name: shop\n  network: web\n",
        )  # fmt: skip
    return found


def checked(hosts: Iterable[str]) -> list[dict[str, Any]]:
    """What a run records that makes networks and endpoints on these hosts, or would make them."""
    return record(hosts, changes(hosts))


def drifting() -> list[dict[str, Any]]:
    """What a check run records of two hosts that are otherwise than declared."""
    commands = ["ip -n xh-web link set vx0 mtu 1400 # crosshost:web", "ip -n xh-web link set br0 mtu 1400"]
    results = {
        (OVERLAY, host): _planned(host, OVERLAY, commands, "name: web\nmtu: 1450\n", "name: web\nmtu: 1400\n")
        for host in ("alpha", "beta")
    }
    results[2, "beta"] = _planned(
        "beta",
        2,
        ["nft add rule inet crosshost input udp dport 4789 ip saddr 10.98.0.15 accept"],
        "",
        "udp dport 4789 accept\n",
    )
    return record(("alpha", "beta"), results)


def failing() -> list[dict[str, Any]]:
    hosts = ("delta", "epsilon")
    told = "overlay_network web: mtu 1400: the path from delta to alpha (10.98.0.11) passes 1280 bytes; declare mtu: 1230 or less"
    return record(
        hosts,
        {
            (1, "epsilon"): _result(1, "epsilon", "unreachable", msg="Failed to connect to the host via ssh: Connection timed out"),
            (OVERLAY, "delta"): _result(OVERLAY, "delta", "failed", msg=told, warnings=["the interface eth1 has lost its carrier"]),
        },
    )  # fmt: skip


def doctor(hosts: Iterable[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"kind": "start"}, {"kind": "play", "name": "Doctor"}]
    found.append(
        {
            "kind": "task",
            "task": 1,
            "name": "Compare with what was recorded",
            "action": "crosshost.network.network_info",
            "play": "Doctor",
        }
    )
    found += [_result(1, host, drift={}, errors={}) for host in hosts]
    return [*found, {"kind": "end"}]
