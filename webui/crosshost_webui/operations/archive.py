# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that a backup is: tar, compressed by gzip, with a manifest at its end that has the SHA-256 of everything before it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import secrets
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

MANIFEST = "manifest.json"
FORMAT = 1
CHUNK = 1 << 20
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)


class BackupError(Exception):
    """A backup cannot be made, or this is none that can be restored. One line."""


@dataclass
class Manifest:
    """``database``: sqlite or postgresql. ``schema``: its revision. ``digests``: SHA-256 by name."""

    version: str
    at: str
    database: str
    schema: str
    digests: dict[str, str] = field(default_factory=dict)


class Writer:
    def __init__(self, tar: tarfile.TarFile, manifest: Manifest) -> None:
        self._tar = tar
        self._manifest = manifest

    def add(self, name: str, path: Path) -> None:
        """The file as long as it is now: what is appended meanwhile is left out."""
        if not _is_safe(name):
            raise BackupError(
                f"{path}: its name has characters that no file of the dashboard has; move it away"
            )
        with path.open("rb") as file:
            self._add(name, file, os.fstat(file.fileno()).st_size)

    def finish(self) -> None:
        body = json.dumps({"format": FORMAT, **vars(self._manifest)}, indent=1).encode()
        self._add(MANIFEST, io.BytesIO(body), len(body))
        del self._manifest.digests[MANIFEST]

    def _add(self, name: str, file: IO[bytes], size: int) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o600
        reader = _Digesting(file)
        self._tar.addfile(entry, reader)
        self._manifest.digests[name] = reader.digest.hexdigest()


class _Digesting:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        found = self._file.read(size)
        self.digest.update(found)
        return found


@contextmanager
def writing(target: Path, manifest: Manifest) -> Iterator[Writer]:
    """An archive that is there, for its owner only, once the block has ended well, and not before. BackupError if there is a file of
    this name."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=3) as tar:
                writer = Writer(tar, manifest)
                yield writer
                writer.finish()
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, target)
        except FileExistsError:
            raise BackupError(f"{target}: there is a file of this name; name another one") from None
        _sync_folder(target.parent)
    finally:
        draft.unlink()


def extract(archive: Path, folder: Path) -> Manifest:
    """Unpack into the folder, which is empty, and check every byte. BackupError if anything is not as it was written."""
    digests: dict[str, str] = {}
    told: Any = None
    try:
        with gzip.open(archive) as plain, tarfile.open(fileobj=plain, mode="r:") as tar:
            for entry in tar:
                content = tar.extractfile(entry) if entry.isreg() else None
                if content is None or not _is_safe(entry.name) or told is not None:
                    raise BackupError(f"{archive}: {entry.name!r} does not belong into a backup")
                if entry.name == MANIFEST:
                    told = json.loads(content.read(64 * CHUNK))
                else:
                    digests[entry.name] = _unpack(content, folder / entry.name)
            while plain.read(CHUNK):  # to the checksum at gzip's end
                pass
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        raise BackupError(f"{archive}: it is damaged, or no backup: {error}") from None
    except OSError as error:
        if error.errno is None:  # gzip's way to say that it is none
            raise BackupError(f"{archive}: it is damaged, or no backup: {error}") from None
        raise
    return _checked(archive, told, digests)


def _checked(archive: Path, told: Any, digests: dict[str, str]) -> Manifest:
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise BackupError(
            f"{archive}: it ends before its manifest, or this version of the dashboard does not know its form"
        )
    try:
        manifest = Manifest(**{name: told[name] for name in Manifest.__dataclass_fields__})
    except KeyError as error:
        raise BackupError(f"{archive}: the manifest has no {error}") from None
    wrong = sorted(name for name, _ in set(manifest.digests.items()) ^ set(digests.items()))
    if wrong:
        raise BackupError(f"{archive}: it is damaged: {wrong[0]} is not as it was when the backup was made")
    return manifest


def _unpack(content: IO[bytes], target: Path) -> str:
    for parent in reversed(target.parents):
        parent.mkdir(exist_ok=True, mode=0o700)
    digest = hashlib.sha256()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _is_safe(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and not {".", ".."} & set(name.split("/"))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
