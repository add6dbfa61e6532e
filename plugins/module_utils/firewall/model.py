# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the firewall backends share: operations, and the way to the host. No backend is imported here."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional, Protocol

from ..errors import ApplyError
from ..spec.firewall import Port, RuleSet

OWNER = "crosshost:"  # what every comment of ours starts with; the name of the set follows
STATE_DIR = "/var/lib/crosshost"
TIMEOUT_S = 120  # of one command; a firewalld reload on a big host takes tens of seconds


class Op(NamedTuple):
    """One step. `run` executes `argv` with `text` on stdin; `write`, `remove` and `link` act on the file `path`.

    `reload` is firewalld's reload with the runtime rules of others kept. `lines` is what an expert would type.
    """

    kind: str
    argv: tuple[str, ...] = ()
    text: str = ""
    path: str = ""
    lines: tuple[str, ...] = ()

    def render(self) -> list[str]:
        if self.lines:
            return list(self.lines)
        if self.kind in ("run", "reload"):
            return [shlex.join(self.argv)]
        if self.kind == "link":
            return [f"ln -s {shlex.quote(self.text)} {shlex.quote(self.path)}"]
        if self.kind == "remove":
            return [f"rm -f {shlex.quote(self.path)}"]
        return [f"install -D -m 0644 /dev/stdin {shlex.quote(self.path)}"]


def run_op(*argv: str, text: str = "", lines: Sequence[str] = ()) -> Op:
    return Op("run", argv, text, "", tuple(lines))


class CommandError(ApplyError):
    """A command that failed: names it and what it said, in one line."""

    def __init__(self, argv: Sequence[str], rc: int, said: str) -> None:
        told = " ".join(said.split())[:500] or "no message"
        command = shlex.join(argv)
        shown = command if len(command) <= 200 else command[:200] + " ..."
        super().__init__(f"{MODULE_NAME}: command {shown!r} failed ({rc}): {told}")
        self.argv_list, self.rc, self.said = tuple(argv), rc, told


MODULE_NAME = "firewall_ports"


class Host:
    """Commands and files of the host. Commands get a fixed PATH and the C locale, as their output is parsed."""

    def __init__(self) -> None:
        self.path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.env = {**os.environ, "PATH": self.path, "LC_ALL": "C", "LANGUAGE": "C"}
        self._found: dict[str, bool] = {}

    def has(self, program: str) -> bool:
        if program not in self._found:
            self._found[program] = any(
                os.access(os.path.join(d, program), os.X_OK) for d in self.path.split(":")
            )
        return self._found[program]

    def run(self, *argv: str, text: str = "") -> str:
        """Standard output; raises CommandError."""
        rc, out, err = self.attempt(*argv, text=text)
        if rc:
            raise CommandError(argv, rc, err or out)
        return out

    def attempt(self, *argv: str, text: str = "") -> tuple[int, str, str]:
        """Exit code, standard output, standard error. A program that cannot be started gives 127."""
        try:
            done = subprocess.run(
                argv, input=text, capture_output=True, text=True, env=self.env, timeout=TIMEOUT_S, check=False
            )
        except OSError as exc:
            return 127, "", str(exc)
        except subprocess.TimeoutExpired:
            return 124, "", f"no answer within {TIMEOUT_S} s"
        return done.returncode, done.stdout, done.stderr

    def read(self, path: str) -> Optional[str]:
        """A file's text, or None where there is none."""
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as handle:
                return handle.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise ApplyError(f"{MODULE_NAME}: file {path!r}: cannot be read: {exc.strerror}") from None

    def listdir(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(path))
        except OSError:
            return []

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def execute(self, op: Op) -> None:
        """Do one step; raises ApplyError."""
        if op.kind == "run":
            self.run(*op.argv, text=op.text)
            return
        try:
            if op.kind in ("write", "link"):
                os.makedirs(os.path.dirname(op.path), mode=0o755, exist_ok=True)
            if op.kind == "write":
                self._write(op.path, op.text)
            elif op.kind == "link":
                os.symlink(op.text, op.path)
            elif op.kind == "remove" and os.path.lexists(op.path):
                os.remove(op.path)
        except OSError as exc:
            raise ApplyError(f"{MODULE_NAME}: file {op.path!r}: {op.kind} failed: {exc.strerror}") from None

    @staticmethod
    def _write(path: str, text: str) -> None:
        # Replaced in one step, so that a boot in between never loads half a rule set.
        temporary = f"{path}.{os.getpid()}.new"
        try:
            with open(temporary, "w", encoding="utf-8") as handle:
                handle.write(text)
                handle.flush()
                os.fsync(handle.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        finally:
            if os.path.lexists(temporary):
                os.remove(temporary)


class Backend(Protocol):
    """One firewall. `State` is the backend's own picture of all that is ours in it, complete enough to restore."""

    name: str

    def __init__(self, host: Host) -> None: ...

    def present(self) -> bool:
        """Cheaply: is anything of ours in this firewall?"""

    def observe(self) -> Any:
        """The State."""

    def blank(self) -> Any:
        """The State of a host that holds nothing of ours, as far as possible without asking it (`rendered`)."""

    def sets(self, state: Any) -> dict[str, RuleSet]:
        """The rule sets that a State holds, also those that are only partly there."""

    def compile(self, sets: Mapping[str, RuleSet], state: Any) -> Any:
        """The State that holds exactly these sets; `state` gives the host's own circumstances."""

    def plan(self, now: Any, goal: Any) -> list[Op]:
        """The steps from one State to the other; empty when they mean the same."""

    def describe(self, state: Any) -> list[str]:
        """Lines for the diff."""

    def warnings(self, sets: Mapping[str, RuleSet], state: Any) -> list[str]:
        """What keeps these sets from meaning what they say on this host."""

    def execute(self, op: Op) -> None:
        """Do one step; raises ApplyError."""


def chunks(ports: Sequence[Port], size: int) -> list[list[Port]]:
    """Parts of at most `size` slots; a range takes two, as in iptables' multiport match."""
    out: list[list[Port]] = []
    room = 0
    for port in ports:
        need = 1 if port.first == port.last else 2
        if need > room:
            out.append([])
            room = size
        out[-1].append(port)
        room -= need
    return out


class Gathering:
    """Collects ports, esp and sources by set name while rules are read back."""

    def __init__(self) -> None:
        self._ports: dict[str, set[Port]] = {}
        self._sources: dict[str, set[str]] = {}
        self._esp: set[str] = set()
        self._zone: dict[str, str] = {}

    def add(
        self,
        name: str,
        ports: Sequence[Port] = (),
        sources: Sequence[str] = (),
        esp: bool = False,
        zone: Optional[str] = None,
    ) -> None:
        self._ports.setdefault(name, set()).update(ports)
        self._sources.setdefault(name, set()).update(sources)
        if esp:
            self._esp.add(name)
        if zone is not None:
            self._zone[name] = zone

    def result(self) -> dict[str, RuleSet]:
        from ..spec.firewall import normalise_ports, normalise_sources

        return {
            name: RuleSet(
                name,
                normalise_ports(self._ports[name]),
                name in self._esp,
                normalise_sources(self._sources[name]),
                self._zone.get(name),
            )
            for name in sorted(self._ports)
        }


def parse_ports(protocol: str, text: str, dash: str = ":") -> list[Port]:
    """`2377,30000:30100` as ports of `protocol`; what is no port is left out."""
    out: list[Port] = []
    for part in text.split(","):
        first, _sep, last = part.partition(dash)
        if first.isdigit() and (not last or last.isdigit()):
            out.append(Port(protocol, int(first), int(last or first)))
    return out
