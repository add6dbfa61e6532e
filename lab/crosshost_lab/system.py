# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine's tools: running programs, locks, what must be installed, the two system calls Python lacks."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from .layout import LabError

# Program: the Debian package that holds it.
PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "nc": "netcat-openbsd",
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "ssh-keygen": "openssh-client",
}
_CLONE_NEWNS = 0x00020000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_libc = ctypes.CDLL(None, use_errno=True)


def check_machine() -> None:
    """Raises LabError unless run by root on a machine that has the lab's programs."""
    if os.geteuid() != 0:
        raise LabError("the lab makes namespaces and mounts: run it as root")
    missing = sorted({PROGRAMS[p] for p in PROGRAMS if shutil.which(p, path=tool_path()) is None})
    if missing:
        raise LabError("missing packages: run `apt-get install {}`".format(" ".join(missing)))


def tool_path() -> str:
    """PATH with the system folders, which a root shell made by su may lack."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin", "/sbin", "/bin"])


def run(
    argv: Sequence[str], stdin: str = "", timeout: float = 60, env: Optional[Mapping[str, str]] = None
) -> str:
    """Runs `argv`, returns its output. Raises LabError with the last line of its errors."""
    result = attempt(argv, stdin, timeout, env)
    if result.returncode != 0:
        lines = (result.stderr.strip() or result.stdout.strip() or "no message").splitlines()
        raise LabError("`{}` failed ({}): {}".format(" ".join(argv), result.returncode, lines[-1]))
    return result.stdout


def attempt(
    argv: Sequence[str], stdin: str = "", timeout: float = 60, env: Optional[Mapping[str, str]] = None
) -> subprocess.CompletedProcess[str]:
    """Runs `argv` whatever its exit code. Raises LabError when it cannot start or runs over `timeout` seconds."""
    environment = dict(os.environ if env is None else env, PATH=tool_path())
    try:
        return subprocess.run(
            list(argv),
            input=stdin,
            timeout=timeout,
            env=environment,
            text=True,
            errors="replace",
            capture_output=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LabError("`{}` took more than {:g} s".format(" ".join(argv), timeout)) from None
    except OSError as error:
        raise LabError(f"`{argv[0]}`: {error.strerror}") from None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on `path`; the kernel gives it back when the process dies, however it dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def private_mounts() -> None:
    """Gives the calling process a mount namespace of its own: its mounts go when its processes go."""
    if _libc.unshare(_CLONE_NEWNS) != 0:
        raise _system_error("unshare(CLONE_NEWNS)")
    if _libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None) != 0:
        raise _system_error("making mounts private")


def mount_overlay(options: str, target: Path) -> None:
    """Mounts an overlay file system; paths in `options` are relative to the working directory."""
    if _libc.mount(b"overlay", os.fsencode(target), b"overlay", ctypes.c_ulong(0), os.fsencode(options)) != 0:
        raise _system_error(f"overlay mount of {target} (its file system must allow an upper layer)")


def mount_tmpfs(target: Path) -> None:
    """Mounts an empty file system on `target`, which is made when missing."""
    target.mkdir(parents=True, exist_ok=True)
    if _libc.mount(b"tmpfs", os.fsencode(target), b"tmpfs", ctypes.c_ulong(0), b"mode=0755") != 0:
        raise _system_error(f"mounting {target}")


def _system_error(what: str) -> LabError:
    return LabError(f"{what}: {os.strerror(ctypes.get_errno())}")


def remove_tree(path: Path) -> None:
    """Removes `path` and all below it, if it is there; never what is mounted below it."""
    run(["rm", "-rf", "--one-file-system", "--", str(path)])


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Writes `path` in one step: a reader sees the old or the new text, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(str(draft), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        os.fchmod(handle.fileno(), mode)
        handle.write(text)
    draft.replace(path)


def last_line(path: Path) -> str:
    """The last line of the text file `path` that says something."""
    try:
        lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return lines[-1] if lines else "no message"


def words(lines: Sequence[str]) -> list[str]:
    """All words of `lines`."""
    return [word for line in lines for word in line.split()]
