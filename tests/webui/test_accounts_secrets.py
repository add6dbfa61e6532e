# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets at rest: sealed, bound to their row, rotated, checked on the way in, and never shown."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import pytest
from crosshost_webui.accounts import maintenance, secret_store, secrets
from crosshost_webui.accounts.keys import Keys
from crosshost_webui.accounts.models import Secret
from crosshost_webui.accounts.secrets import open_secret
from crosshost_webui.accounts.ssh_key import read_private_key
from crosshost_webui.audit.store import Actor
from crosshost_webui.state import State
from crosshost_webui.web.problem import Conflict, Invalid, NotFound, Unavailable
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
)
from sqlalchemy import select, update
from starlette.testclient import TestClient

TEST = Actor("test")


def add(state: State, name: str = "vault", kind: str = "vault_password", value: str = "correct horse") -> int:
    with state.db.write() as s:
        return secrets.create(s, state.keys, TEST, kind, name, value).id


def opened(state: State, secret_id: int) -> bytes:
    with state.db.read() as s:
        return open_secret(state, s, secret_id)


def test_what_went_in_comes_out_for_a_run_alone(any_state: State) -> None:
    secret_id = add(any_state)
    assert opened(any_state, secret_id) == b"correct horse"
    with any_state.db.read() as s:
        found = secrets.get(s, secret_id)
        assert b"correct horse" not in bytes(found.sealed) and len(found.nonce) == 12
        assert found.used_at is None
    with any_state.db.write() as s:
        assert open_secret(any_state, s, secret_id) == b"correct horse"
    with any_state.db.read() as s:
        assert secrets.get(s, secret_id).used_at is not None
        with pytest.raises(NotFound):
            open_secret(any_state, s, 999)


def test_the_same_content_is_sealed_differently(any_state: State) -> None:
    add(any_state, "a")
    add(any_state, "b")
    with any_state.db.read() as s:
        first, second = s.scalars(select(Secret)).all()
    assert first.nonce != second.nonce and first.sealed != second.sealed


@pytest.mark.parametrize("column", ["sealed", "nonce", "kind", "moved"])
def test_a_row_that_was_tampered_with_does_not_open(any_state: State, column: str) -> None:
    secret_id, other = add(any_state), add(any_state, "other", value="something else")
    with any_state.db.write() as s:
        found, from_ = secrets.get(s, secret_id), secrets.get(s, other)
        if column == "moved":  # the content of another row, whole
            found.sealed, found.nonce = from_.sealed, from_.nonce
        elif column == "kind":
            found.kind = "become_password"
        else:
            value = bytearray(getattr(found, column))
            value[-1] ^= 1
            setattr(found, column, bytes(value))
    with pytest.raises(Unavailable, match="secret vault") as told:
        opened(any_state, secret_id)
    assert "correct horse" not in told.value.detail


def test_a_rotation_seals_all_again(any_state: State) -> None:
    ids = [add(any_state, f"s{number}", value=f"content {number}") for number in range(5)]
    with any_state.db.read() as s:
        before = {one.id: bytes(one.sealed) for one in s.scalars(select(Secret))}
        (old,) = secret_store.key_ids(s)
    new, count = maintenance.rotate_keys(any_state)
    assert count == 5 and new != old
    with any_state.db.read() as s:
        assert secret_store.key_ids(s) == {new}
        assert all(bytes(one.sealed) != before[one.id] for one in s.scalars(select(Secret)))
    assert [opened(any_state, one) for one in ids] == [f"content {number}".encode() for number in range(5)]
    # a copy of the database from before is opened by the file of today
    with any_state.db.write() as s:
        kept = secrets.get(s, ids[0])
        kept.nonce, kept.sealed, kept.key_id = b"\0" * 12, b"", old
    assert any_state.keys.secret_key(old)


def test_a_rotation_that_cannot_open_one_changes_none(any_state: State) -> None:
    ids = [add(any_state, f"s{number}") for number in range(3)]
    with any_state.db.write() as s:
        s.execute(update(Secret).where(Secret.id == ids[1]).values(key_id="k00000000"))
    with pytest.raises(Unavailable, match="s1"):
        maintenance.rotate_keys(any_state)
    assert opened(any_state, ids[0]) == opened(any_state, ids[2]) == b"correct horse"


def test_without_the_key_it_does_not_open_and_says_why(any_state: State) -> None:
    secret_id = add(any_state)
    any_state.keys.path.unlink()
    other = State(any_state.settings, any_state.db, Keys(any_state.settings))
    with pytest.raises(Unavailable, match="put back the key file"):
        opened(other, secret_id)


def private(key: object, form: PrivateFormat = PrivateFormat.OpenSSH, phrase: bytes = b"") -> str:
    encryption = BestAvailableEncryption(phrase) if phrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, encryption).decode()  # type: ignore[attr-defined]


def test_an_ssh_key_is_known_by_the_fingerprint_that_ssh_shows(any_state: State, tmp_path: Path) -> None:
    path = tmp_path / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a comment", "-f", str(path)], check=True
    )
    shown = subprocess.run(
        ["ssh-keygen", "-lf", str(path)], check=True, capture_output=True, text=True
    ).stdout
    secret_id = add(any_state, "lab", "ssh_key", path.read_text().replace("\n", "\r\n") + "\r\n")
    with any_state.db.read() as s:
        found = secrets.get(s, secret_id)
    assert found.fingerprint == f"ssh-ed25519 {shown.split()[1]}"
    back = opened(any_state, secret_id)
    assert back.endswith(b"-----END OPENSSH PRIVATE KEY-----\n") and b"\r" not in back
    written = tmp_path / "back"
    written.write_bytes(back)
    written.chmod(0o600)
    subprocess.run(["ssh-keygen", "-yf", str(written)], check=True, capture_output=True)


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@pytest.mark.parametrize(
    "form", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL]
)
@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_keys_of_other_kinds_and_formats(form: PrivateFormat, kind: str) -> None:
    key = rsa_key(2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    plain, fingerprint = read_private_key("lab", private(key, form))
    assert load_ssh_private_key(plain, None)
    assert fingerprint.startswith("ssh-rsa SHA256:" if kind == "rsa" else "ecdsa-sha2-nistp256 SHA256:")


def wrong_keys(folder: Path) -> dict[str, tuple[str, str]]:
    """By what is wrong: the text, and a word of what is said about it."""
    good = private(ed25519.Ed25519PrivateKey.generate())
    lines = good.splitlines()
    locked = folder / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "a phrase", "-f", str(locked)], check=True)
    elliptic = ec.generate_private_key(ec.SECP256R1())
    return {
        "empty": ("\n", "no private key"),
        "text": ("hello", "no private key"),
        "public": ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ user@host", "public key"),
        "cut": ("\n".join(lines[:2]), "damaged"),
        "damaged": (good.replace(lines[1][10:30], "A" * 20), "damaged"),
        "phrase": (locked.read_text(), "passphrase"),
        "phrase in PKCS 8": (private(elliptic, PrivateFormat.PKCS8, b"phrase"), "passphrase"),
        "phrase in PEM": (private(elliptic, PrivateFormat.TraditionalOpenSSL, b"phrase"), "passphrase"),
        "short rsa": (private(rsa_key(1024)), "1024 bits"),
        "dsa": (private(dsa.generate_private_key(1024), PrivateFormat.PKCS8), "kind"),  # noqa: S505
        "ed448": (private(ed448.Ed448PrivateKey.generate(), PrivateFormat.PKCS8), "kind"),
        "curve": (private(ec.generate_private_key(ec.SECP256K1()), PrivateFormat.PKCS8), "curve"),
        "certificate": ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "no private key"),
        "long": ("x" * 20000, "16384"),
    }


def test_what_is_no_usable_key_is_refused_without_showing_it(state: State, tmp_path: Path) -> None:
    for what, (text, told) in wrong_keys(tmp_path).items():
        with pytest.raises(Invalid) as error:
            add(state, "lab", "ssh_key", text)
        assert told in error.value.detail, (what, error.value.detail)
        assert "value" in error.value.fields, what
        body = [
            line for line in text.splitlines() if len(line) > 20 and "KEY" not in line and "CERT" not in line
        ]
        assert not any(line[:20] in error.value.detail for line in body), what


@pytest.mark.parametrize("value", ["\n", "a\nb", "a\0b", "x" * 1025, "tab\there"])
@pytest.mark.parametrize("kind", ["vault_password", "become_password"])
def test_a_password_is_one_line(state: State, kind: str, value: str) -> None:
    with pytest.raises(Invalid, match="value"):
        add(state, "p", kind, value)


@pytest.mark.parametrize("value", ["päss wörd ", " x", "x\n", "x\r\n"])
def test_a_passwords_line_end_is_not_part_of_it(state: State, value: str) -> None:
    assert opened(state, add(state, "p", "become_password", value)) == value.rstrip("\r\n").encode()


def test_a_name_is_taken_once_for_each_kind(any_state: State) -> None:
    add(any_state, "lab")
    with pytest.raises(Conflict, match="secret lab"):
        add(any_state, " lab ")
    add(any_state, "lab", "become_password")


def test_the_api_never_gives_the_content(admin: TestClient, operator: TestClient, viewer: TestClient) -> None:
    marker = "marker-of-a-secret-7f3a"
    made = admin.post("/api/v1/secrets", json={"name": "lab", "kind": "vault_password", "value": marker})
    assert made.status_code == 201 and made.headers["etag"]
    path = f"/api/v1/secrets/{made.json()['id']}"
    replaced = admin.put(path, json={"value": marker + "2"}, headers={"If-Match": made.headers["etag"]})
    assert replaced.status_code == 200 and replaced.headers["etag"] != made.headers["etag"]
    answers = [
        made, replaced, admin.get(path), admin.get("/api/v1/secrets"), operator.get(path), operator.get("/api/v1/secrets"),
        admin.get("/api/v1/audit"), admin.post("/api/v1/secrets", json={"name": "lab", "kind": "vault_password", "value": marker}),
        admin.post("/api/v1/secrets", json={"name": "x", "kind": "ssh_key", "value": marker}),
        admin.post("/api/v1/secrets", json={"name": "x", "kind": "none", "value": marker}),
        admin.post("/api/v1/secrets", json={"name": "x", "kind": "ssh_key", "value": [marker]}),
        admin.post("/api/v1/secrets", json={"name": "x", "kind": "ssh_key", "valeu": marker}),
    ]  # fmt: skip
    assert [one.status_code for one in answers] == [
        201,
        200,
        200,
        200,
        200,
        200,
        200,
        409,
        422,
        422,
        422,
        422,
    ]
    assert not any(marker in one.text or marker in str(one.headers) for one in answers)
    assert admin.put(path, json={"value": "x"}).status_code == 428
    assert admin.delete(path, headers={"If-Match": made.headers["etag"]}).status_code == 412
    assert operator.delete(path).status_code == 403
    assert viewer.get("/api/v1/secrets").status_code == 403
    assert admin.delete(path, headers={"If-Match": replaced.headers["etag"]}).status_code == 204
    assert admin.get(path).status_code == 404


def test_keys_are_rotated_over_the_api(admin: TestClient, state: State) -> None:
    secret_id = add(state)
    answer = admin.post("/api/v1/keys/rotate")
    assert answer.status_code == 200
    assert answer.json() == {"key": state.keys.current()[0], "secrets": 1}
    assert opened(state, secret_id) == b"correct horse"
