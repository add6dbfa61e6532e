# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at a host's kernel: dumps are made at most once a namespace, until something is written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Optional

from ..resources import HOST, Resource
from . import decode
from . import netns as _netns
from .netlink import Sockets

if TYPE_CHECKING:
    from .nft import Call


class NsView:
    """What is in one namespace; each table is dumped when it is first asked for."""

    def __init__(self, session: Session, netns: str) -> None:
        self._session = session
        self.netns = netns
        self.links: list[decode.LinkInfo] = decode.links(session.sockets.of(netns))
        self.by_index: dict[int, decode.LinkInfo] = {link.ifindex: link for link in self.links}
        self.by_name: dict[str, decode.LinkInfo] = {link.name: link for link in self.links}
        self._addresses: Optional[list[decode.AddressInfo]] = None
        self._routes: Optional[list[decode.RouteInfo]] = None

    @property
    def mark(self) -> str:
        """The ifalias of the loopback device: it says who made the namespace."""
        lo = self.by_name.get("lo")
        return lo.alias if lo else ""

    def name_of(self, index: int) -> str:
        link = self.by_index.get(index)
        return link.name if link else ""

    @property
    def addresses(self) -> list[decode.AddressInfo]:
        if self._addresses is None:
            self._addresses = decode.addresses(self._session.sockets.of(self.netns))
        return self._addresses

    @property
    def routes(self) -> list[decode.RouteInfo]:
        if self._routes is None:
            self._routes = decode.routes(self._session.sockets.of(self.netns))
        return self._routes

    def neighbours(self) -> list[tuple[int, str, str]]:
        return decode.neighbours(self._session.sockets.of(self.netns))

    def fdb(self) -> list[tuple[int, str, str]]:
        return decode.fdb(self._session.sockets.of(self.netns))


class Session:
    """The sockets and the views of one run. Use it as a context manager."""

    def __init__(self) -> None:
        self.sockets = Sockets()
        self._views: dict[str, NsView] = {}
        self._names: Optional[list[str]] = None
        self._tables: dict[str, list[Resource]] = {}
        self._listings: dict[str, Call] = {}
        self._unread: list[str] = []

    def view(self, netns: str = HOST) -> Optional[NsView]:
        """What is in a namespace, or None when there is no such namespace."""
        if netns not in self._views:
            if netns and not _netns.exists(netns):
                return None
            self._views[netns] = NsView(self, netns)
        return self._views[netns]

    @property
    def host(self) -> NsView:
        view = self.view(HOST)
        assert view is not None
        return view

    def netns_names(self) -> list[str]:
        if self._names is None:
            self._names = _netns.names()
        return self._names

    def nft(self, netns: str) -> list[Resource]:
        """The chains, maps and elements of our nft table in a namespace; [] when there is none."""
        if netns not in self._tables:
            from . import nft  # late: many runs have nothing to do with it

            call = self._listings.pop(netns, None) or _listing(netns)
            self._tables[netns] = nft.table(netns, call) if call else []
            self.read_ahead([])
        return self._tables[netns]

    def read_ahead(self, spaces: Iterable[str]) -> None:
        """Begin to read the nft tables of these namespaces, a few at a time; :meth:`nft` waits for the one it is asked for."""
        from . import nft

        self._unread += spaces
        while self._unread and len(self._listings) < nft.AT_ONCE:
            netns = self._unread.pop(0)
            call = None if netns in self._tables or netns in self._listings else _listing(netns)
            if call:
                self._listings[netns] = call

    def forget(self) -> None:
        """After a write: what was read before no longer counts."""
        self._views.clear()
        self._tables.clear()
        self._stop_listing()
        self._names = None

    def _stop_listing(self) -> None:
        self._unread.clear()
        for call in self._listings.values():
            call.stop()
        self._listings.clear()

    def close(self) -> None:
        self._stop_listing()
        self.sockets.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _listing(netns: str) -> Optional[Call]:
    from . import nft

    return nft.listing(netns) if not netns or _netns.exists(netns) else None
