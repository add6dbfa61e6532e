# SPDX-License-Identifier: GPL-3.0-or-later
"""The key file: what secrets are encrypted with, and what API tokens are digested with. Whoever has only the database has
neither. It is read again when it changes, so that a rotation needs no restart."""

from __future__ import annotations

import base64
import binascii
import fcntl
import hmac
import json
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..settings import Settings

SIZE = 32  # bytes: AES-256's key, and the block that HMAC-SHA-256 puts out
_ID = re.compile(r"[a-z][a-z0-9]{1,15}")


class KeyFileError(RuntimeError):
    """One line: the file, what is wrong with it, and the remedy."""


@dataclass(frozen=True)
class Ring:
    """Keys by id. What is new is made with ``current``; the others open what is older."""

    current: str
    keys: dict[str, bytes]


class Keys:
    """``settings.key_file``, or keys.json in the data directory, where it is made at the first start. KeyFileError if others can
    read it, or if it is not a key file."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.key_file or settings.data_dir / "keys.json"
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        if not self.path.exists():
            self._make()
        self._secrets, self._peppers = self._read()

    def current(self) -> tuple[str, bytes]:
        """The id and the key that new secrets are encrypted with."""
        self._refresh()
        return self._secrets.current, self._secrets.keys[self._secrets.current]

    def secret_key(self, key_id: str) -> bytes:
        """KeyFileError if the file does not hold this key."""
        self._refresh()
        return self._of(self._secrets, key_id)

    def digest(self, text: str, pepper_id: str = "") -> tuple[str, bytes]:
        """The id of the pepper, and HMAC-SHA-256 of the text with it; without an id, with the current one. KeyFileError if the
        file does not hold it."""
        self._refresh()
        found = pepper_id or self._peppers.current
        return found, hmac.digest(self._of(self._peppers, found), text.encode(), "sha256")

    def derived(self, purpose: str) -> bytes:
        """A key of its own for something that lives for minutes only: a rotation ends it."""
        self._refresh()
        derivation = HKDF(algorithm=SHA256(), length=SIZE, salt=None, info=purpose.encode())
        return derivation.derive(self._peppers.keys[self._peppers.current])

    def missing(self, secret_ids: set[str], pepper_ids: set[str]) -> set[str]:
        """Those of these ids that the file does not hold."""
        self._refresh()
        return (secret_ids - self._secrets.keys.keys()) | (pepper_ids - self._peppers.keys.keys())

    def rotate(self) -> str:
        """Add a new key and a new pepper and make them the current ones; the id of the key. The old ones stay: tokens and backups
        need them."""
        with self._locked():
            rings = self._read()
            self._replace(
                *(Ring(key_id, {**ring.keys, key_id: key}) for ring, (key_id, key) in _with_new(rings))
            )
        self._refresh()
        return self._secrets.current

    def _of(self, ring: Ring, key_id: str) -> bytes:
        try:
            return ring.keys[key_id]
        except KeyError:
            raise KeyFileError(
                f"{self.path}: there is no key {key_id!r} in it; put back the key file that belongs to this database"
            ) from None

    def _refresh(self) -> None:
        try:
            found = os.stat(self.path)
        except OSError:
            return  # a file that is gone for a moment takes nothing away from a server that runs
        if (found.st_ino, found.st_mtime_ns, found.st_size) != self._seen:
            self._secrets, self._peppers = self._read()

    def _read(self) -> tuple[Ring, Ring]:
        with self._lock:
            try:
                descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise KeyFileError(f"{self.path}: {error.strerror}; the server needs to read it") from None
            with os.fdopen(descriptor, "rb") as file:
                found = os.fstat(file.fileno())
                if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                    mode = stat.S_IMODE(found.st_mode)
                    raise KeyFileError(
                        f"{self.path}: others may read the keys (mode {mode:04o}); run chmod 600 on it"
                    )
                content = file.read()
            rings = self._parse(content)
            self._seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            return rings

    def _parse(self, content: bytes) -> tuple[Ring, Ring]:
        try:
            whole = json.loads(content)
            return _ring(whole["secrets"]), _ring(whole["peppers"])
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
            raise KeyFileError(
                f"{self.path}: it is not a key file ({type(error).__name__}: {error}); put it back from a backup"
            ) from None

    def _make(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._locked():
            if not self.path.exists():
                made = [Ring(key_id, {key_id: key}) for key_id, key in (_new("k"), _new("p"))]
                self._replace(*made)

    def _replace(self, secret_ring: Ring, pepper_ring: Ring) -> None:
        """Whole or not at all: a key that is half written is a key lost."""
        content = {"secrets": _written(secret_ring), "peppers": _written(pepper_ring)}
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One maker or rotation at a time, between processes too."""
        path = self.path.with_name(f"{self.path.name}.lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _new(letter: str) -> tuple[str, bytes]:
    return letter + secrets.token_hex(4), secrets.token_bytes(SIZE)


def _with_new(rings: tuple[Ring, Ring]) -> list[tuple[Ring, tuple[str, bytes]]]:
    return [(rings[0], _new("k")), (rings[1], _new("p"))]


def _written(ring: Ring) -> dict[str, Any]:
    return {
        "current": ring.current,
        "keys": {key_id: base64.b64encode(key).decode() for key_id, key in ring.keys.items()},
    }


def _ring(written: Any) -> Ring:
    keys = {str(key_id): base64.b64decode(key, validate=True) for key_id, key in written["keys"].items()}
    for key_id, key in keys.items():
        if not _ID.fullmatch(key_id):
            raise ValueError(f"{key_id!r} is no id of a key")
        if len(key) != SIZE:
            raise ValueError(f"key {key_id} has {len(key)} bytes, not {SIZE}")
    if written["current"] not in keys:
        raise ValueError("the current key is not among the keys")
    return Ring(written["current"], keys)
