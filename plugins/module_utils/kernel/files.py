# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files as resources. A file is replaced by renaming, so that nobody reads half of it, except inside of a process's root
(``/proc/PID/root/...``): container engines mount single files there, and who replaces such a file writes to another one.

What is inside of a root belongs to the container: no symbolic link of it is followed, as it would lead to the host's files.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import subprocess
from collections.abc import Iterable, Iterator
from typing import Optional

from ..plan import Op
from ..resources import File

UNITS = "/run/systemd/system"
BEGUN = -1  # no mode that a file can have
# folders that are removed when the last file of crosshost in them goes
_FOLDERS = re.compile(r"/run/crosshost(/.*)?|/etc/netns(/.*)?|/run/systemd/system/crosshost-[^/]*\.d")
_ROOT = "/root/"
_READ, _WRITE = os.O_RDONLY, os.O_RDWR
_BLOCK = 1 << 16


def observe(paths: Iterable[str]) -> Iterator[File]:
    """These files as they are; those that are not there, or are no plain files, are left out. One that a killed run
    has only begun to write, or not quite removed, has the mode BEGUN."""
    for path in paths:
        found = read(path)
        if found is None and not path.startswith("/proc/"):
            found = _begun(path)
        if found is not None:
            yield found


def _begun(path: str) -> Optional[File]:
    part = read(_part(path))
    if part is not None:
        return part._replace(path=path, mode=BEGUN)
    folder = os.path.dirname(path)
    if _FOLDERS.fullmatch(folder) and folder.startswith("/run/"):
        with contextlib.suppress(OSError):
            return None if os.listdir(folder) else File(path, "", BEGUN)
    return None


def read(path: str) -> Optional[File]:
    """A plain file with its content, or None. Bytes that are no UTF-8 come back as they were when they are written."""
    try:
        fd = _open(path, _READ)
    except OSError:
        return None
    try:
        mode = os.fstat(fd).st_mode & 0o7777
        return File(path, _content(fd), mode)
    except OSError:
        return None
    finally:
        os.close(fd)


def identity(path: str) -> Optional[tuple[int, int]]:
    """Device and inode of a plain file: equal for two paths of one file. None also for one that is removed and still mounted."""
    try:
        fd = _open(path, _READ)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        return (found.st_dev, found.st_ino) if found.st_nlink else None
    finally:
        os.close(fd)


def free_folder(path: str) -> Optional[tuple[int, int]]:
    """Device and inode of the folder inside of a process's root where a file could be made; None when something is there."""
    try:
        folder, name = _folder(path)
    except OSError:
        return None
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        found = os.fstat(folder)
        return found.st_dev, found.st_ino
    except OSError:
        pass
    finally:
        os.close(folder)
    return None


def writable(path: str) -> str:
    """Why a file inside of a process's root cannot be written; "" when it can."""
    try:
        if free_folder(path) is None:
            os.close(_open(path, _WRITE))
            return ""
        folder, _name = _folder(path)
        try:
            read_only = bool(os.fstatvfs(folder).f_flag & os.ST_RDONLY)
        finally:
            os.close(folder)
    except OSError as error:
        return error.strerror or str(error)
    return os.strerror(errno.EROFS) if read_only else ""


def apply(op: Op) -> None:
    """Write or remove a file. OSError when that fails."""
    item = op.subject
    assert isinstance(item, File)
    if item.path.startswith("/proc/"):
        _inside(op, item)
        return
    if op.after is None:
        _remove(item.path)
    else:
        _replace(item)
    if item.path.startswith(f"{UNITS}/"):
        subprocess.run(["systemctl", "daemon-reload"], check=False, capture_output=True)


def _open(path: str, flags: int) -> int:
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    if not path.startswith("/proc/"):
        fd = os.open(path, flags)
    else:
        folder, name = _folder(path)
        fd = _enter(folder, name, flags)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is no plain file")
    return fd


def _folder(path: str) -> tuple[int, str]:
    """A descriptor of the folder that holds a file inside of a process's root, and the file's name."""
    root, _, inner = path.partition(_ROOT)
    *folders, name = inner.split("/")
    flags = os.O_DIRECTORY | os.O_CLOEXEC
    fd = os.open(root + _ROOT[:-1], os.O_PATH | flags)
    for folder in folders:
        fd = _enter(fd, folder, os.O_RDONLY | os.O_NOFOLLOW | flags)
    return fd, name


def _enter(folder: int, name: str, flags: int) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    finally:
        os.close(folder)


def _content(fd: int) -> str:
    parts = []
    while part := os.read(fd, _BLOCK):
        parts.append(part)
    return b"".join(parts).decode("utf-8", "surrogateescape")


def _write(fd: int, text: str) -> None:
    rest = text.encode("utf-8", "surrogateescape")
    while rest:
        rest = rest[os.write(fd, rest) :]


def _inside(op: Op, item: File) -> None:
    """The same file with other content: its owner and mode are the container's. A new one, or none any more."""
    if op.before is not None and op.after is not None:
        fd = _open(item.path, _WRITE)
        os.ftruncate(fd, 0)
    else:
        folder, name = _folder(item.path)
        try:
            if op.after is None:
                _refuse_mounted(folder, name)
                os.unlink(name, dir_fd=folder)
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, item.mode, dir_fd=folder)
            os.fchmod(fd, item.mode)
        finally:
            os.close(folder)
    try:
        _write(fd, item.content)
    finally:
        os.close(fd)


def _refuse_mounted(folder: int, name: str) -> None:
    """From outside of its mount namespace a mount is not in the way: what would go is the file under it, of all processes."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if _mount_of(fd) != _mount_of(folder):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
    finally:
        os.close(fd)


def _mount_of(fd: int) -> str:
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
        return next(line for line in file if line.startswith("mnt_id:"))


def _part(path: str) -> str:
    return f"{path}.part"


def _replace(item: File) -> None:
    part = _part(item.path)
    try:
        _make_folders(os.path.dirname(item.path))
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _write(fd, item.content)
            if item.mode == BEGUN:
                return  # as it was, when a run is undone
            os.fchmod(fd, item.mode)
        finally:
            os.close(fd)
        os.replace(part, item.path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part)
        _prune(os.path.dirname(item.path))
        raise


def _make_folders(path: str) -> None:
    if os.path.isdir(path):
        return
    _make_folders(os.path.dirname(path))
    os.mkdir(path)
    os.chmod(path, 0o755)  # noqa: S103 - whatever the umask: servers without root read in there


def _remove(path: str) -> None:
    for name in (_part(path), path):  # a run that was killed may have left its part
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    _prune(os.path.dirname(path))


def _prune(folder: str) -> None:
    while _FOLDERS.fullmatch(folder):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            pass
        except OSError:
            return  # something else is in it
        folder = os.path.dirname(folder)
