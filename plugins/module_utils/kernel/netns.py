# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network namespaces: entering, creating and deleting them, without a child process.

``setns`` moves only the calling thread, and a socket stays in the namespace in which it was opened: that is all the
engine needs. Python has these system calls since 3.12; hosts have older ones, hence ctypes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterator

from ..errors import HostError

RUN = "/run/netns"
_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED = 0x1000, 0x4000, 0x100000
_MNT_DETACH = 2
_DEAD = b"crosshost\n"  # what a mount point of ours holds, seen when nothing is mounted on it
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def path_of(netns: str) -> str:
    """The file that stands for a namespace: "" is the caller's own, a bare name is below /run/netns."""
    if not netns:
        return "/proc/thread-self/ns/net"
    return netns if "/" in netns else f"{RUN}/{netns}"


def exists(netns: str) -> bool:
    """True if the namespace can be entered; a plain file left behind in /run/netns is no namespace."""
    try:
        fd = os.open(path_of(netns), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(fd)
    return "/" in netns or not netns or os.path.ismount(path_of(netns)) or _is_nsfs(path_of(netns))


def _is_nsfs(path: str) -> bool:
    try:
        return os.stat(path).st_dev == os.stat("/proc/self/ns/net").st_dev
    except OSError:
        return False


def names() -> list[str]:
    """The named namespaces of the host, sorted."""
    try:
        found = os.listdir(RUN)
    except FileNotFoundError:
        return []
    return sorted(name for name in found if _is_nsfs(f"{RUN}/{name}"))


def without_aliases(chosen: list[str]) -> list[str]:
    """These names less those that stand for a namespace which another of them stood for earlier."""
    inodes: dict[int, list[str]] = {}
    for name in chosen:
        with contextlib.suppress(OSError):
            inodes.setdefault(os.stat(f"{RUN}/{name}").st_ino, []).append(name)
    if len(inodes) == len(chosen):
        return chosen
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        order = [line.split()[4].rpartition("/")[2] for line in file]  # as they were mounted
    return sorted(
        min(same, key=lambda name: order.index(name) if name in order else 0) for same in inodes.values()
    )


@contextlib.contextmanager
def inside(netns: str) -> Iterator[None]:
    """Run the block in a namespace; "" does nothing. FileNotFoundError when there is no such namespace."""
    if not netns:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(path_of(netns), os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(target, _CLONE_NEWNET), f"setns {path_of(netns)}")
        finally:
            os.close(target)
        try:
            yield
        finally:
            _check(_libc.setns(home, _CLONE_NEWNET), "setns back")
    finally:
        os.close(home)


def _share_run() -> None:
    """Make /run/netns a shared mount, as ip-netns(8) does, so that the names are seen in every mount namespace."""
    os.makedirs(RUN, mode=0o755, exist_ok=True)
    if _libc.mount(b"", RUN.encode(), b"none", _MS_SHARED | _MS_REC, None) == 0:
        return
    if ctypes.get_errno() != errno.EINVAL:
        _check(-1, f"mount --make-shared {RUN}")
    _check(_libc.mount(RUN.encode(), RUN.encode(), b"none", _MS_BIND | _MS_REC, None), f"mount --bind {RUN}")
    _check(_libc.mount(b"", RUN.encode(), b"none", _MS_SHARED | _MS_REC, None), f"mount --make-shared {RUN}")


@contextlib.contextmanager
def new() -> Iterator[None]:
    """Run the block in a namespace that nobody has a name for yet: it is gone afterwards unless :func:`keep` named it."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(_CLONE_NEWNET), "unshare")
        try:
            yield
        finally:
            _check(_libc.setns(home, _CLONE_NEWNET), "setns back")
    finally:
        os.close(home)


def keep(name: str) -> None:
    """Give the namespace of the calling thread a name below /run/netns. FileExistsError if the name is taken."""
    path = f"{RUN}/{name}"
    _mount_point(path)
    try:
        result = _libc.mount(b"/proc/thread-self/ns/net", path.encode(), b"none", _MS_BIND, None)
        _check(result, f"mount --bind {path}")
    except OSError:
        os.unlink(path)
        raise


def _mount_point(path: str) -> None:
    """A file to mount a namespace on. It says whose it is, from its first moment: a run that is killed before it is
    mounted on, or after it is unmounted, leaves a dead name that :func:`sweep` knows for ours."""
    try:
        fd = os.open(RUN, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
            raise
        # a filesystem without nameless files
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0)
        os.write(fd, _DEAD)
        os.close(fd)
        return
    try:
        os.write(fd, _DEAD)
        # a directory given, so that Python follows the link of /proc to the file itself
        os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
    finally:
        os.close(fd)


def sweep() -> None:
    """Remove the dead names that killed runs of ours left. Call it with the host's lock held."""
    try:
        found = os.listdir(RUN)
    except FileNotFoundError:
        return
    for name in found:
        path = f"{RUN}/{name}"
        if not _is_nsfs(path) and _content(path) == _DEAD:
            os.unlink(path)


def _content(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return os.read(fd, len(_DEAD) + 1) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)


def prepare(name: str) -> None:
    """Make way for a new namespace of this name: the mount point's folder, and a plain file left by a killed run."""
    _share_run()
    path = f"{RUN}/{name}"
    if os.path.exists(path):
        if _is_nsfs(path):
            raise HostError(f"namespace {name}: it exists already")
        os.unlink(path)


def delete(name: str) -> None:
    """Unmount and remove a named namespace; the kernel takes it down later if nothing else holds it."""
    path = f"{RUN}/{name}"
    _check(_libc.umount2(path.encode(), _MNT_DETACH), f"umount {path}")
    os.unlink(path)
