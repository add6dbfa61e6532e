# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual machines with a stock Debian kernel, emulated by QEMU: eth0 leads to the test process alone, eth1 is on a wire of the
machines' own. They end with the test process, however that ends."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.vms.image import Image, ensure
from tests.support.vms.wire import Wire

CHECKOUT = Path(__file__).resolve().parents[3]
_BOOT_LIMIT = 400.0  # seconds; a boot takes less than 30, unless the processors have much else to do
_KERNEL = "console=ttyS0 root=/dev/vda net.ifnames=0 quiet mitigations=off random.trust_cpu=on audit=0 systemd.hostname="
_PACKED = "ansible_collections/crosshost/network/plugins"


class Machine:
    """A running machine; ``number`` counts from 1. Its eth1 has no address until a test gives it one."""

    def __init__(self, number: int, image: Image, folder: Path, wire: Wire) -> None:
        self.number = number
        self.name = f"vm{number}"
        self.wire = wire
        self._image = image
        self._folder = folder
        self._port = _free_port()
        self._agent: subprocess.Popen[str] | None = None
        self._console = folder / f"{self.name}.console"
        self._log = (folder / f"{self.name}.log").open("w")
        self._qemu = subprocess.Popen(
            self._argv(), stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )

    def _argv(self) -> list[str]:
        number = self.number
        image, collection = self._image, self._folder / "collection.tar"
        argv = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-name", self.name]
        argv += [
            "-nodefaults",
            "-no-user-config",
            "-machine",
            "q35,usb=off",
            "-cpu",
            "max,la57=off",
            "-smp",
            "1",
            "-m",
            "512",
        ]
        argv += ["-accel", "tcg,thread=multi,tb-size=256", "-display", "none", "-rtc", "base=utc,clock=host"]
        argv += [
            "-serial",
            f"file:{self._console}",
            "-kernel",
            str(image.kernel),
            "-initrd",
            str(image.initrd),
        ]
        argv += ["-append", f"{_KERNEL}{self.name}"]
        # what a machine writes goes to a file that is deleted already, in TMPDIR
        argv += ["-drive", f"if=none,id=disk,file={image.disk},format=raw,snapshot=on,cache=unsafe"]
        argv += ["-device", "virtio-blk-pci,drive=disk"]
        argv += ["-drive", f"if=none,id=code,file={collection},format=raw,readonly=on"]
        argv += ["-device", "virtio-blk-pci,drive=code"]
        argv += ["-netdev", f"user,id=way,restrict=on,hostfwd=tcp:127.0.0.1:{self._port}-:22"]
        argv += ["-device", f"virtio-net-pci,netdev=way,mac=52:54:00:00:00:{number:02x}"]
        argv += ["-netdev", self.wire.netdev(number - 1)]
        argv += ["-device", f"virtio-net-pci,netdev=wire,mac=52:54:00:00:01:{number:02x}"]
        argv += [
            "-object",
            "rng-random,id=random,filename=/dev/urandom",
            "-device",
            "virtio-rng-pci,rng=random",
        ]
        return argv

    def connect(self) -> None:
        """Wait until the machine is up, and start the agent in it. AssertionError with its last words when it is not."""
        deadline = time.monotonic() + _BOOT_LIMIT
        while not self._answers():
            if time.monotonic() > deadline or self._qemu.poll() is not None:
                raise AssertionError(f"{self.name} does not come up: {self._last_words()}")
            time.sleep(0.2)
        argv = ["ssh", "-i", str(self._image.key), "-p", str(self._port), "-o", "BatchMode=yes"]
        argv += [
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
        ]
        argv += ["root@127.0.0.1", "tar xf /dev/vdb -C /opt && exec python3 -u /opt/agent.py"]
        self._agent = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        self.ok("ip", "link", "set", "eth1", "up")

    def _answers(self) -> bool:
        """Whether sshd greets: QEMU itself takes connections from the first moment."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=2) as way:
                return way.recv(4) == b"SSH-"
        except OSError:
            return False

    def _last_words(self) -> str:
        texts = [
            path.read_text(errors="replace")[-800:]
            for path in (self._console, Path(self._log.name))
            if path.exists()
        ]
        return " | ".join(text.strip() for text in texts)

    def _call(self, name: str, **args: Any) -> Any:
        assert self._agent is not None and self._agent.stdin is not None and self._agent.stdout is not None
        self._agent.stdin.write(json.dumps({"call": name, "args": args}) + "\n")
        self._agent.stdin.flush()
        line = self._agent.stdout.readline()
        if not line:
            raise AssertionError(f"{self.name}: the agent is gone: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise AssertionError(f"{self.name}: {name}: {answer['error']}")
        return answer["result"]

    def run(self, *argv: str, given: str = "", timeout: float = 60) -> tuple[int | None, str, str]:
        """A command's exit code (None: the time was up), output and errors."""
        code, out, err = self._call("run", argv=list(argv), given=given, timeout=timeout)
        return code, out, err

    def ok(self, *argv: str, given: str = "", timeout: float = 60) -> str:
        """The output of a command that has to succeed."""
        code, out, err = self.run(*argv, given=given, timeout=timeout)
        assert code == 0, f"{self.name}: {' '.join(argv)}: {code}: {out}{err}"
        return out

    def shell(self, text: str, timeout: float = 60) -> str:
        """The output of a shell's text that has to succeed."""
        return self.ok("sh", "-ec", text, timeout=timeout)

    def start(self, *argv: str) -> int:
        """Starts a program in the background; its number is for :meth:`finish`."""
        return int(self._call("start", argv=list(argv)))

    def finish(self, number: int, timeout: float = 0.01) -> tuple[int, str, str]:
        """What a started program has said; it is ended when ``timeout`` seconds are over."""
        code, out, err = self._call("finish", pid=number, timeout=timeout)
        return code, out, err

    def converge(
        self, kind: str, config: Sequence[dict[str, Any]], state: str = "merged", check: bool = False
    ) -> dict[str, Any]:
        """A module's work in the machine: changed, before, after, commands and diff."""
        found = self.attempt(kind, config, state, check)
        assert "error" not in found, f"{self.name}: {found['error']}"
        return found

    def attempt(
        self, kind: str, config: Sequence[dict[str, Any]], state: str = "merged", check: bool = False
    ) -> dict[str, Any]:
        """Like :meth:`converge`, for what may be refused: then {"error": the line}."""
        found: dict[str, Any] = self._call(
            "converge", kind=kind, config=list(config), state=state, check=check
        )
        return found

    def reset(self) -> None:
        """As after the start, but for kernel modules that were loaded."""
        self._call("reset")

    def stop(self) -> None:
        """Ends the machine, as if its power went."""
        for child in filter(None, (self._qemu, self._agent)):
            child.kill()
            child.wait()
        if self._agent is not None:
            for pipe in filter(None, (self._agent.stdin, self._agent.stdout)):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._log.close()


@contextlib.contextmanager
def running(count: int) -> Iterator[list[Machine]]:
    """Machines that have booted, on one wire."""
    image = ensure()
    with tempfile.TemporaryDirectory(prefix="xh-vm-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        (folder / "collection.tar").write_bytes(_packed())
        wire = Wire(folder, count)
        stack.callback(wire.close)
        wire.start()
        machines = []
        for number in range(1, count + 1):
            machines.append(Machine(number, image, folder, wire))
            stack.callback(machines[-1].stop)
        for machine in machines:
            machine.connect()
        yield machines


def _packed() -> bytes:
    """The collection's plugins and the agent, as a tar archive that a machine reads from a disk."""
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as archive:
        archive.add(
            CHECKOUT / "plugins",
            _PACKED,
            filter=lambda entry: None if entry.name.endswith("__pycache__") else entry,
        )
        archive.add(Path(__file__).with_name("agent.py"), "agent.py")
    return found.getvalue()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
