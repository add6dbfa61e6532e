# SPDX-License-Identifier: GPL-3.0-or-later
"""The independent checker: it accepts what the engine makes, and reports each thing that is changed by hand."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import checker
from tests.checker import __main__ as command_line
from tests.support import engine
from tests.support.scenarios import CHANGED, DEFAULTS, ENDS, ENDS_CHANGED, GWBRIDGE, THREE, declared
from tests.support.world import Host, world

pytestmark = pytest.mark.root
FULL = declared(THREE, ENDS, [GWBRIDGE])


def test_the_checker_shares_no_code_with_the_collection() -> None:
    folder = Path(checker.__file__).parent
    files = sorted(folder.glob("*.py"))
    assert len(files) >= 5
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""] if not node.level else []
                assert node.level <= 1, f"{path.name}: it imports from outside its package"
            else:
                continue
            outside = {name.split(".")[0] for name in names} - {
                "__future__", "argparse", "collections", "dataclasses", "fractions", "hashlib", "ipaddress", "json", "math",
                "pathlib", "re", "shlex", "subprocess", "sys", "typing",
            }  # fmt: skip
            assert not outside, f"{path.name}: it imports {outside}"
        assert "import_module" not in path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    engine.warm()
    with world() as made:
        made[1].call(engine.everything, FULL)
        yield made[1]


def port_of(ip: str, alias: str) -> str:
    """A shell word: the link whose alias begins so, as this form of ip shows it."""
    return f"$({ip} -o link | grep -F 'alias {alias}' | sed 's/^[0-9]*: //; s/@.*//')"


WEB_PORT = port_of("ip -n xh-web", "crosshost:web/box1")
LEG_PORT = port_of("ip", "crosshost:xh_gwbridge/box1@")

# (what is done by hand, how it is undone, what the report has to say)
MUTATIONS = [
    ("bridge -n xh-web fdb del 02:42:0a:32:00:0c dev vx5000 dst 10.98.0.2 self", "bridge -n xh-web fdb replace 02:42:0a:32:00:0c dev vx5000 dst 10.98.0.2 self permanent", "xh-web: FDB row vx5000 02:42:0a:32:00:0c 10.98.0.2: missing"),
    ("bridge -n xh-web fdb add 02:00:00:00:00:99 dev vx5000 dst 10.98.0.3 self permanent", "bridge -n xh-web fdb del 02:00:00:00:00:99 dev vx5000 dst 10.98.0.3 self", "xh-web: FDB row vx5000 02:00:00:00:00:99 10.98.0.3: unexpected"),
    ("bridge -n xh-web fdb replace 02:42:0a:32:00:0c dev vx5000 dst 10.98.0.3 self permanent", "bridge -n xh-web fdb replace 02:42:0a:32:00:0c dev vx5000 dst 10.98.0.2 self permanent", "xh-web: FDB row vx5000 02:42:0a:32:00:0c 10.98.0.3: unexpected"),
    ("bridge -n xh-web fdb add 02:00:00:00:00:98 dev vx5000 dst 10.98.0.3 self dynamic", "bridge -n xh-web fdb del 02:00:00:00:00:98 dev vx5000 dst 10.98.0.3 self", "xh-web: FDB row 02:00:00:00:00:98 on vx5000 10.98.0.3: learned where nothing should be"),
    ("bridge -n xh-open fdb del 00:00:00:00:00:00 dev vx6000 dst 10.98.0.3 self", "bridge -n xh-open fdb append 00:00:00:00:00:00 dev vx6000 dst 10.98.0.3 self permanent", "xh-open: FDB row vx6000 00:00:00:00:00:00 10.98.0.3: missing"),
    ("ip -n xh-web neigh del 10.50.0.12 dev vx5000", "ip -n xh-web neigh replace 10.50.0.12 lladdr 02:42:0a:32:00:0c dev vx5000 nud permanent", "xh-web: neighbour vx5000 10.50.0.12 02:42:0a:32:00:0c: missing"),
    ("ip -n xh-web neigh replace 10.50.0.77 lladdr 02:00:00:00:00:77 dev vx5000 nud permanent", "ip -n xh-web neigh del 10.50.0.77 dev vx5000", "xh-web: neighbour vx5000 10.50.0.77 02:00:00:00:00:77: unexpected"),
    ("ip -n xh-web link set br5000 mtu 1400", "ip -n xh-web link set br5000 mtu 1450", "xh-web: link br5000: mtu: is 1400, should be 1450"),
    ("ip -n xh-web link set vx5001 alias somebody", "ip -n xh-web link set vx5001 alias crosshost:web", "xh-web: link vx5001: alias: is 'somebody'"),
    ("ip -n xh-web link set lo alias other", "ip -n xh-web link set lo alias crosshost:web", "xh-web: mark: alias of lo is 'other'"),
    ("ip -n xh-open link set vx6000 down", "ip -n xh-open link set vx6000 up; bridge -n xh-open fdb append 00:00:00:00:00:00 dev vx6000 dst 10.98.0.2 self permanent 2>&-; bridge -n xh-open fdb append 00:00:00:00:00:00 dev vx6000 dst 10.98.0.3 self permanent 2>&-; true", "xh-open: link vx6000: up: is False"),
    ("bridge -n xh-web link set dev vx5000 learning on", "bridge -n xh-web link set dev vx5000 learning off", "xh-web: link vx5000: port learning: is True, should be False"),
    ("bridge -n xh-open link set dev vx6000 neigh_suppress off", "bridge -n xh-open link set dev vx6000 neigh_suppress on", "xh-open: link vx6000: port neigh_suppress: is False"),
    ("ip -n xh-web link set br5000 type bridge mcast_snooping 1", "ip -n xh-web link set br5000 type bridge mcast_snooping 0", "xh-web: link br5000: mcast_snooping: is 1"),
    ("ip -n xh-web link set vx5001 nomaster", "ip -n xh-web link set vx5001 master br5001; bridge -n xh-web link set dev vx5001 learning off", "xh-web: link vx5001: master: is ''"),
    ("ip -n xh-web addr del 10.51.0.254/24 dev br5001", "ip -n xh-web addr add 10.51.0.254/24 dev br5001", "xh-web: address br5001 10.51.0.254/24: missing"),
    ("ip -n xh-web addr add 10.99.0.1/24 dev br5000", "ip -n xh-web addr del 10.99.0.1/24 dev br5000", "xh-web: address br5000 10.99.0.1/24: unexpected"),
    ("ip -n xh-web route add 10.77.0.0/16 dev br5000", "ip -n xh-web route del 10.77.0.0/16 dev br5000", "xh-web: route 10.77.0.0/16 br5000 : unexpected"),
    ("ip -n xh-web route add blackhole 10.78.0.0/16", "ip -n xh-web route del blackhole 10.78.0.0/16", "xh-web: route 10.78.0.0/16 blackhole : unexpected"),
    ("ip -n xh-web link add stray type bridge", "ip -n xh-web link del stray", "xh-web: link stray: unexpected (bridge"),
    ("ip netns exec xh-web sysctl -qw net.ipv4.ip_forward=0", "ip netns exec xh-web sysctl -qw net.ipv4.ip_forward=1", "xh-web: setting net.ipv4.ip_forward: is 0, should be 1"),
    ("ip netns exec xh-web nft add table inet crosshost", "ip netns exec xh-web nft delete table inet crosshost", "xh-web: nft table inet crosshost: unexpected"),
    ("ip netns add xh-stray", "ip netns del xh-stray", "namespace xh-stray: unexpected"),
    ("touch /run/netns/xh-dead", "rm /run/netns/xh-dead", "/run/netns/xh-dead: a dead name"),
    ("ip link add vgdead group 30840 type bridge", "ip link del vgdead", "host: link vgdead: unexpected (bridge"),
    (f"bridge -n xh-web link set dev {WEB_PORT} learning on", f"bridge -n xh-web link set dev {WEB_PORT} learning off", "port learning: is True, should be False"),
    (f"bridge -n xh-web fdb del 02:42:0a:32:00:15 dev {WEB_PORT} master", f"bridge -n xh-web fdb add 02:42:0a:32:00:15 dev {WEB_PORT} master static", "02:42:0a:32:00:15: missing"),
    (f"bridge link set dev {LEG_PORT} isolated off", f"bridge link set dev {LEG_PORT} isolated on", "port isolated: is False, should be True"),
    ("ip -n box1 route del default", "ip -n box1 route add default via 172.30.0.1", "box1: route 0.0.0.0/0 gw0 172.30.0.1: missing"),
    ("ip -n box1 addr del 10.50.0.21/24 dev eth0", "ip -n box1 addr add 10.50.0.21/24 dev eth0; ip -n box1 route replace 10.51.0.0/24 via 10.50.0.1 dev eth0", "box1: address eth0 10.50.0.21/24: missing"),
    ("ip -n box2 link set eth0 address 02:00:00:00:00:55", "ip -n box2 link set eth0 address 02:42:0a:33:00:16", "box2: link eth0: mac: is '02:00:00:00:00:55'"),
    ("nft add rule inet crosshost xh_gwbridge-forward accept", "nft -a list chain inet crosshost xh_gwbridge-forward | sed -n 's/.*[[:space:]]accept # handle //p' | tail -1 | xargs -I{} nft delete rule inet crosshost xh_gwbridge-forward handle {}", "host: nft chain (filter forward 0)"),
    ("nft add chain inet crosshost extra '{ type filter hook input priority 5; }'", "nft delete chain inet crosshost extra", "host: nft chain (filter input 5) with []: unexpected"),
    ("ip addr del 172.30.0.1/24 dev xh_gwbridge", "ip addr add 172.30.0.1/24 dev xh_gwbridge", "host: address xh_gwbridge 172.30.0.1/24: missing"),
]  # fmt: skip


@pytest.mark.parametrize(("harm", "repair", "report"), MUTATIONS, ids=[row[2][:60] for row in MUTATIONS])
def test_what_is_changed_by_hand_is_reported(host: Host, harm: str, repair: str, report: str) -> None:
    assert host.call(checker.check, FULL) == []
    try:
        host.run("sh", "-ec", harm)
        found = host.call(checker.check, FULL)
        assert any(report in line for line in found), found
    finally:
        host.run("sh", "-ec", repair)


def test_what_is_declared_otherwise_is_reported(host: Host) -> None:
    """The same kernel, other declarations: each network, endpoint and bridge is missed or not expected."""
    found = host.call(checker.check, declared(CHANGED, ENDS_CHANGED, []))
    for part in ("namespace xh-fresh: missing", "namespace xh-cast: unexpected", "namespace box3: missing", "xh_gwbridge: unexpected", "mtu: is 1450, should be 1420"):  # fmt: skip
        assert any(part in line for line in found), (part, found)


def test_the_command_line_tells_with_its_code(
    tmp_path: Path, host: Host, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "inventory.json"
    path.write_text(
        json.dumps({"hosts": {"h1": FULL, "h2": declared(THREE, ENDS, [GWBRIDGE], underlay_mtu=9000)}})
    )
    arguments = ["--inventory-json", str(path), "--host"]
    assert host.call(command_line.main, [*arguments, "h1"]) == 0
    assert host.call(command_line.main, [*arguments, "h2"]) == 1
    assert host.call(command_line.main, [*arguments, "h9"]) == 2
    assert host.call(command_line.main, [*arguments, "h1", "--runner", "env LANG=C"]) == 0
    assert host.call(command_line.main, [*arguments, "h1", "--runner", "false"]) == 2
    said = capfd.readouterr()
    assert "h1: as declared" in said.out
    assert "should be 8950" in said.out


def test_defaults_of_the_scenarios_are_those_of_the_world(host: Host) -> None:
    assert DEFAULTS["data_path_address"] == host.vtep
