# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets at rest: AES-256-GCM, with a nonce and the key's id in each row. A row is bound to its kind and id: the content of one
that is copied into another does not open. They go in and are never shown again; only a run opens them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..audit import store as audit
from ..audit.store import Actor
from ..db.base import Json, now
from ..db.engine import ReadSession, WriteSession
from ..web.problem import Conflict, Invalid, NotFound, Unavailable
from . import secret_store as store
from .keys import KeyFileError, Keys
from .models import Secret
from .ssh_key import read_private_key

if TYPE_CHECKING:
    from ..state import State

KINDS = ("ssh_key", "vault_password", "become_password")
NONCE = 12  # bytes; random, as GCM wants it for far fewer than 2^32 messages of one key
KEY_MOST = 16 * 1024  # characters; an RSA key of 8192 bits has about 6,500
PASSWORD_MOST = 1024


def shown(secret: Secret) -> Json:
    """All that anybody gets to see."""
    return {"name": secret.name, "kind": secret.kind, "fingerprint": secret.fingerprint, "key": secret.key_id}


def version(secret: Secret) -> str:
    """Another one each time that the content is replaced."""
    return bytes(secret.nonce).hex()


def get(s: ReadSession, secret_id: int) -> Secret:
    found = store.secret(s, secret_id)
    if found is None:
        raise _unknown(secret_id)
    return found


def to_change(s: WriteSession, secret_id: int) -> Secret:
    found = store.secret_to_change(s, secret_id)
    if found is None:
        raise _unknown(secret_id)
    return found


def create(s: WriteSession, keys: Keys, who: Actor, kind: str, name: str, value: str) -> Secret:
    """Invalid if the value is not of its kind; Conflict if there is one of this kind and name."""
    if kind not in KINDS:
        raise Invalid(
            f"secret: kind {kind[:40]!r}: use one of {', '.join(KINDS)}", {"kind": f"use {', '.join(KINDS)}"}
        )
    label = name.strip()
    if not label or len(label) > 150 or not label.isprintable():
        told = "use 1 to 150 printable characters"
        raise Invalid(f"secret: name {name[:80]!r}: {told}", {"name": told})
    plain, fingerprint = _checked(kind, label, value)
    if store.secret_by_name(s, kind, label) is not None:
        raise Conflict(
            f"secret {label}: there is one of this kind and name; replace that one, or take another name"
        )
    found = Secret(
        name=label, kind=kind, key_id="", nonce=b"", sealed=b"", fingerprint=fingerprint, created_at=now()
    )
    store.add(s, found)  # first, for its id is part of what is sealed
    _seal(keys, found, plain)
    audit.record(s, who, "create", "secret", found.id, label, None, shown(found))
    return found


def replace(s: WriteSession, keys: Keys, who: Actor, secret: Secret, value: str) -> Secret:
    """Another content under the same name."""
    before = shown(secret)
    plain, secret.fingerprint = _checked(secret.kind, secret.name, value)
    _seal(keys, secret, plain)
    audit.record(s, who, "replace", "secret", secret.id, secret.name, before, shown(secret))
    return secret


def delete(s: WriteSession, who: Actor, secret: Secret) -> None:
    audit.record(s, who, "delete", "secret", secret.id, secret.name, shown(secret), None)
    store.remove(s, secret.id)


def open_secret(state: State, s: ReadSession, secret_id: int) -> bytes:
    """The content. A write session also notes that it was used. NotFound if it is gone; Unavailable if the key file or the row
    is not the one that it was sealed with."""
    found = get(s, secret_id)
    plain = _open(state.keys, found)
    if isinstance(s, WriteSession):
        found.used_at = now()
    return plain


def encrypt_all_again(s: WriteSession, keys: Keys, who: Actor) -> tuple[str, int]:
    """Seal everything with the current key; its id, and how many secrets there are."""
    current, _ = keys.current()
    found = store.all_to_change(s)
    for one in found:
        if one.key_id != current:
            _seal(keys, one, _open(keys, one))
    audit.record(
        s, who, "rotate keys", "keys", current, current, None, {"key": current, "secrets": len(found)}
    )
    return current, len(found)


def _seal(keys: Keys, secret: Secret, plain: bytes) -> None:
    secret.key_id, key = keys.current()
    secret.nonce = os.urandom(NONCE)
    secret.sealed = AESGCM(key).encrypt(secret.nonce, plain, _bound_to(secret))


def _open(keys: Keys, secret: Secret) -> bytes:
    try:
        key = keys.secret_key(secret.key_id)
        return AESGCM(key).decrypt(bytes(secret.nonce), bytes(secret.sealed), _bound_to(secret))
    except KeyFileError as error:
        raise Unavailable(f"secret {secret.name}: {error}") from None
    except InvalidTag:
        raise Unavailable(
            f"secret {secret.name}: its row was changed from outside and does not open; enter its content again"
        ) from None


def _bound_to(secret: Secret) -> bytes:
    return f"{secret.kind} {secret.id}".encode()


def _checked(kind: str, name: str, value: str) -> tuple[bytes, str]:
    """As it is sealed, and the fingerprint of a key."""
    if kind == "ssh_key":
        if len(value) > KEY_MOST:
            raise Invalid(
                f"secret {name}: value: more than {KEY_MOST} characters", {"value": "it is too long"}
            )
        return read_private_key(name, value)
    text = value.removesuffix("\n").removesuffix("\r")
    told = ""
    if not 1 <= len(text) <= PASSWORD_MOST:
        told = f"use 1 to {PASSWORD_MOST} characters"
    elif any(one < " " or one == "\x7f" for one in text):
        told = "it has a line break or another control character in it; a password is one line"
    if told:
        raise Invalid(f"secret {name}: value: {told}", {"value": told})
    return text.encode("utf-8"), ""


def _unknown(secret_id: int) -> NotFound:
    return NotFound(f"secret {secret_id}: there is none; the list of secrets has their ids")
