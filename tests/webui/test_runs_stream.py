# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams: everything once, in order, whoever comes when, and however often they are torn."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Coroutine
from typing import Any

import pytest
from crosshost_webui.runs import service, store, stream
from crosshost_webui.state import State
from fastapi.sse import ServerSentEvent

from tests.webui.support_runs import Record, a_record, recorded


def run(what: Coroutine[Any, Any, Any], seconds: float = 60) -> Any:
    return asyncio.run(asyncio.wait_for(what, seconds))


def write(state: State, run_id: int, events: list[dict[str, Any]], tell: bool = True) -> None:
    with state.db.write() as s:
        service.ingest(s, run_id, events)
        if tell:
            service.announce(state, s, run_id)


def open_stream(state: State, run_id: int, after: int = 0) -> Any:
    with state.db.read() as s:
        pulse = store.pulse(s, run_id)
    assert pulse is not None
    return stream.stream(state, run_id, pulse, after)


def seqs(one: ServerSentEvent) -> list[int]:
    return [result["seq"] for result in json.loads(one.raw_data or "{}").get("results", [])]


def results_of(record: Record) -> list[int]:
    return [event["seq"] for event in record.events if event["kind"] == "result"]


async def collect(
    state: State, run_id: int, after: int = 0, most: int = 10**6
) -> tuple[list[int], int, list[str]]:
    """The results that come until the end, or until ``most`` messages; the last id; the messages' names."""
    found: list[int] = []
    names: list[str] = []
    last = after
    source = open_stream(state, run_id, after)
    async for one in source:
        names.append(one.event or "")
        if one.event == "results":
            found += seqs(one)
            last = int(one.id or 0)
            most -= 1
        if most == 0:
            break
    await source.aclose()
    return found, last, names


def test_a_run_that_has_ended_is_told_whole(state: State) -> None:
    record = a_record(hosts=[f"h{n}" for n in range(400)])
    run_id = recorded(state)
    write(state, run_id, record.events)
    found, last, names = run(collect(state, run_id))
    assert found == results_of(record) and last == len(record.events)
    assert names[-2:] == ["run", "end"]
    assert run(collect(state, run_id, after=last)) == ([], last, ["", "run", "end"])


def test_what_a_message_holds(state: State) -> None:
    record = (
        Record().add("start").task(1, "ping", "Say <hello>").result(1, "web1", "changed", body={"msg": "x"})
    )
    record.result(1, "web1", "ok", item="a").add("warning", text="</script>")
    run_id = recorded(state)
    write(state, run_id, record.events)

    async def first() -> dict[str, Any]:
        source = open_stream(state, run_id)
        async for one in source:
            if one.event == "results":
                await source.aclose()
                return dict(json.loads(one.raw_data or ""))
        raise AssertionError

    found = run(first())
    assert found["tasks"] == [{"number": 1, "name": "Say <hello>", "action": "ping", "play": "all"}]
    assert found["results"][0] == {
        "seq": 3,
        "task": 1,
        "host": "web1",
        "status": "changed",
        "ms": 12,
        "body": True,
    }
    assert found["results"][1]["item"] is True
    assert found["warnings"] == [{"seq": 5, "text": "</script>"}]


@pytest.mark.parametrize("tell", [True, False])
def test_watchers_that_come_and_go(state: State, tell: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some watch throughout, some come late, some are torn again and again; all see every result once. Also what another process
    writes, of which nobody is told."""
    monkeypatch.setattr(stream, "POLL", 0.05)
    monkeypatch.setattr(stream, "KEPT", 4)
    monkeypatch.setattr(stream, "CHUNK", 40)
    chance = random.Random(7)  # noqa: S311
    record = a_record(hosts=[f"h{n}" for n in range(30)], tasks=20)
    run_id = recorded(state)

    async def writer() -> None:
        place = 0
        while place < len(record.events):
            size = chance.randrange(1, 60)
            await asyncio.to_thread(write, state, run_id, record.events[place : place + size], tell)
            place += size
            await asyncio.sleep(0.01)

    async def torn(delay: float) -> list[int]:
        await asyncio.sleep(delay)
        found: list[int] = []
        last = 0
        while True:
            part, last, names = await collect(state, run_id, last, most=chance.randrange(1, 4))
            found += part
            if names[-1] == "end":
                return found

    async def whole(delay: float) -> list[int]:
        await asyncio.sleep(delay)
        return (await collect(state, run_id))[0]

    async def everything() -> list[list[int]]:
        watchers = [whole(0), whole(0), whole(0.15), torn(0), torn(0.1), torn(0.2)]
        *found, _ = await asyncio.gather(*watchers, writer())
        return list(found)

    for found in run(everything()):
        assert found == results_of(record)
    assert not stream._feeds.get(state.broker)
    assert state.broker.listeners() == 0


def test_a_stream_ends_when_the_server_stops(state: State) -> None:
    run_id = recorded(state)
    write(state, run_id, a_record().events[:4])

    async def watched() -> list[str]:
        asyncio.get_running_loop().call_later(0.2, state.broker.close)
        return (await collect(state, run_id))[2]

    names = run(watched(), 10)
    assert "results" in names and "end" not in names


def test_a_stream_lives_as_long_as_it_may(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LIFE", 0.3)
    run_id = recorded(state)
    write(state, run_id, a_record().events[:4])
    _, last, names = run(collect(state, run_id), 10)
    assert last == 4 and "end" not in names


def test_no_session_is_held_while_nothing_happens(state: State) -> None:
    run_id = recorded(state)
    write(state, run_id, a_record().events[:4])

    async def watched() -> int:
        watchers = [asyncio.create_task(collect(state, run_id)) for _ in range(40)]
        await asyncio.sleep(0.4)
        held = state.db.reader.pool.checkedout()  # type: ignore[attr-defined]
        for one in watchers:
            one.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        return int(held)

    assert run(watched()) == 0


def test_a_run_that_is_removed_while_it_is_watched(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "POLL", 0.05)
    run_id = recorded(state)
    write(state, run_id, a_record().events[:4])

    async def watched() -> list[str]:
        task = asyncio.create_task(collect(state, run_id))
        await asyncio.sleep(0.2)

        def remove() -> None:
            with state.db.write() as s:
                store.swap(s, run_id, ("running",), {"status": "ok"})
                assert store.remove(s, run_id)

        await asyncio.to_thread(remove)
        return (await task)[2]

    assert run(watched(), 10)[-1] == "end"
