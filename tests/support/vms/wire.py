# SPDX-License-Identifier: GPL-3.0-or-later
"""The Ethernet that virtual machines share: a hub of Unix datagram sockets, one a machine, which no other program can reach and
which sees every frame."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
from pathlib import Path

_LONGEST = 1 << 16


class Wire(threading.Thread):
    """Passes each frame on to all other machines. ``frames`` keeps what came by since :meth:`listen`."""

    def __init__(self, folder: Path, machines: int) -> None:
        super().__init__(name="wire", daemon=True)
        self._folder = folder
        self._ends: list[socket.socket] = []
        self._stop_reader, self._stop_writer = os.pipe()
        self._listening = False
        self.frames: list[bytes] = []
        for number in range(machines):
            end = socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )
            end.bind(str(folder / f"hub{number}"))
            self._ends.append(end)

    def netdev(self, number: int) -> str:
        """The value of QEMU's option -netdev for a machine's end, with the id ``wire``."""
        local, remote = self._folder / f"vm{number}", self._folder / f"hub{number}"
        return f"dgram,id=wire,local.type=unix,local.path={local},remote.type=unix,remote.path={remote}"

    def listen(self) -> None:
        """Keep the frames from now on."""
        self.frames = []
        self._listening = True

    def run(self) -> None:
        with selectors.DefaultSelector() as chosen:
            chosen.register(self._stop_reader, selectors.EVENT_READ)
            for number, end in enumerate(self._ends):
                chosen.register(end, selectors.EVENT_READ, number)
            while True:
                for found, _events in chosen.select():
                    if found.data is None:
                        return
                    self._pass_on(found.data)

    def _pass_on(self, origin: int) -> None:
        frame = self._ends[origin].recv(_LONGEST)
        if self._listening:
            self.frames.append(frame)
        for number, end in enumerate(self._ends):
            if number != origin:
                # as on any wire: nobody there, or no room, and the frame is lost
                with contextlib.suppress(BlockingIOError, FileNotFoundError, ConnectionRefusedError):
                    end.sendto(frame, str(self._folder / f"vm{number}"))

    def close(self) -> None:
        os.write(self._stop_writer, b"x")
        if self.is_alive():
            self.join()
        for end in self._ends:
            end.close()
        os.close(self._stop_reader)
        os.close(self._stop_writer)
