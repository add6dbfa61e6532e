# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow that every module shares, with a kind and a kernel of the test's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.crosshost.network.plugins.module_utils import converge as flow
from ansible_collections.crosshost.network.plugins.module_utils import record, transaction
from ansible_collections.crosshost.network.plugins.module_utils.errors import (
    ApplyError,
    CollisionError,
    HostError,
    SpecError,
)
from ansible_collections.crosshost.network.plugins.module_utils.kernel.apply import OpError
from ansible_collections.crosshost.network.plugins.module_utils.plan import Op
from ansible_collections.crosshost.network.plugins.module_utils.resources import State, Sysctl, key, state_of


class Kernel:
    """Settings as the whole kernel: a declaration {name, value} is one."""

    def __init__(self) -> None:
        self.state: State = {}
        self.refuse: str = ""
        self.lose: str = ""
        self.writes = 0

    def run(self, ops: Sequence[Op]) -> None:
        for op in ops:
            self.writes += 1
            item = op.subject
            assert isinstance(item, Sysctl)
            if item.name == self.refuse:
                self.refuse = ""
                raise OpError(op, "Operation not permitted")
            if op.after is None:
                del self.state[key(item)]
            elif item.name != self.lose:
                self.state[key(item)] = item


class SettingKind:
    name = "setting"

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.items: dict[str, dict[str, Any]] = {}
        self.guarded = False

    def key(self, item: Mapping[str, Any]) -> str:
        return str(item["name"])

    def complete(self, item: dict[str, Any]) -> dict[str, Any]:
        return item

    def merge(self, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        return {**old, **new}

    def check(self, items: Sequence[dict[str, Any]]) -> None:
        for item in items:
            if item.get("value") == "wrong":
                raise SpecError("setting", "value", "wrong", "give another")
        self.items = {item["name"]: item for item in items}

    def owned(self, session: object) -> list[str]:
        del session
        return [item.name for item in self.kernel.state.values() if isinstance(item, Sysctl)]

    def desired(self, session: object, names: Sequence[str]) -> State:
        del session
        return state_of(Sysctl("", name, self.items[name]["value"]) for name in names)

    def observed(self, session: object, names: Sequence[str], desired: State) -> State:
        del session, desired
        return {
            k: item
            for k, item in self.kernel.state.items()
            if isinstance(item, Sysctl) and item.name in names
        }

    def guard(self, session: object, ops: Sequence[Op]) -> None:
        del session, ops
        if self.guarded:
            raise CollisionError("setting: it is somebody else's")


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    made = Kernel()

    class FakeExecutor:
        def __init__(self, _session: object) -> None:
            pass

        def run(self, ops: Sequence[Op]) -> None:
            made.run(ops)

    class FakeSession:
        def __enter__(self) -> FakeSession:
            return self

        def __exit__(self, *_exc: object) -> None:
            pass

        def read_ahead(self, spaces: Iterable[str]) -> None:
            assert not list(spaces)

        def forget(self) -> None:
            pass

    monkeypatch.setattr(transaction, "Executor", FakeExecutor)
    monkeypatch.setattr(flow, "Session", FakeSession)
    monkeypatch.setattr(flow, "need_root", lambda: None)
    monkeypatch.setattr(flow.netns, "sweep", lambda: None)
    monkeypatch.setattr(record, "STATE_DIR", str(tmp_path))
    monkeypatch.setattr(record, "LOCK", str(tmp_path / "lock"))
    yield made


def run(
    kernel: Kernel, config: list[dict[str, Any]], state: str = "merged", check: bool = False
) -> flow.Outcome:
    return flow.converge(SettingKind(kernel), config, state, check)


def values(kernel: Kernel) -> dict[str, str]:
    return {item.name: item.value for item in kernel.state.values() if isinstance(item, Sysctl)}


A, B, C = ({"name": name, "value": "1"} for name in "abc")


@pytest.mark.parametrize(
    ("state", "config", "left"),
    [
        ("merged", [{"name": "b", "value": "2"}, C], {"a": "1", "b": "2", "c": "1"}),
        ("merged", [{"name": "b", "extra": "x"}], {"a": "1", "b": "1"}),
        ("replaced", [{"name": "b", "value": "2"}], {"a": "1", "b": "2"}),
        ("overridden", [C], {"c": "1"}),
        ("overridden", [], {}),
        ("deleted", [{"name": "a"}], {"b": "1"}),
        ("deleted", [{"name": "unknown"}], {"a": "1", "b": "1"}),
        ("deleted", [], {}),
        ("gathered", [], {"a": "1", "b": "1"}),
        ("rendered", [C], {"a": "1", "b": "1"}),
    ],
)
def test_the_states(kernel: Kernel, state: str, config: list[dict[str, Any]], left: dict[str, str]) -> None:
    run(kernel, [A, B])
    was, writes = values(kernel), kernel.writes
    checked = run(kernel, config, state, check=True)
    assert (values(kernel), kernel.writes) == (was, writes), "check mode writes nothing"
    done = run(kernel, config, state)
    assert done == checked, "check mode tells the truth"
    assert values(kernel) == left
    assert {item["name"] for item in record.load("setting")} == set(left)
    if state not in ("gathered", "rendered"):
        assert done.changed == (left != was or "extra" in str(config))
        again = run(kernel, config, state)
        assert (again.changed, again.commands, again.diff) == (False, [], {"before": "", "after": ""})


def test_owned_things_that_no_record_knows_go_with_overridden_and_deleted(kernel: Kernel) -> None:
    kernel.state = state_of([Sysctl("", "stray", "1")])
    run(kernel, [A], "merged")
    assert set(values(kernel)) == {"a", "stray"}
    run(kernel, [A], "overridden")
    assert set(values(kernel)) == {"a"}
    kernel.state.update(state_of([Sysctl("", "stray", "1")]))
    run(kernel, [], "deleted")
    assert values(kernel) == {}


def test_a_refused_operation_is_undone_and_named(kernel: Kernel) -> None:
    run(kernel, [A])
    kernel.refuse = "c"
    with pytest.raises(ApplyError) as caught:
        run(kernel, [{"name": "a", "value": "2"}, B, C])
    assert str(caught.value) == (
        "setting: sysctl -w c=1: Operation not permitted; everything done before it was undone"
    )
    assert values(kernel) == {"a": "1"}
    assert record.load("setting") == [A]


def test_what_the_kernel_does_not_show_is_an_error(kernel: Kernel) -> None:
    kernel.lose = "b"
    with pytest.raises(
        ApplyError, match=r"the kernel does not show what was written: sysctl -w b=1 \(1 differences\)"
    ):
        run(kernel, [A, B])
    assert values(kernel) == {}
    assert record.load("setting") == []


def test_an_undo_that_fails_says_so(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def always(ops: Sequence[Op]) -> None:
        for op in ops:
            if op.subject.name == "b":  # type: ignore[union-attr]
                kernel.state.pop(("Sysctl", "", "a"), None)
                raise OpError(op, "no")
            kernel.state[key(op.subject)] = op.subject

    run(kernel, [A, B])
    monkeypatch.setattr(kernel, "run", always)
    kernel.state[("Sysctl", "", "b")] = Sysctl("", "b", "0")
    with pytest.raises(ApplyError, match="undo"):
        run(kernel, [{"name": "a", "value": "2"}, {"name": "b", "value": "2"}])


def test_a_record_that_cannot_be_saved_undoes_the_run(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_kind: str, _config: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "save", full)
    with pytest.raises(ApplyError, match=r"No space left on device.*everything done before it was undone"):
        run(kernel, [A])
    assert values(kernel) == {}


@pytest.mark.parametrize(
    ("config", "state", "error", "part"),
    [
        ([A, A], "merged", SpecError, "declared twice"),
        ([], "replaced", SpecError, "needs at least one item"),
        ([], "rendered", SpecError, "needs at least one item"),
        ([A], "absent", SpecError, "merged, replaced, overridden, deleted, gathered, rendered"),
        ([7], "merged", SpecError, "give a mapping"),
        ([{"name": "a", "value": "wrong"}], "merged", SpecError, "give another"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    kernel: Kernel, config: list[Any], state: str, error: type[Exception], part: str
) -> None:
    with pytest.raises(error, match=part):
        run(kernel, config, state)
    assert kernel.writes == 0


@pytest.mark.parametrize("check", [True, False])
def test_collisions_are_refused_in_check_mode_too(kernel: Kernel, check: bool) -> None:
    kind = SettingKind(kernel)
    kind.guarded = True
    with pytest.raises(CollisionError):
        flow.converge(kind, [A], "merged", check)
    assert kernel.writes == 0


def test_without_root_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow.os, "geteuid", lambda: 1000)
    with pytest.raises(HostError, match="become: true"):
        flow.need_root()


def test_options_that_were_not_given_do_not_count(kernel: Kernel) -> None:
    """Ansible passes them as None."""
    run(kernel, [A])
    assert not run(kernel, [{**A, "other": None}]).changed
