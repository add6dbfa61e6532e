# SPDX-License-Identifier: GPL-3.0-or-later
"""What dnsmasq itself makes of the files that are written for it: thousands of random names, none of them refused."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils.compile import names as servers
from ansible_collections.crosshost.network.plugins.module_utils.errors import SpecError
from ansible_collections.crosshost.network.plugins.module_utils.resources import File
from ansible_collections.crosshost.network.plugins.module_utils.spec import names

from tests.support.world import world

pytestmark = [pytest.mark.root]
WIDE = names.ground({"name": "web", "subnets": [{"subnet": "10.0.0.0/8", "vni": 1, "gateway": "10.0.0.1"}]})
LETTERS = "abcXYZ019-_."


def random_names(chance: random.Random) -> names.Names:
    """Everything that is accepted of many random names, the longest ones too."""
    records: list[dict[str, Any]] = []
    for number in range(3000):
        length = chance.choice((1, 2, 5, 20, 63, 100, 240))
        name = "".join(chance.choice(LETTERS) for _ in range(length))
        item = {"name": f"{number}{name}"[:length], "addresses": [f"10.0.{number // 250}.{number % 250}"]}
        try:
            names.parse({"network": "web", "records": [*records[-1:], item]}, {"web": WIDE}, {})
        except SpecError:
            continue
        if item["name"].lower() not in {one["name"].lower() for one in records}:
            records.append(item)
    return names.parse({"network": "web", "records": records}, {"web": WIDE}, {})


def test_dnsmasq_takes_every_name(tmp_path: Path) -> None:
    if shutil.which("dnsmasq") is None:
        pytest.skip("not installed: dnsmasq")
    found = random_names(random.Random(5))  # noqa: S311
    server = servers.Server("web", "xh-web", ("127.0.0.1",), 5353, (found,), ("127.0.0.9",))
    for res in servers.compile_server(server):
        if isinstance(res, File):
            (tmp_path / res.path.rpartition("/")[2]).write_text(res.content)
    conf = (tmp_path / "dnsmasq.conf").read_text().replace(f"{servers.FOLDER}/web", str(tmp_path))
    (tmp_path / "dnsmasq.conf").write_text(conf)

    def serve() -> tuple[str, str]:
        argv = [
            "dnsmasq",
            "-k",
            f"--conf-file={tmp_path}/dnsmasq.conf",
            "--pid-file=",
            "--user=root",
            "--log-facility=-",
        ]
        child = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        assert child.stderr is not None
        said = ""
        try:
            while " names" not in said.rpartition("read ")[2]:
                line = child.stderr.readline()
                assert line, said
                said += line
            longest = max((one.name for one in found.records), key=len)
            ask = ["dig", "+short", "@127.0.0.1", "-p", "5353", f"{longest}.web"]
            answer = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
        finally:
            child.terminate()
            said += child.stderr.read()
            child.wait()
        return said, answer

    with world() as made:
        said, answer = made[1].call(serve)
    assert "bad " not in said, said
    assert int(re.findall(r"read \S+ - (\d+) names", said)[0]) == 2 * len(found.records) > 2000
    assert answer.startswith("10.0.")
