# Copyright (c) 2026, Crosshost contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints as a kind of :mod:`..converge`: sandboxes joined to networks of any driver, or put into a mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from .. import record
from ..compile import ways
from ..compile.endpoint import Place, compile_endpoint, compile_leg, endpoint_alias
from ..compile.overlay import bridge_mac, bridge_name
from ..errors import CollisionError, HostError
from ..kernel import collisions, observe
from ..kernel.session import Session
from ..kernel.underlay import Finder
from ..plan import Op
from ..resources import HOST, Link, Netns, Resource, Route, State, Sysctl, netns_name, state_of
from ..spec import endpoint
from ..spec.endpoint import Endpoint
from ..spec.networks import Network
from . import legs, modes
from .addresses import Addresses
from .ground import Ground
from .mesh import network_name
from .places import Places, known_path

if TYPE_CHECKING:
    from ..compile.publish import Published

NAME = "endpoint"


class _Joined(NamedTuple):
    """An endpoint with all that its host decides: its addresses, its sandbox's namespace and its interface there."""

    end: Endpoint
    netns: str
    interface: str


class EndpointKind:
    """``ground``: the networks and gateway bridges; by default what is recorded."""

    name = NAME

    def __init__(self, ground: Optional[Ground] = None, check_mode: bool = False) -> None:
        self._ground = ground or Ground()
        self._check_mode = check_mode
        self._parsed: dict[str, Endpoint] = {}
        self._places = Places({})
        self._publishes = False
        self._ports: list[Published] = []
        self._offsets: dict[str, int] = {}

    def key(self, item: Mapping[str, Any]) -> str:
        at = endpoint.where(item)
        return f"{at.network}/{at.name}"

    def complete(self, item: dict[str, Any]) -> dict[str, Any]:
        return item

    def merge(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        chosen = [field for field in ("sandbox", "pid", "container") if field in new]
        kept = {k: v for k, v in old.items() if not chosen or k not in ("sandbox", "pid", "container")}
        return {**kept, **new}

    def check(self, items: Sequence[dict[str, Any]]) -> None:
        parsed = endpoint.parse_all(items, self._ground.networks, self._ground.bridges)
        self._parsed = {one.id: one for one in parsed}
        self._places = Places(self._parsed)
        self._publishes = any(one.publish for one in parsed) or any(
            item.get("publish") for item in record.load(NAME)
        )

    def owned(self, session: Session) -> list[str]:
        mesh = network_name()
        spaces = [netns_name(name) for name in observe.overlay_names(session) if name != mesh]
        pairs = [pair.outer for pair in observe.pairs(session, [HOST, *spaces], [])]
        return [_owner(link) for link in pairs if "/" in link.alias and not legs.is_leg(link)]

    # -- what is to be

    def desired(self, session: Session, names: Sequence[str]) -> State:
        finder = Finder(session)
        found: list[Resource] = []
        for name in names:
            one = self._parsed[name]
            if one.mode:
                found.extend(modes.resources(session, one, self._places))
        touched = self._touched(names)
        publishing = {one.place for one in self._parsed.values() if one.publish}
        joined = self._joined(session, names, touched | publishing)
        for name in names:
            if name in joined:
                found.extend(self._endpoint(session, finder, joined[name]))
        outs = {
            place: {version: ends[end.id] for version, end in self._chosen(ends).items()}
            for place, ends in _by_place(joined).items()
        }
        found.extend(self._ways_out(session, {place: outs[place] for place in outs if place in touched}))
        if self._publishes:
            found.extend(self._published(session, joined, outs))
        found.extend(self._ways_in(session, names, [joined[name].end for name in names if name in joined]))
        return state_of(dict.fromkeys(found))

    def _ways_in(
        self,
        session: Session,
        names: Sequence[str],
        ends: Sequence[Endpoint] = (),
        desired: Optional[State] = None,
    ) -> Iterator[Resource]:
        """The host's own routes to endpoints on its LANs: as they are to be for ``ends``, or as they are."""
        if all(network.driver in ("overlay", "bridge") for network in self._ground.networks.values()):
            return
        from . import children  # late: only networks of these drivers need it

        for network in children.lans(self._ground.networks, names):
            if desired is not None:
                yield from children.routes_there(session, network, names, desired)
            else:
                yield from children.routes(session, network, names, self._parsed, ends, self._check_mode)

    def _joined(self, session: Session, names: Sequence[str], touched: set[str]) -> dict[str, _Joined]:
        """The endpoints of these sandboxes that are to be made or that are there, settled."""
        wanted = set(names)
        mine = {
            name: one
            for name, one in self._parsed.items()
            if not one.mode
            and (name in wanted or (one.place in touched and self._places.is_joined(session, one)))
        }
        # where all the others are matters only to who gets an address from this host
        local = any(self._ground.networks[one.network].driver != "overlay" for one in mine.values())
        far = self._places.all(session) if local else {}
        addresses = Addresses(session, self._parsed, far)
        found = {}
        for name, one in mine.items():
            end = addresses.settle(one, self._ground.networks[one.network])
            netns = self._places.of(one)
            found[name] = _Joined(end, netns, self._places.interface(session, one, netns))
        return found

    def _endpoint(self, session: Session, finder: Finder, joined: _Joined) -> Iterator[Resource]:
        end, netns, interface = joined
        # a sandbox that crosshost made stays as long as an endpoint is in it, whichever asked for it
        if end.sandbox and not self._places.is_foreign(session, netns):
            yield Netns(netns, observe.SANDBOX_MARK)
        network = self._ground.networks[end.network]
        if network.driver == "overlay":
            place = Place(netns, interface, *self._segment(session, finder, end))
            yield from compile_endpoint(end, self._ground.overlays[end.network], place)
        elif network.driver == "bridge":
            from . import bridged  # late: only networks of this driver need it

            yield from bridged.resources(end, network, netns, interface)
        else:
            from . import children  # likewise

            yield from children.resources(session, end, network, netns, interface, self._check_mode)

    def _ways_out(
        self, session: Session, ways_out: Mapping[str, Mapping[int, _Joined]]
    ) -> Iterator[Resource]:
        """The default routes of these sandboxes, and the legs to gateway bridges that some of them need."""
        wanted: dict[str, dict[str, legs.Wanted]] = {}
        for place, out in ways_out.items():
            over_leg = {version: one for version, one in out.items() if self._driver(one.end) == "overlay"}
            for version, (end, netns, interface) in out.items():
                if version not in over_leg:
                    network = self._ground.networks[end.network]
                    yield from ways.default_routes(end, network, netns, interface, version)
            for one in over_leg.values():
                wanted.setdefault(one.end.gwbridge, {})[place] = legs.Wanted(one.netns, tuple(over_leg))
        for name, places in wanted.items():
            bridge = self._ground.bridges[name]
            chosen = legs.choose(session, bridge, places)
            self._offsets.update((place, leg.offset) for place, leg in chosen.items())
            for place, leg in chosen.items():
                yield from compile_leg(bridge, leg, places[place].routed)

    def _published(
        self,
        session: Session,
        joined: Mapping[str, _Joined],
        ways_out: Mapping[str, Mapping[int, _Joined]],
    ) -> Iterator[Resource]:
        from . import publishing  # late: most endpoints publish nothing

        known: dict[str, int] = {}
        for bridge in self._ground.bridges.values():
            known.update(legs.offsets(session, bridge))
        known.update(self._offsets)
        chosen = []
        for end, _netns, _interface in joined.values():
            if end.publish:
                out = {version: one.end for version, one in ways_out[end.place].items()}
                chosen.append(publishing.Way(end, out, known.get(end.place, 0)))
        self._ports, found = publishing.resources(session, self._ground, chosen)
        yield from found

    def _chosen(self, ends: Mapping[str, _Joined]) -> dict[int, Endpoint]:
        return ways.choose((one.end for one in ends.values()), self._ground.networks, self._ground.bridges)

    def _driver(self, end: Endpoint) -> str:
        return self._ground.networks[end.network].driver

    def _segment(self, session: Session, finder: Finder, one: Endpoint) -> tuple[int, str]:
        """MTU and MAC of the segment's bridge, as they are, or as they will be when the network is not there yet."""
        view = session.view(netns_name(one.network))
        bridge = view.by_name.get(bridge_name(one.vni)) if view else None
        if bridge is not None and not self._check_mode:
            return bridge.mtu, bridge.mac
        below = finder.resolve(self._ground.overlays[one.network])
        return below.mtu, bridge_mac(below.vtep, one.vni)

    # -- what is there

    def observed(self, session: Session, names: Sequence[str], desired: State) -> State:
        chosen = {endpoint_alias(name) for name in names}
        places = self._touched(names)
        living = {one.place for one in self._parsed.values()}

        def wanted(link: Link) -> bool:
            if not link.alias:
                return True  # half made by a run that was killed: nobody's but ours to finish or to remove
            if legs.is_leg(link):
                place = legs.place_of(link)
                return place in places or (place not in living and not place.startswith(legs.OWN))
            return link.alias in chosen

        recorded = [item for item in record.load(NAME) if self.key(item) in names]
        spaces = {known_path(item) for item in recorded}
        made_in = [item for item in desired.values() if isinstance(item, Link)]
        spaces |= {link.peer.netns if link.peer else link.netns for link in made_in}
        spaces |= {item.netns for item in desired.values() if isinstance(item, Route)}
        named = {one.sandbox for one in self._parsed.values()}
        made = {item.name for item in desired.values() if isinstance(item, Netns)}
        # likewise, it may still be in the sandbox
        own = [name for name in observe.sandbox_names(session) if name in made or name not in named]
        settings = [item for item in desired.values() if isinstance(item, Sysctl)]
        found = observe.endpoints(session, spaces - {HOST}, wanted, own)
        found.update(state_of(observe.default_routes(session, spaces - {HOST})))
        found.update(state_of(observe.sysctls(session, settings)))
        found.update(state_of(modes.observed(session, recorded, desired)))
        if self._publishes:
            from . import publishing

            found.update(state_of(publishing.observed(session)))
        found.update(state_of(self._ways_in(session, names, desired=desired)))
        found.update(state_of(self._services_left(session, recorded)))
        return found

    def _services_left(self, session: Session, recorded: Iterable[Mapping[str, Any]]) -> Iterator[Resource]:
        """What the services of a network that a sandbox leaves have there: it goes with the endpoint."""
        if not record.load("service"):
            return
        from . import service  # late: only hosts with services need it

        staying = {(one.network, one.place) for one in self._parsed.values()}
        for item in recorded:
            at = endpoint.where(item)
            place = (at.network, endpoint.place(at.sandbox, at.pid, at.container))
            if place not in staying and known_path(item):
                yield from service.leftovers(session, known_path(item), at.network)

    def guard(self, session: Session, ops: Sequence[Op]) -> None:
        collisions.refuse_taken_names(session, ops)
        modes.guard(ops, record.load(NAME))
        if self._ports:
            from . import ports

            ports.refuse_taken_ports(session, ops, self._ports)
        for op in ops:
            item = op.subject
            if op.before is None and isinstance(item, Route) and item.dst in ("0.0.0.0/0", "::/0"):
                _refuse_other_default(session, item)
            if op.before is None and isinstance(item, Link) and item.master and not self._check_mode:
                view = session.view(item.netns)
                if view is None or item.master not in view.by_name:
                    what = _missing(item, self._ground.networks)
                    raise HostError(f"endpoint {_owner(item)}: {what} is not on this host; converge it first")

    def _touched(self, names: Iterable[str]) -> set[str]:
        """The sandboxes of these endpoints, as they are declared now and as they were recorded, and of those that go."""
        wanted = set(names)
        places = {one.place for one in self._parsed.values() if one.id in wanted}
        for item in record.load(NAME):
            name = self.key(item)
            if name in wanted or name not in self._parsed:
                at = endpoint.where(item)
                places.add(endpoint.place(at.sandbox, at.pid, at.container))
        return places


def _by_place(joined: Mapping[str, _Joined]) -> dict[str, dict[str, _Joined]]:
    found: dict[str, dict[str, _Joined]] = {}
    for name, one in joined.items():
        found.setdefault(one.end.place, {})[name] = one
    return found


def _owner(link: Link) -> str:
    return link.alias.partition(":")[2]


def _missing(link: Link, networks: Mapping[str, Network]) -> str:
    """What it is that a new pair's outer end finds no bridge of."""
    if legs.is_leg(link):
        return f"gateway bridge {link.master}"
    name = _owner(link).partition("/")[0]
    return networks[name].obj if name in networks and not link.netns else f"network {name}"


def _refuse_other_default(session: Session, item: Route) -> None:
    view = session.view(item.netns)
    for way in view.routes if view else ():
        info = view.by_index.get(way.dev) if view else None
        if way.dst == item.dst and info is not None and not info.owned:
            raise CollisionError(
                f"sandbox {item.netns}: it has a default route over {info.name} that crosshost did not make; "
                "set default_route: false on its endpoints"
            )
