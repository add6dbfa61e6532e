# SPDX-License-Identifier: GPL-3.0-or-later
"""The key file: made for its owner alone, refused when others can read it, rotated without losing what is older."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest
from crosshost_webui.accounts.keys import KeyFileError, Keys
from crosshost_webui.settings import Settings


def test_it_is_made_at_the_first_start_for_its_owner_alone(settings: Settings) -> None:
    keys = Keys(settings)
    assert keys.path == settings.data_dir / "keys.json"
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    key_id, key = keys.current()
    assert len(key) == 32
    assert Keys(settings).current() == (key_id, key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o601])
def test_it_is_refused_when_others_can_open_it(settings: Settings, mode: int) -> None:
    path = Keys(settings).path
    path.chmod(mode)
    with pytest.raises(KeyFileError) as told:
        Keys(settings)
    assert "\n" not in str(told.value)
    assert str(path) in str(told.value) and "chmod 600" in str(told.value)


def test_it_may_be_read_only(settings: Settings) -> None:
    path = Keys(settings).path
    path.chmod(0o400)
    Keys(settings)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{}", b"null", b"\xff\xfe", b'{"secrets": 1, "peppers": 2}',
        b'{"secrets": {"current": "k1", "keys": {}}, "peppers": {"current": "p1", "keys": {}}}',
        b'{"secrets": {"current": "k1", "keys": {"k1": "c2hvcnQ="}}, "peppers": {"current": "p1", "keys": {}}}',
        b'{"secrets": {"current": "k1", "keys": {"k1": "not base64!"}}, "peppers": {"current": "p1", "keys": {}}}',
        b'{"secrets": {"current": "k1", "keys": {"k1": 7}}, "peppers": {"current": "p1", "keys": {}}}',
        b'{"secrets": {"current": "k1", "keys": ["k1"]}, "peppers": {"current": "p1", "keys": {}}}',
    ],
)  # fmt: skip
def test_a_malformed_file_is_refused_in_one_line(settings: Settings, content: bytes) -> None:
    path = Keys(settings).path
    path.write_bytes(content)
    with pytest.raises(KeyFileError) as told:
        Keys(settings)
    assert "\n" not in str(told.value) and str(path) in str(told.value)
    assert path.read_bytes() == content  # nothing was made in its place


def test_a_damaged_key_is_not_shown(settings: Settings) -> None:
    path = Keys(settings).path
    whole = json.loads(path.read_text())
    secret = whole["secrets"]["keys"][whole["secrets"]["current"]]
    whole["peppers"]["keys"] = {"p1": secret[:8]}
    path.write_text(json.dumps(whole))
    with pytest.raises(KeyFileError) as told:
        Keys(settings)
    assert secret[:8] not in str(told.value)


def test_a_rotation_keeps_what_is_older(settings: Settings) -> None:
    keys = Keys(settings)
    running = Keys(settings)  # another process
    old_id, old = keys.current()
    pepper, digest = keys.digest("text")
    new_id = keys.rotate()
    assert new_id != old_id and keys.current()[0] == new_id
    assert running.current() == keys.current()
    assert running.secret_key(old_id) == old
    assert running.digest("text", pepper) == (pepper, digest)
    assert running.digest("text")[0] != pepper
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600


def test_a_key_that_is_not_there_names_the_file(settings: Settings) -> None:
    keys = Keys(settings)
    with pytest.raises(KeyFileError, match=r"keys\.json.*'k0'"):
        keys.secret_key("k0")
    with pytest.raises(KeyFileError, match="'p0'"):
        keys.digest("text", "p0")
    assert keys.missing({"k0", keys.current()[0]}, {"p0"}) == {"k0", "p0"}


def test_many_that_start_at_once_have_one_file(settings: Settings) -> None:
    found: list[tuple[str, bytes]] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        found.append(Keys(settings).current())

    threads = [threading.Thread(target=start) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert len(found) == 8 and len(set(found)) == 1
    assert not list(settings.data_dir.glob(".keys*"))


def test_a_running_server_outlives_a_file_that_is_away(settings: Settings, tmp_path: Path) -> None:
    keys = Keys(settings)
    before = keys.current()
    keys.path.rename(tmp_path / "away.json")
    assert keys.current() == before


def test_purposes_have_keys_of_their_own(settings: Settings) -> None:
    keys = Keys(settings)
    assert len({keys.derived("a"), keys.derived("b"), keys.current()[1], keys.digest("for a")[1]}) == 4
