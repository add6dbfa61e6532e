# SPDX-License-Identifier: GPL-3.0-or-later
"""Names: what is refused, what name servers are told, what sandboxes get."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.compile import names as servers
from ansible_collections.crosshost.network.plugins.module_utils.compile import resolver
from ansible_collections.crosshost.network.plugins.module_utils.compile.resolver import Sandbox
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.kernel import files, resolv
from ansible_collections.crosshost.network.plugins.module_utils.kinds.resolvers import Resolvers
from ansible_collections.crosshost.network.plugins.module_utils.plan import Op
from ansible_collections.crosshost.network.plugins.module_utils.resources import File, Unit
from ansible_collections.crosshost.network.plugins.module_utils.spec import gwbridge, names

NETWORKS = {
    one.name: one
    for one in map(
        names.ground,
        [
            {"name": "web", "subnets": [{"subnet": "10.0.1.0/24", "vni": 1}, {"subnet": "fd01::/64"}]},
            {"name": "db", "internal": True, "subnets": [{"subnet": "10.0.2.0/24", "vni": 2}]},
            {"name": "bare", "subnets": [{"subnet": "10.0.3.0/24", "vni": 3, "gateway": "none"}]},
            {"name": "end.", "subnets": [{"subnet": "10.0.4.0/24", "vni": 4}]},
        ],
    )
}
BRIDGES = {"xh_gwbridge": gwbridge.parse({"subnet": "172.30.0.0/16"})}
SHOP = {"name": "Shop", "aliases": ["front", "a.b"], "addresses": ["10.0.1.11", "fd01:0::11"]}
API = {"name": "api", "addresses": ["10.0.1.100"], "tasks": ["10.0.1.11", "10.0.1.12"]}


def parse(item: dict[str, Any], bridges: Any = None) -> names.Names:
    return names.parse({"network": "web", **item}, NETWORKS, BRIDGES if bridges is None else bridges)


def text(item: dict[str, Any], upstream: tuple[str, ...] = ()) -> dict[str, str]:
    """The files of a server, by their names."""
    one = parse(item)
    server = servers.Server(one.network, f"xh-{one.network}", one.gateways, 53, (one,), upstream)
    found = [res for res in servers.compile_server(server) if isinstance(res, File)]
    return {res.path.rpartition("/")[2]: res.content for res in found}


def test_the_files_of_a_name_server() -> None:
    found = text({"records": [SHOP], "services": [API]}, ("192.0.2.53",))
    assert found["hosts"].splitlines() == [
        "10.0.1.11 shop.web shop front.web front a.b.web a.b",
        "fd01::11 shop.web shop front.web front a.b.web a.b",
        "10.0.1.100 api.web api",
        "10.0.1.11 tasks.api.web tasks.api",
        "10.0.1.12 tasks.api.web tasks.api",
    ]
    assert found["servers"].splitlines() == [
        "server=//",
        "server=/shop.web/",
        "server=/front.web/",
        "server=/a.b.web/",
        "server=/a.b/",
        "server=/api.web/",
        "server=/tasks.api/",
        "server=/1.0.10.in-addr.arpa/",
        "server=/0.0.0.0.0.0.0.0.0.0.0.0.1.0.d.f.ip6.arpa/",
        "server=192.0.2.53",
    ]
    assert {"listen-address=10.0.1.1", "listen-address=fd01::1", "local-ttl=1"} <= set(
        found["dnsmasq.conf"].splitlines()
    )


def unit(item: dict[str, Any], upstream: tuple[str, ...] = ()) -> Unit:
    one = parse(item)
    server = servers.Server("web", "xh-web", one.gateways, 53, (one,), upstream)
    return next(res for res in servers.compile_server(server) if isinstance(res, Unit))


def test_records_and_upstream_are_data_and_need_no_restart() -> None:
    plain, more = unit({}), unit({"records": [SHOP]})
    assert plain.config == more.config and plain.data != more.data
    assert unit({}, ("192.0.2.53",)).config == plain.config
    assert unit({}, ("192.0.2.53",)).data != plain.data


def test_a_name_means_what_it_means_in_the_first_of_several_networks() -> None:
    web = parse({"records": [{"name": "both", "addresses": ["10.0.1.5"]}, SHOP]})
    db = parse({"network": "db", "records": [{"name": "both", "addresses": ["10.0.2.5"]}]})
    server = servers.Server("web:db", "xh-web", web.gateways, 10001, (web, db), ())
    found = {res.path: res.content for res in servers.compile_server(server) if isinstance(res, File)}
    lines = found["/run/crosshost/dns/web:db/hosts"].splitlines()
    assert lines[0] == "10.0.1.5 both.web both" and lines[-1] == "10.0.2.5 both.db"
    assert (
        "NetworkNamespacePath=/run/netns/xh-web\n"
        in found["/run/systemd/system/crosshost-dns@web:db.service.d/namespace.conf"]
    )


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"network": "nowhere"}, "names nowhere: network 'nowhere': there is no such overlay network"),
        ({"network": "bare"}, "no subnet of it has a gateway"),
        ({"network": "end."}, "it ends with a dot"),
        ({"record": []}, "record []: there is no such option"),
        ({"upstream": ["127.0.0.53"]}, "upstream[0] '127.0.0.53': it is the host's own loopback"),
        ({"upstream": ["::1"]}, "own loopback"),
        ({"upstream": ["fe80::1"]}, "not a link-local one"),
        ({"upstream": ["192.0.2.1#53\nconf-dir=/tmp"]}, "give one IPv4 or IPv6 address"),
        ({"upstream": ["2001:db8::53"]}, "gwbridge xh_gwbridge has no subnet of its family"),
        ({"gwbridge": "br9"}, "gwbridge 'br9': there is no such gateway bridge"),
        ({"network": "db", "forward": True}, "the network is internal"),
        ({"records": [{"name": "a\nserver=/x/", "addresses": ["10.0.1.9"]}]}, "records[0].name"),
        ({"records": [{"name": "a#b", "addresses": ["10.0.1.9"]}]}, "use letters, digits"),
        ({"records": [{"name": "a/b", "addresses": ["10.0.1.9"]}]}, "use letters, digits"),
        ({"records": [{"name": "x" * 64, "addresses": ["10.0.1.9"]}]}, "has 64 characters"),
        ({"records": [{"name": ".".join(["x" * 62] * 4), "addresses": ["10.0.1.9"]}]}, "longer than 253"),
        ({"records": [{"name": "a.", "addresses": ["10.0.1.9"]}]}, "it ends with a dot"),
        ({"records": [{"name": "a"}]}, "records[a].addresses []: give at least one"),
        ({"records": [{"name": "a", "addresses": ["10.0.9.9"]}]}, "in no subnet of the network (10.0.1.0/24"),
        (
            {"records": [SHOP, {"name": "shop", "addresses": ["10.0.1.9"]}]},
            "records[shop] has that name already",
        ),
        (
            {"records": [SHOP, {"name": "shop.web", "addresses": ["10.0.1.9"]}]},
            "'shop.web': records[shop] has",
        ),
        (
            {"records": [SHOP], "services": [{"name": "SHOP", "addresses": ["10.0.1.9"]}]},
            "has that name already",
        ),
        ({"records": [SHOP], "services": [{"name": "front"}]}, "it is an alias of records[shop]"),
        (
            {"records": [{**SHOP, "name": "tasks.api"}], "services": [API]},
            "'tasks.api': records[tasks.api] has",
        ),
        (
            {"services": [API, {**API, "name": "x", "aliases": ["api"]}]},
            "services[api] has that name already",
        ),
    ],
)
def test_what_is_refused(item: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(item)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_accepted() -> None:
    assert parse({"network": "db"}).gwbridge == ""
    assert parse({}, {}).gwbridge == "" and parse({"forward": True}, {}).gwbridge == ""
    assert parse({}).gwbridge == "xh_gwbridge" and parse({"forward": False}).gwbridge == ""
    shared = {"records": [SHOP, {"name": "cart", "aliases": ["Front"], "addresses": ["10.0.1.12"]}]}
    assert [one.aliases for one in parse(shared).records] == [("front", "a.b"), ("front",)]
    assert parse({"services": [{"name": "drained"}]}).services[0].addresses == ()


ENDS = [
    {"network": "db", "sandbox": "two", "ip": "10.0.2.5"},
    {"network": "web", "sandbox": "two", "ip": "10.0.1.5", "ip6": "fd01::5"},
    {"network": "web", "sandbox": "one", "ip6": "fd01::6"},
    {"network": "web", "sandbox": "none", "ip": "10.0.1.7", "dns": False},
    {"network": "other", "sandbox": "else", "ip": "10.0.9.7"},
    {"network": "host", "sandbox": "hosted"},
]


def test_whom_a_sandbox_asks() -> None:
    named = {one.network: one for one in (parse({}), parse({"network": "db"}))}
    found = Resolvers(named, ENDS)
    assert found.sandboxes == [
        Sandbox("two", ("web", "db"), "10.0.1.1", ("10.0.1.5", "fd01::5")),
        Sandbox("one", ("web",), "fd01::1", ("fd01::6",)),
    ]
    (server,) = found.servers({"web": ("192.0.2.53",), "db": ()})
    assert (server.instance, server.netns, server.upstream) == ("web:db", "xh-web", ("192.0.2.53",))
    assert [port for _one, port in found.looking_up("web")] == [server.port] and not found.looking_up("db")
    # without the network that leads to the outside, priority counts
    first = [{**one, "gw_priority": 5} if one["network"] == "db" else one for one in ENDS]
    inside = {**named, "web": parse({"forward": False})}
    assert Resolvers(inside, first).sandboxes[0].networks == ("db", "web")


def test_a_containers_file_comes_back_as_it_was() -> None:
    before = "# engine\nsearch corp.example\nnameserver 192.0.2.1\noptions edns0"
    ours = resolver.resolv_conf(("web",), "10.0.1.1", before)
    lines = [line for line in ours.splitlines() if not line.startswith("#")]
    assert lines == ["search corp.example", "nameserver 10.0.1.1", "options ndots:0"]
    assert resolver.is_ours(ours) and resolver.former(ours) == before
    assert resolver.resolv_conf(("web",), "10.0.1.1", resolver.former(ours)) == ours


def test_no_link_inside_of_a_container_is_followed(tmp_path: Path) -> None:
    """It would lead to the host's own file."""
    inside = f"/proc/{os.getpid()}/root{tmp_path}"
    (tmp_path / "hosts.conf").write_text("the host's")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "resolv.conf").symlink_to(tmp_path / "hosts.conf")
    (tmp_path / "link").symlink_to("etc")
    for path in (f"{inside}/etc/resolv.conf", f"{inside}/link/resolv.conf", f"{inside}/etc"):
        assert files.read(path) is None and files.identity(path) is None and files.writable(path)
    there = File(f"{inside}/etc/resolv.conf", "ours")
    for op in (Op(there, there), Op(None, there)):
        with pytest.raises(OSError, match=r"symbolic|exists"):
            files.apply(op)
    assert (tmp_path / "hosts.conf").read_text() == "the host's"


def test_a_file_inside_of_a_container_is_written_in_place(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_bytes(b"# caf\xe9, no UTF-8\nnameserver 192.0.2.1\n")
    inode, raw = path.stat().st_ino, path.read_bytes()
    there = files.read(f"/proc/{os.getpid()}/root{path}")
    assert there is not None
    ours = there._replace(content=resolver.resolv_conf(("web",), "10.0.1.1", there.content))
    files.apply(Op(there, ours))
    assert path.stat().st_ino == inode and b"nameserver 10.0.1.1\n" in path.read_bytes()
    files.apply(Op(ours, there._replace(content=resolver.former(ours.content))))
    assert path.stat().st_ino == inode and path.read_bytes() == raw


def test_a_file_that_was_not_there_is_removed_again(tmp_path: Path) -> None:
    path = f"/proc/{os.getpid()}/root{tmp_path}/resolv.conf"
    assert files.free_folder(path) == (tmp_path.stat().st_dev, tmp_path.stat().st_ino)
    assert files.writable(path) == ""
    ours = File(path, resolver.resolv_conf(("web",), "10.0.1.1"))
    files.apply(Op(None, ours))
    assert files.read(path) == ours and resolver.former(ours.content) is None
    assert files.free_folder(path) is None
    files.apply(Op(ours, None))
    assert os.listdir(tmp_path) == []


def test_the_hosts_own_file_is_nobody_elses() -> None:
    assert resolv.own_path(os.getpid()) == ""


def test_servers_of_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, resolved = tmp_path / "resolv.conf", tmp_path / "resolved.conf"
    monkeypatch.setattr(resolv, "HOSTS_OWN", str(own))
    monkeypatch.setattr(resolv, "_RESOLVED", str(resolved))
    assert resolv.host_servers("names web") == []
    own.write_text("search x\nnameserver 127.0.0.53\n")
    with pytest.raises(Exception, match=r"^names web: upstream: .*has only 127\.0\.0\.53: .*set upstream"):
        resolv.host_servers("names web")
    resolved.write_text("nameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\n")
    assert resolv.host_servers("names web") == ["192.0.2.1", "2001:db8::1"]
    own.write_text("nameserver 127.0.0.1\nnameserver 192.0.2.9\n")
    assert resolv.host_servers("names web") == ["192.0.2.9"]
