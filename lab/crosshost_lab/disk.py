# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on a host's own disk before its first boot, and how the controller reaches the host."""

from __future__ import annotations

import json
import shlex
import uuid

from .layout import MAX_HOSTS, Host, Lab, address, address6
from .system import run, write

# 10-: must sort before the .network files that Debian ships for containers.
_NETWORK = """\
[Match]
Name={name}

[Network]
Address={v4}/24
Address={v6}/64
{gateways}LinkLocalAddressing=ipv6
IPv6AcceptRA=no
IPv6DuplicateAddressDetection=0
"""


def prepare_lab(lab: Lab) -> None:
    """Makes the lab's key pair, once."""
    lab.ssh.mkdir(parents=True, exist_ok=True)
    if not (lab.ssh / "id_ed25519").exists():
        _make_key(str(lab.ssh / "id_ed25519"), f"lab-{lab.name}")


def prepare_host(host: Host) -> None:
    """Makes the disk of `host`, unless it has one: a host keeps its disk as long as the lab lives."""
    done = host.folder / "prepared"
    if done.exists():
        return
    for folder in (host.upper, host.folder / "work", host.merged, host.log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    etc = host.upper / "etc"
    write(etc / "hostname", host.name + "\n")
    write(etc / "machine-id", uuid.uuid4().hex + "\n", 0o444)
    write(etc / "hosts", hosts_file())
    for bridge, link in (("mgmt", "eth0"), ("data", "eth1")):
        write(etc / f"systemd/network/10-{link}.network", network_file(bridge, link, host.number))
    key = etc / "ssh/ssh_host_ed25519_key"
    key.parent.mkdir(parents=True, exist_ok=True)
    if not key.exists():
        _make_key(str(key), host.name)
    root = host.upper / "root"
    root.mkdir(mode=0o700, exist_ok=True)
    (root / ".ssh").mkdir(mode=0o700, exist_ok=True)
    public = (host.lab.ssh / "id_ed25519.pub").read_text()
    write(root / ".ssh/authorized_keys", public, 0o600)
    write(done, "")


def _make_key(path: str, comment: str) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])


def network_file(bridge: str, link: str, number: int) -> str:
    """systemd-networkd's configuration of `link` of host `number`; the default routes go by mgmt."""
    gateways = ""
    if bridge == "mgmt":
        gateways = f"Gateway={address(bridge, 254)}\nGateway={address6(bridge, 254)}\n"
    return _NETWORK.format(
        name=link, v4=address(bridge, number), v6=address6(bridge, number), gateways=gateways
    )


def hosts_file() -> str:
    """/etc/hosts: every host that the lab can have, by its management address."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines += ["{} h{}".format(address("mgmt", number), number) for number in range(1, MAX_HOSTS + 1)]
    return "\n".join(lines) + "\n"


def write_access(lab: Lab, count: int) -> None:
    """Writes known_hosts, the ssh configuration and the inventory for `count` hosts."""
    known: list[str] = []
    for host in lab.hosts(count):
        public = (host.upper / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()
        known.append("{},{} {} {}\n".format(address("mgmt", host.number), host.name, public[0], public[1]))
    write(lab.ssh / "known_hosts", "".join(known), 0o600)
    write(lab.ssh / "config", ssh_config(lab, count), 0o600)
    write(lab.inventory, inventory(lab, count))


def ssh_config(lab: Lab, count: int) -> str:
    """Configuration for `ssh -F`: reaches the hosts by name or management address, through the switch."""
    lines = ["# Written by `lab up`."]
    for host in lab.hosts(count):
        lines += [f"Host {host.name}", "  HostName {}".format(address("mgmt", host.number))]
    lines += [
        "Host h* 10.97.0.*",
        "  User root",
        "  IdentityFile {}".format(_ssh_quote(str(lab.ssh / "id_ed25519"))),
        "  IdentitiesOnly yes",
        "  UserKnownHostsFile {}".format(_ssh_quote(str(lab.ssh / "known_hosts"))),
        "  GlobalKnownHostsFile none",
        "  StrictHostKeyChecking yes",
        f"  ProxyCommand nsenter --net=/run/netns/{lab.switch} nc %h %p",
        "  ConnectTimeout 10",
        "  ServerAliveInterval 5",
        "  ServerAliveCountMax 3",
    ]
    return "\n".join(lines) + "\n"


def _ssh_quote(path: str) -> str:
    # ssh expands % in these values.
    return '"{}"'.format(path.replace("%", "%%"))


def inventory(lab: Lab, count: int) -> str:
    """A static YAML inventory: group `crosshost` with hosts h1..h<count>."""
    # Ansible's own control path is made of address, port and user, which two labs share: each lab names its own.
    arguments = "-F {} -o ControlPath={}/%r@%h".format(shlex.quote(str(lab.ssh / "config")), lab.run)
    lines = [
        f"# Written by `lab up`: the lab {lab.name}.",
        "---",
        "crosshost:",
        "  vars:",
        "    ansible_user: root",
        "    ansible_python_interpreter: /usr/bin/python3",
        # A JSON string is a YAML string.
        f"    ansible_ssh_common_args: {json.dumps(arguments)}",
        "  hosts:",
    ]
    for host in lab.hosts(count):
        lines += [
            f"    {host.name}:",
            "      ansible_host: {}".format(address("mgmt", host.number)),
            "      crosshost_vtep: {}".format(address("data", host.number)),
        ]
    return "\n".join(lines) + "\n"
