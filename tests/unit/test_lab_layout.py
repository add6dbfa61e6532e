# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's names and addresses, what it refuses, and what it writes."""

from __future__ import annotations

import shlex
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml
from crosshost_lab import cli, disk, layout
from crosshost_lab.layout import Lab, LabError, UsageError

CHECKOUT = Path("/srv/some where/crosshost")


@pytest.mark.parametrize("name", ["demo", "a", "t-lab", "a23456789z", "out", "h1"])
def test_good_names(name: str) -> None:
    assert Lab(CHECKOUT, name).switch == f"xhlab-{name}"


@pytest.mark.parametrize(
    "name", ["", "A", "1a", "-a", "a_b", "a" * 11, "a/b", "..", "a\n", "x-out", "x-h1", "cache", "é"]
)
def test_bad_names(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        Lab(CHECKOUT, name)
    assert "\n" not in str(caught.value)


def test_no_two_labs_share_a_namespace() -> None:
    names = ["a", "a-o", "a-h", "ab", "a-1", "a-out1", "a-h1x"]
    owned = [name for lab in names for name in Lab(CHECKOUT, lab).namespaces()]
    assert len(owned) == len(set(owned))


def test_every_host_has_its_own_addresses_in_the_subnets_of_its_bridge() -> None:
    seen: set[object] = set()
    for bridge in layout.SWITCH_BRIDGES:
        four, six = map(ip_network, layout.subnets(bridge))
        for number in [*range(1, layout.MAX_HOSTS + 1), 254]:
            addresses = (
                ip_address(layout.address(bridge, number)),
                ip_address(layout.address6(bridge, number)),
            )
            assert addresses[0] in four and addresses[1] in six
            seen.update(addresses)
    assert len(seen) == 2 * 2 * (layout.MAX_HOSTS + 1)


def test_macs_are_unicast_local_and_distinct() -> None:
    macs = {layout.mac(b, n) for b in layout.SWITCH_BRIDGES for n in range(1, layout.MAX_HOSTS + 1)}
    assert len(macs) == 2 * layout.MAX_HOSTS
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs)


def test_port_names_fit_a_link_name() -> None:
    host = Lab(CHECKOUT, "a23456789z").host(layout.MAX_HOSTS)
    assert all(len(host.port(bridge)) <= 15 for bridge in layout.SWITCH_BRIDGES)


@pytest.mark.parametrize("text", ["0", "21", "-1", "", "three", "1.5", "٣"])
def test_bad_host_count(text: str) -> None:
    with pytest.raises(UsageError):
        layout.host_count(text)


def test_host_count_and_mtu_limits() -> None:
    assert [layout.host_count("1"), layout.host_count("20")] == [1, 20]
    assert [layout.mtu("1280"), layout.mtu("65535")] == [1280, 65535]
    for text in ("1279", "65536", "x"):
        with pytest.raises(UsageError):
            layout.mtu(text)


@pytest.mark.parametrize("name", ["h0", "h4", "h01", "h", "web", "h1 ", "H1"])
def test_bad_host_names(name: str) -> None:
    with pytest.raises(UsageError, match="h1 to h3"):
        layout.host_number(name, 3)


def test_inventory_is_yaml_with_the_group_that_the_roles_expect() -> None:
    group = yaml.safe_load(disk.inventory(Lab(CHECKOUT, "t"), 12))["crosshost"]
    assert list(group["hosts"]) == [f"h{n}" for n in range(1, 13)]
    assert group["hosts"]["h12"] == {"ansible_host": "10.97.0.12", "crosshost_vtep": "10.98.0.12"}
    words = shlex.split(group["vars"]["ansible_ssh_common_args"])
    assert words[:2] == ["-F", "/srv/some where/crosshost/.lab/t/ssh/config"]
    assert "ControlPath=/run/xhlab-t/%r@%h" in words


def test_control_path_fits_a_unix_socket() -> None:
    # sun_path holds 108 bytes; ssh adds a dot and 16 characters while it makes the socket.
    run = Lab(Path("/" + "x" * 200), "a23456789z").run
    assert len(f"{run}/root@255.255.255.255") + 17 < 108


def test_demo_inventory_lies_beside_the_program() -> None:
    assert Lab(CHECKOUT, "demo").inventory == CHECKOUT / "lab" / "inventory.yml"
    assert Lab(CHECKOUT, "t").inventory == CHECKOUT / ".lab" / "t" / "inventory.yml"


def test_only_the_management_link_has_default_routes() -> None:
    mgmt, data = disk.network_file("mgmt", "eth0", 7), disk.network_file("data", "eth1", 7)
    assert "Name=eth0\n" in mgmt and "Address=10.97.0.7/24\n" in mgmt
    assert "Gateway=10.97.0.254\n" in mgmt and "Gateway=fd97::254\n" in mgmt
    assert "Name=eth1\n" in data and "Address=fd98::7/64\n" in data
    assert "Gateway" not in data


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nonsense"],
        ["--name", "Bad", "status"],
        ["up", "--hosts", "0"],
        ["up", "--hosts", "21"],
        ["up", "--mtu", "12"],
        ["exec", "h1"],
        ["partition", "h1"],
    ],
)
def test_bad_input_is_one_line_and_code_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("lab: error: ") and output.err.count("\n") == 1


def test_error_codes() -> None:
    assert (LabError("x").exit_code, UsageError("x").exit_code) == (1, 2)
