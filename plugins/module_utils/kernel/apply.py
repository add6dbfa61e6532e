# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carrying out a plan: the operations become messages, in as few sends as their order allows."""

from __future__ import annotations

import errno
import itertools
import os
from typing import Any, Optional

from ..errors import HostError
from ..plan import Op
from ..resources import (
    HOST,
    Address,
    FdbEntry,
    File,
    Link,
    Neighbour,
    Netns,
    Nft,
    Promiscuous,
    Route,
    Sysctl,
    Unit,
    first_name,
)
from . import decode, encode, sysctl
from . import netns as _netns
from .netlink import Message, NetlinkError, Socket
from .session import Session

_MODULES = {"vlan": "8021q"}  # the kinds whose module has another name


class OpError(Exception):
    """An operation was refused. ``op`` is the one, ``reason`` the kernel's (or nft's) own words."""

    def __init__(self, op: Op, reason: str) -> None:
        super().__init__(reason)
        self.op = op
        self.reason = reason


class Executor:
    """Sends the messages of consecutive operations on one namespace together."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._netns = HOST
        self._queue: list[tuple[Op, Message]] = []
        self._indexes: dict[str, dict[str, int]] = {}
        self._tables: dict[str, list[Op]] = {}  # what is still to be done to the nft tables, by namespace

    def run(self, ops: list[Op]) -> None:
        """Carry out the operations in order. OpError at the first that is refused; those after it may be done or not."""
        made = [
            op for op in ops if op.before is None and isinstance(op.after, Link) and op.after.kind == "vxlan"
        ]
        pending = set(map(id, made))
        for op in ops:
            if isinstance(op.subject, Nft):
                self._tables.setdefault(op.subject.netns, []).append(op)
        place = 0
        while place < len(ops):
            op = ops[place]
            try:
                if pending and id(op) in pending:
                    # all VXLAN devices first, in one batch: each is made from the host's namespace into its own
                    pending.clear()
                    self._make_tunnels(made)
                if isinstance(op.subject, (Neighbour, FdbEntry)):
                    place = self._rows(ops, place)
                elif isinstance(op.subject, Nft):
                    place = self._change_tables(ops, place)
                else:
                    self._one(op)
                    place += 1
            except OSError as error:
                raise OpError(op, error.strerror or str(error)) from error
        self._flush()

    def _rows(self, ops: list[Op], start: int) -> int:
        """Queue the run of rows of one device, kind and direction that begins at ``start``; the place after it."""
        first = ops[start].subject
        assert isinstance(first, (Neighbour, FdbEntry))
        delete = ops[start].after is None
        items: list[Any] = []
        kind, netns, dev = type(first), first.netns, first.dev
        for before, after in itertools.islice(ops, start, None):
            item: Any = before if delete else after
            if type(item) is not kind or item.dev != dev or item.netns != netns:
                break
            items.append(item)
        messages = encode.rows(items, self._index(first.netns, first.dev), delete)
        if first.netns != self._netns:
            self._flush()
            self._netns = first.netns
        end = start + len(items)
        self._queue.extend(zip(ops[start:end], messages))
        return end

    def _make_tunnels(self, ops: list[Op]) -> None:
        self._flush()
        fds: list[int] = []
        try:
            for op in ops:
                link = op.after
                assert isinstance(link, Link)
                dev = str(dict(link.attrs).get("dev", ""))
                fds.append(
                    os.open(_netns.path_of(link.netns), os.O_RDONLY | os.O_CLOEXEC) if link.netns else -1
                )
                lower = self._index(HOST, dev) if dev else 0
                self._add(HOST, op, encode.link_create(link, fds[-1], lower))
                if len(fds) >= 256:
                    self._flush()
                    _close(fds)
            self._flush()
        finally:
            _close(fds)

    def _one(self, op: Op) -> None:
        item = op.subject
        if isinstance(item, Netns):
            self._flush()
            self._namespace(op, item)
        elif isinstance(item, Link):
            self._link(op)
        elif isinstance(item, Sysctl):
            self._flush()
            if op.after is not None:
                sysctl.write(item.netns, item.name, item.value)
        elif isinstance(item, (File, Unit)):
            self._flush()
            self._system(op)
        else:
            self._row(op)

    def _row(self, op: Op) -> None:
        item = op.subject
        assert isinstance(item, (Address, Route, Promiscuous))
        index = self._index(item.netns, item.dev)
        delete = op.after is None
        if isinstance(item, Promiscuous):
            message = encode.promiscuous(index, on=not delete)
        elif isinstance(item, Address):
            message = encode.address(item, index, delete)
        else:
            message = encode.route(item, index, delete, replace=op.before is not None)
        self._add(item.netns, op, message)

    def _namespace(self, op: Op, item: Netns) -> None:
        if op.verb == "delete":
            self._session.sockets.drop(item.name)
            self._indexes.pop(item.name, None)
            _netns.delete(item.name)
            return
        if op.verb == "change":
            self._label_loopback(op, self._session.sockets.of(item.name), item)
            return
        _netns.prepare(item.name)
        if item.of:
            with _netns.inside(item.of):
                _netns.keep(item.name)
            return
        with _netns.new():
            # marked and up before it has a name: a run killed in between leaves nothing
            sock = Socket()
            try:
                self._label_loopback(op, sock, item)
            finally:
                sock.close()
            _netns.keep(item.name)

    @staticmethod
    def _label_loopback(op: Op, sock: Socket, item: Netns) -> None:
        loopback = Link(item.name, "lo", "loopback", item.mark, 65536)
        index = next(info.ifindex for info in decode.links(sock) if info.name == "lo")
        before = loopback._replace(alias="", up=False)
        try:
            sock.send(encode.link_settle(loopback, index, 0, before))
        except NetlinkError as error:
            raise OpError(op, error.reason) from error

    def _link(self, op: Op) -> None:
        if op.after is None:
            link = op.before
            assert isinstance(link, Link)
            self._add(link.netns, op, encode.link_delete(self._index(link.netns, link.name)))
            self._flush()
            self._indexes.pop(link.netns, None)
            if link.peer:
                self._indexes.pop(link.peer.netns, None)
            return
        link = op.after
        assert isinstance(link, Link)
        before = op.before if isinstance(op.before, Link) else None
        if before is None and link.kind != "vxlan":
            self._create(op, link)
        self._settle(op, link, before)

    def _create(self, op: Op, link: Link) -> None:
        fd = -1
        if link.kind in encode.UPPER_KINDS or link.kind == "dummy":
            self._create_upper(op, link)
            return
        if link.kind == "veth" and link.peer is None:
            raise HostError(
                f"link {link.name}: the sandbox of its other end is gone; converge the endpoint again"
            )
        if link.peer is not None:
            self._flush()
            fd = os.open(_netns.path_of(link.peer.netns), os.O_RDONLY | os.O_CLOEXEC)
            self._indexes.pop(link.peer.netns, None)
        try:
            self._add(link.netns, op, encode.link_create(link, fd))
            self._flush()
        finally:
            if fd >= 0:
                os.close(fd)
        self._indexes.pop(link.netns, None)

    def _create_upper(self, op: Op, link: Link) -> None:
        """From the host's namespace, where the parent is, into the link's own, and there under its name."""
        self._flush()
        parent = str(dict(link.attrs).get("link", ""))
        fd = os.open(_netns.path_of(link.netns), os.O_RDONLY | os.O_CLOEXEC) if link.netns else -1
        first = link._replace(name=first_name(link))
        try:
            self._add(HOST, op, encode.link_create(first, fd, self._index(HOST, parent) if parent else 0))
            self._flush()
        except OpError as error:
            code = getattr(error.__cause__, "errno", 0)
            raise OpError(op, f"{error.reason}{_why_not(code, link.kind, parent)}") from error
        finally:
            _close([fd])
        self._indexes.pop(link.netns, None)
        if first.name != link.name:
            self._add(link.netns, op, encode.link_rename(self._index(link.netns, first.name), link.name))
            self._flush()
            self._indexes.pop(link.netns, None)

    def _settle(self, op: Op, link: Link, before: Optional[Link]) -> None:
        index = self._index(link.netns, link.name)
        master = self._index(link.netns, link.master) if link.master else 0
        for message in encode.link_settle(link, index, master, before):
            self._add(link.netns, op, message)
        if link.peer is not None:
            self._settle_peer(op, link, before)

    def _settle_peer(self, op: Op, link: Link, before: Optional[Link]) -> None:
        assert link.peer is not None
        inner = _inner(link)
        earlier = _inner(before) if before is not None and before.peer is not None else None
        index = self._index(inner.netns, inner.name)
        for message in encode.link_settle(inner, index, 0, earlier):
            self._add(inner.netns, op, message)

    def _index(self, netns: str, name: str) -> int:
        known = self._indexes.get(netns)
        if known is None or name not in known:
            if netns == self._netns:
                self._flush()
            sock = self._session.sockets.of(netns)
            known = self._indexes[netns] = {info.name: info.ifindex for info in decode.links(sock)}
        if name not in known:
            where = f"the namespace {netns}" if netns else "the host"
            raise HostError(
                f"link {name}: there is none of this name on {where}; something removed it during the run"
            )
        return known[name]

    def _add(self, netns: str, op: Op, message: Message) -> None:
        if netns != self._netns:
            self._flush()
            self._netns = netns
        self._queue.append((op, message))

    def _flush(self) -> None:
        if not self._queue:
            return
        queue, self._queue = self._queue, []
        try:
            self._session.sockets.of(self._netns).send([message for _op, message in queue])
        except NetlinkError as error:
            raise OpError(queue[error.index][0], error.reason) from error

    def _change_tables(self, ops: list[Op], start: int) -> int:
        """Change the nft tables that the operations from ``start`` on are about, each as a whole at its first operation, and a
        few at the same time; the place after these operations."""
        from . import nft  # late: many runs have nothing to do with it

        parts = list(
            itertools.takewhile(lambda op: isinstance(op.subject, Nft), itertools.islice(ops, start, None))
        )
        spaces = dict.fromkeys(op.subject.netns for op in parts if isinstance(op.subject, Nft))
        waiting = [(netns, self._tables.pop(netns)) for netns in spaces if netns in self._tables]
        self._flush()
        running: list[tuple[str, list[Op], nft.Call]] = []
        changes = parts
        try:
            while waiting or running:
                while waiting and len(running) < nft.AT_ONCE:
                    netns, changes = waiting.pop(0)
                    running.append((netns, changes, nft.transact(netns, changes)))
                netns, changes, call = running.pop(0)
                nft.finish(call)
                if not netns:
                    from . import conntrack  # late, likewise

                    conntrack.refresh(self._session, changes)
        except nft.NftError as error:
            raise OpError(changes[0], str(error)) from error
        finally:
            for _netns, _changes, call in running:
                call.wait()
        return start + len(parts)

    @staticmethod
    def _system(op: Op) -> None:
        from . import files, units  # late: only names need them

        if isinstance(op.subject, File):
            files.apply(op)
        else:
            units.apply(op)


def _why_not(code: int, kind: str, parent: str) -> str:
    """What the kernel may have meant when it did not make a device of this kind."""
    if code == errno.EOPNOTSUPP:
        return f": this host's kernel lacks the module {_MODULES.get(kind, kind)}"
    if code in (errno.EBUSY, errno.EINVAL):
        # who is in the way may be in a namespace that nobody has a name for, where nothing finds it beforehand
        return f": something else holds {parent}, or it is none that can carry {kind}"
    return ""


def _inner(link: Link) -> Link:
    assert link.peer is not None
    return Link(
        link.peer.netns, link.peer.name, "veth", link.alias, link.peer.mtu, link.peer.mac, "", link.up
    )


def _close(fds: list[int]) -> None:
    while fds:
        fd = fds.pop()
        if fd >= 0:
            os.close(fd)
