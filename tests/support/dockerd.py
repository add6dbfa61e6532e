# SPDX-License-Identifier: GPL-3.0-or-later
"""A real dockerd on a host of a private world, with an image made of busybox: no registry is needed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from typing import Any

from .world import Host

IMAGE = "box:1"
_NEEDED = ("dockerd", "docker", "busybox")


def missing() -> str:
    """Why it cannot run here; "" when it can."""
    lacking = [name for name in _NEEDED if shutil.which(name) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


def _start() -> int:
    os.makedirs("/run/docker-test", exist_ok=True)
    with open("/run/docker-test/log", "wb") as log:
        argv = ["dockerd", "--pidfile", "/run/docker-test/pid", "--storage-driver", "vfs"]
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + 60
    while subprocess.run(["docker", "version"], capture_output=True, check=False).returncode != 0:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            with open("/run/docker-test/log", encoding="utf-8", errors="replace") as text:
                raise AssertionError(f"dockerd does not run: {text.read()[-2000:]}")
        time.sleep(0.1)
    return process.pid


def _image() -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        busybox = shutil.which("busybox")
        assert busybox is not None
        archive.add(os.path.realpath(busybox), "bin/busybox")
        for name in ("sh", "sleep", "ping", "ip", "nc", "cat"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    argv = ["docker", "import", "-c", 'CMD ["sleep","100000"]', "-", IMAGE]
    subprocess.run(argv, input=data.getvalue(), capture_output=True, check=True)


def inspect(container: str) -> dict[str, Any]:
    """What docker says of a container, in the namespaces of the caller."""
    done = subprocess.run(["docker", "inspect", container], capture_output=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found[0]


def _gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@contextlib.contextmanager
def running(host: Host) -> Iterator[None]:
    """dockerd with the image, for as long as the block runs; containers are removed and the daemon ended by its pid."""
    pid = host.call(_start)
    try:
        host.call(_image)
        yield
    finally:
        with contextlib.suppress(AssertionError):
            names = host.run("docker", "ps", "-aq").split()
            if names:
                host.run("docker", "rm", "-f", *names)
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 20
        while not _gone(pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        if not _gone(pid):
            os.kill(pid, signal.SIGKILL)
