# SPDX-License-Identifier: GPL-3.0-or-later
"""One server: its state made ready, and the application served until a signal ends it."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from sqlalchemy.exc import DBAPIError

from .accounts.keys import KeyFileError, Keys
from .app import create_app
from .db import migrate
from .db.engine import Database
from .ipam import service as ipam
from .operations.backup import RESTORING
from .settings import Settings
from .state import State

GRACE_SECONDS = 10  # for requests that are under way when the server is told to stop


class StartError(Exception):
    """The server cannot start, or a command cannot reach its data. One line."""


def make_state(settings: Settings) -> State:
    """The state of a server that is about to start: the data directory and the key made if there are none, the database migrated,
    the default pools in it. StartError says what is in the way."""
    _make_folder(settings)
    state = _open(settings, migrate.upgrade)
    try:
        _prepare(state)
    except BaseException:
        state.close()
        raise
    return state


def migrate_only(settings: Settings) -> list[str]:
    """Bring the database to this version; the revisions that were applied. StartError as make_state."""
    _make_folder(settings)
    applied: list[str] = []
    state = _open(settings, lambda database: applied.extend(migrate.upgrade(database)))
    try:
        _prepare(state)
    finally:
        state.close()
    return applied


def open_state(settings: Settings) -> State:
    """The state for a command beside a server, or without one. StartError if the database is not of this version."""
    if not settings.data_dir.is_dir():
        raise StartError(
            f"data_dir: {settings.data_dir} does not exist; name the folder that the server uses"
        )
    return _open(settings, migrate.demand_head)


def serve(
    settings: Settings, ready: Callable[[str], None], first: Callable[[State], None] = lambda _: None
) -> None:
    """Serve until SIGTERM or SIGINT; a second SIGINT does not wait for requests. ``first`` is called with the state before the
    server listens, ``ready`` with its address once it does. StartError says why it cannot."""
    _make_folder(settings)
    with _only_server(settings), _bound(settings) as listener:
        state = make_state(settings)
        try:
            first(state)
            server = _Server(state, listener, ready)
            # uvicorn raises the signal again when it has stopped; by then there is nothing left to interrupt
            for one in (signal.SIGTERM, signal.SIGINT):
                signal.signal(one, lambda *_: None)
            server.run(sockets=[listener])
        finally:
            state.close()


class _Server(uvicorn.Server):
    def __init__(self, state: State, listener: socket.socket, ready: Callable[[str], None]) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(state), log_config=None, access_log=False, server_header=False, proxy_headers=False,
                ws="none", lifespan="on", timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )  # fmt: skip
        self._state = state
        self._address = address(listener)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready(self._address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._state.broker.close()  # streams would keep their connections, and those the server
        await super().shutdown(sockets)


def address(listener: socket.socket) -> str:
    """How a browser on this machine, or one that reaches this address, comes to the listener."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _open(settings: Settings, check: Callable[[Database], object]) -> State:
    try:
        database = Database(settings.database_url)
    except (OSError, ValueError) as error:
        raise StartError(f"database: {error}") from None
    try:
        check(database)
        return State(settings, database, Keys(settings))
    except (migrate.SchemaError, KeyFileError) as error:
        database.close()
        raise StartError(str(error)) from None
    except DBAPIError as error:
        database.close()
        raise StartError(f"{migrate.shown(database)}: {' '.join(str(error.orig).split())}") from None
    except BaseException:
        database.close()
        raise


def _prepare(state: State) -> None:
    """What every server has, made once."""
    with state.db.write() as s:
        ipam.ensure_defaults(s)


def _make_folder(settings: Settings) -> None:
    if (settings.data_dir / RESTORING).exists():
        raise StartError(
            f"data_dir: {settings.data_dir}: a restore has not come to its end; empty the folder and restore again"
        )
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        settings.runs_dir.mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise StartError(
            f"data_dir: {error.filename}: {error.strerror}; name a folder that can be written: --data-dir"
        ) from None


@contextmanager
def _only_server(settings: Settings) -> Iterator[None]:
    """Two servers on one data directory would each take the other's runs for lost."""
    descriptor = os.open(settings.data_dir / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.read(descriptor, 20).decode("ascii", "replace").strip()
            raise StartError(
                f"data_dir: {settings.data_dir} is in use by a server, process {pid}; stop it, or name another folder"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    """A socket that has its port, and does not listen yet: who connects before the server is ready is refused, not kept."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(
            f"host: {settings.host}: {error.strerror}; name an address of this machine"
        ) from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(where)
        except OSError as error:
            raise StartError(
                f"host and port: {settings.host} port {settings.port}: {error.strerror}; name others"
            ) from None
        yield listener
