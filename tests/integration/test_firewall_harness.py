# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with a firewall of its own, a peer and a stranger: three network namespaces, with traffic between them.

The host has private /run, /etc/firewalld, /etc/ufw, /etc/systemd/system, /var/lib, /usr/local/sbin, so that real
firewall programs run in it and the machine keeps what it has.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BUILD = str(Path(__file__).resolve().parents[2] / ".build")
PEER, STRANGER = "peer", "stranger"
# Network of each neighbour: the host is .1 / ::1, the neighbour .2 / ::2.
NETS = {PEER: ("10.98.0", "fd98:"), STRANGER: ("10.99.0", "fd99:")}
DEVICES = {PEER: "eth1", STRANGER: "eth2"}

# In the mount namespace: private copies of what the firewalls write to.
SETUP = """
set -e
mount --make-rprivate /
for d in /etc/firewalld /etc/ufw; do
  if [ -d $d ]; then mount -t tmpfs t /mnt; cp -a $d/. /mnt/; mount --move /mnt $d; fi
done
for d in /run /var/lib /var/log /etc/systemd/system /usr/local/sbin; do mount -t tmpfs -o mode=755 t $d; done
mkdir -p /run/dbus /run/lock
ip link set lo up
echo ready
exec sleep 1000
"""

SERVER = """
import json, socket, sys, threading
def tcp(s):
    while True:
        c, _ = s.accept()
        def serve(c=c):
            while True:
                d = c.recv(99)
                if not d: return
                c.sendall(d)
        threading.Thread(target=serve, daemon=True).start()
def udp(s):
    while True:
        d, a = s.recvfrom(99); s.sendto(d, a)
for proto, port in json.loads(sys.argv[1]):
    s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("::", port))
    if proto == "tcp": s.listen(20)
    threading.Thread(target=tcp if proto == "tcp" else udp, args=(s,), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""

PROBE = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def probe(t):
    address, proto, port = t
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET,
                      socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(0.3)
    try:
        s.connect((address, port)); s.send(b"x"); return s.recv(9) == b"x"
    except OSError:
        return False
targets = json.loads(sys.argv[1])
with ThreadPoolExecutor(len(targets)) as pool:
    print(json.dumps(list(pool.map(probe, targets))))
"""

RUN = """
import json, sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.crosshost.network.plugins.module_utils.errors import CrosshostError
from ansible_collections.crosshost.network.plugins.module_utils.firewall.converge import converge
asked = json.load(sys.stdin)
try:
    print(json.dumps(converge(asked["params"], asked["check"])))
except CrosshostError as exc:
    print(json.dumps({"failed": True, "msg": str(exc)}))
"""


class Host:
    """The host with the firewall. `run` is a command in it; `module` one run of firewall_ports."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.stack = stack
        self.pid = self.hold(["unshare", "-n", "-m", "sh", "-c", SETUP])
        self.pids = {
            name: self.hold(["unshare", "-n", "sh", "-c", "echo ready; exec sleep 1000"]) for name in NETS
        }
        for name, (four, six) in NETS.items():
            device, inside = DEVICES[name], ["nsenter", "-t", str(self.pids[name]), "-n"]
            self.run(
                "ip",
                "link",
                "add",
                device,
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                str(self.pids[name]),
            )
            for where, dev, last in (([], device, 1), (inside, "eth0", 2)):
                base = where or ["nsenter", "-t", str(self.pid), "-n"]
                for words in (
                    ["addr", "add", f"{four}.{last}/24", "dev", dev],
                    ["addr", "add", f"{six}:{last}/64", "dev", dev, "nodad"],
                    ["link", "set", dev, "up"],
                    ["link", "set", "lo", "up"],
                ):
                    subprocess.run([*base, "ip", *words], check=True, capture_output=True)

    def hold(self, argv: list[str]) -> int:
        """Start a process that lives as long as the host; its pid once it says "ready"."""
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.stack.callback(_end, process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == "ready\n", f"{argv[:6]} said {line!r}"
        return process.pid

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        """A daemon in the host's namespaces."""
        process = subprocess.Popen(self._inside(argv), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.stack.callback(_end, process)
        return process

    def _inside(self, argv: tuple[str, ...]) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-n", "-m", *argv]

    def attempt(self, *argv: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._inside(argv), input=text, capture_output=True, text=True, check=False)

    def run(self, *argv: str, text: str = "") -> str:
        done = self.attempt(*argv, text=text)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def serve(self, *ports: tuple[str, int]) -> None:
        self.hold(self._inside((sys.executable, "-c", SERVER, json.dumps(ports))))

    def reach(self, who: str, *ports: tuple[str, int]) -> dict[str, bool]:
        """Whether an echo comes back to `who`: `4 tcp 2377` to bool, for both IP versions."""
        four, six = NETS[who]
        targets = [(f"{six}:1" if v == 6 else f"{four}.1", *port) for v in (4, 6) for port in ports]
        argv = ["nsenter", "-t", str(self.pids[who]), "-n", sys.executable, "-c", PROBE, json.dumps(targets)]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        names = [f"{v} {proto} {port}" for v in (4, 6) for proto, port in ports]
        return dict(zip(names, json.loads(done.stdout), strict=True))

    def module(self, check: bool = False, **params: Any) -> dict[str, Any]:
        asked = json.dumps({"params": params, "check": check})
        return dict(json.loads(self.run(sys.executable, "-c", RUN, BUILD, text=asked)))

    def wrap(self, program: str, body: str) -> None:
        """Put a shell script in the way of a program."""
        self.run(
            "sh",
            "-c",
            f"cat > /usr/local/sbin/{program}; chmod 755 /usr/local/sbin/{program}",
            text=f"#!/bin/sh\n{body}\n",
        )

    def unwrap(self, program: str) -> None:
        self.run("rm", "-f", f"/usr/local/sbin/{program}")

    def start_firewalld(self) -> subprocess.Popen[bytes]:
        daemon = self.start("firewalld", "--nofork", "--nopid")
        wait_for(lambda: self.attempt("firewall-cmd", "--state").returncode == 0, "firewalld")
        return daemon


def _end(process: subprocess.Popen[Any]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def wait_for(condition: Any, what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come up within {seconds} s"
        time.sleep(0.2)


@contextlib.contextmanager
def firewalled_host() -> Iterator[Host]:
    """A host that serves an echo on the tested ports."""
    assert os.geteuid() == 0
    with contextlib.ExitStack() as stack:
        host = Host(stack)
        host.serve(("tcp", 2377), ("tcp", 7946), ("udp", 7946), ("udp", 4789), ("tcp", 8080), ("tcp", 30050))
        yield host
